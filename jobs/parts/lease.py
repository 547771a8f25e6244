"""A lease on a prefix of a store: who has it may write there, and it runs out when its job has been killed.

Leases are numbered files, `.lease-000001.json` and so on. A job takes the next number by a condition of the store's own
(write unless there is one), so of several that try one gets it; the highest number holds. Its job writes it again every few
seconds; one that has not been written for `SECONDS`, by the store's clock, has run out. Numbers are never used twice and
the last file stays, so that a job which slept through the end of its lease finds a higher number and stops.
"""

import json
import os
import re
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from filters.stores import StorePath, changed
from jobs.parts.refusals import ExperimentError

SECONDS = 60.0
"""After so long without a sign of life a lease has run out."""
NAME = re.compile(r"\.lease-(\d{6,})\.json")
CLOCK = ".lease-clock-{}"


@contextmanager
def held(out: StorePath, said: str) -> Iterator[None]:
    """Hold a lease on `out` while the block runs. Raises ExperimentError where another job has it, or has taken it since."""
    mine = _take(out, said)
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # so a shell starts what runs in the background; a lost lease must stop that too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with mine.kept():
            yield
    except KeyboardInterrupt:
        if mine.lost:
            raise ExperimentError(
                f"the lease on {out} was lost ({mine.lost}), so this job stopped: what is done stays, start it again"
            ) from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        mine.release()


def refuse_held(out: StorePath, said: str) -> None:
    """Raise ExperimentError where a job holds `out` now."""
    while numbers := _numbers(out):
        file = _file(out, numbers[-1])
        try:
            who, left = _told(file), _seconds_left(out, file)
        except FileNotFoundError:  # removed by a job that has the next number: look at that one
            continue
        if left > 0:
            raise ExperimentError(f"{said} ({who}; its lease ends in {left:.0f} s if it is dead)")
        return


def _take(out: StorePath, said: str) -> "Lease":
    """The next number. Raises ExperimentError where the highest has not run out, or another job is faster."""
    refuse_held(out, said)
    before = _numbers(out)
    mine = Lease(out, before[-1] + 1 if before else 1)
    if not mine.file.create(mine.content(released=False)) or _numbers(out)[-1] != mine.number:
        raise ExperimentError(said)
    for number in before:
        _file(out, number).unlink(missing_ok=True)
    return mine


class Lease:
    """One job's lease."""

    def __init__(self, out: StorePath, number: int) -> None:
        self.out, self.number = out, number
        self.lost = ""
        """Why it is no longer held; empty while it is."""
        self._ended = threading.Event()
        self._token = secrets.token_hex(8)

    @property
    def file(self) -> StorePath:
        """Where it lies."""
        return _file(self.out, self.number)

    def content(self, released: bool) -> bytes:
        """Who has it."""
        who = {"host": socket.gethostname(), "process": os.getpid(), "token": self._token, "released": released}
        return json.dumps(who).encode()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write it again and again; where it is lost, interrupt the main thread."""
        keeper = threading.Thread(target=self._keep, daemon=True)
        keeper.start()
        try:
            yield
        finally:
            self._ended.set()
            keeper.join()

    def _keep(self) -> None:
        missed = 0
        while not self._ended.wait(SECONDS / 4):
            try:
                self.lost = self.renew()
                missed = 0
            except Exception as error:  # noqa: BLE001 - nobody would see this thread die; some are outlived, then it is lost
                missed += 1
                self.lost = f"{type(error).__name__}: {error}" if missed >= 3 else ""
            if self.lost:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # also wakes what waits
                return

    def renew(self) -> str:
        """Say that the job lives; why the lease is lost, if it is."""
        numbers = _numbers(self.out)
        if not numbers or numbers[-1] != self.number:
            return f"another job took over: {_told(_file(self.out, numbers[-1]))}" if numbers else "it was removed"
        self.file.put(self.content(released=False))
        return ""

    def release(self) -> None:
        """Let the next job have its turn at once."""
        if not self.lost:
            self.file.put(self.content(released=True))


def _file(out: StorePath, number: int) -> StorePath:
    return out / f".lease-{number:06d}.json"


def _numbers(out: StorePath) -> list[int]:
    return sorted(int(found[1]) for one in out.listing() if (found := NAME.fullmatch(out.name_of(one))))


def _seconds_left(out: StorePath, file: StorePath) -> float:
    """How long a lease lasts if its job gives no sign of life; below 0 where it has run out or is given back."""
    if json.loads(file.read_bytes())["released"]:
        return -1.0
    clock = out / CLOCK.format(secrets.token_hex(8))
    clock.put(b"")
    now, written = changed(clock), changed(file)
    clock.unlink()
    return -1.0 if now is None or written is None else written + SECONDS - now


def _told(file: StorePath) -> str:
    who = json.loads(file.read_bytes())
    return f"process {who['process']} on {who['host']}"
