"""Benchmarks in pages: every n-gram of an item that stands in a page, with its place, then shares of pages and of items.

An n-gram that stands on many sites is common speech, not a leak; one that stands on many pages of few sites is a benchmark
that was leaked often, and counts.
"""

import bz2
import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import zstandard
from pyspark.sql import SparkSession
from pyspark.sql import functions as sql

from filters.draws import id_hashes
from filters.duplicates.contamination import Benchmark, Hits, benchmark, find, share
from filters.nearest import nearest
from filters.split import site_hashes
from jobs.parts import passes, storage
from jobs.parts.duplicate_options import BenchmarkFile
from jobs.parts.frames import frame
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.repeated_lines import batches_of
from jobs.parts.session import received
from jobs.parts.table import Part, PartReport, sidecar

SHOWN = 5
"""Pages that are named for an item, those with the smallest ids."""
HIT = pa.struct([(name, pa.int64()) for name in ("gram", "word", "start", "end")])
GRAMS = pa.schema([("gram", pa.int64()), ("site", pa.int64())])
OPENERS: Mapping[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".zst": zstandard.open}


@dataclass(frozen=True)
class Item:
    """What is known of an item so far: how many pages hold n-grams of it, and the first of them with the spans."""

    pages: int
    found: tuple[tuple[str, int, int], ...]


def hits_schema(names: Sequence[str]) -> pa.Schema:
    """Of every page its words and, for each benchmark, its hits; spans are in characters."""
    return pa.schema([("id", pa.string()), ("words", pa.int64()), *((name, pa.list_(HIT)) for name in names)])


def items_of(asked: BenchmarkFile) -> list[list[str]]:
    """The pieces of every row of a benchmark's file. Raises ExperimentError."""
    try:
        with OPENERS.get(asked.file.suffix, open)(asked.file, "rt", encoding="utf-8") as lines:
            return [_pieces(asked, at, json.loads(line)) for at, line in enumerate(lines, 1) if line.strip()]
    except (OSError, EOFError, ValueError, zstandard.ZstdError) as error:
        raise ExperimentError(f"signals.contamination: {asked.file} cannot be read: {error}") from error


def _pieces(asked: BenchmarkFile, at: int, row: Any) -> list[str]:
    if not isinstance(row, dict):
        raise ExperimentError(f"signals.contamination: {asked.file}, line {at}: expected a mapping, got {str(row)[:60]!r}")
    for field in asked.fields:
        if field not in row:
            raise ExperimentError(
                f"signals.contamination: {asked.file}, line {at}: no field {field!r}: {nearest(field, row)}"
            )
    return [text for field in asked.fields or row for text in _texts(row[field])]


def _texts(value: Any) -> Iterator[str]:
    """The texts in a field: itself, or those of its list or mapping."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))


@cache
def opened(asked: BenchmarkFile) -> Benchmark:
    """The index of a benchmark, made once in each process."""
    return benchmark(items_of(asked))


def hits_of(part: Part, asked: Sequence[BenchmarkFile], report: PartReport) -> Iterator[tuple[str, pa.RecordBatch]]:
    """One part's rows of hits, a row group of pages at a time."""
    schema = hits_schema([one.called for one in asked])
    for rows, pages in batches_of(part, ["id"]):
        texts = rows["text"].to_pylist()
        columns: list[Any] = [rows["id"]]
        for one in asked:
            found = list(find(pages, opened(one)))
            columns = columns if len(columns) > 1 else [*columns, pa.array([hits.words for hits in found])]
            columns.append(pa.array([_hits(hits, text) for hits, text in zip(found, texts, strict=True)], pa.list_(HIT)))
            report.counts[f"pages_with_{one.called}"] += sum(len(hits.grams) > 0 for hits in found)
        yield from (("hits", batch) for batch in pa.table(columns, schema=schema).combine_chunks().to_batches())


def _hits(hits: Hits, text: str) -> list[dict[str, int]]:
    if not len(hits.grams):
        return []
    encoded = text.encode()
    rows = zip(hits.grams.tolist(), hits.places.tolist(), *hits.spans.T.tolist(), strict=True)
    return [
        {"gram": gram, "word": word, "start": len(encoded[:start].decode()), "end": len(encoded[:end].decode())}
        for gram, word, start, end in rows
    ]


def common(spark: SparkSession, places: Places, pages: Sequence[Part], name: str, domains: int) -> npt.NDArray[np.int64]:
    """The n-grams of a benchmark that stand on more than so many sites: at most as many as it has."""

    def sites(_: int, part: Part) -> Iterator[pa.RecordBatch]:
        hits = sidecar(places.contamination("hits"), part, [name])[name].combine_chunks()
        rows = storage.read_table(part.source, ["id", "domain"])
        own = site_hashes(id_hashes(rows["id"]), rows["domain"]).view(np.int64)
        owners = pc.list_parent_indices(hits).to_numpy()
        both = np.unique(np.stack([_field(hits, "gram"), own[owners]], axis=1), axis=0)
        yield from pa.table([both[:, 0].copy(), both[:, 1].copy()], schema=GRAMS).to_batches()

    by_gram = frame(spark, pages, GRAMS, sites).groupBy("gram").agg(sql.count_distinct("site").alias("sites"))
    rows = received(by_gram.where(sql.col("sites") > domains).select("gram").collect())
    return np.sort(np.array([row["gram"] for row in rows], np.int64))


def _field(hits: pa.Array, name: str) -> npt.NDArray[np.int64]:
    return np.asarray(pc.list_flatten(hits).field(name).to_numpy(zero_copy_only=False), np.int64)


def shares(places: Places, part: Part, asked: BenchmarkFile, excused: npt.NDArray[np.int64]) -> pa.Array:
    """The signal of one benchmark for a part's pages."""
    rows = sidecar(places.contamination("hits"), part, ["words", asked.called])
    hits, sizes = rows[asked.called].combine_chunks(), opened(asked).sizes
    grams, words = _field(hits, "gram"), _field(hits, "word")
    owners = pc.list_parent_indices(hits).to_numpy()
    counts = ~np.isin(grams, excused)
    bounds = np.searchsorted(owners, np.arange(len(rows) + 1))
    values = np.zeros(len(rows))
    for page, many in enumerate(rows["words"].to_pylist()):
        some = slice(bounds[page], bounds[page + 1])
        kept = counts[some]
        values[page] = share(many, words[some][kept], sizes[grams[some][kept]])
    return pa.array(values, mask=np.isnan(values))


def reverse(
    spark: SparkSession, places: Places, pages: Sequence[Part], asked: BenchmarkFile, excused: npt.NDArray[np.int64]
) -> list[dict[str, Any]]:
    """What is said of every item: whether it can be checked, whether and where it was found."""

    def found(part: Part) -> dict[int, Item]:
        return items_found(places, part, asked, excused)

    def together(some: Sequence[dict[int, Item]]) -> dict[int, Item]:
        total: dict[int, Item] = {}
        for one in some:
            for item, told in one.items():
                before = total.get(item, Item(0, ()))
                total[item] = Item(before.pages + told.pages, tuple(sorted(before.found + told.found)[:SHOWN]))
        return total

    items = passes.merged(spark, "contamination", pages, found, together)
    rows = []
    for item, checkable in enumerate(opened(asked).checkable.tolist()):
        told = items.get(item)
        status = "found" if told else "not found" if checkable else "not checkable"
        spans = [{"id": page, "start": start, "end": end} for page, start, end in told.found] if told else []
        rows.append({"item": item, "status": status, "pages": told.pages if told else 0, "found": spans})
    return rows


def items_found(places: Places, part: Part, asked: BenchmarkFile, excused: npt.NDArray[np.int64]) -> dict[int, Item]:
    """The items of which a part's pages hold n-grams, with the span from the first to the last in each page."""
    rows = sidecar(places.contamination("hits"), part, ["id", asked.called])
    index = opened(asked)
    found: dict[int, Item] = {}
    spans: dict[tuple[int, str], tuple[int, int]] = {}
    for page, hits in zip(rows["id"].to_pylist(), rows[asked.called].to_pylist(), strict=True):
        for hit in hits:
            for item in index.items(hit["gram"]) if hit["gram"] not in excused else ():
                start, end = spans.get((item, page), (hit["start"], hit["end"]))
                spans[item, page] = min(start, hit["start"]), max(end, hit["end"])
    for (item, page), (start, end) in sorted(spans.items()):
        before = found.get(item, Item(0, ()))
        found[item] = Item(before.pages + 1, (*before.found, (page, start, end))[:SHOWN])
    return found
