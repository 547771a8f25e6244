"""What driver, workers and Spark's JVM hold at most while the input grows to four and sixteen times its size.

    python -m jobs.bench memory

Made-up pages lie in one shard, whose pages grow, and so do the tokens that models are to read: a worker has one part at a
time, and the hard case is a larger part. Every verb has a Spark context of its own, so that its Python workers are new; the
JVM and the driver go on. Counted, all the time, are the resident bytes of /proc that no file stands behind (RssAnon and
RssShmem). What is mapped from files the system can drop, and nearly all of it is libraries: 115 to 230 MB in every worker,
whatever the input, which would flatter the ratio.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs import choose, dedup, pack, read, score, split, train_tokenizer
from jobs.bench.processes import below
from jobs.experiment import Verb
from jobs.parts.experiment_file import load
from jobs.parts.session import HOME

SIZES = (1, 4, 16)
PAGES, TOKENS = 3000, 500_000
"""At size 1: pages of the shard, and tokens that a model reads. A page has some 3,000 characters."""
GOAL = 1.25
"""Of the most that is held at size 1, at size 16."""
VERBS: dict[str, Verb] = {
    "read": read.main,
    "split": split.main,
    "dedup": dedup.edges,
    "train_tokenizer": train_tokenizer.main,
    "score": score.main,
    "choose": choose.main,
    "pack": pack.main,
}
INTERVAL = 0.02
Held = dict[tuple[str, str], float]
"""(verb, whose) -> megabytes at most."""


def rows() -> list[dict[str, Any]]:
    """A row for each verb's largest worker, and for the driver and the JVM over all verbs."""
    found = {size: measured(size) for size in SIZES}
    small, large = (found[size] for size in (SIZES[0], SIZES[-1]))
    return [
        {
            "bench": "memory",
            "what": f"{verb}, {whose}",
            "ours": round(large[verb, whose]),
            "unit": f"MB at {SIZES[-1]} x",
            "against": "at 1 x",
            "theirs": round(small[verb, whose]),
            "ratio": round(large[verb, whose] / small[verb, whose], 2),
            "goal": GOAL,
            "all": [round(found[size][verb, whose]) for size in SIZES],
        }
        for verb, whose in sorted(small)
        if whose == "worker" or verb == list(VERBS)[-1]
    ]


def measured(size: int) -> Held:
    """What each verb held at most on so many times the input; of driver and JVM the most up to then."""
    held: Held = defaultdict(float)
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        conf = _inputs(Path(name), size)
        environment = {**os.environ, "PYTHONPATH": str(HOME), "TMPDIR": name}
        child = subprocess.Popen(
            [sys.executable, "-m", "jobs.bench.memory", str(conf)], cwd=name, env=environment, stdout=subprocess.DEVNULL
        )
        while child.poll() is None:
            time.sleep(INTERVAL)
            verb = (Path(name) / "verb").read_text()
            for process in below(child.pid) if verb else ():
                whose = "driver" if process.pid == child.pid else "JVM" if process.name == "java" else "worker"
                held[verb, whose] = max(held[verb, whose], _own_bytes(process.pid) / 1e6)
    if child.returncode:
        raise RuntimeError(f"the verbs ended with {child.returncode} at {size} times the input")
    return held


def _own_bytes(process: int) -> int:
    """Resident bytes that no file stands behind; none of a process that has ended."""
    try:
        told = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return sum(1024 * int(kilobytes) for kilobytes in re.findall(r"^Rss(?:Anon|Shmem):\s+(\d+)", told, re.MULTILINE))


def run(conf: Path) -> None:
    """The verbs one after the other, each in a new context; its name stands in a file beside while it works."""
    experiment = load(conf)
    for name, verb in VERBS.items():
        (conf.parent / "verb").write_text(name)
        verb(experiment, False)
        (conf.parent / "verb").write_text("")
        active = SparkSession.getActiveSession()
        if active is not None:
            active.stop()


def _inputs(folder: Path, size: int) -> Path:
    """A shard of `size` times the pages, and an experiment over it."""
    (folder / "verb").write_text("")
    with (folder / "made.warc").open("wb") as file:
        file.writelines(_records(size * PAGES))
    (folder / "tiny.yaml").write_text(
        "{layers: 1, width: 16, heads: 2, feed_forward: 32, context: 32, batch_tokens: 256, learning_rate: 1.0e-2,"
        " warmup: 0.1, weight_decay: 0.1}"
    )
    conf = folder / "memory.json"
    conf.write_text(
        json.dumps(
            {
                "name": "memory",
                "out": str(folder / "out"),
                "pages": {"from": [str(folder / "made.warc")]},
                "signals": {"gopher": {}, "repetition": {}, "duplicates": {"prefer": ["characters"]}},
                "rules": {"word_count": {"min": 20}},
                "sweep": {"rules.mean_word_length.keep_fraction": ["none", 0.7]},
                "controls": {"random": "all"},
                "tokenizer": {"vocabulary": 400},
                "train": {"model": str(folder / "tiny.yaml"), "tokens": TOKENS * size, "replicates": 2, "device": "cpu"},
                "evaluate": {"held_out": {"by": "page", "share": 0.05, "most_bytes": 100_000}},
            }
        )
    )
    return conf


def _records(pages: int) -> Iterator[bytes]:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(5000)]
    for page in range(pages):
        drawn = draw.choices(words, k=480)
        text = "\n".join(f"{' '.join(drawn[at : at + 24])}." for at in range(0, 480, 24)).encode()
        head = (
            f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <urn:made:{page}>\r\n"
            f"WARC-Target-URI: http://site-{page % 997}.example/{page}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(text)}\r\n\r\n"
        )
        yield head.encode() + text + b"\r\n\r\n"


if __name__ == "__main__":
    run(Path(sys.argv[1]))
