"""Topics as a kind: the nearest centre as a plain loop finds it, and null where a page has nothing to go by; no Spark."""

import json
import math
import pickle
import random
import re
import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoTokenizer, BertModel

from classifiers import topic
from classifiers.bags import write_tensors
from classifiers.kinds import Page, TrainingError
from classifiers.transformer import one_thread
from eval.report.scorers import read_scorers
from filters.pages import PageBatch

made_up = runpy.run_path(str(Path(__file__).parent / "made_up_models.py"))
WORDS = {"sea": "whale ship sailor harbour storm".split(), "kitchen": "butter flour oven spoon recipe".split()}
ASKED = topic.Options(clusters=2, most_pages=200)


def made(count=160):
    draw = random.Random(0)
    subjects = [*WORDS] * (count // 2)
    common = "the and of a ,".split()
    texts = [
        f"About the {subject} {at}\n" + " ".join(draw.choices([*WORDS[subject], *common], k=30))
        for at, subject in enumerate(subjects)
    ]
    return [Page(f"page-{at}", text) for at, text in enumerate(texts)]


def values(row):
    """A vector of a file as an array."""
    if row["type"] == 1:
        return np.array(row["values"])
    vector = np.zeros(row["size"])
    vector[row["indices"]] = row["values"]
    return vector


def fit(vectors, clusters, seed):
    """Spherical k-means without Spark, from the first two vectors that have nothing to do with each other."""
    found = np.array([values(row["features"]) for row in pq.read_table(vectors).to_pylist()])
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    centres = found[[0, int((found @ found[0]).argmin())]]
    for _ in range(5):
        nearest = (found @ centres.T).argmax(axis=1)
        centres = np.array([found[nearest == at].mean(axis=0) for at in range(clusters)])
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    return centres * 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "topic"
    return folder, ASKED.learn({"text": made()}, folder, fit)


def topics(folder, *texts, asked=ASKED):
    batch = PageBatch(pa.array(texts, pa.large_string()))
    return asked.group("topic", folder).measure(pa.array([str(at) for at in range(len(texts))]), batch)["topic"].to_pylist()


def test_pages_of_one_subject_are_in_one_cluster_and_those_of_another_in_the_other(trained):
    folder, line = trained
    assert "found 2 clusters of" in line and "to the nearest centre 0." in line
    found = topics(folder, "a ship, a WHALE", "The sailor of the harbour", "flour and butter", "an oven, a spoon")
    assert found[0] == found[1] != found[2] == found[3] and set(found) == {0, 1}


def test_the_cosine_is_that_of_a_plain_loop_over_words(trained):
    centres, _ = topic.read_centres(trained[0] / topic.MODEL)
    texts = [page.text for page in made()[:30]] + ["Whale whale WHALE, ship! flour_9 zebra"]
    ours = topic.cosines(PageBatch(pa.array(texts, pa.large_string())), centres, None)
    for text, row in zip(texts, ours, strict=True):
        counts = Counter(re.findall(r"\w+|[^\w\s]+", text.lower()))
        vector = np.zeros(topic.PLACES)
        for word, count in counts.items():
            [place], _ = topic.words_of(PageBatch(pa.array([word], pa.large_string())))
            vector[place] += count
        vector = (np.sqrt(vector) * centres.weights)[centres.weights > 0]
        plain = [sum(vector * one) / math.sqrt(sum(vector**2) * sum(one**2)) for one in centres.directions]
        assert row == pytest.approx(plain, abs=1e-5)


def test_words_weigh_by_how_few_pages_have_them(trained):
    centres, _ = topic.read_centres(trained[0] / topic.MODEL)
    both, first = topic.words_of(PageBatch(pa.array(["about the whale zebra"])))
    assert first.tolist() == [0, 4]
    about, the, whale, zebra = centres.weights[both]
    assert about == the == zebra == 0 < whale


def test_the_card_tells_of_each_cluster_and_the_report_can_read_it(trained):
    told = json.loads((trained[0] / "model.json").read_text())
    assert sum(cluster["pages"] for cluster in told["topics"]) == told["trained_on"]["text"] > 100
    assert 0 < told["held_out"]["mean_cosine_to_next"] < told["held_out"]["mean_cosine"] < 1
    by_words = {subject: next(one for one in told["topics"] if set(one["words"]) & set(WORDS[subject])) for subject in WORDS}
    for subject, cluster in by_words.items():
        other = WORDS["kitchen" if subject == "sea" else "sea"]
        assert set(cluster["words"][:5]) == set(WORDS[subject]) and not set(cluster["words"]) & set(other)
        assert len(cluster["titles"]) == 5 and all(title.startswith(f"About the {subject}") for title in cluster["titles"])
    missing = []
    [card] = read_scorers({"topic": trained[0] / "model.json"}, trained[0] / "nowhere.json", missing).cards
    assert missing == [] and [list(cluster.words) for cluster in card.topics] == [one["words"] for one in told["topics"]]


def test_a_page_without_a_known_word_has_no_topic(trained):
    assert topics(trained[0], "", None, " \n\t", "zebra", "the", "whale")[:5] == [None] * 5


def test_a_huge_or_hostile_page_has_a_topic_or_none(trained):
    sea, *others = topics(trained[0], "whale " * 2_000_000, "a" * 10_000_000, "\0" * 1000, "Σ" * 100_000, "whale \ufffd")
    assert others == [None, None, None, sea] and sea in (0, 1)


def test_the_same_pages_in_another_order_give_the_same_bytes(trained, tmp_path):
    ASKED.learn({"text": made()[::-1]}, tmp_path / "again", fit)
    for name in ("model.safetensors", "model.json"):
        assert (tmp_path / "again" / name).read_bytes() == (trained[0] / name).read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["again"]


@pytest.mark.parametrize(
    ("pages", "says"),
    [
        ([], "0 pages with words among the text, at least 20"),
        (made()[:10], "at least 20"),
        ([Page(str(at), "one and the same") for at in range(40)], "pages that differ are needed"),
    ],
)
def test_pages_that_have_no_topics_are_a_sentence(tmp_path, pages, says):
    with pytest.raises(TrainingError, match=says):
        ASKED.learn({"text": pages}, tmp_path / "none", fit)


def test_what_a_worker_is_sent_is_plain_data_and_small(trained):
    assert len(pickle.dumps(ASKED.group("topic", trained[0]).signals[0].function)) < 1000


def test_another_models_file_is_refused_and_so_is_one_that_changes_under_a_job(trained, tmp_path):
    with pytest.raises(ValueError, match=r"is missing: run jobs\.train_classifier first"):
        ASKED.group("topic", tmp_path)
    (tmp_path / topic.MODEL).write_bytes((trained[0] / topic.MODEL).read_bytes())
    nearest = ASKED.group("topic", tmp_path).signals[0].function
    write_tensors(tmp_path / topic.MODEL, {"directions": np.ones((2, 3)), "weights": np.ones(3)})
    with pytest.raises(ValueError, match="it was changed while the job ran"):
        nearest(PageBatch(pa.array(["whale"])))
    write_tensors(tmp_path / topic.MODEL, {"directions": np.ones((2, 3)), "weights": np.ones(4)})
    with pytest.raises(ValueError, match="vectors of another width than weights"):
        ASKED.group("topic", tmp_path)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """Options with a tiny encoder, and the folder of what was found with it."""
    encoder = made_up["write_model"](tmp_path_factory.mktemp("encoder"), BertModel)
    asked = topic.Options(clusters=2, most_pages=200, encoder=encoder, tokens=32)
    folder = tmp_path_factory.mktemp("models") / "topic"
    draw = random.Random(1)
    texts = [" ".join(draw.choices(made_up["WORDS"], k=20)) for _ in range(60)]
    with one_thread():
        asked.learn({"text": [Page(str(at), text) for at, text in enumerate(texts)]}, folder, fit)
    return asked, folder


def test_by_an_encoder_the_nearest_centre_is_that_of_a_plain_loop(encoded):
    asked, folder = encoded
    centres, _ = topic.read_centres(folder / topic.MODEL)
    texts = ["the whale and the sea", "click casino bonus " * 40, "some then"]
    tokenizer, model = AutoTokenizer.from_pretrained(asked.encoder), BertModel.from_pretrained(asked.encoder).eval()
    plain = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=32, return_tensors="pt")
        with torch.inference_mode():
            mean = model(**inputs).last_hidden_state[0].mean(0).double().numpy()
        plain.append(centres.directions @ mean / np.linalg.norm(mean))
    encoder = asked.group("topic", folder).signals[0].function.encoder
    assert topic.cosines(PageBatch(pa.array(texts)), centres, encoder) == pytest.approx(np.array(plain), abs=1e-5)
    assert topics(folder, *texts, "", " \n", None, asked=asked) == [*np.argmax(plain, axis=1), None, None, None]


def test_centres_of_words_and_of_encoders_do_not_pass_for_each_other(trained, encoded):
    with pytest.raises(ValueError, match="of an encoder's vectors, not of words"):
        ASKED.group("topic", encoded[1])
    with pytest.raises(ValueError, match="of another width than the encoder's"):
        encoded[0].group("topic", trained[0])


def test_an_encoder_that_cannot_read_so_much_is_refused_before_anything_is_read(encoded):
    asked = encoded[0].model_copy(update={"tokens": 65})
    with pytest.raises(ValueError, match="tokens is 65, but the model"):
        asked.look_into_models()


def test_options_of_an_encoder_without_one_are_refused():
    with pytest.raises(ValueError, match="tokens belongs to an encoder, and none is named"):
        topic.Options(tokens=64)
