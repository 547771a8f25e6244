"""How far scorers keep the same pages: each is cut where it keeps a share of the pool, and the kept pages are compared."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.agreement import jaccard, kept_by_both
from filters.quantiles import Column, Found, Targets, ranked
from filters.rules import Pool
from jobs.parts.experiment_file import Experiment
from jobs.parts.pool import Columns, Over, cuts_of
from jobs.parts.table import Part

SHARES = (0.1, 0.3, 0.5)
"""Of the pool's pages where the signal is measured; pages that tie at the cut are kept."""


def scorers(experiment: Experiment) -> dict[str, bool]:
    """The columns of classifiers that are measured, and whether lower is better; not those that only name a group."""
    asked = {name: experiment.classifiers[name].options for name in experiment.signals if name in experiment.classifiers}
    types = {name: one.columns(name).items() for name, one in asked.items()}
    return {
        column: asked[name].lower_is_better()
        for name, some in types.items()
        for column, type_ in some
        if pa.types.is_floating(type_)
    }


def overlap(lower: Mapping[str, bool], columns: Columns, over: Over) -> dict[str, Any]:
    """For each share the Jaccard index of what every two of the columns keep, over all pages that may be chosen.

    `lower` says of every column whether lower is better. Null where neither of two keeps a page.
    """
    targets = dict.fromkeys(lower, Targets("share", SHARES))
    found = cuts_of(targets, lambda column, pool: _ranked(column, pool, lower), columns.only(lower), over)

    def summed(some: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        return np.asarray(np.sum(some, axis=0), np.int64)

    both = over(lambda part: _both(part, columns, found, lower), summed)
    shares = [[[None if np.isnan(one) else one for one in row] for row in level] for level in jaccard(both).tolist()]
    kept = np.diagonal(both, axis1=1, axis2=2).tolist()
    return {"columns": list(lower), "shares": list(SHARES), "kept": kept, "jaccard": shares}


def _both(part: Part, columns: Columns, found: Mapping[str, Found], lower: Mapping[str, bool]) -> npt.NDArray[np.int64]:
    """What two of the columns both keep of a part; shape (shares, columns, columns)."""
    pool = columns.of(part).chosen_from()
    ranks = {name: _ranked(name, pool, lower) for name in lower}
    kept = [[found[name].keeps(ranks[name], at) for name in lower] for at in range(len(SHARES))]
    return kept_by_both(np.array(kept, bool))


def _ranked(column: str, pool: Pool, lower: Mapping[str, bool]) -> Column:
    return ranked(pool.numbers(column), pool.weight("pages"), lowest=lower[column])
