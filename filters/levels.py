"""Levels: the subsets that a sweep asks for, each with its rules, its name and its controls.

A level's name is the name of a folder and of a column, whatever its values are, so one function makes it: `folder_name`.
"""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.nearest import nearest
from filters.quantiles import Column, ranked, ranks
from filters.rules import (
    ANY_OF,
    NO_SIGNALS,
    Floats,
    Pool,
    Rule,
    RuleError,
    keeps_highest,
    parse,
    preference,
    uniforms,
    without,
)

Truth = npt.NDArray[np.bool_]

UNFILTERED = "unfiltered"
CONTROLS = ("random", "inverted")
BAND, SECOND = "band", "second"
BESIDE = (BAND, SECOND)
"""What the `control` of subsets says that are trained beside the levels: none is part of a verdict."""
BANDS = ("removed", "margin")
"""Pages between two levels: what the mildest keeps and the hardest drops, and what of it the next-hardest keeps."""
LIST, RANDOM = "list", "random"
"""Keys of a sweep that are no keys of rules: levels written out, and how many are drawn."""
MOST_LEVELS = 1000
"""Each is a column of verdicts, a file of facts and a folder; a hundred are what was measured (docs/choosing.md)."""
MOST_NAME_BYTES = 200
"""File systems take 255; files that are named after a level or a classifier add endings to it."""
SAFE = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{MOST_NAME_BYTES - 1}}}")
PLAIN_WORD = re.compile(r"(?!(true|false|null)\Z)[A-Za-z][A-Za-z0-9.]*\Z")
"""A text that needs no quotes in a name: no number, no flag, nothing that joins."""


@dataclass(frozen=True)
class Level:
    """One subset that is asked for: rules with the swept values in place, or a control of such a level."""

    name: str
    rules: Mapping[str, Any]
    levels: Mapping[str, Any] = field(default_factory=dict)
    strength: int | None = None
    control: str | None = None
    of: str | None = None


def plan(rules: Mapping[str, Any], sweep: Mapping[str, Any], controls: Mapping[str, str], seed: int = 0) -> list[Level]:
    """Every subset by name, mildest level first, then the controls. Raises RuleError for what cannot be meant.

    `controls`: random or inverted, each at `all` levels or at the `hardest`. `seed` decides a random search.
    """
    for control in controls:
        if control not in CONTROLS:
            raise RuleError(f"unknown control {control!r}: {nearest(control, list(CONTROLS))}")
    cells = _cells(sweep, seed)
    levels, texts = [], []
    for strength, cell in enumerate(cells):
        asked: Mapping[str, Any] = rules
        for key, value in cell:
            asked = _in_place(asked, _path(key), value)
        parse(asked)
        texts.append(_text(cell))
        levels.append(Level(folder_name(texts[-1]), asked, dict(cell), strength))
    twice = sorted({text for text in texts if texts.count(text) > 1})
    if twice:
        raise RuleError(f"the sweep has a level twice: {', '.join(twice)}")
    controlled = [
        _controlled(control, level, text)
        for control, at in controls.items()
        for level, text in zip(levels, texts, strict=True)
        if swept(level) and at in ("all", level is hardest(levels) and "hardest")
    ]
    return [Level(UNFILTERED, {}, control=UNFILTERED), *levels, *controlled]


def second_levels(rules: Mapping[str, Any], sweep: Mapping[str, Any], second: Mapping[str, Any]) -> list[Level]:
    """Levels of another sweep in place of the first, whose keys are off in them: is it the scorer, or how hard it is pushed?

    Raises RuleError for what cannot be meant.
    """
    if not second:
        return []
    if both := [key for key in second if key in sweep]:
        raise RuleError(f"diagnostics.second: {both[0]} is a key of the sweep: name one of another scorer")
    if sweep.keys() & {LIST, RANDOM} or second.keys() & {LIST, RANDOM}:
        raise RuleError(f"diagnostics.second: neither it nor the sweep beside it may be a {LIST} or {RANDOM}: name keys")
    others = rules
    for key in sweep:
        others = _in_place(others, _path(key), "none")
    try:
        cells = _cells(second, 0)
    except RuleError as error:
        raise RuleError(str(error).replace("sweep:", "diagnostics.second:", 1)) from error
    if len(cells) < 2:
        raise RuleError("diagnostics.second: takes two levels or more, such as {rules.books.pareto: [3, 9]}")
    found = []
    for strength, cell in enumerate(cells):
        asked: Mapping[str, Any] = others
        for key, value in cell:
            asked = _in_place(asked, _path(key), value)
        parse(asked)
        found.append(Level(folder_name(f"second-{_text(cell)}"), asked, dict(cell), strength, SECOND))
    return found


def band_levels(bands: Sequence[str], levels: Sequence[Level]) -> list[Level]:
    """What lies between two levels; which two is known when it is measured how much each keeps. Raises RuleError."""
    ordered = [level for level in levels if level.control is None]
    if bands and (len(ordered) < 2 or len({key for level in ordered for key in level.levels}) != 1):
        raise RuleError(
            "diagnostics.bands: they lie between levels, so they need a sweep over one key with two values or more"
        )
    return [Level(f"band-{band}", {}, control=BAND) for band in bands]


def ends_of(band: str, kept: Mapping[str, int]) -> tuple[str, str]:
    """The two levels that a band lies between, the milder first. `kept`: how much each keeps; of equal ones the first."""
    milder_first = sorted(kept, key=lambda name: -kept[name])
    return milder_first[0 if band == "band-removed" else -2], milder_first[-1]


def _cells(sweep: Mapping[str, Any], seed: int) -> list[tuple[tuple[str, Any], ...]]:
    """(key, value) of every level: those under `list`, so many as `random` draws, or each combination of the values."""
    keys = {key: values for key, values in sweep.items() if key not in (LIST, RANDOM)}
    if LIST in sweep:
        return _listed(sweep[LIST], others=[*keys, *({RANDOM} & set(sweep))])
    for key, values in keys.items():
        _path(key)
        if isinstance(values, list) and not values:
            raise RuleError(f"sweep: {key} has no values, expected a list with at least one")
    if RANDOM in sweep:
        return _drawn(sweep[RANDOM], keys, seed)
    for key, values in keys.items():
        if not isinstance(values, list):
            raise RuleError(f"sweep: {key} must be a list of values, got {values!r}: {{from: .., to: ..}} needs {RANDOM}:")
    _check_number(math.prod(len(values) for values in keys.values()))
    return list(itertools.product(*([(key, value) for value in values] for key, values in keys.items())))


def _check_number(levels: int) -> None:
    if levels > MOST_LEVELS:
        raise RuleError(f"sweep: {levels:,} levels are asked for, at most {MOST_LEVELS:,} are made: take out values")


def _listed(asked: Any, others: Sequence[str]) -> list[tuple[tuple[str, Any], ...]]:
    """The levels that are written out, each a mapping of keys to one value."""
    if others:
        raise RuleError(f"sweep: {LIST} stands alone, but {', '.join(others)} is there too")
    if not isinstance(asked, list) or not asked or not all(isinstance(one, Mapping) and one for one in asked):
        raise RuleError(f"sweep.{LIST} must be a list of levels such as [{{rules.word_count.min: 50}}, ...], got {asked!r}")
    _check_number(len(asked))
    return [tuple(one.items()) for one in asked]


def _drawn(number: Any, keys: Mapping[str, Any], seed: int) -> list[tuple[tuple[str, Any], ...]]:
    """So many levels with each key drawn by itself, those that come twice left out; more of them begin with the fewer."""
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise RuleError(f"sweep.{RANDOM} must be a number of levels, at least 1, got {number!r}")
    if not keys:
        raise RuleError(f"sweep.{RANDOM}: there is no key to draw, such as rules.word_count.min: {{from: 20, to: 200}}")
    _check_number(number)
    columns = {
        key: _values(key, asked, uniforms([str(at) for at in range(number)], seed, f"sweep {key}"))
        for key, asked in keys.items()
    }
    drawn = [tuple(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return list({_text(cell): cell for cell in drawn}.values())


def _values(key: str, asked: Any, u: Floats) -> list[Any]:
    """A value for each draw: one of a list, or a number of a range, whole where both ends are."""
    if isinstance(asked, list):
        return [asked[at] for at in (u * len(asked)).astype(int).tolist()]
    known = {"from", "to", "log"}
    fits = isinstance(asked, Mapping) and {"from", "to"} <= set(asked) <= known and isinstance(asked.get("log", False), bool)
    if not fits or not _is_range(asked["from"], asked["to"], asked.get("log", False)):
        raise RuleError(
            f"sweep: {key} must be a list of values or {{from: low, to: high}}, with log: true for a positive range "
            f"by its logarithm, got {asked!r}"
        )
    low, high = asked["from"], asked["to"]
    whole = isinstance(low, int) and isinstance(high, int)
    found = low * (high / low) ** u if asked.get("log") else low + u * (high - low)
    return [round(value) if whole else float(f"{value:.6g}") for value in found.tolist()]


def _is_range(low: Any, high: Any, log: bool) -> bool:
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end) for end in (low, high))
    return numbers and low < high and (not log or low > 0)


def _controlled(control: str, level: Level, text: str) -> Level:
    made = replace(level, name=folder_name(f"{control}-{text}"), control=control, of=level.name)
    if control == "inverted":
        for rule in _swept_rules(made):
            keeps_highest(rule)  # raises where there is nothing to invert
    return made


def swept(level: Level) -> list[tuple[str, str]]:
    """(signal, condition) of the swept keys that say something at this level."""
    paths = [_path(key) for key, value in level.levels.items() if value != "none"]
    return [(path[0], path[1] if len(path) > 1 else "") for path in paths]


def unswept(level: Level) -> bool:
    """Whether no swept rule is on: every swept key says `none`."""
    return bool(level.levels) and all(value == "none" for value in level.levels.values())


def needed(levels: Sequence[Level]) -> set[str]:
    """The signals that the rules of the levels name."""
    return signals_of([rule for level in levels for rule in parse(level.rules)])


def signals_of(rules: Iterable[Rule]) -> set[str]:
    """The signals that rules are decided by."""
    return {name for rule in rules for name in rule.columns}


@dataclass(frozen=True)
class Order:
    """The order in which a control takes the pages that its level's other rules keep, up to the level's weight.

    `random`: by chance. `inverted`: by how little the swept rules want them, for several by the sum of the ranks.
    """

    control: str
    swept: tuple[Rule, ...]
    weight: str

    @property
    def name(self) -> str:
        """The same for controls that take pages in the same order, however many."""
        directions = [f"{rule.signal} {_direction(rule)}" for rule in self.swept]
        return " ".join([self.control, *directions, "by", self.weight])

    def column(self, pool: Pool, among: Truth, quantiles: Mapping[str, Floats]) -> Column:
        """A part's pages in that order. `quantiles`: of the wishes of each swept rule, by its signal, where several are."""
        weights = pool.weight(self.weight)
        chance = pool.draw(self.control)
        if self.control == "random":
            return ranked(chance, weights, lowest=True, among=among)
        wishes = [preference(rule, pool, invert=True) for rule in self.swept]
        if len(wishes) == 1:
            return ranked(wishes[0], weights, draws=chance, among=among)
        summed = sum(ranks(wish, quantiles[rule.signal]) for wish, rule in zip(wishes, self.swept, strict=True))
        return ranked(np.asarray(summed, np.float64), weights, draws=chance, among=among)


def order_of(level: Level, weight: str) -> Order:
    """The order of a control."""
    return Order(str(level.control), tuple(_swept_rules(level)) if level.control == "inverted" else (), weight)


def other_rules(level: Level) -> list[Rule]:
    """The rules of a level without the swept conditions: what its controls choose among."""
    return parse(_without_swept(level))


def hardest(levels: Sequence[Level]) -> Level:
    """The hardest level of a sweep: by the values of its key where they say it, else the last that is listed."""
    strengths = [_strength(level) for level in levels]
    if any(strength is None for strength in strengths):
        return levels[-1]
    return max(zip(levels, strengths, strict=True), key=lambda one: one[1] or 0.0)[0]


def _strength(level: Level) -> float | None:
    """A number that grows as the level gets harder; None where its value does not say."""
    if len(level.levels) != 1:
        return None
    [(key, value)] = level.levels.items()
    if value == "none":
        return -math.inf
    if isinstance(value, Mapping):
        value = value.get("keep_fraction")
        return -value if isinstance(value, int | float) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    condition = _path(key)[-1]
    return {"pareto": value, "min": value, "above": value}.get(condition, -value)


def _direction(rule: Rule) -> str:
    return "pareto" if "pareto" in rule.conditions else "highest" if keeps_highest(rule) else "lowest"


def _path(key: str) -> list[str]:
    """signal, condition and what is deeper, of a swept key; `sample` and `any_of` may stand alone."""
    first, *path = key.split(".")
    if first != "rules" or not path or not all(path) or (len(path) < 2 and path[0] not in NO_SIGNALS):
        raise RuleError(f"sweep: {key!r} must be a key of the rules, such as rules.word_count.min")
    return path


def _in_place(rules: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """The rules with one swept key in place; `none` takes the condition away, and the rule that then says nothing."""
    signal, *deeper = path
    if not deeper:
        placed = value
    elif signal == ANY_OF:
        placed = _in_group(rules.get(ANY_OF, []), deeper, value)
    else:
        placed = _condition_in_place(signal, rules.get(signal, {}), deeper, value)
    if placed == "none" or placed == {}:
        return {name: rule for name, rule in rules.items() if name != signal}
    return {**rules, signal: placed}


def _in_group(sets: Any, path: Sequence[str], value: Any) -> list[Any]:
    """The sets of an `any_of` with a key of one of them in place; they are counted from 0."""
    at, *deeper = path
    if not isinstance(sets, list) or not at.isdecimal() or int(at) >= len(sets) or len(deeper) < 2:
        raise RuleError(
            f"sweep: rules.{ANY_OF}.{'.'.join(path)} must name a set from 0 to {len(sets) - 1} and a condition in it, "
            f"such as rules.{ANY_OF}.0.word_count.min"
        )
    changed = _in_place(sets[int(at)], deeper, value)
    return [changed if number == int(at) else one for number, one in enumerate(sets)]


def _condition_in_place(signal: str, given: Any, path: Sequence[str], value: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise RuleError(f"rule {signal!r} must be a mapping such as {{min: 50}}, got {given!r}")
    condition, *deeper = path
    if value == "none":
        return without(given, condition)
    for key in reversed(deeper[1:]):
        value = {key: value}
    if deeper:  # the bounds of other groups, or the tau of a temperature, stay as they are
        beside = given.get(condition)
        value = {**(beside if isinstance(beside, Mapping) else {}), deeper[0]: value}
    return {**given, condition: value}


def _swept_rules(level: Level) -> list[Rule]:
    """A rule for each swept condition alone, with the direction it has."""
    return [
        Rule(signal, {})
        if signal in NO_SIGNALS
        else Rule(signal, {name: level.rules[signal][name] for name in (condition, "lowest") if name in level.rules[signal]})
        for signal, condition in swept(level)
    ]


def _without_swept(level: Level) -> dict[str, Any]:
    """The rules of a level with the swept conditions taken away."""
    rules: dict[str, Any] = dict(level.rules)
    for signal, condition in swept(level):
        rules = _in_place(rules, [signal] if signal in NO_SIGNALS else [signal, condition], "none")
    return rules


def folder_name(text: str) -> str:
    """A name for a folder in its parent, at most `MOST_NAME_BYTES` long: different texts have different names.

    That is the text where all of it is safe, else what is safe of it, `~` and the beginning of its SHA-256.
    """
    if SAFE.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', text)[:100].strip('.-')}~{digest}"


def _text(cell: Sequence[tuple[str, Any]]) -> str:
    """A level in words, e.g. `quality-pareto-3`; two levels of a sweep that differ have different ones."""
    named = [f"{key.removeprefix('rules.').replace('.', '-')}-{_value_text(value)}" for key, value in cell]
    return "_".join(named) or "rules"


def _key_text(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_.]+", key) else json.dumps(key)


def _value_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "-".join(f"{_key_text(str(key))}-{_value_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "-".join(map(_value_text, value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str) and PLAIN_WORD.match(value):
        return value
    return json.dumps(value).replace("e+", "e")
