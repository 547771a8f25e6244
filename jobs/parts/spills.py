"""Rows on their way between shuffles, kept as files: what was written is counted, and counted again when it is read.

A lost block of a cached DataFrame is made again or, worse, is not; a file is there or the job stops. Each partition becomes
one Parquet file, written by its Python worker through our storage, so that no Hadoop file system is needed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession

from filters.draws import mix
from jobs.parts import storage
from jobs.parts.frames import frame
from jobs.parts.refusals import InvariantBroken
from jobs.parts.session import received, stand_in, whereabouts
from jobs.parts.table import Part

DONE = "_spilled.json"
TOLD = ("name", "rows", "one", "other")
Told = tuple[str, int, int, int]
"""Of a file: its name, its rows, and their two sums."""


@dataclass(frozen=True)
class Spilled:
    """Files of one schema: (name, rows) of each, and two sums that tell the set of rows from another one."""

    folder: Path
    schema: pa.Schema
    files: tuple[tuple[str, int], ...]
    sums: tuple[int, int]

    @property
    def rows(self) -> int:
        """In all files."""
        return sum(rows for _, rows in self.files)

    def parts(self) -> list[Part]:
        """The files, as input of a map; `origin` says how many rows each has."""
        return [Part(name, str(self.folder / name), "", str(rows)) for name, rows in self.files]

    def frame(self, spark: SparkSession) -> DataFrame:
        """The rows as a DataFrame."""
        return frame(spark, self.parts(), self.schema, lambda _, part: batches(part))


def batches(part: Part) -> Iterator[pa.RecordBatch]:
    """The rows of one file. Raises InvariantBroken where it has not as many as were written."""
    rows = 0
    for batch in storage.open_parquet(part.source).iter_batches():
        rows += len(batch)
        yield batch
    if rows != int(part.origin):
        raise InvariantBroken(f"{part.source} has {rows:,} rows where {part.origin} were written: run the job again")


def spill(of: DataFrame, schema: pa.Schema, folder: Path) -> Spilled:
    """Write a DataFrame; where the folder is there and whole, it is taken as it is."""
    whole = _whole(folder, schema)
    if whole:
        return whole
    storage.remove_folder(folder)
    here = whereabouts()

    def write(some: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stand_in(here)
        told = _written(some, schema, folder, f"{TaskContext.get().partitionId():06}.parquet")
        yield pa.RecordBatch.from_pydict({name: [value] for name, value in zip(TOLD, told, strict=True)})

    written = received(of.mapInArrow(write, "name string, rows bigint, one bigint, other bigint").collect())
    return _done([tuple(row) for row in written], schema, folder)


def spill_from_one_task(
    spark: SparkSession, rows: Callable[[], Iterator[pa.RecordBatch]], schema: pa.Schema, folder: Path
) -> Spilled:
    """Write the rows that one task makes; where the folder is there and whole, it is taken as it is."""
    whole = _whole(folder, schema)
    if whole:
        return whole
    storage.remove_folder(folder)
    here = whereabouts()

    def task(_: int) -> Told:
        stand_in(here)
        return _written(rows(), schema, folder, "000000.parquet")

    return _done(received(spark.sparkContext.parallelize([0], 1).map(task).collect()), schema, folder)


def _whole(folder: Path, schema: pa.Schema) -> Spilled | None:
    if not storage.exists(folder / DONE):
        return None
    told = storage.read_json(folder / DONE)
    return Spilled(folder, schema, tuple((name, rows) for name, rows in told["files"]), tuple(told["sums"]))


def _done(written: Sequence[Told], schema: pa.Schema, folder: Path) -> Spilled:
    """The files that were written, and a note that they are all there."""
    files = sorted((name, rows) for name, rows, *_ in written if rows)
    sums = (sum(one for *_, one, _ in written) % 2**63, sum(other for *_, other in written) % 2**63)
    storage.write_json(folder / DONE, {"files": files, "sums": sums})
    return Spilled(folder, schema, tuple(files), sums)


def _written(some: Iterator[pa.RecordBatch], schema: pa.Schema, folder: Path, name: str) -> Told:
    """Write the rows of one task; the file's name, how many they are, and their sums."""
    rows, one, other = 0, 0, 0
    with storage.written(folder / name) as sink, pq.ParquetWriter(sink, schema, compression="zstd") as file:
        for batch in some:
            batch = batch.cast(schema)
            file.write_batch(batch)
            rows += len(batch)
            sums = row_sums(batch)
            one, other = (one + sums[0]) % 2**63, (other + sums[1]) % 2**63
    return name, rows, one, other


def row_sums(batch: pa.RecordBatch) -> tuple[int, int]:
    """Two sums over the hashes of rows of whole numbers, whatever their order; 0 of a column that holds others."""
    hashes = np.zeros(len(batch), np.uint64)
    for column in batch.columns:
        if pa.types.is_integer(column.type):
            hashes = mix(hashes + np.asarray(column.fill_null(0)).astype(np.int64).view(np.uint64) + np.uint64(1))
    with np.errstate(over="ignore"):
        return int(hashes.sum()), int(mix(hashes ^ np.uint64(0x9E3779B97F4A7C15)).sum())
