"""Niches: the cells of declared columns, each of names or, for a number, of its tenths.

within: [language, {tenths: text_characters}]
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.quantiles import Targets

TENTHS = Targets("share", tuple(round(tenth / 10, 1) for tenth in range(1, 10)))
"""Of a ranking from the lowest: the nine bounds between tenths."""
LABELS = tuple(f"{tenth:02}" for tenth in range(1, 11))
"""What the tenths are called, from that of the smallest values."""


@dataclass(frozen=True)
class Tenths:
    """The tenths of a number as a column of names. `bounds` are the nine values between them, found over all pages."""

    signal: str
    bounds: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"tenths of {self.signal}"

    def names(self, values: npt.NDArray[np.float64]) -> pa.Array:
        """The tenth of each value, null for NaN; shape (values,)."""
        return pa.array(LABELS).take(pa.array(tenths(values, self.bounds), mask=np.isnan(values)))


Within = tuple[str | Tenths, ...]
"""The columns whose cells are niches."""


def tenths(values: npt.NDArray[np.float64], bounds: Iterable[float]) -> npt.NDArray[np.int64]:
    """Which tenth each value is in, from 0; a value at a bound is in the lower one. Shape (values,), NaN anywhere."""
    return np.searchsorted(np.array(list(bounds)), values, side="left")


def within_of(asked: Any, bounds: Mapping[str, tuple[float, ...]]) -> Within:
    """Columns as an experiment file has them, one or a list; `bounds` are those of tenths where they are known."""
    return tuple(
        Tenths(one["tenths"], bounds.get(one["tenths"], ())) if isinstance(one, Mapping) else str(one)
        for one in (asked if isinstance(asked, list | tuple) else [asked])
    )


def are_columns(asked: Any) -> bool:
    """Whether that is the name of a column or {tenths: number}, or a list of different ones."""
    if not isinstance(asked, list):
        return isinstance(asked, str) or (
            isinstance(asked, Mapping) and set(asked) == {"tenths"} and isinstance(asked["tenths"], str)
        )
    return len(asked) > 0 and all(not isinstance(one, list) and are_columns(one) for one in asked) and _differ(asked)


def _differ(asked: list[Any]) -> bool:
    return all(one not in asked[:at] for at, one in enumerate(asked))


def signals_of(within: Within) -> set[str]:
    """The columns that are read to tell niches apart."""
    return {one.signal if isinstance(one, Tenths) else one for one in within}
