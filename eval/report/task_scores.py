"""What models answered, read back from the tables of items: every statistic of tasks is made of these, without a model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters.stores import source

Floats = npt.NDArray[np.float64]
Row = Mapping[str, Any]
Items = Callable[[str, str, int, str], Path]
"""Subset, what trained it, replicate and task -> where the answers lie."""
NORMALISED = "accuracy_normalised"
ASKED = ["template", "item", "skipped"]
COLUMNS = (*ASKED, "bits_per_byte", "correct", "correct_normalised", "cut")


@dataclass(frozen=True, eq=False)
class TaskScores:
    """The answers of all runs of one size, budget and rate to one task.

    bits (bits per byte of the right answer) and correct (1 or 0): float64 [templates, subsets, replicates, items], of the
    items that every template scores. `counts_by` is the metric that is worth looking at; `contaminated` by subset.
    """

    name: str
    role: str
    counts_by: str
    chance: float | None
    file: str
    sha256: str
    contaminated: Mapping[str, float]
    templates: tuple[str, ...]
    subsets: tuple[str, ...]
    replicates: tuple[int, ...]
    items: tuple[str, ...]
    bits: Floats
    correct: Floats
    skipped: Mapping[str, int]
    """Of the questions of all templates, those not scored, by reason."""
    cut: int
    """Questions whose beginning was cut off."""


def read_tasks(items: Items, rows: Sequence[Row], missing: list[str]) -> tuple[TaskScores, ...]:
    """Every task that the rows of results.jsonl tell of; what cannot be read becomes a sentence in `missing`."""
    by_task: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("set") in ("tasks", "verdict_tasks") and row.get("task"):
            by_task.setdefault(str(row["task"]), []).append(row)
    found = (_read(name, some, items, missing) for name, some in by_task.items())
    return tuple(one for one in found if one is not None)


def _read(name: str, rows: Sequence[Row], items: Items, missing: list[str]) -> TaskScores | None:
    about, tables = rows[0], _tables(name, rows, items, missing)
    replicates = sorted({replicate for _, replicate in tables})
    subsets = list(dict.fromkeys(subset for subset, _ in tables))
    whole = [one for one in subsets if all((one, number) in tables for number in replicates)]
    if lost := [one for one in subsets if one not in whole]:
        missing.append(f"{', '.join(lost)} did not answer {name} in every replicate and is left out there")
    if not whole:
        return None
    first = tables[whole[0], replicates[0]]
    places = _places(first)
    if not places or not len(next(iter(places.values()))):
        missing.append(f"no item of {name} was scored, so nothing is said of it")
        return None
    correct = "correct_normalised" if about.get("counts_by") == NORMALISED else "correct"

    def cube(column: str) -> Floats:
        values = {key: tables[key][column].cast(pa.float64()).to_numpy() for key in tables}
        return np.array([[[values[one, at][here] for at in replicates] for one in whole] for here in places.values()])

    held = {str(row["subset"]): float(row["contaminated"]) for row in rows if row.get("contaminated") is not None}
    why = (one["values"] for one in pc.value_counts(first["skipped"].combine_chunks()).to_pylist())
    return TaskScores(
        name=name,
        role=str(about["set"]),
        counts_by=str(about.get("counts_by") or "bits_per_byte"),
        chance=None if about.get("chance") is None else float(about["chance"]),
        file=str(about.get("benchmark") or ""),
        sha256=str(about.get("benchmark_sha256") or ""),
        contaminated=held,
        templates=tuple(places),
        subsets=tuple(whole),
        replicates=tuple(replicates),
        items=tuple(first["item"].take(pa.array(next(iter(places.values())))).to_pylist()),
        bits=cube("bits_per_byte"),
        correct=cube(correct),
        skipped={one: first["skipped"].to_pylist().count(one) for one in why if one is not None},
        cut=int(pc.sum(pc.greater(first["cut"], 0)).as_py() or 0),
    )


def _tables(name: str, rows: Sequence[Row], items: Items, missing: list[str]) -> dict[tuple[str, int], pa.Table]:
    """Subset and replicate -> answers; a run that was asked something else than the first one is only told of."""
    tables: dict[tuple[str, int], pa.Table] = {}
    asked: pa.Table | None = None
    for subset, replicate, trained in dict.fromkeys(
        (str(r["subset"]), int(r["replicate"]), str(r["trained"])) for r in rows
    ):
        try:
            table = pq.read_table(source(items(subset, trained, replicate, name)), columns=list(COLUMNS))
        except (OSError, pa.ArrowException) as error:
            missing.append(f"what {subset}, replicate {replicate}, answered in {name} cannot be read: {error}")
            continue
        asked = table.select(ASKED) if asked is None else asked
        if table.select(ASKED).equals(asked):
            tables[subset, replicate] = table
        else:
            missing.append(f"{subset}, replicate {replicate}, was asked other items of {name} and is left out there")
    return tables


def _places(table: pa.Table) -> dict[str, npt.NDArray[np.int64]]:
    """Template -> rows of the items that every template scores, in one order of items."""
    scored: dict[str, dict[str, int]] = {}
    for row, (template, item, skipped) in enumerate(zip(*(table[name].to_pylist() for name in ASKED), strict=True)):
        if skipped is None:
            scored.setdefault(template, {})[item] = row
    common = [item for item in next(iter(scored.values()), {}) if all(item in places for places in scored.values())]
    return {template: np.array([places[item] for item in common], np.int64) for template, places in scored.items()}
