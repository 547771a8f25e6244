"""What is known of a scorer from pages it was not trained on: how it ranks them, and what its probabilities are worth."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.kinds import Floats

Truth = npt.NDArray[np.bool_]

GROUPS = 10
"""Deciles of the scores."""
BINS = 20
MOST, NARROW = 0.8, 0.01
"""Where so much of the scores lies so close together, a noisy cut by them is nearly a random sample: the scores of `gao` on
392 positives, all within .001 of one half, were the case that this is drawn from. Both numbers are assumptions."""


def ranking(positive: Truth, scores: Floats) -> dict[str, Any]:
    """How held-out pages are ranked: sizes, area under the curve (null where a class is missing), histogram, spread."""
    area = area_under_curve(positive, scores)
    return {
        "positives": int(positive.sum()),
        "negatives": int((~positive).sum()),
        "area_under_curve": None if np.isnan(area) else area,
        "histogram": histogram(positive, scores),
        "spread": spread(scores),
    }


def probabilities(positive: Truth, scores: Floats) -> dict[str, Any]:
    """`ranking`, and what scores in [0, 1] are worth as probabilities of a positive; null where there is no page to tell."""
    chosen = scores > 0.5
    return {
        **ranking(positive, scores),
        "accuracy": _mean(chosen == positive),
        "precision": _mean(positive[chosen]),
        "recall": _mean(chosen[positive]),
        "calibration": calibration(positive, scores),
    }


def sentence(card: Mapping[str, Any]) -> str:
    """A card with `trained_on` and `held_out`, as one line for the terminal."""
    measured = card["held_out"]
    area = measured["area_under_curve"]
    told = "no area under the curve, as one class has no other page" if area is None else f"area under the curve {area:.4f}"
    learned = " + ".join(f"{pages:,}" for pages in card["trained_on"].values())
    line = f"learned from {learned} pages; {told} on {measured['positives']:,} + {measured['negatives']:,} others"
    return f"{line}. {measured['spread']['warning']}" if measured["spread"]["warning"] else line


def area_under_curve(positive: Truth, scores: Floats) -> float:
    """Probability that a positive scores above a negative, ties counted half (Mann-Whitney's U over its maximum)."""
    values, group, size = np.unique(scores, return_inverse=True, return_counts=True)
    if len(values) == 0 or positive.all() or not positive.any():
        return float("nan")
    ranks = (np.cumsum(size) - (size - 1) / 2)[group]
    positives = int(positive.sum())
    above = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(positive) - positives)))


def calibration(positive: Truth, scores: Floats) -> list[dict[str, Any]]:
    """Of the pages in tenths by score, lowest first: how many, their mean score, and the share that is positive."""
    tenths = np.array_split(np.argsort(scores, kind="stable"), GROUPS)
    return [
        {"pages": len(rows), "mean_score": float(scores[rows].mean()), "positives": float(positive[rows].mean())}
        for rows in tenths
        if len(rows)
    ]


def histogram(positive: Truth, scores: Floats) -> dict[str, Any]:
    """Pages of each class in bins of equal width between the lowest and the highest score; bin k ends where k + 1 begins."""
    edges = np.histogram_bin_edges(scores, BINS)
    counts = {name: np.histogram(scores[which], edges)[0].tolist() for name, which in _classes(positive).items()}
    return {"edges": edges.tolist(), **counts}


def spread(scores: Floats) -> dict[str, Any]:
    """The width of the narrowest interval that holds `MOST` of the scores, and a warning where it is `NARROW` or less."""
    if not len(scores):
        return {"narrowest": None, "warning": None}
    ordered, held = np.sort(scores), int(np.ceil(MOST * len(scores)))
    width = float((ordered[held - 1 :] - ordered[: len(ordered) - held + 1]).min())
    warning = f"{MOST:.0%} of the scores lie within {width:.4f}: a noisy cut by them is nearly a random sample"
    return {"narrowest": width, "warning": warning if width <= NARROW else None}


def _classes(positive: Truth) -> dict[str, Truth]:
    return {"positives": positive, "negatives": ~positive}


def _mean(values: Truth) -> float | None:
    return float(values.mean()) if len(values) else None
