"""Gopher's quality signals in the paper's own reading (Rae et al. 2021, arXiv 2112.11446, A1.1).

Words are what white space separates, lines what a newline separates; blank lines are layout and do not count, nor does the
white space around a line (so CRLF reads like LF). A page without words, or without lines, has no ratio of them: null.
Signals that count words are null on pages whose letters mostly belong to scripts without spaces between words (Chinese,
Japanese, Thai, ...), where a "word" would be a sentence.
"""

import numpy as np
import numpy.typing as npt

from filters.kernels.compiled import inlined, trailing_zeros
from filters.kernels.text import HIGH, Bytes, Offsets, decode, equal, kernel, load
from filters.kernels.unicode_tables import BULLET, LETTER, MARKS
from filters.pages import PageBatch
from filters.signals import Count, Flag, Float, signal

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
ELLIPSIS = 0x2026
DASHES = np.array([ord("-"), ord("*"), ord("–"), ord("—")], np.int32)


@signal(group="gopher")
def word_count(pages: PageBatch) -> Count:
    """Words, separated by white space. Gopher keeps 50 to 100,000 (Rae et al. 2021, A1.1)."""
    return pages.by_words(pages.words.count)


@signal(group="gopher")
def mean_word_length(pages: PageBatch) -> Float:
    """Characters (code points) per word. Gopher keeps 3 to 10 (Rae et al. 2021, A1.1)."""
    return pages.by_words(pages.words.characters / pages.words.count)


@signal(group="gopher")
def symbol_word_ratio(pages: PageBatch) -> Float:
    """Hash signs per word or ellipses per word, whichever is more. Gopher keeps up to 0.1 (Rae et al. 2021, A1.1).

    The paper bounds the ratio "for either the hash symbol or the ellipsis", so the two are not added up. An ellipsis is "…"
    or a run of three or more full stops; the dots that lead to a page number are one ellipsis, however many.
    """
    hashes, ellipses = count_symbols(pages.data, pages.offsets)
    return pages.by_words(np.maximum(hashes, ellipses) / pages.words.count)


@signal(group="gopher")
def bullet_line_ratio(pages: PageBatch) -> Float:
    """Share of lines that start with a bullet point. Gopher keeps up to 0.9 (Rae et al. 2021, A1.1).

    A bullet is one of the characters that are nothing else (•, ‣, ◦, ▪, ...), or a hyphen, asterisk or dash that white space
    or the end of the line follows, as plain text writes bullets ("-5 degrees" does not start with one).
    """
    lines = pages.lines
    second = lines.starts + np.where(lines.heads < 0x80, 1, 3)  # the two dashes that are not ASCII take three bytes
    alone = second >= lines.ends
    after = pages.data[np.where(alone, lines.starts, second)]
    dash = np.isin(lines.heads, DASHES) & (alone | (after == ord(" ")) | (after == ord("\t")))
    return lines.sum(dash | (MARKS[lines.heads] & BULLET != 0)) / lines.count


@signal(group="gopher")
def ellipsis_line_ratio(pages: PageBatch) -> Float:
    """Share of lines that end with "…" or "...". Gopher keeps up to 0.3 (Rae et al. 2021, A1.1)."""
    return pages.lines.sum(pages.once(ellipsis_lines)) / pages.lines.count


@signal(group="gopher")
def alphabetic_word_ratio(pages: PageBatch) -> Float:
    """Share of words with at least one letter, of any script. Gopher keeps 0.8 or more (Rae et al. 2021, A1.1)."""
    return pages.by_words(pages.words.sum(pages.words.classes & LETTER != 0) / pages.words.count)


@signal(group="gopher")
def stop_word_count(pages: PageBatch) -> Count:
    """How many of the, be, to, of, and, that, have, with occur. Gopher keeps 2 or more (Rae et al. 2021, A1.1).

    Different ones are counted, at most 8: the paper asks for "at least two of the following words". Case does not matter,
    and ASCII punctuation at either end of a word is not part of it: '"The' contains "the".
    """
    words = pages.words
    return pages.by_words(count_stop_words(pages.data, words.starts, words.ends, words.first, PACKED_STOP_WORDS))


def ellipsis_lines(pages: PageBatch) -> Flag:
    """Whether each of `pages.lines` ends with "…" or "..."."""
    lines = pages.lines
    dots = (lines.tails == ord(".")) & (lines.ends - lines.starts >= 3)
    for back in (2, 3):
        dots &= pages.data[np.maximum(lines.ends - back, 0)] == ord(".")
    found: Flag = dots | (lines.tails == ELLIPSIS)
    return found


PACKED_STOP_WORDS = np.array([int.from_bytes(word.encode(), "little") for word in STOP_WORDS], np.uint32)


@inlined
def is_alphanumeric(byte: int) -> bool:
    """Whether a byte is an ASCII letter or digit, or part of a character that is not ASCII."""
    folded = byte | 0x20
    return byte >= 0x80 or 0x61 <= folded <= 0x7A or 0x30 <= byte <= 0x39


@inlined
def pack(data: Bytes, start: int, end: int) -> np.uint32:
    """The word without ASCII punctuation at its ends, in lower case, as one number; 0 if that is more than four bytes."""
    while start < end and not is_alphanumeric(data[start]):
        start += 1
    while start < end and not is_alphanumeric(data[end - 1]):
        end -= 1
    if end - start > 4 or end == start:
        return np.uint32(0)
    blanks = np.uint64(0x20202020) >> np.uint64(8 * (4 - end + start))
    return np.uint32(load(data, start, end) | blanks)


@kernel
def count_stop_words(data: Bytes, starts: Offsets, ends: Offsets, first: Offsets, packed: npt.NDArray[np.uint32]) -> Offsets:
    """How many different ones of the stop words (up to four bytes each, packed into one number) each page has."""
    counts = np.zeros(len(first) - 1, np.int64)
    for page in range(len(counts)):
        seen = 0
        for word in range(first[page], first[page + 1]):
            number = pack(data, starts[word], ends[word])
            if number == 0:
                continue
            for k in range(len(packed)):
                seen |= int(number == packed[k]) << k
            if seen == (1 << len(packed)) - 1:
                break
        for k in range(len(packed)):
            counts[page] += seen >> k & 1
    return counts


@kernel
def count_symbols(data: Bytes, offsets: Offsets) -> tuple[Offsets, Offsets]:
    """Hash signs and ellipses of each page."""
    pages = len(offsets) - 1
    hashes = np.zeros(pages, np.int64)
    ellipses = np.zeros(pages, np.int64)
    for page in range(pages):
        at, end = offsets[page], offsets[page + 1]
        dots = 0
        while at < end:
            block = load(data, at, end)
            skipped = trailing_zeros(equal(block, 0x23) | equal(block, 0x2E) | block & HIGH) >> 3
            dots = 0 if skipped else dots
            at += skipped
            if skipped == 8 or at >= end:
                continue
            byte = data[at]
            dots = dots + 1 if byte == 0x2E else 0
            ellipses[page] += int(dots == 3)
            hashes[page] += int(byte == 0x23)
            if byte == 0xE2 and decode(data, at, end)[0] == ELLIPSIS:
                ellipses[page] += 1
            at += 1
    return hashes, ellipses
