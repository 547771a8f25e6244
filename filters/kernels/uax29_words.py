"""Words by the default rules of Unicode's annex 29 (WB1 to WB999), the segmentation that DCLM counts n-grams in.

A boundary depends on the character before it, the one after it and, across the full stop of "3.5" or the apostrophe of
"can't", the one after that; marks and format characters count with the character they follow. Of the segments only those
that start with a letter or number are words here. The properties of characters are those of the pinned `regex` package: its
Unicode version is the one that counts.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
import regex

from filters.kernels.text import count_characters, decode, hash_bytes, kernel
from filters.kernels.unicode_tables import CLASSES, LETTER, NUMERIC

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]

# fmt: off
OTHER, CR, LF, NEWLINE, EXTEND, ZWJ, REGIONAL_INDICATOR, KATAKANA, HEBREW, ALETTER, SINGLE_QUOTE, DOUBLE_QUOTE = range(12)
MID_NUM_LET, MID_LETTER, MID_NUM, NUMBER, EXTEND_NUM_LET, SPACE = range(12, 18)
# fmt: on
KIND = 31
PICTOGRAPHIC = 32  # Extended_Pictographic, beside any kind

PROPERTIES = {
    "CR": CR,
    "LF": LF,
    "Newline": NEWLINE,
    "Extend": EXTEND,
    "Format": EXTEND,  # no rule tells them apart
    "ZWJ": ZWJ,
    "Regional_Indicator": REGIONAL_INDICATOR,
    "Katakana": KATAKANA,
    "Hebrew_Letter": HEBREW,
    "ALetter": ALETTER,
    "Single_Quote": SINGLE_QUOTE,
    "Double_Quote": DOUBLE_QUOTE,
    "MidNumLet": MID_NUM_LET,
    "MidLetter": MID_LETTER,
    "MidNum": MID_NUM,
    "Numeric": NUMBER,
    "ExtendNumLet": EXTEND_NUM_LET,
    "WSegSpace": SPACE,
}


@cache
def word_breaks() -> Bytes:
    """Word_Break of every code point, as the constants above, with PICTOGRAPHIC; shape (0x110000,). Made in 0.2 s."""
    table = np.zeros(0x110000, np.uint8)
    # The other planes hold ideographs, private use and nothing: no word break property, no pictographs.
    for first, last in ((0, 0xD800), (0xE000, 0x20000), (0xE0000, 0xE1000)):
        characters = "".join(map(chr, range(first, last)))
        for name, kind in PROPERTIES.items():
            for found in regex.finditer(rf"\p{{WB={name}}}+", characters):
                table[first + found.start() : first + found.end()] = kind
        for found in regex.finditer(r"\p{Extended_Pictographic}+", characters):
            table[first + found.start() : first + found.end()] |= PICTOGRAPHIC
    table.flags.writeable = False
    return table


@kernel
def skip_extenders(data: Bytes, at: int, end: int, breaks: Bytes, kind: int) -> tuple[int, int]:
    """Past the marks, format characters and joiners at `at` (WB4), and the kind of the last of them, else `kind`."""
    while at < end and data[at] >= 0x80:
        code, size = decode(data, at, end)
        if breaks[code] & KIND != EXTEND and breaks[code] & KIND != ZWJ:
            break
        kind = breaks[code] & KIND
        at += size
    return at, kind


@kernel
def is_letter(kind: int) -> bool:
    """AHLetter."""
    return kind in (ALETTER, HEBREW)


@kernel
def joins(kind: int, other: int) -> bool:
    """Whether no boundary lies between two kinds, whatever follows (WB5, 8 to 10, 13 to 13b, 7a)."""
    if other == EXTEND_NUM_LET:
        return is_letter(kind) or kind in (NUMBER, KATAKANA, EXTEND_NUM_LET)
    if kind == EXTEND_NUM_LET:
        return is_letter(other) or other in (NUMBER, KATAKANA)
    if kind == KATAKANA:
        return other == KATAKANA
    if kind == HEBREW and other == SINGLE_QUOTE:
        return True
    return (is_letter(kind) or kind == NUMBER) and (is_letter(other) or other == NUMBER)


@kernel
def joins_across(kind: int, middle: int, other: int) -> bool:
    """Whether no boundary lies in a sequence of three kinds (WB6 and 7, 7b and 7c, 11 and 12)."""
    if is_letter(kind) and is_letter(other):
        if kind == HEBREW and other == HEBREW and middle == DOUBLE_QUOTE:
            return True
        return middle in (MID_LETTER, MID_NUM_LET, SINGLE_QUOTE)
    return kind == NUMBER and other == NUMBER and middle in (MID_NUM, MID_NUM_LET, SINGLE_QUOTE)


@kernel
def skip_ascii(data: Bytes, at: int, end: int, breaks: Bytes, kind: int) -> tuple[int, int]:
    """Past the ASCII letters and digits that follow one of their kind, most of most texts; the kind of the last."""
    while at < end and data[at] < 0x80 and kind in (ALETTER, NUMBER):
        following = breaks[data[at]]
        if following not in (ALETTER, NUMBER):
            break
        kind = following
        at += 1
    return at, kind


@kernel
def segment_end(data: Bytes, at: int, end: int, breaks: Bytes) -> int:
    """Where the segment that starts at `at` ends; `at` is a boundary before `end`."""
    code, size = decode(data, at, end)
    kind = breaks[code] & KIND
    at += size
    if kind in (CR, LF, NEWLINE):
        return at + 1 if kind == CR and at < end and data[at] == 0x0A else at
    while True:
        at, kind = skip_ascii(data, at, end, breaks, kind)
        if at < end and data[at] == 0x20 and kind in (ALETTER, NUMBER):  # as most words end
            return at
        at, last = skip_extenders(data, at, end, breaks, kind)
        if at == end:
            return at
        code, size = decode(data, at, end)
        following = breaks[code] & KIND
        if (last == ZWJ and breaks[code] & PICTOGRAPHIC) or last == following == SPACE:  # WB3c, WB3d
            kind = following
        elif kind == following == REGIONAL_INDICATOR:  # WB15 and 16: flags are pairs
            kind = OTHER
        elif joins(kind, following):
            kind = following
        elif following not in (SINGLE_QUOTE, DOUBLE_QUOTE, MID_NUM_LET, MID_LETTER, MID_NUM):
            return at
        else:
            at, size, kind = jump(data, at, at + size, end, breaks, kind)
            if size == 0:
                return at
        at += size


@kernel
def jump(data: Bytes, middle: int, at: int, end: int, breaks: Bytes, kind: int) -> tuple[int, int, int]:
    """Over the character at `middle` to the one after it, if the three belong together: (its place, its bytes, its kind).

    Otherwise (`middle`, 0, OTHER). `at` is where the character at `middle` ends.
    """
    over = breaks[decode(data, middle, end)[0]] & KIND
    at, _ = skip_extenders(data, at, end, breaks, over)
    if at < end:
        code, size = decode(data, at, end)
        other = breaks[code] & KIND
        if joins_across(kind, over, other):
            return at, size, other
    return middle, 0, OTHER


@kernel
def find_segments(
    data: Bytes, offsets: Offsets, breaks: Bytes, classes: Bytes
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64], Offsets]:
    """Segments that start with a letter or number (`str.isalnum`): code points, hashes, first of each page."""
    pages = len(offsets) - 1
    most = int(offsets[-1] - offsets[0]) // 2 + pages
    lengths = np.empty(most, np.int32)
    hashes = np.empty(most, np.uint64)
    first = np.zeros(pages + 1, np.int64)
    found = 0
    for page in range(pages):
        at, end = offsets[page], offsets[page + 1]
        while at < end:
            code, _ = decode(data, at, end)
            if not classes[code] & (LETTER | NUMERIC):
                if code < 0x80 and code != 0x5F and at + 1 < end and data[at + 1] < 0x80:
                    at += 1  # white space or punctuation that nothing can join
                else:
                    at = segment_end(data, at, end, breaks)
                continue
            start = at
            at = segment_end(data, at, end, breaks)
            if found == len(lengths):  # single letters beside fractions: "a½a½" has more words than half its bytes
                lengths = np.concatenate((lengths, np.empty(len(lengths) + 1, np.int32)))
                hashes = np.concatenate((hashes, np.empty(len(hashes) + 1, np.uint64)))
            lengths[found] = count_characters(data, start, at)
            hashes[found] = hash_bytes(data, start, at)
            found += 1
        first[page + 1] = found
    return lengths[:found].copy(), hashes[:found].copy(), first


def uax29_words(data: Bytes, offsets: Offsets) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64], Offsets]:
    """`find_segments` with the tables it needs: (code points, hashes, first word of each page)."""
    found: tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64], Offsets]
    found = find_segments(data, offsets, word_breaks(), CLASSES)
    return found
