"""Where each subset stands: bits per byte with an interval, and paired with the best level so that shared luck cancels.

Only subsets that have a run for every replicate are compared; one that lost a run keeps its value, with its own interval,
and is compared with nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from eval.report.facts import Scores, Subset
from eval.statistics import Comparison, Interval, Verdict, hierarchical_bootstrap, verdict

Truth = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Standing:
    """One subset on one evaluation set.

    `difference` is to the best level, the only one that the page gives an interval; `best_share` the share of resamples in
    which this level is the best; both None where they do not apply. `replicates` of `asked` runs were measured.
    """

    subset: str
    level: Interval
    difference: Interval | None
    best_share: float | None
    replicates: int
    asked: int


@dataclass(frozen=True)
class Standings:
    """All subsets of one evaluation set, in the order of the sweep.

    `comparison`: those with a run for every replicate; `levels`: the levels among them; `best`: the one of these with the
    fewest bits per byte; `verdict`: None with fewer than two levels.
    """

    rows: tuple[Standing, ...]
    levels: tuple[str, ...] = ()
    best: str | None = None
    comparison: Comparison | None = None
    verdict: Verdict | None = None
    by_name: Mapping[str, Standing] = field(default_factory=dict)

    @property
    def compared(self) -> tuple[str, ...]:
        """The subsets whose differences are known."""
        return self.comparison.subsets if self.comparison else ()

    def difference(self, subset: str, base: str) -> Interval | None:
        """Bits per byte of one subset minus another's, paired; None unless both are compared."""
        if self.comparison is None or subset not in self.compared or base not in self.compared:
            return None
        return self.comparison.difference(subset, base)


def standings(scores: Scores, subsets: Sequence[Subset], ordered: bool) -> Standings:
    """Rows in the order of `subsets`, for those with at least one run; `ordered` levels lead from mild to hard."""
    has_run: Truth = ~np.asarray(np.isnan(scores.nll).all(axis=2))
    complete: Truth = np.asarray(has_run.all(axis=1))
    comparison = _compare(scores, complete, np.ones(len(scores.replicates), bool)) if complete.any() else None
    compared = comparison.subsets if comparison else ()
    levels = tuple(subset.name for subset in subsets if subset.control is None and subset.name in compared)
    best = best_level(comparison, levels)
    judged = verdict(comparison, levels) if comparison and len(levels) > 1 else None
    over_best = _over_best(comparison, levels, subsets, judged, ordered) if comparison and best else {}
    shares = comparison.best_share(levels) if comparison and levels else {}
    rows = []
    for at, name in enumerate(scores.subsets):
        own = comparison if comparison and complete[at] else _compare(scores, np.arange(len(complete)) == at, has_run[at])
        replicates, asked = int(has_run[at].sum()), len(scores.replicates)
        rows.append(Standing(name, own.interval(name), over_best.get(name), shares.get(name), replicates, asked))
    return Standings(tuple(rows), levels, best, comparison, judged, {row.subset: row for row in rows})


def best_level(comparison: Comparison | None, levels: Sequence[str]) -> str | None:
    """The level with the fewest bits per byte, the mildest of equals; None where none is compared."""
    if comparison is None or not levels:
        return None
    return min(levels, key=lambda name: float(comparison.values[comparison.subsets.index(name)]))


def _compare(scores: Scores, subsets: Truth, replicates: Truth) -> Comparison:
    names = [name for name, taken in zip(scores.subsets, subsets, strict=True) if taken]
    return hierarchical_bootstrap(scores.nll[subsets][:, replicates], scores.bytes, scores.cluster, names)


def _over_best(
    comparison: Comparison, levels: Sequence[str], subsets: Sequence[Subset], judged: Verdict | None, ordered: bool
) -> dict[str, Interval]:
    """Each subset minus the best level: the levels' intervals hold for all of them at once, the controls' one by one.

    What the page claims first is about the hardest level and the unfiltered pool. Each of these two is compared with all
    levels at once, so that its interval allows for the best having been picked from the same numbers.
    """
    best = judged.best if judged else levels[0]
    over = {name: comparison.difference(name, best) for name in comparison.subsets if name not in levels}
    for subset in subsets:
        if subset.control == "unfiltered" and subset.name in over:
            over[subset.name] = comparison.differences(subset.name, levels)[levels.index(best)]
    if judged:
        over |= judged.over_best
        over |= {judged.hardest: judged.hardest_minus_best} if ordered and judged.hardest != best else {}
    return over
