"""score, in this process instead of Spark's: a crawl that grows is scored where it grew, by what is used as it is."""

import json
import shutil
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from classifiers.fasttext.kind import read_preset
from classifiers.fasttext.training import train
from classifiers.kinds import Page
from eval.tokenizer import encode_batch, load_tokenizer, train_tokenizer
from filters.signals import Signal
from jobs import experiment as all_verbs
from jobs import read, score, split
from jobs import train_tokenizer as tokenizer_job
from jobs.parts.checks import check
from jobs.parts.experiment_file import load
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import finished

TABLES = ("pages", "split", "signals/size", "signals/gopher", "signals/edu", "signals/tokens", "token_ids")


@pytest.fixture
def crawl(made_crawl, tmp_path):
    """A folder that shards are added to, and the experiment on it with these further sections."""
    folder = tmp_path / "crawl"
    folder.mkdir()

    def grow(*shards):
        for shard in shards:
            shutil.copy(made_crawl / f"made-{shard}.warc.gz", folder)

    def asked(**more):
        tree = {"pages": {"from": [str(folder / "*.warc.gz")]}, "out": str(tmp_path / "out"), "signals": {"gopher": {}}}
        (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(tree | more))
        return load(tmp_path / "experiment.yaml")

    return SimpleNamespace(grow=grow, asked=asked)


@pytest.fixture
def frozen(tmp_path):
    """A tokenizer from elsewhere."""
    train_tokenizer(["the river and a stone"] * 3, 270, tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    """A fastText model from elsewhere."""
    texts = {word: [Page(f"{word}-{at}", f"{word} text {at}") for at in range(40)] for word in ("river", "candle")}
    made, moved = (tmp_path_factory.mktemp("fasttext") / name for name in ("made.bin", "edu.bin"))
    train(texts["river"], texts["candle"], made, 0, read_preset("gao_small"))
    return made.rename(moved)


def test_a_list_that_cannot_be_opened_is_a_sentence_before_anything_is_read(crawl, monkeypatch):
    """A signal of someone's own that opens its file without a thought for its absence."""

    def listed(pages, *, words: str):
        return np.full(len(pages), len(Path(words).read_text()))

    mine = {"mine": {"listed": Signal("listed", listed, pa.int64())}}
    monkeypatch.setattr(score, "load_groups", lambda *_: mine)
    crawl.grow(0)
    experiment = crawl.asked(signals={"mine": {"words": "lists/nowhere.txt"}})
    with pytest.raises(ExperimentError, match=r"^signals.mine: lists/nowhere.txt: No such file or directory$"):
        all_verbs.check(experiment)
    assert not experiment.out.exists()


def run(experiment):
    for verb in (read.main, split.main, tokenizer_job.main, score.main):
        assert verb(experiment) == 0


def written(out):
    return {file: file.stat().st_mtime_ns for table in TABLES for file in (out / table).glob("*.parquet")}


def test_a_crawl_that_grows_by_a_shard_is_scored_there_alone(crawl, frozen, foreign, tasks):
    crawl.grow(0, 1)
    experiment = crawl.asked(
        tokenizer={"path": str(frozen)},
        classifiers={"edu": {"fasttext": {"model": str(foreign), "label": "__label__positive"}}},
        signals={"gopher": {}, "edu": {}},
    )
    run(experiment)
    before = written(experiment.out)
    assert len(before) == 2 * len(TABLES)
    tasks.clear()

    crawl.grow(2)
    run(experiment)
    after = written(experiment.out)
    assert tasks == ["made-2.warc.gz"] * 3  # read it, split it, score it
    assert {file: after[file] for file in before} == before
    assert {file.name for file in after.keys() - before.keys()} == {"made-2.warc.gz.parquet"}
    for table in TABLES:
        assert finished(experiment.out / table)["rows"] == 3 * 120


def test_pages_are_encoded_by_the_frozen_tokenizer_and_no_other(crawl, frozen, tasks):
    crawl.grow(0)
    experiment = crawl.asked(tokenizer={"path": str(frozen)})
    run(experiment)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (experiment.out / "models" / "tokenizer" / name).read_bytes() == (frozen / name).read_bytes()
    texts = pq.read_table(experiment.out / "pages", columns=["text"])["text"].to_pylist()
    ids, offsets = encode_batch(load_tokenizer(frozen), texts)
    assert pq.read_table(experiment.out / "token_ids")["tokens"].to_pylist() == [
        ids[begin:end].tolist() for begin, end in pairwise(offsets)
    ]


def test_a_tokenizer_trained_on_these_pages_is_not_that_of_a_crawl_that_grew(crawl, tasks):
    crawl.grow(0)
    experiment = crawl.asked(tokenizer={"vocabulary": 300})
    run(experiment)
    crawl.grow(1)
    read.main(experiment)
    split.main(experiment)
    with pytest.raises(ExperimentError, match="tokenizer was made by another configuration"):
        tokenizer_job.main(experiment)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "is not a readable tokenizer"),
        (lambda folder: rename_mark(folder / "tokenizer.json"), r"has no <\|endoftext\|> token"),
        (lambda folder: (folder / "tokenizer_config.json").unlink(), "there is no tokenizer_config.json in"),
    ],
)
def test_a_folder_that_is_no_tokenizer_is_refused_before_the_first_task(crawl, frozen, tasks, change, says):
    crawl.grow(0)
    change(frozen)
    with pytest.raises(ExperimentError, match=says):
        all_verbs.main(crawl.asked(tokenizer={"path": str(frozen)}))
    assert not tasks


def rename_mark(file):
    tree = json.loads(file.read_text())
    tree["added_tokens"][0]["content"] = "<end>"
    tree["model"]["vocab"]["<end>"] = tree["model"]["vocab"].pop("<|endoftext|>")
    file.write_text(json.dumps(tree))


def test_a_derived_signal_is_made_of_the_ranks_of_others(crawl, foreign, tasks):
    crawl.grow(0, 1)
    experiment = crawl.asked(
        classifiers={
            "edu": {"fasttext": {"model": str(foreign), "label": "__label__positive"}},
            "both": {"ensemble": {"of": ["edu", "word_count"], "by": "min_rank"}},
        },
        signals={"gopher": {}, "edu": {}, "both": {}},
    )
    for verb in (read.main, split.main, score.main):
        assert verb(experiment) == 0
    columns = {}
    for table in ("edu", "gopher", "both"):
        rows = pq.read_table(experiment.out / "signals" / table)
        columns |= {name: rows[name].to_numpy() for name in rows.column_names if name != "id"}
    free = ~pq.read_table(experiment.out / "split")["held_out"].to_numpy()
    ranks = [
        (
            (columns[name][free][None, :] < columns[name][:, None]).mean(axis=1)
            + (columns[name][free][None, :] <= columns[name][:, None]).mean(axis=1)
        )
        / 2
        for name in ("edu", "word_count")
    ]
    assert np.abs(columns["both"] - np.minimum(*ranks)).max() < 0.02
    tasks.clear()
    assert score.main(experiment) == 0 and not tasks


def test_what_an_ensemble_is_made_of_must_be_a_number_measured_before_it(crawl):
    for of in (["word_count", "qualty"], ["word_count", "language"], ["word_count", "both"]):
        with pytest.raises(ExperimentError, match="is no number that is measured before it"):
            check(
                crawl.asked(
                    classifiers={"both": {"ensemble": {"of": of}}}, signals={"gopher": {}, "language": {}, "both": {}}
                )
            )
