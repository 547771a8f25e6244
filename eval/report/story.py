"""The facts with their statistics: what every part of the report is told from, worked out once."""

from dataclasses import dataclass
from functools import lru_cache

from eval.report.facts import Facts
from eval.report.standing import Standings, standings


@dataclass(frozen=True, eq=False)
class Story:
    """Facts, and where each subset stands on both evaluation sets."""

    facts: Facts
    held_out: Standings | None
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
        """The compared subset that no swept rule filters: the whole pool, or a level whose swept keys all say `none`."""
        compared = self.held_out.compared if self.held_out else ()
        whole = [subset.name for subset in self.facts.subsets if subset.control == "unfiltered"]
        unswept = [level.name for level in self.facts.levels if level.unswept]
        return next((name for name in [*whole, *unswept] if name in compared), None)


@lru_cache(maxsize=1)
def tell(facts: Facts) -> Story:
    """Facts with the standings of both evaluation sets."""
    held_out = standings(facts.held_out, facts.subsets, facts.ordered) if facts.held_out else None
    reference = standings(facts.reference, facts.subsets, facts.ordered) if facts.reference else None
    return Story(facts, held_out, reference)
