"""RefinedWeb's line corrections against the same corrections written with Python's strings."""

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.pages import PageBatch
from filters.readings import refinedweb
from filters.signals import GROUPS

COUNTER = re.compile(rf"\W*\d[\d,.]*[kmb]?\s+(?:{'|'.join(refinedweb.COUNTED)})\W*")


def slow(text):
    """The seven corrections; the page is stripped after all but the fourth."""
    lines = text.split("\n")
    lines = again(line for line in lines if not line or sum(map(str.isupper, line)) / len(line) <= 0.5)
    lines = again(line for line in lines if not line or sum(map(str.isdigit, line)) / len(line) <= 0.999999)
    lines = again(line for line in lines if not COUNTER.fullmatch(line.lower()))
    lines = [line for line in lines if not line or len(line.split()) >= 2]
    for pattern in (r"\s?items in cart", r"\s?read more...$", r"^sign-in\s?"):
        edited = (without(line, pattern) for line in lines)
        lines = again(line for line in edited if line is not None)
    return "\n".join(lines)


def again(lines):
    return "\n".join(lines).strip().split("\n")


def without(line, pattern):
    if len(line.split()) > 10:
        return line
    left = re.sub(pattern, "", line, flags=re.IGNORECASE)
    return None if line and not left.strip() else left


def corrected(texts):
    return refinedweb.refinedweb(PageBatch(pa.array(texts, pa.large_string()))).to_pylist()


pieces = st.sampled_from(
    ["ABC ", "abc ", "\n", "\n", " ", "\u00a0", "12", "3.5k likes", "1,000 views!", "²", "½", "字", "É", "_", "x", "...",
     "\r", "items in cart", "Items In Cart", "read more...", "Read more »", " read more abc", "Sign-in",
     "sign-in ", "\x1c", "٣"]
)  # fmt: skip


@given(st.lists(st.lists(pieces, max_size=12).map("".join), max_size=3))
@settings(max_examples=150, deadline=None)
def test_pages_are_corrected_as_with_pythons_strings(texts):
    assert corrected(texts) == [slow(text) for text in texts]


def test_real_pages_are_corrected_as_with_pythons_strings(crawl_texts):
    assert corrected(crawl_texts) == [slow(text) for text in crawl_texts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("keep this\nSHOUTED LINE\nand this", "keep this\nand this"),
        ("one of HALF\n12345\n12 345", "one of HALF\n12 345"),
        ("1 comment\n3 likes\n3 likes today\n• 1.2K Views •", "1 comment\n3 likes today"),
        ("a line of text\n\nword\nmore text here", "a line of text\n\nmore text here"),
        ("0 items in cart now\nitems in cart", "0 now"),
        ("a long story read moreabc\nanother story", "a long story\nanother story"),
        ("sign-in to your account\nwe sign-in here", "to your account\nwe sign-in here"),
        ("one two three four five six seven eight items in cart", "one two three four five six seven eight items in cart"),
        ("NOTHING IS LEFT", ""),
    ],
)
def test_what_goes_and_what_stays(text, expected):
    assert corrected([text]) == [expected]


def test_the_removed_share_counts_words_that_start_with_a_letter_or_number():
    pages = PageBatch(pa.array(["one two three - four\n3 likes", "...", "all of it stays"]))
    share = GROUPS["refinedweb"]["refinedweb_removed_word_fraction"].measure(pages, {})
    assert share.to_pylist() == [2 / 6, None, 0.0]


def test_null_pages_stay_null():
    assert corrected(["one two", None, ""]) == ["one two", None, ""]
