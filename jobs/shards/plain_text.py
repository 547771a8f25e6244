"""Pages from plain text: a page a file, or a paragraph a page.

The hard idea: a file of paragraphs may be larger than memory, so it is read piece by piece, a text over the limit is
passed over without being held, and one that a cut file ends in is lost rather than short.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobs.shards.balance import READ, UNPACKED, Account
from jobs.shards.decoding import clean, decode
from jobs.shards.extraction import ReadLimits
from jobs.shards.members import Members
from jobs.shards.reasons import Page, ReadOptions, Rejected, ShardReport, too_long

_PIECE = 1 << 16
_Lost = tuple[str, str]


@dataclass
class _Text:
    """The bytes of a page to be, from `offset` on: `size` of them, kept up to the limit; why it is lost, if so."""

    offset: int
    size: int = 0
    kept: bytes = b""
    lost: _Lost | None = None


def read_text(path: Path, shard: str, options: ReadOptions, report: ShardReport) -> Iterator[Page | Rejected]:
    """One page of the whole file, or one of each paragraph: lines up to a blank one. Its place is its first byte."""
    if path.stat().st_size == 0:
        report.damage(0, "empty", "the file has no bytes")
        return
    account = Account(report.bytes, UNPACKED)
    for text in _texts(path, options, report):
        account.read_to(text.offset)
        account.lost_to(text.offset + text.size, text.lost[0] if text.lost else READ)
        try:
            yield _page(text, shard, options.limits, report)
        except _NoPage as no_page:
            yield Rejected(None, shard, text.offset, *no_page.args)
    account.read_to(report.bytes[UNPACKED])


class _NoPage(Exception):
    """Reason and detail."""


def _page(text: _Text, shard: str, limits: ReadLimits, report: ShardReport) -> Page:
    if text.lost:
        raise _NoPage(*text.lost)
    if text.size > limits.bytes:
        raise _NoPage("too_large", f"the text has {text.size} bytes, the limit is {limits.bytes}")
    decoded = decode(text.kept, "utf-8", html=False)
    if decoded is None:
        raise _NoPage("undecodable", "")
    cleaned, nul, _ = clean(decoded[0])
    if not cleaned or cleaned.isspace():
        raise _NoPage("empty_body", "the text is blank")
    if len(cleaned) > limits.characters:
        raise _NoPage("too_large", too_long(cleaned, limits))
    report.flag("decode_replaced", decoded[1] > 0)
    report.flag("nul_removed", nul)
    return Page(f"{shard}#{text.offset}", None, None, None, cleaned, None, shard, text.offset)


def _texts(path: Path, options: ReadOptions, report: ShardReport) -> Iterator[_Text]:
    cut = report.damages[-1] if report.damages else None  # unpacked before, up to where it broke
    text = _Text(0)
    kept: list[bytes] = []
    for line, lost in _lines(path, report):
        if options.paragraphs and not lost and not line.strip():
            text.kept, kept = b"".join(kept), []
            if text.size:
                yield text
            text = _Text(text.offset + text.size + len(line))
            continue
        text.size, text.lost = text.size + len(line), text.lost or lost
        if text.size <= options.limits.bytes:
            kept.append(line)
    text.kept = b"".join(kept)
    if cut and not text.lost:
        text.lost = (cut.reason, cut.detail)
    if text.size or text.lost:
        yield text


def _lines(path: Path, report: ShardReport) -> Iterator[tuple[bytes, _Lost | None]]:
    """Lines with their ends, very long ones in several pieces; the last one of a damaged member with what is wrong."""
    with path.open("rb") as file:
        members = Members(file, b"", report.damage, counts=report.bytes)
        pending = b""
        for member in members:
            while piece := member.read(_PIECE):
                report.bytes[UNPACKED] += len(piece)
                *lines, pending = (pending + piece).split(b"\n")
                for line in lines:
                    yield line + b"\n", None
                if len(pending) > _PIECE:
                    yield pending, None
                    pending = b""
            if member.ended != "whole":
                yield pending, (str(member.ended), member.problem)
                pending = b""
        if pending:
            yield pending, None
        report.flag("trailing_padding", members.padded)
