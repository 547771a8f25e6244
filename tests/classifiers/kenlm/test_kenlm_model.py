"""Perplexity: CCNet's number, null where there is nothing to score, finite on anything; files that are no model."""

import pickle

import numpy as np
import pyarrow as pa
import pytest

from classifiers.fasttext.file import ModelFileError
from classifiers.kenlm.kind import Options
from classifiers.kenlm.model import BINARY, EVERY, LONG, Perplexity, check
from classifiers.kenlm.text import File
from filters.pages import PageBatch


@pytest.fixture
def perplexity(arpa):
    """The signal of the tiny model."""
    signal = Options(model=arpa).group("tiny", arpa.parent).signals[0]
    return lambda texts: signal.measure(
        PageBatch(texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())), {}
    )


@pytest.mark.parametrize(
    ("text", "log10", "length"),
    [
        ("The whale", -0.25 - 0.375 - 0.5, 3),
        ("whale", -0.25 - 0.75 - 0.5, 2),
        ("the the", -0.25 - 0.125 - 0.5 - 0.125 - 1, 3),
        ("unheard", -0.25 - 2 - 1, 2),
        ("THE\nwhale\x00", -0.25 - 0.375 - 0.5, 3),
    ],
)
def test_perplexity_is_ten_to_the_minus_mean_log_probability_with_the_lines_end(perplexity, text, log10, length):
    assert perplexity([text]).to_pylist() == [pytest.approx(10 ** (-log10 / length), rel=1e-12)]


def test_a_page_without_a_token_has_none(perplexity):
    assert perplexity(["", " \n\t", "\x01\x7f", None, "whale"]).is_null().to_pylist() == [True] * 4 + [False]


@pytest.mark.parametrize("count", [LONG - 1, LONG + 1, 200_000])
def test_a_long_page_is_summed_without_rounding(perplexity, count):
    exact = -0.25 - (count - 1) * (0.125 + 0.5) - 0.125 - 1
    [found] = perplexity(["the " * count]).to_pylist()
    assert found == pytest.approx(10 ** (-exact / (count + 1)), rel=1e-12 if count > LONG else 1e-5)


def test_hostile_pages_are_finite_or_null(perplexity, hostile):
    for one in perplexity(hostile).to_pylist():
        assert one is None or (np.isfinite(one) and one > 0)


def test_the_signal_travels(arpa):
    signal = Perplexity(((EVERY, File.at(arpa), None),))
    there = pickle.loads(pickle.dumps(signal))  # noqa: S301 - our own bytes
    pages = PageBatch(pa.array(["the whale"]))
    assert there == signal and there(pages) == signal(pages)


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        (b"", "holds nothing"),
        (b"\xba\x16\x4f\x2f" + bytes(100), "holds a fastText model"),
        (b"\x1f\x8b\x08\x00", "holds gzip data"),
        (b"hello there, this is text", "holds something beginning b'hello there"),
        (BINARY + b" format version 5\n\0" + b"\x01" * 300, "is damaged or of another version"),
        (b"\\data\\\nngram 1=2\n\n\\1-grams:\n-1\t<unk>\n", "is damaged or of another version"),
    ],
)
def test_a_file_that_is_no_whole_model_is_refused_with_what_it_holds(tmp_path, content, holds):
    (tmp_path / "model.binary").write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"model\.binary.*{holds}"):
        Options(model=tmp_path / "model.binary").group("tiny", tmp_path)


def test_a_hand_written_model_is_taken(arpa):
    check(File.at(arpa))
