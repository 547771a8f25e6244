"""The text of a page as fastText is given it: one line, made by one compiled pass over the bytes.

fastText reads lines and separates words at blanks alone: a newline ends the page, `</s>` as a word ends it too, a word that
begins with `__label__` is taken for a label, and a no-break space joins two words into one. So each page becomes its words
with one blank between them and one newline at the end, those two marks broken by a blank, whatever the page held.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.kernels.compiled import kernel, load8, ones
from filters.kernels.text import EIGHT, HIGH, LOW, Bytes, Offsets, decode, equal
from filters.kernels.unicode_tables import CLASSES, SPACE
from filters.pages import PageBatch

END_MARK = np.frombuffer(b"</s>", np.uint8)
LABEL_MARK = np.frombuffer(b"__label__", np.uint8)

NOT_PLAIN = np.uint64(1)
FIRST_BLANK = np.uint64(0x80)
SEPARATOR = 1
NEWLINE = 2
FASTTEXT_SPACES = " \t\n\v\f\r\0"


@dataclass(frozen=True)
class Reading:
    """Which part of a page a model reads, and where it sees words end. It belongs to the model: train and score alike.

    characters: code points read from the page's beginning. The cap bounds time and memory: 60 MB of one word cost fastText
    4.3 s and 1.5 GB.
    last: of these, only the last so many; 0 reads them all. pile-cc-filtering reads the last 1,500 of the first 4,000.
    newline: `blank` (a newline ends a word) or `glue` (it vanishes, as in datatrove's filter).
    white_space: `unicode` (all that str.isspace knows) or `fasttext` (its own seven ASCII characters: what a model trained
    elsewhere has seen).
    """

    characters: int = 1_000_000
    last: int = 0
    newline: str = "blank"
    white_space: str = "unicode"

    def __post_init__(self) -> None:
        for name, least in (("characters", 1), ("last", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} is {value!r}, expected a whole number of code points, at least {least}")
        for name, known in (("newline", ("blank", "glue")), ("white_space", ("unicode", "fasttext"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected {known[0]!r} or {known[1]!r}")


def _separators(white_space: str) -> npt.NDArray[np.uint8]:
    table = (CLASSES & SPACE > 0).astype(np.uint8) if white_space == "unicode" else np.zeros_like(CLASSES)
    for character in FASTTEXT_SPACES:
        table[ord(character)] = SEPARATOR
    table[ord("\n")] |= NEWLINE
    return table


SEPARATORS = {white_space: _separators(white_space) for white_space in ("unicode", "fasttext")}


@kernel
def skip_characters(data: Bytes, at: int, end: int, count: int) -> int:
    """Where the text after the first `count` characters begins; a character is a byte that continues none, as in UTF-8."""
    while count >= 8 and at + 8 <= end:
        count -= 8 - continuing(load8(data, at))
        at += 8
    while at < end and (count > 0 or data[at] & 0xC0 == 0x80):
        count -= data[at] & 0xC0 != 0x80
        at += 1
    return at


@kernel
def skip_back(data: Bytes, start: int, at: int, count: int) -> int:
    """Where the last `count` characters of `data[start:at]` begin."""
    while count >= 8 and at - 8 >= start:
        at -= 8
        count -= 8 - continuing(load8(data, at))
    while at > start and count > 0:
        at -= 1
        count -= data[at] & 0xC0 != 0x80
    return at


@kernel
def continuing(block: np.uint64) -> int:
    """How many of eight bytes continue a character."""
    return int(ones(block & HIGH & ~(block << np.uint64(1))))


@kernel
def part_to_read(data: Bytes, start: int, end: int, characters: int, last: int) -> tuple[int, int]:
    """Begin and end of the last `last` of the first `characters` code points (all of them if `last` is 0)."""
    stop = end if end - start <= characters else skip_characters(data, start, end, characters)
    return (start if last == 0 else skip_back(data, start, stop, last)), stop


@kernel
def begins_with(data: Bytes, at: int, end: int, mark: Bytes) -> bool:
    """Whether `data[at:end]` begins with the mark."""
    if end - at < len(mark):
        return False
    for k in range(len(mark)):  # noqa: SIM110 - all() over a generator does not compile
        if data[at + k] != mark[k]:
            return False
    return True


@kernel
def may_be_mark(first: int) -> bool:
    """Whether a word that begins with this byte may be one of the marks: < or _."""
    return first == 60 or first == 95


@kernel
def close_word(out: Bytes, word: int, to: int, end_mark: Bytes, label_mark: Bytes) -> int:
    """Break the word that was just written with a blank after its first character where fastText would obey it."""
    if not may_be_mark(out[word]):
        return to
    if (to - word == len(end_mark) and begins_with(out, word, to, end_mark)) or begins_with(out, word, to, label_mark):
        for k in range(to, word + 1, -1):
            out[k] = out[k - 1]
        out[word + 1] = 32
        return to + 1
    return to


@kernel
def plain_blanks(block: np.uint64) -> np.uint64:
    """The top bit of each of eight bytes that is a blank; NOT_PLAIN if they cannot be copied as they are.

    That is: a byte below the blank or beyond ASCII, a mark's first letter, two blanks in a row. Borrows make a few more.
    """
    blanks = equal(block, 32)
    other = (block - LOW * np.uint64(32)) & ~block | block | equal(block, 60) | equal(block, 95)
    return NOT_PLAIN if (other & HIGH) | (blanks & blanks << EIGHT) else blanks


@kernel
def copy_plain(data: Bytes, at: int, end: int, out: Bytes, to: int, word: int) -> tuple[int, int, int]:
    """Copy eight bytes at a time while they are plain; `word` is where the word that is being written begins in `out`."""
    while at + 8 <= end:
        blanks = plain_blanks(load8(data, at))
        if blanks == NOT_PLAIN or (to == word and blanks & FIRST_BLANK) or (to > word and may_be_mark(out[word])):
            break
        for k in range(8):
            out[to + k] = data[at + k]
        to += 8
        at += 8
        if blanks:
            word = to
            while out[word - 1] != 32:
                word -= 1
    return at, to, word


@kernel
def write_lines(
    data: Bytes,
    offsets: Offsets,
    separators: Bytes,
    characters: int,
    last: int,
    glue: bool,
    end_mark: Bytes,
    label_mark: Bytes,
) -> tuple[Bytes, Offsets]:
    """One line per page in one buffer, and where each line begins; a page without words has an empty line, no newline."""
    pages = len(offsets) - 1
    # A mark costs one more byte and is at least four long, a page at most one more for its newline.
    out = np.empty((offsets[-1] - offsets[0]) * 5 // 4 + pages + 8, np.uint8)
    first = np.zeros(pages + 1, np.int64)
    to = 0
    for page in range(pages):
        at, end = part_to_read(data, offsets[page], offsets[page + 1], characters, last)
        line = word = to
        while at < end:
            at, to, word = copy_plain(data, at, end, out, to, word)
            if at == end:
                break
            code, size = int(data[at]), 1
            if code >= 0x80:
                code, size = decode(data, at, end)
            kind = separators[code]
            if kind == 0:
                out[to] = data[at]
                to += 1
                for k in range(1, size):
                    out[to] = data[at + k]
                    to += 1
            elif to > word and (not glue or kind & NEWLINE == 0):
                to = close_word(out, word, to, end_mark, label_mark)
                out[to] = 32
                to += 1
                word = to
            at += size
        if to > word:
            to = close_word(out, word, to, end_mark, label_mark)
            out[to] = 10
            to += 1
        elif to > line:
            out[to - 1] = 10
        first[page + 1] = to
    return out[:to], first


def written(pages: PageBatch, reading: Reading) -> tuple[Bytes, Offsets]:
    """What fastText is given for all pages in one buffer, newlines included, and where each page's line begins, and the end.

    A page without words has an empty line. What stands for a page without text is not to be looked at.
    """
    return write_lines(
        pages.data,
        pages.offsets,
        SEPARATORS[reading.white_space],
        reading.characters,
        reading.last,
        reading.newline == "glue",
        END_MARK,
        LABEL_MARK,
    )


def lines(pages: PageBatch, reading: Reading) -> list[bytes]:
    """What fastText is given for each page, newline included; empty for a page without text or without words."""
    buffer, first = written(pages, reading)
    whole: Any = buffer.tobytes()
    bounds = first.tolist()
    return [whole[start:end] if valid else b"" for start, end, valid in zip(bounds, bounds[1:], pages.valid, strict=False)]
