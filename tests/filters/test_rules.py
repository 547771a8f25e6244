"""Rules: bounds, noisy cuts and shares, against the formula, against brute force, and over null and NaN."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.draws import id_hashes
from filters.joined import together
from filters.quantiles import count, find, merged
from filters.rules import (
    Pool,
    Rule,
    RuleError,
    check_types,
    keeps_highest,
    lower,
    parse,
    preference,
    rankings,
    resolve,
    resolve_in,
    uniforms,
    upper,
    without,
)
from filters.soft_cuts import Spread, strengths


def pool_of(values, *, weights=None, seed=0, **columns):
    ids = [f"page-{at}" for at in range(len(values))]
    everything = {"signal": pa.array(values)} | {name: pa.array(column) for name, column in columns.items()}
    pages = np.ones(len(values), np.int64)
    return Pool(ids, everything, {"pages": pages, "bytes": np.array(weights or pages, np.int64)}, seed)


def kept(pool, **conditions):
    [rule] = resolve_in(pool, parse({"signal": conditions}))
    return rule.passes(pool).tolist()


def test_min_and_max_keep_the_bound_and_above_and_below_do_not():
    pool = pool_of([1.0, 2.0, 3.0])
    assert kept(pool, min=2) == [False, True, True]
    assert kept(pool, max=2) == [True, True, False]
    assert kept(pool, above=2) == [False, False, True]
    assert kept(pool, below=2) == [True, False, False]


@pytest.mark.parametrize(
    "conditions",
    [{"min": -1e308}, {"max": 1e300}, {"above": -1}, {"below": 9}, {"pareto": 0}, {"keep_fraction": 1.0}, {"is": True}],
)
def test_a_missing_signal_never_passes(conditions):
    assert kept(pool_of([None, 1.0]), **conditions)[0] is False


def test_nan_counts_as_missing():
    assert kept(pool_of([math.nan, 1.0]), min=0) == [False, True]
    assert kept(pool_of([math.nan, 1.0]), min=0, null="keep") == [True, True]


def test_null_keep_lets_the_missing_through_and_nobody_else():
    conditions = {"min": 2, "null": "keep"}
    assert kept(pool_of([None, 1.0, 3.0]), **conditions) == [True, False, True]


def test_in_and_not_in_take_values_and_drop_the_missing():
    languages = ["eng", "deu", None]
    assert kept(pool_of(languages), **{"in": ["eng"]}) == [True, False, False]
    assert kept(pool_of(languages), not_in=["eng"]) == [False, True, False]


def test_a_flag_is_compared_as_true_or_false():
    assert kept(pool_of([True, False, None]), **{"is": False}) == [False, True, False]


@pytest.mark.parametrize(("a", "score", "share"), [(1, 0.5, 2 / 3), (3, 0.0, 0.125), (9, 0.9, 1.1**-9), (9, 0.5, 1.5**-9)])
def test_a_noisy_cut_keeps_two_minus_score_to_the_minus_a(a, score, share):
    """numpy.random.pareto(a) > 1 - score has this probability (Lomax); 4 standard errors on 40,000 pages."""
    pages = 40_000
    found = np.mean(kept(pool_of([score] * pages), pareto=a))
    assert abs(found - share) < 4 * math.sqrt(share * (1 - share) / pages)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0, 9), st.floats(0, 9))
def test_noisy_cuts_are_nested(scores, a, b):
    pool = pool_of(scores)
    mild, hard = kept(pool, pareto=min(a, b)), kept(pool, pareto=max(a, b))
    assert all(m or not h for m, h in zip(mild, hard, strict=True))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 9))
def test_a_page_is_kept_up_to_its_own_strength(scores, a):
    pool = pool_of(scores)
    u = pool.uniforms()
    with np.errstate(divide="ignore"):
        expected = u < (2 - np.array(scores)) ** -a
    found = np.array(kept(pool, pareto=a))
    close = np.isclose(u, (2 - np.array(scores)) ** -a, rtol=1e-12)
    assert (found == expected)[~close].all()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.77, 1.0])
def test_a_noisy_cut_can_be_solved_for_a_share(share):
    scores = np.random.default_rng(0).random(20_000)
    found = np.mean(kept(pool_of(list(scores)), pareto={"keep_fraction": share}))
    assert abs(found - share) <= 0.001


def test_a_score_of_one_is_always_kept_and_one_over_one_counts_as_one():
    assert (strengths(np.array([1.0, 1.00001]), np.array([0.9, 0.9])) == np.inf).all()


def test_a_share_is_taken_by_weight_and_from_the_lowest():
    pool = pool_of([1.0, 2.0, 3.0, 4.0], weights=[70, 10, 10, 10])
    assert kept(pool, keep_fraction=0.7, lowest=True, weight="bytes") == [True, False, False, False]
    assert kept(pool, keep_fraction=0.5) == [False, False, True, True]


def test_a_share_within_a_column_has_a_threshold_for_each_value():
    pool = pool_of([1.0, 2.0, 10.0, 20.0], language=["eng", "eng", "deu", "deu"])
    assert kept(pool, keep_fraction=0.5, within="language") == [False, True, False, True]


def test_pages_without_a_group_are_a_group_of_their_own():
    pool = pool_of([1.0, 2.0, 10.0, 20.0, None], language=["eng", "eng", None, None, "fra"])
    assert kept(pool, keep_fraction=0.5, within="language") == [False, True, False, True, False]


@pytest.mark.parametrize("lowest", [True, False])
def test_a_share_of_a_signal_that_is_nowhere_measured_keeps_nothing(lowest):
    pool = pool_of(pa.array([None, None], pa.float64()), language=["eng", "deu"])
    assert kept(pool, keep_fraction=1.0, lowest=lowest) == [False, False]
    assert kept(pool, keep_fraction=1.0, lowest=lowest, within="language") == [False, False]
    assert kept(pool, pareto={"keep_fraction": 1.0}) == [False, False]
    for conditions in ({"keep_fraction": 1.0, "lowest": lowest}, {"pareto": {"keep_fraction": 0.5}}):
        [rule] = resolve_in(pool, parse({"signal": conditions}))
        assert rule.passes(pool_of([-1e308, 1e308])).tolist() == [False, False]  # held-out pages, that it was not found over


def test_a_share_by_a_weight_that_nobody_counted_is_refused():
    with pytest.raises(RuleError, match="weight: tokens needs a tokenizer"):
        kept(pool_of([1.0]), keep_fraction=0.5, weight="tokens")


SHARES = [
    {"keep_fraction": 0.3},
    {"keep_fraction": 0.3, "lowest": True, "weight": "bytes"},
    {"keep_fraction": 0.5, "within": "language", "weight": "bytes"},
    {"between": [0.2, 0.7], "within": "language"},
    {"pareto": {"keep_fraction": 0.4}},
    {"pareto": {"keep_fraction": 0.6}, "min": 0.2, "null": "keep"},
]


def test_rules_resolved_over_parts_are_those_resolved_over_all_pages():
    rng = np.random.default_rng(0)
    values = pa.array(rng.random(500).round(2), mask=rng.random(500) < 0.1)
    columns = {"signal": values, "language": pa.array(rng.choice(["eng", "deu", "fra"], 500))}
    weights = {"pages": np.ones(500, np.int64), "bytes": rng.integers(0, 99, 500)}
    ids = [f"page-{at}" for at in range(500)]
    pool = Pool(ids, columns, weights)

    def part(rows):
        taken = {name: column.take(pa.array(rows)) for name, column in columns.items()}
        return Pool([ids[row] for row in rows], taken, {name: weight[rows] for name, weight in weights.items()})

    parts = [part(rows) for rows in np.array_split(rng.permutation(500), 7)]
    rules = [rule for one in SHARES for rule in parse({"signal": one})]
    deviations = {"signal": Spread.of(pool.numbers("signal")).deviation}
    found = find(
        rankings(rules, deviations),
        lambda wanted: merged([count(wanted, lambda ranking, one=one: ranking.column(one)) for one in parts]),
    )
    for rule, whole in zip(rules, resolve_in(pool, rules), strict=True):
        assert resolve(rule, found, deviations) == whole
        assert 0 < whole.passes(pool).sum() < 500


@pytest.mark.parametrize(
    ("conditions", "read"),
    [
        ({"keep_fraction": 0.5, "weight": "characters"}, {"signal", "text_characters"}),
        ({"between": [0.1, 0.2], "within": ["language", {"tenths": "length"}]}, {"signal", "language", "length"}),
        ({"pareto": {"keep_fraction": 0.5}, "weight": "tokens"}, {"signal"}),
        ({"upsample": {0.5: 2}}, {"signal"}),
        (
            {"quota": {"within": "language", "keep_fraction": 0.5, "weight": "characters"}},
            {"signal", "language", "text_characters"},
        ),
        ({"min": 3}, set()),
    ],
)
def test_a_ranking_says_which_columns_are_read_for_it(conditions, read):
    found = rankings(parse({"signal": conditions}), {})
    assert {name for ranking in found for name in ranking.columns} == read


def test_levels_that_differ_in_a_share_alone_are_one_ranking():
    rules = [rule for share in (0.1, 0.2, 0.1) for rule in parse({"signal": {"keep_fraction": share}})]
    [targets] = rankings(rules, {}).values()
    assert targets.amounts == (0.1, 0.2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"min": 0.12345678}, {"min": 0.12345679}),
        ({"pareto": 3.0000000000000004}, {"pareto": 3.0}),
        ({"keep_fraction": 0.5, "within": "language"}, {"keep_fraction": 0.5000001, "within": "language"}),
        (
            {"keep_fraction": 0.5, "within": "language"},
            {"keep_fraction": 0.5, "within": "language", "weight": "bytes"},
        ),
        ({"min": 1}, {"min": 1, "null": "keep"}),
    ],
)
def test_rules_that_differ_have_different_texts(one, other):
    pool = pool_of([0.1, 0.2, 0.3], weights=[1, 2, 3], language=["eng", "eng", "deu"])
    texts = {rule.text for asked in (one, other) for rule in resolve_in(pool, parse({"signal": asked}))}
    assert len(texts) == 2


def test_a_threshold_is_told_in_as_few_digits_as_name_it():
    [rule] = resolve_in(pool_of([1.0]), parse({"signal": {"min": -50, "max": 0.1 + 0.2, "below": 7.0}}))
    assert rule.text == "signal min -50 max 0.30000000000000004 below 7"


@pytest.mark.parametrize(
    ("conditions", "text", "facts"),
    [
        ({"min": 1, "null": "keep"}, "min 1 null keep", {"min": 1, "null": "keep"}),
        ({"in": [1, 2]}, "in 1,2", {"in": [1, 2]}),
        ({"pareto": 3}, "pareto 3", {"pareto": 3.0}),
        ({"keep_fraction": 0.5}, "min 3", {"min": 3.0}),
        ({"keep_fraction": 0.5, "lowest": True}, "max 2", {"max": 2.0}),
        ({"between": [0.25, 0.75]}, "min 2 max 3", {"min": 2.0, "max": 3.0}),
        (
            {"keep_fraction": 0.5, "within": "language"},
            "min 0.5 of each group within language",
            {"min": {"deu": 4.0, "eng": 2.0}},
        ),
        (
            {"keep_fraction": 0.5, "within": ["language"], "lowest": True, "weight": "bytes"},
            "max 0.5 of the bytes of each group within language",
            {"max": {"deu": 4.0, "eng": 1.0}},
        ),
        (
            {"min": {"eng": 2, "other": None}},
            "min eng 2, other None within language",
            {"min": {"eng": 2, "other": None}},
        ),
        ({"upsample": {0.5: 2, 1: 4}}, "upsample 0.5 2, 1 4", {"upsample": {0.5: 2.0, 1.0: 4.0}}),
        ({"upsample": {0.5: 2}, "lowest": True}, "upsample 0.5 2 lowest", {"upsample": {0.5: 2.0}}),
    ],
)
def test_a_rule_is_told_with_the_thresholds_it_resolved_to(conditions, text, facts):
    pool = pool_of([1.0, 2.0, 3.0, 4.0], weights=[9, 1, 1, 9], language=["eng", "eng", "deu", "deu"])
    [rule] = resolve_in(pool, parse({"signal": conditions}))
    assert (rule.text, rule.facts()) == (f"signal {text}", facts)


def test_a_temperature_is_told_with_its_scale_and_a_quota_with_its_ends():
    """Of 1, 2, 3 and 4 the deviation is the root of 1.25, and half of it where tau is one half."""
    pool = pool_of([1.0, 2.0, 3.0, 4.0], language=["eng", "eng", "deu", "deu"])
    [rule] = resolve_in(pool, parse({"signal": {"temperature": {"keep_fraction": 0.5, "tau": 0.5}, "lowest": True}}))
    [(condition, bound)] = rule.facts().items()
    assert rule.text == f"signal temperature {bound!r} at {-math.sqrt(1.25) / 2!r}" and condition == "temperature"
    asked = {"quota": {"keep_fraction": 0.5, "within": "language", "floor": 0.25, "ceiling": 0.75}}
    [rule] = resolve_in(pool, parse({"signal": asked}))
    assert rule.text == "signal min 0.5 of all pages and 0.25 to 0.75 of each group within language"
    assert rule.facts() == {"min": {"deu": 4.0, "eng": 2.0}}


def test_sets_of_rules_and_samples_are_told_as_they_are_asked():
    asked = {"any_of": [{"signal": {"min": 2}, "language": {"in": ["eng"]}}, {"sample": 0.5}]}
    [rule] = resolve_in(pool_of([1.0]), parse(asked))
    assert rule.text == "any_of (signal min 2 and language in eng) or (sample 0.5)"
    assert rule.facts() == [{"signal": {"min": 2}, "language": {"in": ["eng"]}}, {"sample": {"share": 0.5}}]
    assert rule.rule.asked == asked["any_of"] and rule.rule.columns == {"signal", "language"}
    assert not rule.repeats and not rule.rule.keeps_null
    [rule] = parse({"signal": {"keep_fraction": 0.5, "within": {"tenths": "length"}, "weight": "characters"}})
    assert rule.columns == {"signal", "length", "text_characters"} and rule.weights == {"characters", "pages"}


@pytest.mark.parametrize(
    "conditions",
    [
        {"pareto": 0},
        {"pareto": {"keep_fraction": 1}},
        {"keep_fraction": 1},
        {"keep_fraction": 1e-9},
        {"between": [0, 1]},
        {"temperature": {"keep_fraction": 1, "tau": 1e-9}},
        {"upsample": {0: 0, 1: 100}},
        {"min": {"eng": None}},
        {"max": {"eng": 5, "other": 4}, "min": {"eng": 5}},
        {"min": 0, "weight": "bytes", "between": [0, 0.1]},
        {"weight": "tokens", "pareto": {"keep_fraction": 0.1}},
        {"weight": "tokens", "pareto": 2, "keep_fraction": 0.5},
        {"weight": "tokens", "pareto": "none"},
        {"quota": {"within": "language", "keep_fraction": 0.5}, "lowest": True},
    ],
)
def test_what_lies_at_the_end_of_a_range_is_meant(conditions):
    [rule] = parse({"signal": conditions})
    assert set(rule.conditions) == {name for name, value in conditions.items() if value != "none"}


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ({"pareto": -1e-9}, "a number >= 0"),
        ({"pareto": True}, "a number >= 0"),
        ({"pareto": {"keep_fraction": 0}}, "a number >= 0"),
        ({"pareto": {"keep_fraction": 0.5, "tau": 1}}, "a number >= 0"),
        ({"pareto": {}}, "a number >= 0"),
        ({"keep_fraction": 0}, "a share in (0, 1]"),
        ({"keep_fraction": 1.0000001}, "a share in (0, 1]"),
        ({"keep_fraction": True}, "a share in (0, 1]"),
        ({"temperature": {"tau": 1}}, "tau: a number > 0 if it is not to be 2"),
        ({"temperature": {"keep_fraction": 0.1, "tau": True}}, "tau: a number > 0"),
        ({"between": [0.5, 0.5]}, "two quantiles [low, high] with 0 <= low < high <= 1"),
        ({"between": [0.5]}, "two quantiles"),
        ({"between": [0.1, 0.2, 0.3]}, "two quantiles"),
        ({"between": [-0.1, 0.3]}, "two quantiles"),
        ({"between": [0.1, 1.1]}, "two quantiles"),
        ({"between": [False, True]}, "two quantiles"),
        ({"between": (0.1, 0.2)}, "two quantiles"),
        ({"upsample": {0.5: 100.5}}, "repeats from 0 to 100"),
        ({"upsample": {0.5: -0.5, 0.6: 1}}, "repeats from 0 to 100"),
        ({"upsample": {-0.5: 1}}, "quantiles in [0, 1]"),
        ({"upsample": {0.5: 1, "0.50": 2}}, "quantiles in [0, 1]"),
        ({"upsample": 3}, "quantiles in [0, 1]"),
        ({"in": "eng"}, "a list with at least one value"),
        ({"not_in": []}, "a list with at least one value"),
        ({"is": 1}, "true or false"),
        ({"min": 1, "null": "kept"}, "keep or drop"),
        ({"keep_fraction": 0.5, "lowest": 1}, "true or false"),
        ({"keep_fraction": 0.5, "within": []}, "the name of a column or {tenths: number}"),
        ({"min": math.inf}, "a finite number"),
        ({"min": True}, "a finite number"),
        ({"min": {}}, "a finite number"),
        ({"min": {1: 3}}, "a finite number"),
        ({"above": {"eng": math.nan}}, "a finite number"),
        ({"min": 5, "above": 6, "max": 5.5}, "its lower bound 6 is not under its upper bound 5.5"),
        ({"min": {"eng": 5, "other": 3}, "below": 3}, "keeps nothing of the group 'eng'"),
        ({"min": {"eng": 2, "other": 3}, "below": 3}, "keeps nothing of the group 'other'"),
        ({"min": 1, "within": "language"}, "within says nothing without keep_fraction or temperature or between or bounds"),
        (
            {"weight": "bytes", "upsample": {0.5: 2}},
            "weight says nothing without keep_fraction or temperature or between or",
        ),
    ],
)
def test_what_lies_just_outside_is_refused(conditions, says):
    with pytest.raises(RuleError) as refusal:
        parse({"signal": conditions})
    assert says in str(refusal.value) and "'signal'" in str(refusal.value)


def test_bounds_are_told_by_their_tightest_and_strict_ones_win_where_they_are_equal():
    assert lower([{"min": 1}, {"above": 2}, {"min": 2}]) == (2, "above") and lower([]) == (-math.inf, "min")
    assert lower([{"min": 3}, {"above": 2}]) == (3, "min") and lower([{"min": {"eng": 1}}]) == (-math.inf, "min")
    assert upper([{"max": 3}, {"below": 2}, {"max": 2}]) == (2, "below") and upper([]) == (math.inf, "max")
    assert upper([{"max": 1}, {"below": 2}]) == (1, "max")


def test_a_condition_that_is_taken_away_takes_what_only_it_needed():
    asked = {"keep_fraction": 0.5, "lowest": True, "within": "language", "null": "keep", "min": 1}
    assert without(asked, "keep_fraction") == {"within": "language", "null": "keep", "min": 1}
    assert without({"pareto": 3, "null": "keep"}, "pareto") == {}


@pytest.mark.parametrize(
    ("conditions", "highest"),
    [
        ({"min": 1}, True),
        ({"above": 1}, True),
        ({"pareto": 1}, True),
        ({"keep_fraction": 0.5}, True),
        ({"temperature": {"keep_fraction": 0.5}}, True),
        ({"upsample": {0.5: 2}}, True),
        ({"quota": {"within": "language", "keep_fraction": 0.5}}, True),
        ({"max": 1}, False),
        ({"below": 1}, False),
        ({"keep_fraction": 0.5, "lowest": True}, False),
        ({"upsample": {0.5: 2}, "lowest": True}, False),
        ({"keep_fraction": 0.5, "lowest": False}, True),
    ],
)
def test_a_rule_wants_what_it_keeps_as_it_gets_harder(conditions, highest):
    pool = pool_of([1.0, 3.0])
    [rule] = parse({"signal": conditions})
    assert keeps_highest(rule) == highest
    if "pareto" not in conditions:
        assert preference(rule, pool).tolist() == ([1, 3] if highest else [-1, -3])
        assert preference(rule, pool, invert=True).tolist() == ([-1, -3] if highest else [1, 3])


@pytest.mark.parametrize("conditions", [{"in": [1]}, {"is": True}, {"between": [0.1, 0.9]}, {"min": 1, "max": 2}])
def test_a_rule_without_a_direction_cannot_be_inverted(conditions):
    with pytest.raises(RuleError, match="'signal' has no direction to invert"):
        keeps_highest(Rule("signal", conditions))


def test_numbers_are_not_compared_with_texts():
    with pytest.raises(RuleError, match="'signal' compares numbers, but that signal is string: use in: or not_in:"):
        kept(pool_of(["a", "b"]), min=1)
    assert kept(pool_of([True, False, None]), min=1) == [True, False, False]
    assert kept(pool_of([2**53 + 1, 3]), **{"in": [2**53 + 1]}) == [True, False]


def test_pages_whose_ids_are_hashed_already_draw_the_same():
    pool = pool_of([0.5] * 50)
    hashed = Pool([""] * 50, pool.columns, pool.weights, id_hash=id_hashes(pool.ids))
    assert (hashed.uniforms() == pool.uniforms()).all()


def test_a_band_keeps_what_lies_between_two_quantiles():
    pool = pool_of([float(value) for value in range(1, 11)])
    assert kept(pool, between=[0.2, 0.8]) == [False] * 2 + [True] * 6 + [False] * 2


def test_what_is_drawn_for_a_page_depends_on_its_id_and_the_seed_alone():
    ids = [f"<urn:uuid:{at}>" for at in range(1000)]
    assert (uniforms(ids, 1)[::-1] == uniforms(ids[::-1], 1)).all()
    assert (uniforms(ids, 1) != uniforms(ids, 2)).all()
    assert 0.45 < uniforms(ids, 1).mean() < 0.55
    assert uniforms(["page"], 0)[0] == uniforms(["page"], 0)[0] < 1


def test_inverting_a_bound_ranks_the_worst_pages_first():
    pool = pool_of([0.1, 0.9, None])
    assert preference(Rule("signal", {"min": 0.5}), pool, invert=True)[:2].tolist() == [-0.1, -0.9]
    assert preference(Rule("signal", {"max": 0.5}), pool, invert=True)[:2].tolist() == [0.1, 0.9]
    assert np.isnan(preference(Rule("signal", {"min": 0.5}), pool, invert=True)[2])


def test_a_noisy_cut_inverts_the_score_with_the_same_draws():
    """The strength of a score s with the draw u is -ln(u) / ln(2 - s)."""
    pool, rule = pool_of([0.0, 0.25, 0.9, 1.0, None]), Rule("signal", {"pareto": 3})
    scores = np.array([0.0, 0.25, 0.9, 1.0])
    with np.errstate(divide="ignore"):
        strength, inverted = (-np.log(pool.uniforms()[:4]) / np.log(2 - some) for some in (scores, 1 - scores))
    for found, expected in ((preference(rule, pool), strength), (preference(rule, pool, invert=True), inverted)):
        assert found[:4] == pytest.approx(expected) and np.isnan(found[4])


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"word_count": {"mn": 50}}, "did you mean 'min'"),
        ({"word_count": 50}, "must be a mapping"),
        ({"word_count": {"min": "many"}}, "min must be a finite number, or one for each group"),
        ({"word_count": {"min": math.nan}}, "finite number"),
        ({"word_count": {"min": 9, "max": 3}}, "keeps nothing"),
        ({"quality": {"keep_fraction": 1.2}}, "a share in (0, 1]"),
        ({"quality": {"pareto": -1}}, "a number >= 0"),
        ({"quality": {"between": [0.8, 0.2]}}, "two quantiles"),
        ({"language": {"in": []}}, "at least one value"),
        ({"quality": {"weight": "words"}}, "pages, bytes, characters or tokens"),
        ({"word_count": {"above": 5, "max": 5}}, "keeps nothing"),
        ({"word_count": {"min": 5, "below": 5}}, "keeps nothing"),
        ({"word_count": {}}, "cuts nothing: give it one of min, max"),
        ({"quality": {"null": "keep"}}, "cuts nothing"),
        ({"quality": {"lowest": True}}, "cuts nothing"),
        ({"quality": {"min": 0.5, "lowest": True}}, "lowest says nothing without keep_fraction or temp"),
        (
            {"quality": {"pareto": 3, "within": "language"}},
            "between or bounds per group",
        ),
        (
            {"quality": {"min": 0.5, "weight": "bytes"}},
            "weight says nothing without keep_fraction",
        ),
        ({"quality": {"pareto": 3, "weight": "bytes"}}, "weight says nothing of a pareto that is a number"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_with_its_name(rules, says):
    with pytest.raises(RuleError, match=r"word_count|quality|language") as refusal:
        parse(rules)
    assert says in str(refusal.value)


def test_bounds_that_meet_keep_the_value_between_them():
    assert kept(pool_of([4.0, 5.0, 6.0]), min=5, above=4, max=5) == [False, True, False]


TYPES = {"words": pa.int64(), "score": pa.float64(), "flag": pa.bool_(), "language": pa.string()}


@pytest.mark.parametrize(
    ("signal", "conditions", "says"),
    [
        ("language", {"min": 3}, "min: 3 cannot be meant, the signal is text: use in: [...]"),
        ("language", {"is": True}, "the signal is text"),
        ("language", {"keep_fraction": 0.5}, "the signal is text"),
        ("language", {"in": ["eng", 3]}, "the signal is text: list texts"),
        ("words", {"is": True}, "is: True cannot be meant, the signal is a number: use min, max"),
        ("words", {"pareto": 3}, "pareto takes a score in [0, 1]"),
        ("words", {"in": ["many"]}, "list numbers"),
        ("words", {"not_in": [1.5]}, "list numbers"),
        ("words", {"in": [True]}, "list numbers"),
        ("flag", {"in": ["yes"]}, "the signal is a flag: use is: true or is: false"),
        ("flag", {"pareto": 3}, "the signal is a flag"),
        ("score", {"keep_fraction": 0.5, "within": "score"}, "within takes columns that name groups"),
        (
            "score",
            {"keep_fraction": 0.5, "within": {"tenths": "language"}},
            "within takes tenths of numbers, but 'language' is text",
        ),
        (
            "score",
            {"keep_fraction": 0.5, "within": ["language", {"tenths": "flag"}]},
            "but 'flag' is a flag: write flag alone",
        ),
        ("flag", {"temperature": {"keep_fraction": 0.5}}, "the signal is a flag: temperature takes a number"),
        ("flag", {"upsample": {0.5: 2}}, "upsample takes a number"),
        ("flag", {"quota": {"within": "language", "keep_fraction": 0.5}}, "quota takes a number"),
        ("language", {"not_in": [True]}, "list texts"),
        ("score", {"in": [True]}, "list numbers"),
        ("score", {"in": ["0.5"]}, "list numbers"),
    ],
)
def test_a_condition_that_does_not_fit_its_signal_is_refused(signal, conditions, says):
    with pytest.raises(RuleError) as refusal:
        check_types(parse({signal: conditions}), TYPES)
    assert f"rule {signal!r}" in str(refusal.value) and says in str(refusal.value)


def test_whole_numbers_may_name_groups():
    check_types(parse({"score": {"keep_fraction": 0.5, "within": "words"}}), TYPES)
    assert kept(pool_of([1.0, 2.0, 3.0, 4.0], topic=[0, 0, 11, 11]), keep_fraction=0.5, within="topic") == [
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("signal", "conditions"),
    [
        ("language", {"in": ["eng"], "null": "keep"}),
        ("words", {"min": 3, "not_in": [4]}),
        ("score", {"pareto": 3, "in": [0, 0.5]}),
        ("score", {"keep_fraction": 0.5, "within": "language"}),
        ("flag", {"is": False}),
        ("flag", {"max": 0}),
    ],
)
def test_a_condition_that_fits_passes(signal, conditions):
    check_types(parse({signal: conditions}), TYPES)


def test_a_rule_on_a_signal_that_no_table_has_names_the_nearest():
    [rule] = resolve_in(pool_of([1.0]), parse({"signl": {"min": 1}}))
    with pytest.raises(RuleError, match="did you mean 'signal'"):
        rule.passes(pool_of([1.0]))
    with pytest.raises(RuleError, match="did you mean 'signal'"):
        resolve_in(pool_of([1.0]), parse({"signl": {"keep_fraction": 0.5}}))


def test_none_takes_a_condition_away():
    [rule] = parse({"signal": {"min": 1, "pareto": "none"}})
    assert rule.conditions == {"min": 1}
    assert parse({"sample": "none"}) == parse({"any_of": "none"}) == []
    with pytest.raises(RuleError, match="'signal' must be a mapping"):
        parse({"signal": "none"})


BOUND = st.integers(-3, 3) | st.sampled_from([-0.5, 0.5])
ONE_RULE = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("min", "max", "above", "below"), BOUND | st.just("none")),
        "in": st.lists(st.integers(-3, 3), min_size=1),
        "not_in": st.lists(st.integers(-3, 3), min_size=1),
        "null": st.sampled_from(["keep", "drop"]),
    },
).filter(lambda rule: set(rule) - {"null"})
SOURCES = st.dictionaries(
    st.sampled_from("abcd"), st.dictionaries(st.sampled_from(["signal", "other"]), ONE_RULE), min_size=1, max_size=4
)


def joined(sources):
    """The rules together, or that they cannot be."""
    try:
        return together(sources)
    except RuleError:
        return "refused"


@given(SOURCES, st.data())
def test_no_order_of_sources_changes_the_joined_rules(sources, data):
    shuffled = {name: sources[name] for name in data.draw(st.permutations(list(sources)))}
    assert joined(shuffled) == joined(sources)


@given(SOURCES)
def test_joined_rules_keep_what_the_rules_of_every_source_keep(sources):
    values = [None, *(at / 4 for at in range(-16, 17))]
    pool = pool_of(values, other=list(reversed(values)))
    each = [rule.passes(pool) for rules in sources.values() for rule in resolve_in(pool, unchecked(rules))]
    all_pass = np.logical_and.reduce([np.ones(len(pool), bool), *each])
    rules = joined(sources)
    if rules != "refused":
        found = [rule.passes(pool) for rule in resolve_in(pool, unchecked(rules))]
        assert (np.logical_and.reduce([np.ones(len(pool), bool), *found]) == all_pass).all()


def unchecked(rules):
    """Rules whose bounds may leave nothing, as one source alone may have them."""
    return [Rule(signal, {name: value for name, value in one.items() if value != "none"}) for signal, one in rules.items()]


def test_the_tightest_bound_of_each_side_holds_and_of_equal_ones_the_strict():
    rules = {"a": {"n": {"min": 1, "max": 9}}, "b": {"n": {"min": 3}}, "c": {"n": {"above": 3, "below": 12}}}
    assert together(rules) == {"n": {"above": 3, "max": 9}}


def test_null_passes_only_where_every_rule_lets_it():
    keep, drop = {"n": {"min": 1, "null": "keep"}}, {"n": {"min": 2}}
    assert together({"a": keep, "b": drop}) == {"n": {"min": 2}}
    assert together({"a": keep, "b": {"n": {"min": 2, "null": "keep"}}}) == {"n": {"min": 2, "null": "keep"}}


def test_a_share_joins_a_bound_and_an_equal_share_is_one():
    share = {"keep_fraction": 0.3, "weight": "bytes"}
    assert together({"a": {"n": share}, "b": {"n": {"min": 1}}, "c": {"n": share}}) == {"n": {"min": 1, **share}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"min": 5}, {"max": 4}),
        ({"min": 5}, {"below": 5}),
        ({"in": ["eng"]}, {"in": ["deu"]}),
        ({"in": ["eng"]}, {"not_in": ["eng", "deu"]}),
        ({"is": True}, {"is": False}),
        ({"keep_fraction": 0.3}, {"keep_fraction": 0.5}),
        ({"keep_fraction": 0.3}, {"keep_fraction": 0.3, "lowest": True}),
        ({"keep_fraction": 0.3}, {"keep_fraction": 0.3, "within": "language"}),
        ({"pareto": 3}, {"pareto": 9}),
        ({"between": [0.1, 0.9]}, {"between": [0.2, 0.9]}),
    ],
)
def test_what_cannot_hold_together_is_refused_with_both_sources_named(one, other):
    with pytest.raises(RuleError, match=r"'n'.*preset a \{.*and rules: \{.*replace: true"):
        together({"preset a": {"n": one}, "rules:": {"n": other}})
