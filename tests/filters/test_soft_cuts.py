"""Noisy cuts, temperatures, samples and curves of repeats: against their formulas, and nested in what they are asked."""

import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.draws import mix
from filters.rules import Pool, RuleError, parse, resolve_in
from filters.soft_cuts import Spread, repeats

PAGES = 2_000_000
PILE = {1: 0.5894, 2: 0.3649, 3: 0.2390, 4: 0.1671, 5: 0.1239, 6: 0.0974, 7: 0.0802, 8: 0.0685, 9: 0.0602}
"""What Pareto levels keep of Common Crawl in Table 6 of The Pile (Gao et al. 2020, arXiv 2101.00027)."""
MIXTURE = {0.05: 0.71, 0.6: 0.215, 0.95: 0.075}
"""Scores and their shares: a mixture that has these ratios, no finding about the web."""


def pool_of(scores, seed=0, **columns):
    """Pages whose ids are numbers, so that millions are made quickly."""
    hashes = mix(np.arange(len(scores), dtype=np.uint64))
    columns = {"score": pa.array(scores)} | {name: pa.array(column) for name, column in columns.items()}
    return Pool(hashes, columns, {"pages": np.ones(len(scores), np.int64)}, seed, hashes)


def kept(pool, **rules):
    """What rules keep, by page."""
    return np.logical_and.reduce([rule.passes(pool) for rule in resolve_in(pool, parse(rules))])


def copies(pool, **conditions):
    [rule] = resolve_in(pool, parse({"score": conditions}))
    return rule.copies(pool)


@pytest.fixture(scope="module")
def pile():
    return pool_of(np.repeat(list(MIXTURE), [round(PAGES * share) for share in MIXTURE.values()]))


@pytest.mark.parametrize(("a", "ratio"), PILE.items())
def test_a_mixture_of_scores_keeps_what_the_piles_table_says(pile, a, ratio):
    assert abs(kept(pile, score={"pareto": a}).mean() - ratio) < 0.001


def test_stronger_noisy_cuts_keep_pages_that_milder_ones_keep(pile):
    masks = [kept(pile, score={"pareto": a}) for a in PILE]
    assert all((hard <= mild).all() for mild, hard in itertools.pairwise(masks))


@pytest.mark.parametrize("score", [0.0, 0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("a", [0.5, 1, 3, 9])
def test_a_noisy_cut_keeps_two_minus_score_to_the_minus_a(score, a):
    pages, share = 100_000, (2 - score) ** -a
    found = kept(pool_of(np.full(pages, score), seed=1), score={"pareto": a}).mean()
    assert abs(found - share) < 4 * math.sqrt(share * (1 - share) / pages)


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 9))
@settings(deadline=None, max_examples=20)
def test_samples_and_temperatures_are_nested_in_the_share(one, other, seed):
    scores = np.random.default_rng(seed).normal(size=2000)
    pool = pool_of(scores, seed)
    low, high = sorted([one, other])
    for rule in (lambda share: {"sample": share}, lambda share: {"score": {"temperature": {"keep_fraction": share}}}):
        assert (kept(pool, **rule(low)) <= kept(pool, **rule(high))).all()


def test_a_sample_is_its_share_and_says_nothing_of_any_signal():
    pool = pool_of(np.repeat([0.0, 1.0], 50_000))
    mask = kept(pool, sample=0.3)
    assert abs(mask.mean() - 0.3) < 0.006
    assert abs(mask[:50_000].mean() - mask[50_000:].mean()) < 0.012


def test_a_temperature_keeps_its_share_exactly():
    pool = pool_of(np.random.default_rng(0).random(10_000))
    assert kept(pool, score={"temperature": {"keep_fraction": 0.3}}).sum() == 3000


def test_a_small_share_is_drawn_in_proportion_to_the_exponential_of_the_score():
    """The first of many draws without replacement are nearly draws with it: P is proportional to exp(score / tau)."""
    scores = np.repeat([0.0, 1.0, 2.0], 100_000)
    tau = 1 / np.std(scores)  # so that the scale is one
    mask = kept(pool_of(scores), score={"temperature": {"keep_fraction": 0.01, "tau": float(tau)}})
    drawn = mask.reshape(3, -1).sum(axis=1)
    expected = 3000 * np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum()
    assert (np.abs(drawn - expected) < 4 * np.sqrt(expected) + 0.02 * expected).all()


def test_a_low_temperature_is_a_cut_and_a_high_one_is_chance():
    scores = np.random.default_rng(0).permutation(10_000) / 10_000
    best = scores >= 0.7
    for tau, least, most in ((0.001, 0.99, 1.0), (1000, 0.27, 0.33)):
        mask = kept(pool_of(scores), score={"temperature": {"keep_fraction": 0.3, "tau": tau}})
        assert least <= best[mask].mean() <= most


def test_a_temperature_from_the_lowest_prefers_small_values():
    scores = np.arange(10_000) / 10_000
    mask = kept(pool_of(scores), score={"temperature": {"keep_fraction": 0.3, "tau": 0.5}, "lowest": True})
    assert scores[mask].mean() < 0.35


def test_a_temperature_over_a_signal_that_is_the_same_everywhere_is_chance():
    mask = kept(pool_of(np.full(10_000, 5.0)), score={"temperature": {"keep_fraction": 0.3}})
    assert mask.sum() == 3000


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.integers(1, 49))
def test_a_deviation_is_the_same_over_parts_and_numpys(values, cut):
    whole = Spread.of(np.array(values))
    parts = Spread.of(np.array(values[cut:])) + Spread.of(np.array(values[:cut]))
    assert abs(whole.deviation - np.std(values)) <= 1e-6 * (1 + np.abs(values).max())
    assert abs(parts.deviation - whole.deviation) <= 1e-6 * (1 + np.abs(values).max())


def test_a_curve_drops_its_bottom_and_repeats_its_top():
    scores = np.random.default_rng(0).permutation(100_000) / 100_000
    found = copies(pool_of(scores), upsample={0.4: 0, 0.95: 7})
    assert (found[scores < 0.399] == 0).all()
    assert (found[scores > 0.951] == 7).all()
    for quantile in (0.5, 0.675, 0.9):
        near = np.abs(scores - quantile) < 0.01
        assert abs(found[near].mean() - 7 * (quantile - 0.4) / 0.55) < 0.05


def test_a_curve_gives_whole_copies_and_one_more_by_chance():
    found = copies(pool_of(np.full(10_000, 3.0)), upsample={"0": 2.25})
    assert set(found.tolist()) == {2, 3}
    assert abs(found.mean() - 2.25) < 0.02


def test_a_curve_from_the_lowest_repeats_small_values():
    scores = np.arange(1000.0)
    found = copies(pool_of(scores), upsample={0.5: 0, 0.9: 3}, lowest=True)
    assert (found[:90] == 3).all() and (found[510:] == 0).all()


def test_a_page_that_is_missing_the_signal_is_dropped_or_read_once():
    scores = [*np.arange(100.0).tolist(), None]
    assert copies(pool_of(scores), upsample={0.5: 5})[-1] == 0
    assert copies(pool_of(scores), upsample={0.5: 5}, null="keep")[-1] == 1
    assert not copies(pool_of(pa.array([None, None], pa.float64())), upsample={0.5: 5}).any()


def test_quantiles_of_one_value_put_every_page_at_their_middle():
    assert repeats(np.array([1.0]), np.ones(1024), {0.4: 0, 0.5: 4}, np.array([0.5])).tolist() == [4]


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"sample": 0}, "a share in (0, 1], got 0"),
        ({"sample": {"keep_fraction": 0.1}}, "a share in (0, 1]"),
        ({"score": {"temperature": 0.3}}, "{keep_fraction: share in (0, 1]}"),
        ({"score": {"temperature": {"keep_fraction": 0.3, "tau": 0}}}, "tau: a number > 0"),
        ({"score": {"temperature": {"keep_fraction": 0.3, "temp": 1}}}, "{keep_fraction: share in (0, 1]}"),
        ({"score": {"upsample": {0.4: 0, 1.2: 7}}}, "quantiles in [0, 1]"),
        ({"score": {"upsample": {0.4: 0, 0.9: 700}}}, "repeats from 0 to 100"),
        ({"score": {"upsample": {0.4: 0}}}, "not all 0"),
        ({"score": {"upsample": {"high": 2}}}, "quantiles in [0, 1]"),
        ({"score": {"upsample": {0.4: 2}}, "other": {"upsample": {0.4: 2}}}, "upsample by one signal"),
        ({"any_of": [{"score": {"upsample": {0.4: 2}}}]}, "cannot be one way of several"),
        ({"any_of": []}, "a list of sets"),
        ({"any_of": [{}]}, "each entry must be a set of rules"),
        ({"any_of": [{"any_of": [{"score": {"min": 1}}]}]}, "cannot stand in an any_of"),
        ({"score": {"min": {"eng": "five"}}}, "or one for each group"),
        ({"score": {"min": {"eng": 5}, "max": {"eng": 4}}}, "keeps nothing of the group 'eng'"),
        ({"score": {"keep_fraction": 0.5, "within": ["language", "language"]}}, "a list of different ones"),
        ({"score": {"min": 5, "within": "language"}}, "within says nothing without"),
    ],
)
def test_what_cannot_be_meant_is_refused(rules, says):
    with pytest.raises(RuleError) as refusal:
        parse(rules)
    assert says in str(refusal.value)


def test_groups_of_any_of_must_all_be_met():
    pool = pool_of([1.0, 2.0, 3.0, 4.0], words=[1, 9, 1, 9])
    one = [{"score": {"min": 4}}, {"words": {"max": 5}}]
    assert kept(pool, any_of=one).tolist() == [True, False, True, True]
    assert kept(pool, any_of=[one, [{"score": {"below": 3}}, {"words": {"min": 9}}]]).tolist() == [True, False, False, True]


def test_a_sample_may_be_one_way_of_several():
    pool = pool_of(np.arange(10_000.0))
    mask = kept(pool, any_of=[{"score": {"min": 5000}}, {"sample": 0.1}])
    assert mask[5000:].all() and abs(mask[:5000].mean() - 0.1) < 0.02


def test_a_share_stands_within_each_combination_of_columns():
    columns = {"language": ["eng", "eng", "eng", "eng", None, None], "flag": [True, True, False, False, True, True]}
    pool = pool_of([1.0, 2.0, 10.0, 20.0, 0.1, 0.2], **columns)
    share = {"keep_fraction": 0.5, "within": ["language", "flag"]}
    assert kept(pool, score=share).tolist() == [False, True, False, True, False, True]
    [rule] = resolve_in(pool, parse({"score": share}))
    assert rule.facts() == {"min": {"None / true": 0.2, "eng / false": 20.0, "eng / true": 2.0}}


def test_a_bound_of_a_group_holds_in_it_alone_and_null_is_none():
    columns = {"language": ["eng", "eng", "zho", "zho", "deu", None]}
    pool = pool_of([60.0, 40.0, 1.0, None, 99.0, 99.0], **columns)
    bound = {"eng": 50, "zho": None}
    assert kept(pool, score={"min": bound}).tolist() == [True, False, True, True, False, False]
    assert kept(pool, score={"min": bound | {"other": 90}}).tolist() == [True, False, True, True, True, True]
