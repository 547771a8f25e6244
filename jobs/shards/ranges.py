"""Records fetched by their ranges: neighbours together, few requests at once, and again where a server is busy.

A range that comes short is fetched again record by record, so that one wrong row of an index costs one record. What cannot
be fetched is handed on with the reason, in its place.
"""

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from typing import NamedTuple

import fsspec
import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util import Retry, Timeout

from filters.stores import StorePath, at

GAP = 1 << 14
"""Bytes between two records that are fetched along rather than asked around: less than a request costs."""
MOST = 1 << 23
"""Bytes of one request, unless a single record has more."""
TRIES = 6
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
"""Seconds before the second try, doubled for each further one; and the longest that a server may ask us to wait."""
BUSY = (429, 500, 502, 503, 504)
TIMEOUT = Timeout(connect=15, read=60)


class Row(NamedTuple):
    """A record as an index names it."""

    url: str | None
    file: str
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Where the next record may begin."""
        return self.offset + self.length


class NotFetched(Exception):
    """A range that did not come; `final` where another range of the file would not come either."""

    def __init__(self, why: str, final: bool) -> None:
        super().__init__(why)
        self.final = final


Fetched = tuple[Row, bytes | NotFetched]
Fetch = Callable[[str, int, int], bytes]


def fetched(rows: Iterable[Row], prefix: str, at_once: int, most: int = MOST) -> Iterator[Fetched]:
    """The bytes of each record in the order of the rows, or why they did not come; `prefix` stands before file names."""

    def of(group: Sequence[Row]) -> list[Fetched]:
        before = f"{prefix.rstrip('/')}/" if prefix else ""
        location = before + group[0].file.lstrip("/") if before else group[0].file
        return _group(group, lambda start, end: fetch(location, start, end))

    waiting: deque[Future[list[Fetched]]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        for group in merged(rows, most):
            waiting.append(pool.submit(of, group))
            if len(waiting) > at_once:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def merged(rows: Iterable[Row], most: int = MOST) -> Iterator[list[Row]]:
    """Rows, by file and offset, in groups that are fetched together."""
    group: list[Row] = []
    for row in rows:
        near = group and row.file == group[0].file and 0 <= row.offset - group[-1].end <= GAP
        if group and not (near and row.end - group[0].offset <= most):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _group(group: Sequence[Row], get: Callable[[int, int], bytes]) -> list[Fetched]:
    start, end = group[0].offset, group[-1].end
    try:
        data = get(start, end)
    except NotFetched as error:
        if len(group) == 1 or error.final:
            return [(row, error) for row in group]
        return [one for row in group for one in _group([row], get)]
    return [(row, data[row.offset - start : row.end - start]) for row in group]


def fetch(location: str, start: int, end: int) -> bytes:
    """Bytes from `start` to before `end` of a file, wherever it lies. Raises NotFetched."""
    if location.startswith(("http://", "https://")):
        return _from_web(location, start, end)
    try:
        place = at(location)
        files, path = place.there if isinstance(place, StorePath) else fsspec.core.url_to_fs(location)
        data = bytes(files.cat_file(path, start=start, end=end))
    except Exception as error:  # every store raises errors of its own, after tries of its own
        raise NotFetched(" ".join(f"{type(error).__name__}: {error}".split())[:200], final=True) from error
    return _whole(data, start, end)


def _whole(data: bytes, start: int, end: int) -> bytes:
    if len(data) != end - start:
        raise NotFetched(f"{len(data)} of {end - start} bytes at {start} came: the file ends before", final=False)
    return data


@cache
def _connections() -> urllib3.PoolManager:
    return urllib3.PoolManager(headers={"User-Agent": f"goodhart/{version('goodhart')}"}, maxsize=32)


def _from_web(location: str, start: int, end: int) -> bytes:
    """A range from a web server; tried again, with growing pauses or those it asks for, while it is busy."""
    why = ""
    for tried in range(TRIES):
        wait = FIRST_WAIT * 2**tried * random.uniform(0.5, 1.0)
        try:
            answer = _connections().request(
                "GET",
                location,
                headers={"Range": f"bytes={start}-{end - 1}"},
                preload_content=False,
                retries=False,
                timeout=TIMEOUT,
            )
            try:
                if answer.status == 206:
                    return _whole(answer.read(), start, end)
                why = _refused(answer.status)
                wait = max(wait, _asked_to_wait(answer.headers.get("Retry-After")))
            finally:
                answer.release_conn() if answer.status == 206 else answer.close()
        except HTTPError as error:  # no answer, or one that was cut off
            why = f"{type(error).__name__}: {error}"
        if tried < TRIES - 1:
            time.sleep(wait)
    raise NotFetched(f"{why}, {TRIES} times", final=True)


def _refused(status: int) -> str:
    """What a busy server said. Raises NotFetched where it would say the same again."""
    if status in BUSY:
        return f"HTTP {status}"
    if status == 416:
        raise NotFetched("HTTP 416: the file ends before", final=False)
    why = "the server sends whole files and no ranges" if status == 200 else "the file is not there or not for us"
    raise NotFetched(f"HTTP {status}: {why}", final=True)


def _asked_to_wait(said: str | None) -> float:
    """Seconds that a Retry-After asks for. Raises NotFetched where they are too many."""
    try:
        seconds = Retry().parse_retry_after(said) if said else 0.0
    except InvalidHeader:
        return 0.0
    if seconds > LONGEST_WAIT:
        raise NotFetched(f"the server asks to be left alone for {seconds:.0f} s", final=True)
    return seconds
