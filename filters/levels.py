"""Levels: the subsets that a sweep asks for, each with its rules, its name and its controls.

A level's name is the name of a folder and of a column, whatever its values are, so one function makes it: `folder_name`.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.rules import Pool, Rule, RuleError, keeps_highest, parse, preference, resolve, uniforms, without
from filters.signals import nearest

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


def plan(rules: Mapping[str, Any], sweep: Mapping[str, Sequence[Any]], controls: Sequence[str]) -> list[Level]:
    """Every subset by name, mildest level first, then the controls. Raises RuleError for what cannot be meant."""
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
        for control in controls
        for level, text in zip(levels, texts, strict=True)
        if swept(level)
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


def needed(levels: Sequence[Level]) -> set[str]:
    """The signals that the rules of the levels name."""
    rules = [rule for level in levels for rule in parse(level.rules)]
    return {rule.signal for rule in rules} | {rule.conditions["within"] for rule in rules if "within" in rule.conditions}


def kept_by_control(level: Level, pool: Pool, of: Truth, seed: int) -> Truth:
    """As many bytes as the level keeps, from the pages its other rules keep: by chance, or the worst first.

    `of` is what the level keeps; shape (pages,) like the result.
    """
    candidates = np.ones(len(pool), bool)
    for rule in parse(_without_swept(level)):
        candidates &= resolve(rule, pool).passes(pool)
    if level.control == "random":
        wanted = -uniforms(pool.ids, seed, "random")
    else:
        wanted = np.zeros(len(pool))
        for rule in _swept_rules(level):
            wanted += _ranks(preference(rule, pool, invert=True))
    order = np.argsort(-np.where(candidates & ~np.isnan(wanted), wanted, -np.inf), kind="stable")
    order = order[(candidates & ~np.isnan(wanted))[order]]
    sizes = np.cumsum(pool.weights["bytes"][order])
    kept = np.zeros(len(pool), bool)
    kept[order[: int(np.searchsorted(sizes, pool.weights["bytes"][of].sum(), side="right"))]] = True
    return kept


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks in [0, 1), ties by position; NaN stays NaN."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values)) / max(len(values), 1)
    return np.where(np.isnan(values), np.nan, ranks)


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
