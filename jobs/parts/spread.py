"""Runs carried out: side by side on this machine, or on a cluster as tasks of a Spark job, one for each slot.

A slot is a core, or a GPU where Spark knows of them (`spark.task.resource.gpu.amount`). Every run has its own folder and
leaves what is done there, so a killed sweep goes on run by run and step by step wherever its runs come to lie.
"""

import os
import time
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from pyspark import TaskContext
from pyspark.sql import SparkSession

from eval import side_by_side
from eval.plan import RunConfig
from eval.runs import device_here, slots
from eval.side_by_side import ProcessSpoilt, RunsFailed, Work, why
from eval.training import RunBusy
from jobs.parts.loop import Outcome, outcomes, watch
from jobs.parts.session import on_cluster, stand_in, whereabouts
from jobs.parts.table import Part

BUSY_SECONDS = 5.0
"""How long a second attempt of a task waits before it looks again whether the first one lives."""


class Movable(Protocol):
    """What runs on a device."""

    def on(self, device: str) -> Any:
        """The same on another device."""


Task = TypeVar("Task", bound=Movable)


def carry_out(work: Work[Task, Any], tasks: Sequence[Task], asked: str) -> None:
    """Do all tasks on the device that is asked for. Raises RunsFailed at the end, naming each that failed and why."""
    spark = on_cluster(work.name)
    if spark is not None:
        _on_cluster(spark, work, tasks, asked)
        return
    device = device_here(asked)
    trained = [task for task in tasks if isinstance(task, RunConfig)]  # measuring fills a GPU from one process
    side_by_side.run(work, [task.on(device) for task in tasks], slots(device, trained))


def _on_cluster(spark: SparkSession, work: Work[Task, Any], tasks: Sequence[Task], asked: str) -> None:
    done, told = spark.sparkContext.accumulator(0), spark.sparkContext.accumulator(0)
    here = whereabouts()

    def one(part: Part) -> Outcome:
        stand_in(here)
        task = tasks[int(part.name)]
        failure = attempt(work, task, asked)
        done.add(1)
        told.add(work.size(task))
        return Outcome(part.name, 0, failure)

    parts = [Part(str(at), "", "") for at in range(len(tasks))]
    found = watch(
        work.name, len(tasks), lambda: list(outcomes(spark, parts, one)), lambda: (done.value, told.value), f"{work.unit}s"
    )
    failed = {work.label(tasks[int(outcome.part)]): outcome.failure for outcome in found if outcome.failure}
    if failed:
        listed = "".join(f"\n  {label}: {failure}" for label, failure in failed.items())
        raise RunsFailed(f"{work.name}: {len(failed)} of {len(tasks)} runs failed, the others are done:{listed}")


def attempt(work: Work[Task, Any], task: Task, asked: str) -> str | None:
    """Do a task in this process; why it failed. A process that is spoilt ends, so that Spark tries again in another."""
    while True:
        try:
            work.function(task.on(_device(asked)), lambda _: None)
        except RunBusy:  # another attempt of this task: it ends, or loses its lock with its process
            time.sleep(BUSY_SECONDS)
        except ProcessSpoilt:
            os._exit(1)
        except Exception as error:  # noqa: BLE001 - one bad run must not stop the others: it is listed at the end
            return why(error)
        else:
            return None


def _device(asked: str) -> str:
    """The GPU that Spark gives the task, if it does. Raises ValueError where there is no device as asked."""
    context = TaskContext.get()
    gpu = context.resources().get("gpu") if context and asked != "cpu" else None
    return f"cuda:{gpu.addresses[0]}" if gpu else device_here(asked)
