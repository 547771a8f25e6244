"""Which pages of a bucket are compared: every pair of a small one; in a hot one each page with the bucket's hubs and
neighbours.

A bucket is the pages that share the key of a band. No bucket is skipped and none costs the square of its size. Hubs are the
most typical pages: those which share the most bands with the others, so that copies of one page are compared with that page,
and with the few copies whose signature is the same. Neighbours are the pages before it in the order of `Signatures.order`,
in which like pages stand near each other, the same in every bucket, so that bands find the same pairs again and not others.

Held-out pages and pages of the pool are linked among themselves, and each page of the pool also with held-out ones: with
every one where they are few, else with their hubs and its neighbours among them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filters.kernels.text import Hashes, kernel

Integers = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]

ALL_PAIRS = 32
"""Pages of a bucket in which all pairs are compared."""
NEIGHBOURS = 8
"""Pages before it that a page of a hot bucket is compared with, beside the hubs. Both were tried (docs/duplicates.md): with
16 and 2 half as many pairs are compared, and pages of clusters of 300 come out less like each other than they are."""


HUBS = 16
"""Of a bucket at most. In a cluster of 20,000 copies 14 pages were as typical as the one they were made from; with 8 hubs it
was not among them, and none of its copies was found to be as like it as it is."""
PLACES, SYMBOLS = 16, 16
"""A sketch is so many numbers of four bits."""


def sketches(bands: Hashes) -> Hashes:
    """Of each page four bits of each of its band keys, (pages, bands), in one number: how many bands pages share, about."""
    found = np.zeros(len(bands), np.uint64)
    for place in range(PLACES):
        symbols = bands[:, place % bands.shape[1]] >> np.uint64(4 * (place // bands.shape[1])) & np.uint64(SYMBOLS - 1)
        found |= symbols << np.uint64(4 * place)
    return found


@dataclass(frozen=True)
class BandRows:
    """Rows of a band: its key, and of the page: whether it is held out, scope, order, sketch, hash of the id, number."""

    keys: Hashes
    held_out: Truth
    scopes: Hashes
    orders: Hashes
    sketches: Hashes
    hashes: Hashes
    pages: Integers

    def take(self, which: Integers) -> "BandRows":
        """Some of the rows."""
        return BandRows(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


@kernel
def room(keys: Hashes) -> int:
    """An upper bound of the pairs of sorted rows."""
    most, start = 0, 0
    for at in range(1, len(keys) + 1):
        if at == len(keys) or keys[at] != keys[start]:
            size = at - start
            most += min(size * (size - 1) // 2, size * (ALL_PAIRS + 2 * NEIGHBOURS + HUBS))
            start = at
    return most


@kernel
def put(left: Integers, right: Integers, found: int, hashes: Hashes, one: int, other: int) -> int:
    """Append a pair of rows, that of the smaller hash first; how many there are then."""
    first, second = (one, other) if hashes[one] < hashes[other] else (other, one)
    left[found], right[found] = first, second
    return found + 1


@kernel
def common_symbols(sketches: Hashes, start: int, end: int) -> np.uint64:
    """The sketch of the symbols that most rows have, at each place; of equally many the smallest."""
    common = np.uint64(0)
    for place in range(PLACES):
        counts = np.zeros(SYMBOLS, np.int64)
        shift = np.uint64(4 * place)
        for at in range(start, end):
            counts[sketches[at] >> shift & np.uint64(SYMBOLS - 1)] += 1
        common |= np.uint64(counts.argmax()) << shift
    return common


@kernel
def agreeing(sketch: np.uint64, common: np.uint64) -> int:
    """At how many places two sketches agree."""
    agree = 0
    for place in range(PLACES):
        agree += int((sketch ^ common) >> np.uint64(4 * place) & np.uint64(SYMBOLS - 1) == 0)
    return agree


@kernel
def typical(hashes: Hashes, sketches: Hashes, start: int, end: int) -> Integers:
    """The rows whose sketches have the most of the most common symbols; of more than HUBS those with the smallest hashes."""
    common, most = common_symbols(sketches, start, end), 0
    for at in range(start, end):
        most = max(most, agreeing(sketches[at], common))
    hubs, found = np.empty(HUBS + 1, np.int64), 0
    for at in range(start, end):
        if agreeing(sketches[at], common) == most:
            place = found
            while place > 0 and hashes[hubs[place - 1]] > hashes[at]:
                hubs[place] = hubs[place - 1]
                place -= 1
            hubs[place] = at
            found = min(found + 1, HUBS)
    return hubs[:found]


@kernel
def link_hubs(hashes: Hashes, hubs: Integers, at: int, left: Integers, right: Integers, found: int) -> int:
    """Pairs of a row and the hubs, but for its neighbours: those are pairs already, and two hubs are one once."""
    is_hub = (hubs == at).any()
    for hub in hubs:
        if abs(at - hub) > NEIGHBOURS and not (is_hub and hub > at):
            found = put(left, right, found, hashes, at, hub)
    return found


@kernel
def link_within(hashes: Hashes, sketches: Hashes, start: int, end: int, left: Integers, right: Integers, found: int) -> int:
    """Pairs of the rows of one bucket, side and scope, which stand in order."""
    hot = end - start > ALL_PAIRS
    before = NEIGHBOURS if hot else end - start
    hubs = typical(hashes, sketches, start, end) if hot else np.empty(0, np.int64)
    for at in range(start, end):
        for other in range(max(start, at - before), at):
            found = put(left, right, found, hashes, at, other)
        found = link_hubs(hashes, hubs, at, left, right, found)
    return found


@kernel
def place_of(order: int, orders: Hashes, by_order: Integers, start: int, end: int) -> int:
    """Where a row of this order would stand among the rows `by_order[start:end]`."""
    while start < end:
        middle = (start + end) // 2
        if orders[by_order[middle]] < order:
            start = middle + 1
        else:
            end = middle
    return start


@kernel
def link_across(
    hashes: Hashes,
    orders: Hashes,
    sketches: Hashes,
    by_order: Integers,
    start: int,
    held_out: int,
    end: int,
    left: Integers,
    right: Integers,
    found: int,
) -> int:
    """Pairs of the rows `start` to `held_out`, of the pool, with those from there to `end`."""
    if end - held_out <= ALL_PAIRS:
        for at in range(start, held_out):
            for other in range(held_out, end):
                left[found], right[found] = other, at
                found += 1
        return found
    hubs = typical(hashes, sketches, held_out, end)
    for at in range(start, held_out):
        place = place_of(orders[at], orders, by_order, held_out, end)
        for k in range(max(held_out, place - NEIGHBOURS), min(end, place + NEIGHBOURS)):
            left[found], right[found] = by_order[k], at
            found += int((hubs != by_order[k]).all())
        for hub in hubs:
            left[found], right[found] = hub, at
            found += 1
    return found


@kernel
def link_sorted(
    keys: Hashes,
    held_out: Truth,
    scopes: Hashes,
    orders: Hashes,
    sketches: Hashes,
    hashes: Hashes,
    by_order: Integers,
    left: Integers,
    right: Integers,
) -> int:
    """Fill in the pairs of rows sorted by key, side, scope and order; how many. `by_order`: sorted but for the scope."""
    found, start = 0, 0
    while start < len(keys):
        end = start
        first_held_out = -1
        while end < len(keys) and keys[end] == keys[start]:
            run = end
            while (
                run < len(keys)
                and keys[run] == keys[start]
                and held_out[run] == held_out[end]
                and scopes[run] == scopes[end]
            ):
                run += 1
            found = link_within(hashes, sketches, end, run, left, right, found)
            if held_out[end] and first_held_out < 0:
                first_held_out = end
            end = run
        if first_held_out > start:
            found = link_across(hashes, orders, sketches, by_order, start, first_held_out, end, left, right, found)
        start = end
    return found


def in_order(rows: BandRows) -> Integers:
    """The order in which `link_ordered` takes rows: the same for all bands of the same pages."""
    order: Integers = np.lexsort((rows.hashes, rows.orders, rows.scopes, rows.held_out))
    return order


def link(rows: BandRows) -> tuple[Integers, Integers]:
    """Which rows are compared: two arrays of places in `rows`, shape (pairs,); no pair twice in one bucket.

    The first of a pair is the page with the smaller hash of its id, or the held-out one.
    """
    order = in_order(rows)
    left, right = link_ordered(rows.take(order))
    return order[left], order[right]


def link_ordered(rows: BandRows) -> tuple[Integers, Integers]:
    """The same of rows that stand in order."""
    order = np.argsort(rows.keys, kind="stable")
    keys = rows.keys[order]
    same = keys[1:] == keys[:-1]
    if len(keys):  # most pages are alone in most of their buckets
        order = order[np.append(same, False) | np.append(False, same)]
    some = rows.take(order)
    left, right = (np.empty(int(room(some.keys)), np.int64) for _ in range(2))
    by_order = np.arange(len(order))
    if len(order) and some.held_out.any() and (some.scopes != some.scopes[0]).any():
        by_order = np.lexsort((some.orders, some.held_out, some.keys))
    found = link_sorted(
        some.keys, some.held_out, some.scopes, some.orders, some.sketches, some.hashes, by_order, left, right
    )
    return order[left[:found]], order[right[:found]]
