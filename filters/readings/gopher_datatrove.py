"""Gopher's quality signals as datatrove 0.10.1 reads them (`GopherQualityFilter`, language English): words are spaCy's.

Punctuation marks are words of their own there, so that a page has some 1.18 times as many words as white space separates,
and a word without a letter counts against a page far more often than in the paper. Where datatrove divides by zero the
column is null.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from filters.kernels.text import Bytes, Offsets, decode, decode_last, kernel, strip
from filters.kernels.unicode_tables import CLASSES
from filters.pages import PageBatch
from filters.signals import Count, Float, signal
from filters.units.spacy_words import HAS_LETTER, HAS_WORD, SpacyWords, hash_text, spacy_words

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

Table = npt.NDArray[np.int64]


class Marks(NamedTuple):
    """Hash signs, ellipses, lines, lines that begin with a bullet, lines that end in an ellipsis; shape (pages,) each."""

    hashes: Count
    ellipses: Count
    lines: Count
    bullet_lines: Count
    ellipsis_lines: Count


@signal(group="gopher_datatrove")
def word_count_datatrove(pages: PageBatch) -> Count:
    """Words with a character outside datatrove's 281 punctuation characters. datatrove keeps 50 to 100,000."""
    return pages.once(spacy_words).sum(real(pages))


@signal(group="gopher_datatrove")
def mean_word_length_datatrove(pages: PageBatch) -> Float:
    """Characters per word, of the words counted above. datatrove keeps 3 to 10, and a page without such words."""
    words = pages.once(spacy_words)
    return words.sum(words.lengths * real(pages)) / words.sum(real(pages))


@signal(group="gopher_datatrove")
def symbol_word_ratio_datatrove(pages: PageBatch) -> Float:
    """The larger of the two ratios below. datatrove keeps up to 0.1 of each."""
    return np.maximum(hash_word_ratio_datatrove(pages), ellipsis_word_ratio_datatrove(pages))


@signal(group="gopher_datatrove")
def hash_word_ratio_datatrove(pages: PageBatch) -> Float:
    """Hash signs per word, marks being words; null without words."""
    return pages.once(marks).hashes / pages.once(spacy_words).count


@signal(group="gopher_datatrove")
def ellipsis_word_ratio_datatrove(pages: PageBatch) -> Float:
    """Ellipses, "..." or "…", per word, marks being words ("......" is two); null without words."""
    return pages.once(marks).ellipses / pages.once(spacy_words).count


@signal(group="gopher_datatrove")
def bullet_line_ratio_datatrove(pages: PageBatch) -> Float:
    """Share of lines, blank ones too, that begin with "•" or "-" behind white space. datatrove keeps up to 0.9."""
    return pages.once(marks).bullet_lines / pages.once(marks).lines


@signal(group="gopher_datatrove")
def ellipsis_line_ratio_datatrove(pages: PageBatch) -> Float:
    """Share of lines, blank ones too, that end in "..." or "…" before white space. datatrove keeps up to 0.3."""
    return pages.once(marks).ellipsis_lines / pages.once(marks).lines


@signal(group="gopher_datatrove")
def alphabetic_word_ratio_datatrove(pages: PageBatch) -> Float:
    """Share of words, marks being words, with a letter. datatrove keeps 0.8 or more; null without words."""
    words = pages.once(spacy_words)
    return words.sum(words.flags & HAS_LETTER != 0) / words.count


@signal(group="gopher_datatrove")
def stop_word_count_datatrove(pages: PageBatch) -> Count:
    """How many different ones of the be to of and that have with stand in the page, in lower case. datatrove keeps 2 up."""
    words = pages.once(spacy_words)
    hashes = np.array([hash_text(word.encode()) for word in STOP_WORDS], np.uint64)
    found: Count = count_distinct(words.hashes, words.first, hashes)
    return found


def real(pages: PageBatch) -> npt.NDArray[np.bool_]:
    """Whether each word has a character that is no punctuation."""
    words: SpacyWords = pages.once(spacy_words)
    return np.asarray(words.flags & HAS_WORD != 0, bool)


def marks(pages: PageBatch) -> Marks:
    """`count_marks` of the pages."""
    return Marks(*count_marks(pages.data, pages.offsets, CLASSES))


@kernel
def count_distinct(hashes: npt.NDArray[np.uint64], first: Offsets, wanted: npt.NDArray[np.uint64]) -> Table:
    """How many of the wanted hashes (up to 64) each page has; shape (pages,)."""
    found = np.zeros(len(first) - 1, np.int64)
    for page in range(len(first) - 1):
        seen = 0
        for word in range(first[page], first[page + 1]):
            for k in range(len(wanted)):
                if hashes[word] == wanted[k]:
                    seen |= 1 << k
        for k in range(len(wanted)):
            found[page] += seen >> k & 1
    return found


@kernel
def line_end(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Where the line at `at` ends and the next begins, as `str.splitlines` has it (\\r\\n is one break)."""
    while at < end:
        byte = data[at]
        if byte == 0x0D and at + 1 < end and data[at + 1] == 0x0A:
            return at, at + 2
        if 0x0A <= byte <= 0x0D or 0x1C <= byte <= 0x1E:
            return at, at + 1
        if byte == 0xC2 and at + 1 < end and data[at + 1] == 0x85:
            return at, at + 2
        if byte == 0xE2 and at + 2 < end and data[at + 1] == 0x80 and data[at + 2] & 0xFE == 0xA8:
            return at, at + 3
        at += 1
    return end, end


@kernel
def ends_in_ellipsis(data: Bytes, start: int, end: int) -> bool:
    """Whether `data[start:end]`, which is not empty, ends in "..." or "…"."""
    if data[end - 1] == 0x2E:
        return end - start > 2 and data[end - 2] == 0x2E and data[end - 3] == 0x2E
    return decode_last(data, start, end)[0] == 0x2026


@kernel
def count_marks(data: Bytes, offsets: Offsets, classes: Bytes) -> Table:
    """The fields of `Marks`; shape (5, pages)."""
    found = np.zeros((5, len(offsets) - 1), np.int64)
    for page in range(len(offsets) - 1):
        at, end = offsets[page], offsets[page + 1]
        dots = 0
        for k in range(at, end):
            byte = data[k]
            dots = dots + 1 if byte == 0x2E else 0
            if byte == 0x23:
                found[0, page] += 1
            elif dots == 3:
                found[1, page] += 1
                dots = 0
            elif byte == 0xE2 and k + 2 < end and data[k + 1] == 0x80 and data[k + 2] == 0xA6:
                found[1, page] += 1
        while at < end:
            stop, following = line_end(data, at, end)
            start, last = strip(data, at, stop, classes)
            found[2, page] += 1
            if last > start:
                head = decode(data, start, last)[0]
                found[3, page] += int(head == 0x2022 or head == 0x2D)
                found[4, page] += int(ends_in_ellipsis(data, start, last))
            at = following
    return found
