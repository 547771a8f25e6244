"""Files that are made to hurt, each with what must come of it; all of them made here.

    python tests/hostile/corpus.py FOLDER

writes them into a folder, with `expected.json` beside them.
"""

import base64
import bz2
import codecs
import gzip
import hashlib
import io
import json
import lzma
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from jobs.shards.members import ALWAYS_ALLOWED

ZSTD = zstandard.ZstdCompressor(write_checksum=True).compress
PACK = {"": bytes, "gz": lambda data: gzip.compress(data, mtime=0), "zst": ZSTD, "bz2": bz2.compress, "xz": lzma.compress}
BOMB = ALWAYS_ALLOWED + (8 << 20)
"""Bytes that a small file unpacks to and may not."""


@dataclass(frozen=True)
class Case:
    """A file of some hazard: how many pages it gives, what else is counted, and which damage is told."""

    hazard: str
    name: str
    data: bytes
    pages: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    damage: tuple[str, ...] = ()
    raises: str = ""
    """What a refusal says; the file is a table without a column or a configuration."""
    holds: str = ""
    """What the text of its page holds."""


def record(number=0, body=b"some text of a page", kind="conversion", end=b"\r\n\r\n", newline=b"\r\n", **fields) -> bytes:
    """One record; a field that is None is left out."""
    told = {
        "WARC_Type": kind,
        "WARC_Record_ID": f"<urn:{number}>",
        "WARC_Target_URI": f"http://site.example/{number}",
        "Content_Type": "text/plain" if kind == "conversion" else "application/http; msgtype=response",
        "Content_Length": len(body),
    } | fields
    lines = [b"WARC/1.0", *(f"{n.replace('_', '-')}: {v}".encode() for n, v in told.items() if v is not None)]
    return newline.join(lines) + newline * 2 + body + end


def response(body: bytes, number=0, media="text/html; charset=utf-8", status="200 OK", **fields) -> bytes:
    """A response record."""
    told = {"Content_Type": media} | fields
    head = [f"HTTP/1.1 {status}", *(f"{n.replace('_', '-')}: {v}" for n, v in told.items() if v is not None)]
    return record(number, "\r\n".join(head).encode() + b"\r\n\r\n" + body, "response")


def html(text: str) -> bytes:
    """A small page."""
    return f"<html><head><title>t</title></head><body><p>{text}</p></body></html>".encode()


ONE, TWO, THREE = (record(number, b"text of page %d " % number * 9) for number in range(3))
MIX = b"".join(map(bytes, (ONE, TWO, THREE)))


def members(ending: str, records=(ONE, TWO, THREE)) -> list[bytes]:
    """Each record in a member of its own."""
    return [PACK[ending](one) for one in records]


def truncations() -> Iterator[Case]:
    """Shards that end too early, and what stands behind a good end."""
    for ending in ("gz", "zst"):
        packed = members(ending)
        whole = b"".join(packed)
        for back in (1, 5, 30):
            name = f"a{back}.warc.{ending}"
            told = {"truncated": 1} if back == 1 else None  # further back the record's header may not have come out
            yield Case("a cut member", name, whole[:-back], 2, told, ("truncated",))
        yield Case("a cut between members", f"b.warc.{ending}", packed[0] + packed[1], 2)
        yield Case(
            "one member of many records, cut", f"c.warc.{ending}", PACK[ending](MIX * 40)[:-9], -1, {}, ("truncated",)
        )
        yield Case("zeros behind the end", f"d.warc.{ending}", whole + bytes(999), 3)
        yield Case("text behind the end", f"e.warc.{ending}", whole + b"the end", 3, {}, ("garbage",))
        for at in range(3):
            broken = [*packed]
            broken[at] = broken[at][:-4] + b"\xff" + broken[at][-3:]
            last = at == 2
            yield Case(
                "a flipped checksum", f"f{at}.warc.{ending}", b"".join(broken), 2, None, ("corrupt",) if not last else None
            )
            broken[at] = packed[at][:20] + bytes([packed[at][20] ^ 0x55]) + packed[at][21:]
            yield Case("a flipped byte", f"g{at}.warc.{ending}", b"".join(broken), 2, None, None)
            broken[at] = b"\0" * len(packed[at])
            told = () if last else ("garbage",)
            yield Case("a hole of zeros", f"h{at}.warc.{ending}", b"".join(broken), 2, {}, told)
            broken[at] = packed[at] + b"junk between members"
            yield Case("junk between members", f"i{at}.warc.{ending}", b"".join(broken), 3, {}, ("garbage",))
    for cut in (5, 60, 130):
        yield Case("a cut plain file", f"a{cut}.warc", MIX[:-cut], 2, {"truncated": 1}, ("truncated",))
    yield Case("zeros behind the end", "b.warc", MIX + bytes(99), 3)
    yield Case("text behind the end", "c.warc", MIX + b"the end", 3, {}, ("bad_header",))
    yield Case("text between records", "d.warc", ONE + b"what is this?\r\n\r\n" + TWO + THREE, 3, {}, ("bad_header",))
    yield Case("no bytes", "no.warc.gz", b"", 0, {}, ("empty",))
    yield Case(
        "an older format",
        "f.warc.gz",
        gzip.compress(b"filedesc://a.arc 0.0.0.0 2001 text/plain 9\n"),
        0,
        {},
        ("arc_format",),
    )
    yield Case("a cut dictionary", "g.warc.zst", b"\x5d\x2a\x4d\x18\xff\xff\0\0cut", 0, {}, ("truncated",))
    yield Case("skippable frames", "h.warc.zst", ZSTD(ONE) + b"\x50\x2a\x4d\x18\x03\0\0\0abc" + ZSTD(TWO), 2)
    yield Case("a bomb", "i.warc.gz", gzip.compress(record(0, bytes(BOMB)), 9), 0, {"bomb": 1}, ("bomb",))
    yield Case("a bomb", "j.warc.zst", ZSTD(record(0, bytes(BOMB))), 0, {"bomb": 1}, ("bomb",))
    yield Case("not what its name says", "k.warc.gz", b"<html>404 Not Found</html>", 0, {}, ("bad_header",))


LENGTHS = {
    "small": 3,
    "large": 10**9,
    "negative": -5,
    "text": "many",
    "missing": None,
    "30 digits": "9" * 30,
    "float": "17.0",
}


def framing() -> Iterator[Case]:
    """Headers and lengths that lie."""
    for what, length in LENGTHS.items():
        for ending in ("", "gz", "zst"):
            bad = record(1, b"text of page 1 " * 9, Content_Length=length)
            name = f"{what.replace(' ', '-')}.warc.{ending}".rstrip(".")
            packed = b"".join(members(ending, (ONE, bad, THREE)))
            yield Case(f"a length that is {what}", name, packed, 2, {"bad_length": 1}, ("bad_length",))
    long = record(1, X="y" * 300_000)
    for ending in ("", "gz"):
        packed = b"".join(members(ending, (ONE, long, THREE)))
        yield Case("a header over the limit", f"long.warc.{ending}".rstrip("."), packed, 2, {}, ("bad_header",))
    yield Case(
        "line feeds alone", "lf.warc", record(0, newline=b"\n", end=b"\n\n") * 1 + record(1, newline=b"\n", end=b"\n\n"), 2
    )
    yield Case("a version in small letters", "letters.warc", b"warc" + ONE[4:] + TWO, 2)
    yield Case("one empty line too few", "few.warc", record(0, end=b"\r\n") + TWO, 2)
    yield Case("no empty line at the end", "none.warc", ONE + record(1, end=b""), 2)
    crlf = gzip.compress(record(0, b"two bytes more\r\n", Content_Length=14))
    yield Case("two bytes longer", "crlf.warc.gz", crlf + gzip.compress(TWO), 2)


def records() -> Iterator[Case]:
    """Records that are no pages, or say odd things."""
    for kind in ("warcinfo", "request", "metadata", "revisit", "resource", "continuation"):
        yield Case(f"a {kind} record", f"{kind}.warc", ONE + record(1, kind=kind), 1, {f"record_{kind}": 1})
    yield Case("an unknown type", "unknown.warc", ONE + record(1, kind="strange"), 1, {"record_unknown": 1})
    body = b"some text"
    sha1 = base64.b32encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()
    yield Case("a digest that agrees", "agrees.warc", record(0, body, WARC_Block_Digest=f"sha1:{sha1}"), 1)
    yield Case("a digest of no known kind", "kind.warc", record(0, body, WARC_Block_Digest="crc:00"), 1)
    wrong = record(0, body, WARC_Block_Digest="sha1:" + "A" * 32)
    yield Case("a digest that does not agree", "digest.warc", ONE + wrong, 1, {"digest_mismatch": 1})
    yield Case("an id that is there twice", "twice.warc", ONE + ONE, 1, {"duplicate_id": 1})
    yield Case("a date beyond years", "date.warc", record(0, WARC_Date="9999-12-31T23:59:59-14:00"), 1)
    yield Case("a date that is none", "nodate.warc", record(0, WARC_Date="yesterday"), 1)
    for at, url in enumerate(["http://[::1", "http://a b/\0", "urn:x", "http://\xff.example/", "javascript:alert(1)", ""]):
        yield Case("an odd URL", f"url{at}.warc", record(0, WARC_Target_URI=url), 1)
    yield Case("a body cut by the crawler", "crawl.warc", record(0, WARC_Truncated="length"), 1)
    yield Case("a body of blanks", "blank.warc", ONE + record(1, b" \r\n\t "), 1, {"empty_body": 1})
    yield Case("text that is no UTF-8", "latin.warc", ONE + record(1, b"\xff\xfe\xfd" * 99), 1, {"undecodable": 1})
    for status in ("404 Not Found", "301 Moved", "999 Nothing", "OK"):
        reason = "http_malformed" if status == "OK" else "status_not_200"
        yield Case(
            "another status", f"{status[:3]}{len(status)}.warc", response(html("x"), 1, status=status) + ONE, 1, {reason: 1}
        )
    yield Case(
        "no HTTP at all", "dns.warc", record(1, b"1.2.3.4", "response", Content_Type="text/dns") + ONE, 1, {"not_http": 1}
    )
    for media in ("image/png", "application/pdf", "application/json", "text/css", "video/mp4"):
        name = f"{media.replace('/', '-')}.warc"
        yield Case("what is no page", name, response(b"x" * 99, 1, media) + ONE, 1, {"mime_not_text": 1})
    for magic in (b"%PDF-1.4", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"\x1f\x8b\x08\0\0\0\0\0"):
        lie = response(magic + bytes(range(200)), 1) + ONE
        yield Case("what says it is a page", f"{magic[:3].hex()}.warc", lie, 1, {"mime_not_text": 1})


def bodies() -> Iterator[Case]:
    """HTTP bodies that are coded, or say so."""
    page = html("The coded text of a page.")
    text = "coded text"
    yield Case(
        "chunked",
        "chunked.warc",
        response(b"%x\r\n%s\r\n0\r\n\r\n" % (len(page), page), Transfer_Encoding="chunked"),
        1,
        holds=text,
    )
    for name, chunk in {"bad": b"zz\r\n", "huge": b"ffffffffffffffff\r\n", "negative": b"-5\r\n"}.items():
        yield Case("bad chunks", f"{name}.warc", response(chunk + page, Transfer_Encoding="chunked"), 1, holds=text)
    yield Case("chunked, it says", "plain.warc", response(page, Transfer_Encoding="chunked"), 1, holds=text)
    for coding in ("gzip", "deflate", "br", "zstd", "compress", "gzip, gzip"):
        yield Case(
            "coded, it says", f"{coding[:5]}{len(coding)}.warc", response(page, Content_Encoding=coding), 1, holds=text
        )
    yield Case("gzip", "gzip.warc", response(gzip.compress(page), Content_Encoding="gzip"), 1, holds=text)
    yield Case("deflate", "deflate.warc", response(zlib.compress(page), Content_Encoding="deflate"), 1, holds=text)
    yield Case(
        "gzip that is cut", "cut.warc", response(gzip.compress(page * 9)[:-20], Content_Encoding="gzip"), 1, holds=text
    )
    bad = gzip.compress(page)[:12] + b"\xff" * 99
    yield Case("gzip that is broken", "broken.warc", response(bad, 1, Content_Encoding="gzip") + ONE, 1, {"undecodable": 1})
    bomb = response(gzip.compress(bytes(20_000_000)), 1, Content_Encoding="gzip") + ONE
    yield Case("a bomb in a body", "bomb.warc", bomb, 1, {"too_large": 1})


SAID = "Ein schöner Tag, sagte der Müller über den Bäcker, wäre auch für größere Ausflüge nötig. "
CODED = {
    "utf-8": SAID,
    "utf-8-sig": SAID,
    "utf-16": SAID,
    "utf-16-le": SAID,
    "utf-16-be": SAID,
    "latin-1": SAID,
    "cp1252": SAID,
    "shift_jis": "今日は天気がいいので、散歩に行きましょう。",
    "euc_jp": "今日は天気がいいので、散歩に行きましょう。",
    "iso2022_jp": "今日は天気がいいので、散歩に行きましょう。",
    "euc_kr": "오늘은 날씨가 좋아서 산책을 하러 갑시다.",
    "gb18030": "今天天气很好，我们去散步吧，大家一起去。",
    "big5": "今天天氣很好，我們去散步吧，大家一起去。",
    "koi8-r": "Сегодня хорошая погода, пойдём гулять вместе.",
    "cp1251": "Сегодня хорошая погода, пойдём гулять вместе.",
    "iso8859-7": "Σήμερα ο καιρός είναι καλός, πάμε μια βόλτα.",
    "cp1256": "الطقس جميل اليوم فلنذهب في نزهة معا",
    "cp874": "วันนี้อากาศดี ไปเดินเล่นกันเถอะ",
}
LABELS = {"utf-8-sig": "utf-8", "iso2022_jp": "iso-2022-jp", "euc_jp": "euc-jp", "euc_kr": "euc-kr",
          "cp1251": "windows-1251",
          "cp1252": "windows-1252", "iso8859-7": "iso-8859-7", "cp1256": "windows-1256", "cp874": "windows-874"}  # fmt: skip


def encodings() -> Iterator[Case]:
    """Text in the encoding that it names, or names wrongly."""
    for codec, text in CODED.items():
        page = f"<html><head><title>x</title></head><body><p>{text * 5}</p></body></html>".encode(codec)
        label = LABELS.get(codec, codec)
        yield Case(
            "an encoding that HTTP names",
            f"{codec}.warc",
            response(page, 0, f"text/html; charset={label}"),
            1,
            holds=text[:20],
        )
    for codec in ("latin-1", "koi8-r", "shift_jis", "gb18030", "big5"):
        text = CODED[codec]
        head = f'<html><head><meta charset="{LABELS.get(codec, codec)}"></head><body><p>'.encode()
        page = head + (text * 5).encode(codec) + b"</p></body></html>"
        yield Case(
            "an encoding that the page names", f"meta-{codec}.warc", response(page, 0, "text/html"), 1, holds=text[:20]
        )
    good = html(SAID * 40)
    yield Case("one bad byte", "bad.warc", response(good[:2000] + b"\xff" + good[2000:]), 1, holds="schöner")
    yield Case("a cut character", "cut.warc", response(good[:-22] + "é".encode()[:1]), 1, holds="schöner")
    yield Case("NULs in text", "nul.warc", response(good.replace(b"<p>", b"<p>a\0b ")), 1, holds="schöner")
    yield Case(
        "entities that are no characters",
        "entity.warc",
        response(html("&#0; &#xD800; &#x110000; &bogus; " + SAID)),
        1,
        holds="schöner",
    )
    yield Case(
        "an encoding that nobody knows", "x.warc", response(good, 0, "text/html; charset=x-" + "y" * 999), 1, holds="schöner"
    )
    noise = codecs.escape_decode(b"".join(b"\\x%02x" % (0x80 + at * 7 % 128) for at in range(3000)))[0]
    yield Case("noise", "noise.warc", response(b"<html><body>" + noise, 1, "text/html; charset=utf-8") + ONE, -1, None, None)


SHAPES = {
    "deep": b"<div>" * 3000 + b"the inner text of a page",
    "deep and closed": b"<b>" * 2000 + b"the inner text" + b"</b>" * 2000,
    "attributes": b"<p " + b" ".join(b"a%d=1" % n for n in range(3000)) + b">the inner text of a page",
    "an attribute": b'<p title="' + b"x" * 500_000 + b'">the inner text of a page',
    "unclosed": b"<p>the inner text of a page " * 3000,
    "one word": b"<p>the inner text of a page</p><p>" + b"x" * 500_000,
    "a comment": b"<p>the inner text of a page, told at some length</p><!--" + b"-" * 100_000,
    "entities": b"<p>the inner text of a page</p>" + b"&amp;" * 50_000,
    "tables": b"<table><tr><td>" * 300 + b"the inner text of a page",
    "angle brackets": b"<p>the inner text of a page</p>" + b"<" * 50_000,
    "processing": b"<p>the inner text of a page</p>" + b"<?x " * 20_000,
}


def markup() -> Iterator[Case]:
    """Markup that parsers take long over."""
    for shape, body in SHAPES.items():
        page = b"<html><body>" + body + b"</body></html>"
        yield Case(f"markup: {shape}", f"{shape.replace(' ', '-')}.warc", response(page), 1, holds="inner text")
    for name, body in {"script": b"<script>x()</script>", "nothing": b"<p></p>", "blank": b"<p>&nbsp; </p>"}.items():
        page = b"<html><body>" + body + b"</body></html>"
        yield Case(f"markup: {name}", f"no-{name}.warc", response(page, 1) + ONE, 1, {"empty_extraction": 1})


GOOD = b'{"id": "a", "text": "first"}\n'
LAST = b'{"id": "z", "text": "last"}\n'
LINES = {
    "no JSON": (b"{nothing}", 0, "bad_json"),
    "a line that breaks off": (b'{"text": "brea', 0, "bad_json"),
    "an array": (b"[1, 2]", 0, "wrong_type"),
    "a number": (b"7", 0, "wrong_type"),
    "null": (b"null", 0, "wrong_type"),
    "no text": (b'{"id": "b"}', 0, "missing_text"),
    "text that is null": (b'{"text": null}', 0, "missing_text"),
    "text that is a list": (b'{"text": ["a"]}', 0, "wrong_type"),
    "text that is a number": (b'{"text": 5}', 0, "wrong_type"),
    "a key in capitals": (b'{"Text": "x"}', 0, "missing_text"),
    "text of blanks": (b'{"text": " \\n\\t"}', 0, "empty_body"),
    "no UTF-8": (b'{"text": "\xff"}', 0, "bad_utf8"),
    "a lone surrogate": (b'{"text": "x \\ud800 y"}', 1, None),
    "a NUL": (b'{"text": "x \\u0000 y"}', 1, None),
    "a raw control character": (b'{"text": "x \x01 y"}', 0, "bad_json"),
    "brackets without end": (b"[" * 200_000, 0, "bad_json"),
    "a number without end": (b'{"text": "x", "n": ' + b"9" * 5000 + b"}", 0, "bad_json"),
    "a number beyond floats": (b'{"text": "x", "n": 1e999}', 1, None),
    "NaN": (b'{"text": "x", "id": NaN}', 1, None),
    "a key twice": (b'{"text": "x", "text": "y"}', 1, None),
    "separators of lines": ('{"text": "x\u2028y\u2029z\x85"}'.encode(), 1, None),
    "an id that is a list": (b'{"text": "x", "id": []}', 1, None),
    "an id that is there twice": (b'{"text": "x", "id": "a"}', 0, "duplicate_id"),
    "a mark of byte order": (b'\xef\xbb\xbf{"text": "x"}', 1, None),
    "a carriage return at the end": (b'{"text": "x"}\r', 1, None),
    "carriage returns alone": (b'{"text": "x"}\r{"text": "y"}\r{"text": "z"}', 3, None),
    "two objects in a line": (b'{"text": "x"}{"text": "y"}', 2, None),
    "a comma at the end": (b'{"text": "x"},', 0, "bad_json"),
    "blank lines": (b"\n\n  \n\n", 0, None),
    "a key without end": (b'{"' + b"k" * 100_000 + b'": 1, "text": "x"}', 1, None),
}


def json_lines() -> Iterator[Case]:
    """Lines of jsonl between two good ones, and files that are cut."""
    for at, (what, (line, pages, reason)) in enumerate(LINES.items()):
        for ending in ("", "gz", "zst") if at % 2 else ("", "bz2", "xz"):
            name = f"{at:02d}.jsonl.{ending}".rstrip(".")
            lost = {reason: 1} if reason else {}
            yield Case(f"jsonl: {what}", name, PACK[ending](GOOD + line + b"\n" + LAST), 2 + pages, lost)
    for ending in ("gz", "zst", "bz2", "xz"):
        text = b"".join(b'{"id": "%d", "text": "line %d"}\n' % (n, n) for n in range(99))
        yield Case("jsonl that is cut", f"cut.jsonl.{ending}", PACK[ending](text)[:-7], None, None, ("truncated",))
    yield Case("jsonl that is cut", "cut.jsonl", GOOD + LAST[:-6], 1, {"truncated": 1}, ("truncated",))
    yield Case("an empty jsonl in gzip", "none.jsonl.gz", gzip.compress(b""), 0)
    yield Case("a JSON array", "array.jsonl", b"[\n" + GOOD[:-1] + b",\n" + LAST[:-1] + b"\n]\n", -1, None, None)
    yield Case("UTF-16", "wide.jsonl", (GOOD + LAST).decode().encode("utf-16"), 0, None, ("few_pages", "truncated"))


def _parquet(table: pa.Table, **options) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def parquet() -> Iterator[Case]:
    """Tables of all kinds."""
    texts = [f"text of row {row}" for row in range(90)]
    good = _parquet(pa.table({"text": texts}), row_group_size=30, use_dictionary=False, write_page_checksum=True)
    yield Case("a good table", "good.parquet", good, 90)
    for cut in (1, 8, len(good) // 2, len(good) - 4):
        yield Case("a cut table", f"cut{cut}.parquet", good[:-cut], 0, {}, ("not_this_format",))
    for group in range(3):
        column = pq.ParquetFile(io.BytesIO(good)).metadata.row_group(group).column(0)
        at = column.data_page_offset + column.total_compressed_size - 5
        flipped = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        yield Case("a flipped page", f"flip{group}.parquet", flipped, 60, {}, ("corrupt",))
    yield Case("no parquet", "html.parquet", b"<html>404</html>", 0, {}, ("not_this_format",))
    yield Case("a table without rows", "none.parquet", _parquet(pa.table({"text": pa.array([], pa.string())})), 0)
    yield Case("another column", "other.parquet", _parquet(pa.table({"body": texts})), raises="no column 'text'")
    yield Case("a column of numbers", "numbers.parquet", _parquet(pa.table({"text": [1, 2]})), raises="holds int64")
    yield Case("a column of lists", "lists.parquet", _parquet(pa.table({"text": [["a"]]})), raises="not text")
    nulls = pa.table({"text": ["a", None, ""]})
    yield Case("nulls", "nulls.parquet", _parquet(nulls), 1, {"missing_text": 1, "empty_body": 1})
    raw = pa.table({"text": pa.array([b"fine", b"\xff\xfe"], pa.binary())})
    yield Case("bytes that are no UTF-8", "raw.parquet", _parquet(raw), 1, {"bad_utf8": 1})
    late = pa.table({"text": ["a"], "date": pa.array([2**62], pa.timestamp("us"))})
    yield Case("a moment beyond years", "late.parquet", _parquet(late), 1)
    bomb = pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0] * 90), pa.array(["x" * 1_000_000]))})
    yield Case("a dictionary bomb", "bomb.parquet", _parquet(bomb), 71, {}, ("bomb",))


def texts() -> Iterator[Case]:
    """Plain text."""
    yield Case("latin-1 text", "latin.txt", "schöner Tag".encode("latin-1") * 9, 1)
    yield Case("text of blanks", "blank.txt", b" \n\n ", 0, {"empty_body": 1})
    yield Case("text with NULs", "nul.txt", b"a\0b", 1)
    yield Case("text that is cut", "cut.txt.gz", gzip.compress(b"some text " * 99)[:-9], 0, {"truncated": 1}, ("truncated",))
    yield Case("text that is cut", "cut.txt.xz", lzma.compress(b"some text " * 99)[:-9], 0, {"truncated": 1}, ("truncated",))


START = "pages: {from: [a.warc.gz]}\n"
CONFIGS = [
    "", "[]", "just text", "{", "pages: [", "a: *b", "a: &x 1\nb: *x", "!!python/object:os.system x", "pages: 1\npages: 2",
    "\tpages: 1", "pages:\n  from: []", "pages: {from: [5]}", "pages: {from: [a.zip]}",
    "pages: {frm: [a.warc]}", START + "signals: 5", START + "signals: {gopher: []}", START + "rules: 5",
    START + "seed: x", START + "seed: 1.5",
    START + "out: [1]", START + "levels: {}", START + "train: 5", START + "train: {tokens: -1}",
    START + "train: {tokens: 1e400}",
    START + "evaluate: 7", START + "classifiers: {q: {fastext: {}}}", START + "classifiers: {q: 5}", START + "unknown: 1",
    START + "tokenizer: {vocabulary: 0}", START + "pages: {from: [b]}", "? [1, 2]\n: 3", "a: " + "[" * 50 + "]" * 50,
    "a: " + "9" * 5000, "pages: {from: [a.warc], limits: {bytes: -1}}", "pages: {from: [a.warc], limits: {seconds: .nan}}",
    "pages: {from: [a.warc], extract: magic}", "pages: {from: [{parquet: a, txt: b}]}", "--- 1\n--- 2", "\ufeff\ufeffx: 1",
    "a: \x01",
]  # fmt: skip


def configurations() -> Iterator[Case]:
    """Experiment files that must be refused in a sentence."""
    for at, text in enumerate(CONFIGS):
        yield Case("an experiment file", f"{at:02d}.yaml", text.encode(), raises="refused")
    yield Case("an experiment file", "latin.yaml", "pages: schön".encode("latin-1"), raises="refused")
    yield Case("an experiment file", "large.yaml", b"a: " + b"x" * (5 << 20), raises="refused")


FAMILIES = (truncations, framing, records, bodies, encodings, markup, json_lines, parquet, texts, configurations)


def all_cases() -> list[Case]:
    """Every case; names are told apart by their family."""
    return [Case(**{**case.__dict__, "name": f"{family.__name__}-{case.name}"}) for family in FAMILIES for case in family()]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    expected = {}
    for case in all_cases():
        (folder / case.name).write_bytes(case.data)
        expected[case.name] = {name: value for name, value in case.__dict__.items() if name not in ("data", "name")}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False))
