"""Bytes of unknown encoding to text.

The hard idea: every single-byte encoding reads everything, so the first that "works" is no evidence. UTF-8 is: hardly
any other text is UTF-8 by chance. It is tried before what headers claim, and a page with a few bad bytes in it stays
UTF-8 with those bytes replaced, where the usual fallback would turn every é of the page into Ã©.
"""

from __future__ import annotations

import contextlib
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

# Browsers read charsets in the first 1024 bytes only; pages do put comments and scripts before theirs.
META_BYTES = 4096
META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
MOST_BAD_TOLERATED = 0.001  # a few bad bytes in an otherwise right encoding are replaced
MOST_BAD_AT_ALL = 0.01  # above this no encoding is right


def decode(body: bytes, declared: str | None, html: bool) -> tuple[str, int] | None:
    """Text of a body and how many bad bytes became U+FFFD; None if no encoding fits.

    Byte order mark first, then UTF-8, which hardly any other text is by chance, then what HTTP, the page and a detector
    say. One bad byte in a UTF-8 page does not turn the whole page into Latin-1; more than 1 % of bad bytes is no text.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return _tolerant(body[len(mark) :], encoding, MOST_BAD_AT_ALL)
    candidates = _candidates(body, declared, html)
    seven_bit = [name for name in candidates if name.startswith("iso2022") and b"\x1b" in body]
    for encoding in (*seven_bit, *_wide(body), "utf-8"):
        with contextlib.suppress(UnicodeDecodeError):
            return body.decode(encoding), 0
    if (near := _near_utf8(body)) is not None:
        return near
    candidates += [encoding for encoding in _detected(body) if encoding not in candidates]
    # UTF-8 has had its chance; it comes back, if named, only when nothing else fits.
    others = [encoding for encoding in candidates if encoding != "utf-8"]
    for most_bad, encodings in ((MOST_BAD_TOLERATED, others), (MOST_BAD_AT_ALL, candidates)):
        for encoding in encodings:
            if (decoded := _tolerant(body, encoding, most_bad)) is not None:
                return decoded
    return None


def _candidates(body: bytes, declared: str | None, html: bool) -> list[str]:
    """The encodings that HTTP and the page name, as WHATWG and Python know them."""
    names = [declared] if declared else []
    if html and (meta := META_CHARSET.search(body, 0, META_BYTES)):
        names.append(meta[1].decode("ascii"))
    known = [map_encoding_to_html5(name, fallback_utf8=False) for name in names]
    # A page that one can read the name UTF-16 in is not UTF-16 (WHATWG says so too); see _wide for the real ones.
    return list(dict.fromkeys(name for name in known if name and not name.startswith("utf-16")))


def _detected(body: bytes) -> list[str]:
    found = detect_encoding(body)
    return [found] if found else []


def _wide(body: bytes) -> list[str]:
    """UTF-16 without a mark: Latin letters in it have a NUL for every second byte."""
    start = body[:1000]
    if start.count(0) * 4 < len(start):
        return []
    return ["utf-16-be" if start[::2].count(0) > start[1::2].count(0) else "utf-16-le"]


def _near_utf8(body: bytes) -> tuple[str, int] | None:
    """UTF-8 with a few bad bytes, if well-formed sequences outnumber them: one Latin-1 é among ASCII does not count."""
    decoded = _tolerant(body, "utf-8", MOST_BAD_TOLERATED)
    if decoded is None:
        return None
    beyond_ascii = sum(map(len, re.findall(r"[^\x00-\x7f]+", decoded[0]))) - decoded[1]
    return decoded if beyond_ascii > decoded[1] else None


def _tolerant(body: bytes, encoding: str, most_bad: float) -> tuple[str, int] | None:
    """Decode, replacing up to a share of bad bytes (one is always allowed when any is)."""
    try:
        text = body.decode(encoding, "replace")
    except LookupError:
        return None
    genuine = body.count("\ufffd".encode()) if encoding == "utf-8" else 0
    bad = max(0, text.count("\ufffd") - genuine) if "\ufffd" in text else 0
    return (text, bad) if bad <= max(1, most_bad * len(body)) else None


def clean(text: str) -> tuple[str, bool, bool]:
    """Text that every later reader takes: without NULs, lone surrogates replaced; and whether there were any."""
    nul = "\0" in text
    if nul:
        text = text.replace("\0", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), nul, True
    return text, nul, False
