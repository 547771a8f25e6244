"""Whether a response is a page, by what headers say of it and by what it begins with.

The hard idea: nobody is believed alone. Servers send HTML as `html`, `*/*` or application/octet-stream, and PDF and feeds
as text/html. The last valid type of the header comes first, as in browsers; the first bytes can overrule it, because magic
numbers and tags are what they are; the type that the crawler identified decides where the bytes say nothing. The rest
is as in the MIME Sniffing Standard (https://mimesniff.spec.whatwg.org), which browsers follow.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import NamedTuple

from jobs.shards import charsets
from jobs.shards.decoding import BYTE_ORDER_MARKS, is_text, wide
from jobs.shards.http_body import CONTROLS, MOST_CONTROLS, UNPACKED_SAMPLE, UTF_16_MARKS

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
VALUES = re.compile(r'(?:[^,"]|"[^"]*"?)+')
TYPE = re.compile(rf"\s*({TOKEN}/{TOKEN})(?=[\s;(]|$)")  # a blank ends it, as in Chromium: "text/html charset=utf-8"
CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", re.IGNORECASE)

HTML = frozenset({"text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml"})
PLAIN = "text/plain"
UNKNOWN = frozenset({"", "*/*", "unknown/unknown", "application/unknown", "text/unknown"})
BYTES = frozenset({"application/octet-stream", "binary/octet-stream"})
MAYBE = HTML | UNKNOWN | BYTES | {PLAIN}
XML = re.compile(r"(?:text|application)/xml|.*\+xml")
NO_PROSE = frozenset({"text/css", "text/javascript", "text/calendar", "text/vcard", "text/x-vcard", "text/csv"})
"""Types of text that no page is in, where the crawler has identified them."""

START = 4096  # comments and declarations stand before the first tag
PASSED = re.compile(rb"(?:\s++|<!--.*?-->|<\?.*?\?>|<!DOCTYPE\s++(?!html)[^>]*+>)*+", re.IGNORECASE | re.DOTALL)
# The tags by which browsers know HTML (5.1 of the standard), and those that make it a document.
TAGS = re.compile(
    rb"<(?:!DOCTYPE\s++HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BODY|BR|P|META|LINK|MAIN|ARTICLE)(?=[\s>/])",
    re.IGNORECASE,
)
DOCUMENT = re.compile(rb"<(?:!DOCTYPE\s++HTML|HTML|HEAD|BODY)(?=[\s>/])", re.IGNORECASE)
ROOT = re.compile(rb"<(rss|feed|rdf:rdf|urlset|sitemapindex|opml)(?=[\s>])", re.IGNORECASE)
ROOTS = {
    b"rss": "application/rss+xml", b"feed": "application/atom+xml", b"rdf:rdf": "application/rdf+xml",
    b"urlset": "application/xml", b"sitemapindex": "application/xml", b"opml": "application/xml",
}  # fmt: skip
MAGIC = (
    (b"%PDF-", "application/pdf"), (b"%!PS-Adobe-", "application/postscript"), (b"{\\rtf", "application/rtf"),
    (b"PK\x03\x04", "application/zip"), (b"PK\x05\x06", "application/zip"), (b"\x1f\x8b", "application/gzip"),
    (b"Rar!\x1a\x07", "application/x-rar-compressed"), (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"BZh", "application/x-bzip2"), (b"\xfd7zXZ\0", "application/x-xz"), (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"), (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"), (b"\0\0\1\0", "image/x-icon"), (b"II*\0", "image/tiff"), (b"MM\0*", "image/tiff"),
    (b"8BPS", "image/vnd.adobe.photoshop"), (b"RIFF", "audio/wav"), (b"OggS\0", "application/ogg"),
    (b"ID3\2", "audio/mpeg"), (b"ID3\3", "audio/mpeg"), (b"ID3\4", "audio/mpeg"), (b"fLaC", "audio/flac"),
    (b"\x1a\x45\xdf\xa3", "video/webm"), (b"FLV\1", "video/x-flv"), (b"CWS", "application/x-shockwave-flash"),
    (b"FWS", "application/x-shockwave-flash"), (b"wOFF", "font/woff"), (b"wOF2", "font/woff2"), (b"OTTO", "font/otf"),
    (b"\0\1\0\0", "font/ttf"), (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"\x7fELF", "application/x-executable"), (b"\xca\xfe\xba\xbe", "application/java-vm"),
    (b"\0asm", "application/wasm"), (b"SQLite format 3\0", "application/vnd.sqlite3"),
)  # fmt: skip
"""First bytes that no text has, unless a word begins so: those are believed only with control characters behind them."""
FIRST_BYTES = tuple(magic for magic, _ in MAGIC)
COUNTED = frozenset({*HTML, PLAIN, *BYTES, *NO_PROSE, *ROOTS.values(), *dict(MAGIC).values()}) | frozenset({
    "application/json", "application/javascript", "application/x-javascript", "text/xml", "image/webp", "video/mp4",
    "audio/mp4", "text/markdown",
})  # fmt: skip
TOP_LEVEL = ("application", "audio", "font", "image", "message", "model", "multipart", "text", "video")


class Media(NamedTuple):
    """What a response is: `kind` is html, plain or None for no page; its media type; the charset that its header says."""

    kind: str | None
    type: str
    charset: str | None


@lru_cache(maxsize=1 << 10)
def said(content_type: str) -> tuple[str, str | None]:
    """The media type and charset of a Content-Type header, repeated ones joined by commas: the last valid type holds."""
    essence, charset = "", None
    for value in VALUES.findall(content_type):
        found = TYPE.match(value)
        parameter = CHARSET.search(value)
        if found and found[1] != "*/*":
            # A charset holds on for the same type said again without one, not for another type.
            charset = charset if essence == found[1].lower() else None
            essence = found[1].lower()
        charset = parameter[1] if parameter else charset
    return essence, charset


def worth_unpacking(content_type: str) -> bool:
    """Whether a response may be a page by its header alone, which saves unpacking what is none."""
    essence = said(content_type)[0]
    return essence in MAYBE or XML.fullmatch(essence) is not None


def judge(content_type: str, identified: str, body: bytes) -> Media:
    """What a response is, by its Content-Type, the type that the crawler identified, and its body without codings."""
    essence, charset = said(content_type)
    if not worth_unpacking(content_type):
        return Media(None, essence, charset)
    begins = _beginning(body)
    other = _other_than_text(body, begins, charset)
    if other:
        return Media(None, other, charset)
    identity = said(identified)[0]
    if _is_markup(begins, essence, identity):
        return Media("html", essence or "text/html", charset)
    if _is_no_prose(identity):
        return Media(None, identity, charset)
    if essence in BYTES or (essence not in HTML and XML.fullmatch(essence)):
        return Media(None, essence, charset)
    return Media("html" if essence in HTML else "plain", essence or PLAIN, charset)


def counted_as(media_type: str) -> str:
    """A name for a media type out of a closed list, because servers make types up without end."""
    top = media_type.partition("/")[0]
    return media_type if media_type in COUNTED else f"{top}/other" if top in TOP_LEVEL else "other"


def _beginning(body: bytes) -> bytes:
    """The first bytes behind a byte order mark, blanks, comments and declarations; those of UTF-16 without their NULs."""
    start = body[:START].removeprefix(b"\xef\xbb\xbf")
    if start.startswith(UTF_16_MARKS):
        start = start[2:].replace(b"\0", b"")
    return PASSED.sub(b"", start, count=1)


def _is_markup(begins: bytes, essence: str, identity: str) -> bool:
    """Whether it is HTML: as its first tag or the crawler says; plain text may begin with a tag that it writes about."""
    if essence == PLAIN or XML.fullmatch(essence):
        return DOCUMENT.match(begins) is not None or (identity in HTML and b"<" in begins[:100])
    if essence in HTML:
        return TAGS.match(begins) is not None
    return TAGS.match(begins) is not None or identity in HTML


def _is_no_prose(identity: str) -> bool:
    """Whether the crawler has identified what no page is in; it takes much prose for mark-up or mail of some kind."""
    if identity in MAYBE:
        return False
    return identity in NO_PROSE or not identity.startswith(("text/", "message/"))


def _other_than_text(body: bytes, begins: bytes, charset: str | None) -> str | None:
    """The type of what begins like no text: magic numbers, feeds, JSON, control characters."""
    controls = _has_controls(body, charset)
    if body.startswith(FIRST_BYTES):
        magic, media_type = next(known for known in MAGIC if body.startswith(known[0]))
        if controls or not magic.isalpha():
            return media_type
    if body[4:8] == b"ftyp":
        return "video/mp4"
    if root := ROOT.match(begins):
        return ROOTS[root[1].lower()]
    if begins.startswith((b"{", b"[")) and _is_json(body):
        return "application/json"
    return "application/octet-stream" if controls else None


def _has_controls(body: bytes, charset: str | None) -> bool:
    """Whether a body begins like binary data; UTF-16 does not, though every second byte of it may be NUL."""
    start = body[:UNPACKED_SAMPLE]
    if len(start) - len(start.translate(None, CONTROLS)) <= MOST_CONTROLS * len(start):
        return False
    marked = [encoding for mark, encoding in BYTE_ORDER_MARKS if start.startswith(mark)]
    return not any(is_text(charsets.read(start, encoding)) for encoding in marked or wide(start, charset, html=True))


def _is_json(body: bytes) -> bool:
    """Whether a body is one JSON value, or its first line is one object. What is not ASCII in it does not matter."""
    text = body.decode("latin-1").strip()
    for value in (text, text.partition("\n")[0]):
        try:
            if isinstance(json.loads(value), (dict, list)):
                return True
        except (ValueError, RecursionError):
            continue
    return False
