"""Gopher's repetition signals as datatrove 0.10.1 reads them (`GopherRepetitionFilter`, language English).

Copies behind the first count, over all characters of the text. N-grams of spaCy's words are compared as strings: top n-grams
joined by spaces, duplicate ones without anything between them, so that "a bc" equals "ab c". Duplicates are found by one
greedy walk that jumps over a whole n-gram where it has seen it before and by one word where not; what it finds depends on
where it happens to stand, and the share can rise from n to n + 1. An empty page, which datatrove drops, has no shares.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filters.kernels.text import (
    MIX,
    Bytes,
    Codes,
    Hashes,
    Offsets,
    count_characters,
    find_copies,
    hash_bytes,
    kernel,
    most_in_a_page,
    next_byte,
    strip,
    table_bits,
)
from filters.kernels.unicode_tables import CLASSES
from filters.pages import PageBatch, Units
from filters.signals import Float, signal
from filters.units.spacy_words import BASE, Tokens, path_hash, spacy_words

SHORTEST, LONGEST, DUPLICATES_FROM = 2, 10, 5
FEW_BYTES = 1024  # n-grams of fewer have their power of the base in a table

Table = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pieces(Units):
    """What newlines separate, with code points and hashes."""

    lengths: Codes
    hashes: Hashes


@signal(group="repetition_datatrove")
def duplicate_line_fraction_datatrove(pages: PageBatch) -> Float:
    """Share of lines (between newlines, at the ends also empty) that repeat an earlier one. datatrove keeps up to 0.30."""
    return copied_share(pages, pages.once(lines))


@signal(group="repetition_datatrove")
def duplicate_line_char_fraction_datatrove(pages: PageBatch) -> Float:
    """Characters of lines that repeat an earlier one, over those of the text. datatrove keeps up to 0.20."""
    return copied_characters(pages, pages.once(lines))


@signal(group="repetition_datatrove")
def duplicate_paragraph_fraction_datatrove(pages: PageBatch) -> Float:
    """Share of paragraphs (between two or more newlines) that repeat an earlier one. datatrove keeps up to 0.30."""
    return copied_share(pages, pages.once(paragraphs))


@signal(group="repetition_datatrove")
def duplicate_paragraph_char_fraction_datatrove(pages: PageBatch) -> Float:
    """Characters of paragraphs that repeat an earlier one, over those of the text. datatrove keeps up to 0.20."""
    return copied_characters(pages, pages.once(paragraphs))


@signal(group="repetition_datatrove")
def top_2gram_char_fraction_datatrove(pages: PageBatch) -> Float:
    """Occurrences of the most frequent 2-gram (the first of equals) times its length, over the text's characters.

    Occurrences overlap, one is enough, spaces between words count: it may exceed 1. Null with fewer words than n: no such
    n-gram, which datatrove keeps; but 1 on an empty page, which it drops. It keeps up to 0.20. So for 3- and 4-grams.
    """
    return top_share(pages, 2)


@signal(group="repetition_datatrove")
def top_3gram_char_fraction_datatrove(pages: PageBatch) -> Float:
    """The same for 3-grams. datatrove keeps up to 0.18."""
    return top_share(pages, 3)


@signal(group="repetition_datatrove")
def top_4gram_char_fraction_datatrove(pages: PageBatch) -> Float:
    """The same for 4-grams. datatrove keeps up to 0.16."""
    return top_share(pages, 4)


@signal(group="repetition_datatrove")
def duplicate_5gram_char_fraction_datatrove(pages: PageBatch) -> Float:
    """Characters of the 5-grams that the greedy walk has seen before, over the text's. datatrove keeps up to 0.15."""
    return duplicate_share(pages, 5)


@signal(group="repetition_datatrove")
def duplicate_6gram_char_fraction_datatrove(pages: PageBatch) -> Float:
    """The same for 6-grams. datatrove keeps up to 0.14."""
    return duplicate_share(pages, 6)


@signal(group="repetition_datatrove")
def duplicate_7gram_char_fraction_datatrove(pages: PageBatch) -> Float:
    """The same for 7-grams. datatrove keeps up to 0.13."""
    return duplicate_share(pages, 7)


@signal(group="repetition_datatrove")
def duplicate_8gram_char_fraction_datatrove(pages: PageBatch) -> Float:
    """The same for 8-grams. datatrove keeps up to 0.12."""
    return duplicate_share(pages, 8)


@signal(group="repetition_datatrove")
def duplicate_9gram_char_fraction_datatrove(pages: PageBatch) -> Float:
    """The same for 9-grams. datatrove keeps up to 0.11."""
    return duplicate_share(pages, 9)


@signal(group="repetition_datatrove")
def duplicate_10gram_char_fraction_datatrove(pages: PageBatch) -> Float:
    """The same for 10-grams. datatrove keeps up to 0.10."""
    return duplicate_share(pages, 10)


def lines(pages: PageBatch) -> Pieces:
    r"""What `re.split("\n+", text)` gives."""
    return Pieces(*find_pieces(pages.data, pages.offsets, 1, CLASSES))


def paragraphs(pages: PageBatch) -> Pieces:
    r"""What `re.split("\n{2,}", text.strip())` gives."""
    return Pieces(*find_pieces(pages.data, pages.offsets, 2, CLASSES))


def characters(pages: PageBatch) -> Table:
    """Code points of each page's text; shape (pages,)."""
    found: Table = count_page_characters(pages.data, pages.offsets)
    return found


def ngrams(pages: PageBatch) -> Table:
    """`count_ngrams` of the pages' words."""
    words = pages.once(spacy_words)
    found: Table = count_ngrams(words.tokens, words.first)
    return found


def copied_share(pages: PageBatch, pieces: Pieces) -> Float:
    """Share of pieces that repeat an earlier one; null on an empty page."""
    copies = pieces.sum(find_copies(pieces.hashes, pieces.first))
    return np.where(pages.once(characters) > 0, copies / pieces.count, np.nan)


def copied_characters(pages: PageBatch, pieces: Pieces) -> Float:
    """Characters in pieces that repeat an earlier one, over those of the text."""
    return pieces.sum(pieces.lengths * find_copies(pieces.hashes, pieces.first)) / pages.once(characters)


def top_share(pages: PageBatch, n: int) -> Float:
    """`top_2gram_char_fraction_datatrove` for any n below 5."""
    found, length = pages.once(ngrams)[n], pages.once(characters)
    return np.where(length == 0, 1.0, np.where(found > 0, found / length, np.nan))


def duplicate_share(pages: PageBatch, n: int) -> Float:
    """`duplicate_5gram_char_fraction_datatrove` for any n from 5 on."""
    found: Float = pages.once(ngrams)[n] / pages.once(characters)
    return found


@kernel
def count_page_characters(data: Bytes, offsets: Offsets) -> Table:
    """Code points of each page; shape (pages,)."""
    found = np.zeros(len(offsets) - 1, np.int64)
    for page in range(len(offsets) - 1):
        found[page] = count_characters(data, offsets[page], offsets[page + 1])
    return found


@kernel
def find_pieces(
    data: Bytes, offsets: Offsets, fewest: int, classes: Bytes
) -> tuple[Offsets, Offsets, Offsets, Codes, Hashes]:
    """What runs of at least `fewest` newlines separate, of the stripped text where that is more than one.

    Returns starts, ends, the first piece of each page (pages + 1), code points and hashes.
    """
    most = len(offsets) - 1
    for at in range(offsets[0], offsets[-1]):
        most += int(data[at] == 0x0A)
    starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    lengths, hashes = np.empty(most, np.int32), np.empty(most, np.uint64)
    first = np.zeros(len(offsets), np.int64)
    found = 0
    for page in range(len(offsets) - 1):
        start, end = offsets[page], offsets[page + 1]
        if fewest > 1:
            start, end = strip(data, start, end, classes)
        at = start
        while True:
            at = next_byte(data, at, end, 0x0A)
            stop = at
            while stop < end and data[stop] == 0x0A:
                stop += 1
            if at == end or stop - at >= fewest:
                starts[found], ends[found] = start, at
                lengths[found] = count_characters(data, start, at)
                hashes[found] = hash_bytes(data, start, at)
                found += 1
                start = stop
            if at == end:
                break
            at = stop
        first[page + 1] = found
    return starts[:found], ends[:found], first, lengths[:found], hashes[:found]


@kernel
def find_key(key: np.uint64, keys: Hashes, bits: int) -> int:
    """Where a key (not 0) is in the table's first 2^bits places, or the free place where it would be."""
    mask = (1 << bits) - 1
    place = np.int64(key * MIX >> np.uint64(64 - bits))
    while keys[place] and keys[place] != key:
        place = (place + 1) & mask
    return int(place)


@kernel
def sequence_key(words: Tokens, at: int, n: int) -> np.uint64:
    """Hash of the n words from `at` on as a sequence; never 0."""
    key = np.uint64(0)
    for k in range(at, at + n):
        key = path_hash(key, words[k].hash)
    return key if key else np.uint64(1)


@kernel
def find_top(words: Tokens, n: int, keys: Hashes, counts: Codes, bits: int) -> int:
    """Occurrences of the first of the most frequent n-grams times its length with spaces. There must be one."""
    keys[: 1 << bits] = 0
    most = 0
    for at in range(len(words) - n + 1):
        key = sequence_key(words, at, n)
        place = find_key(key, keys, bits)
        if not keys[place]:
            keys[place] = key
            counts[place] = 0
        counts[place] += 1
        most = max(most, counts[place])
    at = 0
    while counts[find_key(sequence_key(words, at, n), keys, bits)] < most:
        at += 1
    length = n - 1
    for k in range(at, at + n):
        length += words[k].length
    return most * length


@kernel
def power(exponent: int) -> np.uint64:
    """The hash's base to a power, modulo 2^64."""
    result, square = np.uint64(1), BASE
    while exponent:
        if exponent & 1:
            result *= square
        square *= square
        exponent >>= 1
    return result


@kernel
def power_of(exponent: int, powers: Hashes) -> np.uint64:
    """The same, looked up where it is small."""
    return powers[exponent] if exponent < len(powers) else power(exponent)


@kernel
def hash_prefixes(words: Tokens, powers: Hashes, prefixes: Hashes) -> None:
    """Hashes of all words before each one, run together; from them the hash of any n-gram follows."""
    for word in range(len(words)):
        shift = power_of(words[word].end - words[word].start, powers)
        prefixes[word + 1] = prefixes[word] * shift + words[word].hash


@kernel
def walk(words: Tokens, prefixes: Hashes, n: int, powers: Hashes, keys: Hashes, bits: int) -> int:
    """Characters of the n-grams that the greedy walk has seen before. There must be n words."""
    keys[: 1 << bits] = 0
    found, at, size, length = 0, 0, 0, 0
    for k in range(n):
        size += words[k].end - words[k].start
        length += words[k].length
    while True:
        key = (prefixes[at + n] - prefixes[at] * power_of(size, powers)) ^ np.uint64(size) << np.uint64(32)
        key = key if key else np.uint64(1)
        place = find_key(key, keys, bits)
        found += length if keys[place] else 0
        step = n if keys[place] else 1
        keys[place] = key
        for _ in range(step):
            if at + n == len(words):
                return found
            size += (words[at + n].end - words[at + n].start) - (words[at].end - words[at].start)
            length += words[at + n].length - words[at].length
            at += 1


@kernel
def count_ngrams(words: Tokens, first: Offsets) -> Table:
    """Row n: occurrences times length of the top n-gram (n below 5; 0 without n words), characters of the duplicates.

    Shape (11, pages).
    """
    pages = len(first) - 1
    found = np.zeros((LONGEST + 1, pages), np.int64)
    powers = np.empty(FEW_BYTES, np.uint64)
    for exponent in range(FEW_BYTES):
        powers[exponent] = power(exponent)
    most = most_in_a_page(first)
    keys, counts = np.empty(1 << table_bits(most), np.uint64), np.empty(1 << table_bits(most), np.int32)
    prefixes = np.zeros(most + 1, np.uint64)
    for page in range(pages):
        mine = words[first[page] : first[page + 1]]
        bits = table_bits(len(mine))
        hash_prefixes(mine, powers, prefixes)
        for n in range(SHORTEST, min(LONGEST, len(mine)) + 1):
            if n < DUPLICATES_FROM:
                found[n, page] = find_top(mine, n, keys, counts, bits)
            else:
                found[n, page] = walk(mine, prefixes, n, powers, keys, bits)
    return found
