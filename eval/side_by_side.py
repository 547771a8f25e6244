"""Runs side by side on this machine: a few processes, one progress bar, and one failed run never stops the others.

A tiny model is fastest on one thread (docs/training.md), so on a CPU there are as many processes as cores; of GPUs each has
one. A process does task after task, since each start costs the imports of torch. One that dies (the kernel ends the
largest when memory is short) takes nobody with it, as it would in a pool of `concurrent.futures`: its task is tried again
behind the others. Every process ends with this one, however this one ends.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, Never, TypeVar

from tqdm import tqdm

ATTEMPTS = 3
"""How often a task is begun when its process dies each time."""

Task = TypeVar("Task")
Result = TypeVar("Result")
Tell = Callable[[int], None]
"""Called by a task with the work done since it last told."""


class RunsFailed(RuntimeError):
    """Some runs failed while the others are done."""


class ProcessSpoilt(RuntimeError):
    """What a task raises when its process can do no other task either: it ends, and the task is tried in another."""


@dataclass(frozen=True)
class Work(Generic[Task, Result]):
    """What is done with every task, and how the bar counts it."""

    name: str
    function: Callable[[Task, Tell], Result]
    unit: str
    size: Callable[[Task], int]
    label: Callable[[Task], str]
    flops: Callable[[Task], float] | None = None
    """Operations for each unit, where the bar is to say how far the machine is used."""


@dataclass(frozen=True)
class _Outcome(Generic[Result]):
    """A task after its end: its result, or why there is none."""

    result: Result
    failure: str | None = None


@dataclass(frozen=True)
class _Death:
    """A process that ended before its task did."""

    cause: str


@dataclass(frozen=True)
class Slots:
    """The processes that work at once: what each finds in its environment, and operations a second of all, if known."""

    environments: Sequence[Mapping[str, str]]
    peak: float | None = None

    def __len__(self) -> int:
        return len(self.environments)


def cores() -> Slots:
    """A process for each core that we may use."""
    return Slots([{} for _ in os.sched_getaffinity(0)])


def run(work: Work[Task, Result], tasks: Sequence[Task], slots: Slots) -> list[Result]:
    """Results in the order of the tasks. Raises RunsFailed at the end, naming each task that failed and why."""
    with tqdm(
        total=sum(map(work.size, tasks)),
        desc=work.name,
        unit=work.unit,
        unit_scale=True,
        file=sys.stderr,
        mininterval=0.5 if sys.stderr.isatty() else 10,
        dynamic_ncols=True,
    ) as bar:
        outcomes = _Crew(work, tasks, slots, bar).outcomes()
    failed = [
        f"\n  {work.label(task)}: {outcome.failure}"
        for task, outcome in zip(tasks, outcomes, strict=True)
        if outcome.failure is not None
    ]
    if failed:
        raise RunsFailed(f"{work.name}: {len(failed)} of {len(tasks)} runs failed, the others are done:{''.join(failed)}")
    return [outcome.result for outcome in outcomes]


class _Crew(Generic[Task, Result]):
    """The processes at work, and the tasks that wait for one."""

    def __init__(self, work: Work[Task, Result], tasks: Sequence[Task], slots: Slots, bar: "tqdm[Never]") -> None:
        self.work, self.tasks, self.peak, self.bar = work, tasks, slots.peak, bar
        self.free = deque(slots.environments)
        self.waiting = deque(range(len(tasks)))
        self.deaths = Counter[int]()
        self.ended: dict[int, _Outcome[Any]] = {}
        self.busy: dict[Connection[Any, Any], _Worker] = {}
        self.begun, self.flops = time.monotonic(), 0.0

    def outcomes(self) -> list[_Outcome[Any]]:
        """What became of every task, in their order. No process is left afterwards, also after an error."""
        self.bar.refresh()
        try:
            while len(self.ended) < len(self.tasks):
                while self.waiting and self.free:
                    worker = _Worker(self.work.function, self.free.popleft())
                    self.busy[worker.link] = worker
                    self._give(worker)
                for link in wait(list(self.busy)):
                    self._take(self.busy[link])  # type: ignore[index]
                self.bar.set_postfix_str(self._told(), refresh=False)
        finally:
            for worker in self.busy.values():
                worker.end()
        return [self.ended[at] for at in range(len(self.tasks))]

    def _told(self) -> str:
        """How many tasks are done, and how far the machine was used."""
        said = f"{len(self.ended)} of {len(self.tasks)} done"
        used = self.flops / (time.monotonic() - self.begun)
        return f"{said}, {used / self.peak:.0%} of the peak" if self.peak else said

    def _give(self, worker: "_Worker") -> None:
        at = self.waiting.popleft()
        worker.give(at, self.tasks[at])

    def _take(self, worker: "_Worker") -> None:
        said = worker.said()
        if isinstance(said, int):
            worker.told += said
            self.bar.update(said)
            self.flops += said * self.work.flops(self.tasks[worker.at]) if self.work.flops else 0.0
        elif isinstance(said, _Death):
            self.bar.update(-worker.told)  # the next attempt tells it again
            self._dismiss(worker)
            self._lost(worker.at, said.cause)
        else:
            self.ended[worker.at] = said
            if self.waiting:
                self._give(worker)
            else:
                self._dismiss(worker)

    def _dismiss(self, worker: "_Worker") -> None:
        del self.busy[worker.link]
        worker.end()
        self.free.append(worker.environment)

    def _lost(self, at: int, cause: str) -> None:
        self.deaths[at] += 1
        if self.deaths[at] < ATTEMPTS:
            self.waiting.append(at)
        else:
            self.ended[at] = _Outcome(None, f"its process died {ATTEMPTS} times, the last time {cause}")


class _Worker:
    """A process, our end of the pipe to it, and what it is at."""

    def __init__(self, function: Callable[[Any, Tell], Any], environment: Mapping[str, str]) -> None:
        self.environment = environment
        context = multiprocessing.get_context("spawn")
        self.link, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, environment, theirs))
        self.process.start()
        theirs.close()  # the pipe must end with the process
        self.at, self.told = -1, 0

    def give(self, at: int, task: object) -> None:
        self.at, self.told = at, 0
        with contextlib.suppress(OSError):  # it is dead already: that is what it will be heard to say
            self.link.send(task)

    def said(self) -> int | _Outcome[Any] | _Death:
        """Work done since it last told, the outcome of its task, or its death."""
        try:
            said: int | _Outcome[Any] | _Death = self.link.recv()
        except (EOFError, OSError):  # the pipe ended, between two messages or within one
            self.process.join()
            return _Death(_cause(self.process.exitcode or 0))
        return said

    def end(self) -> None:
        """End the process, whatever it is at: what it writes is whole or not there."""
        self.process.kill()
        self.process.join()
        self.link.close()


def _cause(exit_code: int) -> str:
    if exit_code >= 0:
        return f"with exit code {exit_code}"
    names = {one.value: one.name for one in signal.Signals}
    cause = f"by {names.get(-exit_code, f'signal {-exit_code}')}"
    return f"{cause} (as the kernel does when memory runs out)" if exit_code == -signal.SIGKILL else cause


def why(error: Exception) -> str:
    """What is told of an error that stopped one task of several: its kind, what it says, the line that raised it."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"


def _serve(function: Callable[[Task, Tell], Result], environment: Mapping[str, str], link: "Connection[Any, Any]") -> None:
    """The life of a process: tasks come in, what is done and what became of them goes out."""
    os.environ.update(environment)  # CUDA looks when it is first used
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; the parent answers it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):  # the parent has ended, and so do we
        while True:
            _do(link.recv(), function, link)


def _do(task: Task, function: Callable[[Task, Tell], Result], link: "Connection[Any, Any]") -> None:
    """One task, and what became of it."""
    try:
        outcome = _Outcome[Any](function(task, link.send))
    except ProcessSpoilt as error:
        link.send(_Death(str(error)))
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - whatever stops one task is told at the end, the others go on
        outcome = _Outcome(None, why(error))
    link.send(outcome)


def _end_with_parent() -> None:
    """Wait for the parent's end of a pipe to close, which the system does however the parent ends; then end at once.

    Unlike Linux's parent-death signal it does not depend on which thread of the parent started this process.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
