r"""Gopher's quality and repetition rules over the signals of RedPajama-V2 (6d2cee9).

What decides its verdicts: two kinds of words. Word count, length and n-grams are over normalised words: ASCII punctuation is
deleted, then letters are made small and canonically decomposed (so "é" is two characters). The ratios are over NLTK's
WordPunct tokens, in which punctuation counts as words: a fifth of an ordinary page has no letter. Letters are ASCII letters,
so pages in other scripts have none. N-grams that occur once count for nothing. It rounds to 8 places, these columns do not.
"""

import string
import unicodedata
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.kernels.text import decode, hash_bytes, kernel
from filters.kernels.unicode_tables import CLASSES, LETTER, NUMERIC, SPACE
from filters.pages import Lines, PageBatch, Units
from filters.signals import Count, Float, signal
from filters.units.copies import NGrams, ngram_signals, ngrams_of
from filters.units.marks import count, ends_with

SYMBOLS = ("#", "...", "…")
BULLETS = "•‣▶◀◦■□▪▫–"
PUNCTUATION = np.frombuffer(bytes(chr(byte) in string.punctuation for byte in range(128)), np.bool_)
DELETE = dict.fromkeys(map(ord, string.punctuation))
UNDERSCORE = ord("_")
WORD, MARK, LETTER_BIT = 1, 2, 4
AT_ONCE = 256  # characters that Python may decompose in one call, whose time grows with their square: 0.05 ms at the worst

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Lengths = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Normalised:
    """Normalised words: their code points and hashes; page i owns words `first[i]:first[i + 1]`."""

    lengths: Lengths
    hashes: Hashes
    first: Offsets


@kernel
def normalise_ascii(
    data: Bytes, starts: Offsets, ends: Offsets, punctuation: npt.NDArray[np.bool_]
) -> tuple[Lengths, Hashes, npt.NDArray[np.bool_]]:
    """Code points and hash of every ASCII word without punctuation and in small letters, and which words are not ASCII."""
    lengths = np.zeros(len(starts), np.int32)
    hashes = np.zeros(len(starts), np.uint64)
    other = np.zeros(len(starts), np.bool_)
    word = np.empty(64, np.uint8)
    for unit in range(len(starts)):
        size = 0
        if ends[unit] - starts[unit] > len(word):
            word = np.empty(2 * (ends[unit] - starts[unit]), np.uint8)
        for at in range(starts[unit], ends[unit]):
            byte = data[at]
            if byte >= 0x80:
                other[unit] = True
                break
            if not punctuation[byte]:
                word[size] = byte | np.uint8(0x20) if 0x41 <= byte <= 0x5A else byte
                size += 1
        lengths[unit] = size
        hashes[unit] = hash_bytes(word, 0, size)
    return lengths, hashes, other


@kernel
def hash_all(data: Bytes, offsets: Offsets) -> Hashes:
    """Hash of every `data[offsets[k]:offsets[k + 1]]`."""
    hashes = np.empty(len(offsets) - 1, np.uint64)
    for one in range(len(offsets) - 1):
        hashes[one] = hash_bytes(data, offsets[one], offsets[one + 1])
    return hashes


def normalise(word: str) -> str:
    """A word as RedPajama-V2 compares and measures it."""
    return decomposed(word.translate(DELETE).lower())


def decomposed(word: str) -> str:
    """`unicodedata.normalize("NFD", word)` in time that hardly grows faster than the word.

    Python orders combining marks by insertion: 40,000 of them take it 1.2 s, 900,000 ten minutes. A long word is decomposed
    a character at a time and each run of marks sorted (0.3 s), which is how Unicode defines the form: the peer's own result.
    """
    if len(word) <= AT_ONCE:
        return unicodedata.normalize("NFD", word)
    characters = "".join(unicodedata.normalize("NFD", character) for character in word)
    runs = groupby(characters, lambda character: unicodedata.combining(character) > 0)
    return "".join("".join(sorted(run, key=unicodedata.combining) if marks else run) for marks, run in runs)


def normalised_words(pages: PageBatch) -> Normalised:
    """The normalised words of every page, without those of which nothing is left.

    Words of ASCII are made by a kernel. Of the others each distinct one goes through Python's own tables once: crawl text
    repeats its words, and `str.lower` depends on the letters around a capital sigma.
    """
    words = pages.words
    found: Any = normalise_ascii(pages.data, words.starts, words.ends, PUNCTUATION)
    lengths, hashes, other = found
    _, at, which = np.unique(words.hashes[other], return_index=True, return_inverse=True)
    spans = zip(words.starts[other][at].tolist(), words.ends[other][at].tolist(), strict=True)
    data = pages.data.data
    normal = [normalise(str(data[start:end], "utf-8", "replace")) for start, end in spans]
    encoded = [word.encode() for word in normal]
    offsets = np.concatenate([[0], np.cumsum([len(word) for word in encoded])]).astype(np.int64)
    lengths[other] = np.array([len(word) for word in normal], np.int32)[which]
    hashes[other] = hash_all(np.frombuffer(b"".join(encoded), np.uint8), offsets)[which]
    left = lengths > 0
    return Normalised(lengths[left], hashes[left], np.concatenate([[0], np.cumsum(left)])[words.first])


@cache
def token_kinds() -> Bytes:
    """What a code point is in a token: 0 (white space), WORD or MARK, with LETTER_BIT if an ASCII letter; (0x110000,)."""
    word = CLASSES & (LETTER | NUMERIC) != 0
    word[UNDERSCORE] = True
    kinds: Bytes = np.where(word, WORD, MARK).astype(np.uint8)
    kinds[CLASSES & SPACE != 0] = 0
    kinds[[ord(letter) for letter in string.ascii_letters]] |= LETTER_BIT
    kinds.flags.writeable = False
    return kinds


@kernel
def count_tokens(data: Bytes, offsets: Offsets, kinds: Bytes) -> tuple[Offsets, Offsets]:
    r"""WordPunct tokens of each page (runs of `\w`, and runs of all but white space), and those with an ASCII letter."""
    tokens = np.zeros(len(offsets) - 1, np.int64)
    with_letter = np.zeros(len(offsets) - 1, np.int64)
    for page in range(len(offsets) - 1):
        at, end = offsets[page], offsets[page + 1]
        last, lettered = np.uint8(0), np.uint8(0)
        while at < end:
            kind = kinds[data[at]]
            size = 1
            if data[at] >= 0x80:
                code, size = decode(data, at, end)
                kind = kinds[code]
            letter = kind & LETTER_BIT
            kind &= WORD | MARK
            if kind != last:
                tokens[page] += kind > 0
                lettered = np.uint8(0)
            with_letter[page] += letter > lettered
            lettered |= letter
            last = kind
            at += size
    return tokens, with_letter


def _tokens(pages: PageBatch) -> tuple[Offsets, Offsets]:
    found: tuple[Offsets, Offsets] = count_tokens(pages.data, pages.offsets, token_kinds())
    return found


def _lines(pages: PageBatch) -> Lines:
    """Lines as RedPajama-V2 finds them: a newline ends a line, so nothing follows the last one."""
    lines = pages.all_lines
    last = np.zeros(len(lines.starts), bool)
    last[lines.first[1:] - 1] = True
    return lines.where(~(last & (lines.raw_starts == lines.raw_ends)))


def ngrams(pages: PageBatch) -> dict[int, NGrams]:
    """The n-grams of normalised words, by n."""
    words = pages.once(normalised_words)
    return ngrams_of(words.lengths, words.hashes, words.first)


def _characters(pages: PageBatch) -> Offsets:
    words = pages.once(normalised_words)
    return Units(words.first, words.first, words.first).sum(words.lengths)


@signal(group="gopher_redpajama")
def word_count_redpajama(pages: PageBatch) -> Count:
    """Normalised words. Gopher keeps 50 to 100,000; the recipe in Together's blog up to 10,000."""
    return np.diff(pages.once(normalised_words).first)


@signal(group="gopher_redpajama")
def mean_word_length_redpajama(pages: PageBatch) -> Float:
    """Characters per normalised word, accents counted apart; null without words. Kept from 3 to 10."""
    return pages.once(_characters) / word_count_redpajama(pages)


@signal(group="gopher_redpajama")
def symbol_word_ratio_redpajama(pages: PageBatch) -> Float:
    """Occurrences of "#", "..." and "…" together, per WordPunct token; null without tokens. Kept up to 0.1."""
    return count(pages, *SYMBOLS) / pages.once(_tokens)[0]


@signal(group="gopher_redpajama")
def alphabetic_word_ratio_redpajama(pages: PageBatch) -> Float:
    """WordPunct tokens with an ASCII letter, of all; null without tokens. Its own signal is 1 minus this. Kept from 0.8."""
    tokens, with_letter = pages.once(_tokens)
    return with_letter / tokens


@signal(group="gopher_redpajama")
def bullet_line_ratio_redpajama(pages: PageBatch) -> Float:
    """Lines that start, after white space, with one of its ten bullets, of all lines; null without lines. Up to 0.9."""
    lines = pages.once(_lines)
    return lines.sum(np.isin(lines.heads, [ord(bullet) for bullet in BULLETS])) / lines.count


@signal(group="gopher_redpajama")
def ellipsis_line_ratio_redpajama(pages: PageBatch) -> Float:
    """Lines that end, before white space, with "..." or "…", of all lines; null without lines. Kept up to 0.3."""
    lines = pages.once(_lines)
    return lines.sum(ends_with(pages, lines.starts, lines.ends, "...", "…")) / lines.count


def _top(pages: PageBatch, n: int) -> Float:
    """Characters in all copies of the most frequent {n}-gram (the first seen of the tied), per character of words.

    0 where no {n}-gram occurs twice.
    """
    grams = pages.once(ngrams)[n]
    characters = np.where(grams.top_count > 1, grams.top_count * grams.top_characters, 0)
    return characters / np.maximum(pages.once(_characters), 1)


def _duplicate(pages: PageBatch, n: int) -> Float:
    """Characters of words that lie in any {n}-gram that occurs more than once, each word once, per character of words."""
    return pages.once(ngrams)[n].covered / np.maximum(pages.once(_characters), 1)


ngram_signals("redpajama", _top, _duplicate)
