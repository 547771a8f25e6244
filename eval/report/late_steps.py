"""How levels stand at the last steps of their runs, and which of their differences are larger than what steps change."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.report.facts import Facts
from eval.report.heat import NAME_SHOWN, cells, gaps, measured, names_of_levels, signed_number
from eval.report.safe_text import plain
from eval.report.story import Story
from eval.report.wording import percent

Floats = npt.NDArray[np.float64]


def late(story: Story) -> dict[str, Any] | None:
    """The levels at each late step, and pairs of them with signal and noise; None where no late step was measured."""
    facts, base = story.facts, story.base
    values = _trajectories(facts)
    steps = sorted({step for some in values.values() for one in some.values() for step in one})
    if base not in values or len(steps) < 2:
        return None
    names = [name for name in names_of_levels(facts) if name in values]
    of_step = [
        {name: {number: one[step] for number, one in values[name].items() if step in one} for name in names}
        for step in steps
    ]
    made = cells([[gaps(some, name, base) for some in of_step] for name in names])
    pairs = [pair for pair in _pairs(story, names) if len(_series(values, *pair, steps))]
    return {
        "base": plain(base, NAME_SHOWN),
        "steps": [(f"{step:,}", percent(step / steps[-1])) for step in steps],
        "rows": [{"name": plain(name, NAME_SHOWN), "cells": row} for name, row in zip(names, made, strict=True)],
        "pairs": [_pair(one, other, _series(values, one, other, steps)) for one, other in pairs],
    }


def _trajectories(facts: Facts) -> dict[str, dict[int, dict[int, float]]]:
    """Subset -> replicate -> step -> bits per byte, of runs whose late steps were measured; the last is the model's own."""
    found: dict[str, dict[int, dict[int, float]]] = {}
    for row in facts.results:
        if row.get("set") == "late" and isinstance(row.get("value"), float) and row.get("step"):
            by_step = found.setdefault(str(row["subset"]), {}).setdefault(int(row.get("replicate") or 0), {})
            by_step[int(row["step"])] = float(row["value"])
    final = measured(facts, "held_out", "macro")
    for run in facts.runs:
        steps, value = run.facts.get("steps"), final.get(run.subset, {}).get(run.replicate)
        if steps and value is not None and run.replicate in found.get(run.subset, {}):
            found[run.subset][run.replicate][int(steps)] = value
    return found


def _pairs(story: Story, names: Sequence[str]) -> list[tuple[str, str]]:
    """Neighbours among the levels, and the hardest with the best."""
    levels = [level.name for level in story.facts.levels if level.name in names]
    found = list(zip(levels[1:], levels[:-1], strict=True))
    best = story.held_out.best if story.held_out else None
    return found + ([(levels[-1], best)] if best in levels and best not in levels[-2:] else [])


def _series(values: Mapping[str, Mapping[int, Mapping[int, float]]], one: str, other: str, steps: Sequence[int]) -> Floats:
    """[replicates, steps] one subset minus another, in replicates that have all steps of both."""
    rows = [
        [values[one][number][step] - values[other][number][step] for step in steps]
        for number in sorted(values[one])
        if number in values[other] and all(step in values[name][number] for step in steps for name in (one, other))
    ]
    return np.array(rows, np.float64).reshape(len(rows), len(steps))


def signal_over_steps(differences: Floats) -> tuple[float, float]:
    """Signal and noise of a difference [replicates, steps]: its mean at the end, and how far it moves over the steps.

    The noise is the standard deviation over the steps of a run (Heineman et al. 2025, "Signal and Noise"), replicates
    pooled. Steps are no replicates: they share weights, pages and order, so that this noise is less than what decides.
    """
    return float(differences[:, -1].mean()), float(np.sqrt(differences.var(axis=1, ddof=1).mean()))


def _pair(one: str, other: str, differences: Floats) -> dict[str, str]:
    signal, noise = signal_over_steps(differences)
    return {
        "names": f"{plain(one, NAME_SHOWN)} minus {plain(other, NAME_SHOWN)}",
        "gap": signed_number(signal),
        "noise": f"{noise:.4f}",
        "ratio": f"{abs(signal) / noise:.1f}" if noise else "–",
    }
