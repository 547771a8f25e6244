"""What of a benchmark stands in pages: word n-grams of its items, looked for in every page in one pass.

As GPT-3 did (Brown et al. 2020, appendix C): words in lower case without punctuation, runs of 13 of them, of shorter items
as many as they have, down to 8. Here n is the piece's own, not the benchmark's. An item is a row of a benchmark's file and
has pieces, such as a question and its answers; a piece of fewer than 8 words cannot be looked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.draws import mix as mixed
from filters.duplicates.shingles import ALONE, GAP, NOTHING, Fold, folds, roll, step
from filters.kernels.text import Bytes, Hashes, Offsets, decode, finish, kernel, most_in_a_page
from filters.kernels.unicode_tables import CLASSES, DIGIT
from filters.pages import PageBatch

Integers = npt.NDArray[np.int64]

LEAST, MOST = 8, 13
"""Words of an n-gram (Brown et al. 2020, appendix C)."""


@cache
def number_folds() -> Fold:
    """`folds`, but that digits stay apart: two questions that differ in a year are two."""
    table = folds().copy()
    digits = np.flatnonzero(CLASSES & DIGIT != 0)
    table[digits] = [ord("0") + int(chr(code)) for code in digits.tolist()]
    table.flags.writeable = False
    return table


@kernel
def find_words(data: Bytes, at: int, end: int, fold: Fold, words: Hashes, starts: Offsets, ends: Offsets) -> int:
    """Write the hashes of a text's words and where each begins and ends; how many."""
    found, inside = 0, False
    hashed = np.uint64(1)
    begin = stop = at
    while at < end:
        code, size = decode(data, at, end)
        folded = int(fold[code])
        if folded != NOTHING and inside and (folded == GAP or folded >= ALONE):
            words[found], starts[found], ends[found] = finish(hashed), begin, stop
            found += 1
            inside = False
        if folded >= 0:
            hashed, begin = (hashed, begin) if inside else (np.uint64(1), at)
            hashed = step(hashed, folded)
            inside, stop = True, at + size
        at += size
    if inside:
        words[found], starts[found], ends[found] = finish(hashed), begin, stop
        found += 1
    return found


@kernel
def slot_of(gram: np.uint64, grams: Hashes, slots: Integers) -> int:
    """Where a gram stands in the table of slots, or the free slot where it would."""
    mask = len(slots) - 1
    slot = np.int64(gram & np.uint64(mask))
    while slots[slot] >= 0 and grams[slots[slot]] != gram:
        slot = np.int64((slot + 1) & mask)
    return int(slot)


@kernel
def fill_slots(grams: Hashes, slots: Integers) -> None:
    """Give every gram a slot."""
    for at in range(len(grams)):
        slots[slot_of(grams[at], grams, slots)] = at


@kernel
def find_grams(some: Hashes, many: int, grams: Hashes, slots: Integers, at: Integers, which: Integers) -> int:
    """Write the places of those of a page's grams that are looked for, and which they are; how many."""
    found = 0
    for place in range(many):
        gram = slots[slot_of(some[place], grams, slots)]
        if gram >= 0:
            at[found], which[found] = place, gram
            found += 1
    return found


@dataclass(frozen=True)
class Benchmark:
    """The n-grams of a benchmark: ascending hashes, the n of each, and (gram, item) pairs; which items can be checked."""

    grams: Hashes
    sizes: Integers
    slots: Integers
    of_gram: Integers
    of_item: Integers
    checkable: npt.NDArray[np.bool_]

    def items(self, gram: int) -> list[int]:
        """The items that have a gram."""
        low, high = np.searchsorted(self.of_gram, [gram, gram + 1])
        return list(map(int, self.of_item[low:high]))


def benchmark(items: Sequence[Sequence[str]]) -> Benchmark:
    """The index of items, each given by its pieces."""
    pieces = [(number, piece) for number, item in enumerate(items) for piece in item]
    batch = PageBatch(pa.array([piece for _, piece in pieces], pa.large_string()))
    grams, sizes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    checkable = np.zeros(len(items), bool)
    for (number, _), (words, _) in zip(pieces, _words(batch), strict=True):
        if len(words) >= LEAST:
            n = min(len(words), MOST)
            some = ngrams(words, n)
            grams.append(some)
            sizes.append(np.full(len(some), n))
            owners.append(np.full(len(some), number))
            checkable[number] = True
    different, first, which = np.unique(np.concatenate(grams), return_index=True, return_inverse=True)
    pairs = np.unique(np.stack([which, np.concatenate(owners)], axis=1), axis=0)
    slots = np.full(1 << max(4, (2 * len(different)).bit_length()), -1, np.int64)
    fill_slots(different, slots)
    return Benchmark(different, np.concatenate(sizes)[first], slots, pairs[:, 0].copy(), pairs[:, 1].copy(), checkable)


def ngrams(words: Hashes, n: int) -> Hashes:
    """Hashes of all runs of n words; runs of different n are never equal."""
    grams = np.empty(max(len(words), 1), np.uint64)
    many = int(roll(words, len(words), n, grams))
    return mixed(grams[:many] ^ np.uint64(n))


def _words(pages: PageBatch) -> Iterator[tuple[Hashes, Integers]]:
    """Of each page the hashes of its words and where they begin and end in `pages.data`; shapes (words,), (2, words)."""
    room = int(most_in_a_page(pages.offsets)) + 1
    hashes, starts, ends = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    for page in range(len(pages)):
        first, last = pages.offsets[page], pages.offsets[page + 1]
        many = int(find_words(pages.data, first, last, number_folds(), hashes, starts, ends))
        yield hashes[:many].copy(), np.stack([starts[:many], ends[:many]])


@dataclass(frozen=True)
class Hits:
    """N-grams of a benchmark in a page, in its order: which, at which word, and the span in bytes of the page's text."""

    words: int
    grams: Integers
    places: Integers
    spans: Integers


def find(pages: PageBatch, of: Benchmark) -> Iterator[Hits]:
    """The hits of each page."""
    sizes = np.unique(of.sizes).tolist()
    for page, (words, ends) in enumerate(_words(pages)):
        at, which = np.empty(len(words) + 1, np.int64), np.empty(len(words) + 1, np.int64)
        found = [np.zeros((3, 0), np.int64)]
        for n in sizes:
            some = ngrams(words, n)
            many = int(find_grams(some, len(some), of.grams, of.slots, at, which))
            found.append(np.stack([which[:many], at[:many], np.full(many, n)]))
        grams, places, lengths = np.concatenate(found, axis=1)
        order = np.lexsort((lengths, places))
        grams, places, lengths = grams[order], places[order], lengths[order]
        spans = np.stack([ends[0][places], ends[1][places + lengths - 1]], axis=1) - pages.offsets[page]
        yield Hits(len(words), grams, places, spans)


def share(words: int, places: Integers, sizes: Integers) -> float:
    """Share of a page's 13-grams that hold one of these n-grams; NaN where it has fewer words than any n-gram.

    A page of fewer words than 13 is one run of all of them.
    """
    if words < LEAST:
        return float("nan")
    windows = max(words - MOST + 1, 1)
    if words < MOST:
        return float(len(places) > 0)
    edges = np.zeros(windows + 1, np.int64)
    np.add.at(edges, np.maximum(places + sizes - MOST, 0), 1)
    np.add.at(edges, np.minimum(places, windows - 1) + 1, -1)
    return float((np.cumsum(edges[:-1]) > 0).mean())
