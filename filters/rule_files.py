"""Named sets of rules: the files of conf/rules/ and anyone's own, which may build on others.

    needs: {perplexity_wiki: what to write in an experiment file for it}
    rules:
      extends: [gopher, ../base.yaml]
      word_count: {replace: true, min: 20}

Rules of a file hold together with those that it extends, or with `replace: true` in their place. `needs` says how a signal
is made that no group of heuristics has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filters.joined import together
from filters.nearest import nearest
from filters.rules import RuleError
from filters.strict_yaml import read_yaml_file

FOLDER = Path(__file__).resolve().parents[1] / "conf" / "rules"
EXTENDS, REPLACE = "extends", "replace"


@dataclass(frozen=True)
class RuleFile:
    """The rules of a file and of those that it extends together, and how signals are made that they need."""

    rules: dict[str, Any]
    needs: dict[str, str]


def rule_file(name: str, beside: Path = Path(), above: tuple[Path, ...] = ()) -> RuleFile:
    """A set by its name in conf/rules/ or by a path, relative to the folder `beside`. Raises RuleError or YamlError."""
    file = beside / name if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not file.is_file():
        known = sorted(path.stem for path in FOLDER.glob("*.yaml"))
        raise RuleError(f"unknown preset {name!r}: {nearest(name, known)}")
    if file.resolve() in above:
        raise RuleError(f"{file} extends itself: {' extends '.join(path.name for path in (*above, file))}")
    tree = read_yaml_file(file)
    if not isinstance(tree, Mapping) or not isinstance(tree.get("rules"), Mapping) or not set(tree) <= {"rules", "needs"}:
        raise RuleError(f"{file} must hold rules: with a mapping of signal to conditions, and beside it at most needs:")
    needs = tree.get("needs", {})
    if not isinstance(needs, Mapping) or not all(isinstance(way, str) for way in needs.values()):
        raise RuleError(f"{file}: needs: must be a mapping of signal to a sentence, got {needs!r}")
    try:
        bases = [(base, rule_file(base, file.parent, (*above, file.resolve()))) for base in extended(tree["rules"])]
        rules = built(tree["rules"], f"{name}:", {f"preset {base}": of.rules for base, of in bases})
    except RuleError as error:
        raise RuleError(f"{file}: {error}") from error
    return RuleFile(rules, {signal: way for _, base in bases for signal, way in base.needs.items()} | dict(needs))


def extended(rules: Mapping[str, Any]) -> list[str]:
    """The sets that rules say they extend."""
    asked = rules.get(EXTENDS, [])
    names = asked if isinstance(asked, list) else [asked]
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise RuleError(
            f"rules.{EXTENDS} must be the name or path of a set of rules, or a list of different ones, got {asked!r}"
        )
    return names


def built(rules: Mapping[str, Any], source: str, bases: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Rules and those of the sets that they build on together; one that says `replace: true` stands in place of theirs."""
    own = {signal: _said(conditions) for signal, conditions in rules.items() if signal != EXTENDS}
    replaced = {signal for signal in own if _replaces(signal, rules[signal])}
    left = {base: _without(of, replaced) for base, of in bases.items()}
    return together({**left, source: own})


def _without(rules: Mapping[str, Any], signals: Iterable[str]) -> dict[str, Any]:
    return {signal: conditions for signal, conditions in rules.items() if signal not in signals}


def _replaces(signal: str, conditions: Any) -> bool:
    """Whether a rule stands in place of those that others have on its signal."""
    replace = conditions.get(REPLACE, False) if isinstance(conditions, Mapping) else False
    if not isinstance(replace, bool):
        raise RuleError(f"rules.{signal}.{REPLACE} must be true or false, got {replace!r}")
    return replace


def _said(conditions: Any) -> Any:
    """The conditions without the word on what they replace."""
    return _without(conditions, [REPLACE]) if isinstance(conditions, Mapping) else conditions
