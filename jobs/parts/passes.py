"""One value from all parts: a map whose results are merged on the executors, so that the driver holds one of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pyspark.sql import SparkSession

from filters.rules import RuleError
from jobs.parts.loop import watch
from jobs.parts.refusals import ExperimentError, InvariantBroken
from jobs.parts.session import received, stand_in, whereabouts

Item = TypeVar("Item")
Value = TypeVar("Value")
Refusal = ExperimentError | InvariantBroken | RuleError
AT_ONCE = 8
"""Values that are merged together: many at once are less work than one by one, and more than these take memory."""
TASKS_PER_CORE = 4
"""Parts are taken together into so many tasks: a pass over small columns takes less time than starting a task a part."""


def merged(
    spark: SparkSession,
    stage: str,
    parts: Sequence[Item],
    function: Callable[[Item], Value],
    merge: Callable[[Sequence[Value]], Value],
) -> Value:
    """`function` of every part, or whatever tasks are made of, merged some at a time in any order.

    `merge` must be associative and commutative.

    Raises what the function raises of our refusals, as it was raised, and RuleError for a ValueError of `merge`.
    """
    here = whereabouts()
    done = spark.sparkContext.accumulator(0)

    def task(some: Iterable[Item]) -> Iterator[Value | Refusal]:
        stand_in(here)
        values: list[Value] = []
        try:
            for part in some:
                values.append(function(part))
                values = [_merge(merge, values)] if len(values) == AT_ONCE else values
                done.add(1)
            if values:
                yield _merge(merge, values)
        except (ExperimentError, InvariantBroken, RuleError) as error:  # raised here it would come back as a stack trace
            yield error

    def either(one: Value | Refusal, other: Value | Refusal) -> Value | Refusal:
        for value in (one, other):
            if isinstance(value, Refusal):
                return value
        try:
            return _merge(merge, [one, other])
        except RuleError as error:
            return error

    tasks = min(len(parts), TASKS_PER_CORE * spark.sparkContext.defaultParallelism)
    rdd = spark.sparkContext.parallelize(parts, tasks).mapPartitions(task)
    found: Value | Refusal = watch(stage, len(parts), lambda: received(rdd.treeReduce(either)), lambda: (done.value, None))
    if isinstance(found, Refusal):
        raise found
    return found


def _merge(merge: Callable[[Sequence[Value]], Value], values: Sequence[Any]) -> Value:
    if len(values) == 1:
        only: Value = values[0]
        return only
    try:
        return merge(values)
    except ValueError as error:
        raise RuleError(str(error)) from error
