"""Items of a benchmark in pages: found wherever they stand, with the span, and nowhere else."""

import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.duplicates.contamination import LEAST, MOST, benchmark, find, share
from filters.pages import PageBatch


def hits(texts, items):
    return list(find(PageBatch(pa.array(texts, pa.large_string())), benchmark(items)))


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """The kernels compile before hypothesis looks at the clock."""
    hits(["a"], [["one two three four five six seven eight"]])


def words_of(text):
    return re.findall(r"\w+", unicodedata.normalize("NFC", text.lower()))


WORDS = st.lists(st.sampled_from("abcd"), min_size=0, max_size=40)


@given(
    pages=st.lists(WORDS, min_size=1, max_size=3),
    items=st.lists(st.lists(WORDS, min_size=1, max_size=2), min_size=1, max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_the_n_grams_of_items_are_found_where_they_stand(pages, items):
    pieces = [[" ".join(piece) for piece in item] for item in items]
    of = benchmark(pieces)
    wanted = {}
    for number, item in enumerate(items):
        for piece in item:
            n = min(len(piece), MOST)
            for at in range(len(piece) - n + 1 if n >= LEAST else 0):
                wanted.setdefault(tuple(piece[at : at + n]), set()).add(number)
    assert of.checkable.tolist() == [any(len(piece) >= LEAST for piece in item) for item in items]
    for page, found in zip(pages, hits([" ".join(page) for page in pages], pieces), strict=True):
        expected = [
            (at, n)
            for at in range(len(page))
            for n in range(LEAST, MOST + 1)
            if tuple(page[at : at + n]) in wanted and at + n <= len(page)
        ]
        assert [(place, of.sizes[gram]) for place, gram in zip(found.places, found.grams, strict=True)] == expected
        for (at, n), gram in zip(expected, found.grams.tolist(), strict=True):
            assert set(of.items(gram)) == wanted[tuple(page[at : at + n])]
        windows = [page[at : at + MOST] for at in range(max(len(page) - MOST + 1, 1))]
        held = [
            any(at <= place and place + n <= at + len(window) for place, n in expected) for at, window in enumerate(windows)
        ]
        value = share(len(page), found.places, of.sizes[found.grams])
        assert np.isnan(value) if len(page) < LEAST else value == pytest.approx(np.mean(held))


def test_the_span_is_that_of_the_words_in_the_text():
    item = "Which gas, in 1902, did the old chemist call »lighter than hope«?"
    text = f"Ein Rätsel: {item.upper()} – niemand weiß es. Bis heute."
    [found] = hits([text], [[item]])
    begin, end = found.spans[:, 0].min(), found.spans[:, 1].max()
    assert text.encode()[begin:end].decode() == item.upper().rstrip("«?")


def test_another_number_is_another_item():
    item = "In the year 1901 the river rose by seven feet and stayed"
    assert len(hits([item.replace("1901", "1902")], [[item]])[0].grams) == 0
    assert len(hits([item.replace(" the ", "  THE, ")], [[item]])[0].grams) == 1


def test_short_pieces_cannot_be_checked():
    of = benchmark([["too short to be found"], ["too short", "one two three four five six seven eight"]])
    assert of.checkable.tolist() == [False, True] and len(of.grams) == 1
