"""bench: our speed beside the bare libraries and the peers, in one run, on the shards at hand.

    python -m jobs.bench [NAME ...]

Names are `read`, `score`, `fasttext`, `train`, `dolma`, and `datatrove`, which takes half an hour and runs only when it is
named. The shards are those of ../shared/data/crawl where that folder is, else the sample's (`make demo` assembles it).
Peers get virtual environments of their own in .venv-peers/. Each row is printed and appended to out/bench.jsonl.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.bench import datatrove as bench_datatrove
from jobs.bench import dolma as bench_dolma
from jobs.bench import fasttext_calls as bench_fasttext
from jobs.bench import heuristics as bench_score
from jobs.bench import read as bench_read
from jobs.bench import score_job as bench_job
from jobs.bench import train as bench_train
from jobs.parts.refusals import ExperimentError
from jobs.parts.session import HOME
from jobs.shards.reader import Page, ReadOptions, ShardReport, read_shard

SLOWEST = "datatrove"
ROWS = HOME / "out" / "bench.jsonl"


def main(names: list[str]) -> int:
    """Run the benchmarks that are named, or all but the slowest."""
    known = benches(shards())
    for name in names:
        if name not in known:
            print(f"goodhart: unknown benchmark {name!r}; known: {', '.join(known)}", file=sys.stderr)
            return 2
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    with ROWS.open("a") as file:
        for name in names or [name for name in known if name != SLOWEST]:
            print(f"bench: {name} ...", file=sys.stderr, flush=True)
            for row in known[name]():
                print(line(row), flush=True)
                file.write(json.dumps(row) + "\n")
    return 0


def shards() -> list[Path]:
    """WARC shards to measure on."""
    for folder in (HOME.parent / "shared" / "data" / "crawl", HOME / "data" / "sample"):
        found = sorted(folder.glob("*.warc.gz"))
        if found:
            return found
    raise ExperimentError("there are no shards to measure on: run `make demo` once, which assembles the sample crawl")


def texts(of: list[Path]) -> pa.Array:
    """The extracted text of all pages of some shards, one after the other."""
    return pa.array([page.text for page in _pages(of)], pa.large_string())


def _pages(of: list[Path]) -> Iterator[Page]:
    for shard in of:
        yield from (row for row in read_shard(str(shard), ReadOptions(), ShardReport()) if isinstance(row, Page))


def benches(of: list[Path]) -> Mapping[str, Callable[[], list[dict[str, Any]]]]:
    """Every benchmark by name; none is run before it is called."""
    return {
        "read": lambda: bench_read.bench(of[:2]),
        "score": lambda: [*bench_job.rows(of[:2]), *bench_score.rows()],
        "fasttext": lambda: bench_fasttext.bench(texts(of[:1])),
        "train": bench_train.rows,
        "dolma": lambda: bench_dolma.rows(texts(of[:1]), bench_dolma.peer(HOME / ".venv-peers" / "dolma")),
        "datatrove": bench_datatrove.rows,
    }


def line(row: Mapping[str, Any]) -> str:
    """A row as a person reads it."""
    what = f"{row['bench']} {row.get('what', '')}".strip()
    goal = f"  goal {row['goal']}" if row.get("goal") is not None else ""
    mine = f"{what:<52} {row['ours']:>10} {row['unit']:<22}"
    return f"{mine} against {row['against']}: {row['theirs']}  ratio {row['ratio']}{goal}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
