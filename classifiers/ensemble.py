"""Several signals as one: the mean, the largest or the smallest of their ranks.

Scores of different classifiers have different scales; ranks among the same pages have one. Nemotron-CC takes the largest of
several scores after putting each into buckets of equal size (Su et al. 2024, arXiv 2412.02595); here ranks are not rounded.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from classifiers import kinds
from classifiers.kinds import Floats, Pages, TrainingError
from filters.signals import Group

TOGETHER: Mapping[str, Callable[..., Any]] = {"mean_rank": np.mean, "max_rank": np.max, "min_rank": np.min}


class Options(kinds.Scorer):
    """Signals ranked among the pages that may be chosen, and their ranks made one number in [0, 1]."""

    of: Annotated[list[str], Field(min_length=2, examples=["[quality, edu]"])]
    """The signals: numbers, higher is better."""
    by: Literal["mean_rank", "max_rank", "min_rank"] = "mean_rank"
    """What is made of the ranks; null where one of them is not measured."""

    @property
    def trained(self) -> bool:
        """There is nothing to train."""
        return False

    def identity(self) -> Any:
        """All of the options."""
        return self.model_dump()

    def train(self, texts: Mapping[str, Pages], folder: Path) -> str:
        """Nothing is trained."""
        raise TrainingError("an ensemble is not trained")

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """One number, called as the classifier is."""
        return {name: pa.float64()}

    def group(self, name: str, folder: Path) -> Group:
        """No page is looked at."""
        raise ValueError(f"{name} is derived from {', '.join(self.of)}")

    def derived_from(self) -> list[str]:
        """The signals named."""
        return self.of

    def derive(self, name: str, ranks: Sequence[Floats]) -> dict[str, Floats]:
        """Mean, largest or smallest rank."""
        return {name: np.asarray(TOGETHER[self.by](ranks, axis=0), np.float64)}
