"""Choosing a hundred levels with their random controls, beside NumPy over the same columns in memory.

The pages are made: signals of the pages at hand, drawn again and again until there are enough, in parts as `read` and
`score` leave them. Ours is the whole job in a process of its own, from the tables to verdicts and facts, without Spark's
start; it takes the cores that Spark takes. The other side has all columns in memory and only masks and counts: no files,
no checks. `python -m jobs.bench.choose_levels PAGES FOLDER` does ours once for so many pages: they need not fit into memory.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset

from filters import split
from filters.draws import draw, id_hashes
from filters.pages import PageBatch
from filters.signals import configure, load_groups
from jobs.bench.processes import below, ticks
from jobs.parts import loop, storage
from jobs.parts.table import Part, Table, publish
from jobs.split import SPLIT

PAGES, PAGES_OF_PART, LEVELS = 1_000_000, 50_000, 100
GOAL_SECONDS, GOAL_LEVEL, GOAL_MEGABYTES = 20.0, 0.15, 1000
MOST_SITES = 10_000_000
GROUPS = ("gopher", "repetition", "fineweb", "size")
RULES: dict[str, dict[str, float]] = {
    "word_count": {"min": 50, "max": 100_000},
    "mean_word_length": {"min": 3, "max": 10},
    "symbol_word_ratio": {"max": 0.1},
    "bullet_line_ratio": {"max": 0.9},
    "ellipsis_line_ratio": {"max": 0.3},
    "alphabetic_word_ratio": {"min": 0.6},
    "stop_word_count": {"min": 2},
    "duplicate_line_fraction": {"max": 0.3},
    "top_2gram_char_fraction": {"max": 0.2},
    "top_3gram_char_fraction": {"max": 0.18},
    "short_line_ratio": {"max": 0.67},
}
SWEPT = "line_punctuation_ratio"


def rows(texts: pa.Array, pages: int = PAGES, levels: int = LEVELS) -> list[dict[str, Any]]:
    """The rows of `choose.levels`: seconds for all levels and for one more, memory of the driver and of a worker."""
    with tempfile.TemporaryDirectory(prefix="choose-") as folder:
        out = Path(folder) / "out"
        make(out, texts, pages)
        few, many = (job(out, Path(folder), number) for number in (2, levels))
        theirs = _in_memory(_columns(out), levels)
    each = (many["seconds"] - few["seconds"]) / (levels - 2)
    about = {"against": "NumPy, all columns in memory", "pages": pages, "levels": levels}
    return [
        {
            "bench": "choose.levels",
            "ours": round(many["seconds"], 1),
            "unit": "s",
            **about,
            "theirs": round(theirs, 1),
            "ratio": round(theirs / many["seconds"], 2),
            "goal": GOAL_SECONDS,
        },
        {
            "bench": "choose.levels",
            "what": "one more",
            "ours": round(each, 3),
            "unit": "s",
            **about,
            "theirs": round(theirs / levels, 3),
            "ratio": round(theirs / levels / each, 2),
            "goal": GOAL_LEVEL,
        },
        {
            "bench": "choose.levels",
            "what": "driver, largest worker",
            "ours": f"{many['driver_mb']}, {many['worker_mb']}",
            "unit": "MB",
            **about,
            "theirs": "",
            "ratio": "",
            "goal": GOAL_MEGABYTES,
        },
    ]


def make(out: Path, texts: pa.Array, pages: int) -> None:
    """Write tables as the verbs before `choose` leave them."""
    batch, known = PageBatch(texts), load_groups("filters", "classifiers")
    measured = {
        group: pa.Table.from_batches(
            [configure(group, {}, known).measure(pa.array([""] * len(texts)), batch).drop_columns(["id"])]
        )
        for group in GROUPS
    }
    random = np.random.default_rng(0)
    made: dict[str, Table] = {}
    entries: dict[str, list[Any]] = {}

    def write(name: str, part: str, rows: pa.Table, identity: str) -> str:
        table = made.setdefault(name, Table(out / name, {"made": "to measure"}, rows.schema))
        entries.setdefault(name, []).append(_write(table, part, rows, identity))
        return str(entries[name][-1]["sha256"])

    for part in range(pages // PAGES_OF_PART):
        taken = pa.array(random.integers(0, len(texts), PAGES_OF_PART))
        domains = [f"site-{site}.org" for site in np.minimum(random.zipf(1.3, PAGES_OF_PART), MOST_SITES).tolist()]
        ids = pa.array([f"{part}-{row}" for row in range(len(taken))])
        name = f"part-{part:05d}"
        source = write("pages", name, pa.table({"id": ids, "domain": domains}), "made")
        hashes = id_hashes(ids)
        held_out = split.held_out(hashes, hashes, "page", 0.05, 0)
        rows = pa.table([ids, hashes, held_out, np.zeros(len(ids), bool), split.fold(hashes, 0)], schema=SPLIT)
        write("split", name, rows, source)
        for group, signals in measured.items():
            write(f"signals/{group}", name, signals.take(taken).add_column(0, "id", ids), source)
    for name, table in made.items():
        publish("made", table, entries[name])


def _write(table: Table, part: str, rows: pa.Table, identity: str) -> Any:
    """Write one part; its line in the manifest."""

    def batches(*_: Any) -> Iterator[tuple[str, pa.RecordBatch]]:
        return ((table.name, batch) for batch in rows.to_batches())

    outcome = loop.write_part(Part(part, "", identity), [table], batches)
    if outcome.failure:
        raise RuntimeError(outcome.failure)
    return outcome.entries[table.name]


def _columns(out: Path) -> dict[str, Any]:
    """The columns of all pages that the levels need, in memory."""
    wanted = {SWEPT, *RULES, "text_bytes", "id_hash", "held_out"}
    found: dict[str, Any] = {}
    for folder in (out / "split", *(out / "signals" / group for group in GROUPS)):
        rows = pyarrow.dataset.dataset(folder, format="parquet").to_table()
        found |= {name: rows[name].to_numpy() for name in wanted & set(rows.column_names)}
    return found | {"free": ~found["held_out"]}


def job(out: Path, folder: Path, levels: int, verb: str = "choose") -> dict[str, Any]:
    """The job `choose`, or another verb, with so many levels in a process of its own."""
    values = [round(value, 6) for value in np.linspace(0.95, 0.05, levels)]
    conf = {
        "out": str(out),
        "pages": {"from": ["none.warc"]},
        "signals": {group: {} for group in GROUPS if group != "size"},
        "rules": RULES,
        "sweep": {f"rules.{SWEPT}.keep_fraction": values},
        "controls": {"random": "all"},
        "write": {"subsets": []},
    }
    file = folder / f"{levels}.json"
    file.write_text(json.dumps(conf))
    for made in ("subsets", "verdicts", "sweep"):
        storage.remove_folder(out / made)
    command = [sys.executable, "-m", "jobs.bench.choose_levels", verb, str(file)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _timed(verb: str, conf: Path) -> None:
    """What the child does: Spark first, then the job by the clock, with the largest worker's memory watched."""
    from jobs.parts.experiment_file import load
    from jobs.parts.session import session

    session("bench").sparkContext.parallelize(range(8), 8).map(str).collect()
    driver, largest, ended = os.getpid(), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            workers = [one.resident for one in below(driver) if one.name.startswith("python") and one.pid != driver]
            largest[0] = max(largest[0], *workers, 0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    begin, before = time.monotonic(), ticks(driver)
    importlib.import_module(f"jobs.{verb}").main(load(conf))
    seconds, used = time.monotonic() - begin, ticks(driver) - before
    ended.set()
    watcher.join()
    # Not getrusage: what it tells begins with the memory of the process that this one was forked from.
    status = Path("/proc/self/status").read_text().splitlines()
    held = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024
    told = {"seconds": seconds, "driver_mb": held, "worker_mb": largest[0] // 2**20}
    print(json.dumps(told | {"processor_seconds": used.total() / os.sysconf("SC_CLK_TCK")}))


def _in_memory(columns: dict[str, Any], levels: int) -> float:
    """Seconds of NumPy for the same levels and controls over columns that are there."""
    begin = time.monotonic()
    free, sizes = columns["free"], columns["text_bytes"]
    values = columns[SWEPT].astype(np.float64)
    base = free.copy()
    for signal, bounds in RULES.items():
        base &= columns[signal] >= bounds.get("min", -np.inf)
        base &= columns[signal] <= bounds.get("max", np.inf)
    measured = np.sort(values[free & ~np.isnan(values)])
    candidates = np.flatnonzero(base)
    chance = draw(columns["id_hash"], 0, "random")[candidates]
    order = candidates[np.argsort(chance, kind="stable")]
    cumulative = np.cumsum(sizes[order])
    for share in np.linspace(0.95, 0.05, levels):
        kept = base & (values >= measured[int((1 - share) * len(measured))])
        total = sizes[kept].sum()
        control = np.zeros(len(base), bool)
        control[order[: int(np.searchsorted(cumulative, total, side="right"))]] = True
    return time.monotonic() - begin


def by_hand(pages: int, folder: Path) -> None:
    """Print what so many pages take: they need not fit into memory. The folder is left as it is then."""
    from jobs.bench.__main__ import shards, texts

    make(folder / "out", texts(shards()[:2]), pages)
    print(job(folder / "out", folder, LEVELS))


if __name__ == "__main__":
    first, second = sys.argv[1:]
    if first.isdecimal():
        by_hand(int(first), Path(second))
    else:
        _timed(first, Path(second))
