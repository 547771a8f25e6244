"""What processes take, read from /proc: processor time with all that stand below, memory."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """One process: its id and command, the clock ticks of it and its children that ended, the bytes it holds."""

    pid: int
    name: str
    ticks: int
    resident: int


def below(root: int) -> Iterator[Process]:
    """A process and all that stand below it."""
    found = {int(folder.name): _read(folder) for folder in Path("/proc").glob("[0-9]*")}
    parents = {pid: told[0] for pid, told in found.items() if told}
    for pid, told in found.items():
        above = pid
        while above in parents and above != root:
            above = parents[above]
        if above == root and told:
            yield told[1]


def ticks(root: int) -> Counter[str]:
    """Clock ticks of a process and all below it, those that ended included, by the command's name."""
    used = Counter[str]()
    for process in below(root):
        used[process.name] += process.ticks
    return used


def _read(folder: Path) -> tuple[int, Process] | None:
    """The parent and the process; None where it has ended: its parent has its time."""
    try:
        name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return None
    fields = rest.split()
    used, held = sum(map(int, fields[11:15])), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return int(fields[1]), Process(int(folder.name), name, used, held)
