"""A shard to pages: each shard by its kind, each of its records accounted for.

The hard idea: rows come in the order of the shard's records, however far ahead the helper process works, so that a part's
bytes depend on the shard and the options only; and a shard that gives no page is never passed over in silence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from jobs.shards import selected
from jobs.shards.balance import PACKED, READ, ROWS, parts
from jobs.shards.decoding import clean, decode
from jobs.shards.extraction import Extraction, Extractor, ReadLimits
from jobs.shards.locations import expand, file_name, is_remote, kind, local_copy, unpacked
from jobs.shards.plain_text import read_text
from jobs.shards.reasons import (
    REASONS,
    REJECTED,
    Damage,
    Page,
    ReadOptions,
    Rejected,
    ShardReport,
    registrable_domain,
    too_long,
)
from jobs.shards.rows import read_jsonl, read_parquet
from jobs.shards.warc import Lost, Response, read_records

__all__ = ["Damage", "Page", "ReadOptions", "Rejected", "ShardReport", "expand", "read_shard"]

EXPECTED = {
    "warc": "response or conversion records that hold HTML or plain text (or resource, under records:)",
    "parquet": "rows with text in the column {text!r}",
    "jsonl": "one JSON object in UTF-8 a line, with text under {text!r}",
    "txt": "text",
    "index": "records that hold HTML or plain text, where the index says",
}
"""What a shard of each kind that gives no page is told to hold."""
MOST_REASONS_TOLD = 3


def read_shard(
    location: str, options: ReadOptions, report: ShardReport, shard: str | None = None
) -> Iterator[Page | Rejected]:
    """Read one shard in order; what is no page is counted in `report`, damage is listed there.

    `shard` is its name in the table; None: its file name. Raises ValueError if it is of no known kind or lacks a column.
    """
    shard = shard or file_name(location)
    seen: set[str] = set()
    for row in _rows(location, shard, options, report):
        report.counts["records"] += 1
        if isinstance(row, Page) and row.id in seen:
            row = Rejected(row.url, shard, row.shard_offset, "duplicate_id", row.id[:200])
        if isinstance(row, Page):
            seen.add(row.id)
            report.counts["pages"] += 1
            report.flag("no_domain", row.domain is None)
            yield row
            continue
        report.counts[row.reason] += 1
        if row.reason in REJECTED:
            yield row


def _rows(location: str, shard: str, options: ReadOptions, report: ShardReport) -> Iterator[Page | Rejected]:
    """The rows of a shard by its kind; where few of them are pages, that is damage, told with what was expected."""
    if options.kind == "index":
        yield from _told_if_few(
            _pages_of(selected.records(location, options, report), options, report), "index", options, report
        )
        return
    if options.row_groups and is_remote(location):  # a slice of a large file: no need to copy all of it
        yield from _told_if_few(read_parquet(location, shard, options, report), "parquet", options, report)
        return
    with local_copy(location) as packed, unpacked(packed, report.damage) as path:
        became = report.damages[0].reason if report.damages else READ
        if not report.damages or path.stat().st_size:  # else it was broken before its first byte, which is told
            known = options.kind or kind(str(packed))
            yield from _told_if_few(_READERS[known](path, shard, options, report), known, options, report)
        if path != packed:  # a stream of bzip2 or xz, which is one member
            for part in parts(report.bytes, PACKED):
                del report.bytes[f"{PACKED}: {part}"]
            report.bytes[f"{PACKED}: {became}"] = packed.stat().st_size
        if ROWS not in report.bytes:
            report.bytes[PACKED] = packed.stat().st_size


def _told_if_few(
    rows: Iterator[Page | Rejected], known: str, options: ReadOptions, report: ShardReport
) -> Iterator[Page | Rejected]:
    """The rows; after the last, damage if none was a page or most were lost: a wrong column, a WAT file, a JSON array."""
    details: dict[str, str] = {}
    for row in rows:
        if isinstance(row, Rejected):
            details.setdefault(row.reason, row.detail)
        yield row
    records, pages = report.counts["records"], report.counts["pages"]
    lost = {reason: count for reason, count in report.counts.most_common() if reason in REASONS}
    if records == 0 or (pages and sum(lost.get(reason, 0) for reason in REJECTED) <= pages):
        return
    most = "; ".join(
        f"{count} {reason}" + (f" ({details[reason]})" if details.get(reason) else "")
        for reason, count in islice(lost.items(), MOST_REASONS_TOLD)
    )
    expected = EXPECTED[known].format(text=options.text_column)
    report.damage(0, "few_pages", f"{pages} of {records} records became pages: {most}; expected {expected}")


def _read_warc(path: Path, shard: str, options: ReadOptions, report: ShardReport) -> Iterator[Page | Rejected]:
    """Records in order, HTML and plain text by way of the helper process, which works ahead of what is asked for."""
    if path.stat().st_size == 0:
        report.damage(0, "empty", "the file has no bytes")
        return
    with path.open("rb") as file:
        records = read_records(file, options.limits.bytes, report, options.resources)
        yield from _pages_of(((shard, record) for record in records), options, report)


def _pages_of(
    records: Iterable[tuple[str, Response | Lost]], options: ReadOptions, report: ShardReport
) -> Iterator[Page | Rejected]:
    """What records come to, each with the name of its shard, in their order."""
    limits = options.limits
    with Extractor(options.extract, limits) as extractor:
        waiting: deque[tuple[Response | Lost, int, str]] = deque()
        for shard, record in records:
            if isinstance(record, Response) and record.kind != "wet":
                extractor.submit(record.body, record.charset, record.kind == "html")
                waiting.append((record._replace(body=b""), len(record.body), shard))
            else:
                waiting.append((record, 0, shard))
            while waiting and (extractor.full or extractor.ready() or not _needs_reply(waiting[0][0])):
                yield _finish(*waiting.popleft(), extractor, limits, report)
        while waiting:
            yield _finish(*waiting.popleft(), extractor, limits, report)


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
_READERS: Mapping[str, _Reader] = {
    "warc": _read_warc,
    "parquet": read_parquet,
    "jsonl": read_jsonl,
    "txt": read_text,
}
