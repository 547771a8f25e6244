"""Importance weights: against a slow count of n-grams, and finite or null whatever the page."""

import json
import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from classifiers import importance
from classifiers.kinds import Page, TrainingError
from filters.pages import PageBatch

ASKED = importance.Options(target=["books.jsonl"])


def pages(words, count, length):
    draw = random.Random(words)
    return [Page(f"{words[:5]}-{k}", " ".join(draw.choices(words.split(), k=length))) for k in range(count)]


TEXTS = {"target": pages("the whale and a sea", 40, 60), "raw": pages("the casino and a win now", 90, 30)}


def measured(folder, *texts):
    group = ASKED.group("books", folder)
    ids = pa.array([str(at) for at in range(len(texts))])
    return group.measure(ids, PageBatch(pa.array(texts, pa.large_string())))["importance_books"].to_pylist()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "books"
    return folder, ASKED.train(TEXTS, folder)


def test_what_is_like_the_target_weighs_more(trained):
    folder, line = trained
    assert "area under the curve 1.0000" in line
    sea, neither, casino = measured(folder, "The whale, a sea", "zzz qqq", "casino: win now")
    assert sea > neither > casino


def test_the_weight_is_the_mean_log_ratio_of_smoothed_shares():
    weights = importance.log_ratio(np.array([3.0, 0, 1]), np.array([0.0, 0, 9]))
    assert weights == pytest.approx(np.log([(4 / 7) / (1 / 12), (1 / 7) / (1 / 12), (2 / 7) / (10 / 12)]))


def test_saying_it_twice_as_often_hardly_changes_the_weight(trained):
    once, often = measured(trained[0], "the whale and a sea ", "the whale and a sea " * 1000)
    assert often == pytest.approx(once, abs=0.5)


def test_counts_are_those_of_all_that_is_trained_on(trained):
    about = json.loads((trained[0] / "model.json").read_text())
    assert about["ngrams"] == {"target": about["trained_on"]["target"] * 119, "raw": about["trained_on"]["raw"] * 59}
    assert Counter(about["pages"]["raw"]) == Counter(read=90, blank=0, drawn=90)


HOSTILE = ["whale " * 5_000_000, "a" * 10_000_000, "casino, " * 3_000_000, "\0" * 1000, "Σ" * 100_000, "whale \ufffd"]


def test_a_hostile_page_has_a_finite_weight(trained):
    assert np.isfinite(measured(trained[0], *HOSTILE)).all()


def test_a_page_without_a_word_has_no_weight(trained):
    assert measured(trained[0], "", None, " \n\xa0", "a")[:3] == [None, None, None]


def test_the_same_pages_in_another_order_give_the_same_bytes(trained, tmp_path):
    ASKED.train({key: some[::-1] for key, some in TEXTS.items()}, tmp_path / "again")
    for name in ("model.safetensors", "model.json"):
        assert (tmp_path / "again" / name).read_bytes() == (trained[0] / name).read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["again"]


@pytest.mark.parametrize("key", ["target", "raw"])
def test_too_few_pages_are_an_error_that_names_them(tmp_path, key):
    with pytest.raises(TrainingError, match=f"among the {key}, at least 20"):
        ASKED.train({**TEXTS, key: []}, tmp_path / "none")
