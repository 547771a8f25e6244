"""Which tasks tell levels apart: what levels differ by, over what runs of one level differ by.

A task's scores are a table of levels x replicates for each template. The runs of a replicate share their first weights and
their fold of pages, so what moves all levels of a replicate together is not noise: noise is what is left of the table when
the means of its rows and columns are taken away, as in `eval.statistics`. Level means hold a share of that noise themselves,
which is subtracted, so that levels without any effect have a signal of 0 rather than of noise / sqrt(replicates). Templates
are averaged; how much more the levels' order depends on the template than on chance is noise too.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEAST = 1.0
"""A task counts whose levels differ by at least what runs of one level differ by. With R replicates that is F >= R + 1 in an
analysis of variance: by chance alone it is so for 7 % of tasks at 4 levels x 3 replicates, for 4 % at 5 x 3."""

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SignalToNoise:
    """Standard deviations, in the unit of the scores."""

    signal: float
    """Between levels, their share of noise taken out."""
    replicates: float
    """Between runs of one level, what all levels of a replicate share taken out."""
    templates: float
    """Of a level's score between templates, what all levels share and what chance does taken out; 0 for one template."""

    @property
    def noise(self) -> float:
        """Replicates and templates together."""
        return float(np.hypot(self.replicates, self.templates))

    @property
    def ratio(self) -> float | None:
        """Signal over noise; None where there is no noise at all."""
        return self.signal / self.noise if self.noise else None

    @property
    def counts(self) -> bool:
        """Whether the task tells levels apart."""
        return self.signal > 0 and self.signal >= LEAST * self.noise


def signal_to_noise(scores: Scores) -> SignalToNoise | None:
    """Of one metric of one task; ``scores`` is [templates, levels, replicates], every value there.

    None where there are not two levels and two replicates: then nothing tells noise.
    """
    templates, levels, replicates = scores.shape
    if levels < 2 or replicates < 2:
        return None
    within = float(np.sum(_left(scores.mean(axis=0)) ** 2) / ((levels - 1) * (replicates - 1)))
    between = float(scores.mean(axis=(0, 2)).var(ddof=1))
    noise = _templates(scores) if templates > 1 else 0.0
    # Each mean over templates holds the share of a template's own noise too.
    signal = between - within / replicates - noise / templates
    return SignalToNoise(*(float(np.sqrt(max(0.0, variance))) for variance in (signal, within, noise)))


def _templates(scores: Scores) -> float:
    """Variance of levels x templates beyond what levels x templates x replicates explains."""
    templates, levels, replicates = scores.shape
    left = _left(scores.mean(axis=2))
    interaction = float(np.sum(left**2) / ((templates - 1) * (levels - 1)))
    deviations = scores - scores.mean(axis=2, keepdims=True)
    deviations = deviations - deviations.mean(axis=0, keepdims=True)
    deviations = deviations - deviations.mean(axis=1, keepdims=True)
    chance = float(np.sum(deviations**2) / ((templates - 1) * (levels - 1) * (replicates - 1)))
    return float(max(0.0, interaction - chance / replicates))


def _left(table: Scores) -> Scores:
    """What is left of a table when the means of rows and columns are taken away."""
    return np.asarray(table - table.mean(axis=0, keepdims=True) - table.mean(axis=1, keepdims=True) + table.mean())
