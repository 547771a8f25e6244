"""What it costs that signals are measured in a child process under a deadline, beside the same groups called in process.

    python -m jobs.bench deadline

Both sides measure the same batches of made-up pages in turn, by the processor time of parent and child. How a process'
memory comes to lie moves either side by a tenth, so several processes do it, each for itself.
"""

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from filters.pages import PageBatch
from filters.signals import Group, configure, load_groups
from jobs.bench.score_job import GROUPS
from jobs.parts.deadline import Deadline, Measurer

PROCESSES, ROUNDS, BATCHES, BYTES = 9, 4, 4, 8_000_000
GOAL = 1.02


def rows() -> list[dict[str, Any]]:
    """The row of `score.deadline`: milliseconds a batch under the deadline and in process, medians over processes."""
    command = [sys.executable, "-m", "jobs.bench.deadline"]
    found = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(PROCESSES)]
    middle = {whose: statistics.median(one[whose] for one in found) for whose in found[0]}
    ratios = [(one["parent"] + one["child"]) / one["in process"] for one in found]
    return [
        {
            "bench": "score.deadline",
            "what": " + ".join(GROUPS),
            "ours": round(middle["parent"] + middle["child"], 1),
            "unit": f"ms for {BYTES // 10**6} MB",
            "against": "the same groups in process",
            "theirs": round(middle["in process"], 1),
            "ratio": round(statistics.median(ratios), 3),
            "goal": GOAL,
            "spread": [round(min(ratios), 3), round(max(ratios), 3)],
            "parent": round(middle["parent"], 2),
            "parents_share": round(middle["parent"] / middle["in process"], 4),
        }
    ]


def measure() -> dict[str, float]:
    """Milliseconds of processor time a batch, medians: of the parent and the child under the deadline, and in process."""
    known = load_groups("filters")
    groups = {name: configure(name, {}, known) for name in GROUPS}
    batches, measurer = list(_batches()), Measurer(groups, Deadline())
    list(measurer.measure(batches[0]))
    assert measurer._child
    child, taken = measurer._child[0], list[tuple[float, float, float]]()
    for _ in range(ROUNDS):
        for batch in batches:
            before = _seconds_of(child)
            parent = _spent(lambda rows: list(measurer.measure(rows)), batch)
            under = _seconds_of(child) - before
            taken.append((parent, under, _spent(lambda rows: _in_process(rows, groups), batch)))
    measurer.stop()
    middle = [1000 * statistics.median(column) for column in zip(*taken, strict=True)]
    return dict(zip(("parent", "child", "in process"), middle, strict=True))


def _spent(work: Callable[[pa.RecordBatch], object], batch: pa.RecordBatch) -> float:
    begun = time.process_time()
    work(batch)
    return time.process_time() - begun


def _in_process(rows: pa.RecordBatch, groups: Mapping[str, Group]) -> None:
    pages = PageBatch(rows["text"], rows["url"])
    for group in groups.values():
        group.measure(rows["id"], pages)


def _seconds_of(process: int) -> float:
    """Processor seconds of all threads, to the nanosecond; a clock tick is a tenth of a batch."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def _batches() -> Iterator[pa.RecordBatch]:
    for number in range(BATCHES):
        draw, texts, size = random.Random(number), list[str](), 0
        words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(8000)]
        while size < BYTES:
            texts.append("\n".join(f"{' '.join(draw.choices(words, k=24))}." for _ in range(draw.randint(3, 50))))
            size += len(texts[-1])
        text, url = pa.array(texts, pa.large_string()), pa.nulls(len(texts), pa.string())
        ids = [f"<urn:made:{number}-{page}>" for page in range(len(texts))]
        yield pa.record_batch({"id": ids, "text": text, "url": url})


if __name__ == "__main__":
    print(json.dumps(measure()))
