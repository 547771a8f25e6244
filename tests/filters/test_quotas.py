"""Quotas: against trying every level, for any parts, and what they promise of budgets, floors and ceilings."""

from fractions import Fraction
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import quantiles
from filters.quantiles import count, find, merged
from filters.rules import Pool, RuleError, check_types, parse, resolve_all, resolve_in

SHARES = st.tuples(st.sampled_from([0.0, 0.05, 0.2]), st.sampled_from([0.2, 0.3, 0.5]), st.sampled_from([0.5, 0.8, 1.0]))
NICHES = st.sampled_from(["law", "news", None])
TIED = st.tuples(st.one_of(st.none(), st.integers(0, 6).map(float)), st.integers(0, 4), NICHES)
APART = st.tuples(st.floats(-1, 1, width=32), st.integers(1, 4), NICHES)
FEW_PAGES = settings(max_examples=40, deadline=None)


def pool_of(pages, rows=None):
    """Pages as (score, bytes, niche); `rows` are those of a part."""
    rows = range(len(pages)) if rows is None else rows
    score, size, niche = ([pages[row][at] for row in rows] for at in range(3))
    columns = {"score": pa.array(score, pa.float64()), "niche": pa.array(niche, pa.string())}
    weights = {"pages": np.ones(len(rows), np.int64), "bytes": np.array(size, np.int64)}
    return Pool([str(row) for row in rows], columns, weights)


def asked(floor, share, ceiling, **more):
    quota = {"within": "niche", "keep_fraction": share, "floor": floor, "ceiling": ceiling, "weight": "bytes"}
    return parse({"score": {"quota": quota, **more}})


def kept_of(pages, rules):
    [rule] = resolve_in(pool_of(pages), rules)
    return {at for at, kept in enumerate(rule.passes(pool_of(pages))) if kept}


def weight(pages, rows):
    return sum(pages[row][1] for row in rows)


def niches(pages):
    """The measured pages of each niche, best first."""
    found = {}
    for row in sorted((row for row, page in enumerate(pages) if page[0] is not None), key=lambda row: -pages[row][0]):
        found.setdefault(pages[row][2], []).append(row)
    return found


def best(pages, rows, share):
    """The fewest of the rows, best first and ties whole, that hold a share of their weight."""
    for bar in dict.fromkeys(pages[row][0] for row in rows if share):
        kept = [row for row in rows if pages[row][0] >= bar]
        if weight(pages, kept) >= Fraction(str(share)) * weight(pages, rows):
            return set(kept)
    return set()


def slowly(pages, floor, share, ceiling):
    """Every level is tried, from the highest: the first that fills the budget."""
    of = niches(pages)
    low, high = ({name: best(pages, rows, end) for name, rows in of.items()} for end in (floor, ceiling))
    measured = [row for rows in of.values() for row in rows]
    for level in (np.inf, *sorted({pages[row][0] for row in measured}, reverse=True)):
        kept = {row for name in of for row in high[name] if row in low[name] or pages[row][0] >= level}
        if weight(pages, kept) >= Fraction(str(share)) * weight(pages, measured):
            return kept
    return set()


@FEW_PAGES
@given(st.lists(TIED, max_size=30), SHARES, st.randoms(use_true_random=False), st.integers(1, 5))
def test_pages_in_any_parts_are_kept_as_when_every_level_is_tried(pages, shares, random, many):
    part_of = [random.randrange(many) for _ in pages]
    parts = [pool_of(pages, [row for row, part in enumerate(part_of) if part == one]) for one in range(many)]

    def cuts(targets, column, _):
        return find(targets, lambda wanted: merged([count(wanted, partial(column, pool=part)) for part in parts]))

    with pytest.MonkeyPatch.context() as patch:  # so few buckets that thirty pages take several passes
        for name in ("BUCKETS", "GROUP_BUCKETS", "OPEN_BUCKETS", "LEAST_BUCKETS", "FEW"):
            patch.setattr(quantiles, name, 3)
        [rule] = resolve_all(asked(*shares), cuts, lambda _: {})
    kept = {int(row) for part in parts for row in np.array(part.ids)[rule.passes(part)]}
    if weight(pages, [row for rows in niches(pages).values() for row in rows]):
        assert kept == slowly(pages, *shares)
    assert kept == kept_of(pages, asked(*shares))


@FEW_PAGES
@given(st.lists(APART, min_size=1, max_size=30, unique_by=lambda page: page[0]), SHARES)
def test_budget_floors_and_ceilings_hold_within_one_page_of_each_niche(pages, shares):
    floor, share, ceiling = (Fraction(str(one)) for one in shares)
    kept, of = kept_of(pages, asked(*shares)), niches(pages)
    last = {name: next((row for row in reversed(rows) if row in kept), None) for name, rows in of.items()}
    without_last = kept - set(last.values())
    assert weight(pages, without_last) < share * weight(pages, range(len(pages))) <= weight(pages, kept)
    for rows in of.values():
        assert weight(pages, kept & set(rows)) >= floor * weight(pages, rows)
        assert weight(pages, without_last & set(rows)) < ceiling * weight(pages, rows)


@FEW_PAGES
@given(st.lists(TIED, max_size=30), st.lists(st.sampled_from([0.2, 0.25, 0.3, 0.45, 0.5]), min_size=2, max_size=2))
def test_a_smaller_budget_keeps_no_page_that_a_larger_one_drops(pages, shares):
    harder, milder = (kept_of(pages, asked(0.2, share, 0.5)) for share in sorted(shares))
    assert harder <= milder


@FEW_PAGES
@given(st.lists(TIED, max_size=30), SHARES)
def test_the_lowest_are_the_highest_of_the_negated(pages, shares):
    negated = [(None if score is None else -score, *rest) for score, *rest in pages]
    assert kept_of(negated, asked(*shares, lowest=True)) == kept_of(pages, asked(*shares))


def test_without_floor_and_ceiling_a_quota_is_the_flat_cut():
    pages = [(score, 1, niche) for score, niche in zip([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0], "aaaaabbbbb", strict=True)]
    assert kept_of(pages, asked(0.0, 0.4, 1.0)) == kept_of(pages, parse({"score": {"keep_fraction": 0.4}})) == {0, 1, 2, 3}
    assert kept_of(pages, asked(0.2, 0.4, 0.6)) == {0, 1, 2, 5}
    assert kept_of(pages, asked(0.4, 0.4, 0.4)) == {0, 1, 5, 6}


def test_a_page_that_is_not_measured_is_in_no_quota():
    pages = [(None, 9, "law"), (1.0, 1, "law")]
    assert kept_of(pages, asked(0.0, 1.0, 1.0)) == {1}
    assert kept_of(pages, asked(0.0, 1.0, 1.0, null="keep")) == {0, 1}
    assert kept_of([(None, 1, "law")], asked(0.1, 0.5, 1.0)) == set()


def test_niches_of_a_number_are_its_tenths_and_null_is_one_more():
    """Twenty lengths and null have a good and a bad page each: floors take the best of every tenth, the rest is the best."""
    scores, lengths = [0.5 + at / 100 for at in range(21)] + [at / 100 for at in range(21)], [*range(20), None] * 2
    columns = {"score": pa.array(scores), "length": pa.array(lengths, pa.int64())}
    pool = Pool([str(at) for at in range(42)], columns, {"pages": np.ones(42, np.int64)})
    quota = {"within": {"tenths": "length"}, "keep_fraction": 0.3, "floor": 0.25}
    [rule] = resolve_in(pool, parse({"score": {"quota": quota}}))
    assert set(rule.passes(pool).nonzero()[0]) == {*range(1, 20, 2), 20} | {16, 18}
    assert list(rule.facts()["min"]) == [*(f"{tenth:02}" for tenth in range(1, 11)), "None"]
    assert "within tenths of length" in rule.text


def test_shares_are_taken_within_tenths_too():
    pool = Pool(
        [str(at) for at in range(40)],
        {"score": pa.array(np.arange(40.0)), "length": pa.array(np.arange(40) % 20)},
        {"pages": np.ones(40, np.int64)},
    )
    [rule] = resolve_in(pool, parse({"score": {"keep_fraction": 0.25, "within": {"tenths": "length"}}}))
    assert set(rule.passes(pool).nonzero()[0]) == set(range(21, 40, 2))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"floor": 0.3}, "quota has a floor of 0.3, above its keep_fraction of 0.2: lower the floor"),
        ({"ceiling": 0.1}, "quota has a ceiling of 0.1, below its keep_fraction of 0.2: raise the ceiling"),
        ({"keep_fraction": 0}, r"quota keep_fraction must be a share in \(0, 1\], got 0"),
        ({"floor": True}, r"quota floor must be a share in \[0, 1\], got True"),
        ({"within": []}, r"quota within must be the name of a column or \{tenths: number\}"),
        ({"within": [{"tenths": "a"}, {"tenths": "a"}]}, "list of different ones"),
        ({"weight": "words"}, "quota weight must be pages, bytes, characters or tokens, got 'words'"),
        ({"flor": 0.1}, "quota must be a mapping such as"),
    ],
)
def test_a_quota_that_cannot_be_meant_is_one_sentence(wrong, sentence):
    with pytest.raises(RuleError, match=sentence):
        parse({"score": {"quota": {"within": "niche", "keep_fraction": 0.2, **wrong}}})


def test_niches_are_names_or_tenths_of_numbers():
    types = {"score": pa.float64(), "niche": pa.string(), "length": pa.float64(), "topic": pa.int64()}
    check_types(parse({"score": {"quota": {"within": ["topic", {"tenths": "length"}], "keep_fraction": 0.2}}}), types)
    with pytest.raises(RuleError, match=r"'length' is a number: write \{tenths: length\}"):
        check_types(parse({"score": {"quota": {"within": "length", "keep_fraction": 0.2}}}), types)
    with pytest.raises(RuleError, match="within takes tenths of numbers, but 'niche' is text: write niche alone"):
        check_types(parse({"score": {"quota": {"within": {"tenths": "niche"}, "keep_fraction": 0.2}}}), types)


def test_too_many_niches_are_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(quantiles, "MOST_GROUPS", 2)
    pages = [(1.0, 1, "law"), (1.0, 1, "news"), (1.0, 1, None)]
    with pytest.raises(ValueError, match="score within niche is ranked within 3 groups, at most 2 are served"):
        kept_of(pages, asked(0.1, 0.5, 1.0))
