"""The verdict says one of four things, whatever the order of the list; each is worked out from numbers given by hand."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.statistics import Comparison
from eval.verdict import EIGHTY, Level, _needed, placebo, primary, verdict

NAMES = ("all", "half", "tenth")
LEVELS = [Level("all", 1.0), Level("half", 0.5), Level("tenth", 0.1)]


def made(values, error=0.01, names=NAMES, replicates=3, clusters=40):
    """Levels of these bits per byte; an error of each is `error` in one of ten resamples of its own, either way."""
    count = len(values)
    runs = np.zeros((20 * count, count))
    for at in range(count):
        runs[20 * at : 20 * at + 20, at] = np.tile([error, -error], 10)
    rows = np.repeat(np.asarray(values, float)[:, None], replicates, axis=1)
    return Comparison(tuple(names), rows, 0 * runs, runs, 0 * runs[:, 0], clusters)


def said(values, **options):
    return verdict(made(values), LEVELS, **options)


def test_a_hardest_level_worse_than_a_level_that_helped_is_over_filtering():
    found = said([3.1, 3.0, 3.05])
    assert (found.outcome, found.best, found.hardest, found.begun_by) == ("over_filtering", "half", "tenth", "tenth")
    gap = found.hardest_minus_best
    assert gap.value == pytest.approx(0.05) and gap.half_width == pytest.approx(0.01)


def test_what_is_said_of_the_hardest_is_said_with_one_interval():
    found = said([3.1, 3.0, 3.05])
    assert found.over_best["tenth"] == found.hardest_minus_best


def test_harm_has_begun_by_the_mildest_level_from_which_on_all_are_worse():
    names = ("all", "a", "b", "c", "d")
    levels = [Level(name, 1 - 0.2 * at) for at, name in enumerate(names)]
    assert verdict(made([3.1, 3.0, 3.05, 3.1, 3.2], names=names), levels).begun_by == "b"
    assert verdict(made([3.1, 3.0, 3.05, 3.001, 3.2], names=names), levels).begun_by == "d"


def test_a_best_hardest_level_is_no_sign_of_over_filtering():
    found = said([3.2, 3.1, 3.0])
    assert found.outcome == "none_found" and found.begun_by is None and found.at_most == 0.0


def test_a_hardest_level_that_helped_may_yet_be_a_little_worse():
    found = said([3.2, 3.0, 3.005])
    assert found.outcome == "none_found" and found.at_most == pytest.approx(0.015)


def test_a_filter_that_only_hurts_never_helped():
    assert said([3.0, 3.1, 3.2]).outcome == "never_helped"
    assert said([3.0, 2.999, 3.2]).outcome == "never_helped"  # half is better by less than chance makes


def test_differences_within_chance_cannot_be_told_and_the_price_of_telling_is():
    """A gap of .005 where .01 is the half width: (1.45 * .01 / .005) ** 2 = 8.41 times as much of everything."""
    found = said([3.002, 3.0, 3.005])
    assert found.outcome == "cannot_tell" and found.resolution == pytest.approx(0.01)
    assert found.resolution_at_80 == pytest.approx(EIGHTY * 0.01)
    assert found.needed.times == pytest.approx(8.41) and found.needed.runs == 1.0
    assert (found.needed.replicates, found.needed.clusters) == (26, 337)  # of 3 and 40
    assert said([3.0005, 3.0, 3.0008]).needed is None  # too small to be worth telling
    assert said([3.1, 3.0, 3.05]).needed is None


def test_where_the_hardest_is_best_the_price_is_that_of_telling_it_from_the_next():
    """A gap of .002 where .01 is the half width: (1.45 * .01 / .002) ** 2."""
    found = said([3.005, 3.002, 3.0])
    assert (found.outcome, found.best, found.hardest) == ("cannot_tell", "tenth", "tenth")
    assert found.needed.times == pytest.approx((1.45 * 0.01 / 0.002) ** 2)
    assert (found.best_minus_base.value, found.hardest_minus_best.value) == (pytest.approx(-0.005), pytest.approx(-0.002))


def test_the_price_says_what_share_of_the_noise_is_that_of_runs():
    plain = made([3.002, 3.0, 3.005])
    for runs, share in ((1.0, 1.0), (0.5, 0.5), (0.25, 0.1)):
        comparison = replace(plain, runs=plain.runs * runs, pages=plain.runs * (1 - runs))
        assert verdict(comparison, LEVELS).needed.runs == pytest.approx(share)


def test_on_a_grid_the_price_is_that_of_telling_the_best_from_the_pool():
    found = said([3.002, 3.0, 3.008], grid=True)
    assert found.outcome == "cannot_tell" and found.needed.times == pytest.approx((1.45 * 0.01 / 0.002) ** 2)
    assert found.resolution == max(gap.half_width for gap in found.over_best.values()) > 0
    best_is_base = said([3.0, 3.002, 3.004], grid=True)
    assert best_is_base.needed.times == pytest.approx((1.45 * 0.01 / 0.002) ** 2) and best_is_base.best_minus_base is None


def test_lines_are_fitted_from_five_levels_on():
    names = ("all", "a", "b", "c", "d")
    levels = [Level(name, 1 - 0.2 * at) for at, name in enumerate(names)]
    five = verdict(made([3.2, 3.1, 3.0, 3.1, 3.2], names=names), levels)
    assert five.two_lines.u_shaped and five.two_lines.break_at == "b"
    assert verdict(made([3.2, 3.1, 3.0, 3.1, 3.2], names=names), levels[:4]).two_lines is None
    assert verdict(made([3.2, 3.1, 3.0, 3.1, 3.2], names=names), levels, grid=True).two_lines is None


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(2.9, 3.1), min_size=5, max_size=5), order=st.permutations(range(5)))
def test_the_order_of_the_list_changes_nothing(values, order):
    names = tuple("abcde")
    comparison = made(values, names=names)
    levels = [Level(name, 1 - 0.1 * at) for at, name in enumerate(names)]
    assert verdict(comparison, [levels[at] for at in order], "a") == verdict(comparison, levels, "a")


def test_levels_are_ordered_by_what_they_keep():
    found = verdict(made([3.05, 3.0, 3.1]), [Level("all", 0.1), Level("half", 0.5), Level("tenth", 1.0)])
    assert found.levels == ("tenth", "half", "all") and found.hardest == "all" and found.outcome == "over_filtering"


def test_the_base_need_not_be_a_level():
    comparison = made([3.0, 3.1, 3.2, 2.9], names=(*NAMES, "unfiltered"))
    assert verdict(comparison, LEVELS).outcome == "never_helped"
    found = verdict(comparison, LEVELS, "unfiltered")
    assert found.outcome == "never_helped" and found.best == "all" and found.best_minus_base.value == pytest.approx(0.1)


def test_a_grid_has_no_hardest_level():
    found = said([3.2, 3.0, 3.1], grid=True)
    assert found.outcome == "helped" and found.hardest is None and found.begun_by is None and found.two_lines is None
    assert found.best_minus_base.value == pytest.approx(-0.2)
    assert said([3.0, 3.1, 3.2], grid=True).outcome == "never_helped"
    assert said([3.0, 3.001, 3.001], grid=True).outcome == "cannot_tell"
    assert said([3.001, 3.0, 3.001], grid=True).outcome == "cannot_tell"
    comparison = made([3.1, 3.2, 3.3, 3.0], names=(*NAMES, "unfiltered"))
    assert verdict(comparison, LEVELS, "unfiltered", grid=True).outcome == "never_helped"


def test_a_lost_level_is_named():
    found = verdict(made([3.1, 3.0, 3.05]), LEVELS, lost=[Level("hundredth", 0.01)])
    assert found.lost == ("hundredth",) and found.hardest == "tenth"


@pytest.mark.parametrize("made_up", [{"replicates": 1}, {"clusters": 1}])
def test_one_replicate_or_one_cluster_can_tell_nothing(made_up):
    found = verdict(made([3.1, 3.0, 3.5], **made_up), LEVELS)
    assert found.outcome == "cannot_tell" and found.begun_by is None and found.needed is None


def test_two_levels_are_the_least():
    found = verdict(made([3.1, 3.0, 9.9]), LEVELS[:2])
    assert (found.outcome, found.best, found.at_most) == ("none_found", "half", 0.0)
    with pytest.raises(ValueError, match="two levels or more"):
        verdict(made([3.0, 3.1, 3.2]), LEVELS[:1])
    with pytest.raises(ValueError, match=r"missing \['gone'\]"):
        verdict(made([3.0, 3.1, 3.2]), [*LEVELS, Level("gone", 0.01)])


def test_the_placebo_is_silent_where_there_is_nothing_and_speaks_where_there_is():
    quiet = placebo(made([3.0, 3.002, 3.001]), NAMES)
    assert quiet.speaks is None and quiet.scatter == pytest.approx(0.001) and quiet.widest == pytest.approx(0.002)
    assert placebo(made([3.0, 3.5, 3.0]), NAMES).speaks in itertools.permutations(NAMES, 2)
    assert placebo(made([3.0, 3.5, 3.0]), NAMES[:1]) is None
    assert placebo(made([3.0, 3.5, 3.2]), NAMES).speaks == ("half", "all")
    assert placebo(made([3.0, 3.5, 3.2]), NAMES[:2]).widest == 0.5
    assert placebo(made([3.0, 3.5, 3.2], clusters=1), NAMES).speaks is None


def test_the_primary_hypothesis_is_the_second_minus_the_first():
    comparison = made([3.1, 3.0, 3.05])
    found = primary(comparison, NAMES, ("half", "all"))
    assert (found.one, found.other) == ("all", "half") and found.gap.value == pytest.approx(0.1)
    assert found.p_value == pytest.approx(1 / 61)  # of 60 resamples none has such an error
    assert primary(comparison, NAMES, ("all", "half")).gap == -found.gap
    assert primary(comparison, (*NAMES, "lost"), ("best", "hardest")) is None
    assert primary(comparison, NAMES, ("half", "lost")) is None
    assert primary(comparison, NAMES, ("half", "half")) is None and primary(comparison, NAMES[:1], ("all", "best")) is None
    assert primary(comparison, (), ("half", "hardest")) is None
    two = made([3.1, 3.0], names=NAMES[:2])
    assert primary(two, NAMES[:2], ("all", "half")).gap.value == pytest.approx(-0.1)
    best, other = (primary(comparison, NAMES, names) for names in (("best", "all"), ("all", "best")))
    assert (best.one, best.other, best.gap.value) == ("all", "half", pytest.approx(0.1))
    assert (other.one, other.other, other.gap) == ("half", "all", -best.gap) and other.p_value == best.p_value


def test_a_best_level_that_the_numbers_picked_counts_for_all_that_they_might_have_picked():
    comparison = made([3.1, 3.0, 3.005])
    named, picked = (primary(comparison, NAMES, (name, "hardest")) for name in ("half", "best"))
    assert (picked.one, picked.other) == ("tenth", "half") == (named.one, named.other)
    # an error of .01 in any level moves one of its two differences, one in two of the three levels moves this one
    assert (named.p_value, picked.p_value) == pytest.approx((41 / 61, 1.0))


def test_where_the_hardest_is_best_the_primary_hypothesis_is_against_the_next_best():
    found = primary(made([3.1, 3.05, 3.0]), NAMES, ("best", "hardest"))
    assert (found.one, found.other) == ("tenth", "half") and found.gap.value == pytest.approx(-0.05)


@pytest.mark.parametrize(("times", "told"), [(99.5, True), (100.5, False)])
def test_what_would_take_more_than_a_hundred_times_as_much_is_not_asked_for(times, told):
    gap = SimpleNamespace(value=-0.1, half_width=0.1 * times**0.5 / EIGHTY)
    comparison = SimpleNamespace(difference=lambda *_: gap, noise=lambda *_: (3.0, 1.0), replicates=3, clusters=40)
    needed = _needed(SimpleNamespace(hardest="tenth", best="all"), comparison)
    assert (needed is not None) == told
    if needed:
        assert needed == (pytest.approx(times), 299, 3980, 0.75)
