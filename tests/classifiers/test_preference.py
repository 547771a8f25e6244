"""Preference as a kind: Newton's method against a dense twin, scores against a plain loop, pairs that are none refused."""

import itertools
import json
import pickle
import random
import re
import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, BertModel

from classifiers import preference
from classifiers.bags import write_tensors
from classifiers.bradley_terry import bradley_terry, calibrated, dense
from classifiers.examples import HELD_OUT
from classifiers.kinds import Page, TrainingError
from classifiers.revisions import BOILERPLATE, REVISIONS, revised
from classifiers.transformer import one_thread
from filters.pages import PageBatch

ASKED = preference.Options(most_pages=200, revisions=["boilerplate", "dropped", "headlines"])
WORDS = "the whale and a ship on the sea in a storm by night".split()


def sentences(draw, count):
    return " ".join(" ".join(draw.choices(WORDS, k=draw.randint(5, 14))).capitalize() + "." for _ in range(count))


def made(count=60):
    draw = random.Random(0)
    return [Page(f"page-{at}", f"{sentences(draw, 6)}\n{sentences(draw, 6)}") for at in range(count)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "rewarded"
    return folder, ASKED.train({"text": made()}, folder)


def scores(folder, *texts, asked=ASKED):
    batch = PageBatch(pa.array(texts, pa.large_string()))
    return (
        asked.group("rewarded", folder)
        .measure(pa.array([str(at) for at in range(len(texts))]), batch)["rewarded"]
        .to_pylist()
    )


def newton(differences, regularization):
    """Logistic regression without intercept on differences of pairs, by dense Newton steps."""
    weights = np.zeros(differences.shape[1])
    for _ in range(50):
        said = 1 / (1 + np.exp(-differences @ weights))
        gradient = differences.T @ (said - 1) / len(differences) + regularization * weights
        curved = differences.T * (said * (1 - said)) @ differences / len(differences) + regularization * np.eye(len(weights))
        weights = weights - np.linalg.solve(curved, gradient)
    return weights


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), pairs=st.integers(1, 40))
def test_the_weights_are_those_of_a_regression_on_differences(seed, pairs):
    draw = np.random.default_rng(seed)
    vectors = draw.normal(size=(2 * pairs, 4))
    better, worse = np.arange(pairs), np.arange(pairs, 2 * pairs)
    found = bradley_terry(dense(vectors), better, worse, 0.1)
    assert found == pytest.approx(newton(vectors[better] - vectors[worse], 0.1), abs=1e-5)


def test_n_grams_of_texts_as_a_matrix_are_their_shares_from_either_side():
    texts = ["the whale the ship", "a storm, a STORM"]
    (rows, seen), draw = preference.shares(texts), np.random.default_rng(0)
    weights, sides = np.zeros(preference.PLACES), draw.normal(size=2)
    weights[seen] = draw.normal(size=rows.width)
    batch = PageBatch(pa.array(texts, pa.large_string()))
    assert rows.times(weights[seen]) == pytest.approx(preference.margins(batch, weights, None))
    assert rows.transposed_times(sides) @ weights[seen] == pytest.approx(sides @ rows.times(weights[seen]))


def test_the_score_is_that_of_a_plain_loop_over_n_grams(trained):
    weights, (slope, intercept), _ = preference.read_weights(trained[0] / preference.MODEL)
    texts = [page.text for page in made()[:20]] + ["Whale!", "zebra_1 quagga"]
    plain = []
    for text in texts:
        words = re.findall(r"\w+|[^\w\s]+", text.lower())
        places = [one_place(word) for word in words] + [pair_place(*pair) for pair in itertools.pairwise(words)]
        margin = sum(count * weights[place] for place, count in Counter(places).items()) / len(places)
        plain.append(1 / (1 + np.exp(-(slope * margin + intercept))))
    assert scores(trained[0], *texts) == pytest.approx(plain, abs=1e-5)


def one_place(word):
    return preference.page_ngrams(PageBatch(pa.array([word], pa.large_string())))[0][0]


def pair_place(first, second):
    return preference.page_ngrams(PageBatch(pa.array([f"{first} {second}"], pa.large_string())))[0][1]


def test_it_prefers_a_page_to_what_was_made_of_it(trained):
    folder, line = trained
    assert "learned from" in line and "boilerplate 100%" in line
    text = sentences(random.Random(7), 12)
    good, worse = scores(folder, text, revised(text, "boilerplate", 5, unseen=False))
    assert 0 < worse < good < 1


def test_the_card_says_how_often_a_page_is_preferred_to_each_revision(trained):
    told = json.loads((trained[0] / "model.json").read_text())
    assert list(told["pairs"]) == ASKED.revisions and told["trained_on"]["text"] + told["held_out"]["pairs"] // 3 == 60
    for one in told["pairs"].values():
        assert one["trained_on"] == told["trained_on"]["text"] and 0 <= one["preferred"] <= 1
    assert told["unchanged"] == dict.fromkeys(ASKED.revisions, 0)
    assert (trained[0] / HELD_OUT).is_file()


def test_revisions_that_change_nothing_are_counted_and_no_pairs(tmp_path):
    one_sentence = [Page(str(at), f"the {at} whale") for at in range(40)]
    asked = preference.Options(revisions=["shuffled", "boilerplate"])
    asked.train({"text": one_sentence}, tmp_path / "rewarded")
    told = json.loads((tmp_path / "rewarded" / "model.json").read_text())
    assert told["unchanged"] == {"shuffled": 40, "boilerplate": 0} and list(told["pairs"]) == ["boilerplate"]


def test_the_same_pages_in_another_order_give_the_same_bytes(trained, tmp_path):
    ASKED.train({"text": made()[::-1]}, tmp_path / "again")
    for name in ("model.safetensors", "model.json", HELD_OUT):
        assert (tmp_path / "again" / name).read_bytes() == (trained[0] / name).read_bytes()


def test_a_page_without_a_word_has_no_score_and_a_huge_one_has_one(trained):
    found = scores(trained[0], "", None, " \n\t", "whale " * 2_000_000, "a" * 10_000_000, "\0" * 1000, "whale \ufffd")
    assert found[:3] == [None] * 3 and all(0 <= score <= 1 for score in found[3:])


def test_what_a_worker_is_sent_is_plain_data_and_small(trained):
    assert len(pickle.dumps(ASKED.group("rewarded", trained[0]).signals[0].function)) < 1000


@settings(max_examples=30, deadline=None)
@given(
    text=st.text(alphabet="ab .\n!", max_size=80).filter(str.strip), name=st.sampled_from([*REVISIONS]), page=st.integers(0)
)
def test_a_revision_is_decided_by_the_page_and_is_what_it_is_called(text, name, page):
    found = revised(text, name, page, unseen=False)
    assert found == revised(text, name, page, unseen=False)
    before, after = Counter(text.split()), Counter(found.split())
    if name == "shuffled":
        assert Counter(found) == Counter(text)
    if name == "dropped":
        assert not after - before
    if name in ("repeated", "boilerplate"):
        assert name == "repeated" or len(found.split("\n")) > len(text.split("\n"))
        assert sum(after.values()) > sum(before.values()) - 1


def test_lines_that_are_inserted_into_held_out_pages_were_not_seen():
    seen, unseen = (
        {line for page in range(200) for line in revised("the sea", "boilerplate", page, out).split("\n")}
        for out in (False, True)
    )
    assert seen & unseen == {"the sea"} and seen | unseen == {"the sea", *BOILERPLATE}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_pairs_of_a_file_are_learned(tmp_path):
    draw = random.Random(3)
    rows = [{"better": sentences(draw, 3), "worse": f"casino {sentences(draw, 3)} casino"} for _ in range(80)]
    asked = preference.Options(pairs=[write(tmp_path / "pairs.jsonl", rows)])
    asked.look_into_models()
    assert "preferred in: pairs 100%" in asked.train({}, tmp_path / "rewarded")
    good, worse = scores(tmp_path / "rewarded", "the whale and a ship", "casino whale casino", asked=asked)
    assert good > worse
    assert json.loads((tmp_path / "rewarded" / "model.json").read_text())["trained_on"]["pairs"] > 60


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"better": "a", "worse": "b"}, {"better": "c", "worse": None}], "1 pairs with one side alone, the first in row 2"),
        ([{"better": " ", "worse": "b"}] * 3, "3 pairs with one side alone, the first in row 1: each pair has the text"),
        ([{"better": "a", "text": "b"}], "has no column 'worse': it holds better, text"),
        ([{"better": 1, "worse": 2}], "better in .* is int64, expected text"),
    ],
)
def test_pairs_that_are_none_are_a_sentence_before_anything_is_trained(tmp_path, rows, says):
    with pytest.raises(ValueError, match=says):
        preference.Options(pairs=[write(tmp_path / "pairs.jsonl", rows)]).look_into_models()


@pytest.mark.parametrize(
    ("pages", "says"),
    [
        ([], "0 pages with words among the text, at least 20"),
        ([Page(str(at), "one and the same sentence") for at in range(40)], r"and 0 others|nothing to train on"),
    ],
)
def test_pages_that_teach_nothing_are_a_sentence(tmp_path, pages, says):
    with pytest.raises(TrainingError, match=says):
        ASKED.train({"text": pages}, tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tokens": 64}, "tokens belongs to an encoder"),
        ({"pairs": ["a"], "most_pages": 50}, "most_pages belongs to pages that are revised"),
        ({"revisions": []}, "at least 1 item"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        preference.Options(**options)


def test_a_calibrated_line_makes_log_odds_of_scores():
    draw = np.random.default_rng(0)
    worse = draw.normal(size=20_000)
    slope, intercept = calibrated(worse + 1.0, worse)
    assert slope == pytest.approx(1.0, abs=0.05) and intercept == pytest.approx(-0.5, abs=0.05)


def test_by_an_encoder_the_score_is_a_plain_loops(tmp_path):
    made_up = runpy.run_path(str(Path(__file__).parent / "made_up_models.py"))
    encoder = made_up["write_model"](tmp_path / "encoder", BertModel)
    asked = preference.Options(encoder=encoder, tokens=32, revisions=["boilerplate"])
    with one_thread():
        asked.train({"text": made(40)}, tmp_path / "rewarded")
    weights, (slope, intercept), _ = preference.read_weights(tmp_path / "rewarded" / preference.MODEL)
    texts, plain = ["the whale and the sea", "click casino bonus " * 40], []
    tokenizer, model = AutoTokenizer.from_pretrained(encoder), BertModel.from_pretrained(encoder).eval()
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=32, return_tensors="pt")
        with torch.inference_mode():
            mean = model(**inputs).last_hidden_state[0].mean(0).double().numpy()
        plain.append(1 / (1 + np.exp(-(slope * (mean @ weights) / np.linalg.norm(mean) + intercept))))
    found = scores(tmp_path / "rewarded", *texts, "", None, asked=asked)
    assert found[:2] == pytest.approx(plain, abs=1e-5) and found[2:] == [None, None]
    with pytest.raises(ValueError, match="holds 16 weights, of other vectors"):
        ASKED.group("rewarded", tmp_path / "rewarded")


def test_a_model_that_changes_under_a_job_stops_it(trained, tmp_path):
    (tmp_path / preference.MODEL).write_bytes((trained[0] / preference.MODEL).read_bytes())
    score = ASKED.group("rewarded", tmp_path).signals[0].function
    write_tensors(tmp_path / preference.MODEL, {"weights": np.zeros(preference.PLACES), "calibration": np.ones(2)})
    with pytest.raises(ValueError, match="it was changed while the job ran"):
        score(PageBatch(pa.array(["whale"])))
