"""One page's bytes to text, in a helper process that may hang, bloat or crash without taking its shard along.

The hard idea: 80 KB of nested tags hold an HTML parser for ten seconds, inside C code that no Python signal or thread
interrupts. So the kernel is the judge: the helper (`extract_page`) has a timer of processor time for each page, and the
kernel ends it when that runs out. Processor time, not the clock, decides, so the verdict on a page does not depend on
how busy the machine is. A page at which the helper ends by other means is tried once more in a fresh one, so the verdict
does not depend on the pages before it either, nor on who else may have killed the helper.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self, cast

from jobs.shards.extract_page import EXTRACTORS, OUT_OF_MEMORY, READY, REPLY, REQUEST, VERDICTS

MOST_PAGES_WAITING = 16
MOST_BYTES_WAITING = 32 << 20
PIPE_BYTES = 1 << 20
READ_BYTES = 1 << 16  # several replies; each read allocates as much
LEAST_CLOCK_SECONDS = 60
MOST_DEATHS = 2
# glibc would give the memory of every page back to the kernel and fault it in again for the next: 3 % of the time.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(256 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}


@dataclass(frozen=True)
class ReadLimits:
    """Ceilings for one page; a page over one is counted and rejected, never a dead task.

    `bytes` bounds the record and its decompressed body: Common Crawl cuts bodies at 1 MiB (5 MiB since 2025), so
    10 MB loses none of them, and the worst 10 MB page takes 0.3 GB to parse. `characters` bounds the text: War and
    Peace has 3.2 million, and signals keep several integers per character. `seconds` is processor time: ordinary
    pages take 0.01 s, while 16,000 nested <div> take 9. `memory` is the helper's whole address space in bytes.
    """

    bytes: int = 10_000_000
    characters: int = 5_000_000
    seconds: float = 5
    memory: int = 1 << 30


class Extraction(NamedTuple):
    """What became of one body: its text, or a reason (see `jobs.shards.reasons.REASONS`) and a detail.

    `full` tells that the text is all that the page shows, because there was next to no main content.
    """

    text: str
    reason: str | None
    detail: str
    nul_removed: bool
    replaced: int
    full: bool = False


class ExtractorError(RuntimeError):
    """The helper process cannot be started at all; no page is to blame."""


class Extractor:
    """The helper process and the pages on their way to and from it; replies come in the order of the requests."""

    def __init__(self, name: str, limits: ReadLimits) -> None:
        if name not in EXTRACTORS:
            raise ValueError(f"extractor {name!r} is not known; have: {', '.join(EXTRACTORS)}")
        self._name = name
        self._limits = limits
        self._clock_seconds = LEAST_CLOCK_SECONDS + 10 * limits.seconds
        self._unanswered: deque[tuple[bytes, bytes]] = deque()  # head and body of the requests
        self._bytes_waiting = 0  # in those bodies
        self._replies: deque[Extraction] = deque()
        self._outgoing: deque[memoryview] = deque()
        self._incoming = bytearray()
        self._helper: subprocess.Popen[bytes] | None = None
        self._errors: BinaryIO | None = None
        self._deaths = 0
        """Of helpers, at the earliest page that has had no reply."""
        self._killed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    @property
    def full(self) -> bool:
        """Whether enough pages are under way to keep the helper busy."""
        return len(self._unanswered) >= MOST_PAGES_WAITING or self._bytes_waiting >= MOST_BYTES_WAITING

    def submit(self, body: bytes, charset: str | None, html: bool) -> None:
        """Send one body on its way."""
        name = (charset or "").encode("ascii", "ignore")[:40]
        head = REQUEST.pack(len(body), html, len(name)) + name
        self._unanswered.append((head, body))
        self._bytes_waiting += len(body)
        self._outgoing += (memoryview(head), memoryview(body))
        self._exchange(0)

    def ready(self) -> bool:
        """Whether a reply has come in."""
        return bool(self._replies)

    def next_reply(self) -> Extraction:
        """The reply to the earliest request that has had none, waiting for it if need be."""
        deadline = time.monotonic() + self._clock_seconds
        answered = len(self._unanswered)
        while not self._replies:
            if not self._unanswered:
                raise IndexError("no page is waiting for a reply")
            self._exchange(max(0.0, deadline - time.monotonic()))
            if len(self._unanswered) != answered:
                deadline, answered = time.monotonic() + self._clock_seconds, len(self._unanswered)
            elif time.monotonic() >= deadline and self._helper:
                self._killed = True
                self._helper.kill()
        return self._replies.popleft()

    def _exchange(self, wait: float) -> None:
        """Write and read what the pipes take and give, waiting at most `wait` seconds for the first of it."""
        helper = self._helper or self._start()
        assert helper.stdin and helper.stdout
        poll = select.poll()
        poll.register(helper.stdout, select.POLLIN)
        if self._outgoing:
            poll.register(helper.stdin, select.POLLOUT)
        for descriptor, _ in poll.poll(wait * 1000):
            if descriptor == helper.stdin.fileno():
                self._write(helper.stdin.fileno())
            elif not self._read(helper.stdout.fileno()):
                self._bury(helper)
                return

    def _write(self, descriptor: int) -> None:
        # A helper that has died shows at the other pipe.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self._outgoing:
                written = os.write(descriptor, self._outgoing[0])
                if written == len(self._outgoing[0]):
                    self._outgoing.popleft()
                else:
                    self._outgoing[0] = self._outgoing[0][written:]

    def _read(self, descriptor: int) -> bool:
        """Take in what has come; False at the end."""
        try:
            while piece := os.read(descriptor, READ_BYTES):
                self._incoming += piece
                self._parse()
                if len(piece) < READ_BYTES:
                    return True
        except BlockingIOError:
            return True
        return False

    def _parse(self) -> None:
        while len(self._incoming) >= REPLY.size:
            verdict, full, nul_removed, replaced, size = REPLY.unpack_from(self._incoming)
            if len(self._incoming) < REPLY.size + size:
                return
            text = bytes(self._incoming[REPLY.size : REPLY.size + size]).decode()
            del self._incoming[: REPLY.size + size]
            self._forget_request()
            if VERDICTS[verdict] == "text":
                self._replies.append(Extraction(text, None, "", bool(nul_removed), replaced, bool(full)))
            else:
                self._replies.append(Extraction("", VERDICTS[verdict], text, False, 0))

    def _start(self) -> subprocess.Popen[bytes]:
        """A fresh helper that is sent every unanswered page."""
        # Spark ships our code as a zip on sys.path, which a child does not inherit by itself.
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        arguments = [self._name, *map(str, (self._limits.characters, self._limits.seconds, self._limits.memory))]
        self._errors = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - lives as long as the helper
        self._helper = subprocess.Popen(
            [sys.executable, "-P", "-m", "jobs.shards.extract_page", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            env={**os.environ, **KEEP_MEMORY, "PYTHONPATH": path, "RUST_BACKTRACE": "0"},
        )
        assert self._helper.stdin and self._helper.stdout
        if self._helper.stdout.read(1) != READY:
            code = self._helper.wait()
            problem = self._cause(code)[1]
            self._stop()
            self._deaths += 1
            if code < 0 and self._deaths < MOST_DEATHS:
                return self._start()
            raise ExtractorError(f"the helper process for {self._name} does not start: {problem}")
        for pipe in (self._helper.stdin, self._helper.stdout):
            os.set_blocking(pipe.fileno(), False)
            with contextlib.suppress(OSError):  # only faster; an unprivileged user's pipes may be used up
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._outgoing = deque(memoryview(part) for request in self._unanswered for part in request)
        self._incoming.clear()
        self._killed = False
        return self._helper

    def _bury(self, helper: subprocess.Popen[bytes]) -> None:
        """The helper has died: judge the page that it was at, unless that deserves a second trial."""
        code = helper.wait()
        reason, detail = self._cause(code)
        self._deaths += 1
        self._stop()
        if self._unanswered and (self._deaths == MOST_DEATHS or reason == "extract_timeout"):
            self._forget_request()
            self._replies.append(Extraction("", reason, detail, False, 0))

    def _forget_request(self) -> None:
        self._deaths = 0
        self._bytes_waiting -= len(self._unanswered.popleft()[1])

    def _cause(self, code: int) -> tuple[str, str]:
        assert self._errors
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 2000))
        said = self._errors.read().decode("utf-8", "replace").strip()
        if code == -signal.SIGPROF:
            return "extract_timeout", f"over {self._limits.seconds} s of processor time"
        if self._killed:
            return "extract_timeout", f"over {self._clock_seconds} s by the clock"
        if code == OUT_OF_MEMORY or "memory allocation of" in said:
            return "extract_memory", f"over {self._limits.memory} bytes of address space"
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return "extract_crash", f"{how}: {said.splitlines()[-1][:200] if said else 'no message'}"

    def _stop(self) -> None:
        if self._helper is None:
            return
        assert self._helper.stdin and self._helper.stdout and self._errors
        self._helper.kill()
        self._helper.wait()
        self._helper.stdin.close()
        self._helper.stdout.close()
        self._errors.close()
        self._helper = None
