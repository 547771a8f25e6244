"""Every verb killed with SIGKILL on its way, again and again, then run to its end: its files are those of an untouched run.

    python tests/hostile/kills.py [--only VERB ...] [--seed N] [--rounds N]

Killed are the driver, Spark's Java machines, Python workers, the helper that extracts, the child that measures, fastText's
child and the processes that train, in `local[2]` and on a standalone cluster, at moments that the seed decides. A run begins
as soon as the driver before it has ended. A verb that goes on after a kill must have the right files by itself; one that
ends must say so in a sentence. No process may outlive its driver by more than `PATIENCE`. Prints a line a kill and the
counts at the end; the exit code is 1 where anything was otherwise.
"""

import argparse
import importlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import tiny

from jobs.bench import standalone
from jobs.parts import command, ledger, storage
from jobs.parts.session import BRIEF, HOME

WHOLE = "experiment"
ENDING = ("driver", "jvm")
"""Without these a verb ends; without the others it goes on."""
SPARK = ("driver", "jvm", "worker")
VICTIMS = {
    "read": (*SPARK, "helper"),
    "split": SPARK,
    "dedup": SPARK,
    "train_tokenizer": SPARK,
    "train_classifier": (*SPARK, "fasttext"),
    "score": (*SPARK, "measurer"),
    "choose": SPARK,
    "sweep": SPARK,
    "compare": SPARK,
    "pack": SPARK,
    "train": ("driver", "trainer"),
    "evaluate": (*SPARK, "trainer"),
    "explore": SPARK,
    "report": ("driver",),
    "verify": ("driver",),
    WHOLE: ("driver", "jvm"),
}
"""Verbs, in an order in which each finds what it needs, and who works for them."""
ON_CLUSTER = {
    "read": (*SPARK, "executor", "helper"),
    "score": (*SPARK, "executor", "measurer"),
    "train": ("driver", "executor", "worker"),
    WHOLE: (*ENDING, "executor"),
}
NOBODY = "nobody"
START_SECONDS = 10.0
"""What a verb takes until Spark is there."""
LIVES = {"helper": 2.0, "fasttext": 0.3, "measurer": 2.0}
"""Seconds for which those that are not there all the time are there at least."""
PATIENCE = 15.0
"""Seconds after which a process that has lost its driver is an orphan. An executor notices it by a heartbeat."""
MOST_SECONDS = 900.0
"""For a verb, killed or not, on a busy machine: ten times what the longest takes."""
MARK = "GOODHART_KILLS"
"""A variable of the environment by which a run's processes are known, whoever their parents are by now."""
TRACE = re.compile(r"Traceback \(most recent call last\)|^\s+at [\w.$]+\(", re.MULTILINE)


class Process(NamedTuple):
    """A process, and what it is for us."""

    pid: int
    role: str


@dataclass
class Kill:
    """One trial: where, what, whom and when: a share of the victim's time, or of the changes to files."""

    where: str
    verb: str
    victim: str
    share: float
    by_changes: bool
    moment: str = ""
    """When it was; empty where the run ended before."""
    end: str = ""
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.where} {self.verb}: {self.victim} killed {self.moment or 'too late'}: {self.end}"


class Bench:
    """A folder with inputs and an experiment, the states between verbs, and the cluster's master."""

    def __init__(self, folder: Path, master: str) -> None:
        self.folder, self.master = folder, master
        self.out = folder / "out"
        self.conf = tiny.make(folder / "in", self.out, prefer=["characters"])  # so that one run of each verb does all
        self.number = 0
        self.ended: tuple[Kill, str, float] | None = None
        """The last kill, the mark of its processes, and when its driver ended."""
        self.expected("nothing").mkdir(parents=True)
        (folder / "tmp").mkdir()

    def begin(self, where: str, verb: str) -> tuple["subprocess.Popen[bytes]", str]:
        """Start a verb; the process and the mark of all that it starts."""
        self.number += 1
        mark = f"{os.getpid()}-{self.number}"
        here = [sys.executable, "-m", f"jobs.{verb}"]
        submit = [standalone.SUBMIT, "--master", self.master, "--conf", "spark.executor.memory=512m"]
        submit += ["--driver-java-options", BRIEF, "--conf", f"spark.executor.extraJavaOptions={BRIEF}"]
        cluster = [*submit, "--conf", f"spark.executorEnv.{MARK}={mark}", str(HOME / "jobs" / f"{verb}.py")]
        self.log = self.folder / f"said-{self.number}"
        with self.log.open("wb") as said:
            process = subprocess.Popen(
                [*(cluster if where == "cluster" else here), str(self.conf)],
                cwd=self.folder,
                env={**standalone.environment(), "PYTHONPATH": str(HOME), "TMPDIR": str(self.folder / "tmp"), MARK: mark},
                stdout=said,
                stderr=said,
            )
        return process, mark

    def said(self) -> str:
        """What the last run has said, at its end."""
        return self.log.read_text()[-2500:]

    def state(self, verb: str) -> Path:
        """What lies under `out:` before a verb: what the one before has left, and of the whole experiment nothing."""
        verbs = ["nothing", *VICTIMS]
        return self.expected("nothing" if verb == WHOLE else verbs[verbs.index(verb) - 1])

    def expected(self, verb: str) -> Path:
        """What an untouched run leaves."""
        return self.folder / "states" / verb

    def look_for_orphans(self) -> None:
        """End what is left of the run that ended before the last one, and say that it was there."""
        if self.ended is not None:
            kill, mark, ended = self.ended
            while (left := processes(mark)) and time.monotonic() - ended < PATIENCE:
                time.sleep(0.05)
            kill.wrong += [f"outlived the driver: {left}"] if left else []
            end(left)


def processes(mark: str) -> list[Process]:
    """The processes of a run, by the mark in their environment."""
    wanted, found = f"{MARK}={mark}".encode(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                asked = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                status = (folder / "stat").read_text().rpartition(")")[2].split()
                if status[0] != "Z":
                    found[int(folder.name)] = (asked, int(status[1]))
        except OSError:  # it has ended
            continue
    return [Process(pid, _role(found, pid)) for pid in sorted(found)]


ROLES = {
    "CoarseGrainedExecutorBackend": "executor",
    "deploy.SparkSubmit": "jvm",
    "jobs.shards.extract_page": "helper",
    "classifiers.fasttext.child": "fasttext",
    "multiprocessing.spawn": "trainer",
    "pyspark.daemon": "daemon",
}
"""What is in a command, and whose it is; workers and the child that measures are forks of the daemon."""
FORKS = {"daemon": "worker", "worker": "measurer", "measurer": "measurer"}


def _role(found: Mapping[int, tuple[str, int]], pid: int) -> str:
    asked, parent = found[pid]
    role = next((role for words, role in ROLES.items() if words in asked), None)
    if role == "daemon" and parent in found and "pyspark.daemon" in found[parent][0]:
        return FORKS[_role(found, parent)]
    if role is None and re.match(r"\S*python\S* (-m jobs\.|\S*jobs/)", asked):
        return "driver"
    return role or "other"


def changes(out: Path) -> set[tuple[str, int]]:
    """What there is to see of files while they come and change, but for those that every verb begins with."""
    found = set()
    for folder, names in storage.walk(out):
        for name in {*names} - {*ledger.UNLISTED}:
            with suppress(FileNotFoundError):
                found.add((str((folder / name).relative_to(out)), (folder / name).stat().st_mtime_ns))
    return found


def unlike(out: Path, expected: Path) -> list[str]:
    """The files that one folder has and the other lacks, or that hold something else."""
    here, there = tiny.held(out), tiny.held(expected)
    return sorted(name for name in {**here, **there} if here.get(name) != there.get(name))


def follow(job: "subprocess.Popen[bytes]", mark: str) -> Iterator[tuple[float, list[Process]]]:
    """While a run lasts: the time and its processes. Raises TimeoutError when it hangs."""
    begun = time.monotonic()
    while job.poll() is None:
        now = time.monotonic()
        if now - begun > MOST_SECONDS:
            end(processes(mark))
            job.wait()
            raise TimeoutError(f"it hung for {MOST_SECONDS:.0f} s")
        yield now, processes(mark)
        time.sleep(0.02)


def end(those: list[Process]) -> None:
    for process in those:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def untouched(folder: Path, conf: Path, verbs: Sequence[str]) -> None:
    """Run verbs in one process; keep what each leaves, and how long it took."""
    out = folder / "out"
    for verb in verbs:
        if verb == WHOLE:
            shutil.rmtree(out, ignore_errors=True)
        begun, module = time.monotonic(), importlib.import_module(f"jobs.{verb}")
        if code := command.run(module.main, module.__doc__, [str(conf)], reads_only=verb == "verify"):
            sys.exit(f"{verb} ended with {code}")
        shutil.copytree(out, folder / "states" / verb, symlinks=True)
        (folder / "states" / f"{verb}.seconds").write_text(str(time.monotonic() - begun))


def chain(bench: Bench, kills: list[Kill]) -> list[Kill]:
    """Run a verb again and again, each time with another kill, then to its end. What was wrong is in the kills."""
    before, done = set[tuple[str, int]](), True
    for kill in kills:
        if done:
            tiny.put(bench.state(kill.verb), bench.out)
            before = changes(bench.out)
        job, mark = bench.begin(kill.where, kill.verb)
        _strike(bench, kill, job, mark, before)
        done = _ended(bench, kill, job, mark)
        print(kill, *kill.wrong, flush=True)
    last = Kill(kills[-1].where, kills[-1].verb, NOBODY, 1.0, by_changes=True)
    if not done:
        job, mark = bench.begin(last.where, last.verb)
        if not _ended(bench, last, job, mark):
            last.wrong.append(f"the last run did not end well: {bench.said()}")
        print(last, *last.wrong, flush=True)
    return [*kills, last]


def _strike(bench: Bench, kill: Kill, job: "subprocess.Popen[bytes]", mark: str, before: set[tuple[str, int]]) -> None:
    """Kill the victim at its moment, unless the run ends before."""
    first, begun = 0.0, len(changes(bench.out) - before)
    usual = len(changes(bench.expected(kill.verb)) - changes(bench.state(kill.verb)))
    seconds = float((bench.folder / "states" / f"{kill.verb}.seconds").read_text())
    lives = seconds + START_SECONDS if kill.victim in ENDING else LIVES.get(kill.victim, seconds / 3)
    for now, those in follow(job, mark):
        victims = [process for process in those if process.role == kill.victim]
        first = first or (now if victims else 0.0)
        seen = len(changes(bench.out) - before)
        share = (seen - begun) / max(usual - begun, 1) if kill.by_changes else (now - first) / lives
        if victims and share >= kill.share:
            end(victims[-1:])
            kill.moment = f"{now - first:.1f} s after it began, at change {seen} of {usual}"
            return


def _ended(bench: Bench, kill: Kill, job: "subprocess.Popen[bytes]", mark: str) -> bool:
    """Wait for the end of a run, and judge it; whether it has done its work."""
    try:
        for _ in follow(job, mark):
            pass
    except TimeoutError as error:
        kill.wrong.append(str(error))
    waited = time.monotonic()  # spark-submit is the driver's parent, and may end before it
    while any(one.role == "driver" for one in processes(mark)) and time.monotonic() - waited < PATIENCE:
        time.sleep(0.05)
    done = job.returncode == 0
    if done:
        other = unlike(bench.out, bench.expected(kill.verb))
        kill.wrong += [f"other files: {other}"] if other else []
    sentence = next((line for line in bench.said().splitlines() if line.startswith("goodhart: ")), "")
    silent = kill.victim == "driver" or (kill.where, kill.victim) == ("cluster", "jvm")  # spark-submit speaks for its driver
    if not done and (TRACE.search(bench.said()) or not (sentence or silent)):
        kill.wrong.append(f"it ended with a trace or without a sentence: {bench.said()}")
    kill.end = "went on" if done else f"ended with {job.returncode} {sentence}"
    bench.look_for_orphans()
    bench.ended = (kill, mark, time.monotonic())
    return done


def plan(verb: str, draw: random.Random) -> list[Kill]:
    """The kills of a verb, here and on the cluster: at first those after which it goes on, then those that end it."""
    pairs = [("local[2]", victim) for victim in VICTIMS[verb]]
    pairs += [("cluster", victim) for victim in ON_CLUSTER.get(verb, ())]
    draw.shuffle(pairs)
    return [
        Kill(where, verb, victim, draw.uniform(0.1, 0.9), victim in ENDING and draw.random() < 0.7)
        for where, victim in sorted(pairs, key=lambda pair: pair[1] in ENDING)
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = [*VICTIMS]
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="VERB", help="kill these alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1, help="how often everybody is killed in each verb")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # so that local[*] is local[2]
    with tempfile.TemporaryDirectory(prefix="kills-") as name, standalone.running(Path(name)) as master:
        bench, draw, found = Bench(Path(name), master), random.Random(asked.seed), list[Kill]()
        last = max([every.index(one) for one in asked.only if one != WHOLE], default=-1)
        verbs = [*every[: last + 1], *[WHOLE] * (WHOLE in asked.only)]
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            alone.submit(untouched, bench.folder, bench.conf, verbs).result()
        for verb in asked.rounds * asked.only:
            found += chain(bench, plan(verb, draw))
        bench.look_for_orphans()
        return _sum(found)


def _sum(kills: list[Kill]) -> int:
    """Print how many there were of each, and what was wrong; 1 where anything was."""
    counts = defaultdict[str, Counter[str]](Counter)
    for kill in kills:
        counts[f"{kill.where} {kill.verb}"][kill.victim] += bool(kill.moment)
    for name, victims in counts.items():
        print(f"{name}: " + ", ".join(f"{victim} {many}" for victim, many in sorted(victims.items())))
    struck, wrong = [kill for kill in kills if kill.moment], [kill for kill in kills if kill.wrong]
    late = sum(not kill.moment and kill.victim != NOBODY for kill in kills)
    print(f"{len(struck)} kills, {late} came too late; {len(wrong)} did not end as they must")
    for kill in wrong:
        print(kill, *kill.wrong)
    return 1 if wrong or not struck else 0


if __name__ == "__main__":
    sys.exit(main())
