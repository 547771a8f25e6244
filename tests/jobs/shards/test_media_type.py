"""A response is a page by what it is, not by what one header says; and what is none is none whatever it is called."""

import gzip
import io
import json
import random
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.shards.media_type import COUNTED, TOP_LEVEL, counted_as, judge, said

HTML = b"<html><body><p>Words of an ordinary page.</p></body></html>"
TEXT = b"An ordinary plain text, 5 < 6 and <b>no</b> page."
FEED = b"<rss version='2.0'><channel><title>News</title></channel></rss>"
NOISE = random.Random(5).randbytes(5000)


@pytest.mark.parametrize(
    ("header", "type_and_charset"),
    [
        ("text/html; charset=utf-8", ("text/html", "utf-8")),
        ("TEXT/HTML;CHARSET='x'", ("text/html", "x")),
        ("text/html;;charset=UTF-8", ("text/html", "UTF-8")),
        ("text/html charset=utf-8", ("text/html", "utf-8")),
        ("text/html, charset=utf-8", ("text/html", "utf-8")),
        ("text/html, text/html; charset=x", ("text/html", "x")),
        ("text/html; charset=x, text/html", ("text/html", "x")),
        ("text/plain; charset=x, text/html", ("text/html", None)),
        ("*/*, text/html", ("text/html", None)),
        ("text/html, */*", ("text/html", None)),
        ('text/html; a="b, text/plain"', ("text/html", None)),
        ("html", ("", None)),
        ("unk", ("", None)),
        ("text/", ("", None)),
        ("", ("", None)),
        ("text/html; charset=none", ("text/html", "none")),
    ],
)
def test_the_last_valid_type_of_a_header_holds(header, type_and_charset):
    assert said(header) == type_and_charset


@pytest.mark.parametrize(
    "header", ["text/html", "html", "*/*", "unk", "", "application/octet-stream", "application/xml", "text/xml",
               "application/xhtml+xml", "application/vnd.wap.xhtml+xml", "text/plain", "image/gif, text/html"],
)  # fmt: skip
@pytest.mark.parametrize(
    "before",
    [b"", b"\r\n\t ", b"\xef\xbb\xbf", b"<!-- by hand -->\n", b'<?xml version="1.0"?>\n', b"<!DOCTYPE html>\n",
     b'<?xml version="1.0"?><!-- x --><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN">'],
)  # fmt: skip
def test_a_document_is_html_under_every_type_that_says_little(header, before):
    assert judge(header, "", before + HTML).kind == "html"


def test_utf_16_is_no_binary():
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        assert judge("text/html", "", HTML.decode().encode(encoding)).kind == "html"
        assert judge("text/plain", "", TEXT.decode().encode(encoding)).kind == "plain"
    assert judge("", "", HTML.decode().encode("utf-16")).kind == "html"


@pytest.mark.parametrize("body", [b"\x1b$)C\x0e@[@:\x0f \x0eGW18\x0f", "案内".encode("cp932") * 9, b"a\x00b" + TEXT * 9])
def test_rare_encodings_and_a_stray_nul_are_no_binary(body):
    assert judge("text/html", "", body).kind == "html"


@pytest.mark.parametrize(
    ("header", "identified", "body", "kind"),
    [
        ("unk", "text/html", b"Words", "html"),
        ("application/octet-stream", "text/html", b"Words", "html"),
        ("application/xml", "application/xhtml+xml", b"<x:html>", "html"),
        ("text/plain", "text/html", b"<p>Words", "html"),
        ("text/plain", "text/html", TEXT, "html"),
        ("text/plain", "", b"<p> is a tag", "plain"),
        ("text/plain", "text/x-web-markdown", TEXT, "plain"),
        ("text/html", "message/rfc822", b"From: here", "html"),
        ("text/html", "application/pdf", HTML, "html"),
        ("", "", TEXT, "plain"),
        ("text/html", "", TEXT, "html"),
        ("application/octet-stream", "", TEXT, None),
        ("application/xml", "", b"<record/>", None),
        ("text/html", "application/javascript", b"var a = 1", None),
        ("text/plain", "text/css", b"body {}", None),
        ("application/pdf", "text/html", HTML, None),
        ("image/png", "", HTML, None),
    ],
)
def test_header_then_bytes_then_what_the_crawler_identified(header, identified, body, kind):
    assert judge(header, identified, body).kind == kind


def packed_zip():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", NOISE)
    return file.getvalue()


NO_TEXT = {
    "application/pdf": b"%PDF-1.4\n1 0 obj\n<< /Type /Page >>\nendobj\n",
    "application/zip": packed_zip(),
    "application/gzip": gzip.compress(HTML),
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF" + NOISE,
    "image/png": b"\x89PNG\r\n\x1a\n" + NOISE,
    "audio/wav": b"RIFF" + NOISE,
    "video/mp4": b"\x00\x00\x00\x20ftypisom" + NOISE,
    "application/json": json.dumps({"items": [{"id": n, "name": "é"} for n in range(90)]}).encode(),
    "application/rss+xml": b'<?xml version="1.0"?>\n<!-- made -->' + FEED,
    "application/atom+xml": b"<feed xmlns='http://www.w3.org/2005/Atom'/>",
    "application/xml": b"<?xml version='1.0'?><urlset><url/></urlset>",
    "application/octet-stream": NOISE,
}


@pytest.mark.parametrize("media_type", NO_TEXT)
@pytest.mark.parametrize("header", ["text/html; charset=windows-1251", "text/plain; charset=iso-8859-1", "", "text/html"])
def test_what_is_no_text_is_no_page_whatever_it_is_called(media_type, header):
    media = judge(header, "", NO_TEXT[media_type])
    assert media.kind is None and media.type == media_type


@pytest.mark.parametrize(
    "text", [b"RIFF is a format", b"[1] A footnote.", b"{curly} words", b"BZh... said the bee", b"<feedback>"]
)
def test_text_that_begins_like_something_else_stays_text(text):
    assert judge("text/plain", "", text).kind == "plain"


@pytest.mark.parametrize("json_text", ['{"a": "\xe9"}', "[1, 2]\n", '{"a": 1}\n{"a": 2}\n', "[" * 5000])
def test_json_is_known_in_any_encoding_by_line_or_whole(json_text):
    assert (judge("text/html", "", json_text.encode("latin-1")).type == "application/json") == (json_text[1] != "[")


@given(st.text(max_size=60), st.text(max_size=30), st.binary(max_size=300))
def test_no_header_and_no_body_makes_judging_raise(header, identified, body):
    media = judge(header, identified, body)
    assert media.kind in ("html", "plain", None)
    assert counted_as(media.type) in {*COUNTED, *(f"{top}/other" for top in TOP_LEVEL), "other"}


def test_types_that_servers_make_up_do_not_become_counters():
    assert [counted_as(name) for name in ("image/png", "image/x-made-up-7", "made/up", "")] == [
        "image/png", "image/other", "other", "other",
    ]  # fmt: skip
