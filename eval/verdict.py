"""What an experiment may say of its filter: one of four outcomes, how sure that is, and what would have decided it.

The best level is chosen from the same numbers that are to prove it, which makes it look better than it is. So what is
said of the hardest level is said from intervals that hold for all its differences at once (multiple comparisons with the
best, Hsu 1984), and what is said of the others from intervals that hold for all pairs of levels at once.

Levels stand in the order of the share they keep, whatever the order of the experiment file. On a grid of several keys there
is no hardest level: levels are compared with the pool and with each other, and nothing is said about where harm begins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

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
    text: str
    """The same in one sentence, or two."""

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
    ordered = tuple(level.name for level in _mildest_first(levels))
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
        lost=tuple(level.name for level in _mildest_first(lost)),
        text="",
    )
    found = _on_a_grid(found) if grid else _hardest(found, comparison, ranked, pairs)
    if comparison.unknown:
        found = replace(found, outcome="cannot_tell", begun_by=None, at_most=None)
    return replace(found, text=_sentence(found, comparison))


def _mildest_first(levels: Sequence[Level]) -> list[Level]:
    return sorted(levels, key=lambda level: (-level.kept, level.name))


def _on_a_grid(found: Verdict) -> Verdict:
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


def _sentence(found: Verdict, comparison: Comparison) -> str:
    said = _cannot(found, comparison) if found.outcome == "cannot_tell" else _claim(found)
    if found.lost:
        have = "has" if len(found.lost) == 1 else "have"
        said += f" {', '.join(found.lost)} {have} no complete runs and cannot be judged."
    return said


def _claim(found: Verdict) -> str:
    gap, better = found.hardest_minus_best, found.best_minus_base
    if found.outcome == "helped":
        return f"{found.best} is the best of the grid: {told(better)} than {found.base}."
    if found.outcome == "never_helped" and gap is None:
        return f"No filter of the grid beat {found.base}."
    if found.outcome == "never_helped":
        return f"This filter never helped: no level beat {found.base}, and {found.hardest} is {told(gap)} than the best."
    if found.outcome == "none_found":
        worse = "no worse" if not found.at_most else f"at most {found.at_most:.4f} bits per byte worse"
        return f"No over-filtering found up to {found.hardest}: it is {worse} than any milder level."
    return f"Over-filtering has begun by {found.begun_by}: {found.hardest} is {told(gap)} than {found.best}."


def _cannot(found: Verdict, comparison: Comparison) -> str:
    if comparison.unknown:
        return f"Cannot tell which level is best: {comparison.unknown}."
    gap, other = (found.best_minus_base, found.base) if found.hardest is None else (found.hardest_minus_best, found.best)
    one = found.hardest or found.best
    if one == other:
        other = min((name for name in found.levels if name != one), key=comparison.value)
    if gap is None:
        return f"Cannot tell: {found.base} is the best, and no level is worse beyond chance. {_limits(found)}"
    return f"Cannot tell: {one} is {told(gap)} than {other}. {_limits(found)} {_would_decide(gap, one, other, comparison)}"


def _limits(found: Verdict) -> str:
    return (
        f"A true difference of {found.resolution:.4f} bits per byte is seen in half of such experiments, one of "
        f"{found.resolution_at_80:.4f} in four of five."
    )


def _would_decide(gap: Interval, one: str, other: str, comparison: Comparison) -> str:
    """How large the experiment had to be for a difference of this size, from the noise that was measured."""
    times = (EIGHTY * gap.half_width / abs(gap.value)) ** 2 if gap.value else np.inf
    runs, pages = comparison.noise(one, other)
    if times > MOST_TIMES:
        return "A difference as small as this one is not worth deciding."
    replicates, clusters = ceil(times * comparison.replicates), ceil(times * comparison.clusters)
    share = runs / (runs + pages) if runs + pages else 1.0
    return (
        f"It would take about {replicates} replicates (here {comparison.replicates}) and held-out pages of {clusters} "
        f"clusters (here {comparison.clusters}) to decide one of this size: runs make {100 * share:.0f} % of the variance."
    )


def told(gap: Interval | None) -> str:
    """A difference in words: how much worse or better, with its interval in the same direction."""
    if gap is None:
        return "not comparable"
    shown = gap if gap.value >= 0 else -gap
    word = "worse" if gap.value >= 0 else "better"
    return f"{shown.value:.4f} bits per byte {word} [{shown.low:+.4f}, {shown.high:+.4f}]"


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
