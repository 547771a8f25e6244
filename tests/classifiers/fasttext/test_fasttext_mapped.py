"""A mapped model says what the library says of the same file, whatever the page; and it stays in its file."""

import random
import re
import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.fasttext.file import ModelFileError
from classifiers.fasttext.model import Loaded, Mapped, load, score_batch
from classifiers.fasttext.text import Reading
from filters.pages import PageBatch

model_bytes = runpy.run_path(str(Path(__file__).parent / "made_up_model.py"))["model_bytes"]

LOSSES = ("softmax", "hs", "ova", "ns")
PARTS = ((0, 0), (2, 4), (1, 3))
READING = Reading(characters=1500)
WORDS = "the whale sea captain click bonus casino über naïve 東京 タワー 🐋 <b> a zz".split()


def small_texts():
    draw = random.Random(0)
    odd = [
        "",
        " ",
        "a",
        "the",
        "東京 タワー",
        "é",
        "\0",
        "naïve\xa0naïve",
        "\x1b[0m a\x13b",
        "🐋🐋🐋 🐋",
        "</s> __label__0 __label__",
        "<b",
    ]
    words = [*WORDS, "unknown", "größe", "мир", "x" * 40]
    return [*odd, "a " * 700, *(" ".join(draw.choices(words, k=draw.randrange(1, 60))) for _ in range(50))]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """`both(words, **shape)`: the same made-up model, mapped and loaded by the library."""

    def made(words, **shape):
        path = tmp_path_factory.mktemp("models") / "model.bin"
        path.write_bytes(model_bytes(words, **shape))
        return load(path).asked, Loaded(fasttext.load_model(str(path)).f)

    return made


def disagreements(mapped, loaded, texts, labels=range(5)):
    """Pages whose likeliest label differs, and the largest difference of these labels' probabilities."""
    pages = PageBatch(pa.array(texts, pa.large_string()))
    ours, theirs = mapped.likeliest(pages, READING), loaded.likeliest(pages, READING)
    answered = ~np.isnan(theirs[1])
    assert np.array_equal(~np.isnan(ours[1]), answered)
    differing = [texts[row] for row in np.flatnonzero(answered) if ours[0][row] != theirs[0][row]]
    each = [
        np.abs(mapped.probabilities(pages, READING, name) - loaded.probabilities(pages, READING, name))
        for name in (f"__label__{label}" for label in labels)
    ]
    return differing, float(np.nanmax(each))


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_label_and_probability_is_the_librarys(both, loss, parts):
    mapped, loaded = both([*WORDS, "</s>"], loss=loss, parts=parts)
    assert isinstance(mapped, Mapped)
    differing, largest = disagreements(mapped, loaded, small_texts())
    assert not differing and largest < 1e-6


@pytest.mark.parametrize(("loss", "parts"), [("softmax", (0, 0)), ("softmax", (2, 4)), ("hs", (2, 4)), ("ova", (0, 0))])
def test_on_a_thousand_real_pages_too(both, shared_data, loss, parts):
    texts = real_texts(shared_data, 1000)
    common = Counter(word for text in texts[::3] for word in text[:1500].split()).most_common(5000)
    words = ["</s>", *(word for word, _ in common if "\0" not in word and not word.startswith("__label__"))]
    mapped, loaded = both(words, loss=loss, parts=parts, labels=12, dim=20, bucket=20_000, ngrams=3)
    differing, largest = disagreements(mapped, loaded, texts, labels=(0, 11))
    assert len(texts) == 1000 and not differing and largest < 1e-6


def real_texts(shared_data: Path, count: int) -> list[str]:
    """Text of the first pages of the shards."""
    texts: list[str] = []
    for shard in sorted((shared_data / "crawl").glob("*.wet.gz")):
        with shard.open("rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.conversion):
                texts.append(record.reader.read().decode("utf-8", "replace"))
                if len(texts) == count:
                    return texts
    return texts


@pytest.fixture(scope="module")
def pairs(both):
    """Two models of few words, so that any text meets them."""
    shapes: list[dict[str, Any]] = [{"loss": "softmax", "parts": (1, 5)}, {"loss": "ova"}]
    return [both(["a", "ab", "é", "</s>", "东"], ngrams=3, **shape) for shape in shapes]


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(alphabet="ab <>\x1b/s_\0\n\xa0éß東🐋\u0301", max_size=40), min_size=1, max_size=8))
def test_on_any_text(pairs, texts):
    for mapped, loaded in pairs:
        differing, largest = disagreements(mapped, loaded, [*texts, "a"])
        assert not differing and largest < 1e-6


def test_a_model_without_a_word_for_the_lines_end_has_no_answer_where_it_has_no_row(both):
    for asked in both(["whale"], ngrams=1):
        scores = asked.probabilities(PageBatch(pa.array(["unknown words", "whale"])), READING, "__label__0")
        assert np.isnan(scores).tolist() == [True, False]


def test_a_label_that_a_tree_gives_up_on_has_probability_0(both):
    scores = []
    for asked in both([*WORDS, "</s>"], loss="hs", scale=30.0):
        scores.append(asked.probabilities(PageBatch(pa.array(WORDS)), READING, "__label__4"))
    assert (scores[0] == 0).any() and np.allclose(*scores, atol=1e-6)


def test_a_sum_just_below_a_step_of_the_table_is_rounded_up_to_it_as_the_library_rounds(tmp_path):
    content = bytearray(model_bytes(["</s>"], labels=1, dim=1, bucket=0, ngrams=1, loss="ova"))
    content[-25:-21] = np.float32(1).tobytes()
    content[-4:] = np.float32(3.5 - 2**-22).tobytes()  # plus 8 is 11.5 in float32
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    found = [
        asked.probabilities(PageBatch(pa.array(["a"])), READING, "__label__0")[0]
        for asked in (load(path).asked, Loaded(fasttext.load_model(str(path)).f))
    ]
    assert found[0] == found[1] == pytest.approx(1 / (1 + np.exp(-3.5)) + 1e-5, abs=1e-6)


def test_a_classifier_of_the_older_format_uses_no_parts_of_words(both):
    mapped, loaded = both([*WORDS, "</s>"], version=11, parts=(2, 4))
    differing, largest = disagreements(mapped, loaded, small_texts())
    assert not differing and largest < 1e-6


def test_weights_of_a_word_that_are_no_numbers_give_null(tmp_path):
    content = bytearray(model_bytes(["whale", "</s>"], ngrams=1, bucket=0))
    start = len(content) - 4 * 12 * (2 + 5) - 17  # the first row of the first matrix
    content[start : start + 4] = np.float32(np.nan).tobytes()
    (tmp_path / "nan.bin").write_bytes(content)
    scores = score_batch(load(tmp_path / "nan.bin"), pa.array(["whale", "other"]), "__label__1").to_pylist()
    assert scores[0] is None and 0 <= scores[1] <= 1


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.bin"
    path.write_bytes(model_bytes([*WORDS, "</s>"], parts=(2, 4)))
    return load(path)


@pytest.mark.parametrize(
    "text",
    [b"", b"a" * 10_000_000, b"the sea " * 6_000_000, b"\0whale\0\0", b"\xed\xa0\x80 whale", b"\xff\xfe"],
    ids=["empty", "one token", "50 MB on one line", "NUL", "surrogate", "no UTF-8"],
)
def test_odd_pages_get_null_or_a_number(model, text):
    texts = pa.array([text, b"whale", None], pa.large_binary()).view(pa.large_string())
    odd, plain, none = score_batch(model, texts, "__label__0").to_pylist()
    assert (odd is None) == (text == b"") and 0 <= (odd or 0) <= 1 and 0 <= plain <= 1 and none is None


def test_what_stands_for_a_null_is_not_read(model):
    validity, offsets = pa.py_buffer(b"\1"), pa.py_buffer(np.array([0, 5, 10], np.int64).tobytes())
    texts = pa.Array.from_buffers(pa.large_string(), 2, [validity, offsets, pa.py_buffer(b"whalewhale")])
    assert [score is None for score in score_batch(model, texts, "__label__0").to_pylist()] == [False, True]


def test_the_weights_stay_in_the_file_and_the_index_takes_twenty_bytes_a_word(tmp_path):
    words = [f"w{k}" for k in range(20_000)]
    path = tmp_path / "large.bin"
    path.write_bytes(model_bytes(words, dim=64, bucket=100_000, parts=(3, 4)))
    model = load(path)
    score_batch(model, pa.array([" ".join(words[k : k + 500]) for k in range(0, 20_000, 500)]), "__label__0")
    entry = re.search(rf"^.*{re.escape(str(path))}\n(.*\n)+?VmFlags", Path("/proc/self/smaps").read_text(), re.MULTILINE)[0]
    kilobytes = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB", entry, re.MULTILINE)}
    assert kilobytes["Rss"] > 20_000 and kilobytes["Anonymous"] == 0
    tables = model.asked.tables
    assert sum(value.nbytes for name, value in tables._asdict().items() if name in ("slots", "starts")) <= 20 * len(words)


@pytest.mark.parametrize(
    ("at", "number", "says"),
    [
        (8, 13, "12 columns and its header says 13"),  # dim
        (32, 9, "its matrices have other sizes"),  # loss
        (40, 100_000, "its matrices have other sizes"),  # buckets
        (36, 2, r"holds word vectors \(skipgram\), not a classifier"),
    ],
)
def test_a_header_that_asks_for_what_is_not_there_is_refused(tmp_path, at, number, says):
    content = bytearray(model_bytes(["whale"]))
    content[at : at + 4] = number.to_bytes(4, "little")
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(ModelFileError, match=says):
        load(tmp_path / "model.bin")
