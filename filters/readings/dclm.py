r"""Gopher's quality and repetition rules as DCLM applies them (361714b).

What decides its verdicts: words are counted as fastText splits them, if they start with a letter or number (a quoted word
does not); the ratios are over white-space words; n-grams are over segments of annex 29; all copies of a repeated line count,
and all words in a repeated n-gram, the first copy too; an n-gram that occurs once counts for nothing. An empty page fails
everything, so its columns are null. DCLM deletes URLs and squeezes newlines before it counts; here the text is as it is.
"""

import numpy as np
import numpy.typing as npt

from filters.kernels.text import decode, kernel
from filters.kernels.uax29_words import uax29_words
from filters.kernels.unicode_tables import CLASSES, LETTER, NUMERIC
from filters.pages import PageBatch, Units
from filters.signals import Count, Float, signal
from filters.units.copies import Copies, NGrams, copies_of, ngram_signals, ngrams_of
from filters.units.marks import STOP_WORDS, count, ends_with, equals, pieces, starts_with

SYMBOLS = ("#", "...", ". . .", "…")
BULLETS = ("●", "•", "*", "-")
ELLIPSES = ("...", ". . .", "…")
SEPARATORS = np.zeros(256, np.bool_)
SEPARATORS[list(b" \n\r\t\v\f\0")] = True  # what fastText takes as white space

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]


@kernel
def count_fasttext_words(data: Bytes, offsets: Offsets, separators: npt.NDArray[np.bool_], classes: Bytes) -> Offsets:
    """Runs of bytes between fastText's separators that start with a letter or number, per page."""
    counts = np.zeros(len(offsets) - 1, np.int64)
    for page in range(len(offsets) - 1):
        between = True
        for at in range(offsets[page], offsets[page + 1]):
            separator = separators[data[at]]
            if between and not separator:
                counts[page] += classes[decode(data, at, offsets[page + 1])[0]] & (LETTER | NUMERIC) != 0
            between = separator
    return counts


def fasttext_words(pages: PageBatch) -> Count:
    """fastText tokens that start with a letter or number, per page."""
    counts: Count = count_fasttext_words(pages.data, pages.offsets, SEPARATORS, CLASSES)
    return counts


def segments(pages: PageBatch) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64], Offsets]:
    """The segments of annex 29 that start with a letter or number: (code points, hashes, first of each page)."""
    return uax29_words(pages.data, pages.offsets)


def ngrams(pages: PageBatch) -> dict[int, NGrams]:
    """The n-grams of segments, by n."""
    return ngrams_of(*pages.once(segments))


def _characters(pages: PageBatch) -> Offsets:
    lengths, _, first = pages.once(segments)
    return Units(first, first, first).sum(lengths)


def _lines(pages: PageBatch) -> Copies:
    return copies_of(pages.lines.lengths, pages.lines.hashes, pages.lines.first)


def _paragraphs(pages: PageBatch) -> Copies:
    return pieces(pages, newlines=2, stripped=True).copies


def _null_if_empty(pages: PageBatch, values: Float) -> Float:
    return np.where(pages.offsets[1:] > pages.offsets[:-1], values, np.nan)


@signal(group="gopher_dclm")
def word_count_dclm(pages: PageBatch) -> Count:
    """fastText tokens that start with a letter or number. Kept from 50 to 100,000."""
    return pages.once(fasttext_words)


@signal(group="gopher_dclm")
def mean_word_length_dclm(pages: PageBatch) -> Float:
    """Characters per white-space word; null without words. Kept from 3 to 10."""
    return pages.words.characters / pages.words.count


@signal(group="gopher_dclm")
def symbol_word_ratio_dclm(pages: PageBatch) -> Float:
    """Occurrences of "#", "...", ". . ." and "…" together, per white-space word; null without words. Kept up to 0.1."""
    return count(pages, *SYMBOLS) / pages.words.count


@signal(group="gopher_dclm")
def alphabetic_word_ratio_dclm(pages: PageBatch) -> Float:
    """White-space words with at least one letter, of all; null without words. DCLM tests 1 minus this, up to 0.2."""
    return pages.words.sum((pages.words.classes & LETTER) != 0) / pages.words.count


@signal(group="gopher_dclm")
def stop_word_count_dclm(pages: PageBatch) -> Count:
    """Occurrences of Gopher's eight stop words, in any case. Kept from 2."""
    return pages.words.sum(equals(pages, pages.words.starts, pages.words.ends, *STOP_WORDS, fold=True))


@signal(group="gopher_dclm")
def bullet_line_ratio_dclm(pages: PageBatch) -> Float:
    """Stripped lines that start with one of ● • * -, of those that are not blank; null without any. Kept up to 0.9."""
    lines = pages.lines
    return lines.sum(starts_with(pages, lines.starts, lines.ends, *BULLETS)) / lines.count


@signal(group="gopher_dclm")
def ellipsis_line_ratio_dclm(pages: PageBatch) -> Float:
    """Stripped lines that end with "...", ". . ." or "…", of those that are not blank; null without any. Up to 0.3."""
    lines = pages.lines
    return lines.sum(ends_with(pages, lines.starts, lines.ends, *ELLIPSES)) / lines.count


@signal(group="repetition_dclm")
def segment_count_dclm(pages: PageBatch) -> Count:
    """Segments of annex 29 that start with a letter or number: the words of the n-grams below. No rule of DCLM's."""
    return np.diff(pages.once(segments)[2])


@signal(group="repetition_dclm")
def duplicate_line_fraction_dclm(pages: PageBatch) -> Float:
    """All copies of stripped lines that occur more than once, of those that are not blank; null without any. Up to 0.3."""
    return pages.once(_lines).repeated_units / pages.once(_lines).units


@signal(group="repetition_dclm")
def duplicate_line_char_fraction_dclm(pages: PageBatch) -> Float:
    """As `duplicate_line_fraction_dclm`, by characters. Kept up to 0.2."""
    return pages.once(_lines).repeated_characters / pages.once(_lines).characters


@signal(group="repetition_dclm")
def duplicate_paragraph_fraction_dclm(pages: PageBatch) -> Float:
    """All copies of stripped paragraphs (between two newlines) that occur more than once, of all. Kept up to 0.3."""
    return pages.once(_paragraphs).repeated_units / pages.once(_paragraphs).units


@signal(group="repetition_dclm")
def duplicate_paragraph_char_fraction_dclm(pages: PageBatch) -> Float:
    """As `duplicate_paragraph_fraction_dclm`, by characters. Kept up to 0.2."""
    return pages.once(_paragraphs).repeated_characters / pages.once(_paragraphs).characters


def _top(pages: PageBatch, n: int) -> Float:
    """Characters in all copies of the most frequent {n}-gram (the longest of the tied), per character of segments.

    0 where no {n}-gram occurs twice; null on an empty page.
    """
    grams = pages.once(ngrams)[n]
    characters = np.where(grams.top_count > 1, grams.top_count * grams.top_longest, 0)
    return _null_if_empty(pages, characters / np.maximum(pages.once(_characters), 1))


def _duplicate(pages: PageBatch, n: int) -> Float:
    """Characters of segments that lie in any {n}-gram that occurs more than once, each once, per character of segments.

    Null on an empty page.
    """
    return _null_if_empty(pages, pages.once(ngrams)[n].covered / np.maximum(pages.once(_characters), 1))


ngram_signals("dclm", _top, _duplicate)
