"""What verified pairs say of pages by text alone: near copies of held-out pages, components, and clusters that share a fold.

A small graph is settled in one task; a large one by the DataFrames of `jobs.parts.stars`. Both give the same rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sql

from filters.duplicates.forest import components
from jobs.parts import storage
from jobs.parts.frames import write_groups
from jobs.parts.pairs import EDGES
from jobs.parts.session import stand_in, whereabouts
from jobs.parts.spills import Spilled, batches
from jobs.parts.stars import connected

Integers = npt.NDArray[np.int64]

NODES = pa.schema([("page", pa.int64()), ("near_copy", pa.bool_()), ("component", pa.int64()), ("cluster", pa.int64())])
"""Pages of pairs. `component`: the smallest page in it. `cluster`: the smallest hash of an id in it. Both are null for near
copies of held-out pages and where a page is in none with another."""
FOUND = EDGES.append(pa.field("component", pa.int64()))
SMALL = 4_000_000
"""Pairs that one task settles: some 200 bytes each."""
SIGN = -(2**63)


@dataclass(frozen=True)
class Bounds:
    """From which similarity a page is a near copy of a held-out one, and pages stand in one cluster."""

    held_out: float
    threshold: float


def settle(spark: SparkSession, edges: Spilled, bounds: Bounds, folder: Path, small: int = SMALL) -> None:
    """Write what is found of each part's pages and pairs to `nodes/` and `edges/` in the folder, by the part's number."""
    for name in ("nodes", "found"):
        storage.remove_folder(folder / name)
    if not edges.rows:
        return
    if edges.rows <= small:
        here = whereabouts()

        def task(_: int) -> None:
            stand_in(here)
            _write_all(
                pa.Table.from_batches([batch for part in edges.parts() for batch in batches(part)], EDGES), bounds, folder
            )

        spark.sparkContext.parallelize([0], 1).foreach(task)
        return
    found, nodes = settled_by_stars(spark, edges, bounds, folder)
    write_groups(found.withColumn("part", sql.shiftright("right", 32)), "part", _writer(folder / "found", FOUND))
    write_groups(nodes.withColumn("part", sql.shiftright("page", 32)), "part", _writer(folder / "nodes", NODES))


def _writer(folder: Path, schema: pa.Schema) -> Callable[[int, pa.Table], None]:
    return lambda number, rows: storage.write_table(folder / f"{number}.parquet", rows.select(schema.names).cast(schema))


def _write_all(edges: pa.Table, bounds: Bounds, folder: Path) -> None:
    found, nodes = settled(edges, bounds)
    for name, table, page in (("found", found, "right"), ("nodes", nodes, "page")):
        parts = table[page].to_numpy() >> 32
        for number in np.unique(parts).tolist():
            storage.write_table(folder / name / f"{number}.parquet", table.filter(pa.array(parts == number)))


def settled(edges: pa.Table, bounds: Bounds) -> tuple[pa.Table, pa.Table]:
    """The rows of FOUND and of NODES."""
    columns = {name: edges[name].to_numpy() for name in EDGES.names if not name.endswith("_id")}
    pages, ends = np.unique(np.concatenate([columns["left"], columns["right"]]), return_inverse=True)
    left, right = np.split(ends, 2)
    hashes = np.zeros(len(pages), np.uint64)
    hashes[left], hashes[right] = columns["left_hash"].view(np.uint64), columns["right_hash"].view(np.uint64)
    near = np.zeros(len(pages), bool)
    across = columns["left_held_out"] != columns["right_held_out"]
    near[right[across & ~columns["right_held_out"] & (columns["jaccard"] >= bounds.held_out)]] = True
    near[right[columns["exact"] & near[left]]] = True
    within = ~across & ~near[left] & ~near[right]
    component = components(len(pages), left[within], right[within])
    tight = within & (columns["jaccard"] >= bounds.threshold)
    cluster = components(len(pages), left[tight], right[tight])
    smallest = hashes.copy()
    np.minimum.at(smallest, cluster, hashes)
    sizes = np.bincount(cluster, minlength=len(pages))[cluster]
    linked = np.zeros(len(pages), bool)
    linked[left[within]] = linked[right[within]] = True
    nodes = [
        pages,
        near,
        pa.array(pages[component], mask=~linked),
        pa.array(smallest[cluster].view(np.int64), mask=sizes == 1),
    ]
    found = edges.append_column("component", pa.array(pages[component[left]], mask=~within))
    return found.cast(FOUND), pa.table(nodes, schema=NODES)


def settled_by_stars(spark: SparkSession, edges: Spilled, bounds: Bounds, folder: Path) -> tuple[DataFrame, DataFrame]:
    """The same rows as DataFrames."""
    rows = edges.frame(spark)
    across = sql.col("left_held_out") != sql.col("right_held_out")
    too_near = across & ~sql.col("right_held_out") & (sql.col("jaccard") >= bounds.held_out)
    near = rows.where(too_near).select(sql.col("right").alias("page")).distinct()
    copies = rows.where("exact").join(near, sql.col("left") == sql.col("page")).select(sql.col("right").alias("page"))
    near = near.union(copies).distinct()
    within = rows.where(~across)
    for side in ("left", "right"):
        within = within.join(near.select(sql.col("page").alias(side)), side, "left_anti")
    pairs = within.select(sql.col("left").alias("one"), sql.col("right").alias("other"))
    tight = within.where(sql.col("jaccard") >= bounds.threshold)
    tight = tight.select(sql.col("left").alias("one"), sql.col("right").alias("other"))
    by_component = connected(spark, pairs, folder / "components").frame(spark)
    by_cluster = connected(spark, tight, folder / "clusters").frame(spark)
    ends = [rows.select(sql.col(side).alias("page"), sql.col(f"{side}_hash").alias("hash")) for side in ("left", "right")]
    pages = ends[0].union(ends[1]).distinct()
    unsigned = sql.col("hash").bitwiseXOR(sql.lit(SIGN))  # Spark's numbers have a sign, and the hash of an id has none
    hashed = (
        pages.join(by_cluster, "page")
        .groupBy("component")
        .agg(sql.min(unsigned).bitwiseXOR(sql.lit(SIGN)).alias("smallest"))
    )
    clusters = by_cluster.join(hashed, "component").select("page", "smallest")
    nodes = (
        pages.join(near.withColumn("near_copy", sql.lit(True)), "page", "left")
        .join(by_component, "page", "left")
        .join(clusters, "page", "left")
        .select(
            "page",
            sql.coalesce("near_copy", sql.lit(False)).alias("near_copy"),
            "component",
            sql.col("smallest").alias("cluster"),
        )
    )
    of_left = by_component.select(sql.col("page").alias("left"), sql.col("component").alias("at_left"))
    of_right = by_component.select(sql.col("page").alias("right"), sql.col("component").alias("at_right"))
    same = sql.when(sql.col("at_left") == sql.col("at_right"), sql.col("at_left"))
    found = rows.join(of_left, "left", "left").join(of_right, "right", "left").withColumn("component", same)
    return found.drop("at_left", "at_right"), nodes
