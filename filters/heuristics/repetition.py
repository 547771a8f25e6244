"""Gopher's repetition signals in the paper's own reading (Rae et al. 2021, arXiv 2112.11446, A1.1 and Table A1).

Lines and paragraphs: a duplicate is a copy of an earlier one, so the first copy is not counted; the share is what removing
the duplicates would remove, which is also how FineWeb uses it. N-grams: the paper counts the characters *contained in* all
duplicate n-grams, "taking care not to count characters that occur in overlapping n-grams more than once", so every copy
counts, the first one too, and each word once. Characters are those of words, without the spaces between them.

The hard idea: an (n + 1)-gram can only repeat where both of its n-grams do. Words get a number (where the same word came
first), n-grams the pair of their two (n - 1)-grams' numbers; each step looks only at places that repeated in the step
before, and soon there are none. N-grams are thus compared exactly, words by their 64-bit hashes.
"""

import numpy as np
import numpy.typing as npt

from filters.kernels.text import MIX, Codes, Hashes, Offsets, kernel, most_in_a_page, table_bits
from filters.pages import PageBatch
from filters.signals import Float, signal

LONGEST = 10
DUPLICATES_FROM = 5

Table = npt.NDArray[np.int64]


@signal(group="repetition")
def duplicate_line_fraction(pages: PageBatch) -> Float:
    """Share of lines, blank ones apart, that repeat an earlier line. Gopher keeps up to 0.30 (Table A1)."""
    return pages.lines.sum(pages.lines.copies) / pages.lines.count


@signal(group="repetition")
def duplicate_line_char_fraction(pages: PageBatch) -> Float:
    """Share of the lines' characters that stand in lines repeating an earlier one.

    Gopher keeps up to 0.20 (Table A1), FineWeb up to 0.1 in its paper and 0.01 in its code (Penedo et al. 2024, 3.6).
    """
    return pages.lines.sum(pages.lines.lengths * pages.lines.copies) / pages.lines.characters


@signal(group="repetition")
def duplicate_paragraph_fraction(pages: PageBatch) -> Float:
    """Share of paragraphs (between blank lines) that repeat an earlier one. Gopher keeps up to 0.30 (Table A1)."""
    return pages.paragraphs.sum(pages.paragraphs.copies) / pages.paragraphs.count


@signal(group="repetition")
def duplicate_paragraph_char_fraction(pages: PageBatch) -> Float:
    """Share of characters that stand in paragraphs repeating an earlier one. Gopher keeps up to 0.20 (Table A1)."""
    return pages.paragraphs.sum(pages.paragraphs.lengths * pages.paragraphs.copies) / pages.paragraphs.characters


@signal(group="repetition")
def top_2gram_char_fraction(pages: PageBatch) -> Float:
    """Share of the words' characters in the most frequent 2-gram. Gopher keeps up to 0.20 (Table A1).

    An n-gram that occurs once is not repetition: 0. Of two equally frequent ones that with more characters counts, then the
    earlier. Its copies may overlap; each word is counted once. The same holds for 3- and 4-grams.
    """
    return ngram_fraction(pages, 2)


@signal(group="repetition")
def top_3gram_char_fraction(pages: PageBatch) -> Float:
    """Share of the words' characters in the most frequent 3-gram. Gopher keeps up to 0.18 (Table A1)."""
    return ngram_fraction(pages, 3)


@signal(group="repetition")
def top_4gram_char_fraction(pages: PageBatch) -> Float:
    """Share of the words' characters in the most frequent 4-gram. Gopher keeps up to 0.16 (Table A1)."""
    return ngram_fraction(pages, 4)


@signal(group="repetition")
def duplicate_5gram_char_fraction(pages: PageBatch) -> Float:
    """Share of the words' characters in 5-grams that occur more than once. Gopher keeps up to 0.15 (Table A1)."""
    return ngram_fraction(pages, 5)


@signal(group="repetition")
def duplicate_6gram_char_fraction(pages: PageBatch) -> Float:
    """Share of the words' characters in 6-grams that occur more than once. Gopher keeps up to 0.14 (Table A1)."""
    return ngram_fraction(pages, 6)


@signal(group="repetition")
def duplicate_7gram_char_fraction(pages: PageBatch) -> Float:
    """Share of the words' characters in 7-grams that occur more than once. Gopher keeps up to 0.13 (Table A1)."""
    return ngram_fraction(pages, 7)


@signal(group="repetition")
def duplicate_8gram_char_fraction(pages: PageBatch) -> Float:
    """Share of the words' characters in 8-grams that occur more than once. Gopher keeps up to 0.12 (Table A1)."""
    return ngram_fraction(pages, 8)


@signal(group="repetition")
def duplicate_9gram_char_fraction(pages: PageBatch) -> Float:
    """Share of the words' characters in 9-grams that occur more than once. Gopher keeps up to 0.11 (Table A1)."""
    return ngram_fraction(pages, 9)


@signal(group="repetition")
def duplicate_10gram_char_fraction(pages: PageBatch) -> Float:
    """Share of the words' characters in 10-grams that occur more than once. Gopher keeps up to 0.10 (Table A1)."""
    return ngram_fraction(pages, 10)


def ngram_fraction(pages: PageBatch, n: int) -> Float:
    """Characters in repeated n-grams over characters in words; 0 on a page of fewer than n words, null without words."""
    return pages.by_words(pages.once(ngram_characters)[n] / pages.words.characters)


def ngram_characters(pages: PageBatch) -> Table:
    """`count_repeated` of the pages' words."""
    found: Table = count_repeated(pages.words.hashes, pages.words.lengths, pages.words.first)
    return found


@kernel
def number_words(hashes: Hashes, numbers: Codes, counts: Codes, slots: Codes) -> None:
    """Give every word the place of its first occurrence as its number, and count the occurrences there."""
    size = 1 << table_bits(len(hashes))
    slots[:size] = -1
    for at in range(len(hashes)):
        slot = np.int64(hashes[at] & np.uint64(size - 1))
        while slots[slot] >= 0 and hashes[slots[slot]] != hashes[at]:
            slot = (slot + 1) & (size - 1)
        if slots[slot] < 0:
            slots[slot] = at
            counts[at] = 0
        numbers[at] = slots[slot]
        counts[slots[slot]] += 1


@kernel
def number_pairs(places: Codes, before: Codes, numbers: Codes, counts: Codes, slots: Codes) -> None:
    """The same for n-grams at some places, which are equal if `before`, the numbers of their two (n - 1)-grams, are."""
    bits = table_bits(len(places))
    mask = (1 << bits) - 1
    slots[: mask + 1] = -1
    for at in places:
        pair = np.uint64(before[at]) << np.uint64(32) | np.uint64(before[at + 1])
        slot = np.int64(pair * MIX >> np.uint64(64 - bits))
        while slots[slot] >= 0 and (before[slots[slot]] != before[at] or before[slots[slot] + 1] != before[at + 1]):
            slot = (slot + 1) & mask
        if slots[slot] < 0:
            slots[slot] = at
            counts[at] = 0
        numbers[at] = slots[slot]
        counts[slots[slot]] += 1


@kernel
def keep_repeated(places: Codes, numbers: Codes, counts: Codes, repeated: Codes) -> int:
    """Write the places of n-grams that occur more than once into `repeated`, in order; returns how many.

    `repeated` may be `places`. Every place is written, and stays if it is to: no branch that the processor would guess.
    """
    found = 0
    for at in places:
        repeated[found] = at
        found += int(counts[numbers[at]] > 1)
    return found


@kernel
def keep_adjacent(places: Codes) -> int:
    """Keep those of the ascending `places` that the next place follows directly; returns how many."""
    found = 0
    for k in range(len(places) - 1):
        place = places[k]
        places[found] = place
        found += int(places[k + 1] == place + 1)
    return found


@kernel
def find_top(repeated: Codes, numbers: Codes, counts: Codes, ends: Offsets, n: int) -> int:
    """The most frequent n-gram's number: of equals the one with more characters, then the first; -1 if none repeats."""
    top, most, longest = -1, 0, 0
    for at in repeated:
        if numbers[at] == at:
            length = ends[at + n] - ends[at]
            if counts[at] > most or (counts[at] == most and length > longest):
                top, most, longest = at, counts[at], length
    return top


@kernel
def cover(repeated: Codes, numbers: Codes, only: int, ends: Offsets, n: int) -> int:
    """Characters of the words in the n-grams at these places (of number `only` if that is not -1), each word once."""
    characters, covered = 0, 0
    for at in repeated:
        if only == -1 or numbers[at] == only:
            covered = max(covered, at)
            characters += ends[at + n] - ends[covered]
            covered = at + n
    return characters


@kernel
def count_repeated(hashes: Hashes, lengths: Codes, first: Offsets) -> Table:
    """Row n: characters in the top n-gram of each page (n below 5) or in all duplicate n-grams; shape (11, pages)."""
    found = np.zeros((LONGEST + 1, len(first) - 1), np.int64)
    most = most_in_a_page(first)
    slots = np.empty(1 << table_bits(most), np.int32)
    numbers, before, counts, places = (
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
    )
    ends = np.zeros(most + 1, np.int64)
    for page in range(len(first) - 1):
        count = first[page + 1] - first[page]
        for word in range(count):
            places[word] = word
            ends[word + 1] = ends[word] + lengths[first[page] + word]
        number_words(hashes[first[page] : first[page + 1]], numbers, counts, slots)
        left = keep_repeated(places[:count], numbers, counts, places)
        for n in range(2, LONGEST + 1):
            left = keep_adjacent(places[:left])
            if left < 2:
                break
            numbers, before = before, numbers
            number_pairs(places[:left], before, numbers, counts, slots)
            left = keep_repeated(places[:left], numbers, counts, places)
            repeated = places[:left]
            top = find_top(repeated, numbers, counts, ends, n) if n < DUPLICATES_FROM else -1
            if left:
                found[n, page] = cover(repeated, numbers, top, ends, n)
    return found
