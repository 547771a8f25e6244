"""A rule as a person reads it: what was asked, and the thresholds that came of it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from eval.report.wording import listed, percent

BOUNDS = {"min": "≥", "above": ">", "max": "≤", "below": "<"}
MOST_GROUPS = 4


def as_asked(signal: str, asked: Mapping[str, Any]) -> str:
    """`word_count ≥ 50 and ≤ 100,000`, or `quality: keep the best 30 % of bytes within language`."""
    bounds = [f"{sign} {_number(asked[name])}" for name, sign in BOUNDS.items() if name in asked]
    says = [f"{signal} {' and '.join(bounds)}"] if bounds else []
    says += [f"{signal} is {listed(list(map(str, asked['in'])), 'or')}"] if "in" in asked else []
    says += [f"{signal} is not {listed(list(map(str, asked['not_in'])), 'or')}"] if "not_in" in asked else []
    says += [f"{signal} is {str(asked['is']).lower()}"] if "is" in asked else []
    says += [f"{signal}: {cut}" for cut in _shares(asked)]
    return "; ".join(says) + (" (null passes)" if asked.get("null") == "keep" else "")


def _shares(asked: Mapping[str, Any]) -> list[str]:
    """The conditions that cut by rank or by chance."""
    of = f"of {asked.get('weight', 'pages')}" + (f" within {_columns(asked['within'])}" if "within" in asked else "")
    says = []
    if isinstance(cut := asked.get("pareto"), Mapping):
        says.append(f"noisy cut that keeps {percent(cut['keep_fraction'])} {of}")
    elif cut is not None:
        says.append(f"noisy cut, pareto {_number(cut)}")
    if "keep_fraction" in asked:
        says.append(f"keep the {'lowest' if asked.get('lowest') else 'best'} {percent(asked['keep_fraction'])} {of}")
    if "quota" in asked:
        says.append(_quota(asked["quota"], "lowest" if asked.get("lowest") else "best"))
    if "between" in asked:
        low, high = asked["between"]
        says.append(f"keep the quantiles {_number(low)} to {_number(high)} {of}")
    return says


def _quota(asked: Mapping[str, Any], end: str) -> str:
    floor, ceiling = percent(asked.get("floor", 0)), percent(asked.get("ceiling", 1))
    of = f"{percent(asked['keep_fraction'])} of all {asked.get('weight', 'pages')}"
    return f"keep the {end} {of}, {floor} to {ceiling} of each niche of {_columns(asked['within'])}"


def _columns(within: Any) -> str:
    """The columns whose cells are groups."""
    listed = within if isinstance(within, list) else [within]
    return " × ".join(f"tenths of {one['tenths']}" if isinstance(one, Mapping) else str(one) for one in listed)


def as_resolved(asked: Mapping[str, Any], resolved: Mapping[str, Any], groups: Sequence[str] = ()) -> str:
    """The thresholds that shares became, `eng ≥ 0.71, deu ≥ 0.65 and 12 more`; empty where the rule asked for numbers.

    Groups that a threshold is found within come in the order of `groups`.
    """
    if not {"keep_fraction", "between", "quota"} & set(asked) and not isinstance(asked.get("pareto"), Mapping):
        return ""
    return "; ".join(_threshold(name, bound, groups) for name, bound in resolved.items() if name in (*BOUNDS, "pareto"))


def _threshold(name: str, bound: Any, groups: Sequence[str]) -> str:
    sign = BOUNDS.get(name, name)
    if not isinstance(bound, Mapping):
        return _bounded(sign, bound)
    places = {group: at for at, group in enumerate(groups)}
    ranked = sorted(bound, key=lambda group: (places.get(group, len(places)), group))
    shown = [f"{group} {_bounded(sign, bound[group])}" for group in ranked[:MOST_GROUPS]]
    more = len(ranked) - len(shown)
    return listed([*shown, f"{more:,} more"] if more else shown)


def _number(value: Any) -> str:
    """A number as it was asked."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _bounded(sign: str, value: Any) -> str:
    """A threshold that was found, to three digits; one that is not finite lets nothing pass."""
    return f"{sign} {value:.3g}" if isinstance(value, int | float) and math.isfinite(value) else "nothing passes"
