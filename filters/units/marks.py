r"""Where fixed strings stand in pages, lines and words, and the units that the peers split pages into.

A list of strings is one byte array with its offsets, so that a kernel compares bytes; none of these rules needs to decode.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.kernels.text import count_characters, hash_bytes, kernel, strip
from filters.kernels.unicode_tables import CLASSES
from filters.pages import PageBatch, Units
from filters.units.copies import Copies, copies_of

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # Rae et al. 2021, A1.1
CASE = 0x20  # the bit that makes an ASCII letter small


@cache
def strings(*texts: str) -> tuple[Bytes, Offsets]:
    """The UTF-8 bytes of some strings, and the offsets of each in them (strings + 1)."""
    encoded = [text.encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in encoded])]).astype(np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


@kernel
def same(data: Bytes, at: int, wanted: Bytes, begin: int, end: int, fold: bool) -> bool:
    """Whether `data[at:]` begins with `wanted[begin:end]`; with `fold`, capital ASCII letters count as small ones."""
    for k in range(begin, end):
        byte = data[at + k - begin]
        if fold and 0x41 <= byte <= 0x5A:
            byte |= CASE
        if byte != wanted[k]:
            return False
    return True


@kernel
def starting(data: Bytes, starts: Offsets, ends: Offsets, wanted: Bytes, offsets: Offsets) -> Truth:
    """Units that start with one of the wanted strings."""
    found = np.zeros(len(starts), np.bool_)
    for unit in range(len(starts)):
        for one in range(len(offsets) - 1):
            size = offsets[one + 1] - offsets[one]
            if ends[unit] - starts[unit] >= size and same(data, starts[unit], wanted, offsets[one], offsets[one + 1], False):
                found[unit] = True
                break
    return found


@kernel
def ending(data: Bytes, starts: Offsets, ends: Offsets, wanted: Bytes, offsets: Offsets, fold: bool) -> Truth:
    """Units that end with one of the wanted strings."""
    found = np.zeros(len(starts), np.bool_)
    for unit in range(len(starts)):
        for one in range(len(offsets) - 1):
            at = ends[unit] - (offsets[one + 1] - offsets[one])
            if at >= starts[unit] and same(data, at, wanted, offsets[one], offsets[one + 1], fold):
                found[unit] = True
                break
    return found


@kernel
def equalling(data: Bytes, starts: Offsets, ends: Offsets, wanted: Bytes, offsets: Offsets, fold: bool) -> Truth:
    """Units that are one of the wanted strings."""
    found = np.zeros(len(starts), np.bool_)
    longest = np.max(offsets[1:] - offsets[:-1])
    for unit in range(len(starts)):
        if ends[unit] - starts[unit] > longest:
            continue
        for one in range(len(offsets) - 1):
            size = offsets[one + 1] - offsets[one]
            if ends[unit] - starts[unit] == size and same(data, starts[unit], wanted, offsets[one], offsets[one + 1], fold):
                found[unit] = True
                break
    return found


@kernel
def containing(data: Bytes, starts: Offsets, ends: Offsets, wanted: Bytes, offsets: Offsets) -> Truth:
    """Units that have one of the wanted strings anywhere in them."""
    found = np.zeros(len(starts), np.bool_)
    heads = np.zeros(256, np.bool_)
    heads[wanted[offsets[:-1]]] = True
    for unit in range(len(starts)):
        for at in range(starts[unit], ends[unit]):
            if heads[data[at]]:
                for one in range(len(offsets) - 1):
                    size = offsets[one + 1] - offsets[one]
                    if at + size <= ends[unit] and same(data, at, wanted, offsets[one], offsets[one + 1], False):
                        found[unit] = True
        # no early way out of the inner loops: such units are rare
    return found


@kernel
def occurrences(data: Bytes, offsets: Offsets, wanted: Bytes, begin: int, end: int, fold: bool) -> Offsets:
    """How often a string occurs in each page, as `str.count` counts (no copies that overlap); shape (pages,)."""
    counts = np.zeros(len(offsets) - 1, np.int64)
    for page in range(len(offsets) - 1):
        counts[page] = occurrences_in(data, offsets[page], offsets[page + 1], wanted, begin, end, fold)
    return counts


@kernel
def occurrences_in(data: Bytes, at: int, stop: int, wanted: Bytes, begin: int, end: int, fold: bool) -> int:
    """How often `wanted[begin:end]` occurs in `data[at:stop]`, copies that overlap not counted."""
    size = end - begin
    head = wanted[begin]
    capital = head ^ np.uint8(CASE) if fold and 0x61 <= head <= 0x7A else head
    count = 0
    while at + size <= stop:
        if (data[at] == head or data[at] == capital) and same(data, at, wanted, begin, end, fold):
            count += 1
            at += size
        else:
            at += 1
    return count


def count(pages: PageBatch, *texts: str, fold: bool = False) -> npt.NDArray[np.int64]:
    """Occurrences of the texts in each page, added up; each text is counted by itself, as `str.count` does."""
    wanted, offsets = strings(*texts)
    total = np.zeros(len(pages), np.int64)
    for begin, end in pairwise(offsets):
        total += occurrences(pages.data, pages.offsets, wanted, begin, end, fold)
    return total


def starts_with(pages: PageBatch, starts: Offsets, ends: Offsets, *texts: str) -> Truth:
    """Which of the units `data[starts[k]:ends[k]]` start with one of the texts; shape (units,)."""
    found: Truth = starting(pages.data, starts, ends, *strings(*texts))
    return found


def ends_with(pages: PageBatch, starts: Offsets, ends: Offsets, *texts: str, fold: bool = False) -> Truth:
    """Which of the units end with one of the texts; with `fold`, small texts also match capital ASCII letters."""
    found: Truth = ending(pages.data, starts, ends, *strings(*texts), fold)
    return found


def equals(pages: PageBatch, starts: Offsets, ends: Offsets, *texts: str, fold: bool = False) -> Truth:
    """Which of the units are one of the texts; with `fold`, small texts also match capital ASCII letters."""
    found: Truth = equalling(pages.data, starts, ends, *strings(*texts), fold)
    return found


def contains(pages: PageBatch, starts: Offsets, ends: Offsets, *texts: str) -> Truth:
    """Which of the units contain one of the texts; shape (units,)."""
    found: Truth = containing(pages.data, starts, ends, *strings(*texts))
    return found


@kernel
def split_at_newlines(data: Bytes, offsets: Offsets, many: int) -> tuple[Offsets, Offsets, Offsets]:
    r"""Pieces of each page as `split("\n" * many)` finds them: (starts, ends, first piece of each page)."""
    pages = len(offsets) - 1
    most = pages
    for at in range(offsets[0], offsets[-1]):
        most += int(data[at] == 0x0A)
    starts = np.empty(most, np.int64)
    ends = np.empty(most, np.int64)
    first = np.zeros(pages + 1, np.int64)
    found = 0
    for page in range(pages):
        at, end = offsets[page], offsets[page + 1]
        start, newlines = at, 0
        while at < end:
            newlines = newlines + 1 if data[at] == 0x0A else 0
            at += 1
            if newlines == many:
                starts[found], ends[found] = start, at - many
                found += 1
                start, newlines = at, 0
        starts[found], ends[found] = start, end
        found += 1
        first[page + 1] = found
    return starts[:found], ends[:found], first


@kernel
def measure(data: Bytes, starts: Offsets, ends: Offsets) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
    """Code points and hash of each unit."""
    lengths = np.empty(len(starts), np.int32)
    hashes = np.empty(len(starts), np.uint64)
    for unit in range(len(starts)):
        lengths[unit] = count_characters(data, starts[unit], ends[unit])
        hashes[unit] = hash_bytes(data, starts[unit], ends[unit])
    return lengths, hashes


@kernel
def strip_all(data: Bytes, starts: Offsets, ends: Offsets, classes: Bytes) -> tuple[Offsets, Offsets]:
    """The units without the white space around them."""
    stripped = np.empty((2, len(starts)), np.int64)
    for unit in range(len(starts)):
        stripped[0, unit], stripped[1, unit] = strip(data, starts[unit], ends[unit], classes)
    return stripped[0], stripped[1]


@dataclass(frozen=True)
class Pieces(Units):
    """Pieces between newlines, with nothing stripped from them, their code points and hashes."""

    lengths: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.uint64]

    def where(self, wanted: Truth) -> "Pieces":
        """Only the wanted pieces; `wanted` is one truth value per piece."""
        before = np.concatenate([[0], np.cumsum(wanted)])
        first = before[self.first]
        return Pieces(self.starts[wanted], self.ends[wanted], first, self.lengths[wanted], self.hashes[wanted])

    @property
    def copies(self) -> Copies:
        """What repeats among the pieces of each page."""
        return copies_of(self.lengths, self.hashes, self.first)


def pieces(pages: PageBatch, newlines: int = 1, stripped: bool = False) -> Pieces:
    """The pieces of each page between so many newlines; `stripped`: only what is left of them without white space."""
    starts, ends, first = split_at_newlines(pages.data, pages.offsets, newlines)
    if stripped:
        starts, ends = strip_all(pages.data, starts, ends, CLASSES)
    found: Any = measure(pages.data, starts, ends)
    units = Pieces(starts, ends, first, *found)
    return units.where(units.lengths > 0) if stripped else units
