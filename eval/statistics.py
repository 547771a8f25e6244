"""How well each subset predicts held-out pages, and how sure their differences are, with replicates as blocks.

Two things vary by chance: the replicate (first weights, the fold of pages, the draws of noisy cuts and controls) and the
held-out pages. Every replicate is used for every subset and every model reads the same held-out pages, so differences are
paired in both.

*Pages* are resampled by cluster (a site: its pages are alike) within each stratum. Strata are fixed, named parts of the
held-out pages; what is compared is the mean of their bits per byte, so that one large site is not the verdict.
*Replicates* are not resampled. With two of them a bootstrap draws the same one twice half of the time and finds half of
the variance. What is left of the table subset x replicate when the means of its rows and columns are taken away is pooled
instead, as in a randomised block design (Fisher 1935, chapter 4): with 6 subsets and 2 replicates it has 5 degrees of
freedom where each difference alone has 1. A control that is made to be unlike the others (the worst pages first) is kept
apart: what its few odd pages do to its runs says nothing of the levels'. Each resample then draws the replicates' share
from Student's t with those degrees of freedom. A subset whose own runs scatter more than the others gets a wider share, and
none gets less than subsets that differ by chance alone (random controls of every size) are seen to differ: by their runs, or
by their means where these differ beyond what their runs explain. The bootstrap of clusters gets the same treatment, with
Kish's effective number of clusters, so that a few large sites are not taken for many.
docs/training.md has the measured coverage.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]
Labels = Sequence[object] | npt.NDArray[np.generic]

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

    @property
    def negative(self) -> bool:
        """The whole interval lies below 0."""
        return self.high < 0

    def __neg__(self) -> "Interval":
        return Interval(-self.value, -self.high, -self.low)


@dataclass(frozen=True)
class Comparison:
    """Bits per byte of every subset with resamples that are shared by all of them."""

    subsets: tuple[str, ...]
    by_replicate: Floats
    """[subsets, replicates] bits per byte, the mean over strata."""
    pages: Floats
    """[resamples, subsets]: how far off each subset may be for the pages that were held out."""
    runs: Floats
    """[resamples, subsets]: the same for its replicates, without what all subsets of a replicate share."""
    shared: Floats
    """[resamples]: what all subsets of a replicate share; it cancels in differences."""
    clusters: int
    """Clusters of held-out pages, over all strata."""
    thin: str | None = None
    """A stratum with one cluster, whose pages cannot show how much pages differ."""

    @cached_property
    def values(self) -> Floats:
        """[subsets] bits per byte, the mean over replicates."""
        means: Floats = self.by_replicate.mean(axis=1)
        return means

    @cached_property
    def errors(self) -> Floats:
        """[resamples, subsets]: how far off each subset may be."""
        return self.pages + self.runs

    @property
    def replicates(self) -> int:
        """Runs of each subset."""
        return int(self.by_replicate.shape[1])

    @property
    def unknown(self) -> str | None:
        """What cannot be known from so few replicates or clusters; None when intervals are whole."""
        if self.replicates < 2:
            return "one replicate per subset does not show how much chance does; train at least two"
        if self.clusters < 2:
            return "all held-out pages are of one cluster, so how much pages differ cannot be seen; hold out more"
        if self.thin is not None:
            return f"all held-out pages of the stratum {self.thin} are of one cluster; hold out more, or name fewer strata"
        return None

    def value(self, subset: str) -> float:
        """The subset's bits per byte."""
        return float(self.values[self.subsets.index(subset)])

    def interval(self, subset: str) -> Interval:
        """The subset's bits per byte, with the interval for other replicates and other pages of this kind."""
        half = _half_width(self.errors[:, self.subsets.index(subset)] + self.shared)
        return _around(self.value(subset), half)

    def difference(self, subset: str, other: str) -> Interval:
        """``subset`` minus ``other``, paired; positive when ``subset`` needs more bits. For one planned comparison."""
        return self.differences(subset, [other])[0]

    def differences(self, subset: str, others: Sequence[str]) -> list[Interval]:
        """``subset`` minus each of the others, with intervals that hold for all of them at once."""
        found = self._at_once([(subset, other) for other in others])
        return [found[subset, other] for other in others]

    def all_pairs(self, subsets: Sequence[str]) -> Mapping[tuple[str, str], Interval]:
        """(one, other) -> one minus the other, both ways round, with intervals that hold for all pairs at once."""
        found = self._at_once(list(itertools.combinations(subsets, 2)))
        return found | {(other, one): -interval for (one, other), interval in found.items()}

    def p_value(self, subset: str, other: str, among: Sequence[str] = ()) -> float:
        """How often chance alone makes a difference as large as the one between two subsets.

        Where the other was picked `among` several, that of any of them counts, each in units of its own interval.
        """
        at = self.subsets.index(subset)
        bases = [self.subsets.index(name) for name in {other: None} | dict.fromkeys(among) if name != subset]
        errors = np.abs(self.errors[:, [at]] - self.errors[:, bases])
        halves = np.quantile(errors, CONFIDENCE, axis=0)
        units = errors / np.where(halves > 0, halves, 1.0)
        found = abs(self.values[at] - self.values[bases[0]]) / (halves[0] or 1.0)
        return float(((units.max(axis=1) >= found).sum() + 1) / (len(units) + 1))

    def noise(self, subset: str, other: str) -> tuple[float, float]:
        """The variances of a difference that replicates and held-out pages make."""
        at, base = self.subsets.index(subset), self.subsets.index(other)
        return float(np.var(self.runs[:, at] - self.runs[:, base])), float(np.var(self.pages[:, at] - self.pages[:, base]))

    def best_share(self, subsets: Sequence[str]) -> dict[str, float]:
        """How often each of the subsets has the fewest bits per byte among them, over the resamples."""
        at = [self.subsets.index(subset) for subset in subsets]
        winners = np.argmin(self.values[at] + self.errors[:, at], axis=1)
        shares = np.bincount(winners, minlength=len(at)) / len(winners)
        return dict(zip(subsets, shares.tolist(), strict=True))

    def _at_once(self, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Interval]:
        """The largest error of any pair, in units of its own interval, widens all of them (single-step max-t)."""
        halves, widest = [], np.zeros(len(self.errors))
        for one, other in pairs:
            errors = np.abs(self.errors[:, self.subsets.index(one)] - self.errors[:, self.subsets.index(other)])
            halves.append(float(np.quantile(errors, CONFIDENCE)))
            if halves[-1] > 0:
                np.maximum(widest, errors / halves[-1], out=widest)
        factor = max(1.0, float(np.quantile(widest, CONFIDENCE)))
        return {
            (one, other): _around(self.value(one) - self.value(other), factor * half)
            for (one, other), half in zip(pairs, halves, strict=True)
        }


def _around(value: float, half: float) -> Interval:
    return Interval(value, value - half, value + half)


def compare(
    nats: npt.ArrayLike,
    byte_counts: npt.ArrayLike,
    clusters: Labels,
    subsets: Sequence[str],
    strata: Labels | None = None,
    alike: Sequence[str] = (),
    apart: Sequence[str] = (),
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare subsets by bits per byte on the same held-out pages with the same replicates.

    nats: [subsets, replicates, pages], the negative log likelihood of each page (`eval.bits_per_byte.page_nats`).
    byte_counts: [pages] UTF-8 bytes. clusters, strata: [pages] a label each; without strata all pages are one. A
    stratum's value is the ratio of its sums; a subset's is the mean over strata. `alike`: subsets that differ by chance
    alone; where there are three or more, no subset's runs are taken to scatter less than these do. `apart`: subsets whose
    runs say nothing of how those of the others scatter. The same arguments give the same numbers.

    Raises:
        ValueError: shapes do not fit, a number is not finite (leave diverged runs out first), a cluster has no bytes.
    """
    table, sizes, labels = np.asarray(nats, np.float64), np.asarray(byte_counts, np.float64), np.asarray(clusters)
    parts = np.zeros(len(sizes), np.int64) if strata is None else np.asarray(strata)
    _check(table, sizes, (labels, parts), subsets)
    random = np.random.default_rng(seed)
    found = [_stratum(table[:, :, parts == name], sizes[parts == name], labels[parts == name]) for name in np.unique(parts)]
    by_replicate = np.mean([values for values, _, _ in found], axis=0)
    thin = next((str(name) for name, part in zip(np.unique(parts), found, strict=True) if len(part[2]) < 2), None)
    floor = _floor(by_replicate[[subsets.index(name) for name in alike]], resamples)
    runs, shared = _run_errors(by_replicate, np.isin(subsets, list(apart)), floor, resamples, random)
    pages = _page_errors([(tops, bottoms) for _, tops, bottoms in found], resamples, random)
    clusters_ = sum(len(bottoms) for _, _, bottoms in found)
    return Comparison(tuple(subsets), by_replicate, pages, runs, shared, clusters_, thin if strata is not None else None)


def _stratum(nats: Floats, sizes: Floats, labels: npt.NDArray[np.generic]) -> tuple[Floats, Floats, Floats]:
    """[subsets, replicates] bits per byte; [subsets, clusters] bits, the mean over replicates; [clusters] bytes."""
    names, members = np.unique(labels, return_inverse=True)
    bits = np.stack([np.bincount(members, row, len(names)) for row in nats.reshape(-1, len(sizes))]) / np.log(2)
    bits = bits.reshape(*nats.shape[:2], len(names))
    bottoms = np.bincount(members, sizes, len(names)).astype(np.float64)
    if not (bottoms > 0).all():
        raise ValueError(f"cluster {names[np.argmin(bottoms > 0)]!r} has no bytes; leave empty pages out")
    return bits.sum(axis=2) / bottoms.sum(), bits.mean(axis=1), bottoms


def _check(table: Floats, sizes: Floats, labels: Sequence[npt.NDArray[np.generic]], subsets: Sequence[str]) -> None:
    if table.ndim != 3 or table.shape[0] != len(subsets) or 0 in table.shape:
        raise ValueError(f"nats must be [subsets, replicates, pages] for {len(subsets)} subsets, got shape {table.shape}")
    if sizes.shape != table.shape[2:] or any(each.shape != table.shape[2:] for each in labels):
        clusters, strata = (each.shape for each in labels)
        raise ValueError(f"{table.shape[2]} pages, but byte_counts {sizes.shape}, clusters {clusters} and strata {strata}")
    if not np.isfinite(table).all():
        subset, run, page = np.argwhere(~np.isfinite(table))[0]
        raise ValueError(f"subset {subsets[subset]!r}, replicate {run}, page {page} has no finite number; leave the run out")


def _page_errors(strata: Sequence[tuple[Floats, Floats]], resamples: int, random: np.random.Generator) -> Floats:
    """[resamples, subsets]: the mean over strata of the errors of each, with the tails of Student's t.

    The degrees of freedom of such a mean are Satterthwaite's (1946): each stratum's own, weighted by its share of the
    variance.
    """
    each = [_cluster_errors(tops, bottoms, resamples, random) / len(strata) for tops, bottoms in strata]
    freedoms = np.array([max(1.0, bottoms.sum() ** 2 / (bottoms**2).sum() - 1) for _, bottoms in strata])
    # What all subsets share cancels in their differences, so it does not say which stratum they depend on.
    variances = np.array([np.var(errors - errors.mean(axis=1, keepdims=True), axis=0).sum() for errors in each])
    weights = variances if variances.sum() > 0 else np.ones(len(strata))
    freedom = float(weights.sum() ** 2 / (weights**2 / freedoms).sum())
    errors: Floats = np.sum(each, axis=0) * _tails(freedom, resamples, random)[:, None]
    return errors


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
    errors *= np.sqrt(count / (count - 1))
    return errors


def _run_errors(
    by_replicate: Floats, apart: Truth, floor: float, resamples: int, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """What other replicates may change: [resamples, subsets] of each subset's own, [resamples] shared; 0 with one of
    them."""
    count, replicates = by_replicate.shape
    if replicates < 2:
        return np.zeros((resamples, count)), np.zeros(resamples)
    apart = apart if (~apart).sum() > 1 else np.zeros(count, bool)
    pooled = by_replicate[~apart]
    subsets, columns = len(pooled), pooled.mean(axis=0)
    between = subsets * float(np.var(columns, ddof=1))
    freedom, own = (subsets - 1) * (replicates - 1), np.zeros(count)
    if freedom:
        own[~apart] = _own_variances(pooled - pooled.mean(axis=1, keepdims=True) - columns + pooled.mean())
        own[apart] = np.maximum(np.var(by_replicate[apart] - columns, axis=1, ddof=1), own[~apart].min())
    own = np.maximum(own, floor)
    errors = random.standard_normal((resamples, count)) * np.sqrt(own / replicates)
    errors[:, ~apart] *= _tails(max(1, freedom), resamples, random)[:, None]
    common = max(0.0, (between - float(own.min())) / subsets)
    shared = random.standard_normal(resamples) * np.sqrt(common / replicates) * _tails(replicates - 1, resamples, random)
    errors[:, apart] *= _tails(replicates - 1, resamples, random)[:, None]
    return errors, shared


def _floor(chance: Floats, resamples: int) -> float:
    """Variance of a run as subsets that differ by chance alone show it, [subsets, replicates]; 0 with fewer than three.

    It is how they scatter within a replicate, with as many degrees of freedom as they have runs. Their means alone have
    few, so they count by themselves only where an F test (95 %) finds more between them than their runs explain: then
    something sets them apart in every replicate.
    """
    if len(chance) < 3:
        return 0.0
    subsets, replicates = len(chance), len(chance[0])
    between = replicates * float(np.var(chance.mean(axis=1), ddof=1))
    rest = chance - chance.mean(axis=1, keepdims=True) - chance.mean(axis=0) + chance.mean()
    freedom = (subsets - 1) * (replicates - 1)
    if not freedom:
        return between
    own = float((rest**2).sum()) / freedom
    ratios = np.random.default_rng(0).f(subsets - 1, freedom, resamples)
    if between > own * float(np.quantile(ratios, CONFIDENCE)):
        return between
    return float(np.var(chance, axis=0, ddof=1).mean())


def _own_variances(rest: Floats) -> Floats:
    """[subsets] variance of a run's own noise from the residuals [subsets, replicates]: pooled, or more where one is
    noisier.

    A subset's own estimate (Grubbs 1948, for the residuals of a two-way table) counts with the weight of its replicates
    against one more, and only upwards: too small a variance would be a false claim, too large a one is a wider interval.
    """
    subsets, replicates = rest.shape
    pooled = float((rest**2).sum()) / ((subsets - 1) * (replicates - 1))
    if subsets < 3:
        return np.full(subsets, pooled)
    grubbs = ((rest**2).sum(axis=1) / (replicates - 1) - pooled / subsets) * subsets / (subsets - 2)
    weight = (replicates - 1) / replicates
    own: Floats = np.maximum(pooled, weight * grubbs + (1 - weight) * pooled)
    return own


def _tails(freedom: float, resamples: int, random: np.random.Generator) -> Floats:
    """[resamples] factors that turn a normal draw into Student's t: the variance itself was only estimated."""
    factors: Floats = np.sqrt(freedom / random.chisquare(freedom, resamples))
    return factors


def _half_width(errors: Floats) -> float:
    return float(np.quantile(np.abs(errors), CONFIDENCE))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values adjusted so that all of them hold at once (Holm 1979): name -> adjusted value, in the order given."""
    ordered = sorted(p_values, key=lambda name: p_values[name])
    adjusted, least = {}, 0.0
    for at, name in enumerate(ordered):
        least = max(least, min(1.0, (len(ordered) - at) * p_values[name]))
        adjusted[name] = least
    return {name: adjusted[name] for name in p_values}


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
        return self.falling.negative and self.rising.positive


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
        found.append(_around(float(values[part] @ weights), _half_width(errors[:, part] @ weights)))
    return found[0], found[1]
