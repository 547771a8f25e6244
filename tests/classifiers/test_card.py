"""What a card says of held-out pages, against counting by hand."""

import numpy as np
import pytest

from classifiers import card

RNG = np.random.default_rng(0)
POSITIVE, SCORES = RNG.random(60) < 0.4, RNG.integers(0, 9, 60) / 8


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order():
    pairs = [(p > n) + 0.5 * (p == n) for p in SCORES[POSITIVE] for n in SCORES[~POSITIVE]]
    assert card.area_under_curve(POSITIVE, SCORES) == pytest.approx(np.mean(pairs))


def test_precision_and_recall_are_those_of_a_cut_at_one_half():
    found = card.probabilities(POSITIVE, SCORES)
    right = sum(p and s > 0.5 for p, s in zip(POSITIVE, SCORES, strict=True))
    assert found["precision"] == pytest.approx(right / sum(SCORES > 0.5))
    assert found["recall"] == pytest.approx(right / sum(POSITIVE))
    assert found["accuracy"] == pytest.approx(np.mean((SCORES > 0.5) == POSITIVE))


def test_calibration_goes_by_tenths_of_the_pages_and_loses_none():
    found = card.calibration(POSITIVE, SCORES)
    assert [tenth["pages"] for tenth in found] == [6] * 10
    means = [tenth["mean_score"] for tenth in found]
    assert means == sorted(means) and np.mean(means) == pytest.approx(SCORES.mean())
    assert np.mean([tenth["positives"] for tenth in found]) == pytest.approx(POSITIVE.mean())


def test_the_histogram_has_every_page_once():
    found = card.histogram(POSITIVE, SCORES)
    assert sum(found["positives"]) == POSITIVE.sum() and sum(found["negatives"]) == (~POSITIVE).sum()
    assert len(found["edges"]) == len(found["positives"]) + 1


@pytest.mark.parametrize(("scores", "warns"), [(np.full(60, 0.5), True), (0.5 + SCORES / 200, True), (SCORES, False)])
def test_scores_that_lie_together_are_warned_of(scores, warns):
    assert (card.spread(scores)["warning"] is not None) == warns


def test_a_tenth_of_outliers_at_each_end_does_not_hide_it():
    scores = np.r_[np.zeros(5), np.linspace(0.5, 0.505, 40), np.ones(5)]
    found = card.spread(scores)
    assert found["narrowest"] == pytest.approx(0.005) and "80%" in found["warning"]


def test_where_a_class_is_missing_what_cannot_be_told_is_null():
    found = card.probabilities(np.zeros(5, bool), np.linspace(0, 0.4, 5))
    assert (found["area_under_curve"], found["precision"], found["recall"]) == (None, None, None)
    assert "no area under the curve" in card.sentence({"trained_on": {"good": 1}, "held_out": found})


def test_a_card_of_no_page_has_nothing_but_nulls():
    found = card.probabilities(np.zeros(0, bool), np.zeros(0))
    assert found["accuracy"] is None and found["calibration"] == [] and found["spread"]["warning"] is None
