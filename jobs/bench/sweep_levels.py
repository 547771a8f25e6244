"""Surveying a hundred levels with all tables of a sweep, on the pages of `choose_levels` and as it is measured there."""

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.bench.choose_levels import LEVELS, PAGES, job, make

GOAL_SECONDS, GOAL_MEGABYTES = 30.0, 1000


def rows(texts: pa.Array, pages: int = PAGES, levels: int = LEVELS) -> list[dict[str, Any]]:
    """The rows of `sweep.levels`: seconds by the clock, those of the processors, memory of the driver and of a worker."""
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        out = Path(folder) / "out"
        make(out, texts, pages)
        told = job(out, Path(folder), levels, "sweep")
    about = {"bench": "sweep.levels", "against": "nobody", "pages": pages, "levels": levels, "theirs": "", "ratio": ""}
    return [
        about | {"ours": round(told["seconds"], 1), "unit": "s", "goal": GOAL_SECONDS},
        about | {"what": "processors", "ours": round(told["processor_seconds"], 1), "unit": "s", "goal": None},
        about
        | {
            "what": "driver, largest worker",
            "ours": f"{told['driver_mb']}, {told['worker_mb']}",
            "unit": "MB",
            "goal": GOAL_MEGABYTES,
        },
    ]
