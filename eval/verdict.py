"""What an experiment may say of its filter: which of a few outcomes, how sure that is, and what would have decided it.

The best level is chosen from the same numbers that are to prove it, which makes it look better than it is. So what is
said of the hardest level is said from intervals that hold for all its differences at once (multiple comparisons with the
best, Hsu 1984), and what is said of the others from intervals that hold for all pairs of levels at once.

Levels stand in the order of the share they keep, whatever the order of the experiment file. On a grid of several keys there
is no hardest level: levels are compared with the pool and with each other, and nothing is said about where harm begins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal, NamedTuple

import numpy as np

from eval.statistics import Comparison, Interval, TwoLines, two_lines

Outcome = Literal["over_filtering", "none_found", "never_helped", "helped", "cannot_tell"]

EIGHTY = 1.45
"""A difference of so many half widths of a 95 % interval excludes 0 in four of five repetitions: (1.96 + 0.84) / 1.96,
rounded up for the tails of few replicates."""
MOST_TIMES = 100
"""An experiment that had to be more times as large than this would decide nothing worth knowing."""


@dataclass(frozen=True)
class Level:
    """A level of the sweep: its name and the share of the pool that it keeps."""

    name: str
    kept: float


class Needed(NamedTuple):
    """An experiment that tells a difference of the size found in four of five repetitions.

    `times` as much of everything, that is so many replicates and clusters of held-out pages; `runs` is the share of the
    variance that replicates make here, held-out pages make the rest.
    """

    times: float
    replicates: int
    clusters: int
    runs: float


@dataclass(frozen=True)
class Verdict:
    """What may be said; `levels` are those compared, from the mildest to the hardest."""

    outcome: Outcome
    levels: tuple[str, ...]
    base: str
    """What the filter is measured against: the unfiltered pool, or else the mildest level."""
    best: str
    best_share: dict[str, float]
    """Share of resamples in which each level is best."""
    hardest: str | None
    """None on a grid, where no level is the hardest."""
    hardest_minus_best: Interval | None
    """Against the runner-up where the hardest is the best itself."""
    best_minus_base: Interval | None
    """None where the base is the best."""
    over_best: dict[str, Interval]
    """Every level minus the best; the best itself is not there."""
    begun_by: str | None
    """The mildest level beyond the best from which on all are worse than it: a bound, harm may begin before."""
    at_most: float | None
    """Bits per byte by which the hardest level may yet be worse than the best, where no over-filtering is found."""
    two_lines: TwoLines | None
    """None on a grid, and with fewer than five levels."""
    resolution: float
    """Bits per byte: a true difference of this size is told from none in half of such experiments."""
    lost: tuple[str, ...]
    """Levels that have no complete runs."""
    needed: Needed | None
    """What would have decided it, where nothing can be told and a difference of the size found is worth telling."""

    @property
    def resolution_at_80(self) -> float:
        """Bits per byte: a true difference of this size is told from none in four of five such experiments."""
        return EIGHTY * self.resolution


def verdict(
    comparison: Comparison,
    levels: Sequence[Level],
    base: str | None = None,
    grid: bool = False,
    lost: Sequence[Level] = (),
) -> Verdict:
    """Judge the levels of a sweep, given in any order; controls are no levels.

    base: the subset that stands for the pool as it is, the mildest level if it is not named. grid: several keys vary.
    lost: levels without complete runs, which are not compared.

    Raises:
        ValueError: there are fewer than two levels, or one was not compared.
    """
    ordered = tuple(level.name for level in mildest_first(levels))
    base = base or (ordered[0] if ordered else "")
    missing = [name for name in (*ordered, base) if name not in comparison.subsets]
    if len(ordered) < 2 or missing:
        raise ValueError(f"a verdict needs two levels or more that were compared; got {list(ordered)}, missing {missing}")
    ranked = sorted(ordered, key=comparison.value)  # stable: of equals the mildest comes first
    best = ranked[0]
    pairs = comparison.all_pairs(list(dict.fromkeys([*ordered, base])))
    over = {name: pairs[name, best] for name in ordered if name != best}
    found = Verdict(
        outcome="cannot_tell",
        levels=ordered,
        base=base,
        best=best,
        best_share=comparison.best_share(ordered),
        hardest=None,
        hardest_minus_best=None,
        best_minus_base=pairs[best, base] if best != base else None,
        over_best=over,
        begun_by=None,
        at_most=None,
        two_lines=None,
        resolution=max((gap.half_width for gap in over.values()), default=0.0),
        lost=tuple(level.name for level in mildest_first(lost)),
        needed=None,
    )
    found = _on_a_grid(found) if grid else _hardest(found, comparison, ranked, pairs)
    if comparison.unknown:
        return replace(found, outcome="cannot_tell", begun_by=None, at_most=None)
    return replace(found, needed=_needed(found, comparison)) if found.outcome == "cannot_tell" else found


def mildest_first(levels: Sequence[Level]) -> list[Level]:
    """Levels in the order of the share they keep, whatever the order they are given in."""
    return sorted(levels, key=lambda level: (-level.kept, level.name))


def _on_a_grid(found: Verdict) -> Verdict:
    if found.best_minus_base is not None and found.best_minus_base.positive:
        return replace(found, outcome="never_helped")
    if found.best == found.base:
        worse = [gap for name, gap in found.over_best.items() if gap.positive]
        return replace(found, outcome="never_helped" if worse else "cannot_tell")
    helped = found.best_minus_base is not None and found.best_minus_base.negative
    return replace(found, outcome="helped" if helped else "cannot_tell")


def _hardest(
    found: Verdict, comparison: Comparison, ranked: Sequence[str], pairs: Mapping[tuple[str, str], Interval]
) -> Verdict:
    """The verdict where levels have an order: is the hardest worse than the best, and had the filter helped at all?"""
    hardest, milder = found.levels[-1], list(found.levels[:-1])
    rival = found.best if found.best != hardest else ranked[1]
    gaps = dict(zip(milder, comparison.differences(hardest, milder), strict=True))
    over = found.over_best | ({hardest: gaps[found.best]} if found.best != hardest else {})
    found = replace(
        found,
        hardest=hardest,
        hardest_minus_best=gaps[rival],
        over_best=over,
        two_lines=two_lines(comparison, found.levels) if len(found.levels) >= 5 else None,
        resolution=gaps[rival].half_width,
    )
    if found.best_minus_base is not None and found.best_minus_base.positive:
        return replace(found, outcome="never_helped")
    from_base = gaps.get(found.base, pairs.get((hardest, found.base)))
    if found.best != hardest and gaps[rival].positive:
        helped = found.best_minus_base is not None and found.best_minus_base.negative
        if found.best == found.base or (not helped and from_base is not None and from_base.positive):
            return replace(found, outcome="never_helped", begun_by=_begun_by(found))
        return replace(found, outcome="over_filtering", begun_by=_begun_by(found))
    if from_base is not None and from_base.negative:
        return replace(found, outcome="none_found", at_most=max(0.0, *(gap.high for gap in gaps.values())))
    return found


def _begun_by(found: Verdict) -> str:
    """The hardest level is worse already; go back towards the best while levels are worse too."""
    begun = found.levels[-1]
    for level in reversed(found.levels[found.levels.index(found.best) + 1 : -1]):
        if not found.over_best[level].positive:
            break
        begun = level
    return begun


def _needed(found: Verdict, comparison: Comparison) -> Needed | None:
    """What the difference at issue would take: the hardest level's, or on a grid that of the best to the pool."""
    one, other = (found.hardest, found.best) if found.hardest is not None else (found.best, found.base)
    if one == other:
        other = min((name for name in found.levels if name != one), key=comparison.value)
    gap = comparison.difference(one, other)
    times = (EIGHTY * gap.half_width / abs(gap.value)) ** 2 if gap.value else np.inf
    if times > MOST_TIMES:
        return None
    runs, pages = comparison.noise(one, other)
    share = runs / (runs + pages) if runs + pages else 1.0
    return Needed(max(1.0, times), ceil(times * comparison.replicates), ceil(times * comparison.clusters), share)


@dataclass(frozen=True)
class Primary:
    """The hypothesis that was named before anything was measured: `one` minus `other`, which may be the best level."""

    one: str
    other: str
    gap: Interval
    """Where the best level was picked by the numbers, it holds for all that might have been."""
    p_value: float


def primary(comparison: Comparison, levels: Sequence[str], between: tuple[str, str]) -> Primary | None:
    """The second of two subsets minus the first; None where one of them was not compared.

    `levels`: those asked for, from the mildest to the hardest, with complete runs or without. Either name may be `best` or
    `hardest`; where the other subset is the best level itself, the next best stands for it.
    """
    names = [levels[-1] if name == "hardest" and levels else name for name in between]
    if "best" not in names:
        first, second = names
        if not {first, second} <= set(comparison.subsets) or first == second:
            return None
        return Primary(second, first, comparison.difference(second, first), comparison.p_value(second, first))
    [named] = [name for name in names if name != "best"]
    others = [name for name in levels if name != named and name in comparison.subsets]
    if named not in comparison.subsets or not others:
        return None
    best = min(others, key=comparison.value)
    gap = dict(zip(others, comparison.differences(named, others), strict=True))[best]
    p_value = comparison.p_value(named, best, others)
    return Primary(named, best, gap, p_value) if names[0] == "best" else Primary(best, named, -gap, p_value)


@dataclass(frozen=True)
class Placebo:
    """The same judgement of subsets that differ by chance alone: the pool and random controls of every size."""

    subsets: tuple[str, ...]
    scatter: float
    """Standard deviation of their bits per byte, from each other."""
    widest: float
    """The largest difference between any two."""
    speaks: tuple[str, str] | None
    """Two of them whose difference excludes 0 with all pairs at once; None is as it should be."""


def placebo(comparison: Comparison, subsets: Sequence[str]) -> Placebo | None:
    """What the instrument says where there is nothing to say; None with fewer than two such subsets."""
    if len(subsets) < 2:
        return None
    values = [comparison.value(name) for name in subsets]
    pairs = comparison.all_pairs(subsets) if comparison.unknown is None else {}
    speaks = max((pair for pair, gap in pairs.items() if gap.positive), key=lambda pair: pairs[pair].value, default=None)
    return Placebo(tuple(subsets), float(np.std(values, ddof=1)), max(values) - min(values), speaks)
