r"""Gopher's quality and repetition rules as dolma 1.2.1 reads them (its taggers `gopher_v1` and `gopher_v2`, and `c4_v2`).

What decides its verdicts: words are what white space separates; the length of a word is a median; lines are split at "\n"
and not stripped, and empty ones count (`_dolma_v2`: runs of newlines separate); all copies of a repeated line count, the
first too; an n-gram that occurs once can be the most frequent one. Where dolma measures 0 on an empty page, so do these
columns; where it gives no attribute (a page with fewer words than the n-gram) they are null.
More in docs/readings_others.md.
"""

import numpy as np
import numpy.typing as npt

from filters.kernels.text import kernel
from filters.kernels.unicode_tables import LETTER
from filters.pages import PageBatch
from filters.signals import Count, Flag, Float, signal
from filters.units.copies import Copies, NGrams, ngram_signals, ngrams_of
from filters.units.marks import STOP_WORDS, Pieces, contains, count, ends_with, equals, pieces, starts_with

SYMBOLS = ("#", "…")
BULLETS = ("*", "-")
ENDS = (".", "?", "!", '"')
SHORT_LINE_WORDS = 3
COUNTED_LENGTHS = 256


@kernel
def median_lengths(lengths: npt.NDArray[np.int32], first: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Median of the units' lengths in every page, the mean of the middle two where there are two; 0 where there are none."""
    medians = np.zeros(len(first) - 1, np.float64)
    for page in range(len(first) - 1):
        units = first[page + 1] - first[page]
        if units == 0:
            continue
        counts = np.zeros(COUNTED_LENGTHS, np.int64)
        for unit in range(first[page], first[page + 1]):
            counts[min(lengths[unit], COUNTED_LENGTHS - 1)] += 1
        low, below = 0, counts[0]
        while below <= (units - 1) // 2:
            low += 1
            below += counts[low]
        high = low
        while below <= units // 2:
            high += 1
            below += counts[high]
        medians[page] = (low + high) / 2
        if high == COUNTED_LENGTHS - 1:
            medians[page] = np.median(lengths[first[page] : first[page + 1]])
    return medians


def _lines(pages: PageBatch) -> Pieces:
    return pages.once(pieces)


def _lines_v2(pages: PageBatch) -> Pieces:
    r"""Lines as `re.split(r"\n+")` finds them: of the empty ones, those at either end of the page are left."""
    lines = _lines(pages)
    kept = lines.ends > lines.starts
    kept[lines.first[:-1]] = kept[lines.first[1:] - 1] = True
    return lines.where(kept)


def _copies(pages: PageBatch) -> Copies:
    return _lines(pages).copies


def _copies_v2(pages: PageBatch) -> Copies:
    return pages.once(_lines_v2).copies


def white_space_ngrams(pages: PageBatch) -> dict[int, NGrams]:
    """The n-grams of white-space words, by n."""
    return ngrams_of(pages.words.lengths, pages.words.hashes, pages.words.first)


def _at_least_one(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.maximum(counts, 1)


def _share_of_words(pages: PageBatch, words: npt.NDArray[np.bool_]) -> Float:
    return pages.words.sum(words) / _at_least_one(pages.words.count)


@signal(group="gopher_dolma")
def word_count_dolma(pages: PageBatch) -> Count:
    """Words, separated by white space. dolma's mixes keep 50 to 100,000."""
    return pages.words.count


@signal(group="gopher_dolma")
def median_word_length_dolma(pages: PageBatch) -> Float:
    """Median characters per word, where Gopher has the mean; 0 without words. Kept from 3 to 10."""
    return median_lengths(pages.words.lengths, pages.words.first)


@signal(group="gopher_dolma")
def symbol_word_ratio_dolma(pages: PageBatch) -> Float:
    """Words that contain "#" or "…", per word ("..." does not count). Kept up to 0.1."""
    return _share_of_words(pages, contains(pages, pages.words.starts, pages.words.ends, *SYMBOLS))


@signal(group="gopher_dolma")
def alphabetic_word_ratio_dolma(pages: PageBatch) -> Float:
    """Words with at least one letter (`str.isalpha`), per word. Kept from 0.8."""
    return _share_of_words(pages, (pages.words.classes & LETTER) != 0)


@signal(group="gopher_dolma")
def stop_word_count_dolma(pages: PageBatch) -> Count:
    """Occurrences of Gopher's eight stop words, small letters only. Kept from 2."""
    return pages.words.sum(equals(pages, pages.words.starts, pages.words.ends, *STOP_WORDS))


def _bullets(pages: PageBatch, lines: Pieces) -> Float:
    return lines.sum(starts_with(pages, lines.starts, lines.ends, *BULLETS)) / lines.count


def _ellipses(pages: PageBatch, lines: Pieces) -> Float:
    return lines.sum(ends_with(pages, lines.starts, lines.ends, "…")) / lines.count


@signal(group="gopher_dolma")
def bullet_line_ratio_dolma(pages: PageBatch) -> Float:
    """Lines whose very first character is "*" or "-", of all lines, empty ones too. Kept up to 0.9."""
    return _bullets(pages, _lines(pages))


@signal(group="gopher_dolma")
def bullet_line_ratio_dolma_v2(pages: PageBatch) -> Float:
    """As `bullet_line_ratio_dolma`, with runs of newlines between lines."""
    return _bullets(pages, pages.once(_lines_v2))


@signal(group="gopher_dolma")
def ellipsis_line_ratio_dolma(pages: PageBatch) -> Float:
    """Lines whose very last character is "…", of all lines, empty ones too. Kept up to 0.3."""
    return _ellipses(pages, _lines(pages))


@signal(group="gopher_dolma")
def ellipsis_line_ratio_dolma_v2(pages: PageBatch) -> Float:
    """As `ellipsis_line_ratio_dolma`, with runs of newlines between lines."""
    return _ellipses(pages, pages.once(_lines_v2))


@signal(group="repetition_dolma")
def duplicate_line_fraction_dolma(pages: PageBatch) -> Float:
    """All copies of lines that occur more than once, of all lines. Kept up to 0.3."""
    return pages.once(_copies).repeated_units / pages.once(_copies).units


@signal(group="repetition_dolma")
def duplicate_line_fraction_dolma_v2(pages: PageBatch) -> Float:
    """As `duplicate_line_fraction_dolma`, with runs of newlines between lines."""
    return pages.once(_copies_v2).repeated_units / pages.once(_copies_v2).units


@signal(group="repetition_dolma")
def duplicate_line_char_fraction_dolma(pages: PageBatch) -> Float:
    """Characters of all copies of lines that occur more than once, per character of words. Gopher keeps up to 0.2."""
    return pages.once(_copies).repeated_characters / _at_least_one(pages.words.characters)


@signal(group="repetition_dolma")
def duplicate_line_char_fraction_dolma_v2(pages: PageBatch) -> Float:
    """As `duplicate_line_char_fraction_dolma`, with runs of newlines between lines."""
    return pages.once(_copies_v2).repeated_characters / _at_least_one(pages.words.characters)


def _top(pages: PageBatch, n: int) -> Float:
    """Characters in all copies of the most frequent {n}-gram, the first seen of the tied, per character of words."""
    grams = pages.once(white_space_ngrams)[n]
    return _or_null(grams, grams.top_count * grams.top_characters / pages.words.characters)


def _duplicate(pages: PageBatch, n: int) -> Float:
    """Characters in all copies of {n}-grams that occur more than once, per character in all {n}-grams."""
    grams = pages.once(white_space_ngrams)[n]
    return _or_null(grams, grams.repeated / grams.characters)


def _or_null(grams: NGrams, values: Float) -> Float:
    return np.where(grams.count > 0, values, np.nan)


ngram_signals("dolma", _top, _duplicate)


@signal(group="c4_dolma")
def has_lorem_ipsum_dolma(pages: PageBatch) -> Flag:
    """Whether "lorem ipsum" stands anywhere in the page, in any case of ASCII letters."""
    return count(pages, "lorem ipsum", fold=True) > 0


@signal(group="c4_dolma")
def has_curly_bracket_dolma(pages: PageBatch) -> Flag:
    """Whether "{" stands anywhere in the page."""
    return count(pages, "{") > 0


@signal(group="c4_dolma")
def has_javascript_dolma(pages: PageBatch) -> Flag:
    """Whether "javascript" stands anywhere in the page, in any case of ASCII letters, also inside a word."""
    return count(pages, "javascript", fold=True) > 0


@signal(group="c4_dolma")
def line_count_dolma(pages: PageBatch) -> Count:
    """Lines, empty ones too."""
    return pages.all_lines.count


@signal(group="c4_dolma")
def unterminated_line_count_dolma(pages: PageBatch) -> Count:
    """Lines that do not end with one of . ? ! and the straight quote, after white space is stripped; empty ones too."""
    lines = pages.all_lines
    return lines.sum(~ends_with(pages, lines.starts, lines.ends, *ENDS))


@signal(group="c4_dolma")
def short_line_count_dolma(pages: PageBatch) -> Count:
    """Lines of fewer than 3 words, empty ones too."""
    return pages.all_lines.count - pages.lines.sum(pages.line_words >= SHORT_LINE_WORDS)
