"""Quotas: a budget of the whole, filled best first, with a floor and a ceiling for each niche.

One threshold is the same for all niches: a niche keeps what is at least as good, but no less than its floor and no more than
its ceiling, and the threshold is where the niches together reach the budget. So the best of each niche is kept for being the
best of its kind, as in the archives of quality-diversity search (Mouret and Clune 2015, arXiv 1504.04909).

Floors and ceilings are quantiles within niches. What lies between both in its niche is free, and the threshold is the
quantile of the free pages of all niches at which they use up what floors left of the budget. All of it is exact. The
threshold falls as the budget grows while floors and ceilings stay, so a smaller budget keeps no page that a larger drops.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from filters.draws import Hashes
from filters.niches import Within, are_columns, within_of
from filters.quantiles import Column, Found, Targets

OPTIONS = ("within", "keep_fraction", "floor", "ceiling", "weight")


@dataclass(frozen=True)
class Quota:
    """A budget as a share of all weight, and what each niche gets at least and at most as shares of its own."""

    keep_fraction: float
    floor: float
    ceiling: float
    within: Within
    weight: str

    @classmethod
    def of(cls, asked: Mapping[str, Any], bounds: Mapping[str, tuple[float, ...]]) -> "Quota":
        """What an experiment file says; `bounds` are those of tenths where they are known."""
        floor, ceiling = float(asked.get("floor", 0.0)), float(asked.get("ceiling", 1.0))
        within, weight = within_of(asked["within"], bounds), str(asked.get("weight", "pages"))
        return cls(float(asked["keep_fraction"]), floor, ceiling, within, weight)


def fault(asked: Any, weights: tuple[str, ...]) -> str:
    """What is wrong with a quota, as the end of a sentence that begins with it; empty where nothing is."""
    such = "{within: [language], keep_fraction: 0.2, floor: 0.05, ceiling: 0.6}"
    if not isinstance(asked, Mapping) or not {"within", "keep_fraction"} <= set(asked) <= set(OPTIONS):
        return f"must be a mapping such as {such}, with weight: if it is not pages, got {asked!r}"
    if not are_columns(asked["within"]):
        what = "the name of a column or {tenths: number}, or a list of different ones"
        return f"within must be {what}, got {asked['within']!r}"
    if asked.get("weight", "pages") not in weights:
        return f"weight must be {', '.join(weights[:-1])} or {weights[-1]}, got {asked['weight']!r}"
    share, floor, ceiling = asked["keep_fraction"], asked.get("floor", 0), asked.get("ceiling", 1)
    for name, value in {"keep_fraction": share, "floor": floor, "ceiling": ceiling}.items():
        if not _is_share(value) or (not value and name != "floor"):
            return f"{name} must be a share in {'[0, 1]' if name == 'floor' else '(0, 1]'}, got {value!r}"
    if floor > share:
        return f"has a floor of {floor:g}, above its keep_fraction of {share:g}: lower the floor"
    if ceiling < share:
        return f"has a ceiling of {ceiling:g}, below its keep_fraction of {share:g}: raise the ceiling"
    return ""


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def free(column: Column, ends: Found, floor: float, ceiling: float) -> Column:
    """A part's pages between the floor and the ceiling of their niches, ranked together."""
    low, high = _ends(ends, floor, ceiling)
    owners = column.owners(ends.names)
    kept = (column.places > low[owners]) & (column.places <= high[owners])
    rows = column.rows.copy()
    rows[column.rows] = kept
    return replace(column, rows=rows, places=column.places[kept], weights=column.weights[kept], groups=None, names=())


def left(ends: Found, floor: float, share: float) -> int:
    """The weight that a budget has left for free pages when every niche has its floor; 0 where floors use it up."""
    budget = int(Targets("share", (share,)).needs(np.array([ends.totals.sum()]))[0, 0])
    return max(0, budget - _kept(ends, floor))


def bounds(ends: Found, threshold: np.uint64, floor: float, ceiling: float) -> Hashes:
    """The place up to which each niche is kept, for the threshold's place; shape (niches,)."""
    low, high = _ends(ends, floor, ceiling)
    return np.clip(np.full(len(low), threshold), low, high)


def _ends(found: Found, floor: float, ceiling: float) -> tuple[Hashes, Hashes]:
    """The places of the floor and the ceiling of each niche; a floor of 0 is before every page. Shape (niches,)."""
    low = found.places[found.targets.amounts.index(floor)] if floor else np.zeros(len(found.totals), np.uint64)
    return low, found.places[found.targets.amounts.index(ceiling)]


def _kept(found: Found, share: float) -> int:
    """The weight of the pages up to a cut of every niche."""
    if not share:
        return 0
    at = found.targets.amounts.index(share)
    return int(found.beyond[at].sum() + found.tied[at].sum())
