"""WARC and WET records to pages-to-be, whatever has happened to the shard.

The hard idea: a record is believed only when what follows it is right as well. Each record is held back until the next
one, or the whole end of its member (see `jobs.shards.members`), shows that it was not cut short and did not swallow its
neighbours. FastWARC frames the records of an ordinary gzip file; from the first oddity on they are framed here, by
nothing but their Content-Length. After damage the next record that stands on its own is looked for.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple

from fastwarc.warc import ArchiveIterator, WarcRecord

from jobs.shards import media_type
from jobs.shards.balance import PACKED, PADDING, READ, UNPACKED, Account
from jobs.shards.http_body import FOLD, Http, decode_body, parse_http
from jobs.shards.members import GZIP_MAGIC, MOST_DAMAGES, Member, Members, find
from jobs.shards.reasons import ShardReport

LONGEST_HEADER = 1 << 18
HEADER_END = re.compile(rb"\r?\n\r?\n")
VERSION = re.compile(rb"WARC/[0-9]+\.[0-9]+[ \t]*\r?\n", re.IGNORECASE)
RECORD_START = re.compile(rb"WARC/[01]\.[0-9]\r?\n[A-Za-z-]{1,40}:", re.IGNORECASE)
RECORD_START_LONGEST = 51
RECORD_ENDS = (b"\r\n\r\n", b"\n\n")
CONTENT_LENGTH = re.compile(r"[0-9]{1,15}")
DIGESTS = {"sha1": hashlib.sha1, "md5": hashlib.md5, "sha256": hashlib.sha256}
NOT_PAGES = frozenset({"warcinfo", "request", "metadata", "revisit", "continuation"})


class Response(NamedTuple):
    """A body that should become a page. `kind` is html, plain or wet (already text); `charset` is what HTTP says."""

    id: str | None
    url: str | None
    crawled_at: datetime | None
    offset: int
    kind: str
    body: bytes
    charset: str | None


class Lost(NamedTuple):
    """A record that is no page, with its reason (see `jobs.shards.reasons.REASONS`)."""

    url: str | None
    offset: int
    reason: str
    detail: str


class _Block(NamedTuple):
    """One framed record: where it begins in its member, its header, its block up to the limit, why it is lost, if so.

    Where it was framed by hand, `body` is where its block begins and `end` where the next record must stand: None if no
    empty line or record follows it.
    """

    position: int
    header: dict[str, str]
    length: int | None
    size: int
    data: bytes
    lost: tuple[str, str] | None
    body: int = 0
    end: int | None = None


class _BadFraming(Exception):
    """No record stands where the next one should."""


def read_records(file: BinaryIO, most_bytes: int, report: ShardReport, resources: bool = False) -> Iterator[Response | Lost]:
    """Every record of a WARC or WET file, plain or compressed, in order; damage goes to `report`.

    Bodies come without transfer and content coding. A record or body over `most_bytes` is lost as too_large. Resource
    records are pages only where `resources` says so.
    """
    start = already_read = 0
    if _gzip_at(file, 0):
        start, already_read = yield from _quickly(file, most_bytes, report, resources)
    members = Members(file, b"WARC/", report.damage, start, report.bytes)
    for member in members:
        if member.start == 0 and member.peek().startswith(b"filedesc://"):
            members.refuse("arc_format", "this is an ARC file, older than WARC; convert it, e.g. with warcio recompress")
            return
        for block in _believed(member, members, most_bytes, report):
            if already_read:
                already_read -= 1
                continue
            yield _classify(block, member.start + block.position, most_bytes, report, resources)
    report.flag("trailing_padding", members.padded)


def _quickly(
    file: BinaryIO, most_bytes: int, report: ShardReport, resources: bool
) -> Generator[Response | Lost, None, tuple[int, int]]:
    """Records as FastWARC alone reads a gzip file of one record a member, while all is well.

    FastWARC inflates three times as fast as Python's zlib and checks every member's CRC. But it takes a cut for the
    end, so a record is believed only when the next one begins a member of its own. Returns the member of the last
    record believed, and how many records of it that are, for care to begin there.
    """
    held: _Block | None = None
    believed = (0, 0)
    file.seek(0)
    try:
        for block in _framed(ArchiveIterator(file, parse_http=False, max_header_len=LONGEST_HEADER), most_bytes):
            # For a later record of a member FastWARC gives a position further on, at most that of the next member.
            if held and (held.size != held.length or block.position <= held.position):
                return believed
            if not _gzip_at(file, block.position):
                return believed
            if held:
                yield _classify(held, held.position, most_bytes, report, resources)
                _account(file, believed[0], held.position, report)
                believed = (held.position, 1)
            held = block
    except _BadFraming:
        pass  # met again, and reported, with care
    return believed


def _account(file: BinaryIO, start: int, end: int, report: ShardReport) -> None:
    """Count a gzip member of one record, of which nothing is lost; its last four bytes say what it unpacks to."""
    if start == end:
        return
    stood = file.tell()
    file.seek(end - 4)
    size = int.from_bytes(file.read(4), "little")
    file.seek(stood)
    report.bytes.update({f"{PACKED}: {READ}": end - start, f"{UNPACKED}: {READ}": size, UNPACKED: size})


def _gzip_at(file: BinaryIO, position: int) -> bool:
    """Whether a gzip member begins there; the file is left where it stood."""
    stood = file.tell()
    file.seek(position)
    magic = file.read(len(GZIP_MAGIC))
    file.seek(stood)
    return magic == GZIP_MAGIC


def _believed(member: Member, members: Members, most_bytes: int, report: ShardReport) -> Iterator[_Block]:
    """The records of one member; goes on inside it where the framing of records breaks but the member is whole."""
    start: int | None = 0
    total, account = 0, Account(report.bytes, UNPACKED)
    while start is not None:
        stream = _at(members, member, start) if start else member
        held: _Block | None = None
        for block in _by_hand(stream, most_bytes):
            if held:
                account.read_to(block.position)
                yield held
            held = block
        stranger = stream.tell() if stream.peek() else None
        stream.drain()
        total = max(total, stream.tell() if stream.compressed else members.size)
        if stream.ended != "whole":
            if stream is not member:  # else the damage itself is reported by Members
                report.damage(member.start + start, str(stream.ended), stream.problem)
            if held:
                yield held._replace(lost=(str(stream.ended), stream.problem))
            account.lost_to(total, str(stream.ended))
            break
        held, start = _Aftermath(members, member, report, account, total).judge(held, stranger)
        if held:
            yield held
        if len(report.damages) >= MOST_DAMAGES:
            account.lost_to(total, report.damages[-1].reason)
            break
    report.bytes[UNPACKED] += total


def _at(members: Members, member: Member, position: int) -> Member:
    """A fresh stream over the same member, standing at a decompressed position."""
    stream = members.open(member.start)
    stream.skip(position)
    return stream


def _by_hand(stream: Member, most_bytes: int) -> Iterator[_Block]:
    """Records as long as each leads to the next; the stream is left at what is no record, or where none can be told."""
    while (text := stream.peek()).startswith((b"\r", b"\n")):
        stream.skip(len(text) - len(text.lstrip(b"\r\n")))
    while (head := _header(stream)) is not None:
        position = stream.tell()
        stream.skip(len(head))
        block = _block(stream, position, _fields(head), most_bytes)
        yield block
        if block.end is None:
            return
        stream.skip(block.end - stream.tell())


def _header(stream: Member) -> bytes | None:
    """The header of the record that begins here with its empty line, not yet read; None if none does."""
    text = stream.peek(len(b"WARC/1.0\r\n"))
    if not VERSION.match(text):
        return None
    while (end := HEADER_END.search(text)) is None and len(text) < LONGEST_HEADER and stream.ended is None:
        text = stream.peek(2 * len(text))
    return text[: end.end()] if end and end.end() <= LONGEST_HEADER else None


def _fields(head: bytes) -> dict[str, str]:
    """The fields of a WARC header by lower-case name, the first of each."""
    fields: dict[str, str] = {}
    for line in FOLD.sub(b" ", head).split(b"\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(name.decode("latin-1").strip().lower(), value.decode("utf-8", "replace").strip())
    return fields


def _block(stream: Member, position: int, header: dict[str, str], most_bytes: int) -> _Block:
    """The record whose header has just been read, with its block; the stream stands behind that."""
    length, lost = _length(header)
    body = stream.tell()
    if length is None:
        return _Block(position, header, None, 0, b"", lost, body)
    data = stream.take(min(length, most_bytes + 1)) if _may_be_page(header) else b""
    size = len(data) + stream.skip(length - len(data))
    return _Block(position, header, length, size, data, lost, body, _end(stream) if size == length else None)


def _end(stream: Member) -> int | None:
    """Where the next record must stand, if the stream stands at the end of a block: what follows says whether it does."""
    tail = stream.peek(RECORD_START_LONGEST)
    for mark in RECORD_ENDS:
        if tail.startswith(mark):
            return stream.tell() + len(mark)
    rest = tail.lstrip(b"\r\n")
    return stream.tell() + len(tail) - len(rest) if not rest or RECORD_START.match(rest) else None


def _length(header: dict[str, str]) -> tuple[int | None, tuple[str, str] | None]:
    """What Content-Length says, or why the record is lost."""
    given = header.get("content-length", "")
    if CONTENT_LENGTH.fullmatch(given):
        return int(given), None
    return None, ("bad_length", f"Content-Length is {given[:40]!r}")


def _may_be_page(header: dict[str, str]) -> bool:
    return header.get("warc-type", "").lower() not in NOT_PAGES


def _framed(records: ArchiveIterator, most_bytes: int) -> Iterator[_Block]:
    """The records as FastWARC sees them; _BadFraming where it does not."""
    try:
        for record in records:
            yield _read_block(record, most_bytes)
    except OSError as error:
        raise _BadFraming(str(error)) from error
    except BaseException as error:  # Rust panics, as when out of memory, are of a class without a name, and no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise _BadFraming(f"FastWARC panicked: {error}") from None


def _read_block(record: WarcRecord, most_bytes: int) -> _Block:
    header: dict[str, str] = {}
    for name, value in record.headers.items_bytes():
        header.setdefault(name.decode("latin-1").lower(), value.decode("utf-8", "replace").strip())
    length, lost = _length(header)
    data = record.reader.read(most_bytes + 1) if _may_be_page(header) else b""
    return _Block(record.stream_pos, header, length, len(data) + record.consume(), data, lost)


class _Aftermath:
    """What to make of the last record that was framed in a whole stream, and where to go on inside its member."""

    def __init__(self, members: Members, member: Member, report: ShardReport, account: Account, total: int) -> None:
        self._members = members
        self._member = member
        self._report = report
        self._account = account
        self._total = total

    def judge(self, held: _Block | None, stranger: int | None) -> tuple[_Block | None, int | None]:
        """The record as it is to be believed and the position of the next one, None when there is none.

        `stranger` is where framing stopped, None at the end of the stream.
        """
        if held is None or held.end is not None:
            self._account.read_to(self._total if stranger is None else stranger)
            return held, None if stranger is None else self._after_stranger(stranger)
        self._account.read_to(held.position)
        if held.size == held.length and (longer := self._two_bytes_longer(held)):
            self._account.read_to(self._total)
            return longer, None
        return self._misread(held)

    def _misread(self, held: _Block) -> tuple[_Block, int | None]:
        """A record whose length is wrong: it may have swallowed others, so go on right behind its beginning."""
        after = self._next_record(held.position + 1)
        if after is None and held.length is not None and held.size < held.length and not self._member.compressed:
            detail = f"{held.size} of {held.length} bytes, then the file ends"
            self._damage(held.position, None, "truncated", detail)
            return held._replace(lost=("truncated", detail)), None
        detail = f"Content-Length {held.header.get('content-length', '')[:40]!r} does not lead to the next record"
        self._damage(held.position, after, "bad_length", detail)
        return held._replace(lost=("bad_length", detail)), after

    def _after_stranger(self, position: int) -> int | None:
        """Report what stands at `position` in place of a record, unless it is padding."""
        stream = _at(self._members, self._member, position)
        while not (text := stream.peek()).strip(b"\0\r\n"):
            if not stream.read():
                self._report.flag("trailing_padding")
                self._account.lost_to(self._total, PADDING)
                return None
        after = self._next_record(position + 1)
        self._damage(position, after, "bad_header", f"no WARC record begins here; found {text[:40]!r}")
        return after

    def _two_bytes_longer(self, held: _Block) -> _Block | None:
        """The record in full if it is alone in its member and two bytes longer than its Content-Length.

        So are all responses of CC-MAIN-2018-34, which have an extra empty line that their length does not count.
        """
        if not self._member.compressed or held.position or held.length is None:
            return None
        tail = _at(self._members, self._member, held.body + held.length).take(7)
        if len(tail) != 6 or not tail.endswith(b"\r\n\r\n"):
            return None
        self._report.flag("two_bytes_longer")
        header = {name: value for name, value in held.header.items() if name != "warc-block-digest"}
        return held._replace(header=header, data=held.data + tail[:2], size=held.size + 2)

    def _next_record(self, position: int) -> int | None:
        stream = _at(self._members, self._member, position)
        found = next(find(stream.read, RECORD_START, RECORD_START_LONGEST), None)
        return None if found is None else position + found

    def _damage(self, position: int, until: int | None, reason: str, detail: str) -> None:
        """Damage from here to there, or to the end of the member."""
        self._account.lost_to(self._total if until is None else until, reason)
        self._report.damage(self._member.start + position, reason, detail)


def _classify(block: _Block, offset: int, most_bytes: int, report: ShardReport, resources: bool) -> Response | Lost:
    """What a framed record is: a page to be, or lost for one reason."""
    url = _url(block.header)
    kind = block.header.get("warc-type", "").lower()
    if kind in NOT_PAGES or (kind == "resource" and not resources):
        return Lost(url, offset, f"record_{kind}", "")
    if kind not in ("response", "conversion", "resource"):
        return Lost(url, offset, "record_unknown", f"WARC-Type {kind[:40]!r}")
    if block.lost:
        return Lost(url, offset, *block.lost)
    if block.size > most_bytes:
        return Lost(url, offset, "too_large", f"the record has {block.size} bytes, the limit is {most_bytes}")
    if not _digest_agrees(block.header.get("warc-block-digest", ""), block.data):
        return Lost(url, offset, "digest_mismatch", block.header["warc-block-digest"])
    report.flag("crawl_truncated", "warc-truncated" in block.header)
    report.flag("url_unreadable", "\ufffd" in (url or ""))
    if kind == "conversion":
        return _conversion(block, url, offset, report)
    if kind == "resource":
        return _resource(block, url, offset, report)
    return _response(block, url, offset, most_bytes, report)


def _conversion(block: _Block, url: str | None, offset: int, report: ShardReport) -> Response | Lost:
    """A WET record: its text, and the id of the response that it was made from."""
    header = block.header
    media = header.get("content-type", "text/plain").partition(";")[0].strip().lower()
    if media != "text/plain":
        return _not_text(url, offset, media, report)
    identity = header.get("warc-refers-to") or header.get("warc-record-id")
    return Response(identity, url, _date(header, report), offset, "wet", block.data, "utf-8")


def _resource(block: _Block, url: str | None, offset: int, report: ShardReport) -> Response | Lost:
    """A resource record, which holds a file without HTTP headers."""
    return _text(block.header.get("content-type", ""), block.data, block.header, url, offset, report)


def _response(block: _Block, url: str | None, offset: int, most_bytes: int, report: ShardReport) -> Response | Lost:
    """A response record: the body of its HTTP response, if that is a page."""
    header = block.header
    http = parse_http(block.data)
    if http is None:
        is_http = header.get("content-type", "application/http").lower().startswith("application/http")
        return Lost(url, offset, "http_malformed" if is_http else "not_http", repr(block.data[:40]))
    if http.status != 200:
        return Lost(url, offset, "status_not_200", str(http.status))
    return _page(http, header, url, offset, most_bytes, report)


def _page(
    http: Http, header: dict[str, str], url: str | None, offset: int, most_bytes: int, report: ShardReport
) -> Response | Lost:
    """A successful response, if what it holds is text."""
    content_type = http.headers.get("content-type", "")
    if not media_type.worth_unpacking(content_type):
        return _not_text(url, offset, media_type.said(content_type)[0], report)
    body = decode_body(http, most_bytes)
    if body.lost:
        return Lost(url, offset, *body.lost)
    found = _text(content_type, body.data, header, url, offset, report)
    if isinstance(found, Response):
        report.counts.update(body.flags)
    return found


def _text(
    content_type: str, body: bytes, header: dict[str, str], url: str | None, offset: int, report: ShardReport
) -> Response | Lost:
    """What holds text, by its header and its bytes."""
    if not body[:1000].strip() and not body.strip():
        return Lost(url, offset, "empty_body", "")
    media = media_type.judge(content_type, header.get("warc-identified-payload-type", ""), body)
    if media.kind is None:
        return _not_text(url, offset, media.type, report)
    date = _date(header, report)
    return Response(header.get("warc-record-id"), url, date, offset, media.kind, body, media.charset)


def _not_text(url: str | None, offset: int, media: str, report: ShardReport) -> Lost:
    report.flag(f"mime_not_text: {media_type.counted_as(media)}")
    return Lost(url, offset, "mime_not_text", media[:80])


def _url(header: dict[str, str]) -> str | None:
    """The target URI; wget puts it in angle brackets, as WARC 1.0's grammar (wrongly) asks."""
    return header.get("warc-target-uri", "").removeprefix("<").removesuffix(">") or None


def _date(header: dict[str, str], report: ShardReport) -> datetime | None:
    """The crawl time in UTC; one that cannot be read is counted and null."""
    given = header.get("warc-date")
    if given is None:
        return None
    try:
        date = datetime.fromisoformat(given)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):  # OverflowError: in UTC it is before the year 1 or after 9999
        report.flag("date_unreadable")
        return None


def _digest_agrees(given: str, block: bytes) -> bool:
    """Whether a digest header such as `sha1:BASE32` fits; an absent or unknown one says nothing."""
    name, _, value = given.partition(":")
    if (algorithm := DIGESTS.get(name.lower().replace("-", ""))) is None:
        return True
    digest = algorithm(block, usedforsecurity=False).digest()
    return value.rstrip("=").upper() in (base64.b32encode(digest).decode().rstrip("="), digest.hex().upper())
