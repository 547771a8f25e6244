"""Small columns of all parts as a DataFrame, for what needs a shuffle: Python readers bring them in, a part at a time."""

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.parts.session import stand_in, whereabouts
from jobs.parts.table import Part

MOST_PARTITIONS = 4000


def frame(
    spark: SparkSession, parts: Sequence[Part], schema: pa.Schema, rows: Callable[[int, Part], Iterator[pa.RecordBatch]]
) -> DataFrame:
    """What `rows` gives for each part and its number, in columns of `schema`."""
    here = whereabouts()

    def read(numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stand_in(here)
        for batch in numbers:
            for number in batch.column(0).to_pylist():
                yield from rows(number, parts[number])

    # One a part and no more: the 200 of Spark's default take half a minute on a laptop.
    shuffled = min(max(len(parts), spark.sparkContext.defaultParallelism), MOST_PARTITIONS)
    spark.conf.set("spark.sql.shuffle.partitions", str(shuffled))
    return spark.range(0, len(parts), 1, len(parts)).mapInArrow(read, from_arrow_schema(schema))


def write_groups(of: DataFrame, column: str, write: Callable[[int, pa.Table], None]) -> int:
    """Call `write` on the executors with the rows of each value of a whole-number column; how many values there are."""
    here = whereabouts()

    def apply(rows: pa.Table) -> pa.Table:
        stand_in(here)
        number = rows[column][0].as_py()
        write(number, rows)
        return pa.table({"number": pa.array([number], pa.int64())})

    return int(of.groupBy(column).applyInArrow(apply, "number bigint").count())
