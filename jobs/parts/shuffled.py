"""Pages of subsets in one random order over all shards, in files of a wanted size: text is read once and spilled once.

A page's place is a draw from its id, so it is the same whatever the shards, the workers and the other pages; a level's files
are those of a larger one without the pages that it lacks. Places are dealt into as many buckets as the largest level needs
files. Each part writes its pages by bucket into one file, whose batches can be read one by one; then each bucket is read
from all of them, sorted, and written to every level.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.draws import Hashes, draw
from jobs.parts import storage
from jobs.parts.experiment_file import config_hash
from jobs.parts.table import Part, PartReport, Table

BATCH_ROWS = 1024
"""Rows that are written at once."""
Reads = npt.NDArray[Any]
"""How often each page is read, as truth or numbers; shape (pages,)."""
Groups = Iterable[tuple[npt.NDArray[np.int64], pa.Table]]
"""Pages some at a time, and where they stand in their part."""


def _indexed(file: Path, batches: Iterable[tuple[int, pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    """The batches; at their end, before their file gets its name, which bucket each is of is written beside it."""
    buckets = []
    for bucket, batch in batches:
        buckets.append(bucket)
        yield batch
    storage.write_table(_index(file), pa.table({"bucket": pa.array(buckets, pa.int64())}))


@dataclass(frozen=True)
class Buckets:
    """How places are dealt out, and the folder in which parts leave their pages by bucket. It travels to the workers."""

    folder: Path
    number: int
    seed: int
    levels: tuple[str, ...]

    def places(self, id_hashes: Hashes, copy: int) -> Hashes:
        """Where a copy of each page stands among all pages; shape (pages,)."""
        return draw(id_hashes, self.seed, f"shuffle {copy}" if copy else "shuffle")

    def of(self, places: Hashes) -> npt.NDArray[np.int64]:
        """The bucket of each place: all buckets hold about as many pages, in order; shape (pages,)."""
        return ((places >> np.uint64(32)) * np.uint64(self.number) >> np.uint64(32)).astype(np.int64)

    def parts(self, identity: Any) -> list[Part]:
        """The buckets as parts of a table; `identity` is what decides their content."""
        return [Part(f"{at:05}", "", f"bucket {at} of {self.number}, {config_hash(identity)}") for at in range(self.number)]

    def spill(self, part: Part, kept: Mapping[str, Reads], id_hashes: Hashes, groups: Groups) -> int:
        """Write a part's pages by bucket; `kept` says how often each level reads each page. How many rows that were.

        A file that is there is whole, and is left as it is.
        """
        file = self.folder / f"{part.name}.arrow"
        if storage.exists(file):
            return 0
        batches = self._batches(kept, id_hashes, groups)
        first = next(batches, None)
        if first is None:
            return 0
        return storage.write_batches(file, first[1].schema, _indexed(file, chain([first], batches)))

    def _batches(self, kept: Mapping[str, Reads], id_hashes: Hashes, groups: Groups) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The pages of each row group by bucket, with their places and which levels have them."""
        for where, rows in groups:
            reads = {name: some[where].astype(np.int64) for name, some in kept.items()}
            for copy in range(max(int(some.max(initial=0)) for some in reads.values())):
                has = {name: some > copy for name, some in reads.items()}
                wanted, places = np.logical_or.reduce(list(has.values())), self.places(id_hashes[where], copy)
                placed = rows.append_column("place", pa.array(places))
                for name in self.levels:
                    placed = placed.append_column(f"subset {name}", pa.array(has[name]))
                buckets = self.of(places)
                for bucket in np.unique(buckets[wanted]).tolist():
                    taken = placed.filter(pa.array(wanted & (buckets == bucket))).combine_chunks()
                    yield from ((bucket, batch) for batch in taken.to_batches())

    def work(self, part: Part, missing: Sequence[Table], report: PartReport) -> Iterator[tuple[str, pa.RecordBatch]]:
        """One bucket from all files, in the order of the places, to every level."""
        bucket = int(part.name)
        tables = [one for file in sorted(self.folder.glob("*.arrow")) for one in self._of_file(file, bucket)]
        if not tables:
            return
        rows = pa.concat_tables(tables)
        rows = rows.take(pc.sort_indices(rows, [("place", "ascending"), ("id", "ascending")]))
        for table in missing:
            taken = rows.filter(rows[f"subset {table.name}"]).select(table.schema.names)
            for batch in taken.to_batches(BATCH_ROWS):
                yield table.name, batch.cast(table.schema)

    def _of_file(self, file: Path, bucket: int) -> Iterator[pa.Table]:
        index = storage.read_table(_index(file))["bucket"].to_numpy()
        for at in np.flatnonzero(index == bucket).tolist():
            yield from storage.read_batches(file, slice(at, at + 1))


def _index(file: Path) -> Path:
    """Which bucket each batch of a part's file is of."""
    return file.with_suffix(".parquet")
