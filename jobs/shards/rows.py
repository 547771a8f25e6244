"""Pages from tables of other people's making: parquet and jsonl, whatever their columns hold.

The hard idea: such a row is checked by us, not by the library. Libraries turn a wrong type into null, a cut file into a
short one and one bad byte into the loss of a batch; here a bad value costs its field, or its row where it is the text,
each is counted, and the next is read.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import reduce
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from uuid import UUID

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.shards.balance import PACKED, READ, ROWS, UNPACKED, Account
from jobs.shards.decoding import clean
from jobs.shards.extraction import ReadLimits
from jobs.shards.locations import is_remote, opened
from jobs.shards.members import Allowance, Members
from jobs.shards.reasons import Page, ReadOptions, Rejected, ShardReport, registrable_domain, too_long

TIME_COLUMNS = ("crawled_at", "date")
URL_COLUMNS = ("url", "metadata.url", "meta.url")
"""Where a URL is looked for unless the experiment names its column: ours, dolma's and datatrove's, RedPajama's."""
PARQUET_ROWS = 256  # pages at a time: a few dozen MB even if each is a megabyte
MOST_LINE_BYTES_PER_BYTE = 4  # JSON may spell a character of 2 or 3 bytes in 6
LOOKED_AT_LINES = 1000  # a named column that none of so many lines has is taken for a slip
MOST_KEYS_TOLD = 20
EXACT_FLOAT = 2.0**53  # from here on neighbouring whole numbers are one float
JSON = json.JSONDecoder()
JSON_BLANKS = re.compile(r"[ \t\r\n]*")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_ABSENT = object()


class _Row(NamedTuple):
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


def _page(row: _Row, shard: str, options: ReadOptions, report: ShardReport) -> Page | Rejected:
    """The page in a row of a foreign table, or why it is none."""
    url = _url(row.url, report)
    try:
        text = _checked_text(row.text, options.limits, report)
    except _WrongRow as wrong:
        return Rejected(url, shard, row.offset, wrong.reason, wrong.detail)
    identity = _identity(row.identity, report)
    if identity is None:
        identity = f"{shard}#{row.offset}"
    elif options.id_per_shard:
        identity = f"{shard}/{identity}"
    moment = _moment(row.crawled_at, report)
    return Page(identity, url, registrable_domain(url), moment, text, None, shard, row.offset)


def _checked_text(given: Any, limits: ReadLimits, report: ShardReport) -> str:
    if isinstance(given, bytes):  # from parquet, whose strings are not always UTF-8
        try:
            given = given.decode()
        except UnicodeDecodeError as error:
            raise _WrongRow("bad_utf8", f"byte {error.start} of the text") from None
    if given is None:
        raise _WrongRow("missing_text", "the text is null")
    if not isinstance(given, str):
        raise _WrongRow("wrong_type", f"the text is a {type(given).__name__}")
    text, nul, surrogates = clean(given)
    if not text or text.isspace():
        raise _WrongRow("empty_body", "the text is blank")
    if len(text) > limits.characters:
        raise _WrongRow("too_large", too_long(text, limits))
    report.flag("nul_removed", nul)
    report.flag("surrogate_replaced", surrogates)
    return text


def _url(given: Any, report: ShardReport) -> str | None:
    if isinstance(given, bytes):
        try:
            given = given.decode()
        except UnicodeDecodeError:
            given = _ABSENT
    if isinstance(given, str):
        return clean(given)[0] or None
    report.flag("bad_url", given is not None and given == given)  # NaN is how pandas spells null
    return None


def _identity(given: Any, report: ShardReport) -> str | None:
    """The id as text; None where the row has none, or none that tells it from others."""
    if isinstance(given, str):
        return clean(given)[0] or None
    if given is None or given != given:
        return None
    if isinstance(given, bytes):
        return _bytes_as_id(given)
    if isinstance(given, int | UUID) and not isinstance(given, bool):
        return str(given)
    if isinstance(given, Decimal):
        return f"{given:f}"
    if isinstance(given, float) and abs(given) < EXACT_FLOAT:
        return str(int(given)) if given.is_integer() else repr(given)
    report.flag("bad_id")
    return None


def _bytes_as_id(given: bytes) -> str | None:
    """Bytes as the text that they are, else in hexadecimal, as digests and UUIDs are written."""
    try:
        text = given.decode()
    except UnicodeDecodeError:
        return given.hex()
    return (text if text.isprintable() else given.hex()) or None


def _moment(given: Any, report: ShardReport) -> datetime | None:
    """A crawl time from a moment or ISO 8601 text, in UTC; what is neither is no time."""
    if given is None or given == "" or given != given:
        return None
    try:
        if isinstance(given, bytes):
            given = given.decode()
        moment = given if isinstance(given, datetime) else datetime.fromisoformat(given.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, AttributeError):
        report.flag("bad_time")
        return None


def read_jsonl(path: Path, shard: str, options: ReadOptions, report: ShardReport) -> Iterator[Page | Rejected]:
    """One page a line; lines end at LF only, for JSON may hold U+2028 and CR inside a line.

    Raises ValueError at the end where a column that the experiment names is in no row.
    """
    if path.stat().st_size == 0:
        report.damage(0, "empty", "the file has no bytes")
        return
    unseen = _named(options)
    keys: Mapping[str, Any] = {}
    with path.open("rb") as file:
        for offset, values in _json_values(file, options, report):
            try:
                values = _json_object(values)
                if unseen:
                    keys = keys or values
                    unseen = [name for name in unseen if _reach(values, name) is _ABSENT]
                row = _json_row(offset, values, options)
            except _WrongRow as wrong:
                yield Rejected(None, shard, offset, wrong.reason, wrong.detail)
                continue
            yield _page(row, shard, options, report)
    if unseen and keys:
        raise ValueError(_no_column(shard, unseen, keys))


def _named(options: ReadOptions) -> list[str]:
    """The columns that the experiment names itself, which must be there."""
    columns = {"text": options.text_column, "id": options.id_column, "url": options.url_column}
    return [name for part, name in columns.items() if part in options.named and name is not None]


def _url_columns(options: ReadOptions) -> tuple[str, ...]:
    return (options.url_column,) if "url" in options.named or options.url_column != "url" else URL_COLUMNS


class _Line(NamedTuple):
    """Where a line begins in the unpacked file and where the next one does, its bytes, and what is wrong with it, if so."""

    start: int
    end: int
    text: bytes
    broken: tuple[str, str] | None


def _json_values(file: BinaryIO, options: ReadOptions, report: ShardReport) -> Iterator[tuple[int, Any]]:
    """What stands in each line, or the _WrongRow that it is; what is no JSON is counted as lost bytes."""
    account = Account(report.bytes, UNPACKED)
    for line in _lines(file, MOST_LINE_BYTES_PER_BYTE * options.limits.bytes, report):
        account.read_to(line.start)
        for values, (start, end, value) in enumerate(_in_line(line)):
            report.flag("lines_joined", values > 0)
            account.lost_to(end, value.reason if isinstance(value, _WrongRow) else READ)
            yield start, value
    account.read_to(report.bytes[UNPACKED])


_Value = tuple[int, int, Any]
"""Where a value begins and ends in the unpacked file, and the value, or the _WrongRow that it is."""


def _in_line(line: _Line) -> Iterator[_Value]:
    """The value of a line; several if line feeds are lost, or are carriage returns: then objects stand in a row."""
    if line.broken:
        yield line.start, line.end, _WrongRow(*line.broken)
        return
    try:
        yield line.start, line.end, _json(line.text)
    except _WrongRow as wrong:
        if _are_joined(line.text):
            yield from _joined(line)
        else:
            yield line.start, line.end, wrong


def _are_joined(line: bytes) -> bool:
    """Whether two objects stand in a row at the beginning of a line."""
    try:
        text = line.decode()
        first, end = JSON.raw_decode(text)
        second, _ = JSON.raw_decode(text, _not_blank(text, end))
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and isinstance(second, dict)


def _joined(line: _Line) -> Iterator[_Value]:
    """Values that stand in a row; what follows the last is no JSON."""
    text, at, start = line.text.decode(), 0, line.start
    while at < len(text):
        try:
            value, after = JSON.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            yield start, line.end, _WrongRow("bad_json", str(error)[:200])
            return
        after = _not_blank(text, after)
        end = line.end if after == len(text) else start + len(text[at:after].encode())
        yield start, end, value
        at, start = after, end


def _not_blank(text: str, at: int) -> int:
    """Where the next thing stands that is no blank of JSON's."""
    return JSON_BLANKS.match(text, at).end()  # type: ignore[union-attr]


def _lines(file: BinaryIO, most: int, report: ShardReport) -> Iterator[_Line]:
    """Lines that are not blank.

    Members may meet inside a line (pzstd cuts anywhere); a damaged one breaks its last line, and the next is only
    found again where a line begins.
    """
    cutter, plain = _LineCutter(most), False
    members = Members(file, b"{", report.damage, counts=report.bytes)
    for member in members:
        plain = not member.compressed
        while piece := member.read(1 << 20):
            report.bytes[UNPACKED] += len(piece)
            yield from cutter.feed(piece)
        if member.ended != "whole":
            yield from cutter.rest((str(member.ended), member.problem))
    for line in cutter.rest():
        if plain and line.broken is None and not _is_json(line):
            line = line._replace(broken=("truncated", "the file ends inside a line"))
            report.damage(line.start, "truncated", "the file ends inside a line")
        yield line
    report.flag("trailing_padding", members.padded)


class _LineCutter:
    """Pieces of a file cut into lines; of a line that is longer than memory should hold only the length is kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._start = 0
        self._pending = b""
        self._dropped = 0

    def feed(self, piece: bytes) -> Iterator[_Line]:
        """The lines that end in a piece."""
        if not self._pending and not self._dropped and not piece.strip(b"\n"):
            self._start += len(piece)  # nothing but blank lines, of which a megabyte has a million
            return
        *lines, self._pending = (self._pending + piece).split(b"\n") if b"\n" in piece else (self._pending + piece,)
        for line in lines:
            yield from self._line(line, 1, None)
        if self._dropped or len(self._pending) > self._most:
            self._dropped, self._pending = self._dropped + len(self._pending), b""

    def rest(self, broken: tuple[str, str] | None = None) -> Iterator[_Line]:
        """What stands after the last LF, if anything."""
        line, self._pending = self._pending, b""
        yield from self._line(line, 0, broken)

    def _line(self, line: bytes, end: int, broken: tuple[str, str] | None) -> Iterator[_Line]:
        start, size = self._start, self._dropped + len(line)
        self._start, self._dropped = start + size + end, 0
        if size > self._most:
            too_large = "too_large", f"the line has {size} bytes, the limit is {self._most}"
            yield _Line(start, self._start, b"", broken or too_large)
        elif line.strip():
            yield _Line(start, self._start, line, broken)


def _json(line: bytes) -> Any:
    try:
        return json.loads(line.removeprefix(b"\xef\xbb\xbf").decode())
    except UnicodeDecodeError as error:
        wide = line.startswith((b"\xff\xfe", b"\xfe\xff"))
        raise _WrongRow("bad_utf8", "the file is UTF-16" if wide else f"byte {error.start} of the line") from None
    except (ValueError, RecursionError) as error:
        raise _WrongRow("bad_json", "the file is UTF-16" if b"\0" in line[:4] else str(error)[:200]) from None


def _is_json(line: _Line) -> bool:
    return not any(isinstance(value, _WrongRow) for *_, value in _in_line(line))


def _json_object(values: Any) -> dict[str, Any]:
    """The value of a line. Raises _WrongRow where it is none."""
    if isinstance(values, _WrongRow):
        raise values
    if not isinstance(values, dict):
        raise _WrongRow("wrong_type", f"the line is a {type(values).__name__}, not an object")
    return values


def _json_row(offset: int, values: Mapping[str, Any], options: ReadOptions) -> _Row:
    text = _reach(values, options.text_column)
    if text is _ABSENT:
        raise _WrongRow("missing_text", f"no {options.text_column!r} in a row of {_told(values)}")
    identity = None if options.id_column is None else _first(values, (options.id_column,))
    return _Row(offset, text, identity, _first(values, _url_columns(options)), _first(values, TIME_COLUMNS))


def _first(values: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The value of the first of some names that an object has, None if it has none of them."""
    for name in names:
        if (found := _reach(values, name)) is not _ABSENT:
            return found
    return None


def _reach(values: Mapping[str, Any], name: str) -> Any:
    """The value of a key, or of a key in an object in it by a dotted name."""
    if name in values:
        return values[name]
    if "." not in name:
        return _ABSENT
    found: Any = values
    for key in name.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return _ABSENT
        found = found[key]
    return found


def _told(names: Mapping[str, Any] | Sequence[str]) -> str:
    """Names of columns for a sentence; they may be anyone's text."""
    listed = [clean(name)[0][:60] for name in islice(names, MOST_KEYS_TOLD)]
    for name in islice(names, MOST_KEYS_TOLD):
        if isinstance(names, Mapping) and isinstance(names[name], Mapping):
            listed += [clean(f"{name}.{inner}")[0][:60] for inner in islice(names[name], MOST_KEYS_TOLD)]
    return ", ".join(sorted(listed))


def _no_column(shard: str, missing: Sequence[str], there: Mapping[str, Any] | Sequence[str]) -> str:
    return (
        f"{shard} has no column {' or '.join(map(repr, missing))}, it has: {_told(there)}; "
        "say which column holds what, as in {parquet: PATTERN, text: content, url: metadata.url, id: none}"
    )


def read_parquet(path: Path | str, shard: str, options: ReadOptions, report: ShardReport) -> Iterator[Page | Rejected]:
    """One page a row; a row group that does not decompress is listed as damage and the next is read.

    Raises ValueError where a column that must be there is not, or holds what cannot be read.
    """
    try:
        file = open_parquet(path)
    except (OSError, pa.ArrowException) as error:
        size = path.stat().st_size if isinstance(path, Path) else 0
        Account(report.bytes, PACKED).lost_to(size, "not_this_format")
        report.damage(0, "empty" if isinstance(path, Path) and size == 0 else "not_this_format", str(error)[:300])
        return
    with file:
        report.bytes[ROWS] += 0
        starts = _starts(file)
        if starts[-1] == 0:
            return
        columns = _parquet_columns(file.schema_arrow, shard, options)
        begin, end = options.row_groups or (0, file.num_row_groups)
        report.bytes[ROWS] += starts[end] - starts[begin]
        allowance, account = Allowance(_size(path)), Account(report.bytes, ROWS, starts[begin])
        for group in range(begin, end):
            first, after = starts[group : group + 2]
            try:
                for row in _group_rows(file, group, columns, range(first, after)):
                    if not allowance.take(len(row.text) if isinstance(row.text, str | bytes) else 0):
                        account.lost_to(starts[end], "bomb")
                        report.damage(row.offset, "bomb", allowance.exceeded)
                        return
                    account.read_to(row.offset + 1)
                    yield _page(row, shard, options, report)
            except (OSError, pa.ArrowException) as error:
                account.lost_to(after, "corrupt")
                report.damage(first, "corrupt", f"row group {group}, rows {first} to {after}: {str(error)[:200]}")


def _starts(file: pq.ParquetFile) -> list[int]:
    """The number of each row group's first row, and of all rows; negative ones, in a damaged footer, count as none."""
    groups = map(file.metadata.row_group, range(file.num_row_groups))
    return [0, *accumulate(max(0, group.num_rows) for group in groups)]


def _size(location: Path | str) -> int:
    """Bytes of a file, not of its columns: asked for a damaged column's metadata, pyarrow 26 aborts the process."""
    if isinstance(location, Path):
        return location.stat().st_size
    files, path = fsspec.core.url_to_fs(location)
    return int(files.size(path))


def open_parquet(location: Path | str) -> pq.ParquetFile:
    """A parquet file, of which a store sends only what is read."""
    source = fsspec.open(location).open() if isinstance(location, str) and is_remote(location) else location
    return pq.ParquetFile(source, page_checksum_verification=True)


_Column = tuple[str, ...]
"""A column by its names from the outermost struct to the value."""


def _parquet_columns(schema: pa.Schema, shard: str, options: ReadOptions) -> dict[str, _Column]:
    """Which column holds what; the text and what the experiment names must be there and hold what can be read."""
    wanted = {
        "text": (options.text_column,),
        "identity": () if options.id_column is None else (options.id_column,),
        "url": _url_columns(options),
        "crawled_at": TIME_COLUMNS,
    }
    columns = {
        part: next((column for name in names if (column := _column(schema, name))), None) for part, names in wanted.items()
    }
    needed = {name: _column(schema, name) for name in (options.text_column, *_named(options))}
    if missing := [name for name, column in needed.items() if column is None]:
        raise ValueError(_no_column(shard, missing, _leaves(schema)))
    for name, column in needed.items():
        held = _type(schema, column or ())
        if not (_is_text(held) or (name == options.id_column and _is_identity(held))):
            raise ValueError(f"column {name!r} of {shard} holds {held}, not text; it has: {_told(_leaves(schema))}")
    return {part: column for part, column in columns.items() if column is not None}


def _column(schema: pa.Schema, name: str) -> _Column | None:
    """The column of a name, or the one inside structs that a dotted name reaches."""
    if name in schema.names:
        return (name,)
    path = tuple(name.split("."))
    if len(path) < 2 or path[0] not in schema.names:
        return None
    try:
        _type(schema, path)
    except (KeyError, TypeError, AttributeError):
        return None
    return path


def _type(schema: pa.Schema, column: _Column) -> pa.DataType:
    """What a column holds; a dictionary's values are what counts."""
    held = schema.field(schema.names.index(column[0])).type  # by number: a name may be there twice
    held = reduce(lambda inner, key: inner.field(key).type, column[1:], held)
    return held.value_type if pa.types.is_dictionary(held) else held


def _leaves(schema: pa.Schema) -> list[str]:
    """The columns' names, those inside structs dotted."""
    inner = [f"{field.name}.{child.name}" for field in schema if pa.types.is_struct(field.type) for child in field.type]
    return [*schema.names, *inner]


def _is_text(held: pa.DataType) -> bool:
    kinds = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view", "null")
    return any(getattr(pa.types, f"is_{kind}")(held) for kind in kinds)


def _is_identity(held: pa.DataType) -> bool:
    kinds = ("integer", "floating", "decimal", "fixed_size_binary")
    return isinstance(held, pa.UuidType) or any(getattr(pa.types, f"is_{kind}")(held) for kind in kinds)


def _group_rows(file: pq.ParquetFile, group: int, columns: Mapping[str, _Column], rows: range) -> Iterator[_Row]:
    """The rows of a group, numbered. Raises pa.ArrowInvalid where they are not as many as the footer says."""
    offset = rows.start
    asked = [".".join(column) for column in columns.values()]
    for batch in file.iter_batches(PARQUET_ROWS, row_groups=[group], columns=asked):
        values = {part: _values(_taken(batch, column)) for part, column in columns.items()}
        nothing = [None] * len(batch)
        for row in zip(*(values.get(part, nothing) for part in _Row._fields[1:]), strict=True):
            if offset == rows.stop:
                raise pa.ArrowInvalid(f"it has more rows than the {len(rows):,} of the file's footer")
            yield _Row(offset, *row)
            offset += 1
    if offset < rows.stop:
        raise pa.ArrowInvalid(f"it has {offset - rows.start:,} rows, the file's footer says {len(rows):,}")


def _taken(batch: pa.RecordBatch, column: _Column) -> pa.Array:
    """A column of a batch, out of its structs; the first where a name is there twice."""
    outermost = batch.column(batch.schema.names.index(column[0]))
    return reduce(pc.struct_field, column[1:], outermost)


def _values(column: pa.Array) -> list[Any]:
    """Python values, whatever they hold: pyarrow raises for a whole batch where one value has no Python form.

    A text that is not UTF-8 comes as bytes, with all of its batch; what no field is read from, such as a moment beyond
    Python's years, as an object that is neither text nor number. Sixteen bytes are a UUID.
    """
    held = column.type
    if pa.types.is_dictionary(held):
        return _values(column.dictionary_decode())
    if pa.types.is_timestamp(held) or pa.types.is_date(held):
        return _moments(column)
    if pa.types.is_fixed_size_binary(held) and held.byte_width == 16:
        return [value and UUID(bytes=value) for value in column.to_pylist()]
    if not (_is_text(held) or _is_identity(held)):
        return [None if is_null else _ABSENT for is_null in column.is_null().to_pylist()]
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return list(column.cast(pa.large_binary()).to_pylist())


def _moments(column: pa.Array) -> list[Any]:
    """Moments as datetimes in UTC. They are counted from 1970 in UTC whatever zone a column names."""
    held = column.type
    if pa.types.is_date32(held):
        counts, per_second = pc.multiply(column.cast(pa.int32()).cast(pa.int64()), 86_400), 1
    else:
        counts, per_second = column.cast(pa.int64()), 1000 if pa.types.is_date64(held) else _UNITS_PER_SECOND[held.unit]
    return [None if count is None else _after_1970(count, per_second) for count in counts.to_pylist()]


def _after_1970(count: int, per_second: int) -> Any:
    try:
        return EPOCH + timedelta(microseconds=count * 10**6 // per_second)
    except OverflowError:
        return _ABSENT


def first_identity(path: Path, is_parquet: bool, shard: str, options: ReadOptions) -> Any:
    """The id of a table's first row as it is, None where there is none.

    Raises ValueError where the table lacks a column that it must have. Reads no more than that takes.
    """
    try:
        return _first_of_parquet(path, shard, options) if is_parquet else _first_of_jsonl(path, shard, options)
    except (OSError, EOFError, lzma.LZMAError, pa.ArrowException):
        return None  # damage, which reading tells


def _first_of_parquet(path: Path, shard: str, options: ReadOptions) -> Any:
    with open_parquet(path) as file:
        if file.metadata.num_rows == 0:
            return None
        identity = _parquet_columns(file.schema_arrow, shard, options).get("identity")
        if identity is None:
            return None
        batch = next((batch for batch in file.iter_batches(1, columns=[".".join(identity)]) if len(batch)), None)
    return None if batch is None else _values(_taken(batch, identity))[0]


def _first_of_jsonl(path: Path, shard: str, options: ReadOptions) -> Any:
    unseen = _named(options)
    keys: Mapping[str, Any] = {}
    identity = None
    with opened(path) as file:
        lines = _lines(file, MOST_LINE_BYTES_PER_BYTE * options.limits.bytes, ShardReport())
        for line in islice(lines, LOOKED_AT_LINES):
            try:
                values = {} if line.broken else _json_object(next(_in_line(line))[2])
            except _WrongRow:
                continue
            if not keys and options.id_column is not None:
                identity = _first(values, (options.id_column,))
            keys = keys or values
            unseen = [name for name in unseen if _reach(values, name) is _ABSENT]
            if keys and not unseen:
                break
    if unseen and keys:
        raise ValueError(_no_column(shard, unseen, keys))
    return identity
