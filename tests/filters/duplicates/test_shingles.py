"""Shingles beside a slow obvious twin: which texts are cut alike, and how alike two pages are."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.duplicates.shingles import Shingling, jaccard
from filters.kernels.unicode_tables import CLASSES, SPACELESS
from filters.pages import PageBatch

LETTERS = "aAbé\u0301ÉЖжß ,.'0123٣\n\u00ad\u200b\u00a0中国の가-日"


def sets(texts, unit="words", size=3):
    pages = PageBatch(pa.array(texts, pa.large_string()))
    return Shingling(unit, size).sets(pages.data, pages.offsets, np.arange(len(texts)))


def folded(text):
    """The words of a text, folded, one step after the other."""
    said = ""
    for letter in text:
        if letter in "\u00ad\u200b" or unicodedata.category(letter) in ("Mn", "Me", "Mc", "Cf"):
            continue
        if letter.isdigit():
            said += "0"
        elif letter.isalpha():
            plain = [one for one in unicodedata.normalize("NFD", letter.lower()) if unicodedata.category(one) != "Mn"]
            plain = plain[0] if len(plain) == 1 else letter
            said += f" {plain} " if CLASSES[ord(letter)] & SPACELESS else plain
        else:
            said += " "
    while "00" in said:
        said = said.replace("00", "0")
    return said.split()


def slow(text, unit, size):
    pieces = folded(text) if unit == "words" else list(" ".join(folded(text)))
    return {tuple(pieces[at : at + size]) for at in range(len(pieces) - size + 1)}


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """The kernels compile before hypothesis looks at the clock."""
    sets(["", ""], "words")
    jaccard(*sets(["", ""], "characters"))


@pytest.mark.parametrize("unit", ["words", "characters"])
@given(one=st.text(alphabet=LETTERS, max_size=30), other=st.text(alphabet=LETTERS, max_size=30))
@settings(deadline=None)
def test_pages_share_as_many_shingles_as_their_folded_words_say(unit, one, other):
    if unit == "characters" and any(CLASSES[ord(letter)] & SPACELESS for letter in one + other):
        return  # such letters are words, but no blanks stand between them
    ours, theirs = sets([one, other], unit)
    mine, yours = slow(one, unit, 3), slow(other, unit, 3)
    assert (len(ours), len(theirs)) == (len(mine), len(yours))
    assert len(np.intersect1d(ours, theirs)) == len(mine & yours)
    assert jaccard(ours, theirs) == (len(mine & yours) / len(mine | yours) if mine | yours else 0.0)


def test_typography_numbers_and_case_do_not_tell_pages_apart():
    one, other = sets(["The Café’s 12 rooms, open 24 hours", "the cafe s 7 ROOMS open 365 hours!"])
    assert one.tolist() == other.tolist()


def test_characters_of_scripts_without_spaces_are_words():
    [found] = sets(["日本語の文章です"], size=5)
    assert len(found) == 4


def test_one_word_ten_million_times_is_one_shingle():
    assert len(sets(["word " * 10_000_000], size=5)[0]) == 1


def test_a_page_shorter_than_a_shingle_has_none():
    assert [len(one) for one in sets(["", "a b", "a b c"])] == [0, 0, 1]


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
@settings(deadline=None)
def test_jaccard_is_that_of_sets(one, other):
    arrays = [np.array(sorted(some), np.uint64) for some in (one, other)]
    assert jaccard(*arrays) == (len(one & other) / len(one | other) if one | other else 0.0)
