"""A trained classifier says where both sides are from, and what its signals say of pages it was not trained on."""

import json
import random

import pyarrow.parquet as pq
import pytest

from classifiers.examples import HELD_OUT
from classifiers.kinds import CARD
from eval.report.scorers import read_scorers
from jobs import train_classifier
from jobs.parts.experiment_file import Experiment
from jobs.parts.overlap import scorers
from jobs.parts.places import Places

WORDS = {"target": ["river", "stone", "whale"], "raw": ["casino", "bonus", "offer"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of importance weights that are trained from two files of made-up pages."""
    out, draw = tmp_path_factory.mktemp("out"), random.Random(0)
    for side, words in WORDS.items():
        lines = [" ".join(draw.choices([*words, "and", "then"], k=draw.randint(5, 60))) for _ in range(300)]
        rows = [json.dumps({"id": f"{side}-{at}", "text": line}) for at, line in enumerate(lines)]
        (out / f"{side}.jsonl").write_text("\n".join(rows) + "\n")
    files = {side: [str(out / f"{side}.jsonl")] for side in WORDS}
    for left in ("models/books/.model.bin.x1", "models/.books.x2", "models/books2"):  # as a killed training leaves them
        (out / left).mkdir(parents=True)
    tree = {"pages": {"from": ["a.warc.gz"]}, "out": out, "classifiers": {"books": {"importance": files}}}
    assert train_classifier.main(Experiment.model_validate(tree)) == 0
    return Places(out).classifier("books")


def test_the_card_says_where_both_sides_are_from(trained):
    told = json.loads((trained / CARD).read_text())
    assert told["kind"] == "importance"
    for side in WORDS:
        assert told["sources"][side]["files"] == 1 and told["sources"][side]["from"][0].endswith(f"{side}.jsonl")
    hashes = [told["sources"]["target"]["hash"], told["sources"]["raw"]["hash"], *told["trained_on_hash"].values()]
    assert len(set(hashes)) == 4


def test_the_card_is_measured_on_the_pages_that_are_held_out(trained):
    told = json.loads((trained / CARD).read_text())["columns"]["importance_books"]
    held_out = pq.read_table(trained / HELD_OUT)
    assert told["judged_on"] == held_out["side"].to_pylist().count("raw") > 10
    assert told["area_under_curve"] > 0.99
    assert {word for word, _ in told["telling"]["highest"][:3]} == set(WORDS["target"])
    assert {word for word, _ in told["telling"]["lowest"][:3]} == set(WORDS["raw"])


def test_nothing_of_a_killed_training_is_left(trained):
    assert not [file for file in trained.iterdir() if file.name.startswith(".")]
    assert sorted(file.name for file in trained.parent.iterdir()) == [".books.made_by.json", "books", "books2"]


def test_the_report_can_read_it(trained):
    missing = []
    [card] = read_scorers({"books": trained / CARD}, trained / "nowhere.json", missing).cards
    assert missing == [] and card.columns[0].name == "importance_books" and [side.name for side in card.sides] == [*WORDS]


def test_what_is_learned_from_the_pool_alone_needs_no_files(monkeypatch):
    tree = {"pages": {"from": ["a.warc.gz"]}, "classifiers": {"topic": {"topic": {}}}}
    [one] = Experiment.model_validate(tree).classifiers.values()
    monkeypatch.setattr(train_classifier, "pool_identity", lambda _: ["the pool"])
    told = train_classifier._config(Experiment.model_validate(tree), one.options)
    assert told["files"] == [] and told["pages"] == ["the pool"]


def test_a_signal_that_names_groups_is_no_scorer_to_compare():
    tree = {
        "pages": {"from": ["a.warc.gz"]},
        "classifiers": {"topic": {"topic": {}}, "rewarded": {"preference": {}}},
        "signals": {"topic": {}, "rewarded": {}},
    }
    assert scorers(Experiment.model_validate(tree)) == {"rewarded": False}
