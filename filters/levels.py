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
from filters.rules import Floats, Pool, Rule, RuleError, keeps_highest, parse, preference, without

Truth = npt.NDArray[np.bool_]

CONTROLS = ("random", "inverted")
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


def plan(rules: Mapping[str, Any], sweep: Mapping[str, Sequence[Any]], controls: Mapping[str, str]) -> list[Level]:
    """Every subset by name, mildest level first, then the controls. Raises RuleError for what cannot be meant.

    `controls`: random or inverted, each at `all` levels or at the `hardest`.
    """
    for control in controls:
        if control not in CONTROLS:
            raise RuleError(f"unknown control {control!r}: {nearest(control, list(CONTROLS))}")
    for key, values in sweep.items():
        if not values:
            raise RuleError(f"sweep: {key} has no values, expected a list with at least one")
    cells = list(itertools.product(*([(key, value) for value in values] for key, values in sweep.items())))
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
    return [Level("unfiltered", {}, control="unfiltered"), *levels, *controlled]


def _controlled(control: str, level: Level, text: str) -> Level:
    made = replace(level, name=folder_name(f"{control}-{text}"), control=control, of=level.name)
    if control == "inverted":
        for rule in _swept_rules(made):
            keeps_highest(rule)  # raises where there is nothing to invert
    return made


def swept(level: Level) -> list[tuple[str, str]]:
    """(signal, condition) of the swept keys that say something at this level."""
    paths = [_path(key) for key, value in level.levels.items() if value != "none"]
    return [(signal, condition) for signal, condition, *_ in paths]


def unswept(level: Level) -> bool:
    """Whether no swept rule is on: every swept key says `none`."""
    return bool(level.levels) and all(value == "none" for value in level.levels.values())


def needed(levels: Sequence[Level]) -> set[str]:
    """The signals that the rules of the levels name."""
    return signals_of([rule for level in levels for rule in parse(level.rules)])


def signals_of(rules: Iterable[Rule]) -> set[str]:
    """The signals that rules name."""
    return {name for rule in rules for name in (rule.signal, rule.conditions.get("within")) if name}


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
    """signal, condition and what is deeper, of a swept key."""
    first, *path = key.split(".")
    if first != "rules" or len(path) < 2 or not all(path):
        raise RuleError(f"sweep: {key!r} must be a key of the rules, such as rules.word_count.min")
    return path


def _in_place(rules: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """The rules with one swept key in place; `none` takes the condition away, and the rule that then says nothing."""
    signal, condition, *deeper = path
    given = rules.get(signal, {})
    if not isinstance(given, Mapping):
        raise RuleError(f"rule {signal!r} must be a mapping such as {{min: 50}}, got {given!r}")
    if value == "none":
        conditions = without(given, condition)
    else:
        for key in reversed(deeper):
            value = {key: value}
        conditions = {**given, condition: value}
    if conditions:
        return {**rules, signal: conditions}
    return {name: rule for name, rule in rules.items() if name != signal}


def _swept_rules(level: Level) -> list[Rule]:
    """A rule for each swept condition alone, with the direction it has."""
    return [
        Rule(signal, {name: level.rules[signal][name] for name in (condition, "lowest") if name in level.rules[signal]})
        for signal, condition in swept(level)
    ]


def _without_swept(level: Level) -> dict[str, Any]:
    """The rules of a level with the swept conditions taken away."""
    rules: dict[str, Any] = dict(level.rules)
    for path in swept(level):
        rules = _in_place(rules, path, "none")
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


def _value_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "-".join(f"{_value_text(key)}-{_value_text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "-".join(map(_value_text, value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str) and PLAIN_WORD.match(value):
        return value
    return json.dumps(value).replace("e+", "e")
