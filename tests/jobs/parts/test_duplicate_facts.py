"""What is told of duplicates before anything is removed: the alarms, from amounts that parts add up."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.parts.duplicate_facts import Amounts, added, alarms_of
from jobs.parts.duplicate_options import Duplicates

CALM = Amounts(pages=10_000, removed=Counter({0.82: 3000}), largest=[(100, "a", 0, 0)])


@pytest.mark.parametrize(
    ("changes", "domains", "said"),
    [
        ({}, [], []),
        ({}, [("one.org", 100, 95)], ["at 0.82 95 of the 100 pages of one.org would be removed"]),
        ({"emptied": [("x-1", 20, 20)]}, [], ["at 0.82 20 of the 20 pages of the file x-1 would be removed"]),
        (
            {"removed": Counter({0.82: 6500, 0.8: 3000})},
            [],
            ["at 0.82 65.0% of all pages would be removed, expected were 10% to 60%"],
        ),
        ({"removed": Counter()}, [], ["at 0.82 0.0% of all pages would be removed, expected were 10% to 60%"]),
        ({"largest": [(101, "a", 0, 0), (100, "b", 0, 0)]}, [], ["the cluster of a has 101 pages, 1.0% of all"]),
    ],
)
def test_what_nobody_may_want_is_said_in_a_sentence(changes, domains, said):
    asked = Duplicates(threshold=0.82, removes=[0.1, 0.6])
    assert list(alarms_of(Amounts(**{**vars(CALM), **changes}), asked, domains)) == said


PART = st.builds(
    Amounts,
    pages=st.integers(0, 50),
    removed=st.dictionaries(st.sampled_from([0.5, 0.8]), st.integers(0, 9)).map(Counter),
    exact=st.integers(0, 9),
    sizes=st.dictionaries(st.integers(1, 5), st.integers(1, 9)).map(Counter),
    largest=st.lists(st.tuples(st.integers(2, 9), st.text(max_size=2), st.just(0), st.just(0)), max_size=10),
    emptied=st.lists(st.tuples(st.text(max_size=2), st.integers(20, 30), st.just(20)), max_size=1),
)


@given(st.lists(PART, max_size=5), st.randoms())
def test_amounts_of_parts_add_up_in_any_order(parts, draw):
    shuffled = draw.sample(parts, len(parts))
    assert added([added(parts[:2]), *parts[2:]]) == added(shuffled)
