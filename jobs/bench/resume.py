"""Whether a model of 14m that is killed on its way has the bits of one that was not: too long for the tests."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.sizes import read_size
from eval.training import RunSummary, train_run
from jobs.bench.train import run_config

STEPS, KILLED_AT = 200, 130
WINDOW = 32
"""A short context and one window a step: the same matrices, in seconds."""


class Killed(Exception):
    """Stands for the end of the process."""


def rows() -> list[dict[str, Any]]:
    """`train.resume`: 1 where the bits are the same."""
    size = replace(read_size("14m", 300_000), context=WINDOW, batch_tokens=WINDOW)
    with tempfile.TemporaryDirectory() as name:
        config = run_config(Path(name), size, "14m", STEPS * WINDOW)
        whole = train_run(config)
        killed = replace(config, out=config.out.with_name("1"), checkpoint_seconds=1.0)
        try:
            train_run(killed, _kill)
        except Killed:
            resumed: RunSummary = train_run(killed)
    same = whole.model_sha256 == resumed.model_sha256
    row = {
        "bench": "train.resume",
        "what": f"14m, {STEPS} steps, killed at {KILLED_AT}",
        "ours": int(same),
        "unit": "same bits",
        "against": "a run that was not killed",
        "theirs": 1,
        "ratio": float(same),
        "goal": 1.0,
    }
    return [row]


def _kill(step: int, steps: int, loss: float) -> None:
    if step == KILLED_AT:
        raise Killed
