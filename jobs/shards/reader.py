"""From what a user names to pages: patterns to shards, each shard by its kind, each of its records accounted for.

The hard idea: a shard is known by its file name alone, wherever the file lies, and its rows come in the order of its
records, however far ahead the helper process works, so that a part's bytes depend on the shard and the options only.
"""

from __future__ import annotations

import glob
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import fsspec

from jobs.shards.decoding import clean, decode
from jobs.shards.extraction import Extraction, Extractor, ReadLimits
from jobs.shards.members import Members
from jobs.shards.reasons import REJECTED, Damage, Page, ReadOptions, Rejected, ShardReport, registrable_domain, too_long
from jobs.shards.rows import read_jsonl, read_parquet
from jobs.shards.warc import Lost, Response, read_records

__all__ = ["Damage", "Page", "ReadOptions", "Rejected", "ShardReport", "expand", "kind", "local_copy", "read_shard"]

WARC_NAMES = (".warc", ".wet", ".wat", ".arc")
PARQUET_NAMES = (".parquet",)
JSONL_NAMES = (".jsonl", ".ndjson", ".json")


def expand(patterns: list[str]) -> list[str]:
    """Every shard that the patterns name, sorted by file name, each once.

    Patterns are paths, globs (`**` too), and `s3://` or `https://` addresses. Raises ValueError for a pattern that
    names nothing, a folder, an empty file that is not compressed (a compressed one is a damaged shard), and for two
    shards of one file name, because the name is the shard's name in every table.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        for location in _matches(pattern):
            name = shard_name(location)
            if name in found and not _same(found[name], location):
                raise ValueError(
                    f"two shards have the file name {name!r}: {found[name]} and {location}; rename one, "
                    "the file name is the shard's name in every table"
                )
            found.setdefault(name, location)
    if not found:
        raise ValueError("no shards are named; give paths, globs or addresses under pages.from")
    return [found[name] for name in sorted(found)]


def shard_name(location: str) -> str:
    """The name of a shard: its file name, so that tables do not depend on where a checkout lies."""
    path = location.partition("?")[0] if _is_remote(location) else location
    return path.rstrip("/").rpartition("/")[2]


def _matches(pattern: str) -> list[str]:
    """What one pattern names; an error if that is nothing or cannot be a shard."""
    if _is_remote(pattern):
        return _remote_matches(pattern)
    path = _local_path(pattern)
    names = [str(path)] if path.exists() else sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - takes any path
    if not names:
        raise ValueError(f"no file matches {pattern!r} (from {Path.cwd()})")
    for name in names:
        if Path(name).is_dir():
            raise ValueError(f"{name!r} is a folder; name the files in it, such as {name.rstrip('/')}/*.warc.gz")
        _refuse_empty(name, Path(name).stat().st_size)
    return names


def _remote_matches(pattern: str) -> list[str]:
    files, path = fsspec.core.url_to_fs(pattern)
    is_glob = any(mark in path for mark in "*[") and not pattern.startswith(("http://", "https://"))
    names = sorted(files.unstrip_protocol(str(name)) for name in files.glob(path)) if is_glob else [pattern]
    if not names or not all(files.exists(name) for name in names):
        raise ValueError(f"no file matches {pattern!r}; check the address and the access rights")
    for name in names:
        size = files.size(name)
        _refuse_empty(name, 1 if size is None else size)
    return names


def _refuse_empty(name: str, size: int) -> None:
    if size == 0 and not name.endswith((".gz", ".zst")):
        raise ValueError(
            f"{name!r} is empty (0 bytes); was its download cut off? Remove it from pages.from or fetch it again"
        )


def _is_remote(location: str) -> bool:
    return "://" in location and not location.startswith("file://")


def _local_path(location: str) -> Path:
    return Path(location.removeprefix("file://")).expanduser()


def _same(one: str, other: str) -> bool:
    if _is_remote(one) or _is_remote(other):
        return one == other
    return Path(one).resolve() == Path(other).resolve()


def kind(location: str) -> str:
    """`warc` (WET too), `parquet` or `jsonl`, by the name, or by the first bytes of a local file if that says nothing."""
    name = shard_name(location).lower()
    plain = name.removesuffix(".gz").removesuffix(".zst")
    for suffixes, known in ((WARC_NAMES, "warc"), (PARQUET_NAMES, "parquet"), (JSONL_NAMES, "jsonl")):
        if plain.endswith(suffixes):
            return known
    if not _is_remote(location):
        with _local_path(location).open("rb") as file:
            start = Members(file, b"", lambda *_: None).open(0).peek()
        for magic, known in ((b"WARC/", "warc"), (b"PAR1", "parquet"), (b"{", "jsonl")):
            if start.startswith(magic):
                return known
    known_names = ", ".join(WARC_NAMES + PARQUET_NAMES + JSONL_NAMES)
    raise ValueError(f"{location!r} is no shard of a known kind; names end in {known_names}, with .gz or .zst")


@contextmanager
def local_copy(location: str) -> Iterator[Path]:
    """A local file of the shard's bytes; a remote one is copied whole, compared in size, and removed afterwards."""
    if not _is_remote(location):
        yield _local_path(location)
        return
    files, path = fsspec.core.url_to_fs(location)
    with tempfile.TemporaryDirectory(prefix="goodhart-") as folder:
        copy = Path(folder) / shard_name(location)
        files.get_file(path, str(copy))
        expected = files.size(path)
        if expected is not None and copy.stat().st_size != expected:
            raise OSError(f"{location}: {copy.stat().st_size} of {expected} bytes came; the transfer was cut off, try again")
        yield copy


def read_shard(location: str, options: ReadOptions, report: ShardReport) -> Iterator[Page | Rejected]:
    """Read one shard in order; what is no page is counted in `report`, damage is listed there.

    Raises ValueError if the shard is of no known kind or lacks the text column.
    """
    shard = shard_name(location)
    seen: set[str] = set()
    with local_copy(location) as path:
        for row in _READERS[kind(str(path))](path, shard, options, report):
            report.counts["records"] += 1
            if isinstance(row, Page) and row.id in seen:
                row = Rejected(row.url, shard, row.shard_offset, "duplicate_id", row.id[:200])
            if isinstance(row, Page):
                seen.add(row.id)
                report.counts["pages"] += 1
                yield row
                continue
            report.counts[row.reason] += 1
            if row.reason in REJECTED:
                yield row


def _read_warc(path: Path, shard: str, options: ReadOptions, report: ShardReport) -> Iterator[Page | Rejected]:
    """Records in order, HTML and plain text by way of the helper process, which works ahead of what is asked for."""
    if path.stat().st_size == 0:
        report.damage(0, "empty", "the file has no bytes")
        return
    limits = options.limits
    with path.open("rb") as file, Extractor(options.extract, limits) as extractor:
        waiting: deque[tuple[Response | Lost, int]] = deque()
        for record in read_records(file, limits.bytes, report):
            if isinstance(record, Response) and record.kind != "wet":
                extractor.submit(record.body, record.charset, record.kind == "html")
                waiting.append((record._replace(body=b""), len(record.body)))
            else:
                waiting.append((record, 0))
            while waiting and (extractor.full or extractor.ready() or not _needs_reply(waiting[0][0])):
                yield _finish(*waiting.popleft(), shard, extractor, limits, report)
        while waiting:
            yield _finish(*waiting.popleft(), shard, extractor, limits, report)


def _needs_reply(record: Response | Lost) -> bool:
    return isinstance(record, Response) and record.kind != "wet"


def _finish(
    record: Response | Lost, size: int, shard: str, extractor: Extractor, limits: ReadLimits, report: ShardReport
) -> Page | Rejected:
    """The page or the rejection that a record of a WARC comes to."""
    if isinstance(record, Lost):
        return Rejected(record.url, shard, record.offset, record.reason, record.detail)
    result = extractor.next_reply() if _needs_reply(record) else _wet_text(record.body, limits)
    if result.reason:
        return Rejected(record.url, shard, record.offset, result.reason, result.detail)
    report.flag("decode_replaced", result.replaced > 0)
    report.flag("characters_replaced", result.replaced)
    report.flag("full_text", result.full)
    report.flag("nul_removed", result.nul_removed)
    return Page(
        id=record.id or f"{shard}#{record.offset}",
        url=record.url,
        domain=registrable_domain(record.url),
        crawled_at=record.crawled_at,
        text=result.text,
        html_bytes=size if record.kind == "html" else None,
        shard=shard,
        shard_offset=record.offset,
    )


def _wet_text(body: bytes, limits: ReadLimits) -> Extraction:
    """The text of a WET record, which is UTF-8 by its standard."""
    decoded = decode(body, "utf-8", html=False)
    if decoded is None:
        return Extraction("", "undecodable", "not UTF-8", False, 0)
    text, nul, _ = clean(decoded[0])
    if not text.strip():
        return Extraction("", "empty_body", "", False, 0)
    if len(text) > limits.characters:
        return Extraction("", "too_large", too_long(text, limits), False, 0)
    return Extraction(text, None, "", nul, decoded[1])


_Reader = Callable[[Path, str, ReadOptions, ShardReport], Iterator[Page | Rejected]]
_READERS: Mapping[str, _Reader] = {"warc": _read_warc, "parquet": read_parquet, "jsonl": read_jsonl}
