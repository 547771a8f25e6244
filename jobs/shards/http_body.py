"""The body of a stored HTTP response, freed of chunking and compression.

The hard idea: headers lie. Crawlers store bodies that they have already unpacked under headers that say otherwise, and
the other way round. The evidence is in the bytes: a coding without its magic number was undone already, whatever the
header says, and is dropped with a flag. One that fits is undone piece by piece under a ceiling, because a megabyte can
unpack to a gigabyte.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import brotli
import zstandard

from jobs.shards.members import ZSTD_FEED

HEADER_END = re.compile(rb"\r?\n\r?\n")
STATUS_LINE = re.compile(rb"HTTP/[0-9](?:\.[0-9])? +([0-9]{3})", re.IGNORECASE)
FOLD = re.compile(rb"\r?\n[ \t]+")  # a header that goes on in the next line
CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]{0,1000})?\r?\n")
PIECE = 1 << 16
MOST_CODINGS = 4  # "gzip, br" and "gzip, chunked" are seen, longer chains only in attacks
MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
UNPACKED_SAMPLE = 1445  # as much as browsers look at (the MIME Sniffing Standard, 5.2)
# What that standard calls binary, without those that ISO-2022 encodings switch by.
CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\f\r\x0e\x0f\x1b")
MOST_CONTROLS = 0.02


class Http(NamedTuple):
    """A parsed response: status, headers by lower-case name (repeated ones joined by commas), stored body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Body(NamedTuple):
    """A decoded body, the flags that it earned, and a reason with detail if it is lost."""

    data: bytes
    flags: list[str]
    lost: tuple[str, str] | None = None


class _TooLarge(Exception):
    """The output has passed its ceiling."""


def parse_http(block: bytes) -> Http | None:
    """The response in a record's block, None if it does not begin with a status line."""
    status = STATUS_LINE.match(block)
    if status is None:
        return None
    end = HEADER_END.search(block)
    head, body = (block[: end.start()], block[end.end() :]) if end else (block, b"")
    headers: dict[str, str] = {}
    for line in FOLD.sub(b" ", head).decode("latin-1").split("\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            key, text = name.strip().lower(), value.strip()
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Http(int(status[1]), headers, body)


def decode_body(http: Http, most_bytes: int) -> Body:
    """The body without transfer and content coding, at most `most_bytes` long."""
    flags: list[str] = []
    data = http.body
    codings = [*_codings(http, "content-encoding"), *_codings(http, "transfer-encoding")]
    if len(codings) > MOST_CODINGS:
        return Body(b"", flags, ("bad_content_encoding", f"{len(codings)} codings on one body"))
    for coding in reversed(codings):
        try:
            data, flag = dechunk(data) if coding == "chunked" else _decode(coding, data, most_bytes)
        except _TooLarge:
            return Body(b"", flags, ("too_large", f"the body unpacks ({coding}) to over {most_bytes} bytes"))
        except ValueError as error:
            return Body(b"", flags, ("bad_content_encoding", str(error)))
        flags += [name for name in flag if name not in flags]
    return Body(data, flags)


def _codings(http: Http, header: str) -> list[str]:
    """The codings that a header names, in the order in which they were applied."""
    names = (name.strip().lower().removeprefix("x-") for name in http.headers.get(header, "").split(","))
    return [name for name in names if name not in ("", "identity", "none")]


def dechunk(body: bytes) -> tuple[bytes, list[str]]:
    """Undo chunked transfer coding (RFC 9112, 7.1); where the framing is wrong the body is given back as it is."""
    pieces: list[bytes] = []
    position = 0
    while position < len(body):
        line = CHUNK_SIZE.match(body, position)
        if line is None:
            return body, ["bad_chunking" if pieces else "coding_ignored"]
        size = int(line[1], 16)
        if size == 0:
            return b"".join(pieces), []
        pieces.append(body[line.end() : line.end() + size])
        position = line.end() + size
        if position < len(body) and body[position] == ord("\r"):
            position += 1
        if position < len(body) and body[position] == ord("\n"):
            position += 1
    return b"".join(pieces), ["body_incomplete"]


def _decode(coding: str, data: bytes, most_bytes: int) -> tuple[bytes, list[str]]:
    """Undo one coding; ValueError if the data are packed, but not so."""
    if not data.strip():
        return data, ["coding_ignored"]
    if not data.startswith(MAGIC.get(coding, b"")):
        if data.startswith(tuple(MAGIC.values())):
            raise ValueError(f"{coding}: the body begins like another coding")
        return data, ["coding_ignored"]
    problem = f"Content-Encoding {coding[:40]!r} is not known"
    for decoder in DECODERS.get(coding, ()):
        output, problem, complete = _bounded(decoder(data), most_bytes)
        if complete:
            return output, []
        if not problem and not looks_unpacked(data):
            return output, ["body_incomplete"]
        if output:
            break
    if looks_unpacked(data):
        return data, ["coding_ignored"]
    raise ValueError(f"{coding}: {problem}" if coding in DECODERS else problem)


def _bounded(pieces: Iterator[bytes | None], most_bytes: int) -> tuple[bytes, str, bool]:
    """Collect output up to the ceiling: the bytes, what went wrong, and whether the end was reached (a None piece)."""
    output, size, complete = [], 0, False
    try:
        for piece in pieces:
            if piece is None:
                complete = True
                break
            output.append(piece)
            size += len(piece)
            if size > most_bytes:
                raise _TooLarge
    except (zlib.error, brotli.error, zstandard.ZstdError) as error:
        return b"".join(output), str(error) or "bad data", False
    return b"".join(output), "", complete


def _zlib_pieces(window: int) -> Callable[[bytes], Iterator[bytes | None]]:
    def pieces(data: bytes) -> Iterator[bytes | None]:
        while data:
            inner = zlib.decompressobj(window)
            while data and not inner.eof:
                yield inner.decompress(data, PIECE)
                data = inner.unconsumed_tail
            if not inner.eof:  # without a checksum at its end, raw deflate may have taken all input and hold output
                yield inner.flush()
            if not inner.eof:
                return
            data = inner.unused_data if window == GZIP else b""
            data = data if data.startswith(b"\x1f\x8b") else b""
        yield None

    return pieces


def _brotli_pieces(data: bytes) -> Iterator[bytes | None]:
    inner = brotli.Decompressor()
    piece = inner.process(data, output_buffer_limit=PIECE)
    while piece:
        yield piece
        piece = inner.process(b"", output_buffer_limit=PIECE)
    if inner.is_finished():
        yield None


def _zstd_pieces(data: bytes) -> Iterator[bytes | None]:
    inner = zstandard.ZstdDecompressor().decompressobj()
    for start in range(0, len(data), ZSTD_FEED):
        yield inner.decompress(data[start : start + ZSTD_FEED])
        if inner.eof:
            yield None


def looks_unpacked(data: bytes) -> bool:
    """Whether data begin like text in any encoding: every tenth of compressed bytes is a control character."""
    if data.startswith(UTF_16_MARKS):
        return True
    start = data[:UNPACKED_SAMPLE]
    return (len(start) - len(start.translate(None, CONTROLS))) <= MOST_CONTROLS * len(start)


GZIP, ZLIB, RAW = 31, 15, -15
DECODERS: dict[str, list[Callable[[bytes], Iterator[bytes | None]]]] = {
    "gzip": [_zlib_pieces(GZIP)],
    "deflate": [_zlib_pieces(ZLIB), _zlib_pieces(RAW)],  # servers send both
    "br": [_brotli_pieces],
    "zstd": [_zstd_pieces],
}
