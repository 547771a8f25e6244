"""Intervals are as wide as worked out by hand, cover what they say on simulated sweeps, and hold at once where they say so.

A simulated sweep has known bits per byte per level, noise of a replicate shared by all levels, noise of a run of its own,
and held-out pages in clusters whose difficulty depends on the level.
"""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eval import statistics
from eval.statistics import Comparison, Interval, _own_variances, compare, holm, two_lines

LEVELS = ["none", "1", "2", "3", "5", "9"]
RESAMPLES = 1000
LN2 = np.log(2)


def sweep(truth, replicates, random, clusters=40, run_noise=0.01, cluster_noise=0.03, shared_noise=0.02, spread=None):
    """Nats [levels, replicates, pages], bytes and clusters of one experiment."""
    pages_of = random.integers(1, 6, clusters)
    cluster = np.repeat(np.arange(clusters), pages_of)
    sizes = random.integers(500, 5000, len(cluster))
    runs = np.asarray(truth)[:, None] + random.normal(0, shared_noise, replicates)
    runs = runs + random.normal(0, run_noise, (len(truth), replicates)) * (
        1 if spread is None else np.asarray(spread)[:, None]
    )
    sites = random.normal(0, 0.3, clusters) + random.normal(0, cluster_noise, (len(truth), clusters))
    pages = random.normal(0, 0.02, (len(truth), replicates, len(cluster)))
    bits = runs[:, :, None] + sites[:, None, cluster] + pages
    return bits * sizes * LN2, sizes, cluster


def compared(nats, sizes, cluster, names=None, **options):
    return compare(nats, sizes, cluster, names or LEVELS[: len(nats)], **{"resamples": RESAMPLES, **options})


def one_page_each(by_replicate, resamples=100_000, **options):
    """Subsets whose pages are all alike, so that replicates alone make a difference."""
    table = np.repeat(np.asarray(by_replicate, float)[:, :, None], 2, axis=2) * LN2
    return compare(table, [1, 1], [0, 1], LEVELS[: len(table)], resamples=resamples, **options)


def share_of(trials, claim, seed=0):
    random = np.random.default_rng(seed)
    return sum(claim(random) for _ in range(trials)) / trials


def made(values, errors):
    """A comparison whose errors are given: [resamples, subsets]."""
    errors, runs = np.asarray(errors, float), np.asarray(values, float)
    return Comparison(tuple(LEVELS[: len(runs)]), np.stack([runs, runs], 1), errors, 0 * errors, 0 * errors[:, 0], 10)


@pytest.mark.parametrize(("replicates", "run_noise", "cluster_noise"), [(2, 0.02, 0.0), (2, 0.01, 0.03), (5, 0.0, 0.05)])
def test_the_interval_of_a_planned_difference_holds_the_truth_nineteen_times_of_twenty(replicates, run_noise, cluster_noise):
    def held(random):
        table = sweep([3.0, 3.01, 3.0, 3.02], replicates, random, run_noise=run_noise, cluster_noise=cluster_noise)
        found = compared(*table).difference("1", "none")
        return found.low <= 0.01 <= found.high

    assert share_of(200, held) >= 0.92


def test_a_bootstrap_of_two_replicates_alone_would_not_cover():
    """Why replicates are not resampled: the obvious way, with two."""

    def held(random):
        runs = random.normal(0, 1, 2) - random.normal(0, 1, 2)
        means = runs[random.integers(0, 2, (RESAMPLES, 2))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        return low <= 0 <= high

    assert share_of(300, held) < 0.6


def test_the_interval_of_a_difference_is_students_t_over_the_pooled_residuals():
    """Rows differ by 1, the residuals of three rows are (.02, -.02), (-.01, .01), (-.01, .01): pooled variance .0006, 2
    degrees of freedom; the first row's own estimate is .0012 (worked out below). t at 97.5 % with 2 degrees is 4.303."""
    rows = np.array([[3.02, 2.98], [3.99, 4.01], [4.99, 5.01]])
    found = one_page_each(rows)
    assert found.difference("2", "1").half_width == pytest.approx(4.303 * np.sqrt(2 * 0.0006 / 2), rel=0.03)
    assert found.difference("1", "none").half_width == pytest.approx(4.303 * np.sqrt((0.0012 + 0.0006) / 2), rel=0.03)


def test_a_noisier_subset_has_half_of_its_own_variance_and_half_of_the_pooled_one():
    """By hand, in units of 1: pooled = 12 / 2; Grubbs for the first row (8 - 6/3) * 3 = 18; with two replicates (18 + 6)
    / 2."""
    rest = np.array([[2.0, -2.0], [-1.0, 1.0], [-1.0, 1.0]])
    assert _own_variances(rest) == pytest.approx([12, 6, 6])
    assert _own_variances(rest[:2] * [[0.5], [1.0]]) == pytest.approx([4, 4])  # of two rows both have the pooled one


def test_what_replicates_share_widens_one_level_by_students_t_over_the_root_of_their_number():
    """Columns 1, 2, 3, 4 above a row: standard deviation 1.291; t at 97.5 % with 3 degrees is 3.182; over the root of 4."""
    found = one_page_each(np.arange(1.0, 5.0) + np.array([[0.0], [1.0], [5.0]]))
    assert found.interval("1").half_width == pytest.approx(3.182 * 1.291 / 2, rel=0.03)
    assert found.difference("1", "none").half_width == pytest.approx(0.0, abs=1e-9)


def test_the_interval_of_one_level_has_what_is_its_own_and_what_all_share():
    """Pages 3, runs 4 and shared 5 to either side, together in one of twenty resamples: 95 % of them are no further off
    than what the 19th of 20 is."""
    signs = np.array([1.0, -1.0] * 10)
    pages, runs, shared = (np.outer(signs * size, [0.0, 1.0]) for size in (3, 4, 5))
    shared = shared[:, 1]
    shared[:2] *= 3
    found = Comparison(("none", "1"), np.array([[1.0, 3.0], [4.0, 8.0]]), pages, runs, shared, 9)
    one, other = found.interval("1"), found.interval("none")
    assert (one.value, other.value) == (6.0, 2.0)
    assert one.half_width == pytest.approx(np.quantile([12.0] * 18 + [22.0] * 2, 0.95))
    assert other.half_width == pytest.approx(np.quantile([5.0] * 18 + [15.0] * 2, 0.95))
    assert (one.low, one.high) == (6.0 - one.half_width, 6.0 + one.half_width)


def test_pages_count_by_cluster_with_students_t():
    """Differences of 30 equal clusters, each of two equal pages: t at 97.5 % with 29 degrees is 2.045, and 60 pages are
    not 60."""
    random = np.random.default_rng(0)
    each = random.normal(0, 0.1, 30)
    bits = np.stack([np.repeat(3 + each, 2), np.full(60, 3.0)])[:, None, :].repeat(2, axis=1)
    found = compare(bits * LN2 * 100, np.full(60, 100), np.repeat(np.arange(30), 2), ["a", "b"], resamples=50_000)
    assert found.difference("a", "b").half_width == pytest.approx(2.045 * each.std(ddof=1) / np.sqrt(30), rel=0.04)


def test_strata_are_averaged_and_their_differences_are_not_taken_for_chance():
    """A stratum of ten pages and one of a thousand count alike, and that one is harder than the other is no noise."""
    random = np.random.default_rng(1)
    strata = np.repeat(["small", "large"], [20, 1000])
    bits = np.where(strata == "small", 2.0, 4.0) + random.normal(0, 0.01, (2, 1, 1020))
    found = compare(bits.repeat(2, axis=1) * LN2, np.ones(1020), np.arange(1020), ["a", "b"], strata)
    pooled = compare(bits.repeat(2, axis=1) * LN2, np.ones(1020), np.arange(1020), ["a", "b"])
    assert found.value("a") == pytest.approx(3.0, abs=0.01) and pooled.value("a") > 3.9
    assert found.interval("a").half_width < 0.01 < pooled.interval("a").half_width
    both = bits[:, 0]
    error = (
        np.sqrt(sum(np.var((both[0] - both[1])[strata == name], ddof=1) / n for name, n in (("small", 20), ("large", 1000))))
        / 2
    )
    assert found.difference("a", "b").half_width == pytest.approx(2.08 * error, rel=0.06)  # t with some 20 degrees


def test_a_stratum_of_one_cluster_can_tell_nothing():
    nats = np.random.default_rng(0).normal(3, 0.1, (2, 2, 30))
    found = compare(nats, np.ones(30), np.repeat([0, 1, 2], 10), ["a", "b"], np.repeat(["x", "y", "y"], 10), resamples=10)
    assert found.unknown and "stratum x" in found.unknown and found.clusters == 3


def test_no_subset_scatters_less_than_those_that_differ_by_chance():
    """Three placebos at 3.0, 3.1 and 3.2 with runs that agree to the digit: variance .01 of a mean of two runs."""
    rows = np.array([[3.0, 3.0], [3.1, 3.1], [3.2, 3.2], [2.0, 2.0]])
    assert one_page_each(rows).difference("3", "none").half_width == pytest.approx(0, abs=1e-9)
    found = one_page_each(rows, alike=LEVELS[:3])
    assert found.difference("3", "none").half_width == pytest.approx(3.182 * np.sqrt(2 * 0.01), rel=0.03)
    assert one_page_each(rows, alike=LEVELS[:2]).difference("3", "none").half_width == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("times", "by_means"), [(10, False), (18, False), (20, True), (60, True)])
def test_placebos_count_by_their_means_where_an_f_test_finds_these_apart(times, by_means):
    """Residuals of .01 to either side in two of three rows: a variance of .0002 with 2 degrees; F(2, 2) at 95 % is 19."""
    apart = np.sqrt(times * 0.0002 / 2)
    rows = np.array([[3.01, 2.99], [2.99, 3.01], [3.0, 3.0]]) + np.array([[0.0], [-apart], [apart]])
    expected = times * 0.0002 if by_means else np.var(rows, axis=0, ddof=1).mean()
    assert statistics._floor(rows, 100_000) == pytest.approx(expected)
    assert statistics._floor(rows[:2], 100) == 0.0 and statistics._floor(rows[:, :1], 100) == pytest.approx(
        np.var(rows[:, 0], ddof=1)
    )


def test_placebos_whose_means_differ_no_more_than_their_runs_count_by_their_runs():
    """Runs .1 to either side of means .01 apart: within a replicate they scatter by far more than their means do."""
    rows = np.array([[2.91, 3.11], [3.12, 2.92], [3.03, 3.03], [2.0, 2.0], [2.1, 2.1], [2.2, 2.2]])
    within = np.var(rows[:3], axis=0, ddof=1).mean()
    assert 2 * np.var(rows[:3].mean(axis=1), ddof=1) < 0.02 * within
    assert one_page_each(rows).difference("3", "5").half_width < 0.9 * 2.571 * np.sqrt(within)
    found = one_page_each(rows, alike=LEVELS[:3])
    assert found.difference("3", "5").half_width == pytest.approx(2.571 * np.sqrt(2 * within / 2), rel=0.03)


def test_a_control_that_is_kept_apart_does_not_widen_the_others():
    rows = [[3.0, 3.02, 3.01], [3.1, 3.11, 3.14], [3.2, 3.21, 3.19]]
    alone = one_page_each(rows)
    wild = one_page_each([*rows, [3.9, 3.5, 4.0]], apart=["3"])
    pooled = one_page_each([*rows, [3.9, 3.5, 4.0]])
    assert wild.difference("2", "1").half_width == pytest.approx(alone.difference("2", "1").half_width, rel=0.02)
    assert pooled.difference("2", "1").half_width > 3 * wild.difference("2", "1").half_width
    # its own: Student's t with 2 degrees of freedom over the deviation from the others' means of each replicate
    columns = np.mean(rows, axis=0)
    own = np.std(np.array([3.9, 3.5, 4.0]) - columns, ddof=1)
    assert wild.difference("3", "2").half_width == pytest.approx(4.303 * own / np.sqrt(3), rel=0.03)


def test_differences_of_levels_hold_where_a_control_is_wild():
    def held(random):
        table = sweep([3.0, 3.01, 3.0, 3.02, 3.3], 3, random, spread=[1, 1, 1, 1, 5])
        found = compared(*table, apart=["5"]).difference("1", "none")
        return found.low <= 0.01 <= found.high

    assert share_of(150, held) >= 0.92


def test_point_values_are_ratios_of_sums():
    sizes, cluster = np.array([100, 300, 50]), ["a", "a", "b"]
    nats = np.array([[[10.0, 50.0, 30.0]], [[20.0, 20.0, 20.0]]])
    assert compared(nats, sizes, cluster, ["x", "y"]).values == pytest.approx(np.array([90, 60]) / 450 / LN2)
    apart = compared(nats, sizes, cluster, ["x", "y"], strata=cluster)
    assert apart.values == pytest.approx(np.array([(60 / 400 + 30 / 50) / 2, (40 / 400 + 20 / 50) / 2]) / LN2)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 10))
def test_a_difference_is_antisymmetric_and_scales_with_the_data(seed, scale):
    nats, sizes, cluster = sweep([3.0, 3.1, 3.2], 2, np.random.default_rng(seed), clusters=5)
    first, again = compared(nats, sizes, cluster, resamples=200), compared(nats * scale, sizes, cluster, resamples=200)
    one, other = first.difference("1", "none"), first.difference("none", "1")
    assert one == -other
    assert again.difference("1", "none").half_width == pytest.approx(one.half_width * scale, rel=1e-6)


def test_the_same_arguments_give_the_same_numbers_and_order_of_pages_does_not_matter():
    nats, sizes, cluster = sweep([3.0, 3.1], 3, np.random.default_rng(0))
    strata = cluster % 3
    first = compared(nats, sizes, cluster, strata=strata)
    assert np.array_equal(first.errors, compared(nats, sizes, cluster, strata=strata).errors)
    order = np.random.default_rng(1).permutation(len(sizes))
    again = compared(nats[:, :, order], sizes[order], cluster[order], strata=strata[order])
    assert again.errors == pytest.approx(first.errors, abs=1e-9)


def test_intervals_for_many_differences_at_once_are_wider_than_for_one_and_for_all_pairs_wider_still():
    comparison = compared(*sweep([3.0] * 6, 3, np.random.default_rng(2)))
    many, pairs = comparison.differences("9", LEVELS[:-1]), comparison.all_pairs(LEVELS)
    for level, wide in zip(LEVELS[:-1], many, strict=True):
        narrow = comparison.difference("9", level)
        assert wide.value == narrow.value and narrow.half_width < wide.half_width < pairs["9", level].half_width
        assert pairs[level, "9"] == -pairs["9", level]


def test_no_pair_of_equal_levels_is_told_apart_in_nineteen_sweeps_of_twenty():
    def claims(random):
        pairs = compared(*sweep([3.0] * 6, 3, random), resamples=600).all_pairs(LEVELS)
        return any(pairs[pair].positive for pair in itertools.permutations(LEVELS, 2))

    assert share_of(100, claims) <= 0.08


def test_all_pairs_at_once_is_the_largest_error_of_any():
    """Errors of three subsets in four resamples: differences |e0 - e1|, |e0 - e2|, |e1 - e2| have maxima known by hand."""
    errors = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 4.0], [0.0, 0.0, 0.0]])
    pairs = made([5.0, 5.0, 9.0], errors).all_pairs(LEVELS[:3])
    halves = {
        pair: np.quantile(each, 0.95)
        for pair, each in {(0, 1): [1, 2, 0, 0], (0, 2): [1, 0, 4, 0], (1, 2): [0, 2, 4, 0]}.items()
    }
    ratios = [max(1 / halves[0, 1], 1 / halves[0, 2]), 2 / halves[0, 1], 4 / halves[0, 2], 0]
    factor = max(1, np.quantile(ratios, 0.95))
    assert pairs["2", "none"] == Interval(
        4.0, pytest.approx(4 - factor * halves[0, 2]), pytest.approx(4 + factor * halves[0, 2])
    )


def test_a_p_value_counts_errors_at_least_as_large():
    errors = np.zeros((99, 2))
    errors[:4, 0] = [0.5, -0.5, 0.6, 0.4]
    assert made([1.0, 1.5], errors).p_value("1", "none") == pytest.approx(4 / 100)


def test_holm_multiplies_the_smallest_by_their_number_and_never_falls():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_two_equal_subsets_differ_by_nothing():
    nats, sizes, cluster = sweep([3.0], 3, np.random.default_rng(0))
    comparison = compared(np.repeat(nats, 3, axis=0), sizes, cluster)
    assert comparison.difference("1", "2").half_width == pytest.approx(0.0, abs=1e-12)


def test_two_lines_sees_a_u_and_not_a_slope():
    u = compared(*sweep([3.2, 3.1, 3.0, 3.0, 3.1, 3.2], 3, np.random.default_rng(0)))
    slope = compared(*sweep([3.5, 3.4, 3.3, 3.2, 3.1, 3.0], 3, np.random.default_rng(0)))
    assert two_lines(u, LEVELS).u_shaped and two_lines(u, LEVELS).break_at in ("2", "3")
    assert not two_lines(slope, LEVELS).u_shaped
    with pytest.raises(ValueError, match="five levels"):
        two_lines(u, LEVELS[:4])


@pytest.mark.parametrize(
    ("values", "is_u"),
    [
        ([3.0, 2.0, 1.0, 2.0, 3.0], True),
        ([1.0, 2.0, 3.0, 2.0, 1.0], False),
        ([1.0, 2.0, 3.0, 4.0, 5.0], False),
        ([5.0, 4.0, 3.0, 2.0, 1.0], False),
        ([3.0, 2.0, 1.0, 1.0, 1.0], False),
        ([1.0, 1.0, 1.0, 2.0, 3.0], False),
    ],
)
def test_a_u_falls_and_then_rises_and_nothing_else_is_one(values, is_u):
    errors = np.tile([[0.01], [-0.01]], (50, 5)) * np.arange(1, 6)
    assert two_lines(made(values, errors), LEVELS[:5]).u_shaped == is_u


def test_slopes_and_their_margins_are_those_of_least_squares():
    """Levels 3, 2, 1, 2, 3 with an error at the first alone: three points have weights -1/2, 0, 1/2."""
    errors = np.zeros((100, 5))
    errors[:, 0] = np.linspace(-1, 1, 100)
    half = np.quantile(np.abs(errors[:, 0]), 0.95) / 2
    found = two_lines(made([3.0, 2.0, 1.0, 2.0, 3.0], errors), LEVELS[:5])
    assert found.break_at == "2"
    assert found.falling == Interval(-1.0, pytest.approx(-1 - half), pytest.approx(-1 + half))
    assert found.rising == Interval(1.0, 1.0, 1.0) and found.u_shaped
    shallow = two_lines(made([1.4, 1.2, 1.0, 2.0, 3.0], errors), LEVELS[:5])
    assert shallow.falling.high > 0 and not shallow.u_shaped


def lines_by_hand(values, errors):
    """Where the two lines break, and their slopes, level by level."""

    def line(first, last):
        steps = np.arange(first, last + 1)
        slope = np.polyfit(steps, values[first : last + 1], 1)[0]
        return slope, np.quantile(np.abs(np.polyfit(steps, errors[:, first : last + 1].T, 1)[0]), 0.95)

    last = len(values) - 1
    lowest = min(range(1, last), key=lambda at: values[at])
    apart = {at: np.quantile(np.abs(errors[:, at] - errors[:, lowest]), 0.683) for at in range(1, last)}
    flat = [at for at in range(1, last) if values[at] - values[lowest] <= apart[at]]
    middle = flat[(len(flat) - 1) // 2]
    falling, rising = (abs(slope) / half for slope, half in (line(0, middle), line(middle, last)))
    assume(falling + rising > 1e-6)
    chosen = flat[round(rising / (falling + rising) * (len(flat) - 1))]
    return chosen, line(0, chosen), line(chosen, last)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(290, 310), min_size=5, max_size=6), st.floats(0.001, 0.1), st.integers(0, 2**32 - 1))
def test_the_break_is_moved_among_the_flat_levels_towards_the_line_with_more_evidence(values, noise, seed):
    values, errors = np.array(values) / 100, np.random.default_rng(seed).normal(0, noise, (40, len(values)))
    chosen, falling, rising = lines_by_hand(values, errors)
    found = two_lines(made(values, errors), LEVELS[: len(values)])
    assert found.break_at == LEVELS[chosen]
    for line, (slope, half) in ((found.falling, falling), (found.rising, rising)):
        assert (line.value, line.half_width) == (pytest.approx(slope, abs=1e-9), pytest.approx(half, abs=1e-9))


def test_an_interval_that_touches_nothing_is_neither_above_nor_below_it():
    assert not Interval(1, 0, 2).positive and Interval(1, 1e-9, 2).positive
    assert not Interval(-1, -2, 0).negative and Interval(-1, -2, -1e-9).negative
    assert Interval(1, 0, 4).half_width == 2 and -Interval(1, 0, 4) == Interval(-1, -4, 0)


def test_the_least_that_can_be_told_from_is_two_replicates_and_two_clusters():
    runs, errors = np.array([[3.0, 3.1], [3.2, 3.3]]), np.zeros((4, 2))

    def known(replicates, clusters):
        return Comparison(("a", "b"), runs[:, :replicates], errors, errors, errors[:, 0], clusters).unknown is None

    assert known(2, 2) and not known(1, 2) and not known(2, 1)


def test_the_noise_of_a_difference_is_split_into_that_of_runs_and_that_of_pages():
    pages, runs = np.array([[1.0, 3.0], [0.0, 0.0], [2.0, 0.5]]), np.array([[2.0, 7.0], [1.0, 0.0], [0.0, 0.0]])
    found = Comparison(("a", "b"), np.ones((2, 2)), pages, runs, np.zeros(3), 9).noise("a", "b")
    assert found == (pytest.approx(np.var([-5.0, 1.0, 0.0])), pytest.approx(np.var([-2.0, 0.0, 1.5])))


def test_the_share_of_being_best_counts_resamples_in_which_a_subset_has_the_fewest_bits():
    errors = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [2.0, 2.0, -9.0], [0.0, -1.5, 0.0]])
    found = made([1.0, 2.0, 9.0], errors)
    assert found.best_share(LEVELS[:3]) == {"none": 0.25, "1": 0.5, "2": 0.25}
    assert found.best_share(["2", "none"]) == {"2": 0.25, "none": 0.75}


def test_a_difference_that_is_picked_among_several_is_as_likely_as_the_largest_of_them():
    """Errors of three subsets in 40 resamples: the first and the third, of another size, are off in two each."""
    errors = np.zeros((40, 3))
    errors[:4, 0], errors[4:8, 2] = 1.0, 3.0
    found = made([1.0, 2.0, 4.0], errors)
    assert found.p_value("none", "1") == pytest.approx(5 / 41) and found.p_value("none", "2") == pytest.approx(5 / 41)
    assert found.p_value("none", "1", ["1", "2", "none"]) == pytest.approx(9 / 41)
    assert made([1.0, 2.0], np.zeros((9, 2))).p_value("none", "1") == pytest.approx(1 / 10)
    assert made([1.0, 1.0], np.zeros((9, 2))).p_value("none", "1") == 1.0


def test_resamples_are_ten_thousand_from_a_seed_and_how_many_are_held_at_once_changes_nothing(monkeypatch):
    table = sweep([3.0, 3.1], 2, np.random.default_rng(0), clusters=7)
    plain = compare(*table, LEVELS[:2])
    assert plain.errors.shape == (10_000, 2)
    few, other = (compare(*table, LEVELS[:2], resamples=100, seed=seed).errors for seed in (0, 1))
    assert not np.array_equal(few, other)
    assert np.array_equal(few, compare(*table, LEVELS[:2], resamples=100).errors)
    monkeypatch.setattr(statistics, "HELD_WEIGHTS", 30)
    assert np.array_equal(few, compare(*table, LEVELS[:2], resamples=100).errors)


@pytest.fixture
def freedoms(monkeypatch):
    """The degrees of freedom that tails are drawn with, in order: of runs twice or more, then of pages."""
    drawn, plain = [], statistics._tails
    monkeypatch.setattr(statistics, "_tails", lambda freedom, *more: (drawn.append(freedom), plain(freedom, *more))[1])
    return drawn


def test_pages_have_the_degrees_of_freedom_of_the_strata_that_their_differences_depend_on(freedoms):
    """Kish's number of clusters of 1, 2 and 5 bytes is 64 / 30; of four of one byte it is 4."""
    sizes, clusters = np.array([1, 2, 5, 1, 1, 1, 1]), np.arange(7)
    strata, random = np.repeat(["x", "y"], [3, 4]), np.random.default_rng(0)
    shared, own = random.normal(3, 1, 7), random.normal(0, 0.1, (2, 7))
    kish = {"x": 64 / 30 - 1, "y": 3.0}
    for apart in ("x", "y"):
        bits = shared + np.where(strata == apart, own, 0)
        compare((bits * sizes * LN2)[:, None].repeat(2, axis=1), sizes, clusters, ["a", "b"], strata, resamples=2000)
        assert freedoms[-1] == pytest.approx(kish[apart])
    compare((shared * sizes * LN2)[None, None].repeat(2, axis=0), sizes, clusters, ["a", "b"], strata, resamples=50)
    assert freedoms[-1] == pytest.approx(4 / (1 / kish["x"] + 1 / kish["y"]))


def test_two_clusters_show_how_much_pages_differ_with_one_degree_of_freedom():
    """The difference of two clusters is the one of both drawn in half of the resamples, else it is off by 1, times the root
    of 2; and half of all standard normal draws are within .6745."""
    bits = np.array([[3.0, 5.0], [3.0, 3.0]])[:, None].repeat(2, axis=1)
    found = compare(bits * LN2, [1, 1], [0, 1], ["a", "b"], resamples=100_000)
    errors = np.abs(found.pages[:, 0] - found.pages[:, 1])
    assert (errors == 0).mean() == pytest.approx(0.5, abs=0.01)
    assert np.median(errors[errors > 0]) == pytest.approx(np.sqrt(2) / 0.6745, rel=0.03)
    assert found.unknown is None and found.difference("a", "b").value == 1


def test_one_large_cluster_leaves_one_degree_of_freedom(freedoms):
    compared(np.random.default_rng(0).normal(3, 0.1, (2, 2, 2)) * [100, 1], [100, 1], [0, 1])
    assert freedoms == [1, 1, 1, 1.0]
    compared(*sweep([3.0, 3.1, 3.2], 4, np.random.default_rng(0), clusters=9), apart=["2"])
    assert freedoms[4:7] == [3, 3, 3]
    compared(*sweep([3.0, 3.1, 3.2], 4, np.random.default_rng(0), clusters=9))
    assert freedoms[8:11] == [6, 3, 3]


def test_what_cannot_be_compared_is_named():
    nats, sizes, cluster = sweep([3.0, 3.0], 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="for 3 subsets"):
        compared(nats, sizes, cluster, LEVELS[:3])
    with pytest.raises(ValueError, match="pages, but byte_counts"):
        compared(nats, sizes[:-1], cluster)
    with pytest.raises(ValueError, match="and strata"):
        compared(nats, sizes, cluster, strata=cluster[:-1])
    nats[1, 0, 3] = np.nan
    with pytest.raises(ValueError, match="subset '1', replicate 0, page 3"):
        compared(nats, sizes, cluster)
    with pytest.raises(ValueError, match="has no bytes"):
        compared(np.ones((1, 1, 2)), [5, 0], ["a", "b"])


@pytest.mark.parametrize(("times", "apart"), [(4.1, False), (4.8, True)])
def test_means_that_differ_by_chance_count_alone_from_where_an_f_test_finds_them_apart(times, apart):
    """Of 3 subsets in 5 replicates F(2, 8) is 4.46 at 95 %, by the tables; with other degrees of freedom 3.84 or 5.32."""
    rest = np.outer([1.0, -2.0, 1.0], [2.0, -1.0, 0.0, -1.0, 0.0])
    own = (rest**2).sum() / 8
    means = np.array([1.0, 0.0, -1.0]) * np.sqrt(times * own / 5)
    found = statistics._floor(rest + means[:, None], 200_000)
    within = np.var(rest + means[:, None], axis=0, ddof=1).mean()
    assert found == pytest.approx(times * own if apart else within)
