"""Text as bags of hashed terms: Spark ML's `Tokenizer` and `HashingTF` over Arrow buffers, and hashed word pairs.

Spark's tokenizer is two calls of Java's: `toLowerCase`, which looks at the word around a capital sigma, and `split` at ASCII
white space. Both are done here as OpenJDK 17 does them, so that a page gets the vector that Spark would give it: in lower
case first (`lower_case`), then term by term (`spark_terms`). Of 200,000 random strings of the characters that OpenJDK treats
in a way of its own 0.2 % differ, by the form of a sigma beside Roman numerals or an iota subscript. Letters of which Unicode
told after OpenJDK 17 are made small as this Python knows them.
"""

import functools
import unicodedata

import numpy as np
import numpy.typing as npt

from filters.kernels.compiled import inlined, kernel, load8, store8, trailing_zeros
from filters.kernels.text import HIGH, LOW, SEVEN, Bytes, Codes, Offsets, decode, decode_last, load
from filters.kernels.unicode_tables import CLASSES, LETTER, NUMERIC, SPACE

Codepoints = npt.NDArray[np.uint32]

CODES = 0x20000  # case is nowhere beyond the first two planes
DOTTED_I = 0x130  # becomes an i and a combining dot, the one letter that becomes two
SIGMA, SMALL_SIGMA, FINAL_SIGMA = 0x3A3, 0x3C3, 0x3C2

BREAK, CASED, JOINED, NUMBER, IGNORED, MIDDLE = range(6)
"""What a character is to the word around a sigma: its end, a letter with case or without, a number, a mark, a hyphen."""

BROKEN_SCRIPTS = (range(0x3005, 0x3006), range(0x3041, 0x3095), range(0x309D, 0x309F), range(0x30A1, 0x30FB),
                  range(0x30FC, 0x30FF), range(0x4E00, 0x9FA6), range(0xF900, 0xFA2E))  # fmt: skip
"""Ideographs and kana, which OpenJDK does not join to the letters beside them."""

SPARK_SEED = 42
MASK = np.uint32(0xFFFFFFFF)
BLOCK_1, BLOCK_2, ADDED = np.uint32(0xCC9E2D51), np.uint32(0x1B873593), np.uint32(0xE6546B64)
LAST_1, LAST_2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
PAIR = np.uint32(0x9E3779B1)


def _around_sigma(code: int) -> int:
    character = chr(code)
    category = unicodedata.category(character)
    if code in (0x27, 0x22, 0x2E, 0xAD, 0x2027) or category in ("Pd", "Pc"):
        return MIDDLE
    if category in ("Lu", "Lt", "Ll") or (category == "Nl" and character.lower() != character.upper()):
        return CASED
    if category == "Lm" and code < 0x1D62 and character.islower():
        return CASED
    if category[0] in "LN" and not any(code in broken for broken in BROKEN_SCRIPTS):
        return JOINED if category[0] == "L" else NUMBER
    return IGNORED if category in ("Mn", "Me", "Cf") else JOINED if category == "Mc" else BREAK


@functools.cache
def case_tables() -> tuple[Codepoints, Bytes]:
    """What each of the first `CODES` code points is in lower case, and what it is to the word around a sigma."""
    lower, around = np.arange(CODES, dtype=np.uint32), np.zeros(CODES, np.uint8)
    for code in range(CODES):
        small = chr(code).lower()
        if len(small) == 1:
            lower[code] = ord(small)
        around[code] = _around_sigma(code)
    lower.flags.writeable = around.flags.writeable = False
    return lower, around


@functools.cache
def word_kinds() -> Bytes:
    r"""0 for white space, 1 for what `\w` matches, 2 for any other character; shape (0x110000,)."""
    kinds = np.where(CLASSES & SPACE, 0, np.where(CLASSES & (LETTER | NUMERIC), 1, 2)).astype(np.uint8)
    kinds[ord("_")] = 1
    kinds.flags.writeable = False
    return kinds


@inlined
def joins(data: Bytes, at: int, stop: int, forward: bool, around: Bytes) -> bool:
    """Whether the first character from `at` on towards `stop`, marks apart, is a letter: what a hyphen joins."""
    while at != stop:
        code, size = decode(data, at, stop) if forward else decode_last(data, stop, at)
        kind = around[code] if code < CODES else np.uint8(BREAK)
        if kind != IGNORED:
            return bool(kind in (CASED, JOINED))
        at += size if forward else -size
    return False


@inlined
def meets_case(data: Bytes, at: int, stop: int, forward: bool, around: Bytes) -> bool:
    """Whether the rest of the word from `at` on towards `stop` has a letter with case."""
    letter = True
    while at != stop:
        code, size = decode(data, at, stop) if forward else decode_last(data, stop, at)
        at += size if forward else -size
        kind = around[code] if code < CODES else np.uint8(BREAK)
        if kind == CASED:
            return True
        if kind == BREAK or (kind == MIDDLE and not (letter and joins(data, at, stop, forward, around))):
            return False
        if kind != IGNORED:
            letter = kind == JOINED
    return False


@inlined
def encode(out: Bytes, to: int, code: int) -> int:
    """Write a character as UTF-8; where the next one goes."""
    if code < 0x80:
        out[to] = code
        return to + 1
    if code < 0x800:
        out[to], out[to + 1] = 0xC0 | code >> 6, 0x80 | code & 0x3F
        return to + 2
    if code < 0x10000:
        out[to], out[to + 1], out[to + 2] = 0xE0 | code >> 12, 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F
        return to + 3
    out[to], out[to + 1] = 0xF0 | code >> 18, 0x80 | code >> 12 & 0x3F
    out[to + 2], out[to + 3] = 0x80 | code >> 6 & 0x3F, 0x80 | code & 0x3F
    return to + 4


@kernel
def copy_ascii(data: Bytes, at: int, end: int, out: Bytes, to: int) -> int:
    """Copy in lower case, eight bytes at a time, up to the first eight with one that is not ASCII; how many were copied."""
    begin = at
    while at + 8 <= end:
        block = np.uint64(load8(data, at))
        if block & HIGH:
            break
        upper = (block + LOW * np.uint64(0x3F)) & ~(block + LOW * np.uint64(0x25)) & HIGH
        store8(out, to, block | upper >> np.uint64(2))
        at += 8
        to += 8
    return at - begin


@kernel
def lower_character(
    data: Bytes, start: int, at: int, end: int, out: Bytes, to: int, lower: Codepoints, around: Bytes
) -> int:
    """Write the character at `at` of the page `data[start:end]` in lower case; bytes that are not UTF-8 stay as they are."""
    code, size = decode(data, at, end)
    if code == SIGMA:
        final = meets_case(data, at, start, False, around) and not meets_case(data, at + size, end, True, around)
        return encode(out, to, FINAL_SIGMA if final else SMALL_SIGMA)
    if code == DOTTED_I:
        return encode(out, encode(out, to, 0x69), 0x307)
    if code < CODES and lower[code] != code:
        return encode(out, to, int(lower[code]))
    for k in range(size):
        out[to + k] = data[at + k]
    return to + size


@kernel
def fill_lower_case(data: Bytes, offsets: Offsets, lower: Codepoints, around: Bytes, out: Bytes, first: Offsets) -> int:
    """Fill in what `lower_case` returns, and how many bytes it has."""
    to = 0
    for page in range(len(offsets) - 1):
        start, end = offsets[page], offsets[page + 1]
        first[page] = to
        at = start
        while at < end:
            copied = copy_ascii(data, at, end, out, to)
            at += copied
            to += copied
            last = min(at + 8, end)
            while at < last:
                code, size = int(data[at]), 1
                if code < 0x80:
                    out[to] = lower[code]
                    to += 1
                else:
                    to = lower_character(data, start, at, end, out, to, lower, around)
                    code, size = decode(data, at, end)
                at += size
    first[len(offsets) - 1] = to
    return to


def lower_case(data: Bytes, offsets: Offsets) -> tuple[Bytes, Offsets]:
    """The bytes of all pages in lower case, and where each page begins in them, as Java's `String.toLowerCase(ROOT)`."""
    out = np.empty((offsets[-1] - offsets[0]) * 3 // 2 + 8, np.uint8)  # a letter of two bytes may become one of three
    first = np.empty(len(offsets), np.int64)
    return out[: fill_lower_case(data, offsets, *case_tables(), out, first)], first


@inlined
def rotated(value: np.uint32, by: int) -> np.uint32:
    """The bits turned round to the left."""
    return np.uint32(value << np.uint32(by) | value >> np.uint32(32 - by))


@inlined
def scattered(block: np.uint32) -> np.uint32:
    """Four bytes as they enter the hash."""
    return np.uint32(rotated(np.uint32(block * BLOCK_1), 15) * BLOCK_2)


@inlined
def finished(hashed: np.uint32) -> np.uint32:
    """The last step of the hash: every bit reaches every other."""
    hashed = np.uint32((hashed ^ hashed >> np.uint32(16)) * LAST_1)
    hashed = np.uint32((hashed ^ hashed >> np.uint32(13)) * LAST_2)
    return np.uint32(hashed ^ hashed >> np.uint32(16))


@inlined
def murmur3(data: Bytes, start: int, end: int, seed: int) -> np.uint32:
    """MurmurHash3_x86_32 (Appleby) of `data[start:end]`."""
    hashed = np.uint32(seed)
    at = start
    while at + 4 <= end:
        hashed = rotated(hashed ^ scattered(np.uint32(load(data, at, end) & np.uint64(MASK))), 13)
        hashed = np.uint32(hashed * np.uint32(5) + ADDED)
        at += 4
    if at < end:
        hashed ^= scattered(np.uint32(load(data, at, end)))
    return finished(hashed ^ np.uint32(end - start))


@inlined
def java_spaces(block: np.uint64) -> np.uint64:
    r"""The top bit of each of eight bytes that Java's \s matches: 0x09 to 0x0D and 0x20."""
    low = block & SEVEN
    controls = (low + LOW * np.uint64(0x77)) & ~(low + LOW * np.uint64(0x72))
    blanks = ~((low ^ LOW * np.uint64(0x20)) + SEVEN)
    return (controls | blanks) & ~block & HIGH


@inlined
def next_space(data: Bytes, at: int, end: int) -> int:
    """Where white space comes next; `end` if it does not."""
    while at < end:
        here = java_spaces(load(data, at, end))
        if here:
            return min(at + int(trailing_zeros(here) >> 3), end)
        at += 8
    return end


@kernel
def fill_spark_terms(data: Bytes, offsets: Offsets, mask: int, buckets: Codes, first: Offsets) -> int:
    """Fill in what `spark_terms` returns, and how many terms there are."""
    empty = np.int32(murmur3(data, 0, 0, SPARK_SEED) & np.uint32(mask))
    found = 0
    for page in range(len(offsets) - 1):
        first[page] = found
        at, end, empties = offsets[page], offsets[page + 1], 0
        while at < end:
            space = next_space(data, at, end)
            if space == at:
                empties += 1
            else:
                buckets[found : found + empties] = empty
                found += empties
                empties = 0
                buckets[found] = np.int32(murmur3(data, at, space, SPARK_SEED) & np.uint32(mask))
                found += 1
            at = space + 1
    first[len(offsets) - 1] = found
    return found


def spark_terms(data: Bytes, offsets: Offsets, features: int) -> tuple[Codes, Offsets]:
    r"""The index of every term in `features` (a power of two) places, in order, and the first term of each page.

    data: in lower case. The terms are those of Java's `split("\\s")`: where blanks follow each other the empty string stands
    between them, and none at a page's end. A page without a word has no terms; of a page without a byte, Spark says that it
    has the empty string.
    """
    buckets = np.empty(offsets[-1] - offsets[0] + 1, np.int32)
    first = np.empty(len(offsets), np.int64)
    return buckets[: fill_spark_terms(data, offsets, features - 1, buckets, first)], first


@inlined
def in_range(hashed: np.uint32, size: int) -> np.int32:
    """A hash as one of `size` places, by multiplication (Lemire)."""
    return np.int32(np.uint64(hashed) * np.uint64(size) >> np.uint64(32))


@inlined
def end_of_run(data: Bytes, at: int, end: int, kinds: Bytes) -> tuple[int, np.uint8]:
    """Where the characters of one kind that begin at `at` end, and their kind."""
    code, size = decode(data, at, end)
    kind = kinds[code]
    at += size
    while at < end:
        code, size = int(data[at]), 1
        if code >= 0x80:
            code, size = decode(data, at, end)
        if kinds[code] != kind:
            break
        at += size
    return at, kind


@kernel
def fill_ngrams(data: Bytes, offsets: Offsets, size: int, kinds: Bytes, buckets: Codes, first: Offsets) -> int:
    """Fill in what `ngrams` returns, and how many there are."""
    found = 0
    for page in range(len(offsets) - 1):
        first[page] = found
        at, end = offsets[page], offsets[page + 1]
        before = np.uint32(0)
        while at < end:
            stop, kind = end_of_run(data, at, end, kinds)
            if kind:
                hashed = murmur3(data, at, stop, SPARK_SEED)
                if found > first[page]:
                    buckets[found] = in_range(finished(np.uint32(before * PAIR + hashed)), size)
                    found += 1
                buckets[found] = in_range(hashed, size)
                found += 1
                before = hashed
            at = stop
    first[len(offsets) - 1] = found
    return found


def ngrams(data: Bytes, offsets: Offsets, size: int) -> tuple[Codes, Offsets]:
    r"""The place among `size` of every unigram and bigram, in order, and the first of each page.

    data: in lower case. Unigrams are runs of letters, digits and underscores, and runs of what is neither that nor white
    space: NLTK's WordPunctTokenizer, `\w+|[^\w\s]+`. A bigram's place is made of the hashes of both.
    """
    buckets = np.empty(2 * (offsets[-1] - offsets[0]) + 1, np.int32)
    first = np.empty(len(offsets), np.int64)
    return buckets[: fill_ngrams(data, offsets, size, word_kinds(), buckets, first)], first
