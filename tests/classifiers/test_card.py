"""What a card says of held-out pages, against counting by hand."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classifiers import card
from filters.signals import Group, Signal

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


def letters_b(pages):
    """Which share of a page's letters are Bs; NaN where it has none."""
    found = [[letter for letter in text if letter.isalpha()] for text in pages.text.to_pylist()]
    return np.array([letters.count("B") / len(letters) if letters else np.nan for letters in found])


def group(function):
    return Group("made_up", (Signal("made_up", function, pa.float64()),), {})


GOOD = [f"A calm page about river {at}.\nWe like it." for at in range(10)]
BAD = [f"{'B' * at} and so on, {'x' * (40 - at)}." for at in range(20)]


def tried(function, good=GOOD, bad=BAD, lowest=False):
    sides, positive = ["good"] * len(good) + ["bad"] * len(bad), np.arange(len(good) + len(bad)) < len(good)
    return card.tried(group(function), sides, positive, [*good, *bad], lowest)["made_up"]


def test_a_scorer_that_goes_by_one_capital_is_seen_to_flip_in_lower_case_and_not_in_bullets():
    found = tried(letters_b)
    assert found["judged_on"] == 20
    assert found["styles"]["lower case"]["flipped"] == pytest.approx(0.3)  # all that were kept fall
    assert found["styles"]["heading and bullets"] == {"changed": 1.0, "flipped": 0.0}
    assert found["styles"]["no first person"] == {"changed": 0.0, "flipped": 0.0}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_scorer_that_goes_by_length_is_seen_to(sign):
    bad = ["x" * length for length in (3, 9, 5, 40)]
    found = tried(lambda pages: sign * np.array([len(text) for text in pages.text.to_pylist()], float), bad=bad)
    assert found["length_correlation"] == pytest.approx(sign)


def test_where_lower_is_better_the_area_and_the_level_turn_round():
    up, down = tried(letters_b), tried(lambda pages: 1 - letters_b(pages), lowest=True)
    assert down["area_under_curve"] == pytest.approx(up["area_under_curve"])
    assert down["styles"] == up["styles"]


def test_perplexities_are_in_bins_of_equal_ratio():
    edges = np.array(tried(lambda pages: 10.0 ** np.arange(len(pages)), lowest=True)["histogram"]["edges"])
    assert np.allclose(edges[1:] / edges[:-1], edges[1] / edges[0])


@pytest.mark.parametrize(("good", "bad"), [([], []), (GOOD, []), ([], BAD), ([" "], ["", " "])])
def test_a_card_of_few_pages_or_of_one_side_is_whole_and_json(good, bad):
    found = tried(letters_b, good, bad)
    json.dumps(found, allow_nan=False)
    assert found["area_under_curve"] is None
    assert found["judged_on"] == len(bad or good)


def test_the_words_furthest_out_are_told_each_once():
    words = card.common_words(["Whale whale the", "Whale whale the", "Whale whale the", "seldom"])
    assert sorted(words) == ["Whale", "the", "whale"]
    found = card.telling(words, np.array([{"Whale": 3.0, "whale": 2.0, "the": -1.0}[word] for word in words]))
    assert found == {"highest": [("Whale", 3.0), ("the", -1.0)], "lowest": [("the", -1.0), ("whale", 2.0)]}


def test_words_without_a_value_are_not_told():
    assert card.telling(["a", "b"], np.array([np.nan, 1.0])) == {"highest": [("b", 1.0)], "lowest": [("b", 1.0)]}


def test_the_first_person_goes_and_other_words_stay():
    assert card.without_first_person("I'm here. We said our mine is US, and Iris us.") == "here. said is US, and Iris ."


def test_bullets_keep_every_word():
    made = card.as_bullets("One two. Three!\n\nFour\n")
    assert made == "# One two.\n\n- Three!\n- Four"
    assert card.as_bullets(" \n") == " \n"


@given(arrays(np.float64, 12, elements=st.integers(0, 5).map(float)))
def test_the_rank_correlation_is_the_correlation_of_mean_ranks(values):
    other = np.arange(12.0) % 5
    ranks = [[(sum(of < one) + (sum(of <= one) + 1)) / 2 for one in of] for of in (values, other)]
    found = card.rank_correlation(values, other)
    if len(set(values)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(np.corrcoef(*ranks)[0, 1])
