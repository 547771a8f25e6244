"""In worlds whose answer is known the verdict is right as often as it claims, and proofs that cannot fail are caught."""

import numpy as np
import pytest

from eval.planted import KEPT, SOUND, Design, Truth, bigram_nats, compared, experiment, judged, outcomes, run_noise, truth

TRIALS = 40
NO_DIFFERENCE = Truth(np.zeros(len(KEPT)), SOUND.names, None)
"""In a world where scores are noise all levels are alike."""
CLAIMS = ("over_filtering", "never_helped", "none_found")


def claims(found):
    return sum(found.said.get(name, 0.0) for name in CLAIMS)


def test_random_levels_are_told_apart_in_few_experiments():
    """Of 40 trials with a chance of 5 % each, 6 or more happen in one of a hundred."""
    assert claims(outcomes("null", TRIALS, NO_DIFFERENCE)) <= 5 / TRIALS


def test_a_filter_that_helps_is_not_accused():
    found = outcomes("helps", 20, NO_DIFFERENCE)
    assert found.said.get("none_found", 0.0) >= 0.8 and found.said.get("over_filtering", 0.0) == 0.0


def test_a_filter_that_hurts_never_helped():
    assert outcomes("hurts", 20, NO_DIFFERENCE).said.get("never_helped", 0.0) >= 0.9


def test_a_filter_that_helps_and_then_hurts_is_found_out_and_not_too_early():
    known = truth("u", 40)
    found = outcomes("u", TRIALS, known)
    assert found.said.get("over_filtering", 0.0) >= 0.7 and found.too_mild <= 0.1
    assert found.covered >= 0.85  # the truth itself is the mean of forty experiments


def test_replicates_that_read_the_same_pages_would_be_believed_too_much():
    """The same statistics where replicates differ in first weights alone: intervals no longer hold, so folds are needed."""
    sound, shared = Design(run_noise=0.003), Design(folds=False, run_noise=0.003)
    assert outcomes("null", 20, NO_DIFFERENCE, sound).covered >= 0.9
    assert outcomes("null", 20, NO_DIFFERENCE, shared).covered <= 0.75


def test_pages_of_one_site_taken_for_independent_would_be_believed_too_much():
    by_site, by_page = Design(strata=False), Design(strata=False, clusters="page")
    known = truth("one_domain", 60, by_site)
    assert outcomes("one_domain", 20, known, by_site).covered >= 0.93
    assert outcomes("one_domain", 20, known, by_page).covered <= 0.85


def test_reversing_the_list_changes_nothing():
    comparison = compared(experiment("u", 0))
    assert judged(comparison, SOUND.levels[::-1]) == judged(comparison)


def test_a_bigram_model_adds_up_to_one():
    random = np.random.default_rng(0)
    read = random.integers(0, 512, (20, 128))
    every = np.stack([np.full(512, 7), np.arange(512)], axis=1)
    nats = bigram_nats(read, every, 512)
    first = bigram_nats(read, np.full((1, 1), 7), 512)
    assert np.exp(-(nats - first)).sum() == pytest.approx(1.0)


def test_levels_are_nested_and_a_run_reads_pages_of_its_own_fold():
    one, again = experiment("u", 3), experiment("u", 3)
    assert np.array_equal(one.nats, again.nats) and one.nats.shape == (len(KEPT), 3, 400)
    assert SOUND.names == ("1", "0.6", "0.4", "0.25", "0.15", "0.08", "0.04")


def test_run_noise_has_the_deviation_and_the_correlation_that_are_asked_for():
    noise = run_noise(np.random.default_rng(0), (7, 20_000), Design(run_noise=0.01, neighbours=0.6))
    assert noise.std(axis=1) == pytest.approx(np.full(7, 0.01), rel=0.03)
    correlations = np.corrcoef(noise)
    assert np.diag(correlations, 1) == pytest.approx(np.full(6, 0.6), abs=0.03)
    assert np.diag(correlations, 2) == pytest.approx(np.full(5, 0.36), abs=0.03)
