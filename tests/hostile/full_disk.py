"""A disk that is full, verb after verb: one sentence, and with room again the bytes of an experiment that always had room.

    python tests/hostile/full_disk.py [VERB ...]

`out:`, and in trials of their own the temporary files of Python and Spark, lie on a file system in memory. An untouched run
tells what each verb finds there and takes; the disk is made as large as the one and a share of the other. One folder goes
through all trials, so each begins with what the failures before have left. Mounting takes root.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tiny

from jobs import experiment
from jobs.parts import command
from jobs.parts.session import HOME

PAGE, ROOM = 4096, 1 << 30
SHARES, OF_TEMPORARY = (0.25, 0.75), 0.1
"""Of what a verb took, in turn: what it may take this time. Of temporary files a process that starts anew needs less."""
LEAST = (4 * PAGE, 10 * PAGE)
"""A verb that takes less of a disk writes nothing there but what begins every job."""
SENTENCE = "goodhart: no space is left on the disk"
UNTOLD = ("Traceback", "Exception", "ERROR", "Errno")


@dataclass(frozen=True)
class Took:
    """What a verb held of the two disks in an untouched run: bytes when it began and at most."""

    verb: str
    before: tuple[int, int]
    peak: tuple[int, int]


class Place:
    """A working directory with `disk` for `out:` and `tmp` for temporary files, each a file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disks = (folder / "disk", folder / "tmp")

    def limit(self, which: int, size: int) -> None:
        """Make a disk as large as this."""
        subprocess.run(["mount", "-o", f"remount,size={size}", self.disks[which]], check=True)

    def __enter__(self) -> "Place":
        for disk in self.disks:
            disk.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", disk], check=True)
        return self

    def __exit__(self, *error: object) -> None:
        for disk in self.disks:
            subprocess.run(["umount", "-l", disk], check=True)

    def run(self, conf: Path, verbs: int) -> tuple[int, str, list[Took]]:
        """Run the first so many verbs: exit code, what was said, and the verbs that were begun."""
        log = self.folder / "verbs"
        log.write_text("")
        environment = {**os.environ, "PYTHONPATH": str(HOME)}
        environment |= {"TMPDIR": str(self.disks[1]), "SPARK_LOCAL_DIRS": str(self.disks[1])}
        done = subprocess.run(
            [sys.executable, __file__, "--child", str(conf), str(verbs), str(log)],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stderr, [Took(**json.loads(line)) for line in log.read_text().splitlines()]


def used(disk: Path) -> int:
    """Bytes in use on a file system."""
    told = os.statvfs(disk)
    return (told.f_blocks - told.f_bfree) * told.f_frsize


def child(conf: str, count: int, log: Path) -> int:
    """The experiment as far as its verbs of that number; a line in the log for each that was begun."""
    whole = experiment._verbs

    def measured(verb: experiment.Verb) -> experiment.Verb:
        def run(asked: experiment.Experiment, dry_run: bool) -> int:
            with _watched(f"{verb.__module__.removeprefix('jobs.')}.{verb.__name__}".removesuffix(".main"), log):
                return verb(asked, dry_run)

        return run

    experiment._verbs = lambda asked: tuple(map(measured, whole(asked)[:count]))
    return command.run(experiment.main, None, [conf], experiment.check)


@contextmanager
def _watched(verb: str, log: Path) -> Iterator[None]:
    disks = (Path("disk"), Path("tmp"))
    before, ended = tuple(map(used, disks)), threading.Event()
    peak = list(before)

    def watch() -> None:
        last = False
        while not last:
            last = ended.wait(0.002)
            peak[:] = [max(most, used(disk)) for most, disk in zip(peak, disks, strict=True)]

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        with log.open("a") as file:
            file.write(json.dumps({"verb": verb, "before": before, "peak": peak}) + "\n")


def trials(took: list[Took], asked: list[str]) -> Iterator[tuple[int, int, int]]:
    """Which verb, which of its two disks, and how large that is."""
    for number, one in enumerate(took):
        for which, share in ((0, SHARES[number % 2]), (1, OF_TEMPORARY)):
            takes = one.peak[which] - one.before[which]
            if takes >= LEAST[which] and (not asked or one.verb in asked):
                yield number, which, (0 if which else one.before[0]) + max(1, int(share * takes) // PAGE) * PAGE


def trial(asked: list[str]) -> Iterator[str]:
    """A line for each verb and disk. Raises AssertionError, which says what was said."""
    with tempfile.TemporaryDirectory(prefix="full-disk-") as name:
        root = Path(name)
        conf = tiny.make(root / "in", Path("disk/out"))
        with Place(root / "whole") as place:
            code, said, took = place.run(conf, 99)
            assert code == 0, said[-2000:]
            wanted = tiny.held(root / "whole" / "disk" / "out")
        with Place(root / "full") as place:
            before = -1
            for number, which, size in trials(took, asked):
                one = took[number]
                if which or before != number - 1 or (number and took[before].peak[0] > size):
                    place.run(conf, number)  # the verbs before it: what they take for a time is more than there will be
                before = number
                place.limit(which, size + which * used(place.disks[1]))
                code, said, begun = place.run(conf, number + 1)
                place.limit(which, ROOM)
                if which and code == 0:
                    yield f"{one.verb}: needs no temporary files when it is begun anew"
                    continue
                told = [line for line in said.splitlines() if line.startswith("goodhart: ")]
                assert code == command.DAMAGED and len(told) == 1 and told[0].startswith(SENTENCE), (one, code, said[-2000:])
                assert not any(word in said for word in UNTOLD), (one, said[:2000])
                where = begun[-1].verb if begun else "its start"
                yield f"{one.verb}: {('out', 'temporary files')[which]} of {size:,} bytes, full in {where}"
            code, said, _ = place.run(conf, 99)
            assert code == 0, said[-2000:]
            found = tiny.held(root / "full" / "disk" / "out")
        unlike = sorted(name for name in {**wanted, **found} if wanted.get(name) != found.get(name))
        assert not unlike, unlike
        yield f"{len(wanted)} of {len(wanted)} files as in the run that always had room"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        sys.exit(child(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
    for line in trial(sys.argv[1:]):
        print(line, flush=True)
