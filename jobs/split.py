"""split: pages in, what is decided of each before any training out: held out, copy of a held-out page, fold.

    python -m jobs.split CONF [--set key=value ...] [--dry-run]

All of it follows from hashes of ids and sites, so each part decides alone; only copies are looked for across parts, by the
hash of their text.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as sql

from filters import split
from filters.draws import Hashes, id_hashes
from jobs.parts import command, loop, session, storage
from jobs.parts.experiment_file import Experiment, HeldOut, as_tree
from jobs.parts.frames import frame, write_groups
from jobs.parts.places import Places
from jobs.parts.table import Part, PartReport, Table, finished, parts_of, sidecar
from jobs.shards.sources import refuse_split_without_domains

SPLIT = pa.schema(
    [
        ("id", pa.string()),
        ("id_hash", pa.uint64()),
        ("held_out", pa.bool_()),
        ("copy_of_held_out", pa.bool_()),
        ("fold", pa.uint64()),
    ]
)
Truth = npt.NDArray[np.bool_]
TEXTS = pa.schema([("part", pa.int64()), ("text_hash", pa.int64()), ("held_out", pa.bool_())])


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Split what is not split yet."""
    places = Places(experiment.out)
    pages = parts_of(places.pages)
    table = split_table(experiment)
    if dry_run:
        print(loop.plan("split", pages, [table]))
        return command.OK
    how, told = experiment.evaluate.held_out, finished(places.pages)
    if how.share:
        refuse_split_without_domains(how.by, told["rows"], told["counts"].get("no_domain", 0))
    copies = table.path / ".copies"
    if loop.to_do("split", pages, [table]) and how.share and how.drop_copies:
        find_copies(session.session("split"), experiment, pages, copies)

    def work(part: Part, _: Sequence[Table], report: PartReport) -> Iterator[tuple[str, pa.RecordBatch]]:
        return split_part(part, experiment, copies, report)

    report = loop.run(lambda: session.session("split"), "split", pages, [table], work)[table.name]
    storage.remove_folder(copies)
    held_out, copied = report.counts.get("held_out", 0), report.counts.get("copies_of_held_out", 0)
    print(f"split: {report.rows:,} pages, {held_out:,} held out, {copied:,} copies of those")
    return command.OK


def split_table(experiment: Experiment) -> Table:
    """The table as this experiment's configuration makes it."""
    config = {"evaluate": {"held_out": _split_by(experiment.evaluate.held_out)}, "seed": experiment.seed}
    return Table(Places(experiment.out).split, config, SPLIT)


def _split_by(how: HeldOut) -> dict[str, Any]:
    """What of `held_out:` decides the split; the rest decides what is evaluated."""
    return {key: value for key, value in as_tree(how).items() if key in ("by", "share", "drop_copies")}


def split_part(part: Part, experiment: Experiment, copies: Path, report: PartReport) -> Iterator[tuple[str, pa.RecordBatch]]:
    """One part's rows."""
    rows = storage.read_table(part.source, ["id", "domain"])
    hashes = id_hashes(rows["id"])
    sites = split.site_hashes(hashes, rows["domain"])
    held_out = _held_out(hashes, sites, experiment)
    copied = np.zeros(len(rows), bool)
    found = copies / f"{part.name}.parquet"
    if storage.exists(found):
        texts = sidecar(Places(experiment.out).signals("size"), part, ["text_hash"])["text_hash"]
        copied = ~held_out & pc.is_in(texts, value_set=storage.read_table(found)["text_hash"].combine_chunks()).to_numpy()
    report.counts.update({"held_out": int(held_out.sum()), "copies_of_held_out": int(copied.sum())})
    # Pages are held out one by one where a site is too much of the crawl: a fold without it would be of another kind.
    alike = hashes if experiment.evaluate.held_out.by == "page" else sites
    columns = [rows["id"], hashes, held_out, copied, split.fold(alike, experiment.seed)]
    yield from (("split", batch) for batch in pa.table(columns, schema=SPLIT).to_batches())


def _held_out(hashes: Hashes, sites: Hashes, experiment: Experiment) -> Truth:
    how = experiment.evaluate.held_out
    return split.held_out(hashes, sites, how.by, how.share, experiment.seed)


def find_copies(spark: SparkSession, experiment: Experiment, pages: Sequence[Part], folder: Path) -> None:
    """Write, for each part that has pages with the very text of a held-out page, a file of those texts' hashes."""

    def texts(number: int, part: Part) -> Iterator[pa.RecordBatch]:
        rows = storage.read_table(part.source, ["id", "domain"])
        hashes = id_hashes(rows["id"])
        held_out = _held_out(hashes, split.site_hashes(hashes, rows["domain"]), experiment)
        found = sidecar(Places(experiment.out).signals("size"), part, ["text_hash"])["text_hash"]
        yield from pa.table([pa.array([number] * len(rows)), found, pa.array(held_out)], schema=TEXTS).to_batches()

    def write(number: int, rows: pa.Table) -> None:
        storage.write_table(folder / f"{pages[number].name}.parquet", rows.select(["text_hash"]))

    storage.remove_folder(folder)
    in_pool = sql.when(~sql.col("held_out"), sql.col("part"))
    by_text = frame(spark, pages, TEXTS, texts).groupBy("text_hash")
    shared = by_text.agg(sql.max("held_out").alias("held_out"), sql.collect_set(in_pool).alias("parts")).where("held_out")
    write_groups(shared.select("text_hash", sql.explode("parts").alias("part")), "part", write)


if __name__ == "__main__":
    command.main(main, __doc__)
