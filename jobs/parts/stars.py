"""Connected components of more pairs than one task holds: large stars and small stars in turn, until nothing changes.

Kiveris et al. 2014 (Connected Components in MapReduce and Beyond, SoCC), their alternating algorithm. Every round is written
as files whose rows are counted again when they are read, and the rounds end when the set of pairs is that of the round
before: its number of rows and two sums of their hashes are.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as sql
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.parts.session import stand_in, whereabouts
from jobs.parts.spills import Spilled, spill

Integers = npt.NDArray[np.int64]
Star = Callable[[Integers, Integers], tuple[Integers, Integers]]

LINKS = pa.schema([("one", pa.int64()), ("other", pa.int64())])
COMPONENTS = pa.schema([("page", pa.int64()), ("component", pa.int64())])
ROWS_A_TASK = 4_000_000


def connected(spark: SparkSession, pairs: DataFrame, folder: Path) -> Spilled:
    """(page, smallest page of its component) of every page of the pairs, which have columns `one` and `other`."""
    before = spill(pairs.where("one != other").distinct(), LINKS, folder / "round-0")
    turn = 0
    while before.rows:
        turn += 1
        many = max(spark.sparkContext.defaultParallelism, -(-before.rows // ROWS_A_TASK))
        links = before.frame(spark)
        both = links.union(links.select(sql.col("other").alias("one"), sql.col("one").alias("other")))
        large = _starred(both.repartition(many, "one"), large_star)
        turned = large.select(sql.greatest("one", "other").alias("one"), sql.least("one", "other").alias("other"))
        small = _starred(turned.repartition(many, "one"), small_star).distinct()
        after = spill(small, LINKS, folder / f"round-{turn}")
        if (after.rows, after.sums) == (before.rows, before.sums):
            break
        before = after
    if not before.rows:
        return Spilled(folder, COMPONENTS, (), (0, 0))
    links = before.frame(spark).select(sql.col("one").alias("page"), sql.col("other").alias("component"))
    roots = links.select(sql.col("component").alias("page"), "component").distinct()
    return spill(links.union(roots), COMPONENTS, folder / "components")


def _starred(of: DataFrame, star: Star) -> DataFrame:
    here = whereabouts()

    def apply(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stand_in(here)
        table = pa.Table.from_batches(list(rows), LINKS)
        found = np.unique(np.stack(star(*(table[name].to_numpy() for name in LINKS.names)), axis=1), axis=0)
        yield from pa.table([found[:, 0].copy(), found[:, 1].copy()], schema=LINKS).to_batches()

    return of.mapInArrow(apply, from_arrow_schema(LINKS))


def large_star(one: Integers, other: Integers) -> tuple[Integers, Integers]:
    """Link each page's larger neighbours to the smallest of the page and its neighbours. Each pair is there both ways."""
    one, other, least = _with_least(one, other)
    wanted = other > one
    return other[wanted], np.minimum(least, one)[wanted]


def small_star(one: Integers, other: Integers) -> tuple[Integers, Integers]:
    """Link each page, and its neighbours, all smaller, to the smallest of them."""
    one, other, least = _with_least(one, other)
    wanted = other != least
    return np.concatenate([one, other[wanted]]), np.concatenate([least, least[wanted]])


def _with_least(one: Integers, other: Integers) -> tuple[Integers, Integers, Integers]:
    """Pairs sorted by their first page, and the smallest second page of each."""
    order = np.argsort(one, kind="stable")
    one, other = one[order], other[order]
    starts = np.flatnonzero(np.append(True, one[1:] != one[:-1])[: len(one)])
    least = np.minimum.reduceat(other, starts) if len(one) else other
    return one, other, np.repeat(least, np.diff(np.append(starts, len(one))))
