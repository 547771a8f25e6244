"""Rules against a twin that judges one page at a time, written from their description: null, edges, NaN, text and groups."""

import math

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.draws import draw, id_hashes, uniform
from filters.rules import ANY_OF, SAMPLE, Pool, RuleError, parse, resolve_in
from filters.soft_cuts import TAU

EDGES = [-1.0, -0.0, 0.0, 0.1, 0.1 + 0.2, 0.3, 0.5, 1.0, 1e308, 5e-324]
NUMBERS = st.sampled_from([*EDGES, None, math.nan]) | st.floats(-2, 2)
LANGUAGES = st.sampled_from(["eng", "deu", "other", "None", "", "ein Wort", None])
SHARE = st.sampled_from([0.1, 0.25, 0.3, 0.5, 1.0])
WEIGHT = st.sampled_from(["pages", "bytes", "characters", "tokens"])
WITHIN = st.sampled_from(["language", ["language"], ["language", "flag"]])
BOUND = st.sampled_from(EDGES)
BY_GROUP = st.dictionaries(st.sampled_from(["eng", "deu", "other", "None"]), st.none() | BOUND, min_size=1)
CUTS = [
    st.fixed_dictionaries({}, optional={"min": BOUND, "below": BOUND}).filter(bool),
    *(
        st.fixed_dictionaries({by_group: BY_GROUP}, optional={beside: BOUND, "within": st.just("language")})
        for by_group, beside in (("max", "above"), ("min", "below"), ("above", "max"), ("below", "min"))
    ),
    st.fixed_dictionaries({"in": st.lists(st.sampled_from([0.1, 0.3, 1.0]), min_size=1)}),
    st.fixed_dictionaries({"keep_fraction": SHARE, "weight": WEIGHT}, optional={"within": WITHIN, "lowest": st.booleans()}),
    st.fixed_dictionaries({"between": st.just([0.2, 0.7]), "weight": WEIGHT}, optional={"within": WITHIN}),
    st.fixed_dictionaries({"pareto": st.floats(0, 9)}),
    st.fixed_dictionaries(
        {"temperature": st.fixed_dictionaries({"keep_fraction": SHARE}, optional={"tau": st.floats(0.1, 5)})},
        optional={"within": WITHIN, "lowest": st.booleans(), "weight": WEIGHT},
    ),
]
NULL = st.sampled_from([{}, {"null": "keep"}, {"null": "drop"}])
ON_NUMBERS = st.builds(lambda cut, null: {"score": {**cut, **null}}, st.one_of(CUTS), NULL)
ON_TEXT = st.builds(
    lambda name, values, null: {"language": {name: values, **null}},
    st.sampled_from(["in", "not_in"]),
    st.lists(LANGUAGES.filter(lambda value: value is not None), min_size=1),
    NULL,
)
ON_FLAGS = st.builds(lambda value, null: {"flag": {"is": value, **null}}, st.booleans(), NULL)
SAMPLED = st.builds(lambda share: {SAMPLE: share}, SHARE)
LEAF = ON_NUMBERS | ON_TEXT | ON_FLAGS | SAMPLED
RULES = LEAF | st.builds(lambda sets: {ANY_OF: sets}, st.lists(st.builds(lambda a, b: a | b, LEAF, LEAF), min_size=1))


@st.composite
def pools(draw_from):
    """Up to 30 pages with a number, a text and a flag each, any of which may be missing."""
    number = draw_from(st.integers(1, 30))

    def column(values):
        return draw_from(st.lists(values, min_size=number, max_size=number))

    columns = {"score": column(NUMBERS), "language": column(LANGUAGES), "flag": column(st.sampled_from([True, False, None]))}
    types = {"score": pa.float64(), "language": pa.string(), "flag": pa.bool_()}
    weights = {name: np.array(column(st.integers(0, 9)), np.int64) for name in ("bytes", "characters", "tokens")}
    arrays = {name: pa.array(values, types[name]) for name, values in columns.items()}
    ids = [f"page-{at}" for at in range(number)]
    return Pool(ids, arrays, {"pages": np.ones(number, np.int64), **weights}, draw_from(st.integers(0, 3)))


def measured(value):
    return value is not None and not (isinstance(value, float) and math.isnan(value))


class ByHand:
    """A pool as rows, and whether each passes."""

    def __init__(self, pool):
        self.rows = [
            dict(zip(pool.columns, row, strict=True))
            for row in zip(*(column.to_pylist() for column in pool.columns.values()), strict=True)
        ]
        self.weights = {name: weight.tolist() for name, weight in pool.weights.items()}
        hashes = id_hashes(pool.ids)
        names = {"noisy cut", "temperature", SAMPLE}
        self.u = {name: uniform(draw(hashes, pool.seed, name)).tolist() for name in names}

    def passes(self, at, rules):
        return all(self.one(at, signal, asked) for signal, asked in rules.items())

    def one(self, at, signal, asked):
        if signal == SAMPLE:
            return self.u[SAMPLE][at] < asked
        if signal == ANY_OF:
            return any(self.passes(at, rules) for rules in asked)
        value = self.rows[at][signal]
        if not measured(value) and asked.get("null") == "keep":
            return True
        cuts = {name: wanted for name, wanted in asked.items() if name not in ("null", "within", "weight", "lowest")}
        return all(self.cut(at, signal, name, wanted, asked) for name, wanted in cuts.items())

    def bound(self, at, value, name, wanted):
        if isinstance(wanted, dict):
            language = str(self.rows[at]["language"])
            if language not in wanted and "other" not in wanted:
                return False
            wanted = wanted[language] if language in wanted else wanted["other"]
            if wanted is None:
                return True
        if not measured(value):
            return False
        return {"min": value >= wanted, "max": value <= wanted, "above": value > wanted, "below": value < wanted}[name]

    def cut(self, at, signal, name, wanted, asked):
        value = self.rows[at][signal]
        if name in ("min", "max", "above", "below"):
            return self.bound(at, value, name, wanted)
        if not measured(value):
            return False
        if name in ("in", "not_in", "is"):
            return value == wanted if name == "is" else (value in wanted) == (name == "in")
        if name == "pareto":
            return self.u["noisy cut"][at] < (2 - min(max(value, 0), 1)) ** -wanted
        return self.ranked(at, signal, name, wanted, asked)

    def ranked(self, at, signal, name, wanted, asked):
        keys = {row: self.rows[row][signal] for row in self.group(at, signal, asked)}
        if name == "between":
            low, high = wanted
            return self.kept(at, keys, 1 - low, asked, 1) and self.kept(at, keys, high, asked, -1)
        if name == "temperature":
            keys = self.noisy(keys, signal, wanted.get("tau", TAU), asked)
            return self.kept(at, keys, wanted["keep_fraction"], asked, 1)
        return self.kept(at, keys, wanted, asked, -1 if asked.get("lowest") else 1)

    def group(self, at, signal, asked):
        within = asked.get("within", [])
        columns = [within] if isinstance(within, str) else within
        same = [
            row
            for row in range(len(self.rows))
            if all(
                self.rows[row][c] == self.rows[at][c] or {str(self.rows[row][c]), str(self.rows[at][c])} == {"None"}
                for c in columns
            )
        ]
        return [row for row in same if measured(self.rows[row][signal])]

    def noisy(self, keys, signal, tau, asked):
        values = [row[signal] for row in self.rows if measured(row[signal]) and abs(row[signal]) < 1e150]
        mean = math.fsum(values) / max(len(values), 1)
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / max(len(values), 1))
        sign = -1 if asked.get("lowest") else 1
        gumbel = {row: -math.log(-math.log(max(self.u["temperature"][row], 2**-54))) for row in keys}
        return {row: (sign * value / (tau * deviation) if deviation else 0.0) + gumbel[row] for row, value in keys.items()}

    def kept(self, at, keys, share, asked, sign):
        """The fewest pages, ties whole, from the best on, that hold this share of the weight."""
        weight = self.weights[asked.get("weight", "pages")]
        before = sum(weight[row] for row in keys if sign * keys[row] > sign * keys[at])
        return before < share * sum(weight[row] for row in keys) * (1 - 1e-12) or self.is_first(at, keys, sign, before)

    def is_first(self, at, keys, sign, before):
        return before == 0 and not any(sign * keys[row] > sign * keys[at] for row in keys)


@settings(deadline=None, max_examples=300)
@given(pools(), RULES)
def test_rules_over_columns_are_rules_over_each_page(pool, rules):
    try:
        asked = parse(rules)
    except RuleError:
        return
    found = np.logical_and.reduce([rule.passes(pool) for rule in resolve_in(pool, asked)])
    twin = ByHand(pool)
    assert found.tolist() == [twin.passes(at, rules) for at in range(len(pool))]
