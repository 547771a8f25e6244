"""What the score job costs around its kernels: a part from Parquet to Parquet, beside the same groups called in process."""

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from filters.pages import PageBatch
from filters.signals import configure, load_groups
from jobs.bench.processes import ticks
from jobs.parts import loop
from jobs.parts.table import Part, PartReport, Table
from jobs.read import PAGES, read_part
from jobs.score import Measures, score_part
from jobs.shards.reader import ReadOptions

GOAL = 0.7  # of the rate of the kernels alone
GROUPS = ("gopher", "repetition", "c4", "fineweb")


def rows(shards: list[Path], rounds: int = 5) -> list[dict[str, Any]]:
    """The row of `score.job`: MB of text per processor second, medians of `rounds` turns."""
    known = load_groups("filters", "classifiers")
    groups = {name: configure(name, {}, known) for name in GROUPS}
    with tempfile.TemporaryDirectory() as name:
        pages = [_page_part(Path(name), shard) for shard in shards]
        batches = [batch for part in pages for batch in _batches(part.source)]
        megabytes = sum(len(text) for ids, batch in batches for text in batch.cast(pa.large_binary()).to_pylist()) / 1e6

        def ours() -> None:
            _score(Path(name), pages, Measures(groups, None))

        def kernels() -> None:
            for ids, text in batches:
                batch = PageBatch(text)
                for group in groups.values():
                    group.measure(ids, batch)

        sides: list[Callable[[], None]] = [ours, kernels]
        for side in sides:  # the first call compiles, or loads what was compiled
            side()
        rates = [[megabytes / _seconds(side) for side in sides] for _ in range(rounds)]
    columns = list(zip(*rates, strict=True))
    medians = [statistics.median(column) for column in columns]
    return [
        {
            "bench": "score.job",
            "what": " + ".join(GROUPS),
            "ours": round(medians[0], 1),
            "unit": "MB/s per core",
            "against": "the same groups in process",
            "theirs": round(medians[1], 1),
            "ratio": round(medians[0] / medians[1], 2),
            "spread": {
                whose: [round(min(column), 1), round(max(column), 1)]
                for whose, column in zip(("ours", "theirs"), columns, strict=True)
            },
            "goal": GOAL,
        }
    ]


def _page_part(folder: Path, shard: Path) -> Part:
    """A shard as a part of a pages table."""
    table = Table(folder / "pages", {"made": "to measure"}, PAGES)
    table.path.mkdir(exist_ok=True)

    size = configure("size", {}, load_groups("filters"))

    def work(part: Part, _: Any, report: PartReport) -> Iterator[tuple[str, pa.RecordBatch]]:
        return (row for row in read_part(part, ReadOptions(), report, size) if row[0] == "pages")

    part = Part(shard.name, str(shard), "")
    failure = loop.write_part(part, [table], work).failure
    if failure:
        raise RuntimeError(f"{shard} could not be read: {failure}")
    return Part(shard.name, str(table.file(part)), "")


def _batches(file: str) -> list[tuple[pa.Array, pa.Array]]:
    opened = pq.ParquetFile(file)
    groups = [opened.read_row_group(k, columns=["id", "text"]).combine_chunks() for k in range(opened.num_row_groups)]
    return [(rows["id"].chunk(0), rows["text"].chunk(0)) for rows in groups]


def _score(folder: Path, pages: list[Part], measures: Measures) -> None:

    def work(part: Part, missing: Sequence[Table], report: PartReport) -> Iterator[tuple[str, pa.RecordBatch]]:
        return score_part(part, {table.name for table in missing}, measures, report)

    with tempfile.TemporaryDirectory(dir=folder) as out:
        tables = [Table(Path(out) / name, {}, group.schema) for name, group in measures.groups.items()]
        for table in tables:
            table.path.mkdir()
        for part in pages:
            loop.write_part(part, tables, work)


def _seconds(side: Callable[[], None]) -> float:
    begun = _processor_seconds()
    side()
    return _processor_seconds() - begun


def _processor_seconds() -> float:
    """Of this process and all below it."""
    return sum(ticks(os.getpid()).values()) / os.sysconf("SC_CLK_TCK")
