"""The table for a paper's appendix: one row for every subset in every cell of the grid, as CSV."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from eval.report.facts import Cell, Facts, Subset
from eval.report.scale import standings_of
from eval.report.standing import Standing
from eval.report.story import Story, tell
from eval.statistics import Interval

HEAD = (
    *("size", "parameters", "tokens", "learning_rate", "subset", "control", "levels", "status"),
    *("pages_kept", "bytes_kept", "tokens_kept", "share_kept", "replicates", "bits_per_byte", "low", "high"),
    *("minus_best", "minus_best_low", "minus_best_high", "best_in", "operations", "seconds"),
)
"""`low`, `high`: 95 % intervals; `best_in`: share of resamples; `operations` (6 N D), `seconds` of training: of all its
runs. Of each task that was asked follow the bits per byte of the right answer and the accuracy, of the judged cell."""


def appendix(facts: Facts) -> str:
    """The CSV, its first line the names of the columns; numbers in full."""
    story, file = tell(facts), io.StringIO()
    names = [f"{task.name}_{metric}" for task in facts.tasks for metric in ("bits_per_byte", "accuracy")]
    table = csv.DictWriter(file, [*HEAD, *names], restval="", lineterminator="\n")
    table.writeheader()
    for cell in facts.cells:
        table.writerows(_rows(story, cell))
    return file.getvalue()


def _rows(story: Story, cell: Cell) -> Iterator[Mapping[str, Any]]:
    found = standings_of(story, cell)
    judged = cell.scores is not None and cell.scores is story.facts.held_out
    for subset in story.facts.subsets:
        done = [run.facts for run in cell.runs if run.subset == subset.name and run.finished]
        if done or cell.first_rate:
            tokens = sum(int(one.get("tokens") or 0) for one in done)
            yield {
                "size": cell.model,
                "parameters": cell.parameters or "",
                "tokens": cell.tokens,
                "learning_rate": cell.learning_rate,
                **_kept(subset),
                **_measured(found.by_name.get(subset.name) if found else None),
                "operations": 6 * cell.parameters * tokens or "",
                "seconds": round(sum(float(one.get("seconds") or 0) for one in done), 3) or "",
                **(_tasks(story.facts, subset.name) if judged else {}),
            }


def _kept(subset: Subset) -> dict[str, Any]:
    levels = "; ".join(f"{key}={value}" for key, value in subset.levels.items())
    return {
        "subset": subset.name,
        "control": subset.control or "",
        "levels": levels,
        "status": subset.status,
        "pages_kept": subset.kept.pages,
        "bytes_kept": subset.kept.bytes,
        "tokens_kept": "" if subset.kept.tokens is None else subset.kept.tokens,
        "share_kept": "" if subset.share is None else subset.share,
    }


def _measured(row: Standing | None) -> dict[str, Any]:
    if row is None:
        return {}
    found = {"replicates": row.replicates, **_interval(row.level, ("bits_per_byte", "low", "high"))}
    if row.difference:
        found |= _interval(row.difference, ("minus_best", "minus_best_low", "minus_best_high"))
    return found | ({} if row.best_share is None else {"best_in": row.best_share})


def _interval(found: Interval, names: tuple[str, str, str]) -> dict[str, float]:
    return dict(zip(names, (found.value, found.low, found.high), strict=True))


def _tasks(facts: Facts, subset: str) -> dict[str, float]:
    """Means over templates, replicates and items."""
    told = {}
    for task in facts.tasks:
        if subset in task.subsets:
            at = task.subsets.index(subset)
            told[f"{task.name}_bits_per_byte"] = float(task.bits[:, at].mean())
            told[f"{task.name}_accuracy"] = float(task.correct[:, at].mean())
    return told
