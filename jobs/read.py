"""read: shards of a crawl in, the pages table out.

    python -m jobs.read CONF [--set key=value ...] [--dry-run]
    spark-submit jobs/read.py CONF ...

One shard makes one part. A page that cannot be read is written to rejected/ with its reason; every other record is counted.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.parts import command, loop, session
from jobs.parts.experiment_file import Experiment, ExperimentError
from jobs.shards.extraction import ReadLimits
from jobs.shards.reader import read_shard
from jobs.shards.reasons import Page, ReadOptions, Rejected, ShardReport
from jobs.shards.sources import shards

PAGES = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("domain", pa.string()),
        ("crawled_at", pa.timestamp("us", tz="UTC")),
        ("text", pa.large_string()),
        ("html_bytes", pa.int64()),
        ("shard", pa.string()),
        ("shard_offset", pa.int64()),
    ]
)
REJECTED = pa.schema(
    [
        ("url", pa.string()),
        ("shard", pa.string()),
        ("shard_offset", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
BATCH_CHARACTERS = 3_000_000
"""Text in one row group: what a signal's page batch holds, so it bounds the memory of every later task."""
BATCH_PAGES = 8192


def check(experiment: Experiment) -> None:
    """Find what is wrong with `pages:` before anything is read. Raises ExperimentError."""
    shards(experiment.pages.from_, _options(experiment), "pages.from")


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Read what is not read yet. Returns 1 where a shard was damaged, after listing each with its offset and reason."""
    options = _options(experiment)
    found = {shard.name: shard for shard in shards(experiment.pages.from_, options, "pages.from")}
    named = [loop.Part(name, shard.location, shard.identity) for name, shard in found.items()]
    config = {"limits": options.limits, "extractor": f"{options.extract} {version(options.extract)}"}
    tables = [
        loop.Table(experiment.out / "pages", config, PAGES),
        loop.Table(experiment.out / "rejected", config, REJECTED),
    ]
    if dry_run:
        print(loop.plan("read", named, tables))
        return command.OK

    def work(part: loop.Part, _: Sequence[loop.Table], report: loop.PartReport) -> Iterator[tuple[str, pa.RecordBatch]]:
        return read_part(part, found[part.name].options, report, found[part.name].file)

    report = loop.run(lambda: session.session("read"), "read", named, tables, work)["pages"]
    code = tell(report)
    refuse_repeated_ids(tables[0].path)
    return code


def _options(experiment: Experiment) -> ReadOptions:
    pages = experiment.pages
    known = {limit.name for limit in dataclasses.fields(ReadLimits)}
    for limit in pages.limits:
        if limit not in known:
            raise ExperimentError(f"unknown key 'pages.limits.{limit}': known: {', '.join(sorted(known))}")
    if pages.extract not in ("resiliparse", "trafilatura", "justext"):
        raise ExperimentError(f"pages.extract must be resiliparse, trafilatura or justext, got {pages.extract!r}")
    return ReadOptions(extract=pages.extract, limits=ReadLimits(**pages.limits))  # type: ignore[arg-type]


def read_part(
    part: loop.Part, options: ReadOptions, report: loop.PartReport, file: str | None = None
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """One shard as record batches of pages and of rejected pages. Every record is one or the other or counted.

    `file` is the shard's name in the tables, which the slices of a large one share; None: its file name.
    """
    shard = ShardReport()
    pages: list[Page] = []
    rejected: list[Rejected] = []
    characters = 0
    for row in read_shard(part.source, options, shard, file):
        if isinstance(row, Rejected):
            rejected.append(row)
            continue
        pages.append(row)
        characters += len(row.text)
        if characters >= BATCH_CHARACTERS or len(pages) >= BATCH_PAGES:
            yield "pages", _batch(pages, PAGES)
            pages, characters = [], 0
    if pages:
        yield "pages", _batch(pages, PAGES)
    if rejected:
        yield "rejected", _batch(rejected, REJECTED)
    if not shard.balanced():
        raise command.InvariantBroken(f"the records of {part.name} do not add up: {dict(shard.counts)}")
    report.counts.update(shard.counts)
    report.damaged += [damage._asdict() for damage in shard.damages]


def _batch(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.record_batch([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)


def refuse_repeated_ids(pages: Path) -> None:
    """Raise InvariantBroken where two shards hold a page of the same id: sidecars and samples go by id.

    The table then counts as unfinished, so that no later job takes it.
    """
    ids = pa.concat_tables([pq.read_table(part.source, columns=["id", "shard"]) for part in loop.parts_of(pages)])
    if pc.count_distinct(ids["id"]).as_py() == len(ids):
        return
    counted = ids.group_by("id").aggregate([("shard", "count"), ("shard", "min"), ("shard", "max")])
    (pages / loop.MANIFEST).unlink()
    first = counted.filter(pc.greater(counted["shard_count"], 1)).sort_by("id").slice(0, 1).to_pylist()[0]
    raise command.InvariantBroken(
        f"the page id {first['id']} is in {first['shard_min']} and in {first['shard_max']}: take one of the shards out of "
        "pages.from (the WARC and the WET of the same pages are the same pages), or, where ids restart in every file, give "
        "{parquet: PATTERN, id: {column: id, per: shard}} (or id: none, to know pages by their place)"
    )


def tell(report: loop.StageReport) -> int:
    """Print what was read and what was not; 1 where a shard was damaged."""
    counts = dict(report.counts)
    records = counts.pop("records", report.rows)
    counts.pop("pages", None)
    print(f"read: {report.rows:,} pages of {records:,} records")
    for reason, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"  {count:>9,}  {reason}")
    for damage in report.damaged:
        print(f"  damaged: {damage['part']} at byte {damage['offset']:,}: {damage['reason']} ({damage['detail']})")
    return command.DAMAGED if report.damaged else command.OK


if __name__ == "__main__":
    command.main(main, __doc__)
