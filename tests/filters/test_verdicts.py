"""Counts of what rules drop, against counting page by page; parts add up to the whole."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.verdicts import failing, passing, tally


@st.composite
def decisions(draw):
    """Verdicts of up to 130 rules on some pages, levels of those rules, weights and names."""
    pages, rules = draw(st.integers(0, 40)), draw(st.integers(0, 130))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    passes = [random.random(pages) < 0.7 for _ in range(rules)]
    numbers = st.lists(st.integers(0, rules - 1), max_size=5, unique=True) if rules else st.just([])
    levels = draw(st.lists(numbers, max_size=4))
    weights = random.integers(0, 2**40, (pages, 3))
    names = random.choice(["eng", "deu", None], pages).tolist()
    return passes, levels, weights, names


def slow(passes, levels, weights, names):
    """Page by page, rule by rule."""
    counts = {}

    def add(key, page):
        counts[key] = counts.get(key, np.zeros(3, np.int64)) + weights[page]

    for page in range(len(weights)):
        add("all", page)
        for rule, passed in enumerate(passes):
            if not passed[page]:
                add(("failed", rule), page)
                counts["name", rule, str(names[page])] = counts.get(("name", rule, str(names[page])), 0) + 1
        for at, level in enumerate(levels):
            fails = [place for place, rule in enumerate(level) if not passes[rule][page]]
            if not fails:
                add(("kept", at), page)
            else:
                add(("in order", at, fails[0]), page)
            if len(fails) == 1:
                add(("uniquely", at, fails[0]), page)
    return counts


@settings(deadline=None)
@given(decisions())
def test_what_rules_drop_is_what_counting_page_by_page_says(made):
    passes, levels, weights, names = made
    found = tally(failing(passes, len(weights)), len(passes), levels, weights, pa.array(names, pa.string()))
    expected, nothing = slow(*made), np.zeros(3, np.int64)
    assert (found.all_pages == expected.get("all", nothing)).all()
    for rule in range(len(passes)):
        assert (found.failed[rule] == expected.get(("failed", rule), nothing)).all()
        by_name = dict(zip(found.names, found.failed_by_name[rule], strict=True))
        assert by_name == {name: expected.get(("name", rule, name), 0) for name in found.names}
    for at, level in enumerate(levels):
        assert (found.kept[at] == expected.get(("kept", at), nothing)).all()
        for place in range(len(level)):
            assert (found.uniquely[at][place] == expected.get(("uniquely", at, place), nothing)).all()
            assert (found.in_order[at][place] == expected.get(("in order", at, place), nothing)).all()


@settings(deadline=None)
@given(decisions(), st.integers(0, 40))
def test_two_parts_add_up_to_the_whole(made, cut):
    passes, levels, weights, names = made

    def of(rows):
        part = [passed[rows] for passed in passes]
        return tally(
            failing(part, len(weights[rows])), len(passes), levels, weights[rows], pa.array(names[rows], pa.string())
        )

    whole, sum_of_two = of(slice(None)), of(slice(cut)) + of(slice(cut, None))
    for name in ("all_pages", "failed", "kept", "pages_by_name", "failed_by_name"):
        assert (getattr(whole, name) == getattr(sum_of_two, name)).all()
    assert whole.names == sum_of_two.names
    for name in ("uniquely", "in_order"):
        assert all((a == b).all() for a, b in zip(getattr(whole, name), getattr(sum_of_two, name), strict=True))


@settings(deadline=None)
@given(decisions())
def test_a_level_keeps_the_pages_that_fail_none_of_its_rules(made):
    passes, levels, weights, _ = made
    bits = failing(passes, len(weights))
    for level in levels:
        expected = np.logical_and.reduce([passes[rule] for rule in level], axis=0) if level else np.ones(len(weights), bool)
        assert (passing(bits, level) == expected).all()
