"""Tables of differences, as cells that are shaded by how large they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.report.facts import Facts

ByReplicate = Mapping[str, Mapping[int, float]]
"""Subset -> replicate -> value."""
NAME_SHOWN = 60
BETTER, WORSE = "0,114,178", "213,94,0"
"""Colours of cells below and above 0, as the figures have them."""
DARKEST = 0.55


def measured(facts: Facts, which: str, domain: str, metric: str = "bits_per_byte") -> dict[str, dict[int, float]]:
    """What `results.jsonl` has of a set and domain, by subset and replicate; what is no number is left out."""
    found: dict[str, dict[int, float]] = {}
    for row in facts.results:
        value = row.get("value")
        wanted = (row.get("set"), row.get("domain"), row.get("metric")) == (which, domain, metric)
        if wanted and isinstance(value, int | float) and np.isfinite(value):
            found.setdefault(str(row.get("subset")), {})[int(row.get("replicate") or 0)] = float(value)
    return found


def gaps(values: ByReplicate, one: str, other: str) -> list[float]:
    """One subset minus another in each replicate that both have."""
    first, second = values.get(one, {}), values.get(other, {})
    return [first[number] - second[number] for number in sorted(first) if number in second]


def cells(
    rows: Sequence[Sequence[Sequence[float]]], best: bool = False, places: int = 4
) -> list[list[dict[str, Any] | None]]:
    """Rows of cells, each from the differences of its replicates: a number, its shade, whether replicates agree on its sign.

    `best`: the lowest of each column is marked.
    """
    means = [[float(np.mean(each)) if each else None for each in row] for row in rows]
    largest = max((abs(mean) for row in means for mean in row if mean is not None), default=0.0) or 1.0
    lowest = [min((mean for mean in column if mean is not None), default=None) for column in zip(*means, strict=True)]

    def cell(mean: float | None, each: Sequence[float], low: float | None) -> dict[str, Any] | None:
        if mean is None:
            return None
        sure = len(each) < 2 or min(each) > 0 or max(each) < 0 or not any(each)
        shade = f"rgba({BETTER if mean < 0 else WORSE},{DARKEST * abs(mean) / largest:.2f})"
        return {"text": signed_number(mean, places), "shade": shade, "sure": sure, "best": best and mean == low}

    return [[cell(*one) for one in zip(some, each, lowest, strict=True)] for some, each in zip(means, rows, strict=True)]


def signed_number(value: float, places: int = 4) -> str:
    """A number with its sign, with the minus sign of the page; `0` for none."""
    return f"{value:+.{places}f}".replace("-", "−") if value else "0"


def names_of_levels(facts: Facts) -> list[str]:
    """The pool, then the levels from the mildest to the hardest."""
    return [subset.name for subset in facts.subsets if subset.control in ("unfiltered", None)]
