"""Hashing-TF beside Spark's own Tokenizer, HashingTF and LogisticRegression: the same vectors, fits and probabilities."""

import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from fastwarc.warc import ArchiveIterator, WarcRecordType
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import HashingTF, Tokenizer

from classifiers import hashing_tf, topic
from classifiers.bags import opened, read_weights
from classifiers.examples import Sampling, sample
from filters.pages import PageBatch
from jobs import score, train_classifier
from jobs.parts import k_means, storage
from jobs.parts.experiment_file import load
from jobs.parts.places import Places
from jobs.parts.sample import training_texts
from jobs.parts.session import session

pytestmark = pytest.mark.spark
ODD = ["ΟΔΟΣ ΑΣ-Α Σ", "İstanbul IĞDIR ıslak", "  two  blanks\t\n\x0b\x0c\r end \n", "a\x1cb\x85c\u2028d\xa0e",
       "ẞ ǅ K Ⱥ 😀 𐐀", "字 カー ÄÖÜ", "whale\0whale", "\ufffd\ud7ff", "A" * 70_000, " lead", "x  "]  # fmt: skip


def made_texts():
    """Fifty pages of our own, good ones and others by turns, with what makes tokenizers differ."""
    draw = random.Random(0)
    words = ("the river and a stone garden".split(), "Casino WIN now \n  offer buy".split(" "))
    texts = [" ".join([words[at % 2][0], *draw.choices(words[at % 2], k=draw.randint(1, 40))]) for at in range(50)]
    return [f"{text} {ODD[at % len(ODD)]}" for at, text in enumerate(texts)]


def rows(texts, labels):
    return session("test").createDataFrame(pa.table({"text": texts, "label": labels})).coalesce(1)


def fitted(texts, labels, **how):
    """The pipeline of the original, fitted on texts."""
    session("test")
    regression = LogisticRegression(regParam=0.01, **how)
    steps = [Tokenizer(inputCol="text", outputCol="words"), HashingTF(inputCol="words", outputCol="features"), regression]
    return Pipeline(stages=steps).fit(rows(texts, labels))


@pytest.fixture(scope="module")
def original():
    return fitted(made_texts(), [float(at % 2 == 0) for at in range(50)], maxIter=5)


def differences(original, texts):
    """How many pages have another vector than Spark's, and the largest difference in probability."""
    said = original.transform(rows(texts, [0.0] * len(texts))).select("features", "probability").collect()
    pages, regression = PageBatch(pa.array(texts, pa.large_string())), original.stages[-1]
    bags = [opened(bag) for bag in hashing_tf.term_bags(pages)]
    other = [
        text
        for text, row, (places, counts) in zip(texts, said, bags, strict=True)
        if row["features"].indices.tolist() != places.tolist() or row["features"].values.tolist() != counts.tolist()
    ]
    model = hashing_tf.Fitted(regression.coefficients.toArray(), regression.intercept)
    ours = hashing_tf.probability(model, *hashing_tf.terms(pages))
    return len(other), float(np.abs(ours - [row["probability"][1] for row in said]).max())


def test_vectors_and_probabilities_are_sparks(original):
    different, furthest = differences(original, made_texts() + [text for text in ODD if text.strip()])
    assert different == 0 and furthest < 1e-12


def test_vectors_and_probabilities_of_real_pages_are_sparks(original, shared_data):
    texts = []
    for file in sorted((shared_data / "crawl").glob("*.wet.gz")):
        with file.open("rb") as shard:
            records = ArchiveIterator(shard, record_types=WarcRecordType.conversion)
            texts += [record.reader.read().decode("utf-8", "replace") for record in records]
    texts = [text for text in texts if text.strip()][:1200]
    different, furthest = differences(original, texts)
    assert len(texts) >= 1000 and different == 0 and furthest < 1e-9


@pytest.fixture
def experiment(tmp_path):
    """An experiment whose classifier learns the made-up pages, held-out ones apart."""
    for name, texts in (("good", made_texts()[::2]), ("other", made_texts()[1::2])):
        lines = [json.dumps({"id": f"{name}-{at}", "text": text}) for at, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    kind = {"positives": [str(tmp_path / "good.jsonl")], "negatives": [str(tmp_path / "other.jsonl")]}
    (tmp_path / "experiment.yaml").write_text(
        yaml.safe_dump(
            {
                "out": str(tmp_path / "out"),
                "pages": {"from": ["crawl/*.warc.gz"]},
                "classifiers": {"gpt3": {"hashing_tf": kind}},
                "signals": {"gpt3": {}},
            }
        )
    )
    return load(tmp_path / "experiment.yaml")


def test_training_gives_sparks_weights_and_the_same_bytes_again(experiment, tmp_path):
    folder = Places(experiment.out).classifier("gpt3")
    assert train_classifier.main(experiment) == 0
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    storage.remove_folder(folder)
    assert train_classifier.main(experiment) == 0
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files
    assert sorted(files) == ["held_out.parquet", "kind.json", "model.json", "model.safetensors"]

    texts = {key: list(pages) for key, pages in training_texts(experiment, "gpt3").items()}
    read = [page.text for pages in texts.values() for page in pages]
    by_bag = dict(zip(hashing_tf.term_bags(PageBatch(pa.array(read, pa.large_string()))), read, strict=True))
    classes = {True: ("positives", texts["positives"]), False: ("negatives", texts["negatives"])}
    with (tmp_path / "spool").open("w+b") as spool:
        shown = sample(classes, hashing_tf.term_bags, Sampling(100_000, 20, 0.1), 0, spool)
        original = fitted(
            [by_bag[shown.content(one)] for one in shown.training], [float(one.positive) for one in shown.training]
        )
    weights, intercept, _ = read_weights(folder / "model.safetensors", hashing_tf.FEATURES)
    assert np.abs(weights - original.stages[-1].coefficients.toArray()).max() < 1e-6
    assert intercept == pytest.approx(original.stages[-1].intercept, abs=1e-6)

    asked = PageBatch(pa.array(["the river and a stone", "casino win"]))
    good, other = score.groups(experiment)["gpt3"].measure(pa.array(["a", "b"]), asked)["gpt3"].to_pylist()
    assert good > 0.5 > other


def test_topics_are_the_same_from_one_file_or_several_with_their_rows_mixed(tmp_path):
    draw = np.random.default_rng(0)
    lines = draw.normal(size=(3, 16)).repeat(60, axis=0) + draw.normal(scale=0.3, size=(180, 16))
    vectors = [{"place": at, "features": {"type": 1, "values": line}} for at, line in enumerate(lines)]
    for name, files in (("one", 1), ("several", 4)):
        (tmp_path / name).mkdir()
        mixed = draw.permutation(180)
        for at, rows in enumerate(np.array_split(mixed if files > 1 else np.arange(180), files)):
            table = pa.Table.from_pylist([vectors[row] for row in rows], topic.VECTORS)
            pq.write_table(table, tmp_path / name / f"{at}.parquet")
    one, several = (k_means.fit(tmp_path / name, 3, 0) for name in ("one", "several"))
    assert one.tobytes() == several.tobytes() and one.shape == (3, 16)
    nearest = (lines @ (one / np.linalg.norm(one, axis=1, keepdims=True)).T).argmax(axis=1)
    assert sorted(len(set(nearest[at : at + 60])) for at in (0, 60, 120)) == [1, 1, 1] and len(set(nearest)) == 3
