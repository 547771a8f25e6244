"""Runs side by side on this machine: a few processes, one progress bar, and one failed run never stops the others.

A tiny model is fastest on one thread (docs/training.md), so on a CPU there are as many processes as cores; on a GPU there
is one.
"""

import multiprocessing
import os
import queue
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.queues import Queue
from typing import Generic, Never, TypeVar

from tqdm import tqdm

Task = TypeVar("Task")
Result = TypeVar("Result")
Tell = Callable[[int], None]
"""Called by a task with the work done since it last told."""

_told: "Queue[int]"


class RunsFailed(RuntimeError):
    """Some runs failed while the others are done."""


@dataclass(frozen=True)
class Work(Generic[Task, Result]):
    """What is done with every task, and how the bar counts it."""

    name: str
    function: Callable[[Task, Tell], Result]
    unit: str
    size: Callable[[Task], int]
    label: Callable[[Task], str]


def workers(device: str) -> int:
    """Processes for a device."""
    return 1 if device.startswith("cuda") else len(os.sched_getaffinity(0))


def run(work: Work[Task, Result], tasks: Sequence[Task], processes: int) -> list[Result]:
    """Results in the order of the tasks. Raises RunsFailed at the end, naming each task that failed and why."""
    context = multiprocessing.get_context("spawn")
    told: Queue[int] = context.Queue()
    with (
        ProcessPoolExecutor(min(processes, len(tasks)), context, _start, (told,)) as pool,
        tqdm(
            total=sum(map(work.size, tasks)),
            desc=work.name,
            unit=work.unit,
            unit_scale=True,
            file=sys.stderr,
            mininterval=0.5 if sys.stderr.isatty() else 10,
            dynamic_ncols=True,
        ) as bar,
    ):
        futures = [pool.submit(_call, work.function, task) for task in tasks]
        bar.refresh()
        while not all(future.done() for future in futures):
            _advance(bar, told, futures, len(tasks))
        _advance(bar, told, futures, len(tasks))
    failed = [
        f"\n  {work.label(task)}: {type(error).__name__}: {error}"
        for task, future in zip(tasks, futures, strict=True)
        if (error := future.exception())
    ]
    if failed:
        raise RunsFailed(f"{work.name}: {len(failed)} of {len(tasks)} runs failed, the others are done:{''.join(failed)}")
    return [future.result() for future in futures]


def _advance(bar: "tqdm[Never]", told: "Queue[int]", futures: Sequence["Future[Result]"], tasks: int) -> None:
    bar.set_postfix_str(f"{sum(future.done() for future in futures)} of {tasks} done", refresh=False)
    try:
        bar.update(told.get(timeout=0.3))
        while True:
            bar.update(told.get_nowait())
    except queue.Empty:
        return


def _start(told: "Queue[int]") -> None:
    global _told
    _told = told


def _call(function: Callable[[Task, Tell], Result], task: Task) -> Result:
    return function(task, _told.put)
