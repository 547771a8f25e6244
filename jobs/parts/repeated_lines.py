"""Which lines of each part stand on how many sites, counted exactly by a shuffle of their hashes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from filters.draws import id_hashes
from filters.duplicates.lines import line_hashes, repeated_char_fraction
from filters.kernels.text import Hashes
from filters.pages import PageBatch
from filters.split import site_hashes
from jobs.parts import storage
from jobs.parts.frames import frame, write_groups
from jobs.parts.session import stand_in, whereabouts
from jobs.parts.table import Part, sidecar

Integers = npt.NDArray[np.int64]
REPEATED = pa.schema([("line", pa.uint64()), ("other_domains", pa.int64())])
"""The lines of a part that stand on so many domains beside its own, by their hash, ascending."""
FOUND = pa.schema([("part", pa.int64()), ("line", pa.int64()), ("other_domains", pa.int64())])
DONE = "_found.json"
LINES = pa.schema([("part", pa.int64()), ("line", pa.int64()), ("site", pa.int64())])


def find_repeated(spark: SparkSession, pages: Sequence[Part], others: int, folder: Path) -> None:
    """Write, for each part that has lines of so many other sites, a file of those lines; what a killed job found stays."""

    def write(number: int, rows: pa.Table) -> None:
        hashes = rows["line"].to_numpy().view(np.uint64)
        order = np.argsort(hashes)
        table = pa.table([hashes[order], rows["other_domains"].to_numpy()[order]], schema=REPEATED)
        storage.write_table(folder / f"{number}.parquet", table)

    if storage.exists(folder / DONE):
        return
    storage.remove_folder(folder)
    here = whereabouts()

    def apply(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stand_in(here)
        yield from repeated_rows(rows, others)

    lines = frame(spark, pages, LINES, lines_of).repartition("line")
    parts = write_groups(lines.mapInArrow(apply, from_arrow_schema(FOUND)), "part", write)
    storage.write_json(folder / DONE, {"parts": parts})


def repeated_rows(rows: Iterator[pa.RecordBatch], others: int) -> Iterator[pa.RecordBatch]:
    """Rows of FOUND of the lines on so many other sites, of a partition that holds all rows of a line."""
    table = pa.Table.from_batches(list(rows), LINES)
    line, site, part = (table[name].to_numpy() for name in ("line", "site", "part"))
    sites = different(line, site)
    lines, counts = np.unique(line[sites], return_counts=True)
    wanted = np.isin(line, lines[counts > others])
    line, part = line[wanted], part[wanted]
    once = different(part, line)
    beside = counts[np.searchsorted(lines, line[once])] - 1
    yield from pa.table([part[once], line[once], beside], schema=FOUND).to_batches()


def different(one: Integers, other: Integers) -> Integers:
    """Where each different pair stands first in the order of pairs."""
    order: Integers = np.lexsort((other, one))
    one, other = one[order], other[order]
    first = np.append(True, (one[1:] != one[:-1]) | (other[1:] != other[:-1]))[: len(one)]
    placed: Integers = order[first]
    return placed


def lines_of(number: int, part: Part) -> Iterator[pa.RecordBatch]:
    """The different lines of each site of a part."""
    nothing = np.zeros(0, np.uint64)
    lines, owners = [nothing], [nothing]
    for rows, pages in batches_of(part, ["id", "domain"]):
        hashes = line_hashes(pages)
        sites = np.repeat(site_hashes(id_hashes(rows["id"]), rows["domain"]), pages.lines.count)
        once = different(hashes.view(np.int64), sites.view(np.int64))
        once = once[hashes[once] != 0]
        lines.append(hashes[once])
        owners.append(sites[once])
    line, site = (np.concatenate(some).view(np.int64) for some in (lines, owners))
    once = different(line, site)
    yield from pa.table([np.full(len(once), number), line[once], site[once]], schema=LINES).to_batches()


def batches_of(part: Part, columns: Sequence[str]) -> Iterator[tuple[pa.Table, PageBatch]]:
    """The pages of a part, a row group at a time, and columns of them."""
    file = storage.open_parquet(part.source)
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group, columns=[*columns, "text"]).combine_chunks()
        if len(rows):
            yield rows, PageBatch(rows["text"].chunk(0))


def found_in(folder: Path, number: int) -> pa.Table:
    """What `find_repeated` has found of a part: rows of REPEATED."""
    file = folder / f"{number}.parquet"
    return storage.read_table(file) if storage.exists(file) else REPEATED.empty_table()


def fractions(part: Part, repeated: Hashes) -> npt.NDArray[np.float64]:
    """The share of repeated lines, given by ascending hashes, of each page of a part."""
    return np.concatenate([np.zeros(0), *(repeated_char_fraction(pages, repeated) for _, pages in batches_of(part, []))])


def seen_on(table: Path, part: Part, domains: int) -> Hashes:
    """The lines of a part that stand on so many other domains, from the table of REPEATED; ascending hashes."""
    rows = sidecar(table, part, REPEATED.names)
    lines: Hashes = rows["line"].to_numpy()[rows["other_domains"].to_numpy() >= domains]
    return lines
