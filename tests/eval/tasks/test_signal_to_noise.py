import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.tasks.signal_to_noise import signal_to_noise


def test_one_template_by_hand():
    """Two levels, two replicates: 1 3 and 5 5. Level means 2 and 5 have variance 4.5. Without the means of rows and columns
    -.5 .5 and .5 -.5 are left, so the noise is 4 x .25 = 1 on one degree of freedom, and half of it is in a mean of two."""
    found = signal_to_noise(np.array([[[1.0, 3.0], [5.0, 5.0]]]))
    assert found.replicates == pytest.approx(1.0)
    assert found.templates == 0
    assert found.signal == pytest.approx(2.0)  # the root of 4.5 - 1/2
    assert found.ratio == pytest.approx(2.0)
    assert found.counts


def test_two_templates_by_hand():
    """Replicates agree. Template A has levels 0 and 4, B has 0 and 2; the means are 0 and 3, with variance 4.5. What is left
    of A, B x levels is .5 -.5 and -.5 .5: a variance of 1 between templates, of which half is in a mean of two."""
    found = signal_to_noise(np.array([[[0.0, 0.0], [4.0, 4.0]], [[0.0, 0.0], [2.0, 2.0]]]))
    assert found.replicates == 0
    assert found.templates == pytest.approx(1.0)
    assert found.signal == pytest.approx(2.0)
    assert found.noise == pytest.approx(1.0)


def test_levels_that_do_not_differ_have_no_signal():
    found = signal_to_noise(np.array([[[1.0, 2.0], [2.0, 1.0]]]))
    assert found.signal == 0 and found.ratio == 0 and not found.counts


def test_without_noise_any_signal_counts():
    found = signal_to_noise(np.array([[[1.0, 1.0], [2.0, 2.0]]]))
    assert found.ratio is None and found.counts


def test_scores_that_are_all_the_same_do_not_count():
    assert not signal_to_noise(np.ones((1, 3, 2))).counts


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3, 1), (2, 1, 1)])
def test_one_level_or_one_replicate_tells_nothing(shape):
    assert signal_to_noise(np.zeros(shape)) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_what_moves_all_levels_of_a_replicate_is_no_noise(seed, templates):
    draw = np.random.default_rng(seed)
    scores = draw.normal(size=(templates, 4, 3))
    moved = scores + draw.normal(size=(1, 1, 3)) * 50 + draw.normal(size=(templates, 1, 1))
    before, after = signal_to_noise(scores), signal_to_noise(moved)
    assert (before.signal, before.noise) == pytest.approx((after.signal, after.noise), abs=1e-6)


def test_chance_alone_seldom_counts():
    draw = np.random.default_rng(0)
    counted = [signal_to_noise(draw.normal(size=(1, 5, 3))).counts for _ in range(2000)]
    assert 0.03 < np.mean(counted) < 0.06  # 4.5 % by the F distribution
