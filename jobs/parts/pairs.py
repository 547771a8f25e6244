"""Pairs of pages that are alike: found by the buckets of their bands, then verified by all of their shingles.

A page has a number: that of its part, shifted by 32 bits, and its row. Text is read where it lies: what is shuffled are band
keys, page numbers, and the shingles of pages that share a bucket, each page's to the page it is compared with.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from filters.draws import id_hashes
from filters.duplicates.buckets import BandRows, link, sketches
from filters.duplicates.shingles import Shingling, jaccard
from filters.pages import PageBatch
from jobs.parts import storage
from jobs.parts.frames import frame, write_groups
from jobs.parts.session import stand_in, whereabouts
from jobs.parts.spills import Spilled, batches, spill
from jobs.parts.table import Part, sidecar

Integers = npt.NDArray[np.int64]
Rows = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

TEXTS = pa.schema(
    [
        ("high", pa.int64()),
        ("low", pa.int64()),
        ("side", pa.int64()),
        ("scope", pa.int64()),
        ("hash", pa.int64()),
        ("page", pa.int64()),
        ("order", pa.int64()),
        ("bands", pa.binary()),
        ("original", pa.int64()),
    ]
)
"""Pages with the key of their text and their bands (none: shorter than a shingle). `original`: of pages of one text on one
side and in one scope, that with the smallest hash of its id; the others are compared with nothing else."""
BANDS = pa.schema([(name, pa.int64()) for name in ("key", "side", "scope", "order", "sketch", "hash", "page")])
PAIRS = pa.schema([("part", pa.int64()), ("to", pa.int64()), ("page", pa.int64()), ("exact", pa.bool_())])
SETS = pa.schema(
    [
        ("to", pa.int64()),
        ("other", pa.bool_()),
        ("page", pa.int64()),
        ("hash", pa.int64()),
        ("held_out", pa.bool_()),
        ("exact", pa.bool_()),
        ("id", pa.string()),
        ("shingles", pa.binary()),
    ]
)
EDGES = pa.schema(
    [
        ("left", pa.int64()),
        ("right", pa.int64()),
        ("left_hash", pa.int64()),
        ("right_hash", pa.int64()),
        ("left_held_out", pa.bool_()),
        ("right_held_out", pa.bool_()),
        ("exact", pa.bool_()),
        ("jaccard", pa.float64()),
        ("left_id", pa.string()),
        ("right_id", pa.string()),
    ]
)
"""Verified pairs. `left` is the page with the smaller hash of its id, or the held-out one of two sides."""

POOL, HELD_OUT, NEITHER = 0, 1, 2
"""Sides. NEITHER: exact copies of held-out pages, which have left the pool."""
ROWS_A_TASK = 2_000_000
SETS_A_TASK = 50_000
BATCH_BYTES = 32_000_000


@dataclass(frozen=True)
class Origin:
    """A part of the pages with its bands and, unless it is of another experiment, its split."""

    part: Part
    bands: Path
    split: Path | None

    @property
    def is_old(self) -> bool:
        """Whether it was deduplicated before."""
        return self.split is None

    def sides(self, rows: int) -> Integers:
        """The side of every page; shape (pages,). Pages of other experiments are all of the pool."""
        if self.split is None:
            return np.full(rows, POOL)
        found = sidecar(self.split, self.part, ["held_out", "copy_of_held_out"])
        held_out, copies = (found[name].to_numpy() for name in ("held_out", "copy_of_held_out"))
        return np.where(held_out, HELD_OUT, np.where(copies, NEITHER, POOL))


@dataclass(frozen=True)
class Finding:
    """What is looked for and where what is in between lies. It travels to the workers."""

    origins: Sequence[Origin]
    shingling: Shingling
    bands: int
    scope: str
    least: float
    folder: Path

    @property
    def ours(self) -> int:
        """The number that pages of older experiments begin at: they are compared with ours alone."""
        return sum(not origin.is_old for origin in self.origins) << 32

    @property
    def parts(self) -> list[Part]:
        """The parts of the pages, by number."""
        return [origin.part for origin in self.origins]


def tasks(spark: SparkSession, rows: int, each: int = ROWS_A_TASK) -> int:
    """Into how many tasks rows are shuffled."""
    return max(int(spark.sparkContext.defaultParallelism), -(-rows // each))


def find(spark: SparkSession, finding: Finding, pages: int) -> Spilled:
    """All verified pairs."""
    keyed = frame(spark, finding.parts, TEXTS, lambda number, part: keyed_pages(finding, number, part))
    many = tasks(spark, pages)
    texts = spill(mapped(keyed.repartition(many, "high", "low"), originals, TEXTS), TEXTS, finding.folder / "texts")
    if not texts.rows:
        return Spilled(finding.folder / "edges", EDGES, (), (0, 0))
    sends = finding.folder / "sends"

    def write(number: int, wanted: pa.Table) -> None:
        names = ["to", "page", "exact"]
        storage.write_table(sends / f"{number}.parquet", wanted.select(names).group_by(names).aggregate([]).sort_by("page"))

    storage.remove_folder(sends)
    copies = frame(spark, texts.parts(), PAIRS, lambda _, part: copied_rows(part))
    write_groups(candidates(spark, texts, finding, pages).unionByName(copies), "part", write)
    numbers = [number for number in range(len(finding.origins)) if storage.exists(sends / f"{number}.parquet")]
    wanted = sum(storage.read_metadata(sends / f"{number}.parquet").num_rows for number in numbers)
    some = [Part(str(number), finding.parts[number].source, "") for number in numbers]
    sets = frame(spark, some, SETS, lambda _, part: sets_of(finding, int(part.name), sends)) if some else None
    if sets is None:
        return Spilled(finding.folder / "edges", EDGES, (), (0, 0))
    by_page = sets.repartition(tasks(spark, wanted, SETS_A_TASK), "to").sortWithinPartitions("to", "other", "page")
    least, ours = finding.least, finding.ours
    verified = mapped(by_page, lambda some: verified_pairs(some, least, ours), EDGES)
    return spill(verified, EDGES, finding.folder / "edges")


def candidates(spark: SparkSession, texts: Spilled, finding: Finding, pages: int) -> DataFrame:
    """Rows of PAIRS: originals that share a bucket, perhaps more than once."""
    ours = finding.ours
    rows = frame(spark, texts.parts(), BANDS, lambda _, part: band_rows(part, finding.bands))
    by_key = rows.repartition(tasks(spark, pages * finding.bands), "key")
    return mapped(by_key, lambda some: linked_rows(some, ours), PAIRS)


def mapped(of: DataFrame, function: Rows, schema: pa.Schema) -> DataFrame:
    """The DataFrame that a function of each partition's rows gives."""
    here = whereabouts()

    def apply(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stand_in(here)
        yield from function(rows)

    return of.mapInArrow(apply, from_arrow_schema(schema))


def keyed_pages(finding: Finding, number: int, part: Part) -> Iterator[pa.RecordBatch]:
    """A part's rows of TEXTS: pages of the pool and held-out ones."""
    origin = finding.origins[number]
    found = sidecar(origin.bands, part, ["text_high", "text_low", "order", "bands"])
    rows = storage.read_table(part.source, ["id", *({"domain": ["domain"], "month": ["crawled_at"]}.get(finding.scope, []))])
    sides = origin.sides(len(rows))
    columns = {
        "high": found["text_high"],
        "low": found["text_low"],
        "side": sides,
        "scope": scopes(rows, finding.scope),
        "hash": id_hashes(rows["id"]).view(np.int64),
        "page": (np.int64(number) << 32) + np.arange(len(rows)),
        "order": found["order"],
        "bands": found["bands"],
        "original": np.zeros(len(rows), np.int64),
    }
    table = pa.table([columns[name] for name in TEXTS.names], schema=TEXTS)
    yield from table.filter(pa.array(sides != NEITHER)).to_batches()


def scopes(rows: pa.Table, scope: str) -> Integers:
    """A number for what pages of one scope share, where that is a column of the pages; else 0."""
    if scope == "domain":
        return id_hashes(rows["domain"].fill_null("")).view(np.int64)
    if scope == "month":
        at = rows["crawled_at"]
        months = pc.add(pc.multiply(pc.year(at), 12), pc.month(at))
        return np.asarray(pc.fill_null(months, 0).to_numpy(), np.int64)
    return np.zeros(len(rows), np.int64)


def originals(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of TEXTS with the original of each, of a partition that holds all pages of a text."""
    table = pa.Table.from_batches(list(rows), TEXTS)
    names = ("high", "low", "side", "scope")
    order = np.lexsort([_unsigned(table, "hash"), *(table[name].to_numpy() for name in reversed(names))])
    table = table.take(pa.array(order))
    same = np.ones(max(len(table) - 1, 0), bool)
    for name in names:
        column = table[name].to_numpy()
        same &= column[1:] == column[:-1]
    first = np.maximum.accumulate(np.where(np.append(True, ~same)[: len(table)], np.arange(len(table)), 0))
    pages = table["page"].to_numpy()
    yield from table.set_column(table.schema.get_field_index("original"), "original", pa.array(pages[first])).to_batches()


def _unsigned(table: pa.Table, name: str) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(table[name].to_numpy()).view(np.uint64)


def band_rows(part: Part, bands: int) -> Iterator[pa.RecordBatch]:
    """A row for every band of an original."""
    for batch in batches(part):
        some = pa.Table.from_batches([batch])
        some = some.filter(pc.and_(pc.equal(some["page"], some["original"]), pc.greater(pc.binary_length(some["bands"]), 0)))
        keys = np.frombuffer(b"".join(some["bands"].to_pylist()), np.uint64)
        some = some.append_column("sketch", pa.array(sketches(keys.reshape(-1, bands)).view(np.int64)))
        repeated = [np.repeat(some[name].to_numpy(), bands) for name in BANDS.names[1:]]
        yield from pa.table([keys.view(np.int64), *repeated], schema=BANDS).to_batches()


def copied_rows(part: Part) -> Iterator[pa.RecordBatch]:
    """Pairs of originals and their copies; none of pages shorter than a shingle."""
    for batch in batches(part):
        some = pa.Table.from_batches([batch])
        wanted = pc.and_(pc.not_equal(some["page"], some["original"]), pc.greater(pc.binary_length(some["bands"]), 0))
        some = some.filter(wanted)
        yield from _pairs(some["original"].to_numpy(), some["page"].to_numpy(), exact=True)


def _pairs(left: Integers, right: Integers, exact: bool) -> Iterator[pa.RecordBatch]:
    """Rows of PAIRS: each page sent to the one it is compared with, and that to itself."""
    to, page = np.concatenate([left, left]), np.concatenate([right, left])
    exactly = np.repeat([exact, False], [len(left), len(left)])
    yield from pa.table([page >> 32, to, page, exactly], schema=PAIRS).to_batches()


def linked_rows(rows: Iterator[pa.RecordBatch], ours: int) -> Iterator[pa.RecordBatch]:
    """The pairs of a partition that holds whole buckets."""
    table = pa.Table.from_batches(list(rows), BANDS)
    key, scope, order, sketch, hashes = (_unsigned(table, name) for name in ("key", "scope", "order", "sketch", "hash"))
    pages = table["page"].to_numpy()
    left, right = link(BandRows(key, table["side"].to_numpy() == HELD_OUT, scope, order, sketch, hashes, pages))
    both = np.stack([pages[left], pages[right]], axis=1)
    different = np.unique(both[both.min(axis=1) < ours], axis=0)
    yield from _pairs(different[:, 0].copy(), different[:, 1].copy(), exact=False)


def sets_of(finding: Finding, number: int, sends: Path) -> Iterator[pa.RecordBatch]:
    """The shingles of the pages of a part that are compared, once for each page they are sent to."""
    origin = finding.origins[number]
    wanted = storage.read_table(sends / f"{number}.parquet")
    rows = (wanted["page"].to_numpy() - (np.int64(number) << 32)).astype(np.int64)
    file, at = storage.open_parquet(origin.part.source), 0
    sides = origin.sides(file.metadata.num_rows)
    for group in range(file.num_row_groups):
        many = file.metadata.row_group(group).num_rows
        low, high = np.searchsorted(rows, [at, at + many])
        if high > low:
            texts = file.read_row_group(group, columns=["id", "text"]).combine_chunks()
            yield from _sent(finding, texts, wanted.slice(low, high - low), rows[low:high] - at, sides[rows[low:high]])
        at += many


def _sent(
    finding: Finding, texts: pa.Table, wanted: pa.Table, rows: Integers, sides: npt.NDArray[np.int64]
) -> Iterator[pa.RecordBatch]:
    """Rows of SETS, a few at a time. `rows` of `texts` ascend and may come more than once."""
    pages = PageBatch(texts["text"].chunk(0))
    different, which = np.unique(rows, return_inverse=True)
    sets = finding.shingling.sets(pages.data, pages.offsets, different)
    ids = texts["id"].take(pa.array(different))
    hashes = id_hashes(ids).view(np.int64)
    exact = wanted["exact"].to_numpy()
    sizes = np.array([one.nbytes for one in sets])[which] * ~exact
    begin = 0
    while begin < len(rows):
        end = begin + max(1, int(np.searchsorted(np.cumsum(sizes[begin:]), BATCH_BYTES)))
        some, part = which[begin:end], wanted.slice(begin, end - begin)
        shingles = [b"" if copy else sets[at].tobytes() for at, copy in zip(some, exact[begin:end], strict=True)]
        columns = [
            part["to"],
            pc.not_equal(part["to"], part["page"]),
            part["page"],
            pa.array(hashes[some]),
            pa.array(sides[begin:end] == HELD_OUT),
            part["exact"],
            ids.take(pa.array(some)),
            pa.array(shingles, pa.binary()),
        ]
        yield from pa.table(columns, schema=SETS).combine_chunks().to_batches()
        begin = end


def verified_pairs(rows: Iterator[pa.RecordBatch], least: float, ours: int) -> Iterator[pa.RecordBatch]:
    """Compare each page with those sent to it, which follow it: one set is held at a time."""
    first: Mapping[str, Any] = {}
    shingles = np.zeros(0, np.uint64)
    for batch in rows:
        edges = []
        for row in batch.to_pylist():
            sent = np.frombuffer(row["shingles"], np.uint64)
            if not row["other"]:
                first, shingles = row, sent
                continue
            alike = 1.0 if row["exact"] else jaccard(shingles, sent)
            if alike >= least:
                is_old = row["page"] >= ours  # an older page is the first of a pair, so that the pair stands in our part
                edges.append(_edge(row, first, alike) if is_old else _edge(first, row, alike))
        if edges:
            yield pa.RecordBatch.from_pylist(edges, schema=EDGES)


def _edge(left: Mapping[str, Any], right: Mapping[str, Any], alike: float) -> dict[str, Any]:
    names = {"page": "", "hash": "_hash", "held_out": "_held_out", "id": "_id"}
    ends = {f"{side}{names[name]}": row[name] for side, row in (("left", left), ("right", right)) for name in names}
    return ends | {"exact": left["exact"] or right["exact"], "jaccard": alike}
