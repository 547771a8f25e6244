"""Pages from tables of other people's making: parquet and jsonl, whatever their columns hold.

The hard idea: such a row is checked by us, not by the library. Libraries turn a wrong type into null, a cut file into a
short one and one bad byte into the loss of a batch; here each is a counted reason for that row, and the next is read.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.shards.decoding import clean
from jobs.shards.extraction import ReadLimits
from jobs.shards.members import Member, Members
from jobs.shards.reasons import Page, ReadOptions, Rejected, ShardReport, registrable_domain, too_long

TIME_COLUMNS = ("crawled_at", "date")
PARQUET_ROWS = 256  # pages at a time: a few dozen MB even if each is a megabyte
MOST_LINE_BYTES_PER_BYTE = 4  # JSON may spell a character of 2 or 3 bytes in 6


@dataclass(frozen=True)
class _Row:
    """One row of a foreign table before it is checked."""

    offset: int
    text: Any
    identity: Any
    url: Any
    crawled_at: Any


class _WrongRow(Exception):
    """A row that is no page: its reason and detail."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail


def _page(row: _Row, shard: str, limits: ReadLimits, report: ShardReport) -> Page | Rejected:
    """The page in a row of a foreign table, or why it is none."""
    url = row.url if isinstance(row.url, str) else None
    try:
        text = _checked_text(row.text, limits, report)
        if row.url is not None and url is None:
            raise _WrongRow("wrong_type", f"the URL is a {type(row.url).__name__}")
        identity = row.identity
        if identity is not None and (isinstance(identity, bool) or not isinstance(identity, str | int)):
            raise _WrongRow("wrong_type", f"the id is a {type(identity).__name__}")
    except _WrongRow as wrong:
        return Rejected(url and clean(url)[0], shard, row.offset, wrong.reason, wrong.detail)
    return Page(
        id=f"{shard}#{row.offset}" if identity in (None, "") else clean(str(identity))[0],
        url=url and clean(url)[0],
        domain=registrable_domain(url),
        crawled_at=_moment(row.crawled_at),
        text=text,
        html_bytes=None,
        shard=shard,
        shard_offset=row.offset,
    )


def _checked_text(given: Any, limits: ReadLimits, report: ShardReport) -> str:
    if isinstance(given, bytes):  # from parquet, whose strings are not always UTF-8
        try:
            given = given.decode()
        except UnicodeDecodeError as error:
            raise _WrongRow("bad_utf8", f"byte {error.start} of the text") from None
    if given is None:
        raise _WrongRow("missing_text")
    if not isinstance(given, str):
        raise _WrongRow("wrong_type", f"the text is a {type(given).__name__}")
    text, nul, surrogates = clean(given)
    if len(text) > limits.characters:
        raise _WrongRow("too_large", too_long(text, limits))
    report.flag("nul_removed", nul)
    report.flag("surrogate_replaced", surrogates)
    return text


def _moment(given: Any) -> datetime | None:
    """A crawl time from a timestamp or ISO 8601 text, in UTC; what is neither is no time."""
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given.strip())
        except ValueError:
            return None
    if not isinstance(given, datetime):
        return None
    try:
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except OverflowError:
        return None


def read_jsonl(path: Path, shard: str, options: ReadOptions, report: ShardReport) -> Iterator[Page | Rejected]:
    """One page a line; lines end at LF only, for JSON may hold U+2028 and CR inside a line."""
    if path.stat().st_size == 0:
        report.damage(0, "empty", "the file has no bytes")
        return
    limits = options.limits
    with path.open("rb") as file:
        for offset, line, broken in _lines(file, MOST_LINE_BYTES_PER_BYTE * limits.bytes, report):
            try:
                if broken:
                    raise _WrongRow(*broken)
                row = _json_row(offset, line, options)
            except _WrongRow as wrong:
                yield Rejected(None, shard, offset, wrong.reason, wrong.detail)
                continue
            yield _page(row, shard, limits, report)


def _lines(file: BinaryIO, most: int, report: ShardReport) -> Iterator[tuple[int, bytes, tuple[str, str] | None]]:
    """Lines that are not blank, with their offset in the decompressed file and what is wrong with them, if anything.

    Members may meet inside a line (pzstd cuts anywhere); a damaged one breaks its last line, and the next is only
    found again where a line begins.
    """
    pending, start, plain = b"", 0, False
    members = Members(file, b"{", report.damage)
    for member in members:
        plain = not member.compressed
        while piece := member.read(1 << 20):
            *lines, pending = (pending + piece).split(b"\n") if b"\n" in piece else (pending + piece,)
            for line in lines:
                if line.strip():
                    yield start, line, ("too_large", f"the line has {len(line)} bytes") if len(line) > most else None
                start += len(line) + 1
            if len(pending) > most:
                pending, start = yield from _skip_line(member, pending, start, most)
        if member.ended != "whole":
            if pending.strip():
                yield start, pending, (str(member.ended), member.problem)
            start, pending = start + len(pending), b""
    if pending.strip():
        broken = ("truncated", "the file ends inside a line") if plain and not _is_json(pending) else None
        if broken:
            report.damage(start, *broken)
        yield start, pending, broken
    report.flag("trailing_padding", members.padded)


def _skip_line(
    member: Member, pending: bytes, start: int, most: int
) -> Generator[tuple[int, bytes, tuple[str, str]], None, tuple[bytes, int]]:
    """Pass over a line that is longer than memory should hold; the beginning of the next line and its offset."""
    size = len(pending)
    while piece := member.read(1 << 20):
        line, found, rest = piece.partition(b"\n")
        size += len(line)
        if found:
            yield start, b"", ("too_large", f"the line has {size} bytes, the limit is {most}")
            return rest, start + size + 1
    yield start, b"", ("too_large", f"the line has {size} bytes, the limit is {most}")
    return b"", start + size


def _json(line: bytes) -> Any:
    try:
        return json.loads(line.removeprefix(b"\xef\xbb\xbf").decode())
    except UnicodeDecodeError as error:
        raise _WrongRow("bad_utf8", f"byte {error.start} of the line") from None
    except (ValueError, RecursionError) as error:
        raise _WrongRow("bad_json", str(error)[:200]) from None


def _is_json(line: bytes) -> bool:
    try:
        _json(line)
    except _WrongRow:
        return False
    return True


def _json_row(offset: int, line: bytes, options: ReadOptions) -> _Row:
    values = _json(line)
    if not isinstance(values, dict):
        raise _WrongRow("wrong_type", f"the line is a {type(values).__name__}, not an object")
    moment = next((values[name] for name in TIME_COLUMNS if name in values), None)
    return _Row(
        offset, values.get(options.text_column), values.get(options.id_column), values.get(options.url_column), moment
    )


def read_parquet(path: Path, shard: str, options: ReadOptions, report: ShardReport) -> Iterator[Page | Rejected]:
    """One page a row; a row group that does not decompress is listed as damage and the next is read."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        report.damage(0, "empty" if path.stat().st_size == 0 else "not_this_format", str(error)[:300])
        return
    with file:
        columns = _parquet_columns(file.schema_arrow, shard, options)
        first = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            try:
                for row in _group_rows(file, group, columns, first):
                    yield _page(row, shard, options.limits, report)
            except (OSError, pa.ArrowException) as error:
                # Not the byte: pyarrow 26 aborts the process when asked for a damaged column's metadata.
                report.damage(first, "corrupt", f"row group {group}, rows {first} to {first + rows}: {str(error)[:200]}")
            first += rows


def _parquet_columns(schema: pa.Schema, shard: str, options: ReadOptions) -> dict[str, str]:
    """Which column holds what; the text column must be there and hold text."""
    names = set(schema.names)
    if options.text_column not in names:
        raise ValueError(
            f"{shard} has no column {options.text_column!r}, it has: {', '.join(sorted(names))}; "
            "name the one that holds the text under pages.text"
        )
    text_type = schema.field(options.text_column).type
    if pa.types.is_dictionary(text_type):
        text_type = text_type.value_type
    if not any(test(text_type) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        raise ValueError(f"column {options.text_column!r} of {shard} holds {text_type}, not strings")
    moment = next((name for name in TIME_COLUMNS if name in names), None)
    wanted = {"text": options.text_column, "identity": options.id_column, "url": options.url_column, "crawled_at": moment}
    return {part: name for part, name in wanted.items() if name is not None and name in names}


def _group_rows(file: pq.ParquetFile, group: int, columns: dict[str, str], first: int) -> Iterator[_Row]:
    offset = first
    for batch in file.iter_batches(PARQUET_ROWS, row_groups=[group], columns=list(columns.values())):
        values = {part: _values(batch.column(name), part) for part, name in columns.items()}
        nothing = [None] * len(batch)
        for row in zip(*(values.get(part, nothing) for part in _Row.__match_args__[1:]), strict=True):
            yield _Row(offset, *row)
            offset += 1


def _values(column: pa.Array, field: str) -> list[Any]:
    """Python values; text as bytes, for a parquet string need not be UTF-8 and pyarrow would raise for the whole batch."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return list(column.cast(pa.large_binary() if field == "text" else column.type).to_pylist())
