"""How much of what a subset keeps holds text of the benchmarks that its models are asked."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from jobs.parts import passes, session
from jobs.parts.experiment_file import Experiment
from jobs.parts.places import Places
from jobs.parts.table import Part, parts_of, sidecar


def contaminated(
    experiment: Experiment, columns: Sequence[str], subsets: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """Column of `signals/contamination/` -> subset -> share of its pages with any n-gram of that benchmark.

    None where the subset has no page. Nothing is read where there are no columns.
    """
    if not columns:
        return {}
    places = Places(experiment.out)

    def of_part(part: Part) -> npt.NDArray[np.int64]:
        verdicts = sidecar(places.verdicts, part, [f"subset {name}" for name in subsets])
        shares = sidecar(places.signals("contamination"), part, columns)
        hit = [
            np.ones(len(shares), bool),
            *(pc.fill_null(pc.greater(shares[name], 0), False).to_numpy() for name in columns),
        ]
        kept = [column.to_numpy() for column in verdicts.columns]
        return np.array([[np.count_nonzero(page & keep) for keep in kept] for page in hit], dtype=np.int64)

    def summed(some: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        return np.asarray(np.sum(some, axis=0), np.int64)

    parts = parts_of(places.pages)
    pages, *found = passes.merged(session.session("evaluate"), "evaluate", parts, of_part, summed).tolist()
    shares = [[hits / all_ if all_ else None for hits, all_ in zip(row, pages, strict=True)] for row in found]
    return {name: dict(zip(subsets, row, strict=True)) for name, row in zip(columns, shares, strict=True)}
