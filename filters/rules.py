"""Rules: conditions on signals, resolved against a pool of pages and then applied without any order effect.

Every condition that cuts is a bound on some key. For `pareto` the key is the page's own strength: with u drawn from the page
id, u < (2 - score)^-a holds exactly for a < -ln(u) / ln(2 - score), so the subsets of a sweep over a are nested, and solving
for a share to keep is a quantile. `temperature` bounds a noisy score, `keep_fraction` and `between` become thresholds the
same way. What must be ranked for that is said by `rankings`, and then by `fillings` for quotas, found over all parts by
`filters.quantiles`, and put into the rules by `resolve`; what a rule resolved to is kept beside what was asked.

Two rules ask of no single signal: `sample` keeps pages by chance, `any_of` those that pass one of several sets of rules.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters import quotas
from filters.draws import Hashes, draw, id_hashes, uniform
from filters.nearest import nearest
from filters.niches import TENTHS, Tenths, Within, are_columns, signals_of, within_of
from filters.quantiles import RANKS, Column, Found, Targets, count, find, floats, merged, ranked
from filters.soft_cuts import MOST_COPIES, TAU, Spread, repeats, scale_of, strengths, tempered

Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Copies = npt.NDArray[np.uint8]

BOUNDS: dict[str, Callable[[Floats, float | Floats], Truth]] = {
    "min": lambda values, bound: values >= bound,
    "max": lambda values, bound: values <= bound,
    "above": lambda values, bound: values > bound,
    "below": lambda values, bound: values < bound,
}
NO_BOUND = {"min": -math.inf, "above": -math.inf, "max": math.inf, "below": math.inf}
CUTS = (*BOUNDS, "pareto", "keep_fraction", "temperature", "between", "upsample", "quota", "in", "not_in", "is")
QUALIFIES = {
    "null": CUTS,
    "lowest": ("keep_fraction", "temperature", "upsample", "quota"),
    "within": ("keep_fraction", "temperature", "between", *BOUNDS),
    "weight": ("keep_fraction", "temperature", "between", "pareto"),
}
"""Conditions that say how another one is meant, and which."""
CONDITIONS = [*CUTS, *QUALIFIES]
WEIGHTS = ("pages", "bytes", "characters", "tokens")
SAMPLE, ANY_OF = "sample", "any_of"
NO_SIGNALS = (SAMPLE, ANY_OF)
"""Keys among rules that name no signal."""
GROUPED_BY, OTHER = "language", "other"
"""The column of bounds per group where `within` names none, and the key of the bound of all groups that are not named."""
JOINT = " / "
"""Between the values of several `within` columns."""


class RuleError(ValueError):
    """A rule that cannot be meant: unknown condition, threshold out of range, a signal that is not there."""


def uniforms(ids: Sequence[str], seed: int, purpose: str = "") -> Floats:
    """One number in [0, 1) per id, the same on any machine, in any order and partition; shape (ids,)."""
    return uniform(draw(id_hashes(ids), seed, purpose))


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

    def is_null(self, name: str) -> Truth:
        """True where a signal is missing; shape (pages,)."""
        null = pc.is_null(self.column(name), nan_is_null=True)
        return np.asarray(null.to_numpy(zero_copy_only=False), bool)

    def strengths(self, name: str) -> Floats:
        """The strengths up to which a noisy cut by a score keeps each page; shape (pages,)."""
        key = f"strengths {name}"
        if key not in self._kept:
            self._kept[key] = strengths(self.numbers(name), self.uniforms())
        kept: Floats = self._kept[key]
        return kept

    def tempered(self, name: str, scale: float) -> Floats:
        """The noisy scores by which a temperature keeps pages; shape (pages,)."""
        key = f"tempered {name} {scale!r}"
        if key not in self._kept:
            self._kept[key] = tempered(self.numbers(name), uniform(self.draw("temperature")), scale)
        kept: Floats = self._kept[key]
        return kept

    def groups(self, within: Within) -> pa.ChunkedArray | pa.Array:
        """The group of each page by one column or several together, null as `None`."""
        columns = [one.names(self.numbers(one.signal)) if isinstance(one, Tenths) else self.column(one) for one in within]
        if len(columns) == 1:
            return columns[0]
        texts = [pc.cast(column, pa.string()) for column in columns]
        return pc.binary_join_element_wise(*texts, JOINT, null_handling="replace", null_replacement="None")

    def weight(self, name: str) -> npt.NDArray[np.int64]:
        """What each page weighs; shape (pages,)."""
        if name not in self.weights:
            way = "a tokenizer: section in the experiment file" if name == "tokens" else "the signals of the group size"
            raise RuleError(f"weight: {name} needs {way}; have {', '.join(self.weights)}")
        return self.weights[name]


@dataclass(frozen=True)
class Rule:
    """What is asked of one signal, as in the experiment file: conditions by name.

    `any_of` holds the sets of rules of which a page must pass one; such a rule has no conditions of its own. `tenths` are
    the bounds between those of the numbers that it stands within, once they are known.
    """

    signal: str
    conditions: Mapping[str, Any]
    any_of: tuple[tuple["Rule", ...], ...] = ()
    tenths: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def keeps_null(self) -> bool:
        """Whether a page on which the signal is null passes."""
        return bool(self.conditions.get("null", "drop") == "keep")

    @property
    def leaves(self) -> tuple["Rule", ...]:
        """The rules on signals that it is made of: itself, or those of its sets."""
        if self.signal == ANY_OF:
            return tuple(leaf for rules in self.any_of for rule in rules for leaf in rule.leaves)
        return () if self.signal == SAMPLE else (self,)

    @property
    def asked(self) -> Any:
        """What stands behind its name in an experiment file."""
        if self.signal == ANY_OF:
            return [{rule.signal: rule.asked for rule in rules} for rules in self.any_of]
        return self.conditions[SAMPLE] if self.signal == SAMPLE else dict(self.conditions)

    @property
    def within(self) -> Within:
        """The columns that its thresholds stand within."""
        by_group = any(isinstance(self.conditions.get(bound), Mapping) for bound in BOUNDS)
        return within_of(self.conditions.get("within", [GROUPED_BY] if by_group else []), self.tenths)

    @property
    def quota(self) -> quotas.Quota | None:
        """Its budget over niches, where it has one."""
        asked = self.conditions.get("quota")
        return None if asked is None else quotas.Quota.of(asked, self.tenths)

    @property
    def groupings(self) -> Within:
        """All columns that pages are told apart by: those of thresholds, and of niches."""
        return self.within + (self.quota.within if self.quota else ())

    @property
    def weights(self) -> set[str]:
        """What it weighs pages by."""
        quota = self.quota
        return {self.conditions.get("weight", "pages"), quota.weight if quota else "pages"}

    @property
    def columns(self) -> set[str]:
        """The columns that it is decided by."""
        if self.signal in NO_SIGNALS:
            return {name for leaf in self.leaves for name in leaf.columns}
        weighed = {"text_characters"} if "characters" in self.weights else set()
        return {self.signal} | signals_of(self.groupings) | weighed


def leaves(rules: Iterable[Rule]) -> list[Rule]:
    """The rules on signals that some rules are made of."""
    return [leaf for rule in rules for leaf in rule.leaves]


@dataclass(frozen=True)
class Test:
    """One resolved condition: a bound on a key, per group where it stands `within` columns.

    `groups` are bounds that were found; asked ones are the bound itself, null for none. `scale` is that of a temperature,
    `quantiles` are those of a signal that a curve of repeats runs over, `lowest` says from which end.
    """

    condition: str
    bound: Any
    groups: Mapping[str, float] | None = None
    within: Within = ()
    scale: float | None = None
    quantiles: tuple[float, ...] = ()
    lowest: bool = False

    def passes(self, signal: str, pool: Pool) -> Truth:
        """True where the page passes; shape (pages,). Null never passes here but in a group that is asked no bound."""
        if self.condition in ("in", "not_in"):
            column = pool.column(signal)
            found = pc.is_in(column, value_set=pa.array(self.bound, column.type))
            truth = pc.and_(found if self.condition == "in" else pc.invert(found), pc.is_valid(column))
            return np.asarray(truth.to_numpy(zero_copy_only=False), bool)
        if self.condition == "upsample":
            return self.copies(signal, pool) > 0
        if self.condition == "pareto":
            return np.asarray(pool.strengths(signal) > self.bound, bool)
        values = pool.numbers(signal) if self.scale is None else pool.tempered(signal, self.scale)
        if self.condition == "is":
            return np.asarray(values == float(self.bound), bool)
        compare = BOUNDS["min" if self.condition == "temperature" else self.condition]
        if isinstance(self.bound, Mapping):
            asked = {name: NO_BOUND[self.condition] if bound is None else bound for name, bound in self.bound.items()}
            bounds = self._of_pages(pool, asked)
            return np.asarray(compare(values, bounds) | (bounds == NO_BOUND[self.condition]), bool)
        return compare(values, self.bound if self.groups is None else self._of_pages(pool, self.groups))

    def copies(self, signal: str, pool: Pool) -> Copies:
        """How often a curve of repeats has each page read; shape (pages,)."""
        u = uniform(pool.draw("upsample"))
        return repeats(pool.numbers(signal), np.array(self.quantiles), self.bound, u, self.lowest)

    def _of_pages(self, pool: Pool, groups: Mapping[str, float]) -> Floats:
        """The bound of each page's group, NaN for a group that has none; shape (pages,)."""
        names = pool.groups(self.within)
        different = names.unique()
        other = groups.get(OTHER, math.nan)
        bounds = np.array([groups.get(str(name), other) for name in different.to_pylist()], np.float64)
        return np.asarray(bounds[pc.index_in(names, value_set=different).to_numpy()], np.float64)

    @property
    def text(self) -> str:
        """The condition as a person reads it."""
        parts = [self.condition, _short(self.bound), *(["lowest"] if self.lowest else [])]
        parts += [] if self.scale is None else ["at", _short(self.scale)]
        return " ".join([*parts, *(["within", ",".join(map(str, self.within))] if self.within else [])])

    @property
    def fact(self) -> Any:
        """The threshold for a subset's facts."""
        return dict(self.groups) if self.groups else self.bound


@dataclass(frozen=True)
class Resolved:
    """A rule whose thresholds are numbers: what is applied, and what a subset's facts record.

    `any_of`: as in the rule; such a one has no tests of its own.
    """

    rule: Rule
    tests: tuple[Test, ...]
    any_of: tuple[tuple["Resolved", ...], ...] = ()

    @property
    def text(self) -> str:
        """The rule as a person reads it, e.g. `word_count min 50 max 100000`; rules that differ have different texts."""
        if self.any_of:
            return f"{ANY_OF} " + " or ".join(f"({' and '.join(one.text for one in rules)})" for rules in self.any_of)
        if self.rule.signal == SAMPLE:
            return f"{SAMPLE} {_short(self.tests[0].bound)}"
        parts = [test.text for test in self.tests]
        return " ".join([self.rule.signal, *parts, *(["null keep"] if self.rule.keeps_null else [])])

    def facts(self) -> Any:
        """The thresholds for a subset's facts."""
        if self.any_of:
            return [{one.rule.signal: one.facts() for one in rules} for rules in self.any_of]
        facts: dict[str, Any] = {test.condition: test.fact for test in self.tests}
        return facts | ({"null": "keep"} if self.rule.keeps_null else {})

    def passes(self, pool: Pool) -> Truth:
        """True where the page passes every test of the rule; shape (pages,). A null signal fails unless `null: keep`."""
        if self.any_of:
            sets = [np.logical_and.reduce([one.passes(pool) for one in rules]) for rules in self.any_of]
            return np.asarray(np.logical_or.reduce(sets), bool)
        if self.rule.signal == SAMPLE:
            return np.asarray(uniform(pool.draw(SAMPLE)) < self.tests[0].bound, bool)
        truth = np.ones(len(pool), bool)
        for test in self.tests:
            truth &= test.passes(self.rule.signal, pool)
        if self.rule.keeps_null:
            truth |= pool.is_null(self.rule.signal)
        return truth

    @property
    def repeats(self) -> bool:
        """Whether it has pages read more than once."""
        return any(test.condition == "upsample" for test in self.tests)

    def copies(self, pool: Pool) -> Copies:
        """How often each page is read by this rule; shape (pages,). One that is null and kept is read once."""
        copies = self.passes(pool).astype(np.uint8)
        for test in self.tests:
            if test.condition == "upsample":
                copies *= np.maximum(test.copies(self.rule.signal, pool), 1)  # a page that passes has one at least
        return copies


def _short(bound: Any) -> str:
    if isinstance(bound, float):
        return repr(float(bound)).removesuffix(".0")
    if isinstance(bound, Mapping):
        return ", ".join(f"{_short(name)} {_short(value)}" for name, value in bound.items())
    return ",".join(map(str, bound)) if isinstance(bound, list | tuple) else str(bound)


def parse(rules: Mapping[str, Any]) -> list[Rule]:
    """Check what was asked, before any table is read. Raises RuleError with the rule, what it says and what is expected."""
    found: list[Rule] = []
    for signal, conditions in rules.items():
        if signal == ANY_OF:
            found += _groups(conditions)
        elif conditions != "none" or signal != SAMPLE:
            found.append(_sampled(conditions) if signal == SAMPLE else _parse(signal, conditions))
    repeating = [rule.signal for rule in found if "upsample" in rule.conditions]
    if len(repeating) > 1:
        raise RuleError(f"{' and '.join(map(repr, repeating))} both say how often pages are read: upsample by one signal")
    return found


def _sampled(share: Any) -> Rule:
    if not _share(share):
        raise RuleError(f"rule {SAMPLE!r} must be a share in (0, 1], got {share!r}")
    return Rule(SAMPLE, {SAMPLE: float(share)})


def groups_of(asked: Any) -> list[Any]:
    """The groups of `any_of`: a list of sets of rules is one group, a list of such lists several that all must hold."""
    if not isinstance(asked, list) or not asked:
        raise RuleError(f"rule {ANY_OF!r} must be a list of sets such as [{{quality: {{min: 0.5}}}}, ...], got {asked!r}")
    return asked if all(isinstance(one, list) for one in asked) else [asked]


def _groups(asked: Any) -> list[Rule]:
    """A rule for each group of `any_of`."""
    return [] if asked == "none" else [Rule(ANY_OF, {}, tuple(map(_one_of, group))) for group in groups_of(asked)]


def _one_of(asked: Any) -> tuple[Rule, ...]:
    """One set of rules of `any_of`."""
    if not isinstance(asked, Mapping) or not asked:
        raise RuleError(
            f"rule {ANY_OF!r}: each entry must be a set of rules such as {{quality: {{min: 0.5}}}}, got {asked!r}"
        )
    if ANY_OF in asked:
        raise RuleError(f"rule {ANY_OF!r} cannot stand in an {ANY_OF}: write its entries out")
    rules = tuple(parse(asked))
    if any("upsample" in rule.conditions for rule in rules):
        raise RuleError(f"rule {ANY_OF!r}: upsample says how often pages are read, so it cannot be one way of several")
    return rules


def _parse(signal: str, conditions: Any) -> Rule:
    asked = checked(signal, conditions)
    _check_together(signal, conditions)
    for group, bounds in _by_group(asked).items():
        if keeps_nothing(bounds):
            (low, _), (high, _) = lower([bounds]), upper([bounds])
            of = f" of the group {group!r}" if group else ""
            raise RuleError(
                f"rule {signal!r} keeps nothing{of}: its lower bound {low:g} is not under its upper bound {high:g}"
            )
    return Rule(signal, asked)


def _by_group(asked: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The bounds of a rule in each group that it names; those of all pages alone have no name."""
    bounds = {name: asked[name] for name in BOUNDS if name in asked}
    named = {group for bound in bounds.values() if isinstance(bound, Mapping) for group in bound}
    of = {
        group: {
            name: bound.get(group, bound.get(OTHER)) if isinstance(bound, Mapping) else bound
            for name, bound in bounds.items()
        }
        for group in sorted(named) or [""]
    }
    return {group: {name: bound for name, bound in some.items() if bound is not None} for group, some in of.items()}


def checked(signal: str, conditions: Any) -> dict[str, Any]:
    """The conditions of a rule that say something, each checked by itself. Raises RuleError."""
    if not isinstance(conditions, Mapping):
        raise RuleError(f"rule {signal!r} must be a mapping such as {{min: 50}}, got {conditions!r}")
    for name in conditions:
        if name not in CONDITIONS:
            raise RuleError(f"rule {signal!r} has an unknown condition {name!r}: {nearest(name, CONDITIONS)}")
    asked = {name: value for name, value in conditions.items() if value != "none"}
    for name, value in asked.items():
        _check(signal, name, value)
    if "upsample" in asked:  # the keys of a YAML file are texts
        asked["upsample"] = {float(at): float(copies) for at, copies in asked["upsample"].items()}
    return asked


def lower(rules: Sequence[Mapping[str, Any]]) -> tuple[float, str]:
    """The tightest lower bound of all rules, and its condition; of equal ones the strict one."""
    found = [(rule[name], name) for rule in rules for name in ("min", "above") if _number(rule.get(name))]
    return max(found, key=lambda one: (one[0], one[1] == "above"), default=(-math.inf, "min"))


def upper(rules: Sequence[Mapping[str, Any]]) -> tuple[float, str]:
    """The tightest upper bound of all rules, and its condition; of equal ones the strict one."""
    found = [(rule[name], name) for rule in rules for name in ("max", "below") if _number(rule.get(name))]
    return min(found, key=lambda one: (one[0], one[1] != "below"), default=(math.inf, "max"))


def keeps_nothing(asked: Mapping[str, Any]) -> bool:
    """Whether no number lies within the bounds."""
    (low, from_below), (high, from_above) = lower([asked]), upper([asked])
    return low > high or (low == high and (from_below == "above" or from_above == "below"))


def _check_together(signal: str, conditions: Mapping[str, Any]) -> None:
    """A rule says something, and each of its conditions has what it qualifies."""
    if not any(name in CUTS for name in conditions):
        raise RuleError(f"rule {signal!r} cuts nothing: give it one of {', '.join(CUTS)}, or take it out")
    for name in conditions:
        if name in QUALIFIES and not any(_qualified(name, cut, conditions) for cut in QUALIFIES[name]):
            raise RuleError(f"rule {signal!r}: {name} says nothing without {_without(name)}")
    if "weight" in conditions and not {"keep_fraction", "temperature", "between"} & set(conditions):
        pareto = conditions["pareto"]
        if not isinstance(pareto, Mapping) and pareto != "none":
            raise RuleError(
                f"rule {signal!r}: weight says nothing of a pareto that is a number: use {{keep_fraction: share}}"
            )


def _qualified(name: str, cut: str, conditions: Mapping[str, Any]) -> bool:
    """Whether a condition is there and `name` says how it is meant: `within` nothing of a bound that is one number."""
    return cut in conditions and (name != "within" or cut not in BOUNDS or isinstance(conditions[cut], Mapping))


def _without(name: str) -> str:
    """What a qualifying condition needs, for errors."""
    plain = [cut for cut in QUALIFIES[name] if name != "within" or cut not in BOUNDS]
    return " or ".join([*plain, *(["bounds per group"] if name == "within" else [])])


def without(conditions: Mapping[str, Any], taken: str) -> dict[str, Any]:
    """The conditions of a rule without one of them, nor those that only said how it was meant."""
    left = {name: value for name, value in conditions.items() if name != taken}
    return {name: value for name, value in left.items() if name in CUTS or any(cut in left for cut in QUALIFIES[name])}


def check_types(rules: Sequence[Rule], types: Mapping[str, pa.DataType]) -> None:
    """Raise RuleError where a condition cannot be meant of a signal of its type; every signal has one in `types`."""
    for rule in leaves(rules):
        for name, value in rule.conditions.items():
            expected = _unfit(name, value, types[rule.signal])
            if expected:
                kind = _kind(types[rule.signal])
                raise RuleError(f"rule {rule.signal!r}: {name}: {value!r} cannot be meant, the signal is {kind}: {expected}")
        try:
            check_within(rule.groupings, types)
        except RuleError as error:
            raise RuleError(f"rule {rule.signal!r}: within takes {error}") from error


def check_within(within: Within, types: Mapping[str, pa.DataType]) -> None:
    """Raise RuleError where a column names no groups, or tenths are of no number."""
    for one in within:
        if isinstance(one, str) and pa.types.is_floating(types[one]):
            raise RuleError(f"columns that name groups, but {one!r} is a number: write {{tenths: {one}}}")
        if isinstance(one, Tenths) and _kind(types[one.signal]) != "a number":
            raise RuleError(f"tenths of numbers, but {one.signal!r} is {_kind(types[one.signal])}: write {one.signal} alone")


def _kind(type_: pa.DataType) -> str:
    if pa.types.is_boolean(type_):
        return "a flag"
    return "text" if pa.types.is_string(type_) or pa.types.is_large_string(type_) else "a number"


def _unfit(name: str, value: Any, type_: pa.DataType) -> str:
    """What to write instead where a condition does not fit a type; empty where it does."""
    kind = _kind(type_)
    if kind == "text" and name in CUTS and name not in ("in", "not_in"):
        return "use in: [...] or not_in: [...]"
    if name == "is" and kind == "a number":
        return "use min, max, above or below"
    if name == "pareto" and not pa.types.is_floating(type_):
        return "pareto takes a score in [0, 1]"
    if name in ("temperature", "upsample", "quota") and kind == "a flag":
        return f"{name} takes a number"
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
    if name == "quota":
        if fault := quotas.fault(value, WEIGHTS):
            raise RuleError(f"rule {signal!r}: quota {fault}")
        return
    share = "a share in (0, 1]"
    expected = {
        **dict.fromkeys(BOUNDS, (_is_bound(value), "a finite number, or one for each group such as {eng: 50, other: null}")),
        "pareto": (
            (_number(value) and value >= 0) or (isinstance(value, Mapping) and _solved(value, set())),
            "a number >= 0, none, or {keep_fraction: share in (0, 1]}",
        ),
        "keep_fraction": (_share(value), share),
        "temperature": (
            isinstance(value, Mapping) and _solved(value, {"tau"}) and _number(value.get("tau", TAU)) and _positive(value),
            "{keep_fraction: share in (0, 1]}, with tau: a number > 0 if it is not to be " + f"{TAU:g}",
        ),
        "between": (
            isinstance(value, list) and len(value) == 2 and all(map(_quantile, value)) and value[0] < value[1],
            "two quantiles [low, high] with 0 <= low < high <= 1",
        ),
        "upsample": (
            isinstance(value, Mapping) and _curve(value),
            f"quantiles in [0, 1] with repeats from 0 to {MOST_COPIES}, not all 0, such as {{0.4: 0, 0.95: 7}}",
        ),
        "in": (isinstance(value, list) and len(value) > 0, "a list with at least one value"),
        "not_in": (isinstance(value, list) and len(value) > 0, "a list with at least one value"),
        "is": (isinstance(value, bool), "true or false"),
        "null": (value in ("keep", "drop"), "keep or drop"),
        "lowest": (isinstance(value, bool), "true or false"),
        "within": (are_columns(value), "the name of a column or {tenths: number}, or a list of different ones"),
        "weight": (value in WEIGHTS, f"{', '.join(WEIGHTS[:-1])} or {WEIGHTS[-1]}"),
    }
    holds, what = expected[name]
    if not holds:
        raise RuleError(f"rule {signal!r}: {name} must be {what}, got {value!r}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_bound(value: Any) -> bool:
    """A number, or one or none for each group."""
    if not isinstance(value, Mapping):
        return _number(value)
    return len(value) > 0 and all(isinstance(name, str) and (one is None or _number(one)) for name, one in value.items())


def _solved(value: Mapping[str, Any], more: set[str]) -> bool:
    """Whether a share is asked, and nothing else but some keys."""
    return "keep_fraction" in value and set(value) <= {"keep_fraction", *more} and _share(value["keep_fraction"])


def _positive(value: Mapping[str, Any]) -> bool:
    return bool(value.get("tau", TAU) > 0)


def _curve(value: Mapping[Any, Any]) -> bool:
    """Whether quantiles, which YAML reads as texts, have numbers of repeats."""
    try:
        quantiles = [float(at) for at in value]
    except (TypeError, ValueError):
        return False
    fits = all(_number(copies) and 0 <= copies <= MOST_COPIES for copies in value.values())
    return fits and all(map(_quantile, quantiles)) and len(set(quantiles)) == len(value) and any(value.values())


def _quantile(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _share(value: Any) -> bool:
    return _quantile(value) and value > 0


@dataclass(frozen=True)
class Ranking:
    """What pages are ranked by, from the highest or the lowest: a signal, or where `noisy` the strength of a cut by it.

    With a `scale`, by the noisy score of a temperature, from the highest: a negative scale prefers small values.
    """

    signal: str
    lowest: bool = False
    weight: str = "pages"
    within: Within = ()
    noisy: bool = False
    scale: float | None = None

    def __str__(self) -> str:
        return self.signal + (f" within {', '.join(map(str, self.within))}" if self.within else "")

    @property
    def columns(self) -> set[str]:
        """The columns that are read for it, but for the weights that every pool has."""
        return {self.signal} | signals_of(self.within) | ({"text_characters"} if self.weight == "characters" else set())

    def column(self, pool: Pool) -> Column:
        """The pages of a pool, or of one part, as they are ranked."""
        if self.scale is not None:
            values = pool.tempered(self.signal, self.scale)
        else:
            values = pool.strengths(self.signal) if self.noisy else pool.numbers(self.signal)
        within = pool.groups(self.within) if self.within else None
        return ranked(values, pool.weight(self.weight), lowest=self.lowest, within=within)

    def test(self, share: float, found: Found) -> Test:
        """The bound that keeps a share of the weight; where nothing is measured, one that nothing passes."""
        bounds = floats(found.places, self.lowest)[found.targets.amounts.index(share)]
        bounds = np.where(found.measured > 0, bounds, -math.inf if self.lowest else math.inf).tolist()
        if self.noisy:
            # Kept is strength > a: the a just under the strength that is still to be kept.
            return Test("pareto", float(np.nextafter(bounds[0], -np.inf)) if found.measured[0] else math.inf)
        side = "max" if self.lowest else "min" if self.scale is None else "temperature"
        if found.names is None:
            return Test(side, bounds[0], scale=self.scale)
        of = "of each group" if self.weight == "pages" else f"of the {self.weight} of each group"
        groups = dict(zip(found.names, bounds, strict=True))
        return Test(side, f"{_short(share)} {of}", groups, self.within, self.scale)


def _shares(rule: Rule, deviations: Mapping[str, float]) -> list[tuple[Ranking, float]]:
    """The shares that a rule keeps, and of what ranking."""
    asked = rule.conditions
    weight, within = asked.get("weight", "pages"), within_of(asked.get("within", []), rule.tenths)
    lowest = bool(asked.get("lowest", False))
    shares = []
    if isinstance(asked.get("pareto"), Mapping):
        shares.append((Ranking(rule.signal, weight=weight, noisy=True), asked["pareto"]["keep_fraction"]))
    if "keep_fraction" in asked:
        shares.append((Ranking(rule.signal, lowest, weight, within), asked["keep_fraction"]))
    if "temperature" in asked:
        scale = scale_of(asked["temperature"].get("tau", TAU), deviations[rule.signal], lowest)
        ranking = Ranking(rule.signal, weight=weight, within=within, scale=scale)
        shares.append((ranking, asked["temperature"]["keep_fraction"]))
    if "between" in asked:
        low, high = asked["between"]
        shares += [
            (Ranking(rule.signal, False, weight, within), 1 - low),
            (Ranking(rule.signal, True, weight, within), high),
        ]
    return shares


@dataclass(frozen=True)
class Filling:
    """The pages among which the threshold of quotas is found: those between the floor and the ceiling of their niches."""

    ranking: Ranking
    floor: float
    ceiling: float

    @property
    def ends(self) -> tuple[float, ...]:
        """The shares of niches that must be found first; for a floor of 0 nothing need be."""
        return tuple(sorted({self.floor, self.ceiling} - {0.0}))

    def column(self, pool: Pool, ends: Found) -> Column:
        """The free pages of a pool, or of one part; `ends` are the cuts of its ranking."""
        return quotas.free(self.ranking.column(pool), ends, self.floor, self.ceiling)

    def test(self, share: float, ends: Found, thresholds: Found | None) -> Test:
        """The bound of each niche for a budget of all weight."""
        left, threshold = quotas.left(ends, self.floor, share), np.uint64(0)
        if left and thresholds is not None:
            threshold = thresholds.places[thresholds.targets.amounts.index(left), 0]
        found = floats(quotas.bounds(ends, threshold, self.floor, self.ceiling), self.ranking.lowest).tolist()
        groups = dict(zip(ends.names or (), found, strict=True))
        of = f"of all {self.ranking.weight} and {_short(self.floor)} to {_short(self.ceiling)} of each group"
        return Test("max" if self.ranking.lowest else "min", f"{_short(share)} {of}", groups, self.ranking.within)


def filling_of(rule: Rule) -> Filling | None:
    """Where the threshold of a rule's quota is found; None without one."""
    if (quota := rule.quota) is None:
        return None
    ranking = Ranking(rule.signal, bool(rule.conditions.get("lowest", False)), quota.weight, quota.within)
    return Filling(ranking, quota.floor, quota.ceiling)


Cuts = Callable[[Mapping[Any, Targets], Callable[[Any, Pool], Column], Collection[str]], dict[Any, Found]]
"""Targets of some rankings, what a part has of each, and the signals that are read for it -> the cuts over all pages."""


def tenths_signals(rules: Iterable[Rule]) -> list[str]:
    """The signals whose tenths must be known before the rules can be ranked."""
    return sorted({one.signal for leaf in leaves(rules) for one in leaf.groupings if isinstance(one, Tenths)})


def with_tenths(rule: Rule, bounds: Mapping[str, tuple[float, ...]]) -> Rule:
    """A rule with the bounds between the tenths that it stands within."""
    sets = tuple(tuple(with_tenths(one, bounds) for one in some) for some in rule.any_of)
    return replace(rule, any_of=sets, tenths=bounds)


def bounds_of_tenths(signals: Collection[str], cuts: Cuts) -> dict[str, tuple[float, ...]]:
    """The bounds between the tenths of each number; one that is nowhere measured has none."""
    found = cuts(
        dict.fromkeys(signals, TENTHS),
        lambda name, pool: ranked(pool.numbers(name), pool.weight("pages"), lowest=True),
        signals,
    )
    return {name: tuple(floats(one.places[:, 0], lowest=True).tolist()) for name, one in found.items() if one.measured[0]}


def spread_signals(rules: Iterable[Rule]) -> list[str]:
    """The signals whose standard deviation must be known before the rules can be resolved."""
    return sorted({leaf.signal for leaf in leaves(rules) if "temperature" in leaf.conditions})


def rankings(rules: Iterable[Rule], deviations: Mapping[str, float]) -> dict[Ranking, Targets]:
    """What must be ranked before these rules, of any number of levels, can be resolved.

    `deviations`: the standard deviations of `spread_signals`.
    """
    shares: dict[Ranking, set[float]] = {}
    for rule in leaves(rules):
        for ranking, share in _shares(rule, deviations):
            shares.setdefault(ranking, set()).add(share)
        if "upsample" in rule.conditions:
            shares.setdefault(Ranking(rule.signal, lowest=True), set()).update(RANKS.amounts)
        if (filling := filling_of(rule)) is not None:
            shares.setdefault(filling.ranking, set()).update(filling.ends)
    return {ranking: Targets("share", tuple(sorted(some))) for ranking, some in shares.items()}


def fillings(rules: Iterable[Rule], found: Mapping[Ranking | Filling, Found]) -> dict[Filling, Targets]:
    """What must be ranked after the ends of niches are found, before quotas can be resolved."""
    wanted: dict[Filling, set[int]] = {}
    for leaf in leaves(rules):
        if (filling := filling_of(leaf)) is not None:
            share = leaf.conditions["quota"]["keep_fraction"]
            wanted.setdefault(filling, set()).add(quotas.left(found[filling.ranking], filling.floor, share))
    return {filling: Targets("at least", tuple(sorted(some - {0}))) for filling, some in wanted.items() if some - {0}}


def resolve(rule: Rule, found: Mapping[Ranking | Filling, Found], deviations: Mapping[str, float]) -> Resolved:
    """Turn shares into thresholds: those over the pages that were ranked and on which the signal is measured."""
    if rule.any_of:
        sets = tuple(tuple(resolve(one, found, deviations) for one in rules) for rules in rule.any_of)
        return Resolved(rule, (), sets)
    asked = rule.conditions
    if rule.signal == SAMPLE:
        return Resolved(rule, (Test("share", asked[SAMPLE]),))
    tests = [
        Test(name, asked[name], within=rule.within if isinstance(asked[name], Mapping) else ())
        for name in (*BOUNDS, "in", "not_in", "is")
        if name in asked
    ]
    if "pareto" in asked and not isinstance(asked["pareto"], Mapping):
        tests.append(Test("pareto", float(asked["pareto"])))
    tests += [ranking.test(share, found[ranking]) for ranking, share in _shares(rule, deviations)]
    if "upsample" in asked:
        tests.append(_curve_test(rule, found[Ranking(rule.signal, lowest=True)]))
    if (filling := filling_of(rule)) is not None:
        tests.append(filling.test(asked["quota"]["keep_fraction"], found[filling.ranking], found.get(filling)))
    return Resolved(rule, tuple(tests))


def _curve_test(rule: Rule, found: Found) -> Test:
    """A curve of repeats over the quantiles of its signal; nothing has any where none is measured."""
    at = [found.targets.amounts.index(amount) for amount in RANKS.amounts]
    quantiles = tuple(floats(found.places, lowest=True)[at, 0].tolist()) if found.measured[0] else (math.inf,)
    return Test("upsample", rule.conditions["upsample"], quantiles=quantiles, lowest=bool(rule.conditions.get("lowest")))


def resolve_all(rules: Sequence[Rule], cuts: Cuts, deviations_of: Callable[[list[str]], dict[str, float]]) -> list[Resolved]:
    """The rules of any number of levels resolved over all pages, in their order."""
    bounds = bounds_of_tenths(tenths_signals(rules), cuts)
    rules = [with_tenths(rule, bounds) for rule in rules]
    deviations = deviations_of(spread_signals(rules))
    wanted = rankings(rules, deviations)
    read = {name for ranking in wanted for name in ranking.columns}
    ends = cuts(wanted, lambda ranking, pool: ranking.column(pool), read)
    thresholds = cuts(fillings(rules, ends), lambda filling, pool: filling.column(pool, ends[filling.ranking]), read)
    return [resolve(rule, {**ends, **thresholds}, deviations) for rule in rules]


def resolve_in(pool: Pool, rules: Sequence[Rule]) -> list[Resolved]:
    """The rules resolved over a pool that is in memory as a whole."""

    def cuts(targets: Mapping[Any, Targets], column: Callable[[Any, Pool], Column], _: Collection[str]) -> dict[Any, Found]:
        return find(targets, lambda wanted: merged([count(wanted, lambda key: column(key, pool))]))

    return resolve_all(rules, cuts, lambda signals: {name: Spread.of(pool.numbers(name)).deviation for name in signals})


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
    soft = any(name in asked for name in ("keep_fraction", "temperature", "upsample", "quota"))
    up = any(name in asked for name in ("min", "above", "pareto")) or (soft and not down)
    if down == up:
        raise RuleError(
            f"rule {rule.signal!r} has no direction to invert: it needs one of min, above, max, below, keep_fraction, "
            "temperature, upsample, quota, pareto"
        )
    return up
