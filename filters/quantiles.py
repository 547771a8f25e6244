"""Weighted quantiles of all pages, exact, from what every part counts by itself.

Pages are ranked by a key, best first: by their *places*, unsigned 64-bit numbers that sort as the keys do. A cut is the
place at which the weight of the pages up to it reaches a target. In a pass every part adds up the weight under the leading
bits of its places; sums of parts are added in any order; the driver finds the bucket of every target, and the next pass
looks at the pages in those buckets alone. All targets of a ranking, and all groups that are ranked apart, share the passes.

A pass tells as many leading bits apart as fit into a fixed number of buckets, so a table is small whatever the keys are. One
target takes four passes at most, 100 targets two to five and never more than seven, and splitting ties one or two more.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.draws import Hashes
from filters.kernels.compiled import kernel

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Key = TypeVar("Key", bound=Hashable)

MOST_GROUPS = 10_000
"""Groups one ranking is made within: beyond, quantiles within a column are a sort by group."""
BUCKETS = 1 << 16
"""Buckets of a ranking in the first pass."""
GROUP_BUCKETS = 1 << 9
"""Buckets of each group in the first pass: 10,000 groups of them are 150 MB, the 200 languages of a crawl 3 MB."""
OPEN_BUCKETS, LEAST_BUCKETS = 1 << 17, 1 << 8
"""Buckets of a ranking in a later pass, shared by the cuts still open, and the fewest that an interval of them gets."""
FEW, FIRST_BITS = 1 << 14, 20
"""Up to so many pages are sorted in the first pass; more are counted by so many leading bits, in a table without a sort."""

TOP = np.uint64(1 << 63)
LAST = np.uint64(2**64 - 1)
HEADS = np.array([(2**64 - 1) ^ ((1 << 64 - bits) - 1) for bits in range(65)], np.uint64)
POWERS = np.uint64(1) << np.arange(64, dtype=np.uint64)


def ordered(values: Floats | Hashes) -> Hashes:
    """uint64 that sort as float64 do, with -0.0 as 0.0 and NaN anywhere; uint64 as they are. Shape of `values`."""
    if values.dtype == np.uint64:
        return np.asarray(values, np.uint64)
    bits = (np.asarray(values, np.float64) + 0.0).view(np.uint64)
    return np.where(bits >= TOP, ~bits, bits | TOP)


def floats(places: Hashes, lowest: bool = False) -> Floats:
    """The float64 that are `places` in a ranking from the lowest or the highest; shape of `places`."""
    keys = places if lowest else ~places
    return np.where(keys >= TOP, keys ^ TOP, ~keys).view(np.float64)


@dataclass(frozen=True)
class Column:
    """What one part has of a ranking. `rows` (pages of the part) are the pages ranked; the rest has one entry for each.

    `groups` index `names`. `draws` order pages of one place where a tie is split; without them a tie is never split.
    """

    rows: Truth
    places: Hashes
    weights: Counts
    draws: Hashes | None = None
    groups: Counts | None = None
    names: tuple[str, ...] = ()

    def owners(self, names: tuple[str, ...] | None) -> Counts:
        """Index of each ranked page's group in `names`, -1 where it is not there; 0 in a ranking without groups."""
        if names is None or self.groups is None:
            return np.zeros(len(self.places), np.int64)
        known = {name: place for place, name in enumerate(names)}
        return np.array([known.get(name, -1) for name in self.names], np.int64)[self.groups]


def ranked(
    values: Floats | Hashes,
    weights: Counts,
    *,
    lowest: bool = False,
    draws: Hashes | None = None,
    within: pa.Array | pa.ChunkedArray | None = None,
    among: Truth | None = None,
) -> Column:
    """A part's pages ranked by float64 or uint64 values, from the highest or the lowest; each array has shape (pages,).

    NaN is not measured and not ranked. `within` names each page's group, null as `None`; `among` says who may be ranked.
    """
    if len(weights) and weights.min() < 0:
        raise ValueError(f"a page's weight must not be negative, got {weights.min():,}")
    rows = np.ones(len(values), bool) if values.dtype == np.uint64 else ~np.isnan(values)
    if among is not None:
        rows = rows & among
    keys = ordered(values[rows])
    column = Column(
        rows, keys if lowest else ~keys, np.asarray(weights[rows], np.int64), None if draws is None else draws[rows]
    )
    if within is None:
        return column
    coded = pc.dictionary_encode(pa.array(within).filter(pa.array(rows)), null_encoding="encode")
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    called = [str(name) for name in coded.dictionary.to_pylist()]
    names = tuple(sorted(set(called)))
    code_of = {name: code for code, name in enumerate(names)}
    codes = np.array([code_of[name] for name in called], np.int64)[coded.indices.to_numpy(zero_copy_only=False)]
    return replace(column, groups=codes, names=names)


@dataclass(frozen=True)
class Targets:
    """The cuts that are looked for in one ranking, in each of its groups.

    `share` and `at least`: the fewest pages, ties whole, that hold this share of the measured weight, or this weight. Whole
    numbers are compared exactly, and a share is met up to one part in 10^12: 0.3 of 10 pages is 3 of them whatever binary
    makes of 0.3. `at most`: as many pages as this weight holds; of those that tie at the cut, the ones of the lowest draws.
    """

    kind: Literal["share", "at least", "at most"]
    amounts: tuple[float, ...]

    def needs(self, totals: Counts) -> Counts:
        """The weight at which each cut lies, given that of each group, in whole numbers; shape (targets, groups)."""
        needs = [self._needs(amount, totals.tolist()) for amount in self.amounts]
        return np.array(needs, np.int64).reshape(len(self.amounts), len(totals))

    def _needs(self, amount: float, totals: list[int]) -> list[int]:
        if self.kind == "share":
            met = Fraction(amount) * (1 - Fraction(1, 10**12))
            return [-(-met.numerator * total // met.denominator) for total in totals]
        more = int(self.kind == "at most")
        return [min(int(amount) + more, total + 1) for total in totals]


@dataclass(frozen=True)
class Open:
    """The intervals of places in which cuts of one ranking lie: `first[g]:first[g + 1]` are those of group g, ascending.

    `limits` says how many buckets each may have.
    Where ties are split, the groups are the intervals of `ties`, each a single place, and the pages in them are ranked by
    their draws.
    """

    names: tuple[str, ...] | None
    first: Counts
    low: Hashes
    high: Hashes
    limits: Counts
    ties: "Open | None" = None


@dataclass(frozen=True)
class Buckets:
    """Weight and pages by bucket, ascending by (cell, place). A cell is a group in the first pass, later an open interval.

    Its places are told apart by their leading `bits` (cells,), so that no cell has more than its limit of buckets (cells,).
    """

    cells: Counts
    places: Hashes
    weights: Counts
    pages: Counts
    bits: Counts
    limits: Counts
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Found:
    """The cuts of one ranking. `totals` and `measured`, the weight and number of its pages, have shape (groups,), the rest
    (targets, groups); a ranking without groups has one, and no names.

    `beyond` is the weight before the cut, `tied` that at the cut. Pages before the cut are kept; those at its place too, or
    where the target is `at most`, those of them with a draw below `draws`. `whole`: the target takes in everything.
    """

    targets: Targets
    names: tuple[str, ...] | None
    places: Hashes
    draws: Hashes
    beyond: Counts
    tied: Counts
    whole: Truth
    totals: Counts
    measured: Counts

    def keeps(self, column: Column, target: int) -> Truth:
        """True for the pages of a part that a target keeps; shape (pages of the part,)."""
        owners = 0 if self.names is None else column.owners(self.names)
        cut = self.places[target][owners]
        if self.targets.kind == "at most":
            kept = (column.places < cut) | self.whole[target][owners]
            if column.draws is not None:
                kept |= (column.places == cut) & (column.draws < self.draws[target][owners])
        else:
            kept = column.places <= cut
        everywhere = np.zeros(len(column.rows), bool)
        everywhere[column.rows] = kept & (owners >= 0)
        return everywhere


def find(
    targets: Mapping[Key, Targets], counted: Callable[[Mapping[Key, Open | None]], Mapping[Key, Buckets]]
) -> dict[Key, Found]:
    """The cuts of several rankings. `counted` is given what is open, has every part `count` it, and returns it `merged`."""
    searches = {key: _Search(looked_for) for key, looked_for in targets.items()}
    while waiting := {key: search for key, search in searches.items() if search.found is None}:
        counts = counted({key: search.open for key, search in waiting.items()})
        for key, search in waiting.items():
            search.advance(counts[key])
    return {key: search.found for key, search in searches.items() if search.found is not None}


def count(wanted: Mapping[Key, Open | None], column_of: Callable[[Key], Column]) -> dict[Key, Buckets]:
    """What one part has in the open intervals of each ranking."""
    return {key: _count_all(column_of(key)) if one is None else _count(column_of(key), one) for key, one in wanted.items()}


def merged(counts: Sequence[Mapping[Key, Buckets]]) -> dict[Key, Buckets]:
    """The sums of several parts' counts, or of such sums, in any order.

    Raises ValueError for a ranking within more groups than are served, and for weights that do not fit into 63 bits.
    """
    return {key: _added(key, [one[key] for one in counts]) for key in counts[0]}


def check_groups(key: Hashable, names: Sequence[str] | None) -> None:
    """Raise ValueError for a ranking within more groups than are served."""
    if names is not None and len(names) > MOST_GROUPS:
        raise ValueError(
            f"{key} is ranked within {len(names):,} groups, at most {MOST_GROUPS:,} are served: "
            "take a column with fewer values"
        )


def _added(key: Hashable, many: Sequence[Buckets]) -> Buckets:
    names, limits, cells_of = None, many[0].limits, [np.arange(len(one.bits)) for one in many]
    if many[0].names is not None:
        names = tuple(sorted({name for one in many for name in one.names or ()}))
        check_groups(key, names)
        known = {name: cell for cell, name in enumerate(names)}
        cells_of = [np.array([known[name] for name in one.names or ()], np.int64) for one in many]
        limits = np.full(len(names), GROUP_BUCKETS)
    if sum(float(one.weights.sum(dtype=np.float64)) for one in many) >= 2.0**63:
        raise ValueError(f"the weights of the pages ranked by {key} add up to 2^63 or more: weigh them in larger units")
    bits = np.full(len(limits), 64)
    for own, one in zip(cells_of, many, strict=True):
        bits[own] = np.minimum(bits[own], one.bits)
    cells = np.concatenate([own[one.cells] for own, one in zip(cells_of, many, strict=True)])
    places = np.concatenate([one.places for one in many]) & HEADS[bits[cells]]
    weights, pages = np.concatenate([one.weights for one in many]), np.concatenate([one.pages for one in many])
    return _summed(Buckets(cells, places, weights, pages, bits, limits, names))


def _count_all(column: Column) -> Buckets:
    """The first pass: all pages of a part, by group."""
    places, weights, ones = column.places, column.weights, np.ones(len(column.places), np.int64)
    if column.groups is not None:
        groups = len(column.names)
        bits, limits = np.full(groups, 64), np.full(groups, GROUP_BUCKETS)
        return _summed(Buckets(column.groups, places, weights, ones, bits, limits, column.names))
    cell, limits = np.zeros(len(places), np.int64), np.array([BUCKETS])
    if len(places) <= FEW:
        return _summed(Buckets(cell, places, weights, ones, np.array([64]), limits))
    heads = (places >> np.uint64(64 - FIRST_BITS)).astype(np.int64)
    table = np.zeros(1 << FIRST_BITS, np.int64)
    np.add.at(table, heads, weights)
    pages = np.bincount(heads, minlength=1 << FIRST_BITS)
    some = np.flatnonzero(pages)
    places = some.astype(np.uint64) << np.uint64(64 - FIRST_BITS)
    return _bounded(Buckets(cell[: len(some)], places, table[some], pages[some], np.array([FIRST_BITS]), limits))


def _count(column: Column, open_: Open) -> Buckets:
    """A later pass: the pages of a part that lie in open intervals."""
    owners, places = column.owners(open_.names), column.places
    if open_.ties is not None:
        owners = find_intervals(owners, places, open_.ties.first, open_.ties.low, open_.ties.high)
        places = np.zeros(len(places), np.uint64) if column.draws is None else column.draws
    cells = find_intervals(owners, places, open_.first, open_.low, open_.high)
    inside = np.flatnonzero(cells >= 0)
    bits, ones = np.full(len(open_.low), 64), np.ones(len(inside), np.int64)
    return _summed(Buckets(cells[inside], places[inside], column.weights[inside], ones, bits, open_.limits))


@kernel
def find_intervals(owners: Counts, places: Hashes, first: Counts, low: Hashes, high: Hashes) -> Counts:
    """The interval of its owner that each place lies in, -1 where there is none or no owner; shape (places,)."""
    found = np.full(len(places), -1, np.int64)
    for row in range(len(places)):
        if owners[row] < 0:
            continue
        begin, end = first[owners[row]], first[owners[row] + 1]
        while begin < end:
            middle = (begin + end) // 2
            if low[middle] <= places[row]:
                begin = middle + 1
            else:
                end = middle
        if begin > first[owners[row]] and places[row] <= high[begin - 1]:
            found[row] = begin - 1
    return found


def _summed(one: Buckets) -> Buckets:
    """Entries in any order as buckets."""
    order = np.argsort(one.places)
    if len(one.bits) > 1:
        cells = one.cells[order]  # up to 2^16 cells NumPy sorts them by their two bytes, in no time
        order = order[np.argsort(cells.astype(np.uint16) if len(one.bits) <= 1 << 16 else cells, kind="stable")]
    arrays = one.cells[order], one.places[order], one.weights[order], one.pages[order]
    return _bounded(_joined(Buckets(*arrays, one.bits, one.limits, one.names)))


def _joined(one: Buckets) -> Buckets:
    """Entries in order, with those of one cell and place made one."""
    if not len(one.cells):
        return one
    new = (one.cells[1:] != one.cells[:-1]) | (one.places[1:] != one.places[:-1])
    starts = np.concatenate([[0], np.flatnonzero(new) + 1])
    weights, pages = np.add.reduceat(one.weights, starts), np.add.reduceat(one.pages, starts)
    return replace(one, cells=one.cells[starts], places=one.places[starts], weights=weights, pages=pages)


def _bounded(one: Buckets) -> Buckets:
    """Buckets with as many leading bits as fit into the limit of each cell.

    Two neighbours are in one bucket up to their first different bit. A part of the pages has no more buckets than all of
    them, at any number of bits, so what is left when all are added does not depend on the order.
    """
    full = np.flatnonzero(np.bincount(one.cells, minlength=len(one.bits)) > one.limits)
    if not len(full):
        return one
    place_of = np.full(len(one.bits), -1)
    place_of[full] = np.arange(len(full))
    pairs = np.flatnonzero((one.cells[1:] == one.cells[:-1]) & (place_of[one.cells[1:]] >= 0))
    apart = 65 - np.searchsorted(POWERS, one.places[pairs] ^ one.places[pairs + 1], side="right")
    table = np.bincount(place_of[one.cells[pairs]] * 65 + apart, minlength=len(full) * 65).reshape(-1, 65)
    bits = one.bits.copy()
    bits[full] = np.minimum(bits[full], (1 + table.cumsum(axis=1) <= one.limits[full, None]).sum(axis=1) - 1)
    return _joined(replace(one, bits=bits, places=one.places & HEADS[bits[one.cells]]))


class _Search:
    """Where the cuts of one ranking are known to lie; arrays have one entry per target and group, targets first.

    A cut lies in the interval `low` to `high` of its `owner`, a group or a tie, which holds `weight` and `pages` behind
    `beyond`: where `need` of that weight is reached. `cell` is the interval's place among those counted, -1 if it is not.
    """

    names: tuple[str, ...] | None
    totals: Counts
    measured: Counts
    owner: Counts
    cell: Counts
    need: Counts
    beyond: Counts
    low: Hashes
    high: Hashes
    weight: Counts
    pages: Counts
    whole: Truth
    places: Hashes

    def __init__(self, targets: Targets) -> None:
        self.targets = targets
        self.open: Open | None = None
        self.ties: Open | None = None
        self.found: Found | None = None

    def advance(self, counted: Buckets) -> None:
        """One pass further."""
        if self.open is None:
            self._begin(counted)
        self._narrow(counted)
        waiting = (self.cell >= 0) & (self.low < self.high)
        if not waiting.any() and self.ties is None:
            waiting = self._split_ties()
        if waiting.any():
            owners = len(self.totals) if self.ties is None else len(self.ties.low)
            first, at, self.cell = _intervals(self.owner, self.low, waiting, owners)
            share = OPEN_BUCKETS * np.bincount(self.cell[waiting]) // waiting.sum()
            limits = np.maximum(share, LEAST_BUCKETS)
            self.open = Open(self.names, first, self.low[at], self.high[at], limits, self.ties)
        else:
            self.found = self._end()

    def _begin(self, counted: Buckets) -> None:
        groups, targets = len(counted.bits), len(self.targets.amounts)
        self.names = counted.names
        self.totals, self.measured = np.zeros(groups, np.int64), np.zeros(groups, np.int64)
        np.add.at(self.totals, counted.cells, counted.weights)
        np.add.at(self.measured, counted.cells, counted.pages)
        self.owner = np.tile(np.arange(groups), targets)
        self.weight, self.pages = self.totals[self.owner], self.measured[self.owner]
        self.need = self.targets.needs(self.totals).ravel()
        self.whole = (self.need > self.weight) & (self.targets.kind == "at most")
        self.cell = np.where(self.pages > 0, self.owner, -1)
        self.beyond = np.zeros(len(self.owner), np.int64)
        self.low, self.high = np.zeros(len(self.owner), np.uint64), np.full(len(self.owner), LAST)

    def _narrow(self, counted: Buckets) -> None:
        """From the interval of each cut to the bucket of it."""
        live = np.flatnonzero(self.cell >= 0)
        cell = self.cell[live]
        bounds = np.searchsorted(counted.cells, np.arange(len(counted.bits) + 1))
        upto = np.concatenate([[0], np.cumsum(counted.weights)])
        before = upto[bounds[cell]]
        if (upto[bounds[cell + 1]] - before != self.weight[live]).any():
            raise ValueError("a pass found another weight than the pass before it: some part was read differently")
        at = np.searchsorted(upto[1:], before + self.need[live])
        at = np.clip(at, bounds[cell], bounds[cell + 1] - 1)
        self.beyond[live] += upto[at] - before
        self.need[live] -= upto[at] - before
        self.low[live] = counted.places[at]
        self.high[live] = counted.places[at] | ~HEADS[counted.bits[cell]]
        self.weight[live], self.pages[live] = counted.weights[at], counted.pages[at]

    def _split_ties(self) -> Truth:
        """All places are known: from here on a cut lies among the draws of the pages that tie there, if several do."""
        split = (self.pages > 1) & ~self.whole & (self.targets.kind == "at most")
        self.places = self.low
        first, at, owner = _intervals(self.owner, self.low, split, len(self.totals))
        self.ties = Open(self.names, first, self.low[at], self.low[at], np.ones(len(at), np.int64))
        self.owner, self.low, self.high = owner, np.zeros(len(split), np.uint64), np.where(split, LAST, np.uint64(0))
        return split

    def _end(self) -> Found:
        shape = len(self.targets.amounts), len(self.totals)
        return Found(
            self.targets,
            self.names,
            self.places.reshape(shape),
            self.low.reshape(shape),
            self.beyond.reshape(shape),
            self.weight.reshape(shape),
            self.whole.reshape(shape),
            self.totals,
            self.measured,
        )


def _intervals(owner: Counts, low: Hashes, wanted: Truth, owners: int) -> tuple[Counts, Counts, Counts]:
    """The different (owner, low) among the wanted entries, in order.

    Where those of each owner begin, shape (owners + 1,); an entry that has each, shape (intervals,); and the place of every
    entry's among them, -1 where it is not wanted, shape of `owner`.
    """
    rows = np.flatnonzero(wanted)
    rows = rows[np.lexsort((low[rows], owner[rows]))]
    new = np.ones(len(rows), bool)
    new[1:] = (owner[rows][1:] != owner[rows][:-1]) | (low[rows][1:] != low[rows][:-1])
    place = np.full(len(owner), -1)
    place[rows] = np.cumsum(new) - 1
    at = rows[new]
    return np.searchsorted(owner[at], np.arange(owners + 1)), at, place


RANKS = Targets("share", tuple(np.linspace(0, 1, 1024).tolist()))
"""Of a ranking from the lowest: the 1,024 quantiles that `ranks` interpolates between."""


def ranks(values: Floats, quantiles: Floats) -> Floats:
    """Where each value stands among ascending, evenly spaced quantiles, from 0 to 1; shape of `values`, NaN stays NaN.

    A value that several quantiles share has their mean rank. Infinities stand at the ends.
    """
    widest = np.finfo(np.float64).max / 4  # so that differences stay finite
    known, first, many = np.unique(np.clip(quantiles, -widest, widest), return_index=True, return_counts=True)
    rank = (first + (many - 1) / 2) / max(len(quantiles) - 1, 1)
    stood = np.asarray(np.interp(np.clip(values, -widest, widest), known, rank), np.float64)
    return np.where(np.isnan(values), np.nan, stood)  # np.interp gives NaN the rank of a single known value
