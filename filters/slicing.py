"""Slices of the pages: by the names that a column has, or by tenths of a number; what levels keep of each is counted.

A column such as `domain` may have more names than fit anywhere. Each part keeps the most frequent with counts that are a
little too small, by a bound that is known (Misra and Gries 1982, merged as by Agarwal et al. 2013): no name that has a
larger share of the pages than one in `MOST_CANDIDATES` is lost, whatever the order of the parts. The candidates are then
counted exactly, and the rest is one slice, `(other)`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.kernels.compiled import kernel
from filters.niches import LABELS, tenths
from filters.rules import Pool

Counts = npt.NDArray[np.int64]
Kept = npt.NDArray[np.uint8]

MOST_NAMES, MOST_CANDIDATES = 200, 4096
OTHER, NULL = "(other)", "(null)"


@dataclass(frozen=True)
class Frequent:
    """Names with their pages, each at most `missed` too few; names that are not there have at most so many."""

    pages: Mapping[str, int]
    missed: int = 0

    @classmethod
    def of(cls, column: pa.Array | pa.ChunkedArray) -> "Frequent":
        """The names of a part, null left out."""
        return cls(_counted(column))._bounded()

    def __add__(self, other: "Frequent") -> "Frequent":
        pages = dict(self.pages)
        for name, more in other.pages.items():
            pages[name] = pages.get(name, 0) + more
        return Frequent(pages, self.missed + other.missed)._bounded()

    def _bounded(self) -> "Frequent":
        """With so few names as are kept: what is taken from each is what the most frequent of the others had."""
        if len(self.pages) <= MOST_CANDIDATES:
            return self
        taken = sorted(self.pages.values(), reverse=True)[MOST_CANDIDATES]
        return Frequent({name: pages - taken for name, pages in self.pages.items() if pages > taken}, self.missed + taken)


def _counted(column: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    counts = pc.value_counts(pc.drop_null(column))
    return dict(zip(map(str, counts.field("values").to_pylist()), counts.field("counts").to_pylist(), strict=True))


def counted(column: pa.Array | pa.ChunkedArray, names: Sequence[str]) -> dict[str, int]:
    """The pages of some names in a part."""
    found = _counted(column)
    return {name: found.get(name, 0) for name in names}


def shown(exact: Mapping[str, int], missed: int, pages: int) -> tuple[str, ...]:
    """The names that are slices: the most frequent, and none that another order of the parts might have lost."""
    sure = {name: some for name, some in exact.items() if not missed or some * MOST_CANDIDATES > pages}
    return tuple(sorted(sure, key=lambda name: (-sure[name], name))[:MOST_NAMES])


@dataclass(frozen=True)
class Slicing:
    """One way to slice the pages: `names` of a column, or where it has `bounds` the tenths of a number between them."""

    column: str
    names: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """What each slice is called."""
        if self.bounds:
            return (*LABELS, NULL)
        return (*self.names, OTHER, NULL)

    def codes(self, pool: Pool) -> Counts:
        """The slice of each page; shape (pages,)."""
        if self.bounds:
            values = pool.numbers(self.column)
            return np.where(np.isnan(values), len(LABELS), tenths(values, self.bounds))
        column = names_of(pool, self.column)
        places = pc.fill_null(pc.index_in(column, value_set=pa.array(self.names, column.type)), len(self.names))
        return np.asarray(pc.if_else(pc.is_null(column), len(self.names) + 1, places).to_numpy(), np.int64)


def names_of(pool: Pool, column: str) -> pa.Array | pa.ChunkedArray:
    """A column of names; `tld` is what stands behind the last dot of a domain."""
    if column == "tld":
        return pc.replace_substring_regex(pool.column("domain"), r"^.*\.", "")
    return pc.cast(pool.column(column), pa.string())


def count_kept(kept: Kept, codes: Counts, weights: Counts, slices: int) -> Counts:
    """What each level keeps of each slice: (slices, levels, weights). kept (pages, levels), weights (pages, weights)."""
    counts = np.zeros((slices, kept.shape[1], weights.shape[1]), np.int64)
    add_kept(kept, codes, weights, counts)
    return counts


@kernel
def add_kept(kept: Kept, codes: Counts, weights: Counts, counts: Counts) -> None:
    """Add to counts (slices, levels, weights) the pages that each level keeps."""
    for page in range(len(kept)):
        for level in range(kept.shape[1]):
            if kept[page, level]:
                for weight in range(weights.shape[1]):
                    counts[codes[page], level, weight] += weights[page, weight]


def divergences(kept: Counts, pool: Counts) -> tuple[float, float]:
    """KL(kept || pool) and Jensen and Shannon's divergence of both, in bits, from pages by slice; NaN where one has none."""
    if not kept.sum() or not pool.sum():
        return float("nan"), float("nan")
    p, q = kept / kept.sum(), pool / pool.sum()
    middle = (p + q) / 2
    return _kl(p, q), (_kl(p, middle) + _kl(q, middle)) / 2


def _kl(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    some = p > 0
    return max(0.0, float(np.sum(p[some] * np.log2(p[some] / q[some]))))
