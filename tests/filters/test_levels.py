"""Levels: what a sweep asks for, and names that are safe folders whatever the values are."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.levels import MOST_NAME_BYTES, band_levels, ends_of, folder_name, hardest, plan, second_levels, swept
from filters.rules import RuleError

VALUES = st.one_of(
    st.lists(st.text(max_size=300), min_size=1, max_size=3),
    st.lists(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=3),
)
WORDS = st.one_of(
    st.text(max_size=300), st.sampled_from(["..", ".", "", "../../evil", "a/b", "/etc", "é", "è", "a" * 256, "a~b"])
)


def names_of(values, key="rules.kind.in"):
    return [level.name for level in plan({}, {key: values}, {})][1:]


def is_safe(name):
    return (
        len(name.encode()) <= MOST_NAME_BYTES
        and (Path("/parent") / name).parent == Path("/parent")
        and name not in ("", ".", "..")
        and name.isascii()
        and name.isprintable()
    )


@given(st.lists(WORDS, unique=True, max_size=8))
def test_no_text_names_a_folder_outside_its_parent_and_no_two_the_same(texts):
    names = [folder_name(text) for text in texts]
    assert all(map(is_safe, names))
    assert len(set(names)) == len(names)


@given(st.lists(VALUES, min_size=1, max_size=8, unique_by=repr))
def test_levels_that_differ_have_safe_names_that_differ(values):
    distinct = [one for at, one in enumerate(values) if all(one != other for other in values[:at])]
    names = names_of(distinct)
    assert all(map(is_safe, names))
    assert len(set(names)) == len(distinct)


def test_plain_values_are_plain_names():
    assert names_of(["none", 1, 0.5, 1e6], "rules.quality.pareto") == [
        "quality-pareto-none",
        "quality-pareto-1",
        "quality-pareto-0.5",
        "quality-pareto-1000000",
    ]
    assert names_of([["eng", "deu"]], "rules.language.in") == ["language-in-eng-deu"]


def test_the_seventh_digit_makes_another_level():
    assert names_of([0.1234567, 0.1234568], "rules.quality.min") == ["quality-min-0.1234567", "quality-min-0.1234568"]


def test_a_name_does_not_depend_on_the_other_levels():
    alone = names_of([["è"]])
    assert names_of([["é"], ["è"]])[1:] == alone


def test_a_control_of_a_long_name_is_bounded():
    levels = plan({}, {"rules.kind.in": [["a" * 300]]}, {"random": "all"})
    assert all(is_safe(level.name) for level in levels)
    assert levels[2].name.startswith("random-kind-in-a")


@pytest.mark.parametrize(
    ("rules", "sweep", "controls", "says"),
    [
        ({}, {"rules.quality.paretto": [1]}, {}, "did you mean 'pareto'"),
        ({}, {"quality": [1]}, {}, "must be a key of the rules"),
        ({}, {"rules.quality.": [1]}, {}, "must be a key of the rules"),
        ({}, {"rules.quality.pareto": []}, {}, "has no values"),
        ({}, {"rules.quality.pareto": [1, 1.0]}, {}, "a level twice: quality-pareto-1"),
        ({}, {"rules.quality.keep_fraction": [2]}, {}, "a share"),
        ({"quality": 5}, {"rules.quality.min": [2]}, {}, "must be a mapping"),
        ({}, {"rules.quality.pareto": [1]}, {"randm": "all"}, "did you mean 'random'"),
        ({}, {"rules.language.in": [["eng"]]}, {"inverted": "all"}, "no direction to invert"),
        ({}, {"rules.quality.between": [[0.1, 0.9]]}, {"random": "all", "inverted": "all"}, "no direction to invert"),
    ],
)
def test_a_sweep_that_cannot_be_meant_is_refused(rules, sweep, controls, says):
    with pytest.raises(RuleError, match=says):
        plan(rules, sweep, controls)


def test_none_takes_the_condition_and_what_qualifies_it():
    rules = {"quality": {"keep_fraction": 0.5, "within": "language", "null": "keep"}, "word_count": {"min": 5}}
    [_, none, half] = plan(rules, {"rules.quality.keep_fraction": ["none", 0.3]}, {})
    assert none.rules == {"word_count": {"min": 5}}
    assert half.rules["quality"] == {"keep_fraction": 0.3, "within": "language", "null": "keep"}
    assert list(half.rules) == list(rules)


def test_none_leaves_the_other_conditions_of_the_rule():
    rules = {"quality": {"min": 0.1, "pareto": 3, "null": "keep"}}
    assert plan(rules, {"rules.quality.pareto": ["none"]}, {})[1].rules == {"quality": {"min": 0.1, "null": "keep"}}


def test_a_deeper_key_is_swept():
    [_, level] = plan({}, {"rules.quality.pareto.keep_fraction": [0.25]}, {})
    assert level.rules == {"quality": {"pareto": {"keep_fraction": 0.25}}}
    assert swept(level) == [("quality", "pareto")]


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("rules.quality.pareto", [9, 1, "none", 3], 9),
        ("rules.quality.min", [0.9, 0.1], 0.9),
        ("rules.words.max", [100, 10, 50], 10),
        ("rules.quality.keep_fraction", [0.1, 0.5, "none"], 0.1),
        ("rules.quality.pareto", [{"keep_fraction": 0.1}, {"keep_fraction": 0.4}], {"keep_fraction": 0.1}),
        ("rules.quality.between", [[0, 0.5], [0, 0.1]], [0, 0.1]),  # does not say: the last
    ],
)
def test_the_hardest_level_does_not_depend_on_the_order_of_the_list(key, values, expected):
    levels = [level for level in plan({}, {key: values}, {}) if level.control is None]
    assert hardest(levels).levels == {key: expected}


def rules_at(sweep, rules=None, seed=0):
    """The rules of every level."""
    return [level.rules for level in plan(rules or {}, sweep, {}, seed)][1:]


def test_levels_written_out_are_those_levels():
    sweep = {"list": [{"rules.a.min": 1}, {"rules.a.min": 2, "rules.sample": 0.5}]}
    assert rules_at(sweep, {"b": {"max": 3}}) == [
        {"b": {"max": 3}, "a": {"min": 1}},
        {"b": {"max": 3}, "a": {"min": 2}, "sample": 0.5},
    ]


RANDOM = {"random": 60, "rules.a.min": {"from": 1, "to": 90}, "rules.b.max": {"from": 0.001, "to": 1.0, "log": True}}


def test_a_random_search_stays_in_its_ranges_and_more_of_it_begins_with_the_fewer():
    found = rules_at(RANDOM)
    assert len(found) == 60
    assert all(1 <= one["a"]["min"] <= 90 and isinstance(one["a"]["min"], int) for one in found)
    below = sum(one["b"]["max"] < 0.0316 for one in found)
    assert 15 < below < 45  # by its logarithm, half of the range
    assert rules_at(RANDOM | {"random": 20}) == found[:20]
    assert rules_at(RANDOM, seed=1) != found


def test_a_random_search_over_values_has_each_level_once():
    found = rules_at({"random": 500, "rules.a.min": [1, 2], "rules.b.pareto": ["none", 3]})
    assert sorted(map(repr, found)) == sorted(
        map(repr, [{"a": {"min": 1}}, {"a": {"min": 2}}, *({"a": {"min": n}, "b": {"pareto": 3}} for n in (1, 2))])
    )


def test_a_key_within_a_bound_leaves_the_other_groups_as_they_are():
    rules = {"a": {"min": {"eng": 50, "deu": 20}}}
    assert rules_at({"rules.a.min.eng": [10]}, rules) == [{"a": {"min": {"eng": 10, "deu": 20}}}]


def test_a_quotas_smallest_budget_is_its_hardest_level_and_can_be_inverted():
    rules = {"quality": {"quota": {"within": "topic", "keep_fraction": 0.5, "floor": 0.05}}, "word_count": {"min": 50}}
    levels = plan(rules, {"rules.quality.quota.keep_fraction": [0.1, "none", 0.3]}, {"inverted": "hardest"})
    assert [level.name for level in levels if level.control == "inverted"] == ["inverted-quality-quota-keep_fraction-0.1"]
    assert [dict(level.rules) for level in levels if level.levels == {"rules.quality.quota.keep_fraction": "none"}] == [
        {"word_count": {"min": 50}}
    ]
    with pytest.raises(RuleError, match=r"a floor of 0.05, above its keep_fraction of 0.01"):
        plan(rules, {"rules.quality.quota.keep_fraction": [0.3, 0.01]}, {})


def test_a_sample_and_a_set_of_any_of_can_be_swept():
    rules = {"any_of": [{"a": {"min": 1}}, {"b": {"max": 2}}]}
    assert rules_at({"rules.sample": ["none", 0.5]}) == [{}, {"sample": 0.5}]
    assert rules_at({"rules.any_of.1.b.max": [7]}, rules) == [{"any_of": [{"a": {"min": 1}}, {"b": {"max": 7}}]}]
    assert rules_at({"rules.any_of": ["none"]}, rules) == [{}]


def test_a_random_control_of_a_sample_is_planned_and_an_inverted_one_refused():
    sweep = {"rules.sample": [0.5]}
    assert [level.name for level in plan({}, sweep, {"random": "all"})] == ["unfiltered", "sample-0.5", "random-sample-0.5"]
    with pytest.raises(RuleError, match="'sample' has no direction to invert"):
        plan({}, sweep, {"inverted": "all"})


@pytest.mark.parametrize(
    ("sweep", "says"),
    [
        ({"rules.a.min": list(range(50_000)), "rules.b.max": [1, 2]}, "100,000 levels are asked for, at most 1,000"),
        ({"rules.a.min": []}, "has no values"),
        ({"list": []}, "must be a list of levels"),
        ({"list": [{"rules.a.min": 1}], "rules.b.min": [1]}, "list stands alone, but rules.b.min is there too"),
        ({"random": 0, "rules.a.min": [1]}, "a number of levels, at least 1, got 0"),
        ({"random": 100_000, "rules.a.min": [1]}, "100,000 levels"),
        ({"random": 5}, "there is no key to draw"),
        ({"random": 5, "rules.a.min": {"from": 9, "to": 1}}, "{from: low, to: high}"),
        ({"random": 5, "rules.a.min": {"from": 0, "to": 1, "log": True}}, "a positive range"),
        ({"rules.a.min": {"from": 0, "to": 1}}, "{from: .., to: ..} needs random:"),
        ({"rules.any_of.7.a.min": [1]}, "must name a set"),
        ({"rules.a": [1]}, "must be a key of the rules"),
    ],
)
def test_a_list_or_search_that_cannot_be_meant_is_refused(sweep, says):
    with pytest.raises(RuleError) as refusal:
        plan({}, sweep, {})
    assert says in str(refusal.value)


def test_a_share_and_a_curve_are_plain_names_whether_keys_are_numbers_or_read_from_a_file():
    assert names_of([{"keep_fraction": 0.5}], "rules.quality.temperature") == ["quality-temperature-keep_fraction-0.5"]
    assert names_of([{"0.4": 0, "0.95": 7}], "rules.quality.upsample") == ["quality-upsample-0.4-0-0.95-7"]
    assert names_of([{0.4: 0, 0.95: 7}], "rules.quality.upsample") == ["quality-upsample-0.4-0-0.95-7"]


RULES = {"word_count": {"min": 50}, "quality": {"pareto": 2, "min": 0.1}}
SWEEP = {"rules.quality.pareto": ["none", 9]}


def test_second_levels_vary_another_scorer_with_the_swept_keys_off():
    found = second_levels(RULES, SWEEP, {"rules.books.pareto": [3, 9]})
    assert [(level.name, level.control) for level in found] == [
        ("second-books-pareto-3", "second"),
        ("second-books-pareto-9", "second"),
    ]
    assert found[1].rules == {"word_count": {"min": 50}, "quality": {"min": 0.1}, "books": {"pareto": 9}}
    assert second_levels(RULES, SWEEP, {}) == []


@pytest.mark.parametrize(
    ("sweep", "second", "says"),
    [
        (SWEEP, {"rules.quality.pareto": [3, 9]}, "rules.quality.pareto is a key of the sweep"),
        (SWEEP, {"rules.books.pareto": [3]}, "takes two levels or more"),
        (SWEEP, {"books": [3, 9]}, "diagnostics.second: 'books' must be a key of the rules"),
        (SWEEP, {"random": 3}, "neither it nor the sweep"),
        ({"list": [{"rules.quality.pareto": 1}]}, {"rules.books.pareto": [3, 9]}, "neither it nor the sweep"),
    ],
)
def test_second_levels_that_cannot_be_meant_are_refused(sweep, second, says):
    with pytest.raises(RuleError, match=r"diagnostics\.second: ") as refused:
        second_levels(RULES, sweep, second)
    assert says in str(refused.value)


def test_a_band_lies_between_levels_as_they_keep_and_not_as_they_are_listed():
    kept = {"hard": 10, "none": 100, "middle": 40}
    assert ends_of("band-removed", kept) == ("none", "hard")
    assert ends_of("band-margin", kept) == ("middle", "hard")


def test_bands_need_levels_in_an_order():
    levels = plan(RULES, SWEEP, {"random": "all"})
    assert [level.name for level in band_levels(["removed", "margin"], levels)] == ["band-removed", "band-margin"]
    for sweep in ({}, {**SWEEP, "rules.word_count.min": [20, 50]}, {"rules.quality.pareto": [9]}):
        assert band_levels([], plan(RULES, sweep, {})) == []
        with pytest.raises(RuleError, match="need a sweep over one key"):
            band_levels(["removed"], plan(RULES, sweep, {}))
