"""What a sweep shows of its levels, counted in one pass: how they overlap, and what they keep of each slice of the pages.

All of it is whole numbers that are added up over parts in any order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.rules import SAMPLE, Pool, Resolved, Rule
from filters.slicing import Kept, Slicing, count_kept
from filters.verdicts import Bits, Tally, passing

Counts = npt.NDArray[np.int64]
ROWS = 1 << 16
"""Pages that are multiplied at once: a float32 counts up to 2^24 exactly."""
UNIT = 2.0**-20
"""A mean logarithm is added up in units of this many nats: whole numbers, so that no order of parts changes a sum."""


@dataclass(frozen=True)
class Signal:
    """How many pages a signal is measured on, and between which bounds."""

    measured: int
    low: float
    high: float

    def __add__(self, other: "Signal") -> "Signal":
        return Signal(self.measured + other.measured, min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class Survey:
    """The counts of one part or of all.

    by_slice: of each slicing, (slices, levels, weights); the last level is the pool. both (levels, levels): pages that two
    levels keep, each alone on the diagonal. signals: by name. shares (rules, 2): what a rule that asks for a share keeps of
    the weight that it is measured on, and that weight. targets: of each, (levels and the pool, 2) Python integers: the sum
    of bytes times mean logarithm, and of bytes.
    """

    tally: Tally
    by_slice: tuple[Counts, ...]
    both: Counts
    signals: Mapping[str, Signal]
    shares: Counts
    targets: Mapping[str, Any]

    def __add__(self, other: "Survey") -> "Survey":
        return Survey(
            self.tally + other.tally,
            tuple(a + b for a, b in zip(self.by_slice, other.by_slice, strict=True)),
            self.both + other.both,
            {name: one + other.signals[name] for name, one in self.signals.items()},
            self.shares + other.shares,
            {name: one + other.targets[name] for name, one in self.targets.items()},
        )


@dataclass(frozen=True)
class Asked:
    """What a survey looks at: levels as lists of rules by number, slicings, numbers among signals, and targets."""

    rules: Sequence[Resolved]
    levels: Sequence[Sequence[int]]
    slicings: Sequence[Slicing]
    numbers: Sequence[str]
    targets: Sequence[str]
    weights: Sequence[str]

    def survey(self, pool: Pool, bits: Bits, tally: Tally) -> Survey:
        """The counts of one part, given which rules each page fails."""
        kept = np.ones((len(pool), len(self.levels) + 1), np.uint8)
        for at, rules in enumerate(self.levels):
            kept[:, at] = passing(bits, rules)
        weights = np.stack([pool.weight(name) for name in self.weights], axis=1)
        return Survey(
            tally,
            tuple(count_kept(kept, one.codes(pool), weights, len(one.labels)) for one in self.slicings),
            overlaps(kept[:, :-1]),
            {name: _signal(pool, name) for name in self.numbers},
            np.array([_share(pool, bits, at, one.rule) for at, one in enumerate(self.rules)], np.int64).reshape(-1, 2),
            {name: _means(pool, kept, name) for name in self.targets},
        )


def overlaps(kept: Kept) -> Counts:
    """Pages that each two levels keep; shape (levels, levels). kept (pages, levels)."""
    both = np.zeros((kept.shape[1], kept.shape[1]), np.int64)
    for start in range(0, len(kept), ROWS):
        some = kept[start : start + ROWS].astype(np.float32)
        both += (some.T @ some).astype(np.int64)
    return both


def _signal(pool: Pool, name: str) -> Signal:
    values = pool.numbers(name)
    measured = values[~np.isnan(values)]
    return Signal(len(measured), float(measured.min(initial=np.inf)), float(measured.max(initial=-np.inf)))


def asked_share(rule: Rule) -> tuple[float, str] | None:
    """The share that a rule asks for, if that is all it says, and by which weight."""
    asked, weight = rule.conditions, str(rule.conditions.get("weight", "pages"))
    if rule.signal == SAMPLE:
        return asked[SAMPLE], weight
    cuts = {name: value for name, value in asked.items() if name not in ("null", "lowest", "within", "weight")}
    if len(cuts) != 1:
        return None
    [(name, value)] = cuts.items()
    if name == "quota":
        return value["keep_fraction"], str(value.get("weight", "pages"))
    if name == "between":
        return value[1] - value[0], weight
    share = value.get("keep_fraction") if isinstance(value, Mapping) else value if name == "keep_fraction" else None
    return None if share is None else (share, weight)


def _share(pool: Pool, bits: Bits, number: int, rule: Rule) -> tuple[int, int]:
    asked = asked_share(rule)
    if asked is None:
        return 0, 0
    weight = pool.weight(asked[1])
    measured = np.ones(len(pool), bool) if rule.signal == SAMPLE else ~pool.is_null(rule.signal)
    return int(weight[measured & passing(bits, [number])].sum()), int(weight[measured].sum())


def _means(pool: Pool, kept: Kept, name: str) -> Any:
    values, sizes = pool.numbers(name), pool.weight("bytes")
    measured = ~np.isnan(values)
    sums = np.stack([np.rint(values[measured] / UNIT).astype(np.int64) * sizes[measured], sizes[measured]], axis=1)
    return (kept[measured].T.astype(np.int64) @ sums).astype(object)
