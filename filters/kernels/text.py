"""Compiled kernels over the UTF-8 bytes of a batch of pages: the ones that every group shares.

A kernel takes `data` (uint8, all pages' bytes), `offsets` (int64, page i is `data[offsets[i]:offsets[i + 1]]`) and writes
NumPy arrays. It never uses a byte outside the page it reads, nor touches one outside the buffer, whatever the bytes:
`decode` treats any malformed sequence as one character U+FFFD of one byte. Most web text is ASCII, so the kernels look at
eight bytes at a time (as one number whose bytes are compared side by side) and fall back to single characters where one of
the eight is not ASCII.
"""

import numpy as np
import numpy.typing as npt

from filters.kernels.compiled import inlined, kernel, load8, ones, trailing_zeros
from filters.kernels.unicode_tables import ANYWHERE, CLOSING, DIGIT, LETTER, NUMERIC, SPACE, SPACELESS, TERMINAL, UPPER

__all__ = ["Bytes", "Codes", "Hashes", "Offsets", "decode", "find_lines", "find_words", "hash_bytes", "kernel"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Codes = npt.NDArray[np.int32]

HIGH = np.uint64(0x8080808080808080)  # the top bit of each of eight bytes
LOW = np.uint64(0x0101010101010101)
SEVEN = np.uint64(0x7F7F7F7F7F7F7F7F)
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
ONE, EIGHT, SEVENTH, LAST = np.uint64(1), np.uint64(8), np.uint64(7), np.uint64(63)
MIX = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio in 64 bits: odd, so that multiplying loses nothing
MIX_LAST = np.uint64(0xD6E8FEB86659FD93)
SHIFT = np.uint64(32)

CHUNK = 4096  # bytes of a page in which words are found before they are described, so that both stay in the cache


@kernel
def decode(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Code point and length in bytes of the character at `at`; (0xFFFD, 1) where the bytes up to `end` are not UTF-8."""
    first = int(data[at])
    if first < 0x80:
        return first, 1
    if 0xC2 <= first < 0xE0 and at + 1 < end and data[at + 1] & 0xC0 == 0x80:
        return (first & 0x1F) << 6 | int(data[at + 1]) & 0x3F, 2
    if 0xE0 <= first < 0xF0 and at + 2 < end and data[at + 1] & 0xC0 == 0x80 and data[at + 2] & 0xC0 == 0x80:
        code = (first & 0x0F) << 12 | (int(data[at + 1]) & 0x3F) << 6 | int(data[at + 2]) & 0x3F
        if code >= 0x800 and not 0xD800 <= code < 0xE000:
            return code, 3
    if (
        0xF0 <= first < 0xF5
        and at + 3 < end
        and data[at + 1] & 0xC0 == 0x80
        and data[at + 2] & 0xC0 == 0x80
        and data[at + 3] & 0xC0 == 0x80
    ):
        code = (first & 0x07) << 18 | (int(data[at + 1]) & 0x3F) << 12 | (int(data[at + 2]) & 0x3F) << 6
        code |= int(data[at + 3]) & 0x3F
        if 0x10000 <= code < 0x110000:
            return code, 4
    return 0xFFFD, 1


@kernel
def decode_last(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """Code point and length in bytes of the last character of `data[start:end]`, which is not empty."""
    at = end - 1
    while at > start and end - at < 4 and data[at] & 0xC0 == 0x80:
        at -= 1
    code, size = decode(data, at, end)
    if at + size == end:
        return code, size
    return 0xFFFD, 1


@inlined
def load(data: Bytes, at: int, end: int) -> np.uint64:
    """`data[at:at + 8]` as one number, first byte lowest, with zeros from `end` on."""
    if at + 8 <= len(data):
        block = np.uint64(load8(data, at))
        return block if at + 8 <= end else block & ALL >> np.uint64(8 * (at + 8 - end))
    number = np.uint64(0)
    for k in range(end - at):
        number |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return number


@inlined
def equal(block: np.uint64, byte: int) -> np.uint64:
    """The top bit of each of eight bytes that equals `byte`, which is ASCII."""
    return ~(((block & SEVEN) ^ np.uint64(byte) * LOW) + SEVEN | block) & HIGH


@inlined
def mix(hashed: np.uint64, block: np.uint64) -> np.uint64:
    """One step of the hash: bijective in `block`, so that no two words of one length up to eight bytes collide."""
    hashed = (hashed ^ block) * MIX
    return hashed ^ hashed >> SHIFT


@inlined
def finish(hashed: np.uint64) -> np.uint64:
    """The last step of the hash."""
    hashed *= MIX_LAST
    return hashed ^ hashed >> SHIFT


@inlined
def seed(length: int) -> np.uint64:
    """Where the hash of so many bytes begins: far apart, for a word that ends in U+0000 is filled up like a shorter one."""
    return np.uint64(length) * MIX_LAST


@kernel
def hash_bytes(data: Bytes, start: int, end: int) -> np.uint64:
    """64-bit hash of `data[start:end]`. It is not keyed: pages can be written so that it collides, but none is by chance."""
    hashed = seed(end - start)
    at = start
    while at < end:
        hashed = mix(hashed, load(data, at, end))
        at += 8
    return finish(hashed)


@kernel
def count_characters(data: Bytes, start: int, end: int) -> int:
    """Code points in `data[start:end]`: the bytes that do not continue a character."""
    continuing = 0
    at = start
    while at < end:
        block = load(data, at, end)
        continuing += ones(block & HIGH & ~(block << ONE))
        at += 8
    return end - start - continuing


@kernel
def skip_spaces(data: Bytes, at: int, end: int, classes: Bytes) -> int:
    """Where the first character that is no white space stands in `data[at:end]`; `end` if there is none."""
    while at < end:
        if 0x20 < data[at] < 0x80:
            return at
        code, size = decode(data, at, end)
        if not classes[code] & SPACE:
            return at
        at += size
    return at


@kernel
def strip(data: Bytes, start: int, end: int, classes: Bytes) -> tuple[int, int]:
    """The span without white space at its ends, as `str.strip()` leaves it; (start, start) where nothing else is there."""
    at = skip_spaces(data, start, end, classes)
    if at == end:
        return start, start
    while not 0x20 < data[end - 1] < 0x80:
        code, size = decode_last(data, at, end)
        if not classes[code] & SPACE:
            break
        end -= size
    return at, end


@inlined
def ascii_classes(block: np.uint64) -> tuple[np.uint8, np.uint64]:
    """Union of the classes of eight ASCII bytes (0 counts as none), and the top bit of every byte that is a letter."""
    folded = (block | np.uint64(0x20) * LOW) & SEVEN
    letters = (folded + np.uint64(0x1F) * LOW) & ~(folded + np.uint64(0x05) * LOW) & HIGH
    upper = letters & ~(block << np.uint64(2))
    digits = (block + np.uint64(0x50) * LOW) & ~(block + np.uint64(0x46) * LOW) & HIGH
    union = np.uint8(0)
    if letters:
        union |= np.uint8(LETTER)
    if upper:
        union |= np.uint8(UPPER)
    if digits:
        union |= np.uint8(DIGIT | NUMERIC)
    return union, letters


@kernel
def most_words(data: Bytes, offsets: Offsets) -> int:
    """An upper bound of the number of words: every page has one more than bytes that may begin white space."""
    most = len(offsets) - 1
    at, end = offsets[0], offsets[-1]
    while at < end:
        block = load(data, at, end)
        most += 8 - ones(((block & SEVEN) + np.uint64(0x5F) * LOW | block) & HIGH)
        if block & HIGH:
            for k in range(at, min(at + 8, end)):
                most += int(data[k] == 0xC2) + int(0xE1 <= data[k] <= 0xE3)
        at += 8
    return most


@inlined
def ascii_spaces(block: np.uint64) -> np.uint64:
    """The top bit of each of eight ASCII bytes that is white space: 0x09 to 0x0D, 0x1C to 0x20."""
    controls = (block + np.uint64(0x77) * LOW) & ~(block + np.uint64(0x72) * LOW)
    others = (block + np.uint64(0x64) * LOW) & ~(block + np.uint64(0x5F) * LOW)
    return (controls | others) & HIGH


@inlined
def find_bounds(
    data: Bytes, at: int, stop: int, end: int, inside: np.uint64, classes: Bytes, bounds: Offsets, found: int
) -> tuple[int, np.uint64, int]:
    """Append to `bounds` where words begin and end, by turns, from `at` up to `stop`; `inside` is 1 if one has begun.

    Returns how far it came, `inside` there, and how many bounds there are now. Four bounds are written for every eight
    bytes, used or not: that costs less than finding out how many there are, which no processor can guess.
    """
    while at < stop:
        block = np.uint64(load8(data, at)) if at + 8 <= stop else HIGH
        if block & HIGH:
            last = min(at + 8, stop)
            while at < last:
                code, size = decode(data, at, end)
                word = np.uint64(classes[code] & SPACE == 0)
                bounds[found] = at
                found += int(word != inside)
                inside = word
                at += size
            continue
        word = ~ascii_spaces(block) & HIGH
        change = word ^ (word << EIGHT | inside << SEVENTH)
        inside = word >> LAST
        total = ones(change)
        for k in range(4):
            bounds[found + k] = at + (trailing_zeros(change) >> 3)
            change &= change - ONE
        for k in range(4, total):
            bounds[found + k] = at + (trailing_zeros(change) >> 3)
            change &= change - ONE
        found += total
        at += 8
    return at, inside, found


@inlined
def describe_word(data: Bytes, start: int, end: int, classes: Bytes) -> tuple[int, np.uint64, np.uint8, int, int]:
    """Of the word `data[start:end]`: characters, hash, union of classes, letters, letters of scripts without spaces."""
    hashed = seed(end - start)
    union = np.uint8(0)
    letters = 0
    seen = np.uint64(0)
    at = start
    while at < end:
        block = load(data, at, end)
        hashed = mix(hashed, block)
        flags, alphabetic = ascii_classes(block)
        union |= flags
        letters += ones(alphabetic)
        seen |= block
        at += 8
    hashed = finish(hashed)
    if not seen & HIGH:
        return end - start, hashed, union, letters, 0
    at, length, letters, spaceless, union = start, 0, 0, 0, np.uint8(0)
    while at < end:
        code, size = decode(data, at, end)
        flags = classes[code]
        union |= flags
        letters += int(flags & LETTER != 0)
        spaceless += int(flags & SPACELESS != 0)
        length += 1
        at += size
    return length, hashed, union, letters, spaceless


@kernel
def fill_words(
    data: Bytes,
    offsets: Offsets,
    classes: Bytes,
    starts: Offsets,
    ends: Offsets,
    lengths: Codes,
    hashes: Hashes,
    unions: Bytes,
    first: Offsets,
    characters: Offsets,
    letters: Offsets,
    spaceless: Offsets,
) -> None:
    """Fill in what `find_words` returns; the last four are zero."""
    bounds = np.empty(CHUNK + 16, np.int64)
    found = 0
    for page in range(len(offsets) - 1):
        at, end = offsets[page], offsets[page + 1]
        inside = np.uint64(0)
        waiting = 0
        while at < end:
            at, inside, waiting = find_bounds(data, at, min(at + CHUNK, end), end, inside, classes, bounds, waiting)
            if at == end and inside:
                bounds[waiting] = end
                waiting += 1
            for k in range(0, waiting - 1, 2):
                length, hashed, union, some, without = describe_word(data, bounds[k], bounds[k + 1], classes)
                starts[found], ends[found] = bounds[k], bounds[k + 1]
                lengths[found], hashes[found], unions[found] = length, hashed, union
                characters[page] += length
                letters[page] += some
                spaceless[page] += without
                found += 1
            bounds[0] = bounds[max(waiting - 1, 0)]
            waiting &= 1
        first[page + 1] = found


def find_words(
    data: Bytes, offsets: Offsets, classes: Bytes
) -> tuple[Offsets, Offsets, Offsets, Codes, Hashes, Bytes, Offsets, Offsets, Offsets]:
    """White-space words, as `str.split()` finds them.

    Returns starts, ends, the first word of each page (pages + 1), then per word its characters, hash and the union of its
    characters' classes, then per page the words' characters, letters and letters of scripts without spaces. NumPy makes the
    arrays, not the kernel: it asks the system for large memory pages, which spares a quarter of the time.
    """
    most = most_words(data, offsets)
    starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    lengths, hashes, unions = np.empty(most, np.int32), np.empty(most, np.uint64), np.empty(most, np.uint8)
    first = np.zeros(len(offsets), np.int64)
    characters, letters, spaceless = (np.zeros(len(offsets) - 1, np.int64) for _ in range(3))
    fill_words(data, offsets, classes, starts, ends, lengths, hashes, unions, first, characters, letters, spaceless)
    found = first[-1]
    starts, ends, lengths, hashes, unions = starts[:found], ends[:found], lengths[:found], hashes[:found], unions[:found]
    return starts, ends, first, lengths, hashes, unions, characters, letters, spaceless


@kernel
def next_byte(data: Bytes, at: int, end: int, byte: int) -> int:
    """Where `byte` comes next in `data[at:end]`; `end` if it does not."""
    while at + 8 <= end:
        block = load8(data, at)
        here = equal(block, byte)
        if here:
            return at + int(trailing_zeros(here) >> 3)
        at += 8
    while at < end and data[at] != byte:
        at += 1
    return at


@kernel
def find_lines(
    data: Bytes, offsets: Offsets, classes: Bytes
) -> tuple[Offsets, Offsets, Offsets, Codes, Hashes, Codes, Codes, Offsets, Offsets]:
    r"""Lines, as `text.split("\n")` finds them: blank ones too.

    Returns starts and ends without the white space around the line, the first line of each page (pages + 1), then per line
    its characters without that white space, their hash, the first and last of them (-1 if none), starts and ends with it.
    """
    pages = len(offsets) - 1
    most = pages
    for at in range(offsets[0], offsets[-1]):
        most += int(data[at] == 0x0A)
    starts = np.empty(most, np.int64)
    ends = np.empty(most, np.int64)
    first = np.zeros(pages + 1, np.int64)
    raw_starts = np.empty(most, np.int64)
    raw_ends = np.empty(most, np.int64)
    lengths = np.empty(most, np.int32)
    hashes = np.empty(most, np.uint64)
    heads = np.empty(most, np.int32)
    tails = np.empty(most, np.int32)
    found = 0
    for page in range(pages):
        at, end = offsets[page], offsets[page + 1]
        while True:
            stop = next_byte(data, at, end, 0x0A)
            start, last = strip(data, at, stop, classes)
            starts[found], ends[found] = start, last
            raw_starts[found], raw_ends[found] = at, stop
            lengths[found] = count_characters(data, start, last)
            hashes[found] = hash_bytes(data, start, last)
            heads[found], tails[found] = -1, -1
            if last > start:
                heads[found] = decode(data, start, last)[0]
                tails[found] = decode_last(data, start, last)[0]
            found += 1
            if stop == end:
                break
            at = stop + 1
        first[page + 1] = found
    return starts, ends, first, lengths, hashes, heads, tails, raw_starts, raw_ends


@kernel
def find_paragraphs(
    starts: Offsets, ends: Offsets, first_line: Offsets, line_lengths: Codes, line_hashes: Hashes
) -> tuple[Offsets, Offsets, Offsets, Codes, Hashes]:
    """Runs of lines that are not blank: starts, ends, first paragraph of each page, characters, hashes. Takes all lines.

    Characters and hashes are those of the lines, so that two paragraphs are equal if their lines are, however indented.
    """
    pages = len(first_line) - 1
    found_starts = np.empty(len(starts), np.int64)
    found_ends = np.empty(len(starts), np.int64)
    first = np.zeros(pages + 1, np.int64)
    lengths = np.empty(len(starts), np.int32)
    hashes = np.empty(len(starts), np.uint64)
    found = 0
    for page in range(pages):
        inside = False
        for line in range(first_line[page], first_line[page + 1]):
            if line_lengths[line] == 0:
                inside = False
                continue
            if not inside:
                inside = True
                found_starts[found] = starts[line]
                lengths[found] = 0
                hashes[found] = 0
                found += 1
            found_ends[found - 1] = ends[line]
            lengths[found - 1] += line_lengths[line]
            hashes[found - 1] = mix(hashes[found - 1], line_hashes[line])
        first[page + 1] = found
    return found_starts[:found], found_ends[:found], first, lengths[:found], hashes[:found]


@inlined
def table_bits(entries: int) -> int:
    """Size of a hash table as a power of two: at least twice the entries."""
    bits = 4
    while 1 << bits < 2 * entries:
        bits += 1
    return bits


@kernel
def most_in_a_page(first: Offsets) -> int:
    """The largest number of units in one page."""
    most = 0
    for page in range(len(first) - 1):
        most = max(most, first[page + 1] - first[page])
    return most


@kernel
def find_copies(hashes: Hashes, first: Offsets) -> npt.NDArray[np.bool_]:
    """Whether each unit equals an earlier unit of its page."""
    copies = np.zeros(len(hashes), np.bool_)
    slots = np.empty(1 << table_bits(most_in_a_page(first)), np.int32)
    for page in range(len(first) - 1):
        base = first[page]
        count = first[page + 1] - base
        size = 1 << table_bits(count)
        slots[:size] = -1
        for unit in range(count):
            slot = np.int64(hashes[base + unit] & np.uint64(size - 1))
            while slots[slot] >= 0 and hashes[base + slots[slot]] != hashes[base + unit]:
                slot = (slot + 1) & (size - 1)
            copies[base + unit] = slots[slot] >= 0
            if slots[slot] < 0:
                slots[slot] = unit
    return copies


@kernel
def grown(values: Offsets) -> Offsets:
    """The same values with as much room again."""
    more = np.empty(2 * len(values), np.int64)
    for k in range(len(values)):
        more[k] = values[k]
    return more


@inlined
def ascii_stops(block: np.uint64) -> np.uint64:
    """The top bit of each of eight bytes that is a full stop, question mark or exclamation mark."""
    return equal(block, 0x2E) | equal(block, 0x3F) | equal(block, 0x21)


@kernel
def sentence_end(data: Bytes, at: int, end: int, classes: Bytes, marks: Bytes) -> int:
    """Behind the end marks, and the closing quotes and brackets after them, that white space or the end of the line follows.

    The marks that have no other use, those of most scripts, need no white space after them (Unicode's annex 29, rule SB11).
    """
    while at < end:
        block = load(data, at, end)
        size = trailing_zeros(ascii_stops(block) | block & HIGH) >> 3
        at += size
        if size == 8 or at >= end:
            continue
        if data[at] < 0x80 and at + 1 < end and data[at + 1] == 0x20:
            return at + 1
        code, size = decode(data, at, end)
        at += size
        if not marks[code] & TERMINAL:
            continue
        anywhere = marks[code] & ANYWHERE != 0
        while at < end:
            code, size = decode(data, at, end)
            if not marks[code] & (TERMINAL | CLOSING):
                break
            anywhere = anywhere or marks[code] & ANYWHERE != 0
            at += size
        if at == end or anywhere or classes[code] & SPACE:
            return at
    return end


@kernel
def find_sentences(
    data: Bytes, starts: Offsets, ends: Offsets, first_line: Offsets, classes: Bytes, marks: Bytes
) -> tuple[Offsets, Offsets, Offsets]:
    """Sentences in lines (without white space around them): starts, ends, first sentence of each page (pages + 1)."""
    pages = len(first_line) - 1
    found_starts = np.empty(2 * len(starts) + 16, np.int64)
    found_ends = np.empty(2 * len(starts) + 16, np.int64)
    first = np.zeros(pages + 1, np.int64)
    found = 0
    for page in range(pages):
        for line in range(first_line[page], first_line[page + 1]):
            at, end = starts[line], ends[line]
            while at < end:
                if found == len(found_starts):
                    found_starts, found_ends = grown(found_starts), grown(found_ends)
                found_starts[found] = at
                at = sentence_end(data, at, end, classes, marks)
                found_ends[found] = at
                found += 1
                at = skip_spaces(data, at, end, classes)
        first[page + 1] = found
    return found_starts[:found], found_ends[:found], first


@kernel
def count_within(starts: Offsets, line_starts: Offsets, line_ends: Offsets) -> Codes:
    """How many of the ascending `starts` (of words) lie in each of the ascending lines."""
    counts = np.zeros(len(line_starts), np.int32)
    word = 0
    for line in range(len(line_starts)):
        while word < len(starts) and starts[word] < line_starts[line]:
            word += 1
        before = word
        while word < len(starts) and starts[word] < line_ends[line]:
            word += 1
        counts[line] = word - before
    return counts


@inlined
def fold(byte: int) -> int:
    """The byte, as lower case if it is one of A to Z."""
    return byte + 32 if 0x41 <= byte <= 0x5A else byte


@inlined
def same_phrase(data: Bytes, at: int, start: int, end: int, phrase: Bytes) -> bool:
    """Whether `phrase`, in lower case, stands at `at` within `data[start:end]`, in any case of ASCII letters."""
    if at < start or at + len(phrase) > end:
        return False
    k = 0
    while k < len(phrase) and fold(data[at + k]) == phrase[k]:
        k += 1
    return k == len(phrase)


@kernel
def find_phrases(
    data: Bytes,
    starts: Offsets,
    ends: Offsets,
    text: Bytes,
    text_offsets: Offsets,
    anchors: Offsets,
    triggers: Hashes,
    followers: Hashes,
) -> Hashes:
    """Which phrases each line contains: bit k for phrase k. See `phrases.Phrases` for the arrays that describe them."""
    found = np.zeros(len(starts), np.uint64)
    for line in range(len(starts)):
        start, end = starts[line], ends[line]
        present, begun = np.uint64(0), np.uint64(0)
        for at in range(start, end + 1):
            byte = data[at] if at < end else np.uint8(0)
            waiting = begun & followers[byte]
            begun = triggers[byte]
            while waiting:
                k = trailing_zeros(waiting)
                waiting &= waiting - ONE
                phrase = text[text_offsets[k] : text_offsets[k + 1]]
                if same_phrase(data, at - 1 - anchors[k], start, end, phrase):
                    present |= ONE << np.uint64(k)
        found[line] = present
    return found
