"""Pairs of so few pages that one task finds and verifies them all: the same pairs as those of `jobs.parts.pairs`.

Columns of all pages and one band of theirs are in memory at a time; shingles lie in a temporary file, which is mapped.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from filters.duplicates.buckets import BandRows, in_order, link_ordered, sketches
from filters.duplicates.shingles import fill_jaccards
from filters.pages import PageBatch
from jobs.parts import pairs, storage
from jobs.parts.pairs import EDGES, HELD_OUT, TEXTS, Finding, keyed_pages, originals
from jobs.parts.spills import Spilled, spill_from_one_task

Integers = npt.NDArray[np.int64]
Truth = npt.NDArray[np.bool_]
MOST = 4_000_000
"""Rows of bands that one task takes."""


def find(spark: SparkSession, finding: Finding, pages: int, most: int = MOST) -> Spilled:
    """All verified pairs; `pages` is how many pages there are."""
    if pages * finding.bands > most:
        return pairs.find(spark, finding, pages)
    return spill_from_one_task(spark, lambda: pairs_of_few(finding), EDGES, finding.folder / "edges")


def pairs_of_few(finding: Finding) -> Iterator[pa.RecordBatch]:
    """All verified pairs, rows of EDGES."""
    rows = (batch for number, part in enumerate(finding.parts) for batch in keyed_pages(finding, number, part))
    texts = pa.Table.from_batches(list(originals(rows)), TEXTS)
    texts = texts.filter(pc.greater(pc.binary_length(texts["bands"]), 0))
    texts = texts.sort_by("page").combine_chunks()
    left, right = _alike_in_a_band(texts, finding)
    pages, original = texts["page"].to_numpy(), texts["original"].to_numpy()
    copies = np.flatnonzero(original != pages)
    left = np.concatenate([left, np.searchsorted(pages, original[copies])])
    right = np.concatenate([right, copies])
    exact = np.arange(len(left)) >= len(left) - len(copies)
    yield from _verified(finding, texts, left, right, exact)


def _alike_in_a_band(texts: pa.Table, finding: Finding) -> tuple[Integers, Integers]:
    """Rows of pages to compare: two arrays of one length, no pair twice."""
    some = np.flatnonzero(texts["page"].to_numpy() == texts["original"].to_numpy())
    texts = texts.take(pa.array(some))
    keys = np.frombuffer(b"".join(texts["bands"].to_pylist()), np.uint64).reshape(-1, finding.bands)
    scopes, orders, hashes = (texts[name].to_numpy().view(np.uint64) for name in ("scope", "order", "hash"))
    held_out, pages = texts["side"].to_numpy() == HELD_OUT, texts["page"].to_numpy()
    rows = BandRows(hashes, held_out, scopes, orders, sketches(keys), hashes, pages)
    order = in_order(rows)
    some, keys, rows, found = some[order], keys[order], rows.take(order), np.zeros(0, np.int64)
    for band in range(finding.bands):
        left, right = link_ordered(replace(rows, keys=np.ascontiguousarray(keys[:, band])))
        wanted = np.minimum(rows.pages[left], rows.pages[right]) < finding.ours
        found = np.sort(np.concatenate([found, left[wanted] * len(some) + right[wanted]]))
        found = found[np.append(True, found[1:] != found[:-1])[: len(found)]]
    return some[found // max(len(some), 1)], some[found % max(len(some), 1)]


@dataclass
class Sets:
    """The shingles of some pages in a file, one set after the other, with where each begins, and the pages' ids."""

    file: IO[bytes]
    bounds: list[int] = field(default_factory=lambda: [0])
    ids: list[pa.ChunkedArray] = field(default_factory=list)

    def put(self, finding: Finding, group: pa.Table, rows: Integers, compared: Truth) -> None:
        """Append pages of a row group; without shingles where they are not to be compared."""
        batch = PageBatch(group["text"].chunk(0))
        taken = iter(finding.shingling.sets(batch.data, batch.offsets, rows[compared]))
        for wanted in compared.tolist():
            size = self.file.write(next(taken).data) // 8 if wanted else 0
            self.bounds.append(self.bounds[-1] + size)
        self.ids.append(group["id"].take(pa.array(rows)))

    def jaccards(self, left: Integers, right: Integers) -> npt.NDArray[np.float64]:
        """How alike pairs of them are."""
        self.file.flush()
        found = np.zeros(len(left))
        if self.bounds[-1]:
            values = np.memmap(self.file, np.uint64, "r")
            fill_jaccards(values, np.array(self.bounds), left, right, found)
        return found


def _verified(finding: Finding, texts: pa.Table, left: Integers, right: Integers, exact: Truth) -> Iterator[pa.RecordBatch]:
    """Rows of EDGES of the pairs that are alike enough; `exact` are those of one text."""
    wanted, ends = np.unique(np.concatenate([left, right]), return_inverse=True)
    left, right = np.split(ends.astype(np.int64), 2)
    compared = np.zeros(len(wanted), bool)
    compared[left[~exact]] = compared[right[~exact]] = True
    texts = texts.take(pa.array(wanted))
    pages = texts["page"].to_numpy()
    with tempfile.TemporaryFile() as file:
        sets = Sets(file)
        for number in range(len(finding.parts)):
            _put_part(sets, finding, number, pages, compared)
        alike = np.where(exact, 1.0, sets.jaccards(left, right))
    some = np.flatnonzero(alike >= finding.least)
    left, right = left[some], right[some]
    turned = pages[right] >= finding.ours  # an older page is the first of a pair, so that the pair stands in our part
    left, right = np.where(turned, right, left), np.where(turned, left, right)
    ids = pa.chunked_array([chunk for one in sets.ids for chunk in one.chunks], pa.string()).combine_chunks()
    columns = {"exact": pa.array(exact[some]), "jaccard": pa.array(alike[some])}
    for side, rows in (("left", left), ("right", right)):
        columns |= {
            side: pa.array(pages[rows]),
            f"{side}_hash": texts["hash"].take(pa.array(rows)),
            f"{side}_held_out": pa.array(texts["side"].to_numpy()[rows] == HELD_OUT),
            f"{side}_id": ids.take(pa.array(rows)),
        }
    yield from pa.table([columns[name] for name in EDGES.names], schema=EDGES).combine_chunks().to_batches()


def _put_part(sets: Sets, finding: Finding, number: int, pages: Integers, compared: Truth) -> None:
    """Append those of the pages, which ascend, that are in a part."""
    first, last = np.searchsorted(pages, [number << 32, (number + 1) << 32])
    rows = pages[first:last] - (np.int64(number) << 32)
    at, file = 0, storage.open_parquet(finding.parts[number].source)
    for group in range(file.num_row_groups):
        many = file.metadata.row_group(group).num_rows
        low, high = np.searchsorted(rows, [at, at + many])
        if high > low:
            texts = file.read_row_group(group, columns=["id", "text"]).combine_chunks()
            sets.put(finding, texts, rows[low:high] - at, compared[first + low : first + high])
        at += many
