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
from filters.pages import PageBatch
from filters.split import site_hashes
from jobs.parts import storage
from jobs.parts.frames import frame, write_groups
from jobs.parts.session import stand_in
from jobs.parts.table import Part

Integers = npt.NDArray[np.int64]
REPEATED = pa.schema([("part", pa.int64()), ("line", pa.int64())])
LINES = pa.schema([("part", pa.int64()), ("line", pa.int64()), ("site", pa.int64())])


def find_repeated(spark: SparkSession, pages: Sequence[Part], others: int, folder: Path) -> None:
    """Write, for each part that has lines of so many other sites, a file of those lines' hashes."""

    def write(number: int, rows: pa.Table) -> None:
        hashes = np.sort(rows["line"].to_numpy().view(np.uint64))
        storage.write_table(folder / f"{number}.parquet", pa.table({"line": hashes}))

    storage.remove_folder(folder)
    here = Path.cwd()

    def apply(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stand_in(here)
        yield from repeated_rows(rows, others)

    lines = frame(spark, pages, LINES, lines_of).repartition("line")
    write_groups(lines.mapInArrow(apply, from_arrow_schema(REPEATED)), "part", write)


def repeated_rows(rows: Iterator[pa.RecordBatch], others: int) -> Iterator[pa.RecordBatch]:
    """(part, line) of the lines on more sites than so many others, of a partition that holds all rows of a line."""
    table = pa.Table.from_batches(list(rows), LINES)
    line, site, part = (table[name].to_numpy() for name in ("line", "site", "part"))
    sites = different(line, site)
    lines, counts = np.unique(line[sites], return_counts=True)
    wanted = np.isin(line, lines[counts > others])
    line, part = line[wanted], part[wanted]
    once = different(part, line)
    yield from pa.table([part[once], line[once]], schema=REPEATED).to_batches()


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


def fractions(part: Part, file: Path) -> npt.NDArray[np.float64]:
    """The share of repeated lines of each page of a part."""
    repeated = np.zeros(0, np.uint64)
    if storage.exists(file):
        repeated = storage.read_table(file)["line"].to_numpy()
    return np.concatenate([np.zeros(0), *(repeated_char_fraction(pages, repeated) for _, pages in batches_of(part, []))])
