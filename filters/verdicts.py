"""What rules drop, counted: of every level at once, from one row of bits per page.

The different rules of all levels are numbered; bit r of a page's row says that it fails rule r. A level is a list of those
numbers, so what its rules drop alone, uniquely and in order is counted in one pass over the rows, whatever the columns were.
All counts are sums over pages and add up over parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.kernels.compiled import kernel, trailing_zeros
from filters.soft_cuts import Copies

Bits = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]


def failing(passes: Sequence[Truth], pages: int) -> Bits:
    """Rows of bits from each rule's verdicts; shape (pages, words of 64 rules)."""
    bits = np.zeros((pages, (len(passes) + 63) // 64), np.uint64)
    for rule, passing in enumerate(passes):
        bits[:, rule // 64] |= (~passing).astype(np.uint64) << np.uint64(rule % 64)
    return bits


def passing(bits: Bits, rules: Sequence[int]) -> Truth:
    """True for the pages that fail none of a level's rules; shape (pages,)."""
    found: Truth = pass_all(bits, _mask(rules, bits.shape[1]))
    return found


def _mask(rules: Sequence[int], words: int) -> Bits:
    mask = np.zeros(words, np.uint64)
    for rule in rules:
        mask[rule // 64] |= np.uint64(1 << rule % 64)
    return mask


@dataclass(frozen=True)
class Tally:
    """What rules and levels keep and drop. The last axis holds weights: pages, bytes, and tokens where there are any.

    all_pages (weights,); failed (rules, weights): whatever other rules say; kept (levels, weights), and read, where pages
    count as often as the level has them read; per level and its rules (rules of the level, weights): uniquely, where no
    other rule of the level fails; in_order, where none before it does.
    names: values of a column, with pages (names,) and failed_by_name (rules, names), in pages.
    """

    all_pages: Counts
    failed: Counts
    kept: Counts
    read: Counts
    uniquely: tuple[Counts, ...]
    in_order: tuple[Counts, ...]
    names: tuple[str, ...] = ()
    pages_by_name: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    failed_by_name: Counts = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def __add__(self, other: Self) -> "Tally":
        names = tuple(sorted({*self.names, *other.names}))
        pages_by_name = np.zeros(len(names), np.int64)
        failed_by_name = np.zeros((len(self.failed), len(names)), np.int64)
        for one in (self, other):
            at = [names.index(name) for name in one.names]
            pages_by_name[at] += one.pages_by_name
            failed_by_name[:, at] += one.failed_by_name
        return Tally(
            self.all_pages + other.all_pages,
            self.failed + other.failed,
            self.kept + other.kept,
            self.read + other.read,
            tuple(a + b for a, b in zip(self.uniquely, other.uniquely, strict=True)),
            tuple(a + b for a, b in zip(self.in_order, other.in_order, strict=True)),
            names,
            pages_by_name,
            failed_by_name,
        )


def tally(
    bits: Bits,
    rules: int,
    levels: Sequence[Sequence[int]],
    weights: Counts,
    named: pa.Array | None = None,
    copies: Mapping[int, Copies] | None = None,
) -> Tally:
    """The counts of one part. weights (pages, weights); `named`: a column of text whose values pages are counted by.

    `copies`: how often some levels, by number, have each page read; shape (pages,), 0 for a page that they drop.
    """
    failed = np.zeros((rules, weights.shape[1]), np.int64)
    count_failed(bits, weights, failed)
    kept = np.zeros((len(levels), weights.shape[1]), np.int64)
    uniquely, in_order = [], []
    for at, level in enumerate(levels):
        alone, first = (np.zeros((len(level), weights.shape[1]), np.int64) for _ in range(2))
        place = np.zeros(rules, np.int64)
        place[list(level)] = np.arange(len(level))
        count_level(bits, _mask(level, bits.shape[1]), place, weights, kept[at], alone, first)
        uniquely.append(alone)
        in_order.append(first)
    read = kept.copy()
    for at, repeated in (copies or {}).items():
        read[at] = repeated @ weights
    names, codes = _coded(named, len(bits))
    by_name = np.zeros((rules, len(names)), np.int64)
    if names:
        count_by_name(bits, codes, by_name)
    return Tally(
        weights.sum(axis=0),
        failed,
        kept,
        read,
        tuple(uniquely),
        tuple(in_order),
        names,
        np.bincount(codes, minlength=len(names)) if names else np.zeros(0, np.int64),
        by_name,
    )


def _coded(named: pa.Array | None, pages: int) -> tuple[tuple[str, ...], Counts]:
    """The different values, sorted, and each page's place among them. Null is a value of its own, `None`."""
    if named is None:
        return (), np.zeros(pages, np.int64)
    coded = pc.dictionary_encode(named, null_encoding="encode")
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    called = [str(name) for name in coded.dictionary.to_pylist()]
    names = tuple(sorted(called))
    places = np.array([names.index(name) for name in called], np.int64)
    return names, places[coded.indices.to_numpy(zero_copy_only=False)] if pages else np.zeros(0, np.int64)


@kernel
def count_failed(bits: Bits, weights: Counts, failed: Counts) -> None:
    """Add to failed (rules, weights) the pages that fail each rule."""
    for page in range(len(bits)):
        for word in range(bits.shape[1]):
            left = bits[page, word]
            while left:
                rule = 64 * word + np.int64(trailing_zeros(left))
                left &= left - np.uint64(1)
                for weight in range(weights.shape[1]):
                    failed[rule, weight] += weights[page, weight]


@kernel
def count_by_name(bits: Bits, codes: Counts, failed: Counts) -> None:
    """Add to failed (rules, names) the pages that fail each rule."""
    for page in range(len(bits)):
        for word in range(bits.shape[1]):
            left = bits[page, word]
            while left:
                failed[64 * word + np.int64(trailing_zeros(left)), codes[page]] += 1
                left &= left - np.uint64(1)


@kernel
def count_level(bits: Bits, mask: Bits, place: Counts, weights: Counts, kept: Counts, alone: Counts, first: Counts) -> None:
    """Add the pages that fail none of a level's rules to kept (weights,), the others to alone and first (rules, weights).

    mask (words,): its rules as bits; place (rules of all levels,): which of its rules each is.
    """
    for page in range(len(bits)):
        failures, begin = 0, len(first)
        for word in range(len(mask)):
            left = bits[page, word] & mask[word]
            while left:
                begin = min(begin, place[64 * word + np.int64(trailing_zeros(left))])
                failures += 1
                left &= left - np.uint64(1)
        if failures == 0:
            for weight in range(len(kept)):
                kept[weight] += weights[page, weight]
            continue
        for weight in range(len(kept)):
            first[begin, weight] += weights[page, weight]
            if failures == 1:
                alone[begin, weight] += weights[page, weight]


@kernel
def pass_all(bits: Bits, mask: Bits) -> Truth:
    """True for the pages that fail no rule of the mask; shape (pages,)."""
    passes = np.ones(len(bits), np.bool_)
    for page in range(len(bits)):
        for word in range(len(mask)):
            if bits[page, word] & mask[word]:
                passes[page] = False
    return passes
