"""Hashing-TF as a kind: what is learned from, what is written, and scores that are finite or null. Nothing starts Spark."""

import json
import pickle
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers import hashing_tf
from classifiers.bags import bags, opened, sums, write_weights
from classifiers.kinds import Page, TrainingError
from filters.pages import PageBatch

ASKED = hashing_tf.Options(positives=["good.jsonl"])


def pages(word, count):
    draw = random.Random(word)
    filler = ["and", "then", "some", "more", "\n"]
    return [Page(f"{word}-{k}", " ".join([word, *draw.choices(filler, k=12), str(k)])) for k in range(count)]


TEXTS = {"positives": pages("whale", 60), "negatives": pages("casino", 80)}


def fit(vectors, regularization):
    """A fit without Spark: a feature's weight is how much more often a positive has it."""
    assert regularization == 0.01
    rows = pq.read_table(vectors).to_pylist()
    weights = np.zeros(rows[0]["features"]["size"])
    for row in rows:
        vector = row["features"]
        weights[vector["indices"]] += (2 * row["label"] - 1) / len(rows)
    return hashing_tf.Fitted(weights * 10, 0.0)


def scores(folder, *texts):
    group = ASKED.group("gpt3", folder)
    batch = group.measure(pa.array([str(at) for at in range(len(texts))]), PageBatch(pa.array(texts, pa.large_string())))
    return batch["gpt3"].to_pylist()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "gpt3"
    return folder, ASKED.learn(TEXTS, folder, fit)


def test_it_learned_what_it_was_taught_and_says_so(trained):
    folder, line = trained
    assert "learned from" in line and "area under the curve 1.0000" in line
    whale, casino = scores(folder, "a Whale and then", "casino, CASINO then")
    assert whale > 0.9 and casino < whale


def test_words_weigh_what_the_model_learned_of_them(trained):
    found = ASKED.weigh_words("gpt3", trained[0], ["Whale", "casino", "zebra"])["gpt3"]
    assert found[0] > 0 > found[1] and found[2] == 0


def test_a_page_without_a_word_has_no_score(trained):
    assert scores(trained[0], "", None, " \n\t", "whale")[:3] == [None, None, None]


HOSTILE = [
    "whale " * 10_000_000,
    "a" * 10_000_000,
    "casino, " * 6_250_000,
    "\0" * 1000,
    "Σ" * 100_000,
    " " * 1_000_000 + "a",
]


def test_a_hostile_page_has_a_probability(trained):
    found = scores(trained[0], *HOSTILE)
    assert all(0 <= score <= 1 for score in found)
    assert found[0] == 1


def test_bytes_that_are_no_text_have_a_probability(trained):
    odd = pa.array([b"whale \xed\xa0\x80 \xff", b"\xc3"], pa.large_binary()).view(pa.large_string())
    [first, second] = ASKED.group("gpt3", trained[0]).signals[0].measure(PageBatch(odd), {}).to_pylist()
    assert 0 <= first <= 1 and 0 <= second <= 1


def test_a_lone_surrogate_does_not_lose_the_batch(tmp_path):
    odd = {**TEXTS, "positives": [*TEXTS["positives"], Page("odd", "whale \ud800")]}
    ASKED.learn(odd, tmp_path / "gpt3", fit)
    assert json.loads((tmp_path / "gpt3" / "model.json").read_text())["pages"]["positives"]["read"] == 61


def test_the_same_pages_in_another_order_give_the_same_bytes(trained, tmp_path):
    ASKED.learn({key: some[::-1] for key, some in TEXTS.items()}, tmp_path / "again", fit)
    for name in ("model.safetensors", "model.json"):
        assert (tmp_path / "again" / name).read_bytes() == (trained[0] / name).read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["again"]


@pytest.mark.parametrize(
    ("key", "some"), [("positives", []), ("negatives", [Page("a", " ")] * 99), ("positives", pages("a", 5))]
)
def test_too_few_pages_of_a_class_are_an_error_that_names_it(tmp_path, key, some):
    with pytest.raises(TrainingError, match=f"among the {key}, at least 20"):
        ASKED.learn({**TEXTS, key: some}, tmp_path / "none", fit)


def test_what_a_worker_is_sent_is_plain_data_and_small(trained):
    assert len(pickle.dumps(ASKED.group("gpt3", trained[0]).signals[0].function)) < 1000


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda path: None, "is missing: run jobs.train_classifier first"),
        (lambda path: path.write_bytes(b"\x08\0\0"), "no safetensors file, or damaged"),
        (lambda path: write_weights(path, np.zeros(10), 0.0), "it is another kind of model"),
        (lambda path: write_weights(path, np.full(1 << 18, np.nan), 0.0), "no finite numbers"),
    ],
)
def test_a_file_that_is_no_such_model_is_refused(tmp_path, write, says):
    write(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=says):
        ASKED.group("gpt3", tmp_path)


def test_a_truncated_model_is_refused(trained, tmp_path):
    whole = (trained[0] / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="damaged"):
        ASKED.group("gpt3", tmp_path)


def test_a_model_that_changes_under_a_job_stops_it(trained, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes((trained[0] / "model.safetensors").read_bytes())
    score = ASKED.group("gpt3", tmp_path).signals[0].function
    write_weights(path, np.zeros(1 << 18), 0.0)
    with pytest.raises(ValueError, match="it was changed while the job ran"):
        score(PageBatch(pa.array(["whale"])))


def test_a_bag_counts_the_terms_of_its_page():
    found = bags(np.array([7, 3, 7, 7, 3, 1], np.int32), np.array([0, 4, 4, 6]), 8)
    assert found[1] == b""
    assert [[part.tolist() for part in opened(bag)] for bag in (found[0], found[2])] == [[[3, 7], [1, 3]], [[1, 3], [1, 1]]]


def test_the_sum_of_no_weights_is_not_a_number():
    found = sums(np.array([1.0, 2.0]), np.array([0, 1, 1], np.int32), np.array([0, 0, 3, 3]))
    assert np.isnan(found[[0, 2]]).all() and found[1] == 5
