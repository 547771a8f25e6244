"""The facts with their statistics: what every part of the report is told from, worked out once."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eval.report.facts import Facts, Scores
from eval.report.standing import Standings, standings


@dataclass(frozen=True, eq=False)
class Story:
    """Facts, and where each subset stands on every evaluation set; `pool` where it differs from `held_out`."""

    facts: Facts
    held_out: Standings | None
    pool: Standings | None
    reference: Standings | None

    @property
    def sure(self) -> bool:
        """Whether there are replicates and clusters enough for an interval that excludes 0 to mean something."""
        return bool(self.held_out and self.held_out.comparison and self.held_out.comparison.unknown is None)

    @property
    def base(self) -> str | None:
        """What domains are compared with: the unfiltered pool where it was trained on, else the mildest level."""
        compared = self.held_out.compared if self.held_out else ()
        levels = [subset.name for subset in self.facts.levels if subset.name in compared]
        return self.unfiltered or next(iter(levels), None)

    @property
    def unfiltered(self) -> str | None:
        """The compared subset that no swept rule filters."""
        return self.held_out.unfiltered if self.held_out else None


@lru_cache(maxsize=1)
def tell(facts: Facts) -> Story:
    """Facts with the standings of all evaluation sets."""
    # Where no rule is shared the pool's pages are those that decide, and one difference has one interval.
    pool = None if facts.pool and facts.held_out and _same(facts.pool, facts.held_out) else facts.pool
    sets = (facts.held_out, pool, facts.reference)
    told = (standings(scores, facts.subsets, facts.ordered, _primary(facts)) if scores else None for scores in sets)
    return Story(facts, *told)


def _primary(facts: Facts) -> tuple[str, str] | None:
    """The subsets of the primary hypothesis, `none` as the level that no swept rule filters."""
    if facts.primary is None:
        return None
    none = next((level.name for level in facts.levels if level.unswept), "none")
    first, second = (none if name == "none" else name for name in facts.primary)
    return first, second


def _same(one: Scores, other: Scores) -> bool:
    return np.array_equal(one.bytes, other.bytes) and np.array_equal(one.nll, other.nll, equal_nan=True)
