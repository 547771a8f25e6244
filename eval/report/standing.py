"""Where each subset stands: bits per byte with an interval, and paired with the best level so that shared luck cancels.

Only subsets that have a run for every replicate are compared; one that lost a run keeps its value, with its own interval,
and is compared with nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from eval.report.facts import Scores, Subset
from eval.statistics import Comparison, Interval, compare
from eval.verdict import Level, Placebo, Primary, Verdict, mildest_first, placebo, primary, verdict

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
    fewest bits per byte; `unfiltered`: the compared subset that no swept rule filters; `verdict`: None with fewer than two
    levels; `placebo`: what is said of subsets that differ by chance alone; `primary`: what was named beforehand.
    """

    rows: tuple[Standing, ...]
    levels: tuple[str, ...] = ()
    best: str | None = None
    comparison: Comparison | None = None
    unfiltered: str | None = None
    verdict: Verdict | None = None
    placebo: Placebo | None = None
    primary: Primary | None = None
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


def standings(scores: Scores, subsets: Sequence[Subset], ordered: bool, between: tuple[str, str] | None = None) -> Standings:
    """Rows in the order of `subsets`, for those with at least one run; `ordered` levels lead from mild to hard.

    `between`: what the primary hypothesis names, `none` among it as the level that it is.
    """
    has_run: Truth = ~np.asarray(np.isnan(scores.nll).all(axis=2))
    complete: Truth = np.asarray(has_run.all(axis=1))
    # One that reads its few pages again and again differs by that, so it is no placebo.
    alike = [name for name in _alike(subsets) if name not in scores.repeated]
    inverted = [subset.name for subset in subsets if subset.control == "inverted"]
    every = np.ones(len(scores.replicates), bool)
    comparison = _compare(scores, complete, every, alike, inverted) if complete.any() else None
    compared = comparison.subsets if comparison else ()
    levels = tuple(subset.name for subset in subsets if subset.control is None and subset.name in compared)
    best, unfiltered = best_level(comparison, levels), _unfiltered(subsets, comparison)
    kept = [Level(subset.name, subset.share or 0.0) for subset in subsets if subset.control is None]
    lost = [level for level in kept if level.name not in levels]
    judged, chance = None, None
    if comparison and len(levels) > 1:
        there = [level for level in kept if level.name in levels]
        judged = verdict(comparison, there, unfiltered, grid=not ordered, lost=lost)
        chance = placebo(comparison, [name for name in alike if name in compared])
    named = _primary(comparison, kept, between, None if ordered or not judged else judged.base) if comparison else None
    over_best = _over_best(comparison, best, judged, unfiltered) if comparison and best else {}
    rows = []
    for at, name in enumerate(scores.subsets):
        own = comparison if comparison and complete[at] else _compare(scores, np.arange(len(complete)) == at, has_run[at])
        replicates, asked = int(has_run[at].sum()), len(scores.replicates)
        share = judged.best_share.get(name) if judged else None
        rows.append(Standing(name, own.interval(name), over_best.get(name), share, replicates, asked))
    by_name = {row.subset: row for row in rows}
    return Standings(tuple(rows), levels, best, comparison, unfiltered, judged, chance, named, by_name)


def _primary(
    comparison: Comparison, levels: Sequence[Level], between: tuple[str, str] | None, base: str | None
) -> Primary | None:
    """The hypothesis that was named, or else the hardest level minus the best; on a grid the best minus its base."""
    asked = between or (("best", "hardest") if base is None else (base, "best"))
    return primary(comparison, [level.name for level in mildest_first(levels)], asked)


def _alike(subsets: Sequence[Subset]) -> list[str]:
    """The subsets that differ by chance alone: random controls, and the level that they are drawn from."""
    random = [subset.name for subset in subsets if subset.control == "random"]
    from_ = [subset.name for subset in subsets if subset.unswept and subset.control is None]
    return [*from_, *random] if random else []


def _unfiltered(subsets: Sequence[Subset], comparison: Comparison | None) -> str | None:
    """The subset that no swept rule filters: the whole pool or the level whose swept keys all say `none`, the better one."""
    if comparison is None:
        return None
    names = [one.name for one in subsets if one.control == "unfiltered" or (one.control is None and one.unswept)]
    return min((name for name in names if name in comparison.subsets), key=comparison.value, default=None)


def best_level(comparison: Comparison | None, levels: Sequence[str]) -> str | None:
    """The level with the fewest bits per byte, the mildest of equals; None where none is compared."""
    if comparison is None or not levels:
        return None
    return min(levels, key=lambda name: float(comparison.values[comparison.subsets.index(name)]))


def _compare(
    scores: Scores, subsets: Truth, replicates: Truth, alike: Sequence[str] = (), apart: Sequence[str] = ()
) -> Comparison:
    names = [name for name, taken in zip(scores.subsets, subsets, strict=True) if taken]
    there = [name for name in alike if name in names]
    nll = scores.nll[subsets][:, replicates]
    return compare(nll, scores.bytes, scores.cluster, names, scores.stratum, there, apart)


def _over_best(comparison: Comparison, best: str, judged: Verdict | None, unfiltered: str | None) -> dict[str, Interval]:
    """Each subset minus the best level; levels and the unfiltered pool with the verdict's intervals, if there is one.

    The controls' intervals hold for all controls at once.
    """
    over = dict(judged.over_best) if judged else {}
    if judged and unfiltered and judged.best_minus_base is not None:
        over.setdefault(unfiltered, -judged.best_minus_base)
    controls = [name for name in comparison.subsets if name not in over and name != best]
    return over | {name: -gap for name, gap in zip(controls, comparison.differences(best, controls), strict=True)}
