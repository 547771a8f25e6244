"""Bytes of unknown encoding to text.

The hard idea: every single-byte encoding reads everything, so the first that "works" is no evidence. UTF-8 is: hardly
any other text is UTF-8 by chance. It is tried before what headers claim, and a page with a few bad bytes in it stays
UTF-8 with those bytes replaced, where the usual fallback would turn every é of the page into Ã©. Next in weight is what
two declarations agree on; a detector only decides where there is none, or where they differ.
"""

from __future__ import annotations

import re

from resiliparse.parse.encoding import detect_encoding

from jobs.shards import charsets

# Browsers read charsets in the first 1024 bytes only; pages do put comments and scripts before theirs.
META_BYTES = 4096
META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
XML_ENCODING = re.compile(rb"\s*<\?xml[^>]{1,200}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{2,40})[\"']")
BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16le"), (b"\xfe\xff", "utf-16be"))
JAPANESE_ESCAPE = re.compile(rb"\x1b\$[@B]")
UTF_16 = ("utf-16le", "utf-16be")
UTF = ("utf-8", *UTF_16)
HTTP_DEFAULT = "windows-1252"  # servers add ISO-8859-1, once HTTP's default, to pages that they have not looked at
MOST_BAD_TOLERATED = 0.001  # a few bad bytes in an otherwise right encoding are replaced
MOST_BAD_AT_ALL = 0.01  # above this no encoding is right
MOST_BAD_NAMED_UTF8 = 0.05  # pages that say UTF-8 and mostly are have comments in them that were never converted
FEW_LETTERS = 4  # of Chinese or Thai, say, are UTF-8 by chance once in a hundred times
SAMPLE = 4000
CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
MOST_CONTROLS = 0.01  # text has none, compressed bytes read in a single-byte encoding have one in ten


def decode(body: bytes, declared: str | None, html: bool) -> tuple[str, int] | None:
    """Text of a body and how many bad bytes became U+FFFD; None if no encoding fits.

    Byte order mark first, then UTF-8, which hardly any other text is by chance, then what HTTP, the page and a detector
    say. One bad byte in a UTF-8 page does not turn the whole page into Latin-1; more than 1 % of bad bytes is no text,
    nor is what reads as control characters.
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return _tolerant(body[len(mark) :], encoding, MOST_BAD_AT_ALL)
    names = _declarations(body, declared, html)
    for encoding in (*_seven_bit(body, names), *wide(body, declared, html)):
        if (decoded := _tolerant(body, encoding, MOST_BAD_AT_ALL)) is not None:
            return decoded
    if charsets.REPLACEMENT in names and b"\x1b" in body:
        return None  # ISO-2022-CN, which nobody reads; all its bytes are ASCII
    return _utf8(body, names) or _legacy(body, [name for name in names if name not in UTF])


def _declarations(body: bytes, declared: str | None, html: bool) -> list[str]:
    """The encodings that HTTP and the page name, one for each declaration that names any."""
    labels = [declared] if declared else []
    if html:
        found = XML_ENCODING.match(body, 0, META_BYTES), META_CHARSET.search(body, 0, META_BYTES)
        labels += [match[1].decode("ascii") for match in found if match]
    return [name for name in map(charsets.known, labels) if name]


def _seven_bit(body: bytes, names: list[str]) -> list[str]:
    """Encodings whose bytes are all ASCII, where the body has what gives them away."""
    found = [name for name in names if name in charsets.SEVEN_BIT and charsets.SEVEN_BIT[name] in body]
    if b"\x1b" in body and JAPANESE_ESCAPE.search(body):
        found.append("iso-2022-jp")
    return found if found and body.isascii() else []


def wide(body: bytes, declared: str | None, html: bool) -> list[str]:
    """UTF-16 without a mark: Latin letters, and so all tags, have a NUL for every second byte.

    Where HTTP says UTF-16 some NULs do, or none in plain text that is no UTF-8. What a page says of itself is not asked:
    if one can read the name UTF-16 in it, it is not UTF-16 (the standard says so too).
    """
    start = body[:1000]
    first, second = start[::2].count(0), start[1::2].count(0)
    nuls = first + second
    if nuls * 4 >= len(start) > 0 and min(first, second) * 10 <= nuls:
        return ["utf-16be" if first > second else "utf-16le"]
    named = charsets.known(declared) if declared else None
    if named in UTF_16 and (nuls or not (html or _is_utf8(body))):
        return [str(named)]
    return []


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _utf8(body: bytes, names: list[str]) -> tuple[str, int] | None:
    """UTF-8, with a few bad bytes if its well-formed sequences outnumber them: one Latin-1 é among ASCII does not count."""
    others = [name for name in names if name not in UTF]
    by_chance = FEW_LETTERS if _agreed(others) in charsets.PAIRED else 0
    try:
        text = body.decode()
    except UnicodeDecodeError:
        decoded = _tolerant(body, "utf-8", MOST_BAD_TOLERATED if others or not names else MOST_BAD_NAMED_UTF8)
        if decoded is None:
            return None
        good = _beyond_ascii(decoded[0]) - decoded[1]
        return decoded if good > decoded[1] * (1 + 5 * by_chance) + by_chance else None
    if by_chance and not body.isascii() and _beyond_ascii(text) <= by_chance:
        return None
    return text, 0


def _beyond_ascii(text: str) -> int:
    return sum(map(len, re.findall(r"[^\x00-\x7f]+", text)))


def _legacy(body: bytes, names: list[str]) -> tuple[str, int] | None:
    """What the declarations and a detector make of a body that is no UTF-8; UTF-8 itself when nothing else fits."""
    if len(set(names)) == 1:
        most_bad = MOST_BAD_AT_ALL if _agreed(names) else MOST_BAD_TOLERATED
        if (decoded := _tolerant(body, names[0], most_bad)) is not None:
            return decoded
    ranked = _ranked(names, charsets.known(detect_encoding(body) or ""))
    for most_bad, encodings in ((MOST_BAD_TOLERATED, ranked), (MOST_BAD_AT_ALL, [*ranked, "utf-8"])):
        for encoding in encodings:
            if (decoded := _tolerant(body, encoding, most_bad)) is not None:
                return decoded
    return None


def _agreed(names: list[str]) -> str | None:
    """The encoding that every one of several declarations names."""
    return names[0] if len(names) > 1 and len(set(names)) == 1 else None


def _ranked(names: list[str], detected: str | None) -> list[str]:
    """Encodings to try in turn where the declarations do not settle it."""
    found = [detected] if detected and detected not in UTF else []
    if len(set(names)) > 1:
        if detected in names and detected != HTTP_DEFAULT:  # which a detector also says when it knows nothing
            names = [detected, *names]
        names = sorted(names, key=lambda name: name == HTTP_DEFAULT)
    return list(dict.fromkeys([*names, *found]))


def _tolerant(body: bytes, encoding: str, most_bad: float) -> tuple[str, int] | None:
    """Decode, replacing up to a share of bad bytes (one is always allowed when any is)."""
    text = charsets.read(body, encoding)
    if encoding != "utf-8" and not is_text(text):
        return None
    genuine = body.count("\ufffd".encode()) if encoding == "utf-8" else 0
    bad = max(0, text.count("\ufffd") - genuine) if "\ufffd" in text else 0
    return (text, bad) if bad <= max(1, most_bad * len(body)) else None


def is_text(text: str) -> bool:
    """Whether a text begins like one: hardly a control character in it."""
    start = text[:SAMPLE]
    return len(CONTROLS.findall(start)) <= max(1, MOST_CONTROLS * len(start))


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
