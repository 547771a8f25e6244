"""A stored body is unpacked as far as its headers tell the truth, and never beyond the ceiling."""

import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.shards.http_body import Http, dechunk, decode_body, parse_http

HTML = "<html><body>été</body></html>".encode() * 50


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODINGS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def response(body, **headers):
    return Http(200, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def chunked(data, sizes):
    out, position = [], 0
    for size in sizes:
        piece = data[position : position + size]
        if piece:
            out.append(b"%x\r\n%s\r\n" % (len(piece), piece))
        position += size
    if position < len(data):
        out.append(b"%X;name=value\r\n%s\r\n" % (len(data) - position, data[position:]))
    return b"".join(out) + b"0\r\n\r\n"


@given(data=st.binary(max_size=3000), sizes=st.lists(st.integers(1, 700), max_size=8))
@settings(deadline=None)
def test_chunks_join_to_what_was_sent(data, sizes):
    assert dechunk(chunked(data, sizes)) == (data, [])


@pytest.mark.parametrize(
    ("body", "flag"),
    [
        (HTML, "coding_ignored"),
        (b"zz\r\n" + HTML, "coding_ignored"),
        (b"-5\r\n" + HTML, "coding_ignored"),
        (b"3\r\nabc\r\nxyz\r\n" + HTML, "bad_chunking"),
    ],
)
def test_a_body_that_is_not_chunked_as_claimed_stays_as_it_is(body, flag):
    assert dechunk(body) == (body, [flag])


@pytest.mark.parametrize("body", [b"ffffffff\r\n" + HTML, b"5\r\nhello\r\n", b"5\r\nhello"])
def test_chunks_that_end_early_give_what_there_is_with_a_flag(body):
    data, flags = dechunk(body)
    assert flags == ["body_incomplete"] and data in (HTML, b"hello")


@pytest.mark.parametrize("coding", CODINGS)
def test_every_content_coding_is_undone(coding):
    assert decode_body(response(CODINGS[coding](HTML), content_encoding=coding), 10**6) == (HTML, [], None)


def test_codings_are_undone_in_reverse_and_after_the_chunks():
    stored = chunked(brotli.compress(gzip.compress(HTML)), [20])
    assert decode_body(response(stored, transfer_encoding="chunked", content_encoding="gzip, br"), 10**6).data == HTML


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_too_large_before_it_goes_off(coding):
    stored = CODINGS[coding](bytes(3_000_000))
    assert decode_body(response(stored, content_encoding=coding), 10**5).lost[0] == "too_large"


@pytest.mark.parametrize("coding", [*CODINGS, "utf-8", "sdch"])
def test_a_coding_that_was_not_applied_is_ignored_with_a_flag(coding):
    assert decode_body(response(HTML, content_encoding=coding), 10**6) == (HTML, ["coding_ignored"], None)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "unheard-of"])
def test_a_body_that_does_not_unpack_is_lost_under_its_reason(coding):
    assert (
        decode_body(response(b"\x1f\x8b\x08\x00\x80" * 9, content_encoding=coding), 10**6).lost[0] == "bad_content_encoding"
    )


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_cut_body_is_never_taken_for_a_whole_one(coding, share):
    stored = CODINGS[coding](bytes(range(256)) * 40 + HTML)
    body = decode_body(response(stored[: int(len(stored) * share)], content_encoding=coding), 10**6)
    assert body.lost or body.flags == ["body_incomplete"]


UNPACKED = {
    "utf-8": "<html>été".encode(),
    "windows-1251": "<html><p>Маленький портовый город".encode("cp1251"),
    "shift_jis": "案内 港町の市場".encode("cp932"),
    "utf-16": "<html>plain words".encode("utf-16"),
    "blanks": b" \r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("coding", [*CODINGS, "gb2312", "sdch", "compress"])
@pytest.mark.parametrize("text", UNPACKED)
def test_a_body_that_was_stored_unpacked_is_taken_as_it_is_in_any_encoding(coding, text):
    assert decode_body(response(UNPACKED[text], content_encoding=coding), 10**6) == (
        UNPACKED[text],
        ["coding_ignored"],
        None,
    )


def test_a_coding_applied_once_and_named_twice_is_undone_once():
    body = decode_body(response(gzip.compress(HTML), content_encoding="gzip, gzip"), 10**6)
    assert body == (HTML, ["coding_ignored"], None)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "x-gzip"])
def test_transfer_codings_are_undone_too(coding):
    stored = chunked(CODINGS[coding](HTML), [30])
    assert decode_body(response(stored, transfer_encoding=f"{coding}, chunked"), 10**6) == (HTML, [], None)
    inner = chunked(gzip.compress(brotli.compress(HTML)), [30])
    assert decode_body(response(inner, transfer_encoding="gzip, Chunked", content_encoding="br"), 10**6) == (HTML, [], None)


def test_a_chain_of_codings_is_an_attack():
    assert decode_body(response(HTML, content_encoding="gzip," * 50), 10**6).lost[0] == "bad_content_encoding"


@pytest.mark.parametrize(
    ("block", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", 200, b"body"),
        (b"HTTP/1.0 404\n\nbody", 404, b"body"),
        (b"HTTP/2 200\r\nno colon here\r\n\r\n", 200, b""),
        (b"HTTP/1.1 301 Moved\r\nLocation: x", 301, b""),
        (b"http/1.1 200 ok\r\n\r\nbody", 200, b"body"),
        (b"HTTP/1.1 200\r\n\r\nbody", 200, b"body"),
    ],
)
def test_sloppy_responses_are_parsed(block, status, body):
    http = parse_http(block)
    assert (http.status, http.body) == (status, body)


def test_a_header_may_go_on_in_the_next_line_and_come_twice():
    http = parse_http(b"HTTP/1.1 200 OK\r\ncontent-TYPE: text/html;\r\n\tcharset=x\r\nContent-Type: text/plain\r\n\r\n")
    assert http.headers == {"content-type": "text/html; charset=x, text/plain"}


@pytest.mark.parametrize("block", [b"", b"<html>", b"HTTP/1.1 OK\r\n\r\n", b"\r\nHTTP/1.1 200 OK\r\n\r\n"])
def test_what_has_no_status_line_is_no_response(block):
    assert parse_http(block) is None


@given(st.binary(max_size=400))
def test_no_block_makes_the_parser_raise(block):
    http = parse_http(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n" + block)
    assert isinstance(decode_body(http, 1000).data, bytes)
