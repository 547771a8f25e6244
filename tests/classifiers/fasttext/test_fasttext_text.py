"""The line that fastText is given: the twin is Python's own str.split and slicing."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.fasttext.text import FASTTEXT_SPACES, Reading, lines
from filters.pages import PageBatch

PIECES = st.sampled_from(
    ["</s>", "__label__x", "a", "né", "\n", "\r\n", " ", "\xa0", "\u3000", "\u2028", "\0", "日本", "😀", "<", "/s>"]
)
TEXTS = st.lists(st.one_of(st.none(), st.lists(PIECES, max_size=30).map("".join), st.text(max_size=50)), max_size=6)
READINGS = st.builds(
    Reading,
    characters=st.integers(1, 40),
    last=st.integers(0, 20),
    newline=st.sampled_from(["blank", "glue"]),
    white_space=st.sampled_from(["unicode", "fasttext"]),
)


def slow_line(text: str | None, reading: Reading) -> bytes:
    part = (text or "")[: reading.characters]
    part = part[-reading.last :] if reading.last else part
    part = part.replace("\n", "") if reading.newline == "glue" else part
    for space in FASTTEXT_SPACES:
        part = part.replace(space, " ")
    words = part.split() if reading.white_space == "unicode" else [word for word in part.split(" ") if word]
    marked = [w[:1] + " " + w[1:] if w == "</s>" or w.startswith("__label__") else w for w in words]
    return (" ".join(marked) + "\n").encode() if words else b""


@settings(deadline=None)  # the first call compiles
@given(TEXTS, READINGS)
def test_the_kernel_writes_what_split_and_join_write(texts, reading):
    batch = PageBatch(pa.array(texts, pa.large_string()))
    assert lines(batch, reading) == [slow_line(text, reading) for text in texts]


def test_a_slice_reads_its_own_pages_only():
    texts = pa.array(["one", "two words", None, "four"])
    assert lines(PageBatch(texts.slice(1, 2)), Reading()) == [b"two words\n", b""]


def test_bytes_that_are_no_utf8_pass_through_and_never_break_the_line():
    broken = pa.array([b"ab\xff\xc3 </s>\xe6", b"\xf0\x9f"]).cast(pa.binary()).view(pa.string())
    assert lines(PageBatch(broken), Reading()) == [b"ab\xff\xc3 </s>\xe6\n", b"\xf0\x9f\n"]


def test_a_page_of_nothing_but_marks_fits_its_buffer():
    assert lines(PageBatch(pa.array(["</s> " * 1000])), Reading())[0].split() == [b"<", b"/s>"] * 1000


@pytest.mark.parametrize(
    "wrong", [{"characters": 0}, {"last": -1}, {"newline": "keep"}, {"white_space": "ascii"}, {"characters": 1.5}]
)
def test_a_reading_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Reading(**wrong)
