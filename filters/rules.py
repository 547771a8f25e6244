"""Rules: conditions on signals, resolved against a pool of pages and then applied without any order effect.

Every condition that cuts is a bound on some key. For `pareto` the key is the page's own strength: with u drawn from the page
id, u < (2 - score)^-a holds exactly for a < -ln(u) / ln(2 - score), so the subsets of a sweep over a are nested, and solving
for a share to keep is a quantile. `keep_fraction` and `between` become thresholds the same way. What must be ranked for that
is said by `rankings`, found over all parts by `filters.quantiles`, and put into the rules by `resolve`; what a rule resolved
to is kept beside what was asked.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.draws import Hashes, draw, id_hashes, uniform
from filters.nearest import nearest
from filters.quantiles import Column, Found, Targets, count, find, floats, merged, ranked

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
RANKED = ("pareto", "keep_fraction", "between", "lowest", "within", "weight")
"""Conditions of which a rule has one set: two different ones on a signal have no joint meaning."""
WEIGHTS = ("pages", "bytes", "tokens")


class RuleError(ValueError):
    """A rule that cannot be meant: unknown condition, threshold out of range, a signal that is not there."""


def uniforms(ids: Sequence[str], seed: int, purpose: str = "") -> Floats:
    """One number in [0, 1) per id, the same on any machine, in any order and partition; shape (ids,)."""
    return uniform(draw(id_hashes(ids), seed, purpose))


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
    """The pages a choice is made from, or a part of them: ids, their signal columns, and what each page weighs.

    Where the hashes of the ids are known already, no id is looked at.
    """

    ids: Sequence[str] | Hashes
    columns: Mapping[str, pa.ChunkedArray | pa.Array]
    weights: Mapping[str, npt.NDArray[np.int64]]
    seed: int = 0
    id_hash: Hashes | None = None
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
            self._kept["u"] = uniform(self.draw("noisy cut"))
        kept: Floats = self._kept["u"]
        return kept

    def draw(self, purpose: str) -> Hashes:
        """The pages' draws for a purpose; shape (pages,)."""
        return draw(id_hashes(self.ids) if self.id_hash is None else self.id_hash, self.seed, purpose)

    def strengths(self, name: str) -> Floats:
        """The strengths up to which a noisy cut by a score keeps each page; shape (pages,)."""
        key = f"strengths {name}"
        if key not in self._kept:
            self._kept[key] = strengths(self.numbers(name), self.uniforms())
        kept: Floats = self._kept[key]
        return kept

    def weight(self, name: str) -> npt.NDArray[np.int64]:
        """What each page weighs; shape (pages,)."""
        if name not in self.weights:
            raise RuleError(
                f"weight: {name} needs a tokenizer: section in the experiment file; have {', '.join(self.weights)}"
            )
        return self.weights[name]


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
            return np.asarray(pool.strengths(signal) > self.bound, bool)
        compare = BOUNDS[self.condition]
        if self.groups is None:
            return compare(values, self.bound)
        names = pool.column(str(self.within))
        different = names.unique()
        bounds = np.array([self.groups.get(str(name), np.nan) for name in different.to_pylist()], np.float64)
        return compare(values, bounds[pc.index_in(names, value_set=different).to_numpy()])


@dataclass(frozen=True)
class Resolved:
    """A rule whose thresholds are numbers: what is applied, and what a subset's facts record."""

    rule: Rule
    tests: tuple[Test, ...]

    @property
    def text(self) -> str:
        """The rule as a person reads it, e.g. `word_count min 50 max 100000`; rules that differ have different texts."""
        parts = [
            f"{test.condition} {_short(test.bound)}" + (f" within {test.within}" if test.within else "")
            for test in self.tests
        ]
        return " ".join([self.rule.signal, *parts, *(["null keep"] if self.rule.keeps_null else [])])

    def facts(self) -> dict[str, Any]:
        """The thresholds for a subset's facts."""
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
        return repr(float(bound)).removesuffix(".0")
    return ",".join(map(str, bound)) if isinstance(bound, list | tuple) else str(bound)


def parse(rules: Mapping[str, Any]) -> list[Rule]:
    """Check what was asked, before any table is read. Raises RuleError with the rule, what it says and what is expected."""
    return [_parse(signal, conditions) for signal, conditions in rules.items()]


def _parse(signal: str, conditions: Any) -> Rule:
    asked = _asked(signal, conditions)
    _check_together(signal, conditions)
    if _keeps_nothing(asked):
        (low, _), (high, _) = _lower([asked]), _upper([asked])
        raise RuleError(f"rule {signal!r} keeps nothing: its lower bound {low:g} is not under its upper bound {high:g}")
    return Rule(signal, asked)


def _asked(signal: str, conditions: Any) -> dict[str, Any]:
    """The conditions that say something, each checked by itself."""
    if not isinstance(conditions, Mapping):
        raise RuleError(f"rule {signal!r} must be a mapping such as {{min: 50}}, got {conditions!r}")
    for name in conditions:
        if name not in CONDITIONS:
            raise RuleError(f"rule {signal!r} has an unknown condition {name!r}: {nearest(name, CONDITIONS)}")
    asked = {name: value for name, value in conditions.items() if value != "none"}
    for name, value in asked.items():
        _check(signal, name, value)
    return asked


def _lower(rules: Sequence[Mapping[str, Any]]) -> tuple[float, str]:
    """The tightest lower bound of all rules, and its condition; of equal ones the strict one."""
    found = [(rule[name], name) for rule in rules for name in ("min", "above") if name in rule]
    return max(found, key=lambda one: (one[0], one[1] == "above"), default=(-math.inf, "min"))


def _upper(rules: Sequence[Mapping[str, Any]]) -> tuple[float, str]:
    """The tightest upper bound of all rules, and its condition; of equal ones the strict one."""
    found = [(rule[name], name) for rule in rules for name in ("max", "below") if name in rule]
    return min(found, key=lambda one: (one[0], one[1] != "below"), default=(math.inf, "max"))


def _keeps_nothing(asked: Mapping[str, Any]) -> bool:
    """Whether no number lies within the bounds."""
    (low, lower), (high, upper) = _lower([asked]), _upper([asked])
    return low > high or (low == high and (lower == "above" or upper == "below"))


def together(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The rules that hold where those of all sources hold, by signal; the order of the sources changes nothing.

    Of bounds on one signal the tightest of each side is left; lists are intersected (`in`) or united (`not_in`); what all
    say is there once; null passes where it passes every rule. Raises RuleError, naming the sources, where no page could
    pass, and where shares, bands or noisy cuts on one signal differ.
    """
    signals = dict.fromkeys(signal for rules in sources.values() for signal in rules)
    return {
        signal: _joined(signal, {source: rules[signal] for source, rules in sources.items() if signal in rules})
        for signal in signals
    }


def _joined(signal: str, given: Mapping[str, Any]) -> Any:
    """The rules of several sources on one signal as one."""
    first, *others = given.values()
    if all(other == first for other in others):
        return first
    rules = [asked for asked, keeps_all in (_checked(signal, conditions) for conditions in given.values()) if not keeps_all]
    if not rules:
        return {name: "none" for conditions in given.values() for name in conditions}
    said = " and ".join(f"{source} {_written(conditions)}" for source, conditions in given.items())
    way_out = "take one out, or write {replace: true, ...} under rules: to put that one in the other's place"
    ways = [way for rule in rules if (way := {name: rule[name] for name in RANKED if name in rule})]
    if any(way != ways[0] for way in ways):
        raise RuleError(f"the rules on {signal!r} cannot be joined, {said}: {way_out}")
    joined = _joined_bounds(rules) | _joined_values(rules) | (ways[0] if ways else {})
    if _keeps_nothing(joined) or [] in joined.values():
        raise RuleError(f"no page can pass the rules on {signal!r}, {said}: {way_out}")
    return joined | ({"null": "keep"} if all(rule.get("null") == "keep" for rule in rules) else {})


def _checked(signal: str, conditions: Any) -> tuple[dict[str, Any], bool]:
    """What a rule says, and whether every cut of it is `none`, so that it keeps all pages and null ones too."""
    asked = _asked(signal, conditions)
    cuts = set(conditions) & set(CUTS)
    return asked, bool(cuts) and not cuts & set(asked)


def _written(conditions: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in conditions.items()) + "}"


def _joined_bounds(rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The tightest bound of each side where there is one."""
    return {name: bound for bound, name in (_lower(rules), _upper(rules)) if math.isfinite(bound)}


def _joined_values(rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`in`, `not_in` and `is` of several rules; an empty list where they leave no value."""
    taken = [rule["in"] for rule in rules if "in" in rule]
    left_out = [value for rule in rules for value in rule.get("not_in", [])]
    flags = {rule["is"] for rule in rules if "is" in rule}
    joined: dict[str, Any] = {"is": flags.pop() if len(flags) == 1 else []} if flags else {}
    if left_out:
        joined["not_in"] = _each_once(left_out)
    if taken:
        both = _each_once([value for value in taken[0] if all(value in one for one in taken)])
        joined["in"] = both if any(value not in left_out for value in both) else []
    return joined


def _each_once(values: Sequence[Any]) -> list[Any]:
    """The values in an order that does not depend on the one they were given in."""
    return sorted((value for at, value in enumerate(values) if value not in values[:at]), key=str)


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


@dataclass(frozen=True)
class Ranking:
    """What pages are ranked by, from the highest or the lowest: a signal, or where `noisy` the strength of a cut by it."""

    signal: str
    lowest: bool = False
    weight: str = "pages"
    within: str | None = None
    noisy: bool = False

    def __str__(self) -> str:
        return self.signal + (f" within {self.within}" if self.within else "")

    def column(self, pool: Pool) -> Column:
        """The pages of a pool, or of one part, as they are ranked."""
        values = pool.strengths(self.signal) if self.noisy else pool.numbers(self.signal)
        within = pool.column(self.within) if self.within else None
        return ranked(values, pool.weight(self.weight), lowest=self.lowest, within=within)

    def test(self, share: float, found: Found) -> Test:
        """The bound that keeps a share of the weight; where nothing is measured, one that nothing passes."""
        bounds = floats(found.places, self.lowest)[found.targets.amounts.index(share)]
        bounds = np.where(found.measured > 0, bounds, -math.inf if self.lowest else math.inf).tolist()
        if self.noisy:
            # Kept is strength > a: the a just under the strength that is still to be kept.
            return Test("pareto", float(np.nextafter(bounds[0], -np.inf)))
        side = "max" if self.lowest else "min"
        if found.names is None:
            return Test(side, bounds[0])
        of = "of each group" if self.weight == "pages" else f"of the {self.weight} of each group"
        return Test(side, f"{_short(share)} {of}", dict(zip(found.names, bounds, strict=True)), self.within)


def _shares(rule: Rule) -> list[tuple[Ranking, float]]:
    """The shares that a rule keeps, and of what ranking."""
    asked = rule.conditions
    weight, within = asked.get("weight", "pages"), asked.get("within")
    shares = []
    if isinstance(asked.get("pareto"), Mapping):
        shares.append((Ranking(rule.signal, weight=weight, noisy=True), asked["pareto"]["keep_fraction"]))
    if "keep_fraction" in asked:
        shares.append((Ranking(rule.signal, bool(asked.get("lowest", False)), weight, within), asked["keep_fraction"]))
    if "between" in asked:
        low, high = asked["between"]
        shares += [
            (Ranking(rule.signal, False, weight, within), 1 - low),
            (Ranking(rule.signal, True, weight, within), high),
        ]
    return shares


def rankings(rules: Iterable[Rule]) -> dict[Ranking, Targets]:
    """What must be ranked before these rules, of any number of levels, can be resolved."""
    shares: dict[Ranking, set[float]] = {}
    for ranking, share in (one for rule in rules for one in _shares(rule)):
        shares.setdefault(ranking, set()).add(share)
    return {ranking: Targets("share", tuple(sorted(some))) for ranking, some in shares.items()}


def resolve(rule: Rule, found: Mapping[Ranking, Found]) -> Resolved:
    """Turn shares into thresholds: those over the pages that were ranked and on which the signal is measured."""
    asked = rule.conditions
    tests = [Test(name, asked[name]) for name in (*BOUNDS, "in", "not_in", "is") if name in asked]
    if "pareto" in asked and not isinstance(asked["pareto"], Mapping):
        tests.append(Test("pareto", float(asked["pareto"])))
    tests += [ranking.test(share, found[ranking]) for ranking, share in _shares(rule)]
    return Resolved(rule, tuple(tests))


def resolve_in(pool: Pool, rules: Sequence[Rule]) -> list[Resolved]:
    """The rules resolved over a pool that is in memory as a whole."""
    found = find(rankings(rules), lambda wanted: merged([count(wanted, lambda ranking: ranking.column(pool))]))
    return [resolve(rule, found) for rule in rules]


def preference(rule: Rule, pool: Pool, invert: bool = False) -> Floats:
    """How much a rule wants each page, for ranking: larger is kept longer as the rule gets harder; NaN where null.

    Inverted, a noisy cut runs on 1 - score with the same draws, and a bound ranks the worst pages first.
    """
    values = pool.numbers(rule.signal)
    if "pareto" in rule.conditions:
        return strengths(1.0 - values, pool.uniforms()) if invert else pool.strengths(rule.signal)
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
