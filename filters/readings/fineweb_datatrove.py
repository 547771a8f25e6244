"""FineWeb's own heuristics as datatrove 0.10.1 computes them (`FineWebQualityFilter`, language English), which made FineWeb.

Lines are separated by "\\n" alone, keep the white space around them, and do not count where there is nothing else; on a page
without lines every column is null, and datatrove drops it. The "\\r" of a line that ends in "\\r\\n" hides its full stop.
"""

from dataclasses import dataclass

import numpy as np

from filters.kernels.spacy_tables import TABLE, TERMINAL
from filters.kernels.text import (
    Bytes,
    Codes,
    Hashes,
    Offsets,
    count_characters,
    decode_last,
    find_copies,
    hash_bytes,
    kernel,
    next_byte,
    strip,
)
from filters.kernels.unicode_tables import CLASSES
from filters.pages import PageBatch, Units
from filters.readings.repetition_datatrove import characters
from filters.signals import Float, signal
from filters.units.spacy_words import spacy_words

SHORT = 30


@dataclass(frozen=True)
class RawLines(Units):
    """Lines with white space around them: code points, hashes, last code points; per page, the newlines."""

    lengths: Codes
    hashes: Hashes
    tails: Codes
    newlines: Offsets


@signal(group="fineweb_datatrove")
def line_punctuation_ratio_datatrove(pages: PageBatch) -> Float:
    """Share of lines whose last character is one of 159 terminal marks; no quotes. FineWeb keeps 0.12 or more."""
    lines = pages.once(raw_lines)
    return lines.sum(TABLE[lines.tails] & TERMINAL != 0) / lines.count


@signal(group="fineweb_datatrove")
def line_punctuation_ratio_or_none_datatrove(pages: PageBatch) -> Float:
    """The same, but 1 where it is 0: datatrove's option `line_punct_exclude_zero` spares pages without any such line."""
    ratio = line_punctuation_ratio_datatrove(pages)
    return np.where(ratio == 0, 1.0, ratio)


@signal(group="fineweb_datatrove")
def short_line_ratio_datatrove(pages: PageBatch) -> Float:
    """Share of lines of up to 30 characters. FineWeb keeps up to 0.67."""
    lines = pages.once(raw_lines)
    return lines.sum(lines.lengths <= SHORT) / lines.count


@signal(group="fineweb_datatrove")
def duplicate_filled_line_char_fraction_datatrove(pages: PageBatch) -> Float:
    """Characters of lines that repeat an earlier one, over the text's without newlines. FineWeb keeps up to 0.01.

    Unlike in `duplicate_line_char_fraction_datatrove`, blank lines are no lines. The paper says 0.1.
    """
    lines = pages.once(raw_lines)
    copied = lines.sum(lines.lengths * find_copies(lines.hashes, lines.first))
    return np.where(lines.count > 0, copied / (pages.once(characters) - lines.newlines), np.nan)


@signal(group="fineweb_datatrove")
def newline_word_ratio_datatrove(pages: PageBatch) -> Float:
    """Newlines per word of spaCy's. FineWeb keeps up to 0.3."""
    return pages.once(raw_lines).newlines / pages.once(spacy_words).count


def raw_lines(pages: PageBatch) -> RawLines:
    r"""The lines of `text.split("\n")` that hold something else than white space."""
    return RawLines(*find_raw_lines(pages.data, pages.offsets, CLASSES))


@kernel
def find_raw_lines(
    data: Bytes, offsets: Offsets, classes: Bytes
) -> tuple[Offsets, Offsets, Offsets, Codes, Hashes, Codes, Offsets]:
    """Starts, ends, first line of each page (pages + 1), code points, hashes, last code points, newlines of each page."""
    pages = len(offsets) - 1
    most = pages
    for at in range(offsets[0], offsets[-1]):
        most += int(data[at] == 0x0A)
    starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    lengths, hashes, tails = np.empty(most, np.int32), np.empty(most, np.uint64), np.empty(most, np.int32)
    first, newlines = np.zeros(pages + 1, np.int64), np.zeros(pages, np.int64)
    found = 0
    for page in range(pages):
        at, end = offsets[page], offsets[page + 1]
        while at <= end:
            stop = next_byte(data, at, end, 0x0A)
            newlines[page] += int(stop < end)
            start, last = strip(data, at, stop, classes)
            if last > start:
                starts[found], ends[found] = at, stop
                lengths[found] = count_characters(data, at, stop)
                hashes[found] = hash_bytes(data, at, stop)
                tails[found] = decode_last(data, at, stop)[0]
                found += 1
            at = stop + 1
        first[page + 1] = found
    return starts[:found], ends[:found], first, lengths[:found], hashes[:found], tails[:found], newlines
