"""One value from all parts: a map whose results are merged on the executors, so that the driver holds one of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from pyspark.sql import SparkSession

from filters.rules import RuleError
from jobs.parts.loop import watch
from jobs.parts.refusals import ExperimentError, InvariantBroken
from jobs.parts.session import stand_in
from jobs.parts.table import Part

Value = TypeVar("Value")
Refusal = ExperimentError | InvariantBroken | RuleError
TASKS_PER_CORE = 4
"""Parts are taken together into so many tasks: a pass over small columns takes less time than starting a task a part."""


def merged(
    spark: SparkSession,
    stage: str,
    parts: Sequence[Part],
    function: Callable[[Part], Value],
    merge: Callable[[Value, Value], Value],
) -> Value:
    """`function` of every part, merged in any order: `merge` must be associative and commutative.

    Raises what the function raises of our refusals, as it was raised.
    """
    here = Path.cwd()
    done = spark.sparkContext.accumulator(0)

    def task(some: Iterable[Part]) -> Iterator[Value | Refusal]:
        stand_in(here)
        value: Value | None = None
        for part in some:
            try:
                one = function(part)
            except (ExperimentError, InvariantBroken, RuleError) as error:  # raised here it would come back as a stack trace
                yield error
                return
            value = one if value is None else merge(value, one)
            done.add(1)
        if value is not None:
            yield value

    def either(one: Value | Refusal, other: Value | Refusal) -> Value | Refusal:
        if isinstance(one, Refusal):
            return one
        return other if isinstance(other, Refusal) else merge(one, other)

    tasks = min(len(parts), TASKS_PER_CORE * spark.sparkContext.defaultParallelism)
    rdd = spark.sparkContext.parallelize(parts, tasks).mapPartitions(task)
    found: Value | Refusal = watch(stage, len(parts), lambda: rdd.treeReduce(either), lambda: (done.value, None))
    if isinstance(found, Refusal):
        raise found
    return found
