"""Worlds whose answer is known: what the verdict says of them shows how far it may be believed.

A world is made of pages of eight domains. A page's next token comes half from a table of successors that all share, half
from one of its domain; the worse the page, the more of its tokens are noise; some pages bear marks of style. Scores see
what they should (quality) or what they should not (style, one domain). Held-out pages are good ones of every domain. What
a filter does is known by making an experiment afresh many times; what the verdict makes of one experiment is then right
or wrong.

Small GPTs are too slow for thousands of runs. A bigram model (Witten and Bell 1991) stands in for them, with a run's own
noise added; a few experiments with GPTs show whether it does (jobs/bench/planted_gpts.py). All of it is planted: it tells of
the statistics and nothing of the web.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from eval.statistics import Comparison, compare
from eval.verdict import EIGHTY, Level, Verdict, verdict

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
World = Literal["u", "null", "helps", "hurts", "style_only", "dominant_site", "one_domain"]
WORLDS: tuple[World, ...] = ("u", "null", "helps", "hurts", "style_only", "dominant_site", "one_domain")

DOMAINS, WORDS, LENGTH, SUCCESSORS = 8, 512, 128, 8
POOL, SITE = 20_000, 5
MARKER, MARKED = 0, 0.15
"""The token that style inserts, and the share of a page's tokens that it replaces."""
NOISE = 0.7
"""The share of its tokens that the worst page loses to noise."""
KEPT = (1.0, 0.6, 0.4, 0.25, 0.15, 0.08, 0.04)
REPLICATES, READ = 3, 240
"""Pages that a run reads."""
HELD_OUT_SITES, GOOD = 80, 0.95
BYTES_OF_TOKEN = 4
FAVOURED = 1.4
"""How much a score that sees the wrong thing adds to pages of domain 0: the best share is then near a quarter."""
RUN_NOISE = 0.009
"""Bits per byte: the deviation of runs of 0.2 million parameters that differ in first weights alone."""
NEIGHBOURS = 0.0
"""How far that of neighbouring levels is correlated: they share first weights."""
WITHIN = 0.002
"""Levels whose true bits per byte are within this of the lowest are all best."""


class Pages(NamedTuple):
    """Pages without their tokens: arrays of shape (pages,)."""

    domain: Integers
    site: Integers
    quality: Floats
    style: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Design:
    """How an experiment is made; the defaults are sound, what departs from them is there to be caught."""

    folds: bool = True
    """Whether replicates read different pages."""
    clusters: Literal["site", "page"] = "site"
    strata: bool = True
    run_noise: float = RUN_NOISE
    neighbours: float = NEIGHBOURS
    kept: tuple[float, ...] = KEPT
    """The share of the pool that each level keeps, the mildest first."""
    words: int = WORDS
    """Different tokens of the world."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels by name; the first is the pool."""
        return tuple(Level(f"{kept:g}", kept) for kept in self.kept)

    @property
    def names(self) -> tuple[str, ...]:
        """The levels' names."""
        return tuple(level.name for level in self.levels)


SOUND = Design()
Learner = Callable[[Integers, Integers, int, int], Floats]
"""(tokens read [pages, length], tokens judged [pages, length], different tokens, replicate) -> nats [pages judged]."""


@lru_cache(maxsize=2)
def successors(words: int) -> Integers:
    """[domains + 1, words, successors]: the last table is the one that all share."""
    return np.random.default_rng(0).integers(1, words, (DOMAINS + 1, words, SUCCESSORS))


def pool(random: np.random.Generator) -> Pages:
    """The pages of a crawl, in sites of five."""
    site = np.arange(POOL) // SITE
    domain = random.integers(0, DOMAINS, POOL // SITE)[site]
    return _pages(random, domain, site, random.beta(1.5, 1.5, POOL))


def held_out(world: World, random: np.random.Generator) -> Pages:
    """Good pages, evenly over domains; in two worlds six of ten come from one site, of any domain."""
    pages = HELD_OUT_SITES * SITE
    site = np.arange(pages) // SITE
    if world in ("dominant_site", "one_domain"):
        site = np.where(np.arange(pages) < 0.6 * pages, 0, site)
    domain = random.permutation(np.arange(HELD_OUT_SITES) % DOMAINS)[site]
    return _pages(random, domain, site, np.full(pages, GOOD))


def _pages(random: np.random.Generator, domain: Integers, site: Integers, quality: Floats) -> Pages:
    return Pages(domain, site, quality, random.random(len(quality)) < 0.15 + 0.3 * quality)


def scores(world: World, pages: Pages, random: np.random.Generator) -> Floats:
    """What the filter goes by; higher is kept."""
    chance = random.standard_normal(len(pages.quality))
    found: Floats = chance
    if world == "u":
        found = 1.5 * pages.quality + pages.style + FAVOURED * (pages.domain == 0) + 0.4 * chance
    elif world == "helps":
        found = pages.quality + 0.02 * chance
    elif world == "hurts":
        found = -pages.quality + 0.02 * chance
    elif world == "style_only":
        found = pages.style + chance
    elif world == "one_domain":
        found = FAVOURED * (pages.domain == 0) + chance
    return found


def tokens(pages: Pages, random: np.random.Generator, words: int = WORDS) -> Integers:
    """[pages, length] token ids."""
    count, tables = len(pages.domain), successors(words)
    weights = 1 / np.arange(1, SUCCESSORS + 1)
    clean = np.empty((count, LENGTH), np.int64)
    clean[:, 0] = random.integers(1, words, count)
    own = random.random((count, LENGTH)) < 0.5
    which = np.searchsorted(np.cumsum(weights / weights.sum()), random.random((count, LENGTH)))
    which = np.minimum(which, SUCCESSORS - 1)
    table = np.where(own, pages.domain[:, None], DOMAINS)
    for at in range(1, LENGTH):
        clean[:, at] = tables[table[:, at], clean[:, at - 1], which[:, at]]
    noisy = random.random((count, LENGTH)) < NOISE * (1 - pages.quality)[:, None]
    found = np.where(noisy, random.integers(1, words, (count, LENGTH)), clean)
    marked = pages.style[:, None] & (random.random((count, LENGTH)) < MARKED)
    return np.where(marked, MARKER, found)


def bigram_nats(read: Integers, of: Integers, words: int, replicate: int = 0) -> Floats:
    """[pages] nats of token sequences [pages, length] under a Witten-Bell bigram model of the sequences that were read."""
    del replicate  # it has no first weights
    pairs = np.bincount((read[:, :-1] * words + read[:, 1:]).ravel(), minlength=words**2)
    counts = pairs.reshape(words, words).astype(np.float64)
    single = np.bincount(read.ravel(), minlength=words).astype(np.float64)
    kinds = float((single > 0).sum())
    alone = (single + kinds / words) / (single.sum() + kinds)
    kinds_after, after = (counts > 0).sum(axis=1), counts.sum(axis=1)
    # A token that nothing followed leaves all to the single tokens.
    kinds_after = np.where(after > 0, kinds_after, 1.0)
    likely = (counts + kinds_after[:, None] * alone) / (after + kinds_after)[:, None]
    nats: Floats = -np.log(alone[of[:, 0]]) - np.log(likely[of[:, :-1], of[:, 1:]]).sum(axis=1)
    return nats


class Experiment(NamedTuple):
    """What an experiment leaves: nats [levels, replicates, pages], and of each held-out page site and domain."""

    nats: Floats
    site: Integers
    domain: Integers


def experiment(world: World, seed: int, design: Design = SOUND, learner: Learner = bigram_nats) -> Experiment:
    """One experiment in a world: pages, levels, runs; the same seed gives the same."""
    random = np.random.default_rng([WORLDS.index(world), seed])
    pages = pool(random)
    strength = np.argsort(np.argsort(-scores(world, pages, random), kind="stable"), kind="stable")
    fold = random.integers(0, REPLICATES, POOL // SITE)[pages.site]
    draws = random.permuted(np.tile(np.arange(POOL), (REPLICATES, 1)), axis=1)
    kept = [strength < share * POOL for share in design.kept]
    read = [[_read(level, fold, draws, replicate, design) for replicate in range(REPLICATES)] for level in kept]
    taken = np.unique(np.concatenate([pages_ for level in read for pages_ in level]))
    of = tokens(Pages(*(column[taken] for column in pages)), random, design.words)
    wanted = held_out(world, random)
    judged = tokens(wanted, random, design.words)
    nats = np.array(
        [
            [learner(of[np.searchsorted(taken, some)], judged, design.words, at) for at, some in enumerate(level)]
            for level in read
        ],
        np.float64,
    )
    noise = run_noise(random, nats.shape[:2], design)
    return Experiment(nats + noise[:, :, None] * LENGTH * BYTES_OF_TOKEN * np.log(2), wanted.site, wanted.domain)


def run_noise(random: np.random.Generator, shape: tuple[int, ...], design: Design) -> Floats:
    """What first weights do to each run, [levels, replicates]: levels share them, more so if they are more alike."""
    own = random.normal(0, design.run_noise, shape)
    noise = own.copy()
    for level in range(1, shape[0]):
        noise[level] = design.neighbours * noise[level - 1] + np.sqrt(1 - design.neighbours**2) * own[level]
    return noise


def _read(kept: npt.NDArray[np.bool_], fold: Integers, draws: Integers, replicate: int, design: Design) -> Integers:
    """The pages of a run: the first by their draws among those that the level keeps, of its own fold if there are folds."""
    own = kept & (fold == replicate) if design.folds else kept
    order = draws[replicate if design.folds else 0]
    candidates = np.flatnonzero(own)
    return candidates[np.argsort(order[candidates], kind="stable")[:READ]]


def compared(found: Experiment, design: Design = SOUND, resamples: int = 600) -> Comparison:
    """The statistics of an experiment."""
    sizes = np.full(found.nats.shape[2], LENGTH * BYTES_OF_TOKEN)
    clusters = found.site if design.clusters == "site" else np.arange(len(sizes))
    return compare(found.nats, sizes, clusters, design.names, found.domain if design.strata else None, resamples=resamples)


def judged(comparison: Comparison, levels: Sequence[Level] = SOUND.levels) -> Verdict:
    """The verdict of an experiment; the level that keeps most is the pool."""
    return verdict(comparison, levels)


class Truth(NamedTuple):
    """[levels] bits per byte; the levels that are best; the first beyond them that is worse, None where none is."""

    values: Floats
    best: tuple[str, ...]
    onset: str | None


def truth(world: World, trials: int, design: Design = SOUND, learner: Learner = bigram_nats) -> Truth:
    """The mean of many experiments that are made for nothing else."""
    total, names = np.zeros(len(design.kept)), design.names
    for seed in range(trials):
        total += compared(experiment(world, 1_000_000 + seed, design, learner), design, resamples=1).values
    values = total / trials
    best = [at for at in range(len(names)) if values[at] - values.min() <= WITHIN]
    onset = next((names[at] for at in range(best[-1] + 1, len(names))), None)
    return Truth(values, tuple(names[at] for at in best), onset)


class Outcomes(NamedTuple):
    """Of so many trials in a world: how often each outcome was said, and how the numbers behaved."""

    world: World
    trials: int
    said: dict[str, float]
    covered: float
    """Share of intervals of a level minus the pool that hold the truth."""
    too_mild: float
    """Share of claims of over-filtering whose bound is milder than the true onset."""
    seen: float
    """Share of claims among trials in which the true gap is at least what four of five experiments see."""
    resolution: float
    """The mean, in bits per byte."""


def outcomes(world: World, trials: int, known: Truth, design: Design = SOUND) -> Outcomes:
    """What the verdict says in a world whose truth is known."""
    names = design.names
    said: dict[str, int] = {}
    held, mild, resolutions, seen = [], [], [], []
    gap = known.values[-1] - known.values.min()
    for seed in range(trials):
        comparison = compared(experiment(world, seed, design), design)
        found = judged(comparison, design.levels)
        said[found.outcome] = said.get(found.outcome, 0) + 1
        for at in range(1, len(names)):
            interval = comparison.difference(names[at], names[0])
            held.append(interval.low <= known.values[at] - known.values[0] <= interval.high)
        claims = found.outcome == "over_filtering"
        if claims and found.begun_by is not None:
            mild.append(known.onset is None or names.index(found.begun_by) < names.index(known.onset))
        resolutions.append(found.resolution)
        if gap >= EIGHTY * found.resolution:
            seen.append(claims)
    shares = {name: count / trials for name, count in sorted(said.items())}
    means = [float(np.mean(each)) if each else float("nan") for each in (held, mild, seen, resolutions)]
    return Outcomes(world, trials, shares, *means)
