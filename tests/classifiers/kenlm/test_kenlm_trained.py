"""A pair trained by KenLM's programs: equal to `query`, repeatable, mapped once, telling its texts apart."""

import gzip
import json
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from classifiers.fasttext.file import ModelFileError
from classifiers.kenlm import training
from classifiers.kenlm.kind import Options
from classifiers.kenlm.model import check, lines, load
from classifiers.kenlm.text import File, normalised
from classifiers.kenlm.training import tool
from filters.pages import PageBatch

TEXTS = ["The river. A stone!\nÉté 1999 “x”", "casino bonus", "a", "", None, "日本語 текст\x00", "the garden " * 3000]


def by_query(model, cut):
    """Perplexities by CCNet's formula over what KenLM's own program says of lines of tokens."""
    text = "".join(line + "\n" for line in cut.texts)
    said = subprocess.run(
        [tool("query"), "-v", "sentence", str(model)], input=text, capture_output=True, text=True, check=True
    )
    totals = [float(line.split()[1]) for line in said.stdout.splitlines() if line.startswith("Total:")]
    return [10 ** (-total / (count + 1)) for total, count in zip(totals[: len(cut.texts)], cut.counts, strict=True)]


def test_a_binary_that_ends_within_its_words_is_refused_wherever_that_is(trained, tmp_path):
    whole, file = (trained / "text.binary").read_bytes(), tmp_path / "cut.binary"
    words = len(whole) - whole.rindex(b"<unk>\0")
    for cut in (1, words // 2, words - 7):
        file.write_bytes(whole[:-cut])
        with pytest.raises(ModelFileError, match="ends within its vocabulary"):
            check(File.at(file))
    file.write_bytes(whole)
    check(File.at(file))


def real_pages(shared_data, most):
    with gzip.open(shared_data / "text" / "spamassassin.jsonl.gz") as file:
        return [json.loads(line)["text"] for line, _ in zip(file, range(most), strict=False)]


@pytest.fixture
def small(texts):
    """Fifty pages that were made up, and some odd ones."""
    return PageBatch(pa.array([*TEXTS, *(page.text for pages in texts.values() for page in pages[:25])]))


def agrees_with_query(pages, asked, folder):
    """Whether the pair's perplexities are those of `query` to a millionth, and their ratio is their ratio."""
    found = asked.group("calm", folder).measure(pa.array([str(row) for row in range(len(pages))]), pages)
    cut = lines(pages, File.at(folder / "pieces.model") if asked.pieces else None)
    for column, model in (("perplexity_calm", "text"), ("perplexity_loud", "against.loud")):
        theirs = by_query(folder / f"{model}.binary", cut)
        ours = found[column].to_pylist()
        assert [one is None for one in ours] == [count == 0 for count in cut.counts]
        short = [(one, other) for one, other, count in zip(ours, theirs, cut.counts, strict=True) if 0 < count <= 10_000]
        assert short and np.allclose(*np.transpose(short), rtol=1e-6, atol=0)
    ratio = np.array(found["perplexity_calm"].to_pylist(), float) / np.array(found["perplexity_loud"].to_pylist(), float)
    assert np.array_equal(np.array(found["perplexity_ratio_calm_loud"].to_pylist(), float), ratio, equal_nan=True)


def test_small_pages_have_the_perplexity_that_query_gives(small, asked, trained):
    agrees_with_query(small, asked, trained)


def test_words_do_too(small, tools, texts, tmp_path):
    asked = Options(text=["good.jsonl"], against={"loud": ["bad.jsonl"]}, order=2, pieces=None)
    asked.train(texts, tmp_path)
    agrees_with_query(small, asked, tmp_path)


def test_a_thousand_real_pages_do_too(asked, trained, shared_data):
    agrees_with_query(PageBatch(pa.array(real_pages(shared_data, 1000))), asked, trained)


def test_training_twice_gives_the_same_bytes(asked, texts, trained, tmp_path):
    asked.train(texts, tmp_path)
    names = [file.name for file in trained.iterdir()]
    assert sorted(names) == ["against.loud.binary", "held_out.parquet", "model.json", "pieces.model", "text.binary"]
    assert all((trained / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


def test_some_pages_are_held_out_for_the_card_and_no_copy_of_them_is_trained_on(texts, tmp_path):
    pages = texts["text"] * 2
    count, held_out = training.write_lines(pages, False, tmp_path / "text")
    lines = (tmp_path / "text").read_text().splitlines()
    assert 0 < len(held_out) < 30 and count == len(lines) == len(pages) - 2 * len(held_out)
    assert not {normalised(text) for text in held_out} & set(lines)


def test_a_page_like_the_good_text_has_a_ratio_below_one(asked, trained, texts):
    signal = asked.group("calm", trained).signals[2]
    calm, loud = (
        signal.measure(PageBatch(pa.array([page.text for page in texts[key]])), {}) for key in ("text", "against.loud")
    )
    assert max(calm.to_pylist()) < 1 < min(loud.to_pylist())


def test_hostile_pages_are_finite_or_null_in_pieces_too(asked, trained, hostile):
    for signal in asked.group("calm", trained).signals:
        for one in signal.measure(PageBatch(hostile), {}).to_pylist():
            assert one is None or (np.isfinite(one) and one > 0)


def test_a_model_of_ours_from_elsewhere_scores_the_same(asked, trained, small):
    foreign = Options(model=trained / "text.binary", sentencepiece=trained / "pieces.model")
    [theirs] = [signal.measure(small, {}) for signal in foreign.group("x", trained).signals]
    assert theirs == asked.group("calm", trained).signals[0].measure(small, {})


def test_a_bad_model_is_trained_on_the_pieces_of_a_good_one_from_elsewhere(asked, trained, texts, small, tmp_path):
    good = {"model": trained / "text.binary", "sentencepiece": trained / "pieces.model"}
    mixed = Options(**good, against={"loud": ["bad.jsonl"]}, order=asked.order)
    mixed.train({"against.loud": texts["against.loud"]}, tmp_path)
    theirs, ours = asked.group("calm", trained), mixed.group("calm", tmp_path)
    assert [one.measure(small, {}) for one in ours.signals] == [one.measure(small, {}) for one in theirs.signals]


def test_a_truncated_or_swapped_model_is_refused(asked, trained, tmp_path):
    whole = (trained / "text.binary").read_bytes()
    (tmp_path / "half.binary").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match=r"half\.binary is damaged or of another version: .*size"):
        Options(model=tmp_path / "half.binary").group("x", tmp_path)
    for file in trained.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "text.binary").write_bytes((trained / "against.loud.binary").read_bytes())
    with pytest.raises(ModelFileError, match=r"text\.binary is not the file that was trained"):
        asked.group("calm", tmp_path)


def test_pieces_that_a_model_was_not_trained_on_are_refused(arpa, trained):
    with pytest.raises(ModelFileError, match=r"tiny\.arpa knows 1 of the \d+ pieces of .*pieces\.model"):
        Options(model=arpa, sentencepiece=trained / "pieces.model").group("x", trained)


def test_a_page_is_scored_by_the_model_of_its_language(arpa, trained):
    asked = Options(languages={"eng": {"model": trained / "text.binary"}, "deu": {"model": arpa}})
    pages = PageBatch(
        pa.array(["The river and the garden have been in the house.", "Das ist ein deutscher Satz über Häuser.", "12"])
    )
    found = asked.group("x", trained).signals[0].measure(pages, {}).to_pylist()
    [english] = Options(model=trained / "text.binary").group("x", trained).signals
    [german] = Options(model=arpa).group("x", trained).signals
    assert found == [english.measure(pages, {})[0].as_py(), german.measure(pages, {})[1].as_py(), None]


def held(process, file):
    """Resident and proportional kilobytes of a file's mappings in a process."""
    sizes, inside = {"Rss": 0, "Pss": 0}, False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        name, *values = line.split()
        if not name.endswith(":"):
            inside = line.rstrip().endswith(str(file))
        elif inside and name[:-1] in sizes:
            sizes[name[:-1]] += int(values[0])
    return sizes


def map_and_wait(file, connection):
    """A worker that scores once and then holds its model."""
    connection.send(load(File.at(file)).score("the river") < 0)
    connection.recv()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_hold_one_copy_of_a_model(trained, tmp_path):
    file = Path(shutil.copy(trained / "text.binary", tmp_path)).resolve()
    fork, workers = multiprocessing.get_context("fork"), []
    for _ in range(10):
        mine, theirs = fork.Pipe()
        workers.append((fork.Process(target=map_and_wait, args=(file, theirs)), mine))
        workers[-1][0].start()
    assert all(connection.recv() for _, connection in workers)
    sizes = [held(worker.pid, file) for worker, _ in workers]
    for worker, connection in workers:
        connection.send("done")
        worker.join()
    size = file.stat().st_size / 1024
    assert all(one["Rss"] > 0.9 * size for one in sizes)
    assert sum(one["Pss"] for one in sizes) < 1.1 * size
