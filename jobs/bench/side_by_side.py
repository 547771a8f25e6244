"""Four runs of 0.2m side by side on two cores beside one after another."""

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval import side_by_side
from eval.runs import TRAIN
from eval.side_by_side import Slots
from jobs.bench.train import BUDGET, TRIALS, run_config


def rows() -> list[dict[str, Any]]:
    """`train.side_by_side`: four runs of 0.2m on two cores beside one after another, the processes' start included.

    It goes by the clock, where other work counts: the load before it is in the row.
    """
    trial = replace(TRIALS[0], steps=BUDGET // TRIALS[0].size.batch_tokens)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        config = run_config(Path(name), trial.size, trial.name, trial.tokens)
        seconds = []
        for cores in (2, 1):
            runs = [replace(config, out=Path(name) / str(cores) / str(at)) for at in range(4)]
            begun = time.monotonic()
            side_by_side.run(TRAIN, runs, Slots([{}] * cores))
            seconds.append(time.monotonic() - begun)
    ours, theirs = (4 * trial.tokens / one for one in seconds)
    row = {
        "bench": "train.side_by_side",
        "what": f"four runs of 0.2m on two cores, load {load:.1f}",
        "ours": round(ours),
        "unit": "tokens/s",
        "against": "one after another",
        "theirs": round(theirs),
        "ratio": round(ours / theirs, 2),
        "goal": 1.8,
    }
    return [row]
