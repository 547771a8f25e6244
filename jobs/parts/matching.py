"""Levels made alike by samples of their pages: as many tokens each, or as much repetition as at another scale.

A sample is a rule, `sample`, whose share is found here: it draws by the same hash for all levels. Where shares differ levels
are not nested: a page of a hard level may be beyond the share of a milder one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.draws import uniform
from filters.levels import BESIDE, Level
from filters.quantiles import Targets, count, find, merged, ranked
from filters.rules import SAMPLE, Pool
from jobs.parts.experiment_file import Experiment, as_tree
from jobs.parts.pool import Columns, Over
from jobs.parts.refusals import ExperimentError
from jobs.parts.sweep_tables import repetition
from jobs.parts.table import Part

Kept = Callable[[Pool], Mapping[str, npt.NDArray[Any]]]
"""A part's pages -> how often each level has them read, by name."""


def config(experiment: Experiment, levels: Sequence[Level]) -> dict[str, Any]:
    """What decides the samples beside the rules of one level; nothing where none are asked."""
    if experiment.match is None:
        return {}
    train = experiment.train.tokens if experiment.train else None
    others = {level.name: as_tree(level.rules) for level in levels if level.of is None and level.control not in BESIDE}
    budget = {"budget": as_tree(experiment.budget), "train": train} if experiment.match == "repetition" else {}
    return {"match": {"by": experiment.match, "levels": others, **budget}}


def check(experiment: Experiment) -> None:
    """Raise ExperimentError where repetition cannot be told."""
    if experiment.match != "repetition":
        return
    lacking = {
        "budget.pool": experiment.budget and experiment.budget.pool,
        "train": experiment.train,
        "tokenizer": experiment.tokenizer,
    }
    for key, there in lacking.items():
        if not there:
            raise ExperimentError(f"match: repetition needs the key {key}: it compares runs here with those of budget:")


def one_share(experiment: Experiment, pool: int) -> float:
    """The share of every level that is read as often here as at the scale of `budget:`; `pool` is in tokens.

    Raises ExperimentError where even all pages are read more often here.
    """
    share = repetition(experiment, pool, pool)["sample_to_match"]
    if share is None or share > 1:
        raise ExperimentError(
            f"match: repetition: runs here read their pages {share or 0:.2f} times as often as those of budget:, even with "
            "all pages; train on fewer tokens or read more pages"
        )
    return share


def shares(sizes: Mapping[str, int], kept: Kept, columns: Columns, over: Over) -> dict[str, float]:
    """The share of each level that holds as much as the smallest of them; those that hold no more are left out.

    `sizes`: of each level, by the last of the weights.
    """
    smallest = min((size for size in sizes.values() if size), default=0)
    larger = [name for name, size in sizes.items() if size > smallest]

    def counted(wanted: Mapping[str, Any]) -> Any:
        def of_part(part: Part) -> Any:
            pool = columns.of(part).chosen_from()
            draws, weight, reads = pool.draw(SAMPLE), pool.weight(columns.weights[-1]), kept(pool)
            return count(
                wanted, lambda name: ranked(draws, weight * reads[name], lowest=True, among=np.asarray(reads[name] > 0))
            )

        return over(of_part, merged)

    found = find(dict.fromkeys(larger, Targets("at most", (smallest,))), counted) if larger else {}
    return {name: float(uniform(one.places[0])[0]) for name, one in found.items()}
