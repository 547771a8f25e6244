"""Shingles: the runs of a few words or characters that two pages are compared by, as 64-bit hashes.

Text is folded before it is cut, so that typography does not tell copies apart: letters in lower case and without marks, a
run of digits as one 0, everything else than letters, digits and numbers as a space. Where a script has no spaces between
words, each of its characters is a word. datatrove folds about so before its MinHash; what its tokenizer would split further
(`don't`) is split here by the apostrophe.

A shingle's hash is a polynomial over its pieces modulo 2^64, rolled along the page, then mixed.
"""

import sys
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from filters.kernels.compiled import inlined
from filters.kernels.text import MIX, Bytes, Hashes, Offsets, decode, finish, kernel, most_in_a_page
from filters.kernels.unicode_tables import CLASSES, DIGIT, LETTER, NUMERIC, SPACELESS

Fold = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Unit = Literal["words", "characters"]

GAP, NOTHING, ALONE = -1, -2, 1 << 24
"""In the table of folds: a space, a character that leaves nothing behind, and the mark of one that is a word by itself."""
BLANK = np.uint64(0x20)
BASE = np.uint64(0xD1342543DE82EF95)
"""The multiplier of the polynomial: odd, so that no piece is forgotten; one of Steele and Vigna's (2021) for 64 bits."""
ZERO = 0x30


@cache
def folds() -> Fold:
    """What each code point becomes: GAP, NOTHING, or a code point, perhaps with ALONE; shape (0x110000,)."""
    table = np.full(sys.maxunicode + 1, GAP, np.int32)
    table[CLASSES & (LETTER | NUMERIC) != 0] = 0
    spaceless = CLASSES & SPACELESS != 0
    codes = np.arange(len(table), dtype=np.int32)
    table[spaceless] = codes[spaceless] | ALONE
    table[CLASSES & DIGIT != 0] = ZERO
    for code in np.flatnonzero(table == 0).tolist():
        table[code] = _folded(chr(code))
    for code in (*range(0x300, 0x3000), *range(0xA600, 0xAC00), *range(0xFB00, 0x12000), *range(0x16A00, 0x1F000)):
        if unicodedata.category(chr(code)) in ("Mn", "Mc", "Me", "Cf"):
            table[code] = NOTHING
    table[[0xAD, 0x200B, 0x2060, 0xFEFF]] = NOTHING  # soft hyphen and spaces of no width stand within words
    table.flags.writeable = False
    return table


def _folded(letter: str) -> int:
    """A letter in lower case, without marks where it is one letter with marks."""
    plain = [one for one in unicodedata.normalize("NFD", letter.lower()) if unicodedata.category(one) != "Mn"]
    return ord(plain[0]) if len(plain) == 1 else ord(letter)


@inlined
def step(hashed: np.uint64, code: int) -> np.uint64:
    """The hash of a word with one more code point."""
    hashed = (hashed ^ np.uint64(code)) * MIX
    return hashed ^ hashed >> np.uint64(32)


@kernel
def find_words(data: Bytes, at: int, end: int, fold: Fold, pieces: Hashes) -> int:
    """Write the hashes of the folded words of a page to `pieces`; how many."""
    found, inside, last = 0, False, 0
    hashed = np.uint64(0)
    while at < end:
        code, size = int(data[at]), 1
        if code >= 0x80:
            code, size = decode(data, at, end)
        at += size
        folded = int(fold[code])
        if folded == NOTHING or (inside and folded == ZERO and last == ZERO):
            continue
        if inside and (folded == GAP or folded & ALONE):
            pieces[found] = finish(hashed)
            found += 1
            inside = False
        if folded == GAP:
            continue
        if folded & ALONE:
            pieces[found] = finish(step(np.uint64(1), folded))
            found += 1
            continue
        hashed = step(hashed if inside else np.uint64(1), folded)
        inside, last = True, folded
    if inside:
        pieces[found] = finish(hashed)
        found += 1
    return found


@kernel
def find_characters(data: Bytes, at: int, end: int, fold: Fold, pieces: Hashes) -> int:
    """Write the folded characters of a page to `pieces`, mixed, with one blank for every gap; how many."""
    found, gap, last = 0, False, np.int64(0)
    while at < end:
        code, size = decode(data, at, end)
        at += size
        folded = np.int64(fold[code])
        if folded == GAP:
            gap = found > 0
        if folded < 0 or (not gap and folded == ZERO and last == ZERO):
            continue
        if gap:
            pieces[found] = finish(BLANK * MIX)
            found += 1
            gap = False
        pieces[found] = finish(np.uint64(folded & ~ALONE) * MIX)
        found += 1
        last = folded
    return found


@kernel
def roll(pieces: Hashes, many: int, size: int, shingles: Hashes) -> int:
    """Write the hashes of all runs of `size` pieces to `shingles`; how many."""
    if many < size:
        return 0
    leaving = np.uint64(1)
    hashed = np.uint64(0)
    for at in range(size):
        hashed = hashed * BASE + pieces[at]
        leaving *= BASE
    shingles[0] = finish(hashed)
    for at in range(size, many):
        hashed = hashed * BASE + pieces[at] - leaving * pieces[at - size]
        shingles[at - size + 1] = finish(hashed)
    return many - size + 1


@kernel
def shingle_page(
    data: Bytes, start: int, end: int, fold: Fold, words: bool, size: int, pieces: Hashes, shingles: Hashes
) -> int:
    """Write the shingles of a page to `shingles`, in its order; how many. Both buffers have room for one a byte."""
    many = find_words(data, start, end, fold, pieces) if words else find_characters(data, start, end, fold, pieces)
    return roll(pieces, many, size, shingles)


@kernel
def overlap(one: Hashes, other: Hashes) -> int:
    """How many values two ascending sets share."""
    at, beside, shared = 0, 0, 0
    while at < len(one) and beside < len(other):  # no branch but this one: which set is behind cannot be foretold
        here, there = one[at], other[beside]
        shared += int(here == there)
        at += int(here <= there)
        beside += int(there <= here)
    return shared


def jaccard(one: Hashes, other: Hashes) -> float:
    """Shared values over all values of two ascending sets; 0 where both are empty."""
    shared = int(overlap(one, other))
    union = len(one) + len(other) - shared
    return shared / union if union else 0.0


@kernel
def fill_jaccards(values: Hashes, bounds: Offsets, left: Offsets, right: Offsets, found: Floats) -> None:
    """Fill in the Jaccard of pairs of ascending sets, of which set k is `values[bounds[k]:bounds[k + 1]]`."""
    for pair in range(len(left)):
        one, other = left[pair], right[pair]
        begin, end, start, stop = bounds[one], bounds[one + 1], bounds[other], bounds[other + 1]
        shared = overlap(values[begin:end], values[start:stop])
        union = end - begin + stop - start - shared
        found[pair] = shared / union if union else 0.0


@dataclass(frozen=True)
class Shingling:
    """How pages are cut: the unit and how many of them make a shingle."""

    unit: Unit
    size: int

    def sets(self, data: Bytes, offsets: Offsets, rows: npt.NDArray[np.int64]) -> list[Hashes]:
        """The different shingles of some pages, ascending; empty where a page is shorter than one."""
        pieces, shingles = (np.empty(int(most_in_a_page(offsets)) + 1, np.uint64) for _ in range(2))
        words, found = self.unit == "words", []
        for row in rows.tolist():
            many = shingle_page(data, offsets[row], offsets[row + 1], folds(), words, self.size, pieces, shingles)
            some = np.sort(shingles[:many])
            found.append(some[np.append(True, some[1:] != some[:-1])[:many]])
        return found
