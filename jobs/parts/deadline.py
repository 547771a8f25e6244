"""Signals measured in a child process, so that a page that takes too long costs its own values and not the job.

The hard idea: compiled code that is at a page heeds no signal handler and no thread, so the kernel is the judge. The child
has a timer of processor time for each batch in each group and is ended when that runs out; a fresh one is then asked page by
page. A child is a fork of a process that has loaded every kernel and model already, so a fresh one costs milliseconds; it
serves all parts of its job that its parent works on, and ends when the pipe to that one does.
"""

import json
import mmap
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import NoReturn

import pyarrow as pa

from filters.pages import PageBatch
from filters.signals import Group

REASON = "measure_timeout"
"""Pages whose signals of a group are null because measuring them took too long."""
MOST_DEATHS = 2
SHARED_BYTES = 1 << 25
"""What parent and child share at first: memory is only taken up as far as batches reach."""
_KEPT: list["Measurer"] = []
SAMPLE = ["The river and a stone.\n\n- A list, of a kind: 3 items...\nÉtat, 石と川。", "", None]
"""What kernels are loaded with before the first fork."""
IDS = ["1", "2", "3"]
URLS = ["https://site.example/", None, None]


@dataclass(frozen=True)
class Deadline:
    """Processor seconds for a batch in one group: `page` for one page, `more` for each further one.

    The slowest of ours takes 1.7 s for 5 million characters, the most that a page has by default, of whatever was tried to
    make it slow; an ordinary page takes a thousandth. `least` and `times`: the clock's seconds, for what waits.
    """

    page: float = 30
    more: float = 0.1
    least: float = 60
    times: float = 10

    def of(self, pages: int) -> tuple[float, float]:
        """What so many pages may take, by the processor and by the clock."""
        seconds = self.page + self.more * (pages - 1)
        return seconds, self.least + self.times * seconds


class _TooSlow(Exception):
    """The child was ended at its deadline."""


class _Died(RuntimeError):
    """The child ended before its deadline."""


def measurer(groups: Mapping[str, Group], deadline: Deadline) -> "Measurer":
    """The one that this process has for the groups, or a new one in its place."""
    if not groups:
        return Measurer(groups, deadline)
    if _KEPT and (_KEPT[0].groups, _KEPT[0].deadline, _KEPT[0].owner) == (groups, deadline, os.getpid()):
        return _KEPT[0]
    if _KEPT and _KEPT[0].owner == os.getpid():
        _KEPT[0].stop()
    _KEPT[:] = [Measurer(groups, deadline)]
    return _KEPT[0]


class Measurer:
    """Groups, and the child that measures them; it is started when it is first asked."""

    def __init__(self, groups: Mapping[str, Group], deadline: Deadline) -> None:
        self.groups = groups
        self.deadline = deadline
        self.owner = os.getpid()
        self._child: tuple[int, Connection] | None = None
        self._shared = mmap.mmap(-1, SHARED_BYTES)
        self._sent: pa.RecordBatch | None = None
        self._unanswered = 0

    def measure(self, rows: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch, int]]:
        """Of each group one row per page, and how many of them are null because their page took too long.

        `rows`: id, text, url. An error that a group raises is raised here. A child that someone kills is replaced, once for
        each batch.
        """
        left, deaths = [*self.groups], 0
        while left:
            try:
                self._ask(rows, left, 0, len(rows))
                while left:
                    found = self._answer(left[0])
                    if found is None:  # an error, which is raised again where it can be told
                        found = self.groups[left[0]].measure(rows["id"], PageBatch(rows["text"], rows["url"]))
                    yield left.pop(0), found, 0
            except _TooSlow:
                name = left.pop(0)
                pieces = [self._one(name, rows, at) for at in range(len(rows))]
                yield name, pa.concat_batches([piece for piece, _ in pieces]), sum(slow for _, slow in pieces)
            except _Died:
                deaths += 1
                if deaths == MOST_DEATHS:
                    raise

    def _one(self, name: str, rows: pa.RecordBatch, at: int) -> tuple[pa.RecordBatch, bool]:
        """The values of one page by itself, and whether they are null because it took too long."""
        page = rows.slice(at, 1)
        try:
            self._ask(rows, [name], at, 1)
            found = self._answer(name)
            return found or self.groups[name].measure(page["id"], PageBatch(page["text"], page["url"])), False
        except _TooSlow:
            schema = self.groups[name].schema
            nulls = [pa.nulls(1, field.type) for field in schema][1:]
            return pa.record_batch([page["id"].cast(pa.string()), *nulls], schema), True

    def _ask(self, rows: pa.RecordBatch, names: Sequence[str], begin: int, count: int) -> None:
        """Have the child measure some of the pages, one group after the other."""
        if self._unanswered or _stream_bytes(rows) > len(self._shared):
            self.stop()
        if _stream_bytes(rows) > len(self._shared):
            self._shared = mmap.mmap(-1, 2 * _stream_bytes(rows))
        _, connection = self._child or self._start()
        is_new = self._sent is not rows
        if is_new:
            with pa.ipc.new_stream(pa.FixedSizeBufferWriter(pa.py_buffer(self._shared)), rows.schema) as stream:
                stream.write_batch(rows)
            self._sent = rows
        try:
            connection.send_bytes(json.dumps([is_new, names, begin, count, *self.deadline.of(count)]).encode())
        except ConnectionError:
            self._bury(names[0])
        self._unanswered = len(names)

    def _answer(self, name: str) -> pa.RecordBatch | None:
        """The child's next answer, None if the group raised an error. Raises _TooSlow."""
        assert self._child
        try:
            answer = self._child[1].recv_bytes()
        except (EOFError, ConnectionError):
            self._bury(name)
        self._unanswered -= 1
        return pa.ipc.open_stream(answer).read_next_batch() if answer else None

    def _bury(self, name: str) -> NoReturn:
        """The child has died, at a group or before it: say of what. Raises _TooSlow or _Died."""
        assert self._child
        pid, connection = self._child
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._forget(connection)
        if code in (-signal.SIGPROF, -signal.SIGALRM):
            raise _TooSlow from None
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise _Died(f"the process that measures {name} ended with {how}, {MOST_DEATHS} times") from None

    def _start(self) -> tuple[int, Connection]:
        sample = PageBatch(pa.array(SAMPLE, pa.large_string()), pa.array(URLS))
        for group in self.groups.values():
            group.measure(pa.array(IDS), sample)
        here, there = Pipe()
        pid = os.fork()
        if pid == 0:
            _serve(there, self._shared, self.groups)
        there.close()
        self._child = (pid, here)
        return self._child

    def stop(self) -> None:
        """End the child."""
        if self._child is not None:
            pid, connection = self._child
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        connection.close()
        self._child, self._sent, self._unanswered = None, None, 0


def _stream_bytes(rows: pa.RecordBatch) -> int:
    """What a batch takes at most as a stream."""
    return int(rows.nbytes) + 4096


def _serve(connection: Connection, shared: mmap.mmap, groups: Mapping[str, Group]) -> None:
    """The child's life: what is asked about the batch that is shared, until the parent is gone. It never returns."""
    try:
        # Others' ends of pipes and sockets: while we hold them nobody sees that our parent has died.
        os.closerange(3, connection.fileno())
        os.closerange(connection.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        for timer in (signal.SIGPROF, signal.SIGALRM):
            signal.signal(timer, signal.SIG_DFL)  # ends the process
        while True:
            is_new, names, begin, count, seconds, clock = json.loads(connection.recv_bytes())
            if is_new:
                rows = pa.ipc.open_stream(pa.py_buffer(shared)).read_next_batch()
                pages = PageBatch(rows["text"], rows["url"])
            some = rows.slice(begin, count)
            asked = pages if count == len(rows) else PageBatch(some["text"], some["url"])
            for name in names:
                connection.send_bytes(_values(groups[name], some["id"], asked, seconds, clock))
    except (EOFError, ConnectionError):
        os._exit(0)
    finally:
        os._exit(1)


def _values(group: Group, ids: pa.Array, pages: PageBatch, seconds: float, clock: float) -> bytes | memoryview:
    """The values of pages as a stream; nothing where the group raised an error."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, clock)
    try:
        batch = group.measure(ids, pages)
    except Exception:  # noqa: BLE001 - whatever a signal raises: our parent raises it once more, where it is told
        return b""
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return memoryview(sink.getvalue())
