"""How much of a page is said more than once: copies of its lines or paragraphs, and the n-grams of its words.

The peers agree on what to look for and differ in what they add up, so one pass measures every sum that any of them takes.
An n-gram can only be repeated where both (n - 1)-grams in it are, so each size looks at the positions that the size before
left over: on ordinary pages hardly any from 4 words on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.kernels.text import kernel, most_in_a_page
from filters.pages import PageBatch
from filters.signals import Float, signal

Counts = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

LEAST, MOST = 2, 10  # Gopher's n-grams (Rae et al. 2021, table A1)
TOP, DUPLICATE = (2, 3, 4), (5, 6, 7, 8, 9, 10)


@dataclass(frozen=True)
class Copies:
    """Units of each page and the code points in them, shape (pages,): all, one of each kind, and those that have a copy.

    `repeated` counts every copy of a unit that occurs more than once, the first one too.
    """

    units: Counts
    characters: Counts
    distinct_units: Counts
    distinct_characters: Counts
    repeated_units: Counts
    repeated_characters: Counts


@dataclass(frozen=True)
class NGrams:
    """The n-grams of each page for one n; shape (pages,), code points of words unless said. All zero below n words.

    `count`: n-grams. `characters`: in all of them, a word counted in each. `top_count`: how often the most frequent occurs;
    `top_start`: index of its first word (of the tied, the one seen first), `top_characters`: in one copy of it;
    `top_longest`: in one copy of the longest of the tied. `repeated`: in all copies of n-grams that occur more than once, a
    word counted in each. `covered`: in words that lie in any such copy. `later`: in words that lie in a copy after the
    first, with the blanks between them.
    """

    count: Counts
    characters: Counts
    top_count: Counts
    top_start: Counts
    top_characters: Counts
    top_longest: Counts
    repeated: Counts
    covered: Counts
    later: Counts


@kernel
def slots_for(entries: int) -> int:
    """Size of a hash table, a power of two, that is at most half full."""
    slots = 2
    while slots < 2 * entries:
        slots *= 2
    return slots


@kernel
def first_equal(
    hashes: Hashes, positions: npt.NDArray[np.int32], many: int, slots: npt.NDArray[np.int32], copies: npt.NDArray[np.int32]
) -> None:
    """Group `hashes[positions[:many]]`: write the group's size to `copies[p]` at its first position p, -p - 1 elsewhere."""
    size = slots_for(many)
    slots[:size] = -1
    mask = np.uint64(size - 1)
    for k in range(many):
        position = positions[k]
        hashed = hashes[position]
        slot = (hashed ^ hashed >> np.uint64(32)) & mask
        while slots[slot] >= 0 and hashes[slots[slot]] != hashed:
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] < 0:
            slots[slot] = position
            copies[position] = 1
        else:
            copies[slots[slot]] += 1
            copies[position] = -slots[slot] - 1


@kernel
def count_copies(lengths: npt.NDArray[np.int32], hashes: Hashes, first: Counts) -> Counts:
    """The fields of `Copies` in their order; shape (6, pages)."""
    pages = len(first) - 1
    sums = np.zeros((6, pages), np.int64)
    most = most_in_a_page(first)
    positions = np.arange(most).astype(np.int32)
    slots = np.empty(slots_for(most), np.int32)
    copies = np.empty(most, np.int32)
    for page in range(pages):
        begin = first[page]
        many = first[page + 1] - begin
        first_equal(hashes[begin : begin + many], positions, many, slots, copies)
        for k in range(many):
            length = np.int64(lengths[begin + k])
            sums[0, page] += 1
            sums[1, page] += length
            if copies[k] > 0:
                sums[2, page] += 1
                sums[3, page] += length
            if copies[k] > 1:
                sums[4, page] += copies[k]
                sums[5, page] += length * copies[k]
    return sums


@kernel
def extend(grams: Hashes, hashes: Hashes, positions: npt.NDArray[np.int32], many: int, n: int) -> None:
    """Make the (n - 1)-grams at `positions` into n-grams, by their hashes."""
    for k in range(many):
        at = positions[k]
        joined = (grams[at] ^ grams[at] >> np.uint64(29)) * np.uint64(0xBF58476D1CE4E5B9) + hashes[at + n - 1]
        grams[at] = joined ^ joined >> np.uint64(32)


@kernel
def weigh(
    before: Counts, positions: npt.NDArray[np.int32], many: int, copies: npt.NDArray[np.int32], n: int, sums: Counts
) -> int:
    """Write `top_count` to `later` of one page into `sums`; keep the repeated positions only, and return how many."""
    top, top_at, longest = 1, 0, 0
    kept, repeated, covered, later, reached, reached_later = 0, 0, 0, 0, 0, 0
    for k in range(many):
        at = positions[k]
        group = copies[at]
        if group == 1:
            continue
        positions[kept] = at
        kept += 1
        characters = before[at + n] - before[at]
        repeated += characters
        covered += before[at + n] - before[max(at, reached)]
        reached = at + n
        if group < 0:
            known = max(0, reached_later - at)
            later += before[at + n] - before[at + known] + min(n - known, n - 1)
            reached_later = at + n
        elif group > top:
            top, top_at, longest = group, at, characters
        elif group == top:
            longest = max(longest, characters)
    sums[2], sums[3], sums[4], sums[5] = top, top_at, before[top_at + n] - before[top_at], longest
    sums[6], sums[7], sums[8] = repeated, covered, later
    return kept


@kernel
def count_ngrams(lengths: npt.NDArray[np.int32], hashes: Hashes, first: Counts) -> Counts:
    """The fields of `NGrams` in their order for 2 to 10 words; shape (9 sizes, 9 fields, pages)."""
    pages = len(first) - 1
    sums = np.zeros((MOST - LEAST + 1, 9, pages), np.int64)
    most = most_in_a_page(first)
    before = np.zeros(most + 1, np.int64)
    grams = np.empty(most, np.uint64)
    positions = np.empty(most, np.int32)
    slots = np.empty(slots_for(most), np.int32)
    copies = np.empty(most, np.int32)
    of_page = np.zeros(9, np.int64)
    for page in range(pages):
        begin = first[page]
        words = first[page + 1] - begin
        for k in range(words):
            before[k + 1] = before[k] + lengths[begin + k]
            grams[k] = hashes[begin + k]
            positions[k] = k
        many = words
        for n in range(LEAST, min(MOST, words) + 1):
            candidates = 0
            for k in range(many - 1):
                if positions[k + 1] == positions[k] + 1:
                    positions[candidates] = positions[k]
                    candidates += 1
            many = candidates
            extend(grams, hashes[begin : begin + words], positions, many, n)
            first_equal(grams, positions, many, slots, copies)
            of_page[0] = words - n + 1
            of_page[1] = 0
            for k in range(words - n + 1):
                of_page[1] += before[k + n] - before[k]
            many = weigh(before, positions, many, copies, n, of_page)
            of_page[3] += begin
            sums[n - LEAST, :, page] = of_page
    return sums


def copies_of(lengths: npt.NDArray[np.int32], hashes: Hashes, first: Counts) -> Copies:
    """What repeats among units with these lengths and hashes; page i owns units `first[i]:first[i + 1]`."""
    fields: Any = count_copies(lengths, hashes, first)
    return Copies(*fields)


def ngrams_of(lengths: npt.NDArray[np.int32], hashes: Hashes, first: Counts) -> dict[int, NGrams]:
    """The n-grams of words with these lengths and hashes, by n from 2 to 10; page i owns words `first[i]:first[i + 1]`."""
    fields: Any = count_ngrams(lengths, hashes, first)
    return {n: NGrams(*fields[n - LEAST]) for n in range(LEAST, MOST + 1)}


def ngram_signals(
    reading: str, top: Callable[[PageBatch, int], Float], duplicate: Callable[[PageBatch, int], Float]
) -> None:
    """Make `top_{2,3,4}gram_char_fraction_<reading>` and `duplicate_{5..10}gram_char_fraction_<reading>` signals.

    Gopher keeps up to 0.2, 0.18, 0.16 of the characters in the most frequent 2, 3, 4-gram and 0.15, 0.14, 0.13, 0.12, 0.11,
    0.1 in repeated 5 to 10-grams (Rae et al. 2021, table A1).
    """
    for name, measure, sizes in (("top", top, TOP), ("duplicate", duplicate, DUPLICATE)):
        for n in sizes:
            signal(group=f"repetition_{reading}")(_ngram_signal(f"{name}_{n}gram_char_fraction_{reading}", measure, n))


def _ngram_signal(name: str, measure: Callable[[PageBatch, int], Float], n: int) -> Callable[[PageBatch], Float]:
    def fraction(pages: PageBatch) -> Float:
        return measure(pages, n)

    fraction.__name__ = fraction.__qualname__ = name
    fraction.__doc__ = (measure.__doc__ or "").replace("{n}", str(n))
    return fraction
