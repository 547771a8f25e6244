"""read: shards of a crawl in, the pages table out.

    python -m jobs.read CONF [--set key=value ...] [--dry-run]
    spark-submit jobs/read.py CONF ...

One shard makes one part. A page that cannot be read is written to rejected/ with its reason; every other record is counted.
"""

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from pyspark.sql import SparkSession
from pyspark.sql import functions as sql

from filters.pages import PageBatch
from filters.signals import Group, configure, load_groups
from jobs.parts import command, contents, loop, reuse, selection, session, storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.frames import frame
from jobs.parts.places import Places
from jobs.parts.refusals import InvariantBroken
from jobs.parts.table import MANIFEST, Part, PartReport, StageReport, Table, identity_of, parts_of
from jobs.shards import balance
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
HASHES = pa.schema([("high", pa.int64()), ("low", pa.int64()), ("part", pa.int64())])
READER = 4
"""Changes whenever the same shard gives other pages or other text."""
UNIQUE = "_unique.json"
"""Says of which pages it was found that no id is there twice."""
BATCH_CHARACTERS = 3_000_000
"""Text in one row group: what a signal's page batch holds, so it bounds the memory of every later task."""
BATCH_PAGES = 8192


def check(experiment: Experiment) -> None:
    """Find what is wrong with `pages:` before anything is read. Raises ExperimentError."""
    shards(experiment.pages.from_, _options(experiment), "pages.from")
    selection.check(experiment, _options(experiment))


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Read what is not read yet. Returns 1 where a shard was damaged, after listing each with its offset and reason."""
    options = _options(experiment)
    found = {shard.name: shard for shard in shards(experiment.pages.from_, options, "pages.from")}
    if not dry_run:
        selection.select(experiment)
    chosen = {one.name: one for one in selection.parts(experiment, options)}
    seen = contents.times([*found.values()])
    named = contents.parts([*found.values()], Places(experiment.out).pages)
    named += [Part(name, one.location, one.identity) for name, one in chosen.items()]
    extractor = f"{options.extract} {version(options.extract)}"
    config = {"reader": READER, "pages": {"limits": options.limits, "extract": extractor}}
    places, size = Places(experiment.out), configure("size", {}, load_groups("filters"))
    tables = [
        Table(places.pages, config, PAGES),
        Table(places.rejected, config, REJECTED),
        Table(places.signals("size"), config, size.schema),
    ]
    if dry_run:
        for one in selection.pending(experiment):
            print(f"read: rows of {one} are to be selected first, which says how many parts they are")
        print(loop.plan("read", named, tables))
        return command.OK

    def work(part: Part, _: Sequence[Table], report: PartReport) -> Iterator[tuple[str, pa.RecordBatch]]:
        shard = chosen.get(part.name) or found[part.name]
        return read_part(part, shard.options, report, size, shard.file)

    report = loop.run(lambda: session.session("read"), "read", named, tables, work)["pages"]
    contents.note(experiment.out, [*found.values()], seen, {part.name: part.origin for part in parts_of(places.pages)})
    code = tell(report)
    refuse_repeated_ids(tables[0].path)
    return code


def _options(experiment: Experiment) -> ReadOptions:
    pages = experiment.pages
    return ReadOptions(extract=pages.extract, limits=ReadLimits(**dict(pages.limits)))


def read_part(
    part: Part, options: ReadOptions, report: PartReport, size: Group, file: str | None = None
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """One shard as record batches of pages and of rejected pages. Every record is one or the other or counted.

    `size` measures pages while their text is at hand. `file` is the shard's name in the tables, which the slices of a large
    one share; None: its file name.
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
            yield from _pages(pages, size)
            pages, characters = [], 0
    if pages:
        yield from _pages(pages, size)
    if rejected:
        yield "rejected", _batch(rejected, REJECTED)
    if not shard.balanced():
        raise InvariantBroken(f"the records of {part.name} do not add up: {dict(shard.counts)}, {dict(shard.bytes)}")
    report.counts.update(shard.counts)
    report.counts.update({name: count for name, count in shard.bytes.items() if count})
    report.damaged += [damage._asdict() for damage in shard.damages]


def _pages(rows: Sequence[Page], size: Group) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Pages and, because the text is at hand, their sizes."""
    batch = _batch(rows, PAGES)
    yield "pages", batch
    yield "size", size.measure(batch["id"], PageBatch(batch["text"], batch["url"]))


def _batch(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.record_batch([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)


def refuse_repeated_ids(pages: Path) -> None:
    """Raise InvariantBroken where two shards hold a page of the same id: sidecars and samples go by id.

    Ids are compared by 128-bit hashes, and only the ids behind equal ones are looked at. A table with such ids counts as
    unfinished, so that no later job takes it; one that was found sound is not looked at again.
    """
    checked, identity = pages / UNIQUE, identity_of(pages)
    if any(storage.exists(file) and storage.read_json(file)["pages"] == identity for file in reuse.counterparts(checked)):
        return
    parts = parts_of(pages)
    twice = repeated(session.session("read"), parts)
    if not twice:
        storage.write_json(checked, {"pages": identity})
        return
    storage.remove(pages / MANIFEST)
    page, first, last = twice
    raise InvariantBroken(
        f"the page id {page} is in {first} and in {last}: take one of the shards out of "
        "pages.from (the WARC and the WET of the same pages are the same pages), or, where ids restart in every file, give "
        "{parquet: PATTERN, id: {column: id, per: shard}} (or id: none, to know pages by their place)"
    )


def repeated(spark: SparkSession, parts: Sequence[Part]) -> tuple[str, str, str] | None:
    """An id that is there more than once, and the shards it is in; None where there is none. Raises nothing."""

    def hashes(number: int, part: Part) -> Iterator[pa.RecordBatch]:
        ids = storage.read_table(part.source, ["id"])["id"].to_pylist()
        digests = np.frombuffer(b"".join(xxhash.xxh3_128_digest(page.encode()) for page in ids), ">i8").reshape(-1, 2)
        halves = np.ascontiguousarray(digests.T, np.int64)
        yield pa.record_batch([*halves, pa.array([number] * len(ids), pa.int64())], schema=HASHES)

    by_hash = frame(spark, parts, HASHES, hashes).groupBy("high", "low")
    found = by_hash.agg(sql.count("part").alias("pages"), sql.min("part").alias("first"), sql.max("part").alias("last"))
    rows = session.received(found.where("pages > 1").orderBy("first", "last", "high", "low").limit(1).collect())
    if not rows:
        return None
    [row] = rows
    wanted = row["high"].to_bytes(8, "big", signed=True) + row["low"].to_bytes(8, "big", signed=True)
    first, last = parts[row["first"]], parts[row["last"]]
    ids = storage.read_table(first.source, ["id"])["id"].to_pylist()
    return next(page for page in ids if xxhash.xxh3_128_digest(page.encode()) == wanted), first.name, last.name


def tell(report: StageReport) -> int:
    """Print what was read and what was not; 1 where a shard was damaged."""
    counts = dict(report.counts)
    records = counts.pop("records", report.rows)
    counts.pop("pages", None)
    print(f"read: {report.rows:,} pages of {records:,} records")
    for reason, count in sorted(counts.items(), key=lambda item: -item[1]):
        if not balance.is_balance(reason):
            print(f"  {count:>9,}  {reason}")
    for line in balance.told(counts):
        print(f"  of {line}")
    for damage in report.damaged:
        print(f"  damaged: {damage['part']} at byte {damage['offset']:,}: {damage['reason']} ({damage['detail']})")
    return command.DAMAGED if report.damaged else command.OK


if __name__ == "__main__":
    command.main(main, __doc__, check=check)
