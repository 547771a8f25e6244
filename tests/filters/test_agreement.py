"""Rule sets compared: every number is what counting page by page gives, and no order of rules or pages changes it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.agreement import SAMPLE, RuleSet, compare, comparison, count, drops, jaccard, kept_by_both, summed
from filters.draws import draw, id_hashes


@st.composite
def pools(draw):
    pages = draw(st.integers(0, 12))
    column = st.lists(st.booleans(), min_size=pages, max_size=pages).map(lambda values: np.array(values, bool))
    sets = [
        RuleSet(name, {f"{name}{k}": draw(column) for k in range(draw(st.integers(1, 3)))})
        for name in ("gopher", "fineweb", "c4")[: draw(st.integers(2, 3))]
    ]
    groups = draw(st.lists(st.sampled_from(["eng", "deu", None]), min_size=pages, max_size=pages))
    return sets, [f"page {k}" for k in range(pages)], groups


@given(pools())
def test_every_number_is_what_counting_page_by_page_gives(pool):
    sets, ids, groups = pool
    found = compare(sets, ids, groups, samples=2)
    verdicts = [[all(passes[k] for passes in rules.passes.values()) for k in range(len(ids))] for rules in sets]
    assert found.kept == tuple(map(sum, verdicts))
    for i, a in enumerate(verdicts):
        for j, b in enumerate(verdicts):
            same = sum(x == y for x, y in zip(a, b, strict=True))
            assert not ids or found.agreement[i, j] == pytest.approx(same / len(ids))
    assert not ids or found.unanimous == pytest.approx(sum(len(set(v)) == 1 for v in zip(*verdicts, strict=True)) / len(ids))
    named = [None, *sorted({group for group in groups if group})]
    assert [(row.rule_set, row.rule, row.group) for row in found.drops] == [
        (rules.name, rule, group) for rules in sets for rule in rules.passes for group in named
    ]
    for row in found.drops:
        rules = next(rules for rules in sets if rules.name == row.rule_set)
        mine = [k for k in range(len(ids)) if row.group is None or groups[k] == row.group]
        fails = {k: [rule for rule, passes in rules.passes.items() if not passes[k]] for k in mine}
        assert row.pages == len(mine)
        assert row.alone == sum(row.rule in fails[k] for k in mine)
        assert row.uniquely == sum(fails[k] == [row.rule] for k in mine)
        assert row.in_order == sum(fails[k][:1] == [row.rule] for k in mine)


@given(pools())
def test_a_difference_names_the_rules_that_decide_it(pool):
    sets, ids, _ = pool
    for found in compare(sets, ids, samples=3).differences:
        keeps, dropped_by = (next(rules for rules in sets if rules.name == name) for name in (found.keeps, found.drops))
        pages = [k for k in range(len(ids)) if keeps.kept[k] and not dropped_by.kept[k]]
        fails = [[rule for rule, passes in dropped_by.passes.items() if not passes[k]] for k in pages]
        assert found.pages == len(pages)
        assert list(found.rules) == sorted(found.rules, key=lambda rule: (-rule.alone, -rule.fails, rule.rule))
        assert set(found.sample) <= {ids[k] for k in pages} and len(found.sample) == min(3, len(pages))
        assert {rule.rule for rule in found.rules} == {rule for of_page in fails for rule in of_page}
        for rule in found.rules:
            assert rule.fails == sum(rule.rule in of_page for of_page in fails)
            assert rule.alone == sum(of_page == [rule.rule] for of_page in fails)


@given(pools(), st.randoms(use_true_random=False))
def test_the_order_of_pages_and_rules_changes_nothing_but_what_is_in_order(pool, random):
    sets, ids, groups = pool
    places = random.sample(range(len(ids)), len(ids))
    shuffled = [
        RuleSet(rules.name, {rule: passes[places] for rule, passes in reversed(rules.passes.items())}) for rules in sets
    ]
    before = compare(sets, ids, groups)
    after = compare(shuffled, [ids[k] for k in places], [groups[k] for k in places])
    assert after.differences == before.differences
    assert np.array_equal(after.agreement, before.agreement, equal_nan=True)
    key = {(row.rule, row.group): (row.alone, row.uniquely) for row in before.drops}
    assert {(row.rule, row.group): (row.alone, row.uniquely) for row in after.drops} == key


def test_rules_that_overlap_are_told_apart():
    rules = RuleSet("gopher", {"short": np.array([1, 0, 0, 1], bool), "bullets": np.array([1, 1, 0, 0], bool)})
    counts = [(row.rule, row.alone, row.uniquely, row.in_order) for row in drops(rules)]
    assert counts == [("short", 2, 1, 2), ("bullets", 2, 1, 1)]


def test_of_rules_that_decide_alike_the_one_that_more_pages_fail_is_named_first():
    strict = {"c": [0, 0, 1, 1, 1], "a": [0, 0, 0, 1, 1], "b": [0, 0, 0, 1, 0]}
    sets = [
        RuleSet("all", {"any": np.ones(5, bool)}),
        RuleSet("few", {name: np.array(some, bool) for name, some in strict.items()}),
    ]
    found = next(one for one in compare(sets, list("vwxyz")).differences if one.keeps == "all")
    assert [(rule.rule, rule.alone, rule.fails) for rule in found.rules] == [("b", 1, 4), ("a", 0, 3), ("c", 0, 2)]


def test_a_sample_is_that_of_a_seed_and_of_five_pages_where_nothing_else_is_asked():
    ids = [f"page {at}" for at in range(40)]
    sets = [RuleSet("all", {"any": np.ones(40, bool)}), RuleSet("none", {"never": np.zeros(40, bool)})]
    lowest = [ids[at] for at in np.argsort(draw(id_hashes(ids), 0, SAMPLE))[:5]]
    samples = [compare(sets, ids, **asked).differences[0].sample for asked in ({}, {"seed": 0}, {"seed": 1}, {"samples": 2})]
    assert samples[0] == samples[1] == tuple(lowest) != samples[2] and samples[3] == tuple(lowest[:2])


def test_a_set_agrees_with_itself_and_without_pages_nothing_is_known():
    some = [RuleSet(name, {"r": np.array([True, False])}) for name in "ab"]
    assert compare(some, ["x", "y"]).agreement[0, 1] == 1.0
    none = [RuleSet(name, {"r": np.zeros(0, bool)}) for name in "ab"]
    assert np.isnan(compare(none, []).agreement).all() and np.isnan(compare(none, []).unanimous)


@given(pools(), st.lists(st.integers(0, 12), max_size=3), st.randoms(use_true_random=False))
def test_parts_add_up_to_the_whole_in_any_order(pool, cuts, random):
    sets, ids, groups = pool
    bounds = [0, *sorted(min(cut, len(ids)) for cut in cuts), len(ids)]
    draws = draw(id_hashes(ids), 0, SAMPLE)

    def part(a, b):
        some = [RuleSet(rules.name, {rule: passes[a:b] for rule, passes in rules.passes.items()}) for rules in sets]
        return count(some, ids[a:b], groups[a:b], 2, draws[a:b])

    parts = [part(a, b) for a, b in pairwise(bounds)]
    random.shuffle(parts)
    whole, joined = compare(sets, ids, groups, 2), comparison(summed(parts, 2))
    assert joined.kept == whole.kept and joined.differences == whole.differences and joined.drops == whole.drops
    assert np.array_equal(joined.agreement, whole.agreement, equal_nan=True)


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        (lambda: [RuleSet("a", {"r": np.ones(2, bool)})], "two or more rule sets"),
        (lambda: [RuleSet("a", {"r": np.ones(2, bool)})] * 2, "different names"),
        (lambda: [RuleSet("a", {"r": np.ones(2, bool)}), RuleSet("b", {"r": np.ones(3, bool)})], "same pages"),
        (lambda: [RuleSet("a", {})], "has no rules"),
        (lambda: [RuleSet("a", {"r": np.ones(2, bool), "s": np.ones(3, bool)})], "different numbers of pages"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(sets, sentence):
    with pytest.raises(ValueError, match=sentence):
        compare(sets(), ["a", "b"])


@given(st.integers(0, 40), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_what_scorers_share_is_counted_by_part_as_over_all_pages(pages, scorers, seed):
    kept = np.random.default_rng(seed).random((3, scorers, pages)) < 0.4
    cut = pages // 3
    both = kept_by_both(kept[:, :, :cut]) + kept_by_both(kept[:, :, cut:])
    found = jaccard(both)
    for level in range(3):
        for one in range(scorers):
            for other in range(scorers):
                a, b = (set(np.flatnonzero(kept[level, which])) for which in (one, other))
                assert both[level, one, other] == len(a & b)
                expected = len(a & b) / len(a | b) if a | b else np.nan
                assert np.array_equal(found[level, one, other], expected, equal_nan=True)
