"""One copy of a large fastText model per machine: 8 processes ask one of 2 GB, and what each of them holds is added up.

The model is made up: three million words, as many rows for pairs as fastText has when not told, weights drawn by lot. It is
written into a temporary folder and removed.
"""

import json
import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from classifiers.fasttext.model import classifier_group
from filters.pages import PageBatch

WORDS, BUCKETS, DIM = 3_000_000, 2_000_000, 100
LABEL = "__label__hq"
WORKERS = 8
GOAL_GB = 0.25  # a worker, beside the one copy of the model
ROWS_AT_A_TIME = 100_000


def rows() -> list[dict[str, Any]]:
    """Gigabytes a process beyond the model, which all of them share; proportional set sizes (PSS) added up."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.bin"
        write_model(model)
        command = [sys.executable, "-m", "jobs.bench.fasttext_memory", str(model)]
        workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(WORKERS)]
        for worker in workers:
            _said(worker)  # all have scored before any is measured
        held = [_held_gb(worker.pid) for worker in workers]
        for worker in workers:
            worker.communicate()
        size = model.stat().st_size / 1e9
    each = (sum(held) - size) / WORKERS
    return [
        {
            "bench": "score.fasttext_memory",
            "what": f"a model of {size:.2f} GB, {WORKERS} processes",
            "ours": round(each, 3),
            "unit": "GB a process beyond it",
            "against": "a copy in each",
            "theirs": round(size, 3),
            "ratio": round(each / size, 3),
            "goal": GOAL_GB,
        }
    ]


def write_model(path: Path) -> None:
    """A classifier of two labels, as fastText writes it."""
    draw = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(struct.pack("<ii", 793712314, 12))
        file.write(struct.pack("<12id", DIM, 5, 5, 1, 5, 2, 3, 3, BUCKETS, 0, 0, 100, 1e-4))
        file.write(struct.pack("<iiiqq", WORDS + 2, WORDS, 2, WORDS, -1))
        file.write(b"".join(b"w%d\0" % word + struct.pack("<qb", 1, 0) for word in range(WORDS)))
        file.write(b"".join(label + b"\0" + struct.pack("<qb", 1, 1) for label in (LABEL.encode(), b"__label__cc")))
        for size in (WORDS + BUCKETS, 2):
            file.write(b"\0" + struct.pack("<qq", size, DIM))
            for start in range(0, size, ROWS_AT_A_TIME):
                shape = min(ROWS_AT_A_TIME, size - start), DIM
                file.write((draw.random(shape, np.float32) - np.float32(0.5)).tobytes())


def _said(worker: "subprocess.Popen[bytes]") -> None:
    assert worker.stdout is not None
    json.loads(worker.stdout.readline())


def _held_gb(process: int) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1e6 for line in lines if line.startswith("Pss:"))


def ask(model: Path) -> None:
    """Score 2,000 pages of 1,000 words, which reach most of the model; then wait to be measured."""
    group = classifier_group("quality", model, label=LABEL)
    draw = random.Random(0)
    for _ in range(4):
        texts = [" ".join(f"w{draw.randrange(WORDS)}" for _ in range(1000)) for _ in range(500)]
        group.measure(pa.array([str(row) for row in range(len(texts))]), PageBatch(pa.array(texts, pa.large_string())))
    print(json.dumps("asked"), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    ask(Path(sys.argv[1]))
