"""Rules: conditions on signals, resolved against a pool of pages and then applied without any order effect.

Every condition that cuts is a bound on some key. For `pareto` the key is the page's own strength: with u drawn from the page
id, u < (2 - score)^-a holds exactly for a < -ln(u) / ln(2 - score), so the subsets of a sweep over a are nested, and solving
for a share to keep is a quantile. `keep_fraction` and `between` become thresholds the same way; what a rule resolved to is
kept beside what was asked.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from filters.signals import nearest

Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]

BOUNDS: dict[str, Callable[[Floats, float | Floats], Truth]] = {
    "min": lambda values, bound: values >= bound,
    "max": lambda values, bound: values <= bound,
    "above": lambda values, bound: values > bound,
    "below": lambda values, bound: values < bound,
}
CUTS = (*BOUNDS, "pareto", "keep_fraction", "between", "in", "not_in", "is")
QUALIFIES = {
    "null": CUTS,
    "lowest": ("keep_fraction",),
    "within": ("keep_fraction", "between"),
    "weight": ("keep_fraction", "between", "pareto"),
}
"""Conditions that say how another one is meant, and which."""
CONDITIONS = [*CUTS, *QUALIFIES]
WEIGHTS = ("pages", "bytes", "tokens")


class RuleError(ValueError):
    """A rule that cannot be meant: unknown condition, threshold out of range, a signal that is not there."""


def uniforms(ids: Sequence[str], seed: int, purpose: str = "") -> Floats:
    """One number in [0, 1) per page, drawn from a hash (XXH3, 64 bit) of page id, seed and purpose; shape (pages,).

    The same page gets the same number on any machine, in any order and partition, under any retry.
    """
    salt = f"{seed}:{purpose}:"
    hashes = np.fromiter((xxhash.xxh3_64_intdigest((salt + page).encode()) for page in ids), np.uint64, len(ids))
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def strengths(scores: Floats, u: Floats) -> Floats:
    """The a up to which a noisy cut keeps each page: u < (2 - score)^-a iff a < strength; shape (pages,), null as NaN.

    `numpy.random.pareto(a)` is Lomax, P(X > x) = (1 + x)^-a, so "keep if X > 1 - score" (Brown et al. 2020, appendix A;
    Gao 2021) keeps with probability (2 - score)^-a. A score of 1 is always kept.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        strength = -np.log(u) / np.log(2.0 - np.clip(scores, 0.0, 1.0))
    strength[scores >= 1.0] = np.inf
    strength[np.isnan(scores)] = np.nan
    return strength


@dataclass(frozen=True)
class Pool:
    """The pages a choice is made from: ids, their signal columns, and what each page weighs."""

    ids: Sequence[str]
    columns: Mapping[str, pa.ChunkedArray | pa.Array]
    weights: Mapping[str, npt.NDArray[np.int64]]
    seed: int = 0
    _kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str) -> pa.ChunkedArray | pa.Array:
        """A signal's column, or one sentence that says what there is."""
        if name not in self.columns:
            raise RuleError(
                f"a rule needs the signal {name!r}, which no table has: {nearest(name, list(self.columns))}. "
                "Add its group under signals: and run jobs.score again."
            )
        return self.columns[name]

    def numbers(self, name: str) -> Floats:
        """A signal as float64 with NaN where it is null; shape (pages,)."""
        if name not in self._kept:
            column = self.column(name)
            if not (
                pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)
            ):
                raise RuleError(f"rule {name!r} compares numbers, but that signal is {column.type}: use in: or not_in:")
            self._kept[name] = np.asarray(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), np.float64)
        kept: Floats = self._kept[name]
        return kept

    def uniforms(self) -> Floats:
        """The pages' draws for noisy cuts."""
        if "u" not in self._kept:
            self._kept["u"] = uniforms(self.ids, self.seed)
        kept: Floats = self._kept["u"]
        return kept


@dataclass(frozen=True)
class Rule:
    """What is asked of one signal, as in the experiment file: conditions by name."""

    signal: str
    conditions: Mapping[str, Any]

    @property
    def keeps_null(self) -> bool:
        """Whether a page on which the signal is null passes."""
        return bool(self.conditions.get("null", "drop") == "keep")


@dataclass(frozen=True)
class Test:
    """One resolved condition: a bound on a key, per group where it was asked `within` a column."""

    condition: str
    bound: Any
    groups: Mapping[str, float] | None = None
    within: str | None = None

    def passes(self, signal: str, pool: Pool) -> Truth:
        """True where the page passes; shape (pages,). Null never passes here."""
        if self.condition in ("in", "not_in"):
            column = pool.column(signal)
            found = pc.is_in(column, value_set=pa.array(self.bound, column.type))
            truth = pc.and_(found if self.condition == "in" else pc.invert(found), pc.is_valid(column))
            return np.asarray(truth.to_numpy(zero_copy_only=False), bool)
        values = pool.numbers(signal)
        if self.condition == "is":
            return np.asarray(values == float(self.bound), bool)
        if self.condition == "pareto":
            return np.asarray(strengths(values, pool.uniforms()) > self.bound, bool)
        compare = BOUNDS[self.condition]
        if self.groups is None:
            return compare(values, self.bound)
        names = pool.column(str(self.within)).to_pylist()
        bounds = np.array([self.groups.get(str(name), np.nan) for name in names], np.float64)
        return compare(values, bounds)


@dataclass(frozen=True)
class Resolved:
    """A rule whose thresholds are numbers: what is applied, and what `subset.json` records."""

    rule: Rule
    tests: tuple[Test, ...]

    @property
    def text(self) -> str:
        """The rule as a person reads it, e.g. `word_count min 50 max 100000`."""
        parts = [
            f"{test.condition} {_short(test.bound)}" + (f" within {test.within}" if test.groups else "")
            for test in self.tests
        ]
        return " ".join([self.rule.signal, *parts])

    def facts(self) -> dict[str, Any]:
        """The thresholds for `subset.json`."""
        facts: dict[str, Any] = {test.condition: dict(test.groups) if test.groups else test.bound for test in self.tests}
        return facts | ({"null": "keep"} if self.rule.keeps_null else {})

    def passes(self, pool: Pool) -> Truth:
        """True where the page passes every test of the rule; shape (pages,). A null signal fails unless `null: keep`."""
        truth = np.ones(len(pool), bool)
        for test in self.tests:
            truth &= test.passes(self.rule.signal, pool)
        if self.rule.keeps_null:
            truth |= np.asarray(
                pc.is_null(pool.column(self.rule.signal), nan_is_null=True).to_numpy(zero_copy_only=False), bool
            )
        return truth


def _short(bound: Any) -> str:
    if isinstance(bound, float):
        return f"{bound:.6g}"
    return ",".join(map(str, bound)) if isinstance(bound, list | tuple) else str(bound)


def parse(rules: Mapping[str, Any]) -> list[Rule]:
    """Check what was asked, before any table is read. Raises RuleError with the rule, what it says and what is expected."""
    return [_parse(signal, conditions) for signal, conditions in rules.items()]


def _parse(signal: str, conditions: Any) -> Rule:
    if not isinstance(conditions, Mapping):
        raise RuleError(f"rule {signal!r} must be a mapping such as {{min: 50}}, got {conditions!r}")
    for name in conditions:
        if name not in CONDITIONS:
            raise RuleError(f"rule {signal!r} has an unknown condition {name!r}: {nearest(name, CONDITIONS)}")
    asked = {name: value for name, value in conditions.items() if value != "none"}
    for name, value in asked.items():
        _check(signal, name, value)
    _check_together(signal, conditions)
    low = max((float(asked[name]) for name in ("min", "above") if name in asked), default=-math.inf)
    high = min((float(asked[name]) for name in ("max", "below") if name in asked), default=math.inf)
    if low > high or (low == high and (asked.get("above") == low or asked.get("below") == high)):
        raise RuleError(f"rule {signal!r} keeps nothing: its lower bound {low:g} is not under its upper bound {high:g}")
    return Rule(signal, asked)


def _check_together(signal: str, conditions: Mapping[str, Any]) -> None:
    """A rule says something, and each of its conditions has what it qualifies."""
    if not any(name in CUTS for name in conditions):
        raise RuleError(f"rule {signal!r} cuts nothing: give it one of {', '.join(CUTS)}, or take it out")
    for name in conditions:
        if name in QUALIFIES and not any(cut in conditions for cut in QUALIFIES[name]):
            raise RuleError(f"rule {signal!r}: {name} says nothing without {' or '.join(QUALIFIES[name])}")
    if "weight" in conditions and not {"keep_fraction", "between"} & set(conditions):
        pareto = conditions["pareto"]
        if not isinstance(pareto, Mapping) and pareto != "none":
            raise RuleError(
                f"rule {signal!r}: weight says nothing of a pareto that is a number: use {{keep_fraction: share}}"
            )


def without(conditions: Mapping[str, Any], taken: str) -> dict[str, Any]:
    """The conditions of a rule without one of them, nor those that only said how it was meant."""
    left = {name: value for name, value in conditions.items() if name != taken}
    return {name: value for name, value in left.items() if name in CUTS or any(cut in left for cut in QUALIFIES[name])}


def check_types(rules: Sequence[Rule], types: Mapping[str, pa.DataType]) -> None:
    """Raise RuleError where a condition cannot be meant of a signal of its type; every signal has one in `types`."""
    for rule in rules:
        for name, value in rule.conditions.items():
            expected = _unfit(name, value, types[rule.signal])
            if expected:
                kind = _kind(types[rule.signal])
                raise RuleError(f"rule {rule.signal!r}: {name}: {value!r} cannot be meant, the signal is {kind}: {expected}")
        within = rule.conditions.get("within")
        if within is not None and _kind(types[within]) == "a number":
            raise RuleError(f"rule {rule.signal!r}: within takes a column that names groups, but {within!r} is a number")


def _kind(type_: pa.DataType) -> str:
    if pa.types.is_boolean(type_):
        return "a flag"
    return "text" if pa.types.is_string(type_) or pa.types.is_large_string(type_) else "a number"


def _unfit(name: str, value: Any, type_: pa.DataType) -> str:
    """What to write instead where a condition does not fit a type; empty where it does."""
    kind = _kind(type_)
    if kind == "text" and name in ("is", "pareto", "keep_fraction", "between", *BOUNDS):
        return "use in: [...] or not_in: [...]"
    if name == "is" and kind == "a number":
        return "use min, max, above or below"
    if name == "pareto" and not pa.types.is_floating(type_):
        return "pareto takes a score in [0, 1]"
    if name in ("in", "not_in") and not all(_is_value(one, type_) for one in value):
        return {"text": "list texts", "a flag": "use is: true or is: false"}.get(kind, "list numbers")
    return ""


def _is_value(value: Any, type_: pa.DataType) -> bool:
    """Whether a column of the type could hold the value."""
    if _kind(type_) == "text":
        return isinstance(value, str)
    if _kind(type_) == "a flag":
        return isinstance(value, bool)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (pa.types.is_floating(type_) and isinstance(value, float))


def _check(signal: str, name: str, value: Any) -> None:
    """One condition's value: its type and its range."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    expected = {
        **dict.fromkeys(BOUNDS, (number, "a finite number")),
        "pareto": (
            (number and value >= 0)
            or (isinstance(value, Mapping) and set(value) == {"keep_fraction"} and _share(value["keep_fraction"])),
            "a number >= 0, none, or {keep_fraction: share in (0, 1]}",
        ),
        "keep_fraction": (_share(value), "a share in (0, 1]"),
        "between": (
            isinstance(value, list) and len(value) == 2 and all(map(_quantile, value)) and value[0] < value[1],
            "two quantiles [low, high] with 0 <= low < high <= 1",
        ),
        "in": (isinstance(value, list) and len(value) > 0, "a list with at least one value"),
        "not_in": (isinstance(value, list) and len(value) > 0, "a list with at least one value"),
        "is": (isinstance(value, bool), "true or false"),
        "null": (value in ("keep", "drop"), "keep or drop"),
        "lowest": (isinstance(value, bool), "true or false"),
        "within": (isinstance(value, str), "the name of a column"),
        "weight": (value in WEIGHTS, "pages, bytes or tokens"),
    }
    holds, what = expected[name]
    if not holds:
        raise RuleError(f"rule {signal!r}: {name} must be {what}, got {value!r}")


def _quantile(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _share(value: Any) -> bool:
    return _quantile(value) and value > 0


def resolve(rule: Rule, pool: Pool) -> Resolved:
    """Turn shares into thresholds over the pages of the pool on which the signal is measured."""
    asked = rule.conditions
    tests = [Test(name, asked[name]) for name in (*BOUNDS, "in", "not_in", "is") if name in asked]
    weight = _weights(pool, asked.get("weight", "pages"))
    if isinstance(asked.get("pareto"), Mapping):
        key = strengths(pool.numbers(rule.signal), pool.uniforms())
        # Kept is strength > a: the a just under the strength that is still to be kept.
        solved = threshold(key, weight, asked["pareto"]["keep_fraction"])
        tests.append(Test("pareto", float(np.nextafter(solved, -np.inf))))
    elif "pareto" in asked:
        tests.append(Test("pareto", float(asked["pareto"])))
    if "keep_fraction" in asked:
        lowest = bool(asked.get("lowest", False))
        tests.append(_bound(rule, pool, weight, "max" if lowest else "min", asked["keep_fraction"]))
    if "between" in asked:
        low, high = asked["between"]
        tests += [_bound(rule, pool, weight, "min", 1 - low), _bound(rule, pool, weight, "max", high)]
    return Resolved(rule, tuple(tests))


def _weights(pool: Pool, weight: str) -> npt.NDArray[np.int64]:
    if weight not in pool.weights:
        raise RuleError(
            f"weight: {weight} needs a tokenizer: section in the experiment file; have {', '.join(pool.weights)}"
        )
    return pool.weights[weight]


def _bound(rule: Rule, pool: Pool, weight: npt.NDArray[np.int64], side: str, share: float) -> Test:
    """The bound on one side that keeps `share` of the weight, over all pages or in each group of a column."""
    values = pool.numbers(rule.signal)
    sign = 1.0 if side == "min" else -1.0
    if "within" not in rule.conditions:
        return Test(side, sign * threshold(sign * values, weight, share))
    within = rule.conditions["within"]
    names = np.array([str(name) for name in pool.column(within).to_pylist()], object)
    groups = {
        str(name): sign * threshold(sign * values[names == name], weight[names == name], share)
        for name in sorted(set(names[~np.isnan(values)]))
    }
    return Test(side, f"{share:g} of each group", groups, within)


def threshold(key: Floats, weight: npt.NDArray[np.int64], share: float) -> float:
    """The largest t such that the pages with key >= t hold at least `share` of the measured weight. Ties are kept whole."""
    measured = ~np.isnan(key)
    if not measured.any():
        return math.inf
    order = np.argsort(-key[measured], kind="stable")
    cumulative = np.cumsum(weight[measured][order], dtype=np.float64)
    reached = int(np.searchsorted(cumulative, share * cumulative[-1] * (1 - 1e-12)))
    return float(key[measured][order][min(reached, len(order) - 1)])


def preference(rule: Rule, pool: Pool, invert: bool = False) -> Floats:
    """How much a rule wants each page, for ranking: larger is kept longer as the rule gets harder; NaN where null.

    Inverted, a noisy cut runs on 1 - score with the same draws, and a bound ranks the worst pages first.
    """
    values = pool.numbers(rule.signal)
    if "pareto" in rule.conditions:
        return strengths(1.0 - values if invert else values, pool.uniforms())
    return values if keeps_highest(rule) != invert else -values


def keeps_highest(rule: Rule) -> bool:
    """Whether a rule keeps the largest values as it gets harder, or the smallest. Raises RuleError where it is neither."""
    asked = rule.conditions
    down = any(name in asked for name in ("max", "below")) or bool(asked.get("lowest", False))
    up = any(name in asked for name in ("min", "above", "pareto")) or ("keep_fraction" in asked and not down)
    if down == up:
        raise RuleError(
            f"rule {rule.signal!r} has no direction to invert: it needs one of min, above, max, below, keep_fraction, pareto"
        )
    return up
