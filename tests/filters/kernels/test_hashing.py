"""Lower case as Java's, Spark's terms and hashed n-grams: each against a slow twin over Python's own strings."""

import itertools
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.kernels.hashing import (
    BREAK,
    CASED,
    CODES,
    IGNORED,
    JOINED,
    MIDDLE,
    case_tables,
    lower_case,
    ngrams,
    spark_terms,
)
from filters.pages import PageBatch

ODD = list("Σσς İıiIẞßǅΑαaZ5-.'\"_\u00ad\u0301\u0345ⅠⒶאー字ʰ²\xa0\n\t\r\x0b\x0c\x1c\x85\u2028\0Ⱥ\u212a𐐀😀")
TEXTS = st.text(st.sampled_from(ODD) | st.characters(exclude_categories=["Cs"]), max_size=30)
JAVA_BLANKS = re.compile("[ \t\n\x0b\x0c\r]")


def batch(*texts):
    pages = PageBatch(pa.array(texts, pa.large_string()))
    return pages.data, pages.offsets


def of_bytes(*pages):
    offsets = np.cumsum([0, *map(len, pages)])
    return np.frombuffer(b"".join(pages), np.uint8), offsets


def cut(data, first):
    return [data[begin:end].tobytes() for begin, end in itertools.pairwise(first)]


def around(character):
    return case_tables()[1][ord(character)] if ord(character) < CODES else BREAK


def meets_case(rest):
    """Whether a letter with case comes before the word ends, in the characters on one side of a sigma, nearest first."""
    letter = True
    for at, character in enumerate(rest):
        kind = around(character)
        after = next((around(one) for one in rest[at + 1 :] if around(one) != IGNORED), BREAK)
        if kind == CASED:
            return True
        if kind == BREAK or (kind == MIDDLE and not (letter and after in (CASED, JOINED))):
            return False
        letter = letter if kind == IGNORED else kind == JOINED
    return False


def lower(text):
    made = []
    for at, character in enumerate(text):
        final = character == "Σ" and meets_case(text[:at][::-1]) and not meets_case(text[at + 1 :])
        made.append("ς" if final else character.lower())
    return "".join(made)


def murmur3(data, seed):
    def rotated(value, by):
        return (value << by | value >> 32 - by) & 0xFFFFFFFF

    def scattered(block):
        return rotated(block * 0xCC9E2D51 & 0xFFFFFFFF, 15) * 0x1B873593 & 0xFFFFFFFF

    hashed, whole = seed, len(data) // 4 * 4
    for at in range(0, whole, 4):
        hashed = rotated(hashed ^ scattered(int.from_bytes(data[at : at + 4], "little")), 13) * 5 + 0xE6546B64 & 0xFFFFFFFF
    hashed ^= scattered(int.from_bytes(data[whole:], "little")) ^ len(data)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashed = (hashed ^ hashed >> shift) * factor & 0xFFFFFFFF
    return hashed ^ hashed >> 16


def terms(text):
    """Java's split, nothing of a page without a word."""
    pieces = JAVA_BLANKS.split(text)
    while pieces and not pieces[-1]:
        pieces.pop()
    return pieces


@settings(deadline=None, max_examples=300)
@given(st.lists(TEXTS, max_size=4))
def test_lower_case_is_that_of_each_character_and_of_the_word_around_a_sigma(texts):
    assert [page.decode() for page in cut(*lower_case(*batch(*texts)))] == list(map(lower, texts))


@pytest.mark.parametrize(
    ("text", "small"),
    [  # what OpenJDK 17 gives
        ("ΟΔΟΣ", "οδος"),
        ("ΟΔΟΣ ΣΟΦΟΣ, Σ", "οδος σοφος, σ"),
        ("ΑΣ-Α ΑΣ- ΑΣ--Α", "ασ-α ας- ας--α"),
        ("A5Σ 5Σ ΑΣ5Α", "a5ς 5σ ασ5α"),
        ("ΑΣ.Α ΑΣ. ΑΣ'Α", "ασ.α ας. ασ'α"),
        ("ΑΣ字Α ΑאΣ", "ας字α αאς"),
        ("İI", "i̇i"),
        ("ẞǅK", "ßǆk"),
    ],
)
def test_lower_case_is_that_of_java(text, small):
    [page] = cut(*lower_case(*batch(text)))
    assert page.decode() == small


@settings(deadline=None)
@given(st.binary(max_size=60))
@example(b"\xce")
@example(b"\xf0\x9f\x98" + b"A" * 9)
def test_any_bytes_have_a_lower_case_terms_and_ngrams(data):
    pages = of_bytes(data, data)
    small, first = lower_case(*pages)
    assert first[1] * 2 == first[2] == len(small)
    for found, starts, places in ((*spark_terms(small, first, 1 << 18), 1 << 18), (*ngrams(small, first, 10_000), 10_000)):
        half = starts[1]
        assert starts[2] == len(found) == 2 * half and (found[:half] == found[half:]).all()
        assert ((found >= 0) & (found < places)).all()


@pytest.mark.parametrize(
    ("text", "seed", "expected"),
    [("", 0, 0), ("", 1, 0x514E28B7), ("hello", 0, 0x248BFA47), ("hello, world", 0, 0x149BBB7F)],
)
def test_the_slow_hash_is_murmur3(text, seed, expected):
    assert murmur3(text.encode(), seed) == expected


@settings(deadline=None, max_examples=300)
@given(st.lists(TEXTS, max_size=4))
@example([" a", "a  b", "a  ", "   ", "", "a"])
def test_terms_are_the_pieces_between_javas_blanks(texts):
    buckets, first = spark_terms(*batch(*texts), 1 << 18)
    expected = [[murmur3(term.encode(), 42) % (1 << 18) for term in terms(text)] for text in texts]
    assert [buckets[begin:end].tolist() for begin, end in itertools.pairwise(first)] == expected


@settings(deadline=None, max_examples=300)
@given(st.lists(TEXTS, max_size=4))
def test_ngrams_are_words_and_runs_of_signs_alone_and_in_pairs(texts):
    buckets, first = ngrams(*batch(*texts), 10_000)
    for text, begin, end in zip(texts, first, first[1:], strict=False):
        hashes = [murmur3(token.encode(), 42) for token in re.findall(r"\w+|[^\w\s]+", text)]
        assert len(buckets[begin:end]) == max(2 * len(hashes) - 1, 0)
        assert buckets[begin:end:2].tolist() == [hashed * 10_000 >> 32 for hashed in hashes]


def test_a_bigram_is_known_by_both_words_and_their_order():
    def pair(text):
        return ngrams(*batch(text), 10_000)[0][-2]

    assert pair("a b") == pair(" a\n b ") == pair("x a b")
    assert len({pair("a b"), pair("b a"), pair("a a"), pair("b b"), pair("ab c"), pair("a bc")}) == 6


HOSTILE = {
    "one token of ten million letters": "a" * 10_000_000,
    "one token ten million times": "a " * 10_000_000,
    "ten million sigmas": "Σ" * 10_000_000,
    "ten million sigmas between digits": "Σ1" * 5_000_000,
    "50 MB on one line": "Word one, " * 5_000_000,
    "NUL bytes": "\0" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_page_takes_no_more_time_than_its_length(name):
    small, first = lower_case(*batch(HOSTILE[name]))
    assert first[-1] == len(HOSTILE[name].encode())
    found, ends = spark_terms(small, first, 1 << 18)
    assert ends[-1] == len(found) == len(HOSTILE[name].split(" ")) - HOSTILE[name].endswith(" ")
    assert len(ngrams(small, first, 10_000)[0])
