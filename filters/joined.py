"""Rules of several sources as one: presets, files that build on each other, and the experiment's own."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from filters.rules import ANY_OF, BOUNDS, CUTS, SAMPLE, RuleError, checked, groups_of, keeps_nothing, lower, parse, upper

RANKED = ("pareto", "keep_fraction", "temperature", "between", "upsample", "quota", "lowest", "within", "weight")
"""Conditions of which a rule has one set: two different ones on a signal have no joint meaning."""


def together(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The rules that hold where those of all sources hold, by signal; the order of the sources changes nothing.

    Of bounds on one signal the tightest of each side is left; lists are intersected (`in`) or united (`not_in`); what all
    say is there once; null passes where it passes every rule. Raises RuleError, naming the sources, where no page could
    pass, and where shares, bands or noisy cuts on one signal differ. The smaller `sample` holds, and each group of `any_of`.
    """
    signals = dict.fromkeys(signal for rules in sources.values() for signal in rules)
    joint = {SAMPLE: _joined_samples, ANY_OF: _joined_groups}
    return {
        signal: joint.get(signal, _joined)(
            signal, {source: rules[signal] for source, rules in sources.items() if signal in rules}
        )
        for signal in signals
    }


def _joined_samples(signal: str, given: Mapping[str, Any]) -> Any:
    """Samples of the same draws are nested: the smallest lies in all."""
    _check_each(signal, given)
    return min((share for share in given.values() if share != "none"), default="none")


def _joined_groups(signal: str, given: Mapping[str, Any]) -> Any:
    """All groups, each once."""
    _check_each(signal, given)
    groups = [group for asked in given.values() if asked != "none" for group in groups_of(asked)]
    return _each_once(groups) if groups else "none"


def _check_each(signal: str, given: Mapping[str, Any]) -> None:
    """Raise RuleError for what one of the sources cannot mean by itself."""
    for asked in given.values():
        parse({signal: asked})


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
    ways = [way for rule in rules if (way := _way(rule))]
    bounds = _joined_bounds(rules)
    if any(way != ways[0] or set(way) & set(bounds) for way in ways):
        raise RuleError(f"the rules on {signal!r} cannot be joined, {said}: {way_out}")
    joined = bounds | _joined_values(rules) | (ways[0] if ways else {})
    if keeps_nothing(joined) or [] in joined.values():
        raise RuleError(f"no page can pass the rules on {signal!r}, {said}: {way_out}")
    return joined | ({"null": "keep"} if all(rule.get("null") == "keep" for rule in rules) else {})


def _way(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions of a rule that no others can be joined with."""
    by_group = [name for name in BOUNDS if isinstance(rule.get(name), Mapping)]
    return {name: rule[name] for name in (*RANKED, *by_group) if name in rule}


def _checked(signal: str, conditions: Any) -> tuple[dict[str, Any], bool]:
    """What a rule says, and whether every cut of it is `none`, so that it keeps all pages and null ones too."""
    asked = checked(signal, conditions)
    cuts = set(conditions) & set(CUTS)
    return asked, bool(cuts) and not cuts & set(asked)


def _written(conditions: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in conditions.items()) + "}"


def _joined_bounds(rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The tightest bound of each side where there is one."""
    return {name: bound for bound, name in (lower(rules), upper(rules)) if isfinite(bound)}


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
