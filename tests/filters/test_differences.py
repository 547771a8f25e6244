from hypothesis import given
from hypothesis import strategies as st

from filters.differences import ABSENT, Difference, differences, told

values = st.sampled_from([None, True, 2, 3.5, "a", [1], {}])
leaves = st.dictionaries(st.sampled_from("abc"), values, max_size=2)
trees = st.dictionaries(st.sampled_from("abc"), values | leaves, max_size=3)


def test_every_key_that_says_something_else_is_named_as_set_takes_it():
    old = {"rules": {"word_count": {"min": 50, "max": 9}}, "seed": 0, "presets": ["gopher"]}
    new = {"rules": {"word_count": {"min": 60, "max": 9}}, "presets": ["gopher", "c4"], "name": "b"}
    assert differences(old, new) == [
        Difference("rules.word_count.min", 50, 60),
        Difference("seed", 0, ABSENT),
        Difference("presets", ["gopher"], ["gopher", "c4"]),
        Difference("name", ABSENT, "b"),
    ]


@given(trees, trees)
def test_two_trees_differ_in_a_key_if_and_only_if_they_differ(one, other):
    assert differences(one, one) == []
    assert bool(differences(one, other)) == (one != other)


@given(trees, trees)
def test_the_other_way_round_old_and_new_change_places(one, other):
    swapped = {(key, new, old) for key, old, new in map(repr_of, differences(other, one))}
    assert set(map(repr_of, differences(one, other))) == swapped


def repr_of(difference):
    return difference.key, repr(difference.old), repr(difference.new)


def test_of_two_digests_it_is_told_that_they_differ_and_of_many_keys_how_many_more():
    assert told([Difference("tables.pages", "a" * 64, "b" * 64)]) == "tables.pages has other content"
    many = [Difference(f"key{at}", 1000, at) for at in range(11)]
    assert told(many).startswith("key0 was 1,000 and is 0; ") and told(many).endswith("key7 was 1,000 and is 7; and 3 more")
