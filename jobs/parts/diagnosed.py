"""What lies under an experiment's folder of runs beside the levels and of what runs read, as the report's facts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from eval.exposure import SCHEMA
from eval.report.facts import NOT_TRAINED, Diagnosed, Exposures, Facts, Run
from filters.levels import BESIDE
from jobs.parts import storage
from jobs.parts.gathered import replicates_of, run_of, say_together, scores_of, subsets_of
from jobs.parts.places import Places

PERMUTED = "permuted-"
"""Begins the names of the ladder's subsets."""


def diagnosed(out: Path, trained: str, facts: Facts) -> tuple[Diagnosed, list[str]]:
    """What is trained beside the levels, all runs' exposure, and a sentence for whatever is missing of it."""
    places, missing = Places(out), list[str]()
    beside = tuple(subset for subset in subsets_of(places, []) if subset.control in BESIDE)
    missing += [
        f"{one.name} is {one.status}{f': {one.reason}' if one.reason else ''}" for one in beside if one.status != "ok"
    ]
    measured = {str(row.get("subset")) for row in facts.results}
    permuted = {name: float(name.removeprefix(PERMUTED)) for name in measured if name.startswith(PERMUTED)}
    permuted = dict(sorted(permuted.items(), key=lambda step: step[1]))
    levels = [subset.name for subset in facts.subsets if subset.control in (None, "unfiltered")]
    names = [*(one.name for one in beside if one.status == "ok"), *permuted]
    replicates = replicates_of(places, trained, names)
    runs = {name: [run_of(places, trained, name, number, missing) for number in replicates] for name in names}
    say_together([run for some in runs.values() for run in some if run.status == NOT_TRAINED], NOT_TRAINED, missing)
    of_levels = [run for run in facts.runs if run.subset in levels and run.replicate in replicates]
    scores = None
    if names:
        scores = scores_of(
            "held_out", [*levels, *names], [*of_levels, *(run for some in runs.values() for run in some)], missing
        )
    return Diagnosed(beside, permuted, scores, _exposures([one.name for one in facts.subsets], facts.runs, missing)), missing


def _exposures(subsets: Sequence[str], runs: Sequence[Run], missing: list[str]) -> Exposures | None:
    """What the runs of subsets read of each entry; a subset without all of its runs is left out."""
    found: dict[str, dict[int, pa.Table]] = {}
    for run in runs:
        file = run.folder / "exposure.parquet"
        if run.finished and run.subset in subsets and storage.exists(file):
            try:
                found.setdefault(run.subset, {})[run.replicate] = storage.read_table(file)
            except OSError as error:
                missing.append(f"the exposure of {run.subset}, replicate {run.replicate}, cannot be read: {error}")
    replicates = sorted({number for some in found.values() for number in some})
    whole = {name: some for name, some in found.items() if len(some) == len(replicates) and _alike(some, found)}
    if not whole:
        return None
    cube = {
        name: np.stack([[some[n][name].to_numpy() for n in replicates] for some in whole.values()]) for name in SCHEMA.names
    }
    held_out = cube["held_out"][0, 0]
    return Exposures(tuple(whole), tuple(replicates), cube["seen"], cube["nats"], held_out)


def _alike(some: Mapping[int, pa.Table], all_of_them: Mapping[str, Mapping[int, pa.Table]]) -> bool:
    """Whether runs were measured on the same pages as the first."""
    first = next(iter(next(iter(all_of_them.values())).values()))["held_out"]
    return all(table["held_out"].equals(first) for table in some.values())
