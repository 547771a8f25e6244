"""Which lines of each part stand on how many sites, counted exactly by a shuffle of their hashes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as sql

from filters.draws import id_hashes
from filters.duplicates.lines import line_hashes, repeated_char_fraction
from filters.pages import PageBatch
from filters.split import site_hashes
from jobs.parts import storage
from jobs.parts.frames import frame, write_groups
from jobs.parts.table import Part

LINES = pa.schema([("part", pa.int64()), ("line", pa.int64()), ("site", pa.int64())])


def find_repeated(spark: SparkSession, pages: Sequence[Part], others: int, folder: Path) -> None:
    """Write, for each part that has lines of so many other sites, a file of those lines' hashes."""

    def write(number: int, rows: pa.Table) -> None:
        hashes = np.sort(rows["line"].to_numpy().view(np.uint64))
        storage.write_table(folder / f"{number}.parquet", pa.table({"line": hashes}))

    storage.remove_folder(folder)
    lines = frame(spark, pages, LINES, lines_of)
    by_line = lines.groupBy("line").agg(sql.count_distinct("site").alias("sites"), sql.collect_set("part").alias("parts"))
    repeated = by_line.where(sql.col("sites") > others).select("line", sql.explode("parts").alias("part"))
    write_groups(repeated, "part", write)


def lines_of(number: int, part: Part) -> Iterator[pa.RecordBatch]:
    """The different lines of each site of a part."""
    pairs = [np.zeros((0, 2), np.uint64)]
    for rows, pages in batches_of(part, ["id", "domain"]):
        sites = site_hashes(id_hashes(rows["id"]), rows["domain"])
        hashes = line_hashes(pages)
        both = np.stack([hashes, np.repeat(sites, pages.lines.count)], axis=1)
        pairs.append(np.unique(both[hashes != 0], axis=0))
    found = np.unique(np.concatenate(pairs), axis=0).view(np.int64)
    columns = [np.full(len(found), number), found[:, 0].copy(), found[:, 1].copy()]
    yield from pa.table(columns, schema=LINES).to_batches()


def batches_of(part: Part, columns: Sequence[str]) -> Iterator[tuple[pa.Table, PageBatch]]:
    """The pages of a part, a row group at a time, and columns of them."""
    file = storage.open_parquet(part.source)
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group, columns=[*columns, "text"]).combine_chunks()
        if len(rows):
            yield rows, PageBatch(rows["text"].chunk(0))


def fractions(part: Part, file: Path) -> npt.NDArray[np.float64]:
    """The share of repeated lines of each page of a part."""
    repeated = np.zeros(0, np.uint64)
    if storage.exists(file):
        repeated = storage.read_table(file)["line"].to_numpy()
    return np.concatenate([np.zeros(0), *(repeated_char_fraction(pages, repeated) for _, pages in batches_of(part, []))])
