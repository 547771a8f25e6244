"""The breadth of what levels keep, over niches: how many, how evenly, and how good the pages of each are.

The measures are those of quality-diversity search (Pugh, Soros and Stanley 2016): coverage, and the QD-score, a sum over
niches of the quality found in each. A page's quality is its rank by the signal among all pages, from 0 to 1, so that a niche
that is gained never lowers the sum, whichever signal it is and whichever end of it is wanted.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.quantiles import ranks
from filters.rules import Floats, Pool, Ranking, Resolved, filling_of, leaves
from filters.slicing import Kept, count_kept

Counts = npt.NDArray[np.int64]
UNIT = 2.0**-20
"""A rank is added up in units of this size: whole numbers, so that no order of parts changes a sum."""


@dataclass(frozen=True)
class Breadth:
    """Niches with a page at least, their effective number by the kept weight, and the sum of their mean qualities."""

    covered: int
    effective: float
    qd_score: float


@dataclass(frozen=True)
class Niches:
    """What levels keep of each niche. counts (niches, levels, 4): pages, weight, measured pages, units of their ranks."""

    names: tuple[str, ...]
    counts: Counts

    @classmethod
    def of(cls, ranking: Ranking, pool: Pool, kept: Kept, quantiles: Floats) -> "Niches":
        """Those of a part. kept (pages, levels); `quantiles` of the signal are evenly spaced and ascending."""
        coded = pc.dictionary_encode(pc.cast(pool.groups(ranking.within), pa.string()), null_encoding="encode")
        coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
        values = pool.numbers(ranking.signal)
        rank = ranks(values, quantiles)
        rank = 1.0 - rank if ranking.lowest else rank
        units = np.rint(np.nan_to_num(rank) / UNIT).astype(np.int64)
        measured = (~np.isnan(values)).astype(np.int64)
        weights = np.stack([pool.weight("pages"), pool.weight(ranking.weight), measured, units], axis=1)
        names = [str(name) for name in coded.dictionary.to_pylist()]
        codes = np.asarray(coded.indices.to_numpy(zero_copy_only=False), np.int64)
        return cls(tuple(names), count_kept(kept, codes, weights, len(names)))._named(sorted(set(names)))

    def __add__(self, other: "Niches") -> "Niches":
        names = sorted({*self.names, *other.names})
        return replace(self, names=tuple(names), counts=self._named(names).counts + other._named(names).counts)

    def _named(self, names: list[str]) -> "Niches":
        """The same with more names, in their order."""
        place = {name: at for at, name in enumerate(names)}
        counts = np.zeros((len(names), *self.counts.shape[1:]), np.int64)
        np.add.at(counts, [place[name] for name in self.names], self.counts)
        return Niches(tuple(names), counts)

    @property
    def weights(self) -> list[int]:
        """The weight that each level keeps."""
        return [int(weight) for weight in self.counts[:, :, 1].sum(axis=0)]

    def breadth(self, level: int) -> Breadth:
        """The measures of one level."""
        pages, weights, measured, units = (self.counts[:, level, at] for at in range(4))
        share = weights[weights > 0] / max(weights.sum(), 1)
        means = units[measured > 0] * UNIT / measured[measured > 0]
        effective = math.exp(-float(np.sum(share * np.log(share)))) if len(share) else 0.0
        return Breadth(int((pages > 0).sum()), effective, float(np.sum(means)))


def archives(rules: Iterable[Resolved]) -> list[Ranking]:
    """The different niches over which quotas among the rules are filled, and by what."""
    fillings = (filling_of(leaf) for leaf in leaves(one.rule for one in rules))
    return list(dict.fromkeys(filling.ranking for filling in fillings if filling))


def among_of(ranking: Ranking, rules: Iterable[Resolved]) -> list[bool] | None:
    """Which rules of a level a flat cut by the signal stands beside: those not on it. None where no rule is on it."""
    on = [any(leaf.signal == ranking.signal for leaf in one.rule.leaves) for one in rules]
    return [not one for one in on] if any(on) else None
