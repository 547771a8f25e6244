"""Quantiles found pass by pass, against sorting all pages, for any parts, order of adding, ties, groups and bucket sizes."""

import contextlib
import math
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters import quantiles
from filters.quantiles import RANKS, Targets, count, find, floats, merged, ordered, ranked, ranks

VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.0, math.inf, -math.inf, math.nan, 5e-324]),
    st.floats(width=64),
    st.integers(0, 40).map(lambda step: 1 + step / 32),  # these differ in leading bits alone
    st.integers(0, 40).map(lambda step: 1 + step * 2.0**-52),  # and these in their last
)
PAGE = st.tuples(
    VALUES,
    st.one_of(st.integers(0, 3), st.integers(0, 2**55)),
    st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1)),
    st.sampled_from(["eng", "deu", "None", None]),
    st.booleans(),
)
PAGES = st.integers(0, 40).flatmap(lambda size: st.lists(PAGE, min_size=size, max_size=size))
CROWDED = {"BUCKETS": 4, "GROUP_BUCKETS": 2, "OPEN_BUCKETS": 4, "LEAST_BUCKETS": 2, "FEW": 3, "FIRST_BITS": 12}


@contextlib.contextmanager
def crowded(wanted):
    """Buckets so few that forty pages take many passes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CROWDED.items() if wanted else ():
            patch.setattr(quantiles, name, value)
        yield


def column_of(pages, lowest=False, grouped=False, masked=False, drawn=True):
    values, weights, draws, groups, among = zip(*pages, strict=True) if pages else ((), (), (), (), ())
    return ranked(
        np.array(values, np.float64),
        np.array(weights, np.int64),
        lowest=lowest,
        draws=np.array(draws, np.uint64) if drawn else None,
        within=pa.array(groups, pa.string()) if grouped else None,
        among=np.array(among, bool) if masked else None,
    )


def cuts(parts, targets, shuffled=None):
    """The cuts over parts, which are counted one by one and added by twos, in an order that `shuffled` draws."""

    def counted(wanted):
        sums = [count(wanted, lambda _, part=part: part) for part in parts]
        while len(sums) > 1:
            if shuffled:
                shuffled.shuffle(sums)
            sums = [merged([sums[-1], sums[-2]]), *sums[:-2]]
        return merged(sums)

    return find({"ranking": targets}, counted)["ranking"]


def groups_of(pages, grouped, masked):
    """Positions of the pages that are ranked, by group."""
    found = defaultdict(list)
    for at, (value, _, _, group, among) in enumerate(pages):
        if not math.isnan(value) and (among or not masked):
            found[str(group) if grouped else None].append(at)
    return found


def slow_cut(pages, rows, kind, amount, lowest):
    """(threshold, weight before it, weight at it, pages kept) by sorting; all pages where there is not enough."""
    total = sum(pages[at][1] for at in rows)
    better = sorted({pages[at][0] for at in rows}, reverse=not lowest)
    if kind == "at most":
        kept, room = set(), amount
        for at in sorted(rows, key=lambda at: (pages[at][0] if lowest else -pages[at][0], pages[at][2])):
            same = [one for one in rows if (pages[one][0], pages[one][2]) == (pages[at][0], pages[at][2])]
            if at not in kept and sum(pages[one][1] for one in same) > room:
                break
            if at not in kept:
                kept |= set(same)
                room -= sum(pages[one][1] for one in same)
        return None, amount - room, None, kept
    enough = Fraction(amount) * total * (1 - Fraction(1, 10**12)) if kind == "share" else amount
    for threshold in better:
        kept = {at for at in rows if (pages[at][0] <= threshold if lowest else pages[at][0] >= threshold)}
        weight = sum(pages[at][1] for at in kept)
        if weight >= enough:
            break
    tied = sum(pages[at][1] for at in rows if pages[at][0] == threshold)
    return threshold, weight - tied, tied, kept


AMOUNTS = st.one_of(
    st.tuples(st.just("share"), st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.1, 0.3, 0.5, 1.0])), max_size=4)),
    st.tuples(st.just("at least"), st.lists(st.integers(1, 2**56), max_size=4)),
    st.tuples(st.just("at most"), st.lists(st.one_of(st.integers(0, 9), st.integers(0, 2**60)), max_size=4)),
)


@settings(deadline=None, max_examples=400)  # the first example compiles a kernel
@given(PAGES, AMOUNTS, st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.integers(1, 6), st.randoms())
def test_cuts_are_those_of_sorting_all_pages(pages, asked, lowest, grouped, masked, few, parts, random):
    kind, amounts = asked
    part_of = [random.randrange(parts) for _ in pages]
    pieces = [[page for page, part in zip(pages, part_of, strict=True) if part == one] for one in range(parts)]
    with crowded(few):
        columns = [column_of(piece, lowest, grouped, masked) for piece in pieces]
        found = cuts(columns, Targets(kind, tuple(amounts)), random)
    everywhere = groups_of(pages, grouped, masked)
    assert set(found.names or [None]) >= set(everywhere)
    whole = column_of(pages, lowest, grouped, masked)
    for target, amount in enumerate(amounts):
        kept = set()
        for name, rows in everywhere.items():
            group = found.names.index(name) if grouped else 0
            threshold, beyond, tied, these = slow_cut(pages, rows, kind, amount, lowest)
            kept |= these
            assert found.totals[group] == sum(pages[at][1] for at in rows)
            assert found.measured[group] == len(rows)
            if kind != "at most":
                assert floats(found.places, lowest)[target, group] == threshold
                assert (found.beyond[target, group], found.tied[target, group]) == (beyond, tied)
            elif not found.whole[target, group]:
                assert found.beyond[target, group] == beyond <= amount
        assert set(np.flatnonzero(found.keeps(whole, target))) == kept
        assert sum(found.keeps(column, target).sum() for column in columns) == len(kept)


@settings(deadline=None)
@given(PAGES, st.integers(1, 5), st.booleans(), st.booleans(), st.randoms())
def test_the_order_of_adding_leaves_no_trace(pages, parts, grouped, few, random):
    pieces = [column_of(pages[one::parts], grouped=grouped) for one in range(parts)]
    with crowded(few):
        counts = [count({"ranking": None}, lambda _, piece=piece: piece) for piece in pieces]
        at_once = merged(counts)["ranking"]
        random.shuffle(counts)
        by_twos = counts[0]
        for one in counts[1:]:
            by_twos = merged([by_twos, one])
    for name in ("cells", "places", "weights", "pages", "bits"):
        assert getattr(at_once, name).tolist() == getattr(merged([by_twos])["ranking"], name).tolist()


PLACES = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 40), st.integers(0, 40).map(lambda step: step << 58))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 2, 65_537]), PLACES), max_size=40), st.integers(1, 12), st.booleans())
def test_buckets_tell_apart_as_many_leading_bits_as_fit_and_lose_nothing(entries, limit, many):
    """Of few cells and of more than two bytes count."""
    entries = entries if many else [(cell % 3, place) for cell, place in entries]
    cells, places = (np.array([entry[at] for entry in entries], kind) for at, kind in ((0, np.int64), (1, np.uint64)))
    count_of, weights = 70_001 if many else 3, np.arange(1, len(entries) + 1)
    full, limits = np.full(count_of, 64), np.full(count_of, limit)
    found = quantiles._summed(quantiles.Buckets(cells, places, weights, np.ones(len(entries), np.int64), full, limits))
    expected = {}
    for cell in sorted(set(cells.tolist())):
        mine = [at for at in range(len(entries)) if cells[at] == cell]
        told_apart = {bits: [int(places[at]) >> (64 - bits) << (64 - bits) for at in mine] for bits in range(65)}
        bits = max(bits for bits, heads in told_apart.items() if len(set(heads)) <= limit)
        assert found.bits[cell] == bits
        for at, head in zip(mine, told_apart[bits], strict=True):
            weight, pages = expected.get((cell, head), (0, 0))
            expected[cell, head] = weight + int(weights[at]), pages + 1
    rows = zip(found.cells.tolist(), found.places.tolist(), found.weights.tolist(), found.pages.tolist(), strict=True)
    assert [((cell, place), (weight, pages)) for cell, place, weight, pages in rows] == sorted(expected.items())


@given(st.lists(VALUES, min_size=1))
def test_places_sort_as_the_values_do_and_lead_back_to_them(values):
    values = np.array([value for value in values if not math.isnan(value)] or [0.0])
    for lowest in (False, True):
        column = ranked(values, np.ones(len(values), np.int64), lowest=lowest)
        assert (floats(column.places, lowest) == values).all()
        order = np.argsort(column.places, kind="stable")
        assert (values[order] == np.array(sorted(values, reverse=not lowest))).all()
    assert ordered(np.array([-0.0]))[0] == ordered(np.array([0.0]))[0]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50)), min_size=1, max_size=40), st.floats(0.01, 1))
def test_a_share_becomes_the_hardest_threshold_that_keeps_it(pages, share):
    """The threshold of a cumulative sum in float64, with the same tolerance: equal wherever float64 can tell."""
    values = np.array([value for value, _ in pages], float)
    weights = np.array([weight for _, weight in pages])
    order = np.argsort(-values, kind="stable")
    cumulative = np.cumsum(weights[order], dtype=float)
    reached = int(np.searchsorted(cumulative, share * cumulative[-1] * (1 - 1e-12)))
    found = cuts([ranked(values, weights)], Targets("share", (share,)))
    assert floats(found.places)[0, 0] == values[order][min(reached, len(order) - 1)]


@pytest.mark.parametrize(
    ("share", "pages", "kept"), [(0.3, 10, 3), (0.30000000000000004, 10, 3), (1 - 0.7, 10, 3), (2 / 3, 3, 2), (0.07, 100, 7)]
)
def test_a_share_of_whole_pages_is_that_many(share, pages, kept):
    found = cuts([ranked(np.arange(float(pages)), np.ones(pages, np.int64))], Targets("share", (share,)))
    assert found.beyond[0, 0] + found.tied[0, 0] == kept


def test_what_is_needed_is_whole_and_exact_but_for_a_share_up_to_one_part_in_a_million_millions():
    totals = np.array([0, 1, 10, 2 * 10**12])
    assert Targets("share", (0.5, 1.0)).needs(totals).tolist() == [[0, 1, 5, 10**12 - 1], [0, 1, 10, 2 * 10**12 - 2]]
    assert Targets("at least", (3, 11)).needs(totals).tolist() == [[1, 2, 3, 3], [1, 2, 11, 11]]
    assert Targets("at most", (3, 11)).needs(totals).tolist() == [[1, 2, 4, 4], [1, 2, 11, 12]]


def test_weights_beyond_what_float64_counts_are_added_exactly():
    weights = np.array([2**53, 1, 1, 2**53])
    found = cuts([ranked(np.array([4.0, 3.0, 2.0, 1.0]), weights)], Targets("at least", (2**53 + 1, 2**53 + 2, 2**53 + 3)))
    assert floats(found.places)[:, 0].tolist() == [3.0, 2.0, 1.0]
    assert found.beyond[:, 0].tolist() == [2**53, 2**53 + 1, 2**53 + 2]


def test_weights_that_63_bits_do_not_hold_are_refused():
    column = ranked(np.array([1.0, 2.0]), np.array([2**62, 2**62]))
    with pytest.raises(ValueError, match=r"ranked by ranking add up to 2\^63"):
        cuts([column], Targets("share", (0.5,)))


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        ranked(np.array([1.0, 2.0]), np.array([1, -1]))


def test_a_ranking_within_ten_thousand_groups_is_served_and_one_more_is_refused():
    def column(groups):
        return ranked(np.arange(float(groups)), np.ones(groups, np.int64), within=pa.array(range(groups)))

    found = cuts([column(10_000)], Targets("share", (1.0,)))
    assert floats(found.places)[0].tolist() == [float(name) for name in found.names]
    with pytest.raises(ValueError, match=r"ranked within 10,001 groups, at most 10,000 are served"):
        cuts([column(10_001)], Targets("share", (1.0,)))


def test_a_part_that_is_read_differently_in_a_later_pass_is_noticed():
    values = np.random.default_rng(0).random(1000)
    passes = iter([ranked(values, np.ones(1000, np.int64)), ranked(values[:-500], np.ones(500, np.int64))])
    with crowded(True), pytest.raises(ValueError, match="some part was read differently"):
        find({"ranking": Targets("share", (0.5,))}, lambda wanted: merged([count(wanted, lambda _: next(passes))]))


@pytest.mark.parametrize("lowest", [True, False])
def test_many_targets_over_a_large_table_take_few_passes_and_small_tables(lowest):
    rng = np.random.default_rng(0)
    values, weights = rng.random(200_000) ** 8, rng.integers(0, 10_000, 200_000)
    columns = [ranked(values[part::3], weights[part::3], lowest=lowest) for part in range(3)]
    shares = tuple((np.arange(100) + 1) / 100)
    entries = []

    def counted(wanted):
        found = merged([count(wanted, lambda _, column=column: column) for column in columns])
        entries.append(len(found["ranking"].cells))
        return found

    found = find({"ranking": Targets("share", shares)}, counted)["ranking"]
    order = np.argsort(values if lowest else -values)
    cumulative = np.cumsum(weights[order])
    expected = [values[order][np.searchsorted(cumulative, -(-(at + 1) * cumulative[-1] // 100))] for at in range(100)]
    assert floats(found.places, lowest)[:, 0].tolist() == expected
    assert len(entries) <= 4 and max(entries) <= quantiles.OPEN_BUCKETS


def test_a_budget_takes_as_many_pages_of_a_tie_as_it_holds_in_the_order_of_their_draws():
    pages = [(1.0, 10, draw, None, True) for draw in (7, 3, 9, 1, 5)] + [(2.0, 10, 0, None, True)]
    found = cuts([column_of(pages)], Targets("at most", (9, 10, 35, 60, 1000)))
    kept = [np.flatnonzero(found.keeps(column_of(pages), target)).tolist() for target in range(5)]
    assert kept == [[], [5], [1, 3, 5], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]]
    without = cuts([column_of(pages, drawn=False)], Targets("at most", (35,)))
    assert np.flatnonzero(without.keeps(column_of(pages, drawn=False), 0)).tolist() == [5]


def test_draws_are_ranked_as_the_whole_numbers_they_are():
    draws = np.array([2**64 - 1, 2**63 + 1, 2**63, 3], np.uint64)
    found = cuts([ranked(draws, np.ones(4, np.int64), lowest=True)], Targets("at least", (1, 2, 3, 4)))
    assert found.places[:, 0].tolist() == sorted(draws.tolist())


@settings(deadline=None)
@given(st.lists(st.one_of(st.floats(), st.sampled_from([0.0, 1.0, math.inf, -math.inf])), min_size=1, max_size=50))
@example([0.0, math.nan])
def test_ranks_grow_with_the_value_and_are_the_middle_of_a_tie(values):
    array = np.array(values)
    measured = array[~np.isnan(array)]
    found = cuts([ranked(array, np.ones(len(array), np.int64), lowest=True)], RANKS)
    if not len(measured):
        return
    stood = ranks(array, floats(found.places, lowest=True)[:, 0])
    assert (np.isnan(stood) == np.isnan(array)).all()
    rank = stood[~np.isnan(array)]
    assert ((rank >= 0) & (rank <= 1)).all()
    assert (np.diff(rank[np.argsort(measured)]) >= 0).all()
    for value in set(measured.tolist()):
        middle = ((measured < value).mean() + (measured <= value).mean()) / 2
        assert abs(rank[measured == value][0] - middle) <= 0.5 / len(measured) + 2 / 1024


def test_a_value_stands_at_its_quantile_and_one_that_several_share_in_their_middle():
    stood = ranks(np.array([-math.inf, 0, 0.5, 1, 2, 3, math.inf]), np.array([0.0, 1, 1, 3]))
    assert stood.tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1]


def test_ranks_of_many_different_values_are_exact_to_a_quantile():
    values = np.random.default_rng(0).normal(size=50_000)
    found = cuts([ranked(values, np.ones(50_000, np.int64), lowest=True)], RANKS)
    stood = ranks(values, floats(found.places, lowest=True)[:, 0])
    exact = np.empty(50_000)
    exact[np.argsort(values)] = np.arange(50_000) / 49_999
    assert abs(stood - exact).max() < 1 / 1024
