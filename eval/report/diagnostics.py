"""Why levels differ: models on what other levels would keep, a ladder that must rise, bands, what runs read, how they end.

All of it stands beside the verdict and nothing of it is in it. Cells are differences to one subset, the mean over the
replicates that both have; where the replicates do not agree on the sign, a cell says so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.report.beside_levels import bands, compared_beside, ladder, second
from eval.report.exposures import exposure
from eval.report.heat import NAME_SHOWN, ByReplicate, cells, gaps, measured, names_of_levels
from eval.report.late_steps import late
from eval.report.safe_text import plain
from eval.report.story import Story

MOST_COLUMNS = 24


def diagnostics(story: Story) -> dict[str, Any]:
    """The tree of each part; None or nothing where nothing of it was measured."""
    comparison = compared_beside(story.facts)
    return {
        "matrix": _matrix(story),
        "ladder": ladder(story, comparison),
        "bands": bands(story, comparison),
        "second": second(story.facts, comparison),
        "exposure": exposure(story),
        "late": late(story),
    }


def _matrix(story: Story) -> dict[str, Any] | None:
    """Rows: trained on; columns: held-out pages that a level would keep. Minus the base, so that columns compare."""
    facts, base = story.facts, story.base
    values = {level.name: measured(facts, f"kept by {level.name}", "macro") for level in facts.levels[:MOST_COLUMNS]}
    columns = [level for level in facts.levels[:MOST_COLUMNS] if values[level.name].get(base or "")]
    rows = [name for name in names_of_levels(facts) if any(values[column.name].get(name) for column in columns)]
    if base is None or len(columns) < 2:
        return None
    sizes = {str(row.get("set")): int(row.get("n") or 0) for row in facts.results}
    made = cells([[gaps(values[column.name], name, base) for column in columns] for name in rows], best=True)
    best = {column.name: _best(values[column.name], rows) for column in columns}
    return {
        "base": plain(base, NAME_SHOWN),
        "columns": [(plain(one.label, 20), f"{sizes.get(f'kept by {one.name}', 0):,}") for one in columns],
        "rows": [
            {"name": plain(name, NAME_SHOWN), "cells": row, "own": [column.name == name for column in columns]}
            for name, row in zip(rows, made, strict=True)
        ],
        "sentence": _matrix_sentence([column.name for column in columns], best, facts.ordered),
    }


def _best(values: ByReplicate, rows: Sequence[str]) -> str:
    return min((name for name in rows if values.get(name)), key=lambda name: float(np.mean(list(values[name].values()))))


def _matrix_sentence(columns: Sequence[str], best: Mapping[str, str], ordered: bool) -> str:
    """Whether models are merely best at what they were trained on."""
    own = sum(best[name] == name for name in columns)
    if len(set(best.values())) == 1:
        name = plain(best[columns[0]], NAME_SHOWN)
        return f"Models trained on {name} need the fewest bits, whichever level chooses the held-out pages."
    told = f"In {own:,} of {len(columns):,} columns models trained on the level that chose the pages need the fewest bits."
    if not ordered:
        return told
    first, last = (plain(best[name], NAME_SHOWN) for name in (columns[0], columns[-1]))
    return (
        f"On what the mildest level would keep models trained on {first} need the fewest bits, on what the hardest would "
        f"keep those trained on {last}. {told}"
    )
