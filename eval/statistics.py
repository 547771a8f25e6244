"""Which level is best, whether the hardest is worse, and how sure that is, with seeds as blocks.

Two things vary by chance: the seed (first weights, order and choice of tokens) and the held-out pages. Every seed is used
for every subset and every model reads the same pages, so differences are paired in both.

*Pages* are resampled by cluster (a registrable domain, or a page where one site dominates): pages of one site are alike.
*Seeds* are not resampled. With two seeds a bootstrap of seeds draws the same one twice half of the time and finds half
of the variance. What is left of the table subset x seed when the means of its rows and columns are taken away is pooled
instead, as in a randomised block design (Fisher 1935, chapter 4): with 6 levels and 2 seeds it has 5 degrees of freedom
where each difference alone has 1. Each resample then draws the seeds' share from Student's t with those degrees of
freedom. A level whose own runs scatter more than the others gets a wider share. The bootstrap of clusters gets the same
treatment, with Kish's effective number of clusters, so that a few large sites are not taken for many.

The best level is chosen from the same numbers that are to prove it, which makes it look better than it is. So the claim
about the hardest level is made from intervals that hold for all its differences at once (multiple comparisons with the
best, Hsu 1984). docs/training.md has the measured coverage and false claims.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Average = Literal["micro", "macro"]

CONFIDENCE = 0.95

# Weights of the clusters held at once: 10 million are 80 MB.
HELD_WEIGHTS = 10_000_000


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval, in bits per byte."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval: the least difference that could have been told from none."""
        return (self.high - self.low) / 2

    @property
    def positive(self) -> bool:
        """The whole interval lies above 0."""
        return self.low > 0


@dataclass(frozen=True)
class Comparison:
    """Bits per byte of every subset with resamples that are shared by all of them."""

    subsets: tuple[str, ...]
    values: Floats
    """[subsets] bits per byte, the mean over seeds."""
    by_seed: Floats
    """[subsets, seeds]"""
    errors: Floats
    """[resamples, subsets]: how far off each subset may be, without what all subsets of a seed share."""
    shared: Floats
    """[resamples]: what all subsets of a seed share; it cancels in differences."""
    clusters: int

    @property
    def unknown(self) -> str | None:
        """What cannot be known from so few seeds or clusters; None when intervals are whole."""
        if self.by_seed.shape[1] < 2:
            return "one replicate per subset does not show how much chance does; train at least two"
        if self.clusters < 2:
            return "all held-out pages are of one cluster, so how much pages differ cannot be seen; hold out more"
        return None

    def interval(self, subset: str) -> Interval:
        """The subset's bits per byte, with the interval for other seeds and other pages of this kind."""
        at = self.subsets.index(subset)
        half = _half_width(self.errors[:, at] + self.shared)
        return Interval(float(self.values[at]), float(self.values[at] - half), float(self.values[at] + half))

    def difference(self, subset: str, other: str) -> Interval:
        """``subset`` minus ``other``, paired; positive when ``subset`` needs more bits. For one planned comparison."""
        return self.differences(subset, [other])[0]

    def differences(self, subset: str, others: Sequence[str]) -> list[Interval]:
        """``subset`` minus each of the others, with intervals that hold for all of them at once."""
        at, rest = self.subsets.index(subset), [self.subsets.index(other) for other in others]
        errors = self.errors[:, [at]] - self.errors[:, rest]
        halves = np.array([_half_width(column) for column in errors.T])
        widest = np.max(np.abs(errors) / np.where(halves > 0, halves, np.inf), axis=1, initial=0.0)
        factor = max(1.0, _half_width(widest))
        means = self.values[at] - self.values[rest]
        return [Interval(m, m - factor * h, m + factor * h) for m, h in zip(means.tolist(), halves.tolist(), strict=True)]

    def best_share(self, subsets: Sequence[str]) -> dict[str, float]:
        """How often each of the subsets has the fewest bits per byte among them, over the resamples."""
        at = [self.subsets.index(subset) for subset in subsets]
        winners = np.argmin(self.values[at] + self.errors[:, at], axis=1)
        shares = np.bincount(winners, minlength=len(at)) / len(winners)
        return dict(zip(subsets, shares.tolist(), strict=True))


def hierarchical_bootstrap(
    nats: npt.ArrayLike,
    byte_counts: npt.ArrayLike,
    clusters: Sequence[object] | npt.NDArray[np.generic],
    subsets: Sequence[str],
    average: Average = "micro",
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare subsets by bits per byte on the same held-out pages with the same seeds.

    nats: [subsets, seeds, pages], the negative log likelihood of each page (`eval.bits_per_byte.page_nats`).
    byte_counts: [pages] UTF-8 bytes. clusters: [pages] a label each. ``micro`` is the ratio of sums over all pages;
    ``macro`` the mean over clusters of each cluster's ratio. The same arguments give the same numbers.

    Raises:
        ValueError: shapes do not fit, a number is not finite (leave diverged runs out first), a cluster has no bytes.
    """
    table, sizes, labels = (
        np.asarray(nats, dtype=np.float64),
        np.asarray(byte_counts, dtype=np.float64),
        np.asarray(clusters),
    )
    _check(table, sizes, labels, subsets)
    names, members = np.unique(labels, return_inverse=True)
    tops = np.stack([np.bincount(members, row, len(names)) for row in table.reshape(-1, len(sizes))]) / np.log(2)
    bottoms = np.bincount(members, sizes, len(names)).astype(np.float64)
    if not (bottoms > 0).all():
        raise ValueError(f"cluster {names[np.argmin(bottoms > 0)]!r} has no bytes; leave empty pages out")
    if average == "macro":
        tops, bottoms = tops / bottoms, np.ones_like(bottoms)
    by_seed = (tops.sum(axis=1) / bottoms.sum()).reshape(table.shape[:2])
    random = np.random.default_rng(seed)
    pages = _cluster_errors(tops.reshape(*table.shape[:2], -1).mean(axis=1), bottoms, resamples, random)
    seeds, shared = _seed_errors(by_seed, resamples, random)
    return Comparison(tuple(subsets), by_seed.mean(axis=1), by_seed, pages + seeds, shared, len(names))


def _check(table: Floats, sizes: Floats, labels: npt.NDArray[np.generic], subsets: Sequence[str]) -> None:
    if table.ndim != 3 or table.shape[0] != len(subsets) or 0 in table.shape:
        raise ValueError(f"nats must be [subsets, seeds, pages] for {len(subsets)} subsets, got shape {table.shape}")
    if sizes.shape != table.shape[2:] or labels.shape != table.shape[2:]:
        raise ValueError(f"{table.shape[2]} pages, but byte_counts {sizes.shape} and clusters {labels.shape}")
    if not np.isfinite(table).all():
        subset, run, page = np.argwhere(~np.isfinite(table))[0]
        raise ValueError(f"subset {subsets[subset]!r}, seed {run}, page {page} has no finite number; leave the run out")


def _cluster_errors(tops: Floats, bottoms: Floats, resamples: int, random: np.random.Generator) -> Floats:
    """[resamples, subsets]: the ratio of sums over resampled clusters minus the ratio over all; 0 with one cluster."""
    count = len(bottoms)
    if count < 2:
        return np.zeros((resamples, len(tops)))
    step = max(1, HELD_WEIGHTS // count)
    ratios = []
    for start in range(0, resamples, step):
        weights = random.multinomial(count, np.full(count, 1 / count), min(step, resamples - start)).astype(np.float64)
        ratios.append(weights @ tops.T / (weights @ bottoms)[:, None])
    errors: Floats = np.concatenate(ratios) - tops.sum(axis=1) / bottoms.sum()
    effective = bottoms.sum() ** 2 / (bottoms**2).sum()
    freedom = max(1.0, effective - 1)
    errors *= np.sqrt(count / (count - 1)) * _tails(freedom, resamples, random)[:, None]
    return errors


def _seed_errors(by_seed: Floats, resamples: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """What other seeds may change: [resamples, subsets] of each subset's own, [resamples] shared; 0 with one seed."""
    subsets, seeds = by_seed.shape
    if seeds < 2:
        return np.zeros((resamples, subsets)), np.zeros(resamples)
    columns = by_seed.mean(axis=0)
    between = subsets * float(np.var(columns, ddof=1))
    freedom, own = (subsets - 1) * (seeds - 1), np.zeros(subsets)
    if freedom:
        own = _own_variances(by_seed - by_seed.mean(axis=1, keepdims=True) - columns + by_seed.mean())
    errors = random.standard_normal((resamples, subsets)) * np.sqrt(own / seeds)
    errors *= _tails(max(1, freedom), resamples, random)[:, None]
    common = max(0.0, (between - float(own.min())) / subsets)
    return errors, random.standard_normal(resamples) * np.sqrt(common / seeds) * _tails(seeds - 1, resamples, random)


def _own_variances(rest: Floats) -> Floats:
    """[subsets] variance of a run's own noise from the residuals [subsets, seeds]: pooled, or more where one is noisier.

    A subset's own estimate (Grubbs 1948, for the residuals of a two-way table) counts with the weight of its seeds against
    one more, and only upwards: too small a variance would be a false claim, too large a one is a wider interval.
    """
    subsets, seeds = rest.shape
    pooled = float((rest**2).sum()) / ((subsets - 1) * (seeds - 1))
    if subsets < 3:
        return np.full(subsets, pooled)
    grubbs = ((rest**2).sum(axis=1) / (seeds - 1) - pooled / subsets) * subsets / (subsets - 2)
    weight = (seeds - 1) / seeds
    own: Floats = np.maximum(pooled, weight * grubbs + (1 - weight) * pooled)
    return own


def _tails(freedom: float, resamples: int, random: np.random.Generator) -> Floats:
    """[resamples] factors that turn a normal draw into Student's t: the variance itself was only estimated."""
    factors: Floats = np.sqrt(freedom / random.chisquare(freedom, resamples))
    return factors


def _half_width(errors: Floats) -> float:
    return float(np.quantile(np.abs(errors), CONFIDENCE))


@dataclass(frozen=True)
class TwoLines:
    """The two-lines test (Simonsohn 2018): a U needs a falling line up to a break and a rising one from it."""

    break_at: str
    falling: Interval
    """Slope up to the break, in bits per byte per level."""
    rising: Interval
    """Slope from the break on."""

    @property
    def u_shaped(self) -> bool:
        """Both slopes have their sign beyond chance."""
        return self.falling.high < 0 and self.rising.positive


@dataclass(frozen=True)
class Verdict:
    """What an experiment may say about its levels, from the mildest to the hardest."""

    best: str
    best_share: dict[str, float]
    """Share of resamples in which each level is best."""
    hardest: str
    hardest_minus_best: Interval
    """Paired, corrected for having picked the best; against the runner-up when the hardest is the best itself."""
    over_best: dict[str, Interval]
    """Every level minus the best, with intervals that hold at once; the best itself is not there."""
    begins_at: str | None
    """The mildest level beyond the best from which on all are worse than it; None when that cannot be said."""
    two_lines: TwoLines | None
    """None with fewer than five levels."""
    resolution: float
    """Bits per byte: the least difference between the hardest and the best level that this experiment could have told."""


def verdict(comparison: Comparison, levels: Sequence[str]) -> Verdict:
    """Judge the levels of a sweep, given from the mildest to the hardest; controls are no levels.

    Raises:
        ValueError: there are fewer than two levels, or one was not compared.
    """
    missing = [level for level in levels if level not in comparison.subsets]
    if len(levels) < 2 or missing:
        raise ValueError(f"a verdict needs two levels or more that were compared; got {list(levels)}, missing {missing}")
    values = [float(comparison.values[comparison.subsets.index(level)]) for level in levels]
    ranked = sorted(range(len(levels)), key=lambda at: (values[at], at))
    best, hardest = levels[ranked[0]], levels[-1]
    milder = list(levels[:-1])
    rival = best if best != hardest else levels[ranked[1]]
    gap = comparison.differences(hardest, milder)[milder.index(rival)]
    others = [level for level in levels if level != best]
    over = {
        level: Interval(-found.value, -found.high, -found.low)
        for level, found in zip(others, comparison.differences(best, others), strict=True)
    }
    begins = _begins_at(levels, best, over) if best != hardest and gap.positive and not comparison.unknown else None
    return Verdict(
        best=best,
        best_share=comparison.best_share(levels),
        hardest=hardest,
        hardest_minus_best=gap,
        over_best=over,
        begins_at=begins,
        two_lines=two_lines(comparison, levels) if len(levels) >= 5 else None,
        resolution=gap.half_width,
    )


def _begins_at(levels: Sequence[str], best: str, over: dict[str, Interval]) -> str:
    """The hardest level is worse already; go back towards the best while levels are worse too."""
    begins = levels[-1]
    for level in reversed(levels[levels.index(best) + 1 : -1]):
        if not over[level].positive:
            break
        begins = level
    return begins


def two_lines(comparison: Comparison, levels: Sequence[str]) -> TwoLines:
    """Simonsohn's test (2018, "Two lines", AMPPS 1(4)) with levels as equal steps and his Robin Hood break.

    The break is first put in the middle of the interior levels that are within one standard error of the lowest, then moved
    among them to give more levels to the line with less evidence.

    Raises:
        ValueError: fewer than five levels.
    """
    if len(levels) < 5:
        raise ValueError(f"the two-lines test needs five levels or more, got {len(levels)}")
    at = [comparison.subsets.index(level) for level in levels]
    values, errors = comparison.values[at], comparison.errors[:, at]
    interior = np.arange(1, len(levels) - 1)
    lowest = interior[np.argmin(values[interior])]
    spread = np.quantile(np.abs(errors[:, interior] - errors[:, [lowest]]), 0.683, axis=0)
    flat = interior[values[interior] - values[lowest] <= spread]
    first = _slopes(values, errors, int(flat[(len(flat) - 1) // 2]))
    strength = [abs(slope.value) / max(slope.half_width, 1e-12) for slope in first]
    share = strength[1] / max(sum(strength), 1e-12)
    chosen = int(flat[round(share * (len(flat) - 1))])
    falling, rising = _slopes(values, errors, chosen)
    return TwoLines(levels[chosen], falling, rising)


def _slopes(values: Floats, errors: Floats, at: int) -> tuple[Interval, Interval]:
    """Least-squares slopes of the levels up to ``at`` and from it on; each a weighted sum of levels, so resamples apply."""
    found = []
    for part in (slice(0, at + 1), slice(at, len(values))):
        steps = np.arange(len(values), dtype=np.float64)[part]
        weights = (steps - steps.mean()) / ((steps - steps.mean()) ** 2).sum()
        slope, half = float(values[part] @ weights), _half_width(errors[:, part] @ weights)
        found.append(Interval(slope, slope - half, slope + half))
    return found[0], found[1]
