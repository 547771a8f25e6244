"""The facts with their statistics: what every part of the report is told from, worked out once."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from eval.report.facts import Facts
from eval.report.standing import Standings, standings
from eval.report.wording import plural
from eval.statistics import Verdict


@dataclass(frozen=True, eq=False)
class Story:
    """Facts, where each subset stands on both evaluation sets, and the verdict where there can be one."""

    facts: Facts
    held_out: Standings | None
    reference: Standings | None
    verdict: Verdict | None

    @property
    def sure(self) -> bool:
        """Whether there are replicates and clusters enough for an interval that excludes 0 to mean something."""
        return bool(self.held_out and self.held_out.comparison and self.held_out.comparison.unknown is None)

    @property
    def base(self) -> str | None:
        """What differences are taken from: the unfiltered pool where it was trained on, else the mildest level."""
        compared = self.held_out.compared if self.held_out else ()
        controls = [subset.name for subset in self.facts.subsets if subset.control == "unfiltered"]
        levels = [subset.name for subset in self.facts.levels]
        return next((name for name in [*controls, *levels] if name in compared), None)


@lru_cache(maxsize=1)
def tell(facts: Facts) -> Story:
    """Facts with the standings of both evaluation sets."""
    held_out = standings(facts.held_out, facts.subsets) if facts.held_out else None
    reference = standings(facts.reference, facts.subsets) if facts.reference else None
    return Story(facts, held_out, reference, _judged(facts, held_out) if held_out else None)


def _judged(facts: Facts, held_out: Standings) -> Verdict | None:
    """The verdict on the levels, with the size of the experiment in it; None with fewer than two compared levels."""
    parameters = max((int(run.facts.get("parameters") or 0) for run in facts.runs if run.finished), default=0)
    pages, clusters = (len(facts.held_out.bytes), len(np.unique(facts.held_out.cluster))) if facts.held_out else (0, 0)
    of = f" of {clusters:,} {plural(clusters, 'domain')}" if clusters < pages else ""
    return held_out.judged(parameters, f"{pages:,} held-out {plural(pages, 'page')}{of}")
