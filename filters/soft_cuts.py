"""Cuts that are not sharp: chance decides near them, by one draw per page, or pages are repeated along a curve."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import fsum, inf, sqrt
from typing import Self

import numpy as np
import numpy.typing as npt

from filters.quantiles import ranks

Floats = npt.NDArray[np.float64]
Copies = npt.NDArray[np.uint8]

TAU = 2.0
"""Of a temperature that is not given, in standard deviations of the signal: QuRating's models that sample rather than rank
(Wettig et al. 2024, arXiv 2402.09739), which normalise ratings to a deviation of one."""
LARGEST = 1e150
MOST_COPIES = 100
"""Of one page: Muennighoff et al. 2023 (arXiv 2305.16264) find nothing left to learn of a page long before."""


def strengths(scores: Floats, u: Floats) -> Floats:
    """The a up to which a noisy cut keeps each page: u < (2 - score)^-a iff a < strength; shape (pages,), null as NaN.

    `numpy.random.pareto(a)` is Lomax, P(X > x) = (1 + x)^-a, so "keep if X > 1 - score" (Brown et al. 2020, appendix A;
    Gao 2021) keeps with probability (2 - score)^-a. A score of 1 is always kept.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        strength = -np.log(u) / np.log(2.0 - np.clip(scores, 0.0, 1.0))
    strength[scores >= 1.0] = np.inf
    strength[np.isnan(scores)] = np.nan
    return strength


def tempered(values: Floats, u: Floats, scale: float) -> Floats:
    """value / scale + Gumbel noise; shape (pages,), null as NaN.

    The k pages with the largest are k drawn without replacement, each time with P proportional to exp(value / scale) (the
    Gumbel-top-k trick: Kool et al. 2019, arXiv 1903.06059). A negative scale prefers small values, an infinite one none.
    """
    noise = -np.log(-np.log(np.maximum(u, 2.0**-54)))  # a draw of 0 stands for half of the smallest other
    with np.errstate(over="ignore"):
        return np.asarray(values / scale + noise, np.float64)


@dataclass(frozen=True)
class Spread:
    """How many values, their sum and the sum of their squares: exact, so that parts are added in any order."""

    values: int = 0
    total: Fraction = Fraction(0)
    squares: Fraction = Fraction(0)

    @classmethod
    def of(cls, values: Floats) -> Self:
        """Of the values of a part, without those that have no finite square."""
        some = values[np.abs(values) < LARGEST]
        return cls(len(some), Fraction(fsum(some.tolist())), Fraction(fsum((some * some).tolist())))

    def __add__(self, other: "Spread") -> "Spread":
        return Spread(self.values + other.values, self.total + other.total, self.squares + other.squares)

    @property
    def deviation(self) -> float:
        """The standard deviation; 0 without values, or where all are alike."""
        if not self.values:
            return 0.0
        return sqrt(max(self.squares / self.values - (self.total / self.values) ** 2, Fraction(0)))


def scale_of(tau: float, deviation: float, lowest: bool) -> float:
    """What `tempered` divides by; infinite for a signal that is the same everywhere, which tells no page from another."""
    return (-1.0 if lowest else 1.0) * (tau * deviation or inf)


def repeats(values: Floats, quantiles: Floats, curve: Mapping[float, float], u: Floats, lowest: bool = False) -> Copies:
    """How often each page is read: a curve over quantiles, as in Olmo 3 (arXiv 2512.13961); shape (pages,), null as 0.

    `quantiles` are evenly spaced ones of the signal, ascending. The curve is linear between its points and flat outside. The
    whole part of its value is so many copies; the rest is the chance of one more, drawn by `u`.
    """
    rank = ranks(values, quantiles)
    rank = 1.0 - rank if lowest else rank
    points = sorted(curve.items())
    height = np.interp(np.nan_to_num(rank), [at for at, _ in points], [copies for _, copies in points])
    return np.where(np.isnan(rank), 0, np.floor(height + u)).astype(np.uint8)
