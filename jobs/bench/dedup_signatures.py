"""Signatures that are made, not read, through bands, components and forest: what millions of pages take.

    python -m jobs.bench.dedup_signatures PAGES FOLDER

A fifth of the pages are in clusters of 2 to 1,000, one cluster has 20,000 pages, a chain 50,000. A copy shares each band of
the first page of its cluster by chance, as often as the eighth power of its similarity; in the chain each page changes some
bands of the one before. How alike two pages are said to be is made from how many bands they share, as there are no shingles
to verify it by; all else is the job's own, and its large ways are taken, whatever the number of pages. What comes out is
compared with one walk in memory. docs/duplicates.md has what it took.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import functions as sql

from filters.draws import mix
from filters.duplicates.forest import components, walk
from filters.duplicates.shingles import Shingling
from jobs.bench.processes import ticks
from jobs.parts import session, storage
from jobs.parts.frames import frame
from jobs.parts.pairs import EDGES, PAIRS, TEXTS, Finding, Origin, candidates, mapped
from jobs.parts.ranked import ALIKE, BOTH, walked
from jobs.parts.settled import Bounds, settle
from jobs.parts.spills import Spilled, spill
from jobs.parts.table import Part

Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Value = TypeVar("Value")

BANDS, ROWS, LEAST, THRESHOLD = 14, 8, 0.5, 0.8
PART = 100_000
CLUSTER, CHAIN = 20_000, 50_000
BLOCK = 10_000
SIZES = ((1000, 1), (30, 16), (5, 60), (2, 110))
"""Clusters in a block of pages: (pages, how many); the other pages are alone."""
STEP = 0.98
"""How alike a page of the chain is to the one before."""


def firsts_in_a_block() -> Integers:
    """The first page of the cluster of each page of a block, which is itself where it is alone; shape (BLOCK,)."""
    sizes = [size for size, many in SIZES for _ in range(many)]
    sizes += [1] * (BLOCK - sum(sizes))
    return np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)


FIRSTS = firsts_in_a_block()


def drawn(pages: Integers, what: int) -> Hashes:
    """A random number for each page, by what it is for."""
    with np.errstate(over="ignore"):
        return mix(mix(pages.astype(np.uint64) + np.uint64(1)) ^ np.uint64(what * 0x9E3779B97F4A7C15 % 2**64))


def share(pages: Integers, what: int) -> npt.NDArray[np.float64]:
    """The same between 0 and 1."""
    return (drawn(pages, what) >> np.uint64(11)) / 2**53


def bands_of(pages: Integers) -> Hashes:
    """The band keys of pages; shape (pages, BANDS)."""
    block, within = pages // BLOCK * BLOCK, pages % BLOCK
    first = np.where(pages < CLUSTER, 0, np.where(pages < CLUSTER + CHAIN, pages, block + FIRSTS[within]))
    alike = np.where(pages == first, 1.0, 0.5 + share(pages, 1) / 2)
    keys = np.empty((len(pages), BANDS), np.uint64)
    in_chain = (pages >= CLUSTER) & (pages < CLUSTER + CHAIN)
    for band in range(BANDS):
        kept = share(pages, 2 + band) < alike**ROWS
        source = np.where(kept, first, pages)
        source[in_chain] = _last_change(pages[in_chain], band)
        keys[:, band] = drawn(source, 100 + band)
    return keys


def _last_change(pages: Integers, band: int) -> Integers:
    """The page of the chain that had this band first, of those that have it up to each page."""
    source = pages.copy()
    while True:
        before = (share(source, 2 + band) < STEP**ROWS) & (source > CLUSTER)
        if not before.any():
            return source
        source[before] -= 1


def numbered(pages: Integers) -> Integers:
    """The pages' numbers in the tables: that of the part, shifted, and the row."""
    return pages // PART << 32 | pages % PART


def plain(numbers: Integers) -> Integers:
    """The other way round."""
    return (numbers >> 32) * PART + (numbers & 0xFFFFFFFF)


def texts_of(pages: int, number: int) -> Iterator[pa.RecordBatch]:
    """Rows of TEXTS of a part."""
    for begin in range(number * PART, min(pages, (number + 1) * PART), BLOCK):
        some = np.arange(begin, min(pages, begin + BLOCK))
        keys = bands_of(some)
        zeros, page = np.zeros(len(some), np.int64), numbered(some)
        columns = {
            "high": page,
            "low": page,
            "side": zeros,
            "scope": zeros,
            "hash": drawn(some, 50).view(np.int64),
            "page": page,
            "order": drawn(keys[:, 0].view(np.int64), 51).view(np.int64),
            "bands": pa.array([row.tobytes() for row in keys], pa.binary()),
            "original": page,
        }
        yield from pa.table([columns[name] for name in TEXTS.names], schema=TEXTS).to_batches()


def edges_of(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows of EDGES of rows of PAIRS."""
    for batch in rows:
        left, right = (plain(batch[name].to_numpy()) for name in ("to", "page"))
        shared = (bands_of(left) == bands_of(right)).mean(axis=1)
        away, ids = np.zeros(len(left), bool), (pa.array(side).cast(pa.string()) for side in (left, right))
        columns = {
            "left": numbered(left),
            "right": numbered(right),
            "left_hash": drawn(left, 50).view(np.int64),
            "right_hash": drawn(right, 50).view(np.int64),
            "left_held_out": away,
            "right_held_out": away,
            "exact": away,
            "jaccard": shared ** (1 / ROWS),
            "left_id": next(ids),
            "right_id": next(ids),
        }
        yield from pa.table([columns[name] for name in EDGES.names], schema=EDGES).to_batches()


def graph_of(work: Path, number: int) -> Iterator[pa.RecordBatch]:
    """Rows of BOTH of a part; pages are preferred by a random number."""
    for name, page in (("nodes", "page"), ("found", "right")):
        file = work / name / f"{number}.parquet"
        if not storage.exists(file):
            continue
        rows = storage.read_table(file)
        nothing = {field.name: pa.nulls(len(rows), field.type) for field in BOTH}
        told = {"component": rows["component"], "page": rows[page]}
        if name == "nodes":
            pages = plain(rows["page"].to_numpy())
            values = pa.FixedSizeListArray.from_arrays(pa.array(share(pages, 52)), 1).cast(pa.list_(pa.float64()))
            ids = pa.array(pages).cast(pa.string())
            told |= {
                "scope": np.zeros(len(rows), np.int64),
                "text": rows["page"],
                "old": np.zeros(len(rows), bool),
                "id": ids,
            }
            told |= {"preferred": values}
        else:
            told |= {"other": rows["left"], "jaccard": rows["jaccard"]}
        columns = nothing | told
        yield from pa.table([columns[name] for name in BOTH.names], schema=BOTH).combine_chunks().to_batches()


class Stages:
    """Seconds, processor seconds of all processes and shuffled megabytes of each stage, printed as they end."""

    def __init__(self, spark: SparkSession) -> None:
        self.spark, self.seen, self.rows = spark, 0, list[dict[str, Any]]()

    def run(self, name: str, work: Callable[[], Value]) -> Value:
        """What the work gives."""
        begin, used = time.monotonic(), _processor()
        value = work()
        shuffled = self._shuffled()
        row = {
            "stage": name,
            "seconds": round(time.monotonic() - begin, 1),
            "processor": round(_processor() - used, 1),
            "shuffled_mb": round((shuffled - self.seen) / 1e6),
        }
        self.seen = shuffled
        self.rows.append(row)
        print(json.dumps(row | ({"rows": value.rows} if isinstance(value, Spilled) else {})), flush=True)
        return value

    def _shuffled(self) -> int:
        """Bytes that all stages so far wrote for shuffles, as Spark counts them."""
        context, jvm = self.spark.sparkContext._jsc.sc(), self.spark.sparkContext._jvm
        assert jvm is not None
        none = self.spark.sparkContext._gateway.new_array(jvm.double, 0)
        stages = context.statusStore().stageList(None, False, False, none, jvm.java.util.ArrayList())
        return sum(int(stages.apply(at).shuffleWriteBytes()) for at in range(stages.size()))


def _processor() -> float:
    return sum(ticks(os.getpid()).values()) / os.sysconf("SC_CLK_TCK")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all stages and compare the similarities with those of one walk in memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", type=int, metavar="PAGES")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    asked = parser.parse_args(arguments)
    pages, work = asked.pages, asked.folder.absolute()
    spark = session.session("trial")
    stages = Stages(spark)
    parts = [Part(str(number), "", "") for number in range(-(-pages // PART))]
    finding = Finding([Origin(part, work, work) for part in parts], Shingling("words", 5), BANDS, "all", LEAST, work)

    texts = stages.run(
        "made", lambda: spill(frame(spark, parts, TEXTS, lambda number, _: texts_of(pages, number)), TEXTS, work / "texts")
    )
    edges = stages.run("bands", lambda: linked(spark, texts, finding, pages))
    stages.run("components", lambda: settle(spark, edges, Bounds(THRESHOLD, THRESHOLD), work, 0))
    graph = frame(spark, parts, BOTH, lambda number, _: graph_of(work, number))
    alike = stages.run("forest", lambda: spill(walked(spark, graph, THRESHOLD, work / "thinned"), ALIKE, work / "alike"))
    same = agrees(pages, edges, alike)
    total = {name: round(sum(row[name] for row in stages.rows), 1) for name in ("seconds", "processor", "shuffled_mb")}
    told = {"pages": pages, **total, "edges": edges.rows, "as_one_walk": same, "stages": stages.rows}
    print(json.dumps(told))
    (work / "trial.json").write_text(json.dumps(told, indent=1))
    return 0 if same else 1


def linked(spark: SparkSession, texts: Spilled, finding: Finding, pages: int) -> Spilled:
    """Pairs that share a bucket, each once."""
    found = candidates(spark, texts, finding, pages).where("to != page").select("to", "page").distinct()
    rows = found.select(sql.lit(0).cast("bigint").alias("part"), "to", "page", sql.lit(False).alias("exact"))
    return spill(mapped(rows.select(*PAIRS.names), edges_of, EDGES), EDGES, finding.folder / "edges")


def agrees(pages: int, edges: Spilled, alike: Spilled) -> bool:
    """Whether similarities and the sizes of clusters are those of one walk over all pairs."""
    rows = pq.read_table(edges.folder, columns=["left", "right", "jaccard"])
    best = np.lexsort((np.arange(pages).astype(str), -share(np.arange(pages), 52)))
    place = np.empty(pages, np.int64)
    place[best] = np.arange(pages)
    left, right = (place[plain(rows[name].to_numpy())] for name in ("left", "right"))
    weights = rows["jaccard"].to_numpy()
    expected = walk(pages, left, right, weights).similarity
    tight = weights >= THRESHOLD
    cluster = components(pages, left[tight], right[tight])
    sizes = np.bincount(cluster, minlength=pages)[cluster]
    found = pq.read_table(alike.folder, columns=["page", "similarity", "size"])
    at = place[plain(found["page"].to_numpy())]
    whole = len(np.unique(at)) == len(at) == len(np.unique(np.concatenate([left, right])))
    same = (found["similarity"].to_numpy() == expected[at]).all() and (found["size"].to_numpy() == sizes[at]).all()
    return bool(whole and same)


if __name__ == "__main__":
    sys.exit(main())
