"""Levels: what a sweep asks for, and names that are safe folders whatever the values are."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.levels import (
    MOST_NAME_BYTES,
    band_levels,
    ends_of,
    folder_name,
    hardest,
    order_of,
    other_rules,
    plan,
    second_levels,
    swept,
)
from filters.quantiles import floats, ranks
from filters.rules import Pool, RuleError, uniforms
from filters.soft_cuts import strengths

VALUES = st.one_of(
    st.lists(st.text(max_size=300), min_size=1, max_size=3),
    st.lists(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=3),
)
WORDS = st.one_of(
    st.text(max_size=300), st.sampled_from(["..", ".", "", "../../evil", "a/b", "/etc", "é", "è", "a" * 256, "a~b"])
)


def names_of(values, key="rules.kind.in"):
    return [level.name for level in plan({}, {key: values}, {})][1:]


def is_safe(name):
    return (
        len(name.encode()) <= MOST_NAME_BYTES
        and (Path("/parent") / name).parent == Path("/parent")
        and name not in ("", ".", "..")
        and name.isascii()
        and name.isprintable()
    )


@given(st.lists(WORDS, unique=True, max_size=8))
def test_no_text_names_a_folder_outside_its_parent_and_no_two_the_same(texts):
    names = [folder_name(text) for text in texts]
    assert all(map(is_safe, names))
    assert len(set(names)) == len(names)


def test_a_name_is_its_text_up_to_the_most_bytes_and_then_its_beginning_and_its_hash():
    longest, longer, odd = "a" * MOST_NAME_BYTES, "a" * (MOST_NAME_BYTES + 1), "-a b/c.-"
    assert folder_name(longest) == longest
    assert folder_name(longer) == "a" * 100 + "~" + hashlib.sha256(longer.encode()).hexdigest()[:16]
    assert folder_name(odd) == "a-b-c~" + hashlib.sha256(odd.encode()).hexdigest()[:16]


@given(st.lists(VALUES, min_size=1, max_size=8, unique_by=repr))
def test_levels_that_differ_have_safe_names_that_differ(values):
    distinct = [one for at, one in enumerate(values) if all(one != other for other in values[:at])]
    names = names_of(distinct)
    assert all(map(is_safe, names))
    assert len(set(names)) == len(distinct)


def test_plain_values_are_plain_names():
    assert names_of(["none", 1, 0.5, 1e6], "rules.quality.pareto") == [
        "quality-pareto-none",
        "quality-pareto-1",
        "quality-pareto-0.5",
        "quality-pareto-1000000",
    ]
    assert names_of([["eng", "deu"]], "rules.language.in") == ["language-in-eng-deu"]


def test_the_seventh_digit_makes_another_level():
    assert names_of([0.1234567, 0.1234568], "rules.quality.min") == ["quality-min-0.1234567", "quality-min-0.1234568"]


def test_a_name_does_not_depend_on_the_other_levels():
    alone = names_of([["è"]])
    assert names_of([["é"], ["è"]])[1:] == alone


def test_a_control_of_a_long_name_is_bounded():
    levels = plan({}, {"rules.kind.in": [["a" * 300]]}, {"random": "all"})
    assert all(is_safe(level.name) for level in levels)
    assert levels[2].name.startswith("random-kind-in-a")


@pytest.mark.parametrize(
    ("rules", "sweep", "controls", "says"),
    [
        ({}, {"rules.quality.paretto": [1]}, {}, "did you mean 'pareto'"),
        ({}, {"quality": [1]}, {}, "must be a key of the rules"),
        ({}, {"rules.quality.": [1]}, {}, "must be a key of the rules"),
        ({}, {"rules.quality.pareto": []}, {}, "has no values"),
        ({}, {"rules.quality.pareto": [1, 1.0]}, {}, "a level twice: quality-pareto-1"),
        ({}, {"rules.quality.keep_fraction": [2]}, {}, "a share"),
        ({"quality": 5}, {"rules.quality.min": [2]}, {}, "must be a mapping"),
        ({}, {"rules.quality.pareto": [1]}, {"randm": "all"}, "did you mean 'random'"),
        ({}, {"rules.language.in": [["eng"]]}, {"inverted": "all"}, "no direction to invert"),
        ({}, {"rules.quality.between": [[0.1, 0.9]]}, {"random": "all", "inverted": "all"}, "no direction to invert"),
    ],
)
def test_a_sweep_that_cannot_be_meant_is_refused(rules, sweep, controls, says):
    with pytest.raises(RuleError, match=says):
        plan(rules, sweep, controls)


def test_none_takes_the_condition_and_what_qualifies_it():
    rules = {"quality": {"keep_fraction": 0.5, "within": "language", "null": "keep"}, "word_count": {"min": 5}}
    [_, none, half] = plan(rules, {"rules.quality.keep_fraction": ["none", 0.3]}, {})
    assert none.rules == {"word_count": {"min": 5}}
    assert half.rules["quality"] == {"keep_fraction": 0.3, "within": "language", "null": "keep"}
    assert list(half.rules) == list(rules)


def test_none_leaves_the_other_conditions_of_the_rule():
    rules = {"quality": {"min": 0.1, "pareto": 3, "null": "keep"}}
    assert plan(rules, {"rules.quality.pareto": ["none"]}, {})[1].rules == {"quality": {"min": 0.1, "null": "keep"}}


def test_a_deeper_key_is_swept():
    [_, level] = plan({}, {"rules.quality.pareto.keep_fraction": [0.25]}, {})
    assert level.rules == {"quality": {"pareto": {"keep_fraction": 0.25}}}
    assert swept(level) == [("quality", "pareto")]


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("rules.quality.pareto", [9, 1, "none", 3], 9),
        ("rules.quality.min", [0.9, 0.1], 0.9),
        ("rules.words.max", [100, 10, 50], 10),
        ("rules.quality.keep_fraction", [0.1, 0.5, "none"], 0.1),
        ("rules.quality.pareto", [{"keep_fraction": 0.1}, {"keep_fraction": 0.4}], {"keep_fraction": 0.1}),
        ("rules.quality.between", [[0, 0.5], [0, 0.1]], [0, 0.1]),  # does not say: the last
    ],
)
def test_the_hardest_level_does_not_depend_on_the_order_of_the_list(key, values, expected):
    levels = [level for level in plan({}, {key: values}, {}) if level.control is None]
    assert hardest(levels).levels == {key: expected}


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("rules.a.above", [9, 1], 9),
        ("rules.a.below", [1, 9], 1),
        ("rules.sample", [0.1, 0.5, "none"], 0.1),
        ("rules.quality.temperature", [{"keep_fraction": 0.1}, {"keep_fraction": 0.4}], {"keep_fraction": 0.1}),
        ("rules.flag.is", [True, False], False),  # neither says: the last
        ("rules.quality.upsample", [{0.5: 2}, {0.1: 1}], {0.1: 1}),
    ],
)
def test_every_condition_says_which_way_it_is_harder_or_the_last_level_is_the_hardest(key, values, expected):
    assert hardest([level for level in plan({}, {key: values}, {}) if level.control is None]).levels == {key: expected}


def test_of_levels_over_several_keys_the_last_is_the_hardest():
    levels = plan({}, {"list": [{"rules.a.min": 9, "rules.b.min": 9}, {"rules.a.min": 1, "rules.b.min": 1}]}, {})
    assert hardest(levels[1:]) is levels[2]


def test_controls_stand_at_all_levels_that_say_something_or_at_the_hardest():
    sweep = {"rules.quality.pareto": [9, "none", 1]}
    found = plan({"sample": 0.5}, sweep, {"random": "all", "inverted": "hardest"})
    assert [(level.name, level.control, level.of, level.strength) for level in found] == [
        ("unfiltered", "unfiltered", None, None),
        ("quality-pareto-9", None, None, 0),
        ("quality-pareto-none", None, None, 1),
        ("quality-pareto-1", None, None, 2),
        ("random-quality-pareto-9", "random", "quality-pareto-9", 0),
        ("random-quality-pareto-1", "random", "quality-pareto-1", 2),
        ("inverted-quality-pareto-9", "inverted", "quality-pareto-9", 0),
    ]
    assert [swept(level) for level in found[:4]] == [[], [("quality", "pareto")], [], [("quality", "pareto")]]
    assert [rule.asked for rule in other_rules(found[4])] == [0.5]


def test_the_other_rules_of_a_level_are_those_without_what_is_swept():
    rules = {"quality": {"pareto": 2, "min": 0.1}, "sample": 0.5, "any_of": [{"a": {"min": 1}}], "words": {"max": 9}}
    sweep = {"rules.quality.pareto": [3], "rules.sample": [0.1], "rules.any_of.0.a.min": [2], "rules.words.max": [5]}
    [_, level] = plan(rules, sweep, {})
    assert swept(level) == [("quality", "pareto"), ("sample", ""), ("any_of", "0"), ("words", "max")]
    assert {rule.signal: rule.asked for rule in other_rules(level)} == {"quality": {"min": 0.1}}


def made_pool(pages=40):
    draw = np.random.default_rng(3)
    columns = {"quality": pa.array(draw.random(pages).round(1)), "words": pa.array(draw.integers(0, 9, pages).astype(float))}
    weights = {"pages": np.ones(pages, np.int64), "bytes": draw.integers(1, 99, pages)}
    return Pool([f"page-{at}" for at in range(pages)], columns, weights, seed=5)


def test_a_control_takes_pages_by_chance_or_by_how_little_the_swept_rules_want_them():
    pool, among = made_pool(), np.arange(40) % 3 > 0
    sweep = {"rules.quality.pareto": [9], "rules.words.min": [4]}
    [_, _, by_chance, inverted] = plan({}, sweep, {"random": "all", "inverted": "all"})
    quality, words = pool.numbers("quality"), pool.numbers("words")
    unwanted = strengths(1 - quality, pool.uniforms()), -words

    order = order_of(by_chance, "bytes")
    column = order.column(pool, among, {})
    assert order.name == "random by bytes" and (column.places == pool.draw("random")[among]).all()
    assert (column.weights == pool.weights["bytes"][among]).all() and (column.rows == among).all()

    one = order_of(plan({}, {"rules.quality.pareto": [9]}, {"inverted": "all"})[-1], "pages")
    column = one.column(pool, among, {})
    assert one.name == "inverted quality pareto by pages" and (floats(column.places) == unwanted[0][among]).all()
    assert (column.draws == pool.draw("inverted")[among]).all() and (column.weights == 1).all()

    both = order_of(inverted, "bytes")
    quantiles = {"quality": np.sort(unwanted[0]), "words": np.sort(unwanted[1])}
    summed = ranks(unwanted[0], quantiles["quality"]) + ranks(unwanted[1], quantiles["words"])
    column = both.column(pool, among, quantiles)
    assert both.name == "inverted quality pareto words highest by bytes" and (floats(column.places) == summed[among]).all()
    assert (column.draws == pool.draw("inverted")[among]).all() and (column.weights == pool.weights["bytes"][among]).all()


def test_an_inverted_control_takes_the_large_first_where_the_small_are_kept():
    pool = made_pool()
    for rules, sweep, sign, name in [
        ({}, {"rules.words.max": [4]}, 1, "lowest"),
        ({"words": {"lowest": True}}, {"rules.words.keep_fraction": [0.5]}, 1, "lowest"),
        ({}, {"rules.words.keep_fraction": [0.5]}, -1, "highest"),
    ]:
        order = order_of(plan(rules, sweep, {"inverted": "all"})[-1], "pages")
        assert order.name == f"inverted words {name} by pages"
        assert (floats(order.column(pool, np.ones(40, bool), {}).places) == sign * pool.numbers("words")).all()


def rules_at(sweep, rules=None, seed=0):
    """The rules of every level."""
    return [level.rules for level in plan(rules or {}, sweep, {}, seed)][1:]


def test_levels_written_out_are_those_levels():
    sweep = {"list": [{"rules.a.min": 1}, {"rules.a.min": 2, "rules.sample": 0.5}]}
    assert rules_at(sweep, {"b": {"max": 3}}) == [
        {"b": {"max": 3}, "a": {"min": 1}},
        {"b": {"max": 3}, "a": {"min": 2}, "sample": 0.5},
    ]


RANDOM = {"random": 60, "rules.a.min": {"from": 1, "to": 90}, "rules.b.max": {"from": 0.001, "to": 1.0, "log": True}}


def test_a_random_search_stays_in_its_ranges_and_more_of_it_begins_with_the_fewer():
    found = rules_at(RANDOM)
    assert len(found) == 60
    assert all(1 <= one["a"]["min"] <= 90 and isinstance(one["a"]["min"], int) for one in found)
    below = sum(one["b"]["max"] < 0.0316 for one in found)
    assert 15 < below < 45  # by its logarithm, half of the range
    assert rules_at(RANDOM | {"random": 20}) == found[:20]
    assert rules_at(RANDOM, seed=1) != found


@pytest.mark.parametrize("seed", [0, 1])
def test_each_key_of_a_random_search_is_drawn_by_itself_from_hashes_of_the_seed(seed):
    ranges = {"rules.d.min": {"from": 0.5, "to": 2, "log": False}, "rules.e.in": [["x"], ["y"], ["z"]]}
    found = rules_at(RANDOM | ranges, seed=seed)
    u = {
        key: uniforms([str(at) for at in range(60)], seed, f"sweep rules.{key}")
        for key in ("a.min", "b.max", "d.min", "e.in")
    }
    assert [one["a"]["min"] for one in found] == [round(1 + 89 * at) for at in u["a.min"]]
    assert [one["b"]["max"] for one in found] == [float(f"{0.001 * 1000**at:.6g}") for at in u["b.max"]]
    assert [one["d"]["min"] for one in found] == [float(f"{0.5 + 1.5 * at:.6g}") for at in u["d.min"]]
    assert [one["e"]["in"] for one in found] == [["xyz"[int(3 * at)]] for at in u["e.in"]]
    assert seed or found == [level.rules for level in plan({}, RANDOM | ranges, {})][1:]


@pytest.mark.parametrize(
    "asked",
    [
        {"from": 1, "to": 1},
        {"from": math.nan, "to": 1},
        {"from": 0, "to": math.inf},
        {"from": False, "to": 1},
        {"from": 0, "to": True},
        {"from": "0", "to": 1},
        {"from": 1},
        {"from": 1, "to": 2, "log": "yes"},
        {"from": 1, "to": 2, "logarithm": True},
        {"from": 0, "to": 2, "log": True},
        7,
    ],
)
def test_a_range_has_two_ends_that_are_numbers_and_a_flag(asked):
    with pytest.raises(RuleError, match=r"rules\.a\.min must be a list of values or \{from: low, to: high\}"):
        plan({}, {"random": 3, "rules.a.min": asked}, {})
    assert len(plan({}, {"random": 3, "rules.a.min": {"from": 0, "to": 9.5}}, {})) == 4


def test_a_thousand_levels_are_made_and_not_one_more():
    assert len(plan({}, {"rules.a.min": list(range(1000))}, {})) == 1001
    for sweep in (
        {"rules.a.min": list(range(1001))},
        {"list": [{"rules.a.min": 1}] * 1001},
        {"random": 1001, "rules.a.min": [1]},
    ):
        with pytest.raises(RuleError, match="1,001 levels are asked for, at most 1,000"):
            plan({}, sweep, {})
    assert (
        len(plan({}, {"random": 1000, "rules.a.min": [1]}, {})) == len(plan({}, {"random": 1, "rules.a.min": [1]}, {})) == 2
    )


def test_a_random_search_over_values_has_each_level_once():
    found = rules_at({"random": 500, "rules.a.min": [1, 2], "rules.b.pareto": ["none", 3]})
    assert sorted(map(repr, found)) == sorted(
        map(repr, [{"a": {"min": 1}}, {"a": {"min": 2}}, *({"a": {"min": n}, "b": {"pareto": 3}} for n in (1, 2))])
    )


def test_a_key_within_a_bound_leaves_the_other_groups_as_they_are():
    rules = {"a": {"min": {"eng": 50, "deu": 20}}}
    assert rules_at({"rules.a.min.eng": [10]}, rules) == [{"a": {"min": {"eng": 10, "deu": 20}}}]


def test_a_quotas_smallest_budget_is_its_hardest_level_and_can_be_inverted():
    rules = {"quality": {"quota": {"within": "topic", "keep_fraction": 0.5, "floor": 0.05}}, "word_count": {"min": 50}}
    levels = plan(rules, {"rules.quality.quota.keep_fraction": [0.1, "none", 0.3]}, {"inverted": "hardest"})
    assert [level.name for level in levels if level.control == "inverted"] == ["inverted-quality-quota-keep_fraction-0.1"]
    assert [dict(level.rules) for level in levels if level.levels == {"rules.quality.quota.keep_fraction": "none"}] == [
        {"word_count": {"min": 50}}
    ]
    with pytest.raises(RuleError, match=r"a floor of 0.05, above its keep_fraction of 0.01"):
        plan(rules, {"rules.quality.quota.keep_fraction": [0.3, 0.01]}, {})


def test_a_sample_and_a_set_of_any_of_can_be_swept():
    rules = {"any_of": [{"a": {"min": 1}}, {"b": {"max": 2}}]}
    assert rules_at({"rules.sample": ["none", 0.5]}) == [{}, {"sample": 0.5}]
    assert rules_at({"rules.any_of.1.b.max": [7]}, rules) == [{"any_of": [{"a": {"min": 1}}, {"b": {"max": 7}}]}]
    assert rules_at({"rules.any_of": ["none"]}, rules) == [{}]


def test_a_random_control_of_a_sample_is_planned_and_an_inverted_one_refused():
    sweep = {"rules.sample": [0.5]}
    assert [level.name for level in plan({}, sweep, {"random": "all"})] == ["unfiltered", "sample-0.5", "random-sample-0.5"]
    with pytest.raises(RuleError, match="'sample' has no direction to invert"):
        plan({}, sweep, {"inverted": "all"})


@pytest.mark.parametrize(
    ("sweep", "says"),
    [
        ({"rules.a.min": list(range(50_000)), "rules.b.max": [1, 2]}, "100,000 levels are asked for, at most 1,000"),
        ({"rules.a.min": []}, "has no values"),
        ({"list": []}, "must be a list of levels"),
        ({"list": [{"rules.a.min": 1}], "rules.b.min": [1]}, "list stands alone, but rules.b.min is there too"),
        ({"random": 0, "rules.a.min": [1]}, "a number of levels, at least 1, got 0"),
        ({"random": 100_000, "rules.a.min": [1]}, "100,000 levels"),
        ({"random": 5}, "there is no key to draw"),
        ({"random": 5, "rules.a.min": {"from": 9, "to": 1}}, "{from: low, to: high}"),
        ({"random": 5, "rules.a.min": {"from": 0, "to": 1, "log": True}}, "a positive range"),
        ({"rules.a.min": {"from": 0, "to": 1}}, "{from: .., to: ..} needs random:"),
        ({"rules.any_of.7.a.min": [1]}, "must name a set"),
        ({"rules.a": [1]}, "must be a key of the rules"),
    ],
)
def test_a_list_or_search_that_cannot_be_meant_is_refused(sweep, says):
    with pytest.raises(RuleError) as refusal:
        plan({}, sweep, {})
    assert says in str(refusal.value)


def test_a_share_and_a_curve_are_plain_names_whether_keys_are_numbers_or_read_from_a_file():
    assert names_of([{"keep_fraction": 0.5}], "rules.quality.temperature") == ["quality-temperature-keep_fraction-0.5"]
    assert names_of([{"0.4": 0, "0.95": 7}], "rules.quality.upsample") == ["quality-upsample-0.4-0-0.95-7"]
    assert names_of([{0.4: 0, 0.95: 7}], "rules.quality.upsample") == ["quality-upsample-0.4-0-0.95-7"]


RULES = {"word_count": {"min": 50}, "quality": {"pareto": 2, "min": 0.1}}
SWEEP = {"rules.quality.pareto": ["none", 9]}


def test_second_levels_vary_another_scorer_with_the_swept_keys_off():
    found = second_levels(RULES, SWEEP, {"rules.books.pareto": [3, 9]})
    assert [(level.name, level.control) for level in found] == [
        ("second-books-pareto-3", "second"),
        ("second-books-pareto-9", "second"),
    ]
    assert found[1].rules == {"word_count": {"min": 50}, "quality": {"min": 0.1}, "books": {"pareto": 9}}
    assert second_levels(RULES, SWEEP, {}) == []


@pytest.mark.parametrize(
    ("sweep", "second", "says"),
    [
        (SWEEP, {"rules.quality.pareto": [3, 9]}, "rules.quality.pareto is a key of the sweep"),
        (SWEEP, {"rules.books.pareto": [3]}, "takes two levels or more"),
        (SWEEP, {"books": [3, 9]}, "diagnostics.second: 'books' must be a key of the rules"),
        (SWEEP, {"random": 3}, "neither it nor the sweep"),
        ({"list": [{"rules.quality.pareto": 1}]}, {"rules.books.pareto": [3, 9]}, "neither it nor the sweep"),
    ],
)
def test_second_levels_that_cannot_be_meant_are_refused(sweep, second, says):
    with pytest.raises(RuleError, match=r"diagnostics\.second: ") as refused:
        second_levels(RULES, sweep, second)
    assert says in str(refused.value)


def test_a_band_lies_between_levels_as_they_keep_and_not_as_they_are_listed():
    kept = {"hard": 10, "none": 100, "middle": 40}
    assert ends_of("band-removed", kept) == ("none", "hard")
    assert ends_of("band-margin", kept) == ("middle", "hard")


def test_bands_need_levels_in_an_order():
    levels = plan(RULES, SWEEP, {"random": "all"})
    assert [level.name for level in band_levels(["removed", "margin"], levels)] == ["band-removed", "band-margin"]
    for sweep in ({}, {**SWEEP, "rules.word_count.min": [20, 50]}, {"rules.quality.pareto": [9]}):
        assert band_levels([], plan(RULES, sweep, {})) == []
        with pytest.raises(RuleError, match="need a sweep over one key"):
            band_levels(["removed"], plan(RULES, sweep, {}))
