"""Whatever has happened to a WARC: every record that is whole is read, every other is counted, none is read short."""

import base64
import gzip
import hashlib
import io
import random
from collections import Counter

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.shards.reasons import DAMAGE, REASONS, ShardReport, registrable_domain
from jobs.shards.warc import Lost, Response, read_records

MOST = 1_000_000
NOISE = random.Random(3)


def record(number, body, kind="response", newline=b"\r\n", **headers):
    """The bytes of one record; a header given as None is left out."""
    fields = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{number}>",
        "WARC-Target-URI": f"http://example.org/{number}",
        "WARC-Date": "2024-05-18T01:58:10Z",
        "Content-Type": "application/http; msgtype=response",
        "Content-Length": str(len(body)),
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [b"WARC/1.0", *(f"{name}: {value}".encode() for name, value in fields.items() if value is not None)]
    return newline.join(lines) + newline * 2 + body + newline * 2


def http(body, status="200 OK", content_type="text/html; charset=utf-8", **headers):
    fields = {"Content-Type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


PAGES = [
    b"<html><body>" + NOISE.randbytes(40).hex().encode() + b"<p>words</p>" * NOISE.randrange(5, 60) + b"</body></html>"
    for _ in range(4)
]
RECORDS = [record(number, http(page)) for number, page in enumerate(PAGES)]
DIGESTED = [
    record(number, http(page), WARC_Block_Digest="sha1:" + base64.b32encode(hashlib.sha1(http(page)).digest()).decode())
    for number, page in enumerate(PAGES)
]
PACK = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor(write_checksum=True).compress, "plain": bytes}


def read(data, most=MOST):
    report = ShardReport()
    found = list(read_records(io.BytesIO(data), most, report))
    assert {item.reason for item in found if isinstance(item, Lost)} <= set(REASONS)
    assert {damage.reason for damage in report.damages} <= set(DAMAGE)
    return found, report


def bodies(found):
    return [item.body for item in found if isinstance(item, Response)]


def reasons(found):
    return [item.reason for item in found if isinstance(item, Lost)]


@pytest.mark.parametrize("codec", PACK)
def test_records_are_read_with_what_their_headers_say(codec):
    found, report = read(b"".join(map(PACK[codec], RECORDS)))
    assert bodies(found) == PAGES
    assert found[1].id == "<urn:uuid:1>" and found[1].url == "http://example.org/1"
    assert found[1].offset == len(PACK[codec](RECORDS[0])) and found[1].kind == "html" and found[1].charset == "utf-8"
    assert found[1].crawled_at.isoformat() == "2024-05-18T01:58:10+00:00"
    assert not report.damages and not report.counts


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_many_records_in_one_member_are_read(codec):
    found, report = read(PACK[codec](b"".join(RECORDS)))
    assert bodies(found) == PAGES and not report.damages
    assert len({item.offset for item in found}) == len(PAGES)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.booleans())
@settings(deadline=None)
def test_it_does_not_matter_how_records_share_gzip_members(sizes, cut):
    """FastWARC's positions are of no use inside a member of several records; none may be lost or come twice for that."""
    shard = [record(n, http(NOISE.randbytes(3).hex().encode() * (1 + 9000 * (n % 2)))) for n in range(sum(sizes))]
    rest = list(shard)
    members = [gzip.compress(b"".join(rest.pop(0) for _ in range(size))) for size in sizes]
    data = b"".join(members)
    found, report = read(data[:-9] if cut else data)
    complete = sum(sizes[:-1]) if cut else len(shard)
    assert [item.url for item in found][:complete] == [f"http://example.org/{n}" for n in range(complete)]
    assert len({item.url for item in found}) == len(found) <= len(shard)
    assert bool(report.damages) == cut


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("one_member", [False, True])
def test_a_cut_shard_never_gives_a_short_page_and_is_always_told(codec, one_member):
    packed = [PACK[codec](b"".join(RECORDS))] if one_member else list(map(PACK[codec], RECORDS))
    data = b"".join(packed)
    ends = [sum(map(len, packed[: k + 1])) for k in range(len(packed))]
    record_ends = [len(b"".join(RECORDS[: k + 1])) for k in range(len(RECORDS))] if codec == "plain" else ends
    for cut in range(1, len(data), 11):
        found, report = read(data[:cut])
        assert bodies(found) == PAGES[: len(bodies(found))], cut
        # In a plain file a record without its final line ends is whole, so four cuts are none.
        assert report.damages or any(end - 4 * (codec == "plain") <= cut <= end for end in record_ends), cut
        if codec != "plain" and not one_member:
            assert len(bodies(found)) == sum(end <= cut for end in ends), cut


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_one_flipped_byte_costs_at_most_the_record_it_is_in(codec):
    packed = list(map(PACK[codec], RECORDS))
    data = b"".join(packed)
    for position in range(0, len(data), 5):
        broken = bytearray(data)
        broken[position] ^= 1 << (position % 8)
        found, report = read(bytes(broken))
        intact = [page for page, member in zip(PAGES, packed, strict=True) if member in bytes(broken)]
        assert [body for body in bodies(found) if body in intact] == intact, position
        assert all(body in PAGES for body in bodies(found)), position
        assert report.damages or bodies(found) == PAGES, position


def test_one_flipped_byte_in_a_plain_shard_costs_at_most_the_record_it_is_in():
    data = b"".join(DIGESTED)
    for position in range(0, len(data), 3):
        broken = bytearray(data)
        broken[position] ^= 0x11
        found, report = read(bytes(broken))
        intact = [page for page, whole in zip(PAGES, DIGESTED, strict=True) if whole in bytes(broken)]
        assert [body for body in bodies(found) if body in intact] == intact, position
        lost = len(PAGES) - len(bodies(found))
        assert lost == 0 or reasons(found) or report.damages, position


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("junk", [b"\0" * 300, b"junk " * 30, bytes(range(256)) * 300])
def test_junk_between_records_costs_none_of_them(codec, junk):
    packed = list(map(PACK[codec], RECORDS))
    found, report = read(packed[0] + packed[1] + junk + packed[2] + packed[3])
    assert bodies(found) == PAGES
    assert [damage.offset for damage in report.damages] == [len(packed[0] + packed[1])]


@pytest.mark.parametrize("codec", PACK)
def test_nuls_at_the_end_are_padding(codec):
    found, report = read(b"".join(map(PACK[codec], RECORDS)) + bytes(70_000))
    assert bodies(found) == PAGES
    assert not report.damages and report.counts == Counter(trailing_padding=1)


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("length", ["20", "400", "1000000", "1" + "0" * 15, "9" * 30, "-5", "abc", "", None, str(2**64 + 5)])
def test_a_record_that_lies_about_its_length_costs_only_itself(codec, length):
    liar = record(9, http(b"<p>liar</p>" * 20), Content_Length=length)
    found, report = read(b"".join(PACK[codec](data) for data in (RECORDS[0], liar, *RECORDS[1:])))
    assert bodies(found) == PAGES
    assert reasons(found) == ["bad_length"]
    assert report.damages


def test_the_extra_empty_line_of_one_crawl_costs_none_of_its_pages():
    """CC-MAIN-2018-34, made by hand after its erratum: an empty line too many, and a length that does not count it."""
    blocks = [http(page).replace(b"\r\n\r\n", b"\r\n\r\n\r\n", 1) for page in PAGES]
    shard = [record(n, block, Content_Length=str(len(block) - 2)) for n, block in enumerate(blocks)]
    found, report = read(b"".join(map(gzip.compress, shard)))
    assert [body.removeprefix(b"\r\n") for body in bodies(found)] == PAGES
    assert report.counts == Counter(two_bytes_longer=4) and not report.damages


def test_damage_without_end_is_listed_up_to_a_point():
    liar = gzip.compress(record(9, http(b"<p>liar</p>"), Content_Length="3"))
    found, report = read(liar * 1300)
    assert len(found) == 1300 and len(report.damages) == 1001 and "more after" in report.damages[-1].detail


def test_liars_inside_one_member_cost_only_themselves():
    liars = [record(n, http(b"<p>x</p>"), Content_Length=length) for n, length in ((8, "3"), (9, "100000"))]
    found, _ = read(gzip.compress(RECORDS[0] + liars[0] + RECORDS[1] + liars[1] + RECORDS[2] + RECORDS[3]))
    assert bodies(found) == PAGES
    assert reasons(found) == ["bad_length"] * 2


@pytest.mark.parametrize("codec", PACK)
def test_a_header_of_megabytes_costs_only_its_record(codec):
    monster = record(9, http(b"x"), X_Filler="y" * 2_000_000)
    found, report = read(b"".join(PACK[codec](data) for data in (RECORDS[0], monster, *RECORDS[1:])))
    assert bodies(found) == PAGES
    assert [damage.reason for damage in report.damages] == ["bad_header"]


@pytest.mark.parametrize("codec", PACK)
def test_headers_that_end_in_lf_alone_are_read(codec):
    found, report = read(b"".join(PACK[codec](record(n, http(page), newline=b"\n")) for n, page in enumerate(PAGES)))
    assert bodies(found) == PAGES and not report.damages


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_field_names_have_no_case(codec, case):
    fields = {"WARC-Type", "WARC-Record-ID", "WARC-Target-URI", "WARC-Date", "Content-Length", "Content-Type"}
    shard = []
    for plain in RECORDS:
        head, mark, rest = plain.partition(b"\r\n\r\n")
        for name in fields:
            head = head.replace(f"{name}:".encode(), f"{case(name)}:".encode())
        shard.append(head + mark + rest)
    found, report = read(b"".join(map(PACK[codec], [RECORDS[0], *shard])))
    assert bodies(found) == [PAGES[0], *PAGES] and not report.damages
    assert found[1] == found[0]._replace(offset=found[1].offset)
    assert bodies(read(PACK[codec](b"".join(shard)))[0]) == PAGES


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("missing", [1, 2, 3, 4])
@pytest.mark.parametrize("body", [b"<p>words</p>", b"<p>words</p>\r\n\r\n"])
def test_a_last_record_without_its_final_line_ends_is_whole(codec, missing, body):
    last = record(9, http(body))[:-missing]
    found, report = read(PACK[codec](RECORDS[0]) + PACK[codec](last))
    assert bodies(found) == [PAGES[0], body] and not report.damages
    found, report = read(PACK[codec](RECORDS[0] + last))
    assert bodies(found) == [PAGES[0], body] and not report.damages


@pytest.mark.parametrize("codec", PACK)
def test_records_with_fewer_line_ends_between_them_are_read(codec):
    found, report = read(PACK[codec](b"".join(data.removesuffix(b"\r\n") for data in RECORDS)))
    assert bodies(found) == PAGES and not report.damages


def test_a_record_over_the_limit_is_too_large_and_the_next_is_read():
    big = record(9, http(b"x" * 5000))
    found, report = read(RECORDS[0] + big + RECORDS[1], most=3000)
    assert bodies(found) == PAGES[:2] and reasons(found) == ["too_large"] and not report.damages


def test_a_wrong_digest_is_noticed_whichever_way_it_is_written():
    block = http(PAGES[0])
    digest = hashlib.sha1(block)
    written = [f"sha1:{digest.hexdigest()}", "sha1:" + base64.b32encode(digest.digest()).decode(), "blake9:what"]
    found, _ = read(b"".join(record(n, block, WARC_Block_Digest=text) for n, text in enumerate(written)))
    assert len(bodies(found)) == 3
    found, _ = read(record(1, block + b"!", WARC_Block_Digest=written[0]) + RECORDS[1])
    assert reasons(found) == ["digest_mismatch"] and len(bodies(found)) == 1


def test_every_record_that_is_no_page_has_its_reason():
    shard = [
        record(0, b"software: x", kind="warcinfo"),
        record(1, b"GET / HTTP/1.1\r\n\r\n", kind="request"),
        record(2, http(b"", status="304 Not Modified"), kind="revisit"),
        record(3, b"fields", kind="metadata"),
        record(4, b"<html>", kind="resource"),
        record(5, b"rest", kind="continuation"),
        record(6, b"?", kind="sandwich"),
        record(7, http(b"<p>gone", status="404 Not Found")),
        record(8, http(b"%PDF", content_type="application/pdf")),
        record(9, b"20240518 example.org A 1.2.3.4", Content_Type="text/dns"),
        record(10, b"no status line"),
        record(11, http(b" \r\n")),
        record(12, http(b"GIF89a", content_type=None)),
    ]
    found, _ = read(b"".join(map(gzip.compress, shard)))
    assert reasons(found) == [
        "record_warcinfo", "record_request", "record_revisit", "record_metadata", "record_resource",
        "record_continuation", "record_unknown", "status_not_200", "mime_not_text", "not_http", "http_malformed",
        "empty_body", "mime_not_text",
    ]  # fmt: skip


def test_html_and_plain_text_are_told_apart():
    page, text = b"<!DOCTYPE html><p>a", b"a plain text, <p> and all"
    sent = [
        (page, "text/html"), (page, "TEXT/HTML;charset=x"), (text, "application/xhtml+xml"), (text, "text/html"),
        (page, None), (page, "text/plain"), (text, "text/plain"), (text, None),
    ]  # fmt: skip
    found, _ = read(b"".join(record(n, http(body, content_type=name)) for n, (body, name) in enumerate(sent)))
    assert [item.kind for item in found] == ["html"] * 6 + ["plain"] * 2
    assert found[1].charset == "x"


def test_counts_name_the_media_type_of_what_is_no_text():
    shard = [
        record(0, http(b"%PDF-1.4 ...", content_type="text/html")),
        record(1, http(b"\x89PNG", content_type="image/png")),
        record(2, http(b"x", content_type="application/x-never-heard-of")),
        record(3, http(b'{"a": 1}'), WARC_Identified_Payload_Type="application/json"),
        record(4, b"a,b", kind="conversion", Content_Type="text/csv"),
        record(5, http(b"<html>words", content_type="unk"), WARC_Identified_Payload_Type="text/html"),
        record(6, http(gzip.compress(b"<html>words"), content_type="html", Content_Encoding="gzip")),
    ]
    found, report = read(b"".join(map(gzip.compress, shard)))
    assert [item.kind for item in found[5:]] == ["html", "html"] and reasons(found) == ["mime_not_text"] * 5
    named = ("application/pdf", "image/png", "application/other", "application/json", "text/csv")
    assert report.counts == Counter({f"mime_not_text: {name}": 1 for name in named})


def test_bodies_stored_unpacked_under_a_coding_are_pages():
    shard = [
        record(0, http("<html>Маленький город".encode("cp1251"), Content_Encoding="gzip")),
        record(1, http("<html>words".encode("utf-16"), Content_Encoding="gzip")),
        record(2, http(b"\r\n ", Content_Encoding="gzip")),
        record(3, http(gzip.compress(b"<html>words"), Transfer_Encoding="gzip, chunked")),
    ]
    found, report = read(b"".join(map(gzip.compress, shard)))
    assert reasons(found) == ["empty_body"] and len(bodies(found)) == 3
    assert bodies(found)[2] == b"<html>words" and report.counts == Counter(coding_ignored=3)


@pytest.mark.parametrize(
    ("date", "read_as"),
    [
        ("2024-05-18T01:58:10Z", "2024-05-18T01:58:10+00:00"),
        ("2024-05-18T01:58:10.123456Z", "2024-05-18T01:58:10.123456+00:00"),
        ("2024-05-18T01:58:10+02:00", "2024-05-17T23:58:10+00:00"),
        ("9999-12-31T23:59:59-05:00", None),
        ("0001-01-01T00:00:00+05:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_date_that_cannot_be_read_costs_the_date_and_is_counted(date, read_as):
    found, report = read(record(1, http(PAGES[0]), WARC_Date=date) + RECORDS[1])
    assert bodies(found) == PAGES[:2]
    assert (found[0].crawled_at and found[0].crawled_at.isoformat()) == read_as
    assert report.counts == Counter(date_unreadable=1 if read_as is None else 0) + Counter()


def test_an_address_that_is_no_utf8_costs_its_domain_and_is_counted():
    found, report = read(record(1, http(PAGES[0])).replace(b"example.org", b"ex\xed\xa0\x80.org") + RECORDS[1])
    assert bodies(found) == PAGES[:2] and report.counts == Counter(url_unreadable=1)
    assert registrable_domain(found[0].url) is None and found[0].url.encode()


def test_a_wet_record_has_the_id_of_its_response():
    wet = record(9, "été".encode(), kind="conversion", Content_Type="text/plain", WARC_Refers_To="<urn:uuid:0>")
    found, _ = read(gzip.compress(RECORDS[0]) + gzip.compress(wet))
    assert [(item.id, item.kind) for item in found] == [("<urn:uuid:0>", "html"), ("<urn:uuid:0>", "wet")]


def test_what_the_crawler_cut_is_flagged():
    _, report = read(record(1, http(b"<p>half"), WARC_Truncated="length"))
    assert report.counts == Counter(crawl_truncated=1)


@pytest.mark.parametrize("codec", ["gzip", "plain"])
def test_an_arc_file_is_named_as_such(codec):
    arc = b"filedesc://x.arc 0.0.0.0 20140301000000 text/plain -1\n1 0 Old\nURL IP Date\n\nhttp://a/ 1 2 t 3\nabc\n"
    found, report = read(PACK[codec](arc) + PACK[codec](b"http://b/ 1 2 t 3\nabc\n"))
    assert not found and [damage.reason for damage in report.damages] == ["arc_format"]


@pytest.mark.parametrize(
    "data", [b"<html>404</html>", b"version https://git-lfs.github.com/spec/v1\noid", b"\x1f", b"WARC/1.0"]
)
def test_what_is_no_warc_is_damage_and_not_silence(data):
    found, report = read(data)
    assert not bodies(found) and report.damages


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_makes_the_reader_raise_or_alter_a_page(data):
    codec = data.draw(st.sampled_from(sorted(PACK)))
    packed = b"".join(map(PACK[codec], DIGESTED))
    broken = bytearray(packed)
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(broken)))
        cut = data.draw(st.integers(0, 200))
        broken[start : start + cut] = data.draw(st.binary(max_size=80))
    found, _ = read(bytes(broken))
    if codec != "plain":  # a plain shard has no checksum, and the damage may have hit the digest's own line
        assert all(body in PAGES for body in bodies(found))
