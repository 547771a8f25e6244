"""bench: our speed beside the bare libraries and the peers, in one run, on the shards at hand.

    python -m jobs.bench [NAME ...]

`--help` lists the names; some take many minutes and run only when they are named. The shards are those of
../shared/data/crawl where that folder is, else the sample's (`make demo` assembles it). Peers get virtual environments of
their own in .venv-peers/. Each row is printed and appended to out/bench.jsonl.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from filters.nearest import nearest
from jobs.bench import (
    choose_levels,
    datatrove,
    deadline,
    dedup,
    dolma,
    exact,
    explorer,
    extractors,
    fasttext_calls,
    fasttext_memory,
    gpu,
    hashing,
    heuristics,
    kenlm,
    memory,
    pipeline,
    quotas,
    read,
    rerun,
    score_job,
    scorers,
    side_by_side,
    spam,
    stores,
    sweep_levels,
    task_items,
    train,
    transformer,
    tuning,
    unlabelled,
    write_levels,
)
from jobs.parts.session import HOME
from jobs.shards.reader import Page, ReadOptions, ShardReport, read_shard

Rows = list[dict[str, Any]]

BENCHES: Mapping[str, Callable[[list[Path]], Rows]] = {
    "read": lambda shards: read.bench(shards[:2]),
    "heuristics": lambda _: heuristics.rows(),
    "score_job": lambda shards: score_job.rows(shards[:2]),
    "deadline": lambda _: deadline.rows(),
    "fasttext_calls": lambda shards: fasttext_calls.bench(texts(shards[:1])),
    "kenlm": lambda shards: kenlm.rows(texts(shards[:1])),
    "hashing": lambda shards: hashing.rows(texts(shards[:1])),
    "choose_levels": lambda shards: choose_levels.rows(texts(shards[:2])),
    "sweep_levels": lambda shards: sweep_levels.rows(texts(shards[:2])),
    "write_levels": lambda shards: write_levels.rows(texts(shards[:2])),
    "quotas": lambda _: quotas.rows(),
    "pipeline": lambda shards: pipeline.rows(shards[:2]),
    "train": lambda _: train.rows(),
    "task_items": lambda shards: task_items.rows(texts(shards[:1])),
    "side_by_side": lambda _: side_by_side.rows(),
    "exact": lambda _: exact.rows(),
    "gpu": lambda _: [*gpu.rows()],
    "transformer": lambda shards: transformer.rows(texts(shards[:1])),
    "dolma": lambda shards: dolma.rows(texts(shards[:1]), dolma.peer(HOME / ".venv-peers" / "dolma")),
    "explorer": lambda _: explorer.rows(),
    "extractors": lambda shards: extractors.rows(shards),
    "datatrove": lambda _: datatrove.rows(),
    "rerun": lambda _: rerun.rows(),
    "dedup": lambda _: dedup.rows(),
    "fasttext_memory": lambda _: fasttext_memory.rows(),
    "memory": lambda _: memory.rows(),
    "spam": lambda shards: spam.rows(shards),
    "stores": lambda _: stores.rows(),
    "unlabelled": lambda shards: unlabelled.rows(shards, texts(shards[:1])),
    "scorers": lambda shards: scorers.rows(shards),
    "tuning": lambda _: [*tuning.rows(tuning.SMALL), *tuning.rows(tuning.LARGER)],
}
"""Every benchmark, called as its module is."""
SLOWEST = (
    "side_by_side",
    "exact",
    "extractors",
    "datatrove",
    "rerun",
    "dedup",
    "fasttext_memory",
    "memory",
    "spam",
    "stores",
    "scorers",
    "task_items",
    "tuning",
    "unlabelled",
)
"""Those that take minutes: they run only when they are named."""
ROWS = HOME / "out" / "bench.jsonl"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks that are named, or all but the slowest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    slow = f"only when named: {', '.join(SLOWEST)}"
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHES)} ({slow})")
    names = parser.parse_args(arguments).names
    for name in names:
        if name not in BENCHES:
            return _refuse(f"unknown benchmark {name!r}: {nearest(name, list(BENCHES))}")
    found = shards()
    if not found:
        return _refuse("there are no shards to measure on: run `make demo` once, which assembles the sample crawl")
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    with ROWS.open("a") as file:
        for name in names or [name for name in BENCHES if name not in SLOWEST]:
            print(f"bench: {name} ...", file=sys.stderr, flush=True)
            for row in BENCHES[name](found):
                print(line(row), flush=True)
                file.write(json.dumps(row) + "\n")
    return 0


def _refuse(sentence: str) -> int:
    print(f"goodhart: {sentence}", file=sys.stderr)
    return 2


def shards() -> list[Path]:
    """WARC shards to measure on; none where neither folder has any."""
    folders = (HOME.parent / "shared" / "data" / "crawl", HOME / "data" / "sample")
    return next((found for folder in folders if (found := sorted(folder.glob("*.warc.gz")))), [])


def texts(of: list[Path]) -> pa.Array:
    """The extracted text of all pages of some shards, one after the other."""
    return pa.array([page.text for page in _pages(of)], pa.large_string())


def _pages(of: list[Path]) -> Iterator[Page]:
    for shard in of:
        yield from (row for row in read_shard(str(shard), ReadOptions(), ShardReport()) if isinstance(row, Page))


def line(row: Mapping[str, Any]) -> str:
    """A row as a person reads it."""
    what = f"{row['bench']} {row.get('what', '')}".strip()
    goal = f"  goal {row['goal']}" if row.get("goal") is not None else ""
    mine = f"{what:<52} {row['ours']:>10} {row['unit']:<22}"
    return f"{mine} against {row['against']}: {row['theirs']}  ratio {row['ratio']}{goal}"


if __name__ == "__main__":
    sys.exit(main())
