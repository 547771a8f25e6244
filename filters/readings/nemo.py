r"""Gopher's quality and repetition rules as NeMo Curator's heuristic filters read them (1e2e427).

What decides its verdicts: words are what white space separates; repetition is what is left without the copies, so its cuts
on lines and paragraphs are minima; the most frequent n-gram is deleted as a string, wherever the page has it with single
blanks, and one that occurs once counts too; of repeated n-grams only later copies count, over the characters of the whole
page. A page with fewer words than the n-gram scores 1. Where NeMo Curator divides by zero (no word, no line) the column is
null. Of equally frequent n-grams it takes whichever Python's set gives first, another in every process; here it is the first
seen on the page.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
import regex

from filters.kernels.text import count_characters, decode, kernel
from filters.kernels.unicode_tables import LETTER
from filters.pages import PageBatch
from filters.readings.dolma import white_space_ngrams
from filters.signals import Count, Float, signal
from filters.units.copies import Copies, NGrams, ngram_signals
from filters.units.marks import STOP_WORDS, Pieces, ends_with, equals, measure, occurrences_in, pieces

ELLIPSES = ("...", "[...]", "…", "(...)", "[…]", "-»", "read more..", "read more")
ENDS = (".", "?", "!", '"', "'")
BULLETS = "•‣⁃⁌⁍∙○●◘◦⦾⦿"
STOP_WORDS_COUNTED = 2  # it stops counting at the number that its filter asks for
HASH = ord("#")
LONG = 256  # bytes from which the search that never goes back is worth its table
PLAIN = np.zeros(256, np.bool_)
PLAIN[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\n?!,.")] = True

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]


@cache
def alphabetic() -> Truth:
    """Unicode's Alphabetic of every code point (letters, letter numbers and some marks); shape (0x110000,)."""
    table = np.zeros(0x110000, np.bool_)
    for first, last in ((0, 0xD800), (0xE000, 0x40000)):
        for found in regex.finditer(r"\p{Alphabetic}+", "".join(map(chr, range(first, last)))):
            table[first + found.start() : first + found.end()] = True
    table.flags.writeable = False
    return table


@kernel
def with_any(data: Bytes, starts: Offsets, ends: Offsets, wanted: Truth) -> Truth:
    """Units with a character whose entry in `wanted` is true."""
    found = np.zeros(len(starts), np.bool_)
    for unit in range(len(starts)):
        at = starts[unit]
        while at < ends[unit] and not found[unit]:
            code, size = decode(data, at, ends[unit])
            found[unit] = wanted[code]
            at += size
    return found


@kernel
def count_runs(data: Bytes, starts: Offsets, ends: Offsets, byte: int) -> Offsets:
    """Runs of one byte in every unit."""
    runs = np.zeros(len(starts), np.int64)
    for unit in range(len(starts)):
        inside = False
        for at in range(starts[unit], ends[unit]):
            if data[at] == byte and not inside:
                runs[unit] += 1
            inside = data[at] == byte
    return runs


@kernel
def count_bytes(data: Bytes, offsets: Offsets, wanted: Truth) -> Offsets:
    """Bytes of every page whose entry in `wanted` is true; shape (pages,)."""
    counts = np.zeros(len(offsets) - 1, np.int64)
    for page in range(len(offsets) - 1):
        for at in range(offsets[page], offsets[page + 1]):
            counts[page] += wanted[data[at]]
    return counts


@kernel
def occurrences_of_long(data: Bytes, at: int, stop: int, wanted: Bytes) -> int:
    """How often `wanted` occurs in `data[at:stop]`, copies that overlap not counted, in linear time.

    Knuth, Morris and Pratt's search: words may be as long as a page, and one of nothing but "a" inside another takes any
    search that starts again at every byte a lifetime.
    """
    size = len(wanted)
    back = np.zeros(size, np.int64)
    matched = 0
    for k in range(1, size):
        while matched and wanted[k] != wanted[matched]:
            matched = back[matched - 1]
        matched += wanted[k] == wanted[matched]
        back[k] = matched
    count, matched = 0, 0
    for k in range(at, stop):
        while matched and data[k] != wanted[matched]:
            matched = back[matched - 1]
        matched += data[k] == wanted[matched]
        if matched == size:
            count += 1
            matched = 0
    return count


@kernel
def deleted_characters(
    data: Bytes, offsets: Offsets, starts: Offsets, ends: Offsets, top: Offsets, n: int, measured: Truth
) -> Offsets:
    """Code points that go when the words `top[page]` to `top[page] + n`, joined by blanks, are deleted from each page."""
    deleted = np.zeros(len(offsets) - 1, np.int64)
    joined = np.empty(256, np.uint8)
    for page in range(len(offsets) - 1):
        if not measured[page]:
            continue
        size = n - 1
        for word in range(top[page], top[page] + n):
            size += ends[word] - starts[word]
        if size > len(joined):
            joined = np.empty(2 * size, np.uint8)
        size = 0
        for word in range(top[page], top[page] + n):
            if size:
                joined[size] = 0x20
                size += 1
            for at in range(starts[word], ends[word]):
                joined[size] = data[at]
                size += 1
        if size > LONG:
            copies = occurrences_of_long(data, offsets[page], offsets[page + 1], joined[:size])
        else:
            copies = occurrences_in(data, offsets[page], offsets[page + 1], joined, 0, size, False)
        deleted[page] = copies * count_characters(joined, 0, size)
    return deleted


def _characters(pages: PageBatch) -> Offsets:
    """Code points of each page."""
    lengths: npt.NDArray[np.int32] = measure(pages.data, pages.offsets[:-1], pages.offsets[1:])[0]
    return lengths.astype(np.int64)


def _raw_lines(pages: PageBatch) -> Pieces:
    """Lines that are not blank, with the white space around them."""
    return pages.once(pieces).where(pages.all_lines.lengths > 0)


def _lines(pages: PageBatch) -> Copies:
    return _raw_lines(pages).copies


def _paragraphs(pages: PageBatch) -> Copies:
    return pieces(pages, newlines=2).copies


@signal(group="gopher_nemo")
def word_count_nemo(pages: PageBatch) -> Count:
    """Words, separated by white space. Kept from 50 to 100,000."""
    return pages.words.count


@signal(group="gopher_nemo")
def mean_word_length_nemo(pages: PageBatch) -> Float:
    """Characters per word; null without words. Kept from 3 to 10."""
    return pages.words.characters / pages.words.count


@signal(group="gopher_nemo")
def symbol_word_ratio_nemo(pages: PageBatch) -> Float:
    """Words that are an ellipsis mark, or have a run of "#" for less than every two characters; null without words.

    Kept up to 0.1.
    """
    words = pages.words
    marks = equals(pages, words.starts, words.ends, *ELLIPSES)
    hashes = 2 * count_runs(pages.data, words.starts, words.ends, HASH) > words.lengths
    return words.sum(marks | hashes) / words.count


@signal(group="gopher_nemo")
def bullet_line_ratio_nemo(pages: PageBatch) -> Float:
    """Lines that start, after white space, with one of its round bullets, of those that are not blank. Kept up to 0.9."""
    lines = pages.lines
    return lines.sum(np.isin(lines.heads, [ord(bullet) for bullet in BULLETS])) / lines.count


@signal(group="gopher_nemo")
def ellipsis_line_ratio_nemo(pages: PageBatch) -> Float:
    """Lines that end with an ellipsis mark or "read more" in any case, of those that are not blank. Kept up to 0.3."""
    lines = pages.lines
    return lines.sum(ends_with(pages, lines.starts, lines.ends, *ELLIPSES, fold=True)) / lines.count


@signal(group="gopher_nemo")
def alphabetic_word_ratio_nemo(pages: PageBatch) -> Float:
    """Words with an alphabetic character (Unicode's Alphabetic: also Ⅳ and vowel signs), of all. Kept from 0.8."""
    words = pages.words
    found = (words.classes & LETTER) != 0
    found[~found] = with_any(pages.data, words.starts[~found], words.ends[~found], alphabetic())
    return words.sum(found) / words.count


@signal(group="gopher_nemo")
def stop_word_count_nemo(pages: PageBatch) -> Count:
    """Occurrences of Gopher's eight stop words, small letters only, up to 2, where it stops. Kept from 2.

    `stop_word_count_dolma` is the same number without the stop.
    """
    words = pages.words
    return np.minimum(words.sum(equals(pages, words.starts, words.ends, *STOP_WORDS)), STOP_WORDS_COUNTED)


@signal(group="gopher_nemo")
def unterminated_line_ratio_nemo(pages: PageBatch) -> Float:
    """Lines that end with none of . ? ! and the straight quotes, of those that are not blank. Kept up to 0.85."""
    lines = pages.lines
    return lines.sum(~ends_with(pages, lines.starts, lines.ends, *ENDS)) / lines.count


@signal(group="gopher_nemo")
def non_alphanumeric_fraction_nemo(pages: PageBatch) -> Float:
    """Characters that are none of A-Z a-z 0-9 ? ! , . and newline, so also every blank; 1 on an empty page. Up to 0.25."""
    characters = pages.once(_characters)
    left = characters - count_bytes(pages.data, pages.offsets, PLAIN)
    return np.where(characters > 0, left / characters, 1.0)


@signal(group="repetition_nemo")
def distinct_line_fraction_nemo(pages: PageBatch) -> Float:
    """Different lines, of those that are not blank; null without any. Kept from 0.7."""
    return pages.once(_lines).distinct_units / pages.once(_lines).units


@signal(group="repetition_nemo")
def distinct_line_char_fraction_nemo(pages: PageBatch) -> Float:
    """As `distinct_line_fraction_nemo`, by characters. Kept from 0.8."""
    return pages.once(_lines).distinct_characters / pages.once(_lines).characters


@signal(group="repetition_nemo")
def distinct_paragraph_fraction_nemo(pages: PageBatch) -> Float:
    """Different paragraphs (between two newlines), of all, empty ones too. Kept from 0.7."""
    return pages.once(_paragraphs).distinct_units / pages.once(_paragraphs).units


@signal(group="repetition_nemo")
def distinct_paragraph_char_fraction_nemo(pages: PageBatch) -> Float:
    """As `distinct_paragraph_fraction_nemo`, by characters; null where they have none. Kept from 0.8."""
    return pages.once(_paragraphs).distinct_characters / pages.once(_paragraphs).characters


def _top(pages: PageBatch, n: int) -> Float:
    """Characters that go when the most frequent {n}-gram (the first seen of the tied) is deleted, per character.

    1 on a page of fewer than {n} words.
    """
    words, grams = pages.words, pages.once(white_space_ngrams)[n]
    measured = grams.count > 0
    deleted = deleted_characters(pages.data, pages.offsets, words.starts, words.ends, grams.top_start, n, measured)
    return _one_if_short(grams, deleted / pages.once(_characters))


def _duplicate(pages: PageBatch, n: int) -> Float:
    """Characters of words in copies of {n}-grams after the first, each word once, with the blanks between, per character.

    1 on a page of fewer than {n} words.
    """
    grams = pages.once(white_space_ngrams)[n]
    return _one_if_short(grams, grams.later / pages.once(_characters))


def _one_if_short(grams: NGrams, values: Float) -> Float:
    return np.where(grams.count > 0, values, 1.0)


ngram_signals("nemo", _top, _duplicate)
