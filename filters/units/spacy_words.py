"""The words of spaCy's blank English tokenizer, in which datatrove counts, found by one compiled pass.

spaCy cuts at white space and then works on each chunk alone: it strips prefixes and suffixes from both ends until nothing
changes or a string that it splits by heart is left, and cuts what remains at infixes unless it is a URL. All of its regular
expressions look at one or two characters on either side, so each is a few comparisons here, and the whole is linear in the
text where the original is quadratic. A last pass over the words of the page looks for the strings known by heart that were
torn apart on the way; it sees words of neighbouring chunks too, which is why a chunk alone does not decide its words.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.kernels.spacy_tables import (
    AFTER_DIGITS,
    ALPHA,
    BEFORE_STOP,
    DIGIT,
    ICON,
    LETTER,
    LOWER,
    PREFIX,
    PUNCTUATION,
    QUOTE,
    SENTENCE_END,
    SPACE,
    SUFFIX,
    SYMBOL,
    TABLE,
    UPPER,
    URL_WORD,
    special_cases,
)
from filters.kernels.text import decode, decode_last, kernel
from filters.pages import PageBatch, Units

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Lengths = npt.NDArray[np.int32]

BASE = np.uint64(0x9E3779B97F4A7C15)
ONE = np.uint64(1)
SPACE_HASH = np.uint64(0)

HAS_LETTER = 1  # str.isalpha is true of a character
HAS_WORD = 2  # a character is not in datatrove's punctuation set
IS_SPACE = 4  # white space that is a word for spaCy: all but single spaces
ENDS_SENTENCE = 8  # the word is one of the sentencizer's marks
ALL_PUNCTUATION = 16  # every character has general category P*
AFTER_SPACE = 64  # such white space stands before the word
TAKEN = 32  # a string known by heart was looked for here

MOST_TORN = 16  # words that a string known by heart may be torn into
BYTE, EIGHT, FOUND = np.uint64(0xFF), np.uint64(8), np.uint64(1 << 63)
LONGEST = 32  # bytes of the longest string known by heart
OPEN, END = 1, 2  # states of a path: known by heart goes on, or may end here

A, C, S, U, Z = ord("A"), ord("C"), ord("S"), ord("U"), ord("Z")
DOLLAR, STOP, PLUS, HYPHEN, COMMA, COLON, SLASH, AT = (ord(mark) for mark in "$.+-,:/@")
QUESTION, HASH, UNDERSCORE, TILDE, BLANK, STAR, CARET = (ord(mark) for mark in "?#_~ *^")
LESS, EQUALS, MORE, APOSTROPHE, ZERO = (ord(mark) for mark in "<=>'0")
CURLY, DEGREE, ELLIPSIS, EN_DASH, EM_DASH = 0x2019, 0xB0, 0x2026, 0x2013, 0x2014
DEGREES = (ord("C"), ord("F"), ord("K"), ord("c"), ord("f"), ord("k"))


Classes = npt.NDArray[np.uint16]


class Book(NamedTuple):
    """What is known by heart, in few arrays, since each array costs at every call of a kernel.

    Strings and paths are told apart by their hashes. Both tables are open addressing with two numbers for each place: the
    hash, 0 where the place is free, and what is known.
    """

    classes: Classes  # the flags of every code point
    strings: Hashes  # length in bytes, then up to three lengths of pieces, a byte each from the lowest; a unit has none
    paths: Hashes  # the first words of a string torn apart: OPEN, END or both


WORD = np.dtype(
    [("start", np.int64), ("end", np.int64), ("hash", np.uint64), ("length", np.int32), ("flags", np.uint8)], align=True
)
"""A word: where it begins and ends, the hash of its bytes, its characters, its flags. Kernels pass arrays of these."""

Tokens = npt.NDArray[np.void]


@kernel
def hash_bytes(data: Bytes, start: int, end: int) -> np.uint64:
    """Polynomial hash modulo 2^64, so that the hash of a concatenation follows from the hashes of its parts."""
    hashed = np.uint64(0)
    for at in range(start, end):
        hashed = hashed * BASE + np.uint64(data[at]) + ONE
    return hashed


@kernel
def known(hashed: np.uint64, length: int, strings: Hashes) -> np.uint64:
    """What is known of the string with this hash and length in bytes: its pieces' lengths, a byte each, and FOUND."""
    mask = len(strings) // 2 - 1
    place = np.int64(hashed >> np.uint64(40)) & mask
    while strings[2 * place]:
        if strings[2 * place] == hashed and np.int64(strings[2 * place + 1] & BYTE) == length:
            return np.uint64(strings[2 * place + 1] >> EIGHT | FOUND)
        place = (place + 1) & mask
    return np.uint64(0)


@kernel
def known_case(data: Bytes, start: int, end: int, strings: Hashes) -> np.uint64:
    """Lengths of the pieces of the string known by heart that equals `data[start:end]`, a byte each, or 0."""
    if not 0 < end - start <= LONGEST:
        return np.uint64(0)
    return known(hash_bytes(data, start, end), end - start, strings) & ~FOUND


@kernel
def is_unit(data: Bytes, start: int, end: int, strings: Hashes) -> bool:
    """Whether `data[start:end]` is split off behind a digit."""
    return bool(known(hash_bytes(data, start, end), end - start, strings) == FOUND)


@kernel
def is_digit(byte: int) -> bool:
    """Whether it is one of 0 to 9."""
    return 48 <= byte <= 57


@kernel
def prefix_length(data: Bytes, start: int, end: int, classes: Classes) -> int:
    """Bytes that are split off in front of `data[start:end]`, which is not empty."""
    code, size = decode(data, start, end)
    if code == STOP:
        at = start + 1
        while at < end and data[at] == STOP:
            at += 1
        return at - start if at - start > 1 else 0
    if code == PLUS:
        return 0 if start + 1 < end and is_digit(data[start + 1]) else 1
    if code == U and start + 2 < end and data[start + 1] == S and data[start + 2] == DOLLAR:
        return 3
    if code in (A, C) and start + 1 < end and data[start + 1] == DOLLAR:
        return 2
    return size if classes[code] & PREFIX else 0


@kernel
def stop_length(data: Bytes, start: int, end: int, classes: Classes) -> int:
    """Bytes of the full stops that are split off behind `data[start:end]`, which ends in one."""
    at = end - 1
    while at > start and data[at - 1] == STOP:
        at -= 1
    if end - at > 1:
        return end - at
    if at == start:
        return 0
    code, size = decode_last(data, start, at)
    flags = classes[code]
    if flags & (LOWER | BEFORE_STOP):
        return 1
    if at - size > start:
        before = decode_last(data, start, at - size)[0]
        if flags & UPPER and classes[before] & UPPER:
            return 1
        if before == DEGREE and code in DEGREES:
            return 1
    return 0


@kernel
def suffix_length(data: Bytes, start: int, end: int, book: Book) -> int:
    """Bytes that are split off behind `data[start:end]`: the longest of the alternatives."""
    if end <= start:
        return 0
    code, size = decode_last(data, start, end)
    if code == STOP:
        return stop_length(data, start, end, book.classes)
    longest = 0
    if book.classes[code] & SUFFIX:
        longest = size
    if end - size > start and code in (ELLIPSIS, S, S + 32):
        before, more = decode_last(data, start, end - size)
        if before == ELLIPSIS if code == ELLIPSIS else before in (APOSTROPHE, CURLY):
            longest = size + more
    at = end - 1
    while at >= start and end - at < 12 and not is_digit(data[at]):
        at -= 1
    unit = end - at - 1
    if at >= start and unit > longest and is_digit(data[at]) and is_unit(data, at + 1, end, book.strings):
        longest = unit
    return longest


@kernel
def flags_at(data: Bytes, at: int, end: int, classes: Classes) -> int:
    """Flags of the character at `at`, 0 at the end."""
    return int(classes[decode(data, at, end)[0]]) if at < end else 0


@kernel
def stop_infix(data: Bytes, at: int, end: int, before: int, classes: Classes) -> int:
    """Bytes of the infix that begins with the full stop at `at`, or 0."""
    stop = at + 1
    while stop < end and data[stop] == STOP:
        stop += 1
    if stop - at > 1:
        return stop - at
    if before < 0 or not classes[before] & (LOWER | QUOTE):
        return 0
    return 1 if flags_at(data, stop, end, classes) & (UPPER | QUOTE) else 0


@kernel
def infix_length(data: Bytes, at: int, end: int, before: int, classes: Classes) -> int:
    """Bytes of the infix at `at`, or 0. `before` is the character in front of it, -1 at the start of the string."""
    code, size = decode(data, at, end)
    if code == STOP:
        return stop_infix(data, at, end, before, classes)
    if classes[code] & ICON or code == ELLIPSIS:
        return size
    digit = is_digit(before)
    if before < 0 or not (digit or classes[before] & ALPHA):
        return 0
    if digit and code in (PLUS, HYPHEN, STAR, CARET) and at + 1 < end and (is_digit(data[at + 1]) or data[at + 1] == HYPHEN):
        return 1
    after = at + size
    if code in (HYPHEN, EM_DASH):
        most = at + size * (3 if code == HYPHEN else 2)
        while after < end and after < most and decode(data, after, end)[0] == code:
            after += size
    elif code not in (COMMA, COLON, LESS, MORE, EQUALS, SLASH, TILDE, EN_DASH) or (code == COMMA and digit):
        return 0
    return after - at if flags_at(data, after, end, classes) & ALPHA else 0


@kernel
def octet(data: Bytes, at: int, end: int, inner: bool, most: int) -> tuple[int, int]:
    """(value, end) of the number of an IP address at `at`; (-1, end) if it may not stand there.

    The two inner numbers may be 0 and have one zero in front; `most` is the largest. Unlike spaCy's, digits are ASCII's.
    """
    start, value = at, 0
    while at < end and at < start + 3 and is_digit(data[at]):
        value = value * 10 + data[at] - ZERO
        at += 1
    fits = at > start and value <= most and (data[start] != ZERO or (inner and at < start + 3))
    return (value if fits else -1), at


@kernel
def is_address(data: Bytes, start: int, end: int) -> bool:
    """Whether `data[start:end]` is an IP address outside the private and local networks."""
    first, at = octet(data, start, end, False, 223)
    second = -1
    for place in range(1, 4):
        if at >= end or data[at] != STOP:
            return False
        value, at = octet(data, at + 1, end, place < 3, 255 if place < 3 else 254)
        if value < 0:
            return False
        if place == 1:
            second = value
    if at != end or first in (-1, 10, 127):
        return False
    return not (
        (first == 169 and second == 254) or (first == 192 and second == 168) or (first == 172 and 16 <= second <= 31)
    )


@kernel
def in_host(code: int) -> bool:
    """Whether a label of a host may begin and end with it."""
    return 0xA1 <= code <= 0xFFFF or is_digit(code) or A <= code <= Z or A + 32 <= code <= Z + 32


@kernel
def ends_host(data: Bytes, at: int, end: int, classes: Classes) -> bool:
    """Whether the rest of a URL behind its host is a port, a path, both or nothing."""
    if at < end and data[at] == COLON:
        digits = 0
        at += 1
        while at < end and flags_at(data, at, end, classes) & DIGIT:
            at += decode(data, at, end)[1]
            digits += 1
        if not 2 <= digits <= 5:
            return False
    return at == end or data[at] == SLASH or data[at] == QUESTION or data[at] == HASH


@kernel
def is_host(data: Bytes, start: int, end: int, classes: Classes) -> bool:
    """Whether a host, with what may follow it, fills `data[start:end]`."""
    labels, length = 0, 0  # labels closed by a full stop; characters of the label being read
    label, top, last = True, True, False  # may it be a label, may it be the top-level domain, may a label end here
    at = start
    while at < end:
        code, size = decode(data, at, end)
        if code == STOP:
            if not label or not last or length > 64:
                break
            labels, length, label, top, last = labels + 1, 0, True, True, False
        else:
            inside = in_host(code)
            lower = classes[code] & LOWER != 0
            if not inside and not lower and code != UNDERSCORE and code != HYPHEN:
                break
            if not inside and (length == 0 or (code != UNDERSCORE and code != HYPHEN)):
                label = False
            top = top and lower
            last = inside
            length += 1
        at += size
    if labels and top and 2 <= length <= 63:
        return ends_host(data, at, end, classes)
    return labels == 3 and is_address(data, start, at) and ends_host(data, at, end, classes)


@kernel
def is_url(data: Bytes, start: int, end: int, classes: Classes) -> bool:
    """Whether spaCy takes `data[start:end]` for a URL: optional scheme and user, a host, optional port and path."""
    if is_host(data, start, end, classes):
        return True
    at, characters = start, 0
    while at < end:
        code, size = decode(data, at, end)
        if not (classes[code] & URL_WORD or code in (PLUS, HYPHEN, STOP)):
            break
        characters += 1
        at += size
    scheme = characters > 1 and at + 2 < end and data[at] == COLON and data[at + 1] == SLASH and data[at + 2] == SLASH
    if scheme and is_host(data, at + 3, end, classes):
        return True
    place = start + 1
    while place < end and not (data[place] == AT and is_host(data, place + 1, end, classes)):
        place += 1
    return place < end


@kernel
def write(tokens: Tokens, count: int, start: int, end: int, length: int, hashed: np.uint64, flags: int) -> None:
    """Set one word."""
    token = tokens[count]
    token.start, token.end, token.hash, token.length, token.flags = start, end, hashed, length, flags


@kernel
def push(data: Bytes, start: int, end: int, tokens: Tokens, count: int, classes: Classes) -> int:
    """Write the word `data[start:end]` and return the new count. There must be room."""
    hashed = np.uint64(0)
    length, flags, common, at = 0, 0, 0xFFFF, start
    code = 0
    while at < end:
        code, size = decode(data, at, end)
        found = classes[code]
        flags |= (HAS_LETTER if found & LETTER else 0) | (0 if found & SYMBOL else HAS_WORD)
        common &= found
        length += 1
        for k in range(size):
            hashed = hashed * BASE + np.uint64(data[at + k]) + ONE
        at += size
    flags |= ALL_PUNCTUATION if common & PUNCTUATION else 0
    flags |= ENDS_SENTENCE if length == 1 and classes[code] & SENTENCE_END else 0
    write(tokens, count, start, end, length, hashed, flags)
    return count + 1


@kernel
def push_case(data: Bytes, at: int, pieces: np.uint64, tokens: Tokens, count: int, classes: Classes) -> int:
    """Write the pieces, given by their lengths, of a string known by heart that stands at `at`; returns the new count."""
    while pieces:
        size = int(pieces & BYTE)
        count = push(data, at, at + size, tokens, count, classes)
        at += size
        pieces >>= EIGHT
    return count


@kernel
def push_middle(data: Bytes, start: int, end: int, tokens: Tokens, count: int, classes: Classes) -> int:
    """Write what affixes left of a chunk, cut at its infixes, and return the new count."""
    at, cut, before, checked = start, start, -1, False
    while at < end:
        length = infix_length(data, at, end, before, classes)
        if length == 0 or at == start:
            length = max(length, decode(data, at, end)[1])
        else:
            if not checked and is_url(data, start, end, classes):
                break
            checked = True
            if at > cut:
                count = push(data, cut, at, tokens, count, classes)
            count = push(data, at, at + length, tokens, count, classes)
            cut = at + length
        before = decode_last(data, at, at + length)[0]
        at += length
    return push(data, cut, end, tokens, count, classes) if cut < end else count


@kernel
def strip_affixes(
    data: Bytes, left: int, right: int, tokens: Tokens, count: int, top: int, book: Book
) -> tuple[int, int, int, int]:
    """Write the prefixes of a chunk from `count` on and its suffixes down from `top`.

    Returns start and end of what is left, the new count and the new top. The rest may be a string known by heart.
    """
    while left < right and not known_case(data, left, right, book.strings):
        before = prefix_length(data, left, right, book.classes)
        if before and known_case(data, left + before, right, book.strings):
            return left + before, right, push(data, left, left + before, tokens, count, book.classes), top
        behind = suffix_length(data, left + before, right, book)
        if not before and not behind:
            break
        if behind:
            right -= behind
            top -= 1
            push(data, right, right + behind, tokens, top, book.classes)
            if known_case(data, left, right, book.strings):
                break
        if before:
            count = push(data, left, left + before, tokens, count, book.classes)
            left += before
    return left, right, count, top


@kernel
def split_chunk(data: Bytes, start: int, end: int, tokens: Tokens, count: int, book: Book) -> int:
    """Write the words of one chunk of text without white space; returns the new count.

    There must be room for as many words as the chunk has bytes: they hold the suffixes, found from the outside in.
    """
    limit = count + end - start
    left, right, count, top = strip_affixes(data, start, end, tokens, count, limit, book)
    pieces = known_case(data, left, right, book.strings)
    if pieces:
        count = push_case(data, left, pieces, tokens, count, book.classes)
    elif left < right:
        count = push_middle(data, left, right, tokens, count, book.classes)
    for word in range(top, limit):
        tokens[count] = tokens[word]
        count += 1
    return count


@kernel
def room(tokens: Tokens, count: int, more: int) -> Tokens:
    """The same words in an array that has room for `more` than the `count` it holds."""
    if count + more <= len(tokens):
        return tokens
    larger = np.empty(max(count + more, len(tokens) + len(tokens) // 2), WORD)
    for word in range(count):
        larger[word] = tokens[word]
    return larger


@kernel
def chunk_end(data: Bytes, at: int, end: int, classes: Classes) -> int:
    """Where the chunk without white space that goes on at `at` ends."""
    while at < end:
        if data[at] < 0x80:
            if classes[data[at]] & SPACE:
                return at
            at += 1
        else:
            code, size = decode(data, at, end)
            if classes[code] & SPACE:
                return at
            at += size
    return end


@kernel
def push_letters(data: Bytes, begin: int, letters: int, hashed: np.uint64, tokens: Tokens, count: int, book: Book) -> int:
    """Write a chunk, or what is left of one, of ASCII letters alone; `hashed` is its hash. Returns the new count."""
    pieces = np.uint64(0)
    if letters <= LONGEST:
        pieces = known(hashed, letters, book.strings) & ~FOUND
    if pieces:
        return push_case(data, begin, pieces, tokens, count, book.classes)
    write(tokens, count, begin, begin + letters, letters, hashed, HAS_LETTER | HAS_WORD)
    return count + 1


@kernel
def is_plain_mark(data: Bytes, begin: int, at: int, classes: Classes) -> bool:
    """Whether the ASCII character at `at` is split off behind `data[begin:at]`, which is ASCII letters, as a suffix."""
    if data[at] == STOP:
        return bool(data[at - 1] > Z or (at - 1 > begin and data[at - 2] <= Z))
    return bool(data[at] < 0x80 and classes[data[at]] & SUFFIX)


@kernel
def space_end(data: Bytes, at: int, end: int, classes: Classes) -> int:
    """Where the white space that may begin at `at` ends."""
    while at < end and not BLANK < data[at] < 0x80:
        code, size = decode(data, at, end)
        if not classes[code] & SPACE:
            break
        at += size
    return at


@kernel
def split_text(data: Bytes, start: int, end: int, tokens: Tokens, count: int, book: Book) -> tuple[Tokens, int]:
    """Write the words of a text chunk by chunk. White space that spaCy takes for a word is a flag of the word behind it.

    At the end of the text it is a word, for want of another.

    Most chunks are letters, or letters and a mark: these need none of the steps that a chunk may take.
    """
    classes = book.classes
    at, spaced = start, False
    while at < end:
        begin, hashed, chunk = at, np.uint64(0), count
        while at < end and A <= data[at] & 0xDF <= Z:
            hashed = hashed * BASE + np.uint64(data[at]) + ONE
            at += 1
        letters, at = at - begin, chunk_end(data, at, end, classes)
        tokens = room(tokens, count, at - begin + 1)
        if letters and letters == at - begin:
            count = push_letters(data, begin, letters, hashed, tokens, count, book)
        elif letters and letters + 1 == at - begin and is_plain_mark(data, begin, at - 1, classes):
            pieces = known_case(data, begin, at, book.strings)
            if pieces:
                count = push_case(data, begin, pieces, tokens, count, classes)
            else:
                count = push_letters(data, begin, letters, hashed, tokens, count, book)
                count = push(data, at - 1, at, tokens, count, classes)
        elif at > begin:
            count = split_chunk(data, begin, at, tokens, count, book)
        if spaced and count > chunk:
            tokens[chunk].flags |= AFTER_SPACE
        if start < at < end and data[at] == BLANK:
            at += 1
        begin, at = at, space_end(data, at, end, classes)
        spaced = at > begin
    if spaced:
        write(tokens, count, at, at, 0, SPACE_HASH, IS_SPACE)
        count += 1
    return tokens, count


@kernel
def path_hash(so_far: np.uint64, hashed: np.uint64) -> np.uint64:
    """Hash of a sequence of words, one word longer."""
    mixed = (so_far ^ hashed) * BASE
    return mixed ^ (mixed >> np.uint64(29))


@kernel
def path_place(path: np.uint64, paths: Hashes) -> int:
    """Where a path is kept, or the free place where it would be."""
    mask = len(paths) // 2 - 1
    place = np.int64(path >> np.uint64(40)) & mask
    while paths[2 * place] and paths[2 * place] != path:
        place = (place + 1) & mask
    return int(place)


@kernel
def state_of(path: np.uint64, paths: Hashes) -> int:
    """OPEN, END or both; 0 where no string torn apart begins so."""
    return int(paths[2 * path_place(path, paths) + 1])


@kernel
def grown(numbers: Offsets) -> Offsets:
    """The same numbers in front of as much room again; `np.append` takes seconds to compile."""
    larger = np.empty(2 * len(numbers), np.int64)
    for k in range(len(numbers)):
        larger[k] = numbers[k]
    return larger


@kernel
def torn_cases(tokens: Tokens, first: int, count: int, paths: Hashes) -> Offsets:
    """Sequences of two or more words that a string known by heart is torn into: pairs of first word and number of words."""
    found = np.empty(16, np.int64)
    size = 0
    for start in range(first, count):
        path = path_hash(np.uint64(0), tokens[start].hash)
        state = state_of(path, paths)
        at = start + 1
        while state & OPEN and at < count and not tokens[at].flags & (AFTER_SPACE | IS_SPACE):
            path = path_hash(path, tokens[at].hash)
            state = state_of(path, paths)
            at += 1
            if state & END:
                if size + 2 > len(found):
                    found = grown(found)
                found[size], found[size + 1] = start, at - start
                size += 2
    return found[:size]


@kernel
def choose_cases(data: Bytes, tokens: Tokens, torn: Offsets, strings: Hashes) -> Hashes:
    """For each pair of `torn` the lengths of the pieces to put there, a byte each, or 0.

    Longer sequences go first, then earlier ones; each makes its words unavailable whether or not it was chosen, and one
    that has a space inside is chosen but left as it is.
    """
    chosen = np.zeros(len(torn) // 2, np.uint64)
    for words in range(MOST_TORN, 1, -1):
        for k in range(len(chosen)):
            if torn[2 * k + 1] != words:
                continue
            first, last = torn[2 * k], torn[2 * k] + words - 1
            if not (tokens[first].flags | tokens[last].flags) & TAKEN:
                chosen[k] = known_case(data, tokens[first].start, tokens[last].end, strings)
            for word in range(first, last + 1):
                tokens[word].flags |= TAKEN
    return chosen


@kernel
def mend(data: Bytes, tokens: Tokens, first: int, count: int, book: Book) -> tuple[Tokens, int]:
    """Put the strings known by heart that were torn apart back as the book has them; returns the new count."""
    torn = torn_cases(tokens, first, count, book.paths)
    if len(torn) == 0:
        return tokens, count
    chosen = choose_cases(data, tokens, torn, book.strings)
    old = np.empty(count - first, WORD)
    for word in range(first, count):
        old[word - first] = tokens[word]
    written, word = first, 0
    for k in range(len(chosen) + 1):
        stop = torn[2 * k] - first if k < len(chosen) else len(old)
        tokens = room(tokens, written, stop - word + 4)
        while word < stop:
            tokens[written] = old[word]
            written += 1
            word += 1
        if k < len(chosen) and chosen[k]:
            case = written
            written = push_case(data, old[word].start, chosen[k], tokens, written, book.classes)
            tokens[case].flags |= old[word].flags & AFTER_SPACE
            word += torn[2 * k + 1]
    return tokens, written


@kernel
def count_sentences(tokens: Tokens, first: int, count: int) -> int:
    """Sentences of the words as spaCy's sentencizer marks them; a text without words is one."""
    sentences, seen = 1, False
    for word in range(first, count):
        flags = tokens[word].flags
        if seen and (flags & AFTER_SPACE or not flags & (ALL_PUNCTUATION | ENDS_SENTENCE)):
            sentences += 1
            seen = False
        if flags & ENDS_SENTENCE:
            seen = True
    return sentences


@kernel
def find_spacy_words(data: Bytes, offsets: Offsets, book: Book) -> tuple[Tokens, Offsets]:
    """The words of every page, white space left out: (words, first word of each page)."""
    pages = len(offsets) - 1
    tokens = np.empty((offsets[-1] - offsets[0]) // 3 + 64, WORD)
    first = np.zeros(pages + 1, np.int64)
    count = 0
    for page in range(pages):
        begin = count
        tokens, count = split_text(data, offsets[page], offsets[page + 1], tokens, count, book)
        tokens, count = mend(data, tokens, begin, count, book)
        if count > begin and tokens[count - 1].flags & IS_SPACE:
            count -= 1
        first[page + 1] = count
    return tokens[:count], first


@kernel
def learn_paths(data: Bytes, offsets: Offsets, book: Book) -> None:
    """Fill the paths: for every string `data[offsets[k]:offsets[k + 1]]`, the words it would be torn into."""
    tokens = np.empty(64, WORD)
    for number in range(len(offsets) - 1):
        count = split_chunk(data, offsets[number], offsets[number + 1], tokens, 0, book)
        path = np.uint64(0)
        for word in range(count if count > 1 else 0):
            path = path_hash(path, tokens[word].hash)
            place = path_place(path, book.paths)
            book.paths[2 * place] = path
            book.paths[2 * place + 1] |= END if word == count - 1 else OPEN


def hash_text(text: bytes) -> int:
    """`hash_bytes` without the kernel, of a text that is not in a batch."""
    hashed = 0
    for byte in text:
        hashed = (hashed * int(BASE) + byte + 1) % 2**64
    return hashed


def _learn(strings: Hashes, cases: Iterable[tuple[str, ...]], by_heart: bool) -> None:
    """Write strings, given by their pieces, into the book; units have no pieces there."""
    mask = len(strings) // 2 - 1
    for pieces in cases:
        text = "".join(pieces).encode()
        hashed = hash_text(text)
        place = hashed >> 40 & mask
        while strings[2 * place]:
            place = (place + 1) & mask
        lengths = [len(text), *(len(piece.encode()) for piece in pieces if by_heart)]
        strings[2 * place], strings[2 * place + 1] = hashed, int.from_bytes(lengths, "little")


@cache
def book() -> Book:
    """The book, made once in every process: first the units, with which the torn strings are found, then the strings."""
    made = Book(TABLE, np.zeros(2 * 4096, np.uint64), np.zeros(2 * 2048, np.uint64))
    _learn(made.strings, [(unit,) for unit in AFTER_DIGITS], by_heart=False)
    cases = special_cases()
    pages = PageBatch(pa.array(list(cases), pa.large_string()))
    learn_paths(pages.data, pages.offsets, made)
    _learn(made.strings, cases.values(), by_heart=True)
    return made


@dataclass(frozen=True)
class SpacyWords(Units):
    """Words with their code points, polynomial 64-bit hashes (equal words, equal hashes) and flags: views of `tokens`."""

    lengths: Lengths
    hashes: Hashes
    flags: Bytes
    tokens: Tokens


def spacy_words(pages: PageBatch) -> SpacyWords:
    """The words of datatrove 0.10.1 for English: spaCy 3.8.18's tokens without those of white space."""
    tokens, first = find_spacy_words(pages.data, pages.offsets, book())
    return SpacyWords(tokens["start"], tokens["end"], first, tokens["length"], tokens["hash"], tokens["flags"], tokens)
