"""Lines of many sites cut out of pages, against Python's own splitting."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.duplicates.lines import drop_lines, line_hashes, repeated_char_fraction
from filters.pages import PageBatch

SAID = [
    "Read our terms",
    "all rights reserved 2019",
    "two words",
    "This is what the page says",
    "",
    "  ",
    "\u00dcber uns und sie",
]


def batch(texts):
    return PageBatch(pa.array(texts, pa.large_string()))


def hashes_of(lines):
    hashes = line_hashes(batch(["\n".join(lines)]))
    return np.unique(hashes[hashes != 0])


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """The kernels compile before hypothesis looks at the clock."""
    drop_lines(batch(["a b c"]), hashes_of(["a b c"]), 1.0)


def folded(line):
    """A line as it is compared; None where it is too short to be."""
    words = re.sub(r"\d+", "0", line.lower().replace("\u00fc", "u")).split()
    return words if len(words) >= 3 else None


def without(text, repeated, most):
    """The text without the repeated lines, and the lines; None where that takes too much."""
    lines = text.split("\n")
    gone = [line for line in lines if folded(line) and folded(line) in [folded(one) for one in repeated]]
    taken, whole = (sum(len(line.strip()) for line in some) for some in (gone, lines))
    if whole and taken / whole > most:
        return None
    return "\n".join(line for line in lines if line not in gone), [line.strip() for line in gone]


PIECES = st.sampled_from([*SAID, "  READ our terms\r", "all rights reserved 2020", "Read our term", "\u4e2d\u6587\u5b57"])
TEXTS = st.one_of(st.none(), st.lists(PIECES, max_size=6).map("\n".join))


@given(st.lists(TEXTS, max_size=5), st.sets(st.sampled_from(SAID)), st.sampled_from([0.3, 0.5, 0.9, 1.0]))
@settings(deadline=None, max_examples=200)
def test_a_page_loses_its_repeated_lines_and_nothing_else_unless_they_are_too_much_of_it(texts, repeated, most):
    found = drop_lines(batch(texts), hashes_of(sorted(repeated)), most)
    expected = [None if text is None else without(text, repeated, most) for text in texts]
    wanted = [text if one is None else one[0] for text, one in zip(texts, expected, strict=True)]
    assert found.text.to_pylist() == wanted
    gone = [one[1] for one in expected if one is not None]
    assert found.pages == sum(bool(lines) for lines in gone)
    assert found.lines == sum(map(len, gone))
    assert found.characters == sum(len(line) for lines in gone for line in lines)
    assert found.spared == sum(text is not None and one is None for text, one in zip(texts, expected, strict=True))


@given(st.lists(st.lists(PIECES, max_size=6).map("\n".join), min_size=1, max_size=5), st.sets(st.sampled_from(SAID)))
@settings(deadline=None, max_examples=50)
def test_the_signal_says_which_pages_are_spared(texts, repeated):
    hashes = hashes_of(sorted(repeated))
    shares = repeated_char_fraction(batch(texts), hashes)
    left = drop_lines(batch(texts), hashes, 0.5).text.to_pylist()
    for text, share, kept in zip(texts, shares, left, strict=True):
        assert (kept == text) == (not 0 < share <= 0.5)


def test_a_slice_is_cut_as_the_whole_is():
    texts = ["one line here\nRead our terms", "Read our terms\nand a line of its own", None, "more of it"]
    array = pa.array(texts, pa.large_string())
    whole = drop_lines(PageBatch(array), hashes_of(["Read our terms"]), 0.9).text
    part = drop_lines(PageBatch(array.slice(1, 2)), hashes_of(["Read our terms"]), 0.9).text
    assert part.to_pylist() == whole.to_pylist()[1:3] == ["and a line of its own", None]
    assert pc.binary_length(whole).to_pylist() == [13, 21, None, 10]
