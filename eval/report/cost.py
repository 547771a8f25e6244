"""What the experiment took, and what it would take to see differences of half the size."""

from collections.abc import Sequence
from typing import Any

from eval.report.facts import Cell
from eval.report.safe_text import plain
from eval.report.story import Story
from eval.report.wording import duration, percent, short_count

TIMES = 4
"""Half of a standard error takes four times of what is averaged over."""


def cost(story: Story) -> dict[str, Any] | None:
    """Rows by cell and their sum, and the price of a finer answer; None where nothing is trained."""
    cells = [cell for cell in story.facts.cells if any(run.finished for run in cell.runs)]
    if not cells:
        return None
    total = [sum(each) for each in zip(*map(_sums, cells), strict=True)]
    return {
        "rows": [_row(cell) for cell in cells],
        "total": _told(*total) if len(cells) > 1 else None,
        "price": _price(story, cells),
    }


def _sums(cell: Cell) -> tuple[int, int, float, float]:
    """Runs, tokens, operations and device seconds of training."""
    done = [run.facts for run in cell.runs if run.finished]
    tokens = sum(int(one.get("tokens") or 0) for one in done)
    return len(done), tokens, 6.0 * cell.parameters * tokens, sum(float(one.get("seconds") or 0) for one in done)


def _told(runs: float, tokens: float, flops: float, seconds: float) -> dict[str, str]:
    sizes = {"runs": f"{runs:,.0f}", "tokens": short_count(round(tokens)), "flops": f"{flops:.2g}"}
    return {**sizes, "seconds": duration(seconds), "speed": f"{flops / seconds / 1e9:,.1f}" if seconds else "–"}


def _row(cell: Cell) -> dict[str, str]:
    devices = dict.fromkeys(plain(str(run.facts.get("device", "unknown")), 60) for run in cell.runs if run.finished)
    return {
        "size": plain(cell.model, 30),
        "parameters": f"{cell.parameters:,}",
        "each": short_count(cell.tokens),
        "rate": f"{cell.learning_rate:g}",
        "device": ", ".join(devices),
        **_told(*_sums(cell)),
    }


def _price(story: Story, cells: Sequence[Cell]) -> str:
    """What differences of half the size would take, all cells at as many replicates."""
    held_out = story.held_out
    verdict = held_out.verdict if held_out and story.sure else None
    if held_out is None or verdict is None or held_out.comparison is None:
        return ""
    judged = next((cell for cell in cells if cell.scores is story.facts.held_out), cells[0])
    _, tokens, flops, seconds = _sums(judged)
    replicates, clusters = held_out.comparison.replicates, held_out.comparison.clusters
    one, other = (verdict.hardest or verdict.best), verdict.best
    other = other if other != one else next(name for name in verdict.levels if name != one)
    runs, pages = held_out.comparison.noise(one, other)
    share = percent(runs / (runs + pages)) if runs + pages else "all"
    return (
        f"To see differences of {verdict.resolution / 2:.4f} bits per byte in place of {verdict.resolution:.4f}, half as "
        f"large, takes {TIMES} times as much of what chance is averaged over: {TIMES * replicates:,} replicates, and "
        f"held-out pages of {TIMES * clusters:,} clusters (replicates make {share} of the variance). That is "
        f"{short_count(TIMES * tokens)} tokens, {TIMES * flops:.2g} operations and {duration(TIMES * seconds)} of training "
        f"of {plain(judged.model, 30)} at the speed of these runs."
    )
