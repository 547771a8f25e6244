"""docs/python.md runs as written, and measures and keeps what the jobs do."""

import doctest
import json
from pathlib import Path

import pyarrow as pa
import pytest

import classifiers
import filters
from classifiers.fasttext.kind import Options
from classifiers.kinds import Page
from filters.pages import PageBatch
from filters.rules import RuleError
from filters.signals import configure, load_groups

REPOSITORY = Path(__file__).resolve().parents[1]
TEXTS = ["The river and the stone have been of the bridge. " * at for at in range(9000 // 100)]


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A folder to run in, in which out/demo has a trained classifier."""
    folder = tmp_path / "out" / "demo" / "models" / "quality"
    folder.mkdir(parents=True)
    asked = {"preset": "gao_small", "positives": ["good.jsonl"]}
    texts = {key: [Page(f"{key}-{at}", f"{key} text {at}") for at in range(40)] for key in ("positives", "negatives")}
    Options.model_validate(asked).train(texts, folder)
    (folder / "kind.json").write_text(json.dumps({"fasttext": asked}))
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_page_runs_as_written(trained):
    failed, tried = doctest.testfile(str(REPOSITORY / "docs" / "python.md"), module_relative=False)
    assert failed == 0 and tried > 10


def test_the_columns_are_those_of_the_group_however_texts_are_given():
    group = configure("gopher", {}, load_groups("filters"))
    expected = group.measure(pa.array(["id"] * len(TEXTS)), PageBatch(pa.array(TEXTS))).drop_columns(["id"])
    chunks = pa.chunked_array([pa.array(TEXTS[:7]), pa.array(TEXTS[7:], pa.string())])
    for texts in (TEXTS, pa.array(TEXTS), chunks):
        assert filters.measure(texts, "gopher").combine_chunks().to_batches()[0].equals(expected)


def test_batches_leave_no_seam(monkeypatch):
    whole = filters.measure(TEXTS, ["gopher", "repetition"])
    monkeypatch.setattr("filters.texts.BATCH_PAGES", 7)
    assert filters.measure(TEXTS, ["gopher", "repetition"]).equals(whole)


def test_no_text_gives_the_columns_without_rows():
    table = filters.measure([], ["gopher"])
    assert table.num_rows == 0 and "word_count" in table.column_names and len(filters.keep(table, "gopher")) == 0


def test_noisy_cuts_are_drawn_by_id_and_are_nested():
    table = pa.table({"id": [str(at) for at in range(500)], "quality": [at / 500 for at in range(500)]})
    mild, hard = (filters.keep(table, {"quality": {"pareto": strength}}).to_pylist() for strength in (1, 9))
    assert all(m or not h for m, h in zip(mild, hard, strict=True)) and sum(hard) < sum(mild) < 500
    backwards = filters.keep(table.take(list(range(499, -1, -1))), {"quality": {"pareto": 9}})
    assert backwards.to_pylist() == hard[::-1]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: filters.measure(["a"], ["gophr"]), "did you mean 'gopher'"),
        (lambda: filters.keep(pa.table({"word_count": [1]}), "gophr"), "did you mean 'gopher'"),
        (lambda: filters.keep(pa.table({"word_count": [1]}), {"wordcount": {"min": 1}}), "did you mean 'word_count'"),
        (lambda: filters.keep(pa.table({"word_count": [1]}), {"word_count": {"pareto": 1}}), "takes a score"),
        (lambda: classifiers.score(["a"], "nowhere"), "name the folder of a model"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(call, says):
    with pytest.raises((ValueError, RuleError), match=says):
        call()
