"""What a user names becomes shards, and every shard at hand is read or accounted for."""

import bz2
import functools
import gzip
import http.server
import lzma
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from jobs.shards.extraction import ReadLimits
from jobs.shards.locations import expand, file_name, local_copy
from jobs.shards.members import ALWAYS_ALLOWED
from jobs.shards.reader import read_shard
from jobs.shards.reasons import DAMAGE, FLAGS, REASONS, Page, ReadOptions, Rejected, ShardReport, registrable_domain
from jobs.shards.warc import Response, read_records

HTML = "<html><body><main><p>{}</p></main></body></html>"
WORDS = "A sentence of ordinary words that any extractor keeps, number {}. "


def record(number, body, content_type="text/html", identity=None):
    block = b"HTTP/1.1 200 OK\r\nContent-Type: " + content_type.encode() + b"\r\n\r\n" + body
    head = [
        "WARC/1.0",
        "WARC-Type: response",
        f"WARC-Target-URI: https://www.site{number}.co.uk/",
        "WARC-Date: 2024-05-18T01:58:10Z",
        f"Content-Length: {len(block)}",
    ]
    if identity is not None:
        head.append(f"WARC-Record-ID: {identity}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


def html(number):
    return HTML.format(WORDS.format(number) * 5).encode()


def read(path, options=None):
    report = ShardReport()
    found = list(read_shard(str(path), options or ReadOptions(), report))
    assert report.balanced()
    assert {name.partition(":")[0] for name in report.counts} <= {"records", "pages", *REASONS, *FLAGS}
    assert all(report.counts.values())
    return found, report


def write(path, *records):
    path.write_bytes(b"".join(map(gzip.compress, records)))
    return path


def test_pages_have_what_the_table_needs(tmp_path):
    path = write(
        tmp_path / "a.warc.gz", record(1, html(1), identity="<urn:uuid:1>"), record(2, b"plain words", "text/plain")
    )
    (first, second), report = read(path)
    assert first.id == "<urn:uuid:1>" and first.domain == "site1.co.uk" and first.html_bytes == len(html(1))
    assert first.shard == "a.warc.gz" and first.shard_offset == 0 and WORDS.format(1).strip() in first.text
    assert second.id == f"a.warc.gz#{second.shard_offset}" and second.html_bytes is None and second.text == "plain words"
    assert report.counts == Counter(records=2, pages=2)


def test_rows_keep_the_order_of_the_shard_whatever_becomes_of_them(tmp_path):
    hang = b"<html><body>" + b"<div>" * 40_000
    bodies = [html(0), b"\xff\xfe" + b"\x00\xd8" * 500, hang, html(3), b"<script></script>", html(5)]
    path = write(tmp_path / "a.warc.gz", *(record(n, body, identity=f"<{n}>") for n, body in enumerate(bodies)))
    found, report = read(path, ReadOptions(limits=ReadLimits(seconds=0.4)))
    reasons = [None if isinstance(row, Page) else row.reason for row in found]
    assert reasons == [None, "undecodable", "extract_timeout", None, "empty_extraction", None]
    assert sorted(row.shard_offset for row in found) == [row.shard_offset for row in found]
    assert not report.damages


def test_the_second_page_of_an_id_is_rejected(tmp_path):
    path = write(tmp_path / "a.warc.gz", *(record(n, html(n), identity="<same>") for n in range(2)))
    found, _ = read(path)
    assert isinstance(found[0], Page) and found[1].reason == "duplicate_id"


def test_the_same_shard_gives_the_same_rows_wherever_it_lies(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    one = write(tmp_path / "a.warc.gz", *(record(n, html(n)) for n in range(3)))
    other = write(tmp_path / "deep" / "er" / "a.warc.gz", *(record(n, html(n)) for n in range(3)))
    assert read(one) == read(other)


def resource(body, content_type, **more):
    head = {
        "WARC-Type": "resource",
        "WARC-Record-ID": "<urn:uuid:r>",
        "WARC-Target-URI": "https://www.site.org/a",
        "WARC-Date": "2024-05-18T01:58:10Z",
        "Content-Type": content_type,
        "Content-Length": len(body),
        **more,
    }
    told = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"WARC/1.0\r\n{told}\r\n".encode() + body + b"\r\n\r\n"


def test_resource_records_are_pages_by_option(tmp_path):
    path = write(
        tmp_path / "a.warc.gz",
        resource(html(1), "text/html"),
        resource("grüße".encode("latin-1"), "text/plain; charset=latin1", **{"WARC-Record-ID": "<urn:uuid:s>"}),
        resource(b"\x89PNG", "image/png"),
        resource(b"words", "text/plain", **{"WARC-Block-Digest": "sha1:AAAA"}),
        resource(b"  ", "text/plain"),
        record(2, html(2)),
    )
    found, report = read(path)
    assert [row.url for row in found] == ["https://www.site2.co.uk/"] and report.counts["record_resource"] == 5
    found, report = read(path, ReadOptions(resources=True))
    assert [row.id if isinstance(row, Page) else row.reason for row in found] == [
        "<urn:uuid:r>",
        "<urn:uuid:s>",
        "digest_mismatch",
        "empty_body",
        f"a.warc.gz#{found[-1].shard_offset}",
    ]
    assert (found[0].html_bytes, found[0].domain, found[1].text) == (len(html(1)), "site.org", "grüße")
    assert report.counts["mime_not_text"] == 1 and not report.counts["record_resource"]


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_a_warc_under_bzip2_or_xz_is_read(tmp_path, pack):
    data = b"".join(record(n, html(n), identity=f"<{n}>") for n in range(3))
    (tmp_path / "a.warc").write_bytes(data)
    (tmp_path / "a.warc.packed").write_bytes(pack(data))
    expected, _ = read(tmp_path / "a.warc")
    found, report = read(tmp_path / "a.warc.packed", ReadOptions(kind="warc"))
    assert [row._replace(shard="a.warc") for row in found] == expected and not report.damages


def test_a_shard_of_no_page_is_told_with_what_it_holds(tmp_path):
    path = write(tmp_path / "a.warc.gz", *(record(n, b"{}", "application/json") for n in range(3)))
    _, report = read(path)
    (damage,) = report.damages
    assert damage.reason == "few_pages"
    assert damage.detail.startswith("0 of 3 records became pages: 3 mime_not_text")
    assert "expected response or conversion records" in damage.detail


def test_a_shard_that_loses_as_many_pages_as_it_gives_is_not_yet_told(tmp_path):
    bodies = [html(0), b"<script></script>", b"<script></script>"]
    for many, told in ((2, []), (3, ["few_pages"])):
        path = write(tmp_path / "a.warc.gz", *(record(n, body) for n, body in enumerate(bodies[:many])))
        assert [damage.reason for damage in read(path)[1].damages] == told


def test_an_empty_compressed_shard_is_damage(tmp_path):
    (tmp_path / "a.warc.gz").touch()
    found, report = read(tmp_path / "a.warc.gz")
    assert not found and [damage.reason for damage in report.damages] == ["empty"]


@pytest.fixture
def server(tmp_path):
    """A web server over a folder, on this machine only."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_shard_on_the_web_is_read_from_a_copy_that_does_not_stay(tmp_path, server):
    path = write(tmp_path / "a.warc.gz", record(1, html(1)))
    assert list(expand([f"{server}/a.warc.gz"])) == [f"{server}/a.warc.gz"]
    with local_copy(f"{server}/a.warc.gz") as copy:
        assert copy.read_bytes() == path.read_bytes()
    assert not copy.exists()
    assert read(f"{server}/a.warc.gz") == read(path)
    with pytest.raises(ValueError, match="no file matches"):
        expand([f"{server}/nothing.warc.gz"])


def test_shards_in_a_bucket_are_found_by_glob_and_read(tmp_path, monkeypatch):
    """moto plays the object store, on this machine only."""
    moto = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    store = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    store.start()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*store.get_host_and_port()))
        bucket = boto3.client("s3")
        bucket.create_bucket(Bucket="crawl")
        path = write(tmp_path / "a.warc.gz", record(1, html(1)))
        bucket.upload_file(str(path), "crawl", "2024/a.warc.gz")
        assert list(expand(["s3://crawl/2024/*.warc.gz"])) == ["s3://crawl/2024/a.warc.gz"]
        assert read("s3://crawl/2024/a.warc.gz") == read(path)
        with pytest.raises(ValueError, match="no file matches 's3://crawl/2025"):
            expand(["s3://crawl/2025/*.warc.gz"])
    finally:
        store.stop()


def test_a_shard_in_another_file_system_is_found_by_glob():
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/crawl/b.jsonl", b'{"text": "b"}\n')
    memory.pipe("/crawl/a.jsonl", b'{"text": "a"}\n')
    found = expand(["memory://crawl/*.jsonl"])
    assert [file_name(name) for name in found] == ["a.jsonl", "b.jsonl"]
    assert [row.text for name in found for row in read(name)[0]] == ["a", "b"]


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://www.Example.co.uk:8080/a?b", "example.co.uk"),
        ("http://user@sub.example.de./", "example.de"),
        ("http://www.bücher.example.com/", "example.com"),
        ("http://www.bücher.de/", "xn--bcher-kva.de"),
        ("http://www.BÜCHER.de/", "xn--bcher-kva.de"),
        ("http://www.xn--bcher-kva.de/", "xn--bcher-kva.de"),
        ("http://пример.рф/", "xn--e1afmkfd.xn--p1ai"),
        ("http://\ufffd.example.de/", "example.de"),
        ("urn:uuid:1", None),
        ("http://127.0.0.1/", None),
        ("http://[::1]/", None),
        ("http://[bad/", None),
        ("http://co.uk/", None),
        ("http://localhost/", None),
        ("", None),
        (None, None),
    ],
)
def test_the_registrable_domain_of_a_url(url, domain):
    assert registrable_domain(url) == domain


EXPECTED_PAGES = {
    "dupes.warc.gz": 1, "iana.warc.gz": 16, "sample-0000.warc.gz": 22, "sample-0001.warc.gz": 15,
    "whirlwind.warc.gz": 1, "whirlwind.warc.wet.gz": 1, "example.warc": 1, "example.warc.gz": 1,
    "cc_en_head-0091.jsonl.gz": 10, "cc_en_head-0174.jsonl.gz": 10, "example-iana.org-chunked.warc": 1,
    "example-wget-bad-target-uri.warc.gz": 1, "example-bad-non-chunked.warc.gz": 1, "example-bad.warc.gz.bad": 1,
}  # fmt: skip
EXPECTED_DAMAGE = {
    "bad.arc": "arc_format", "example.arc": "arc_format", "example.arc.gz": "arc_format",
    "example-space-in-url.arc": "arc_format", "example-trunc.warc": "bad_length",
    "example-wrong-chunks.warc.gz": "bad_length", "example-digest.warc": "few_pages",
    "example-resource.warc.gz": "few_pages", "example-space-in-target-uri.warc.gz": "few_pages",
    "post-test.warc.gz": "few_pages", "whirlwind.warc.wat.gz": "few_pages",
}  # fmt: skip


def test_every_shard_of_the_fixtures_is_read_or_accounted_for(shared_data):
    shards = sorted(path for path in (shared_data / "fixtures").rglob("*") if path.is_file())
    assert len(shards) >= 24
    for path in shards:
        found, report = read(path)
        pages = [row for row in found if isinstance(row, Page)]
        assert len(pages) == EXPECTED_PAGES.get(path.name, 0), path.name
        told = [damage.reason for damage in report.damages]
        assert told[:1] == ([EXPECTED_DAMAGE[path.name]] if path.name in EXPECTED_DAMAGE else []), path.name
        assert report.counts["records"] or report.damages, path.name


def test_the_warc_and_the_wet_of_a_page_share_its_id(shared_data):
    warc, _ = read(shared_data / "fixtures" / "whirlwind.warc.gz")
    wet, _ = read(shared_data / "fixtures" / "whirlwind.warc.wet.gz")
    assert warc[0].id == wet[0].id and warc[0].url == wet[0].url
    assert (warc[0].html_bytes, wet[0].html_bytes) == (72848, None)


def test_a_real_shard_and_its_wet_hold_the_same_pages(shared_data):
    wet, report = read(shared_data / "crawl" / "sample-00000.warc.wet.gz")
    assert report.counts["pages"] == 491
    with (shared_data / "crawl" / "sample-00000.warc.gz").open("rb") as file:
        responses = {record.id for record in read_records(file, 10**7, ShardReport()) if isinstance(record, Response)}
    assert {page.id for page in wet} <= responses and len(responses) == 495


def test_rejections_say_where_the_page_lies(tmp_path):
    path = write(tmp_path / "a.warc.gz", record(1, html(1)), record(2, b"<script></script>"))
    rejected = read(path)[0][1]
    offset = len(gzip.compress(record(1, html(1))))
    assert rejected == Rejected("https://www.site2.co.uk/", "a.warc.gz", offset, "empty_extraction", "")


def test_the_documentation_names_every_reason():
    text = (Path(__file__).parents[3] / "docs" / "reading.md").read_text()
    for name, meaning in {**REASONS, **FLAGS, **DAMAGE}.items():
        assert f"| `{name}` | {meaning} |" in text


def bombs(folder):
    """Three shards of some kilobytes that stand for hundreds of megabytes, each after a good page."""
    good = b'{"id": "good", "text": "a page that is read before the rest of its shard is given up"}\n'
    zst = zstandard.ZstdCompressor(level=19)
    (folder / "lines.jsonl.zst").write_bytes(zst.compress(good) + zst.compress(b"\n" * 300_000_000))
    (folder / "line.jsonl.zst").write_bytes(zst.compress(good) + zst.compress(b'{"text": "' + b"a" * 300_000_000))
    rows = pa.table({"text": ["a page", *["many words " * 40_000] * 1000]})
    pq.write_table(rows, folder / "rows.parquet", compression="zstd", use_dictionary=["text"])
    return sorted(folder.iterdir())


def test_a_shard_that_unpacks_to_far_more_than_its_bytes_is_given_up_and_its_first_pages_stay(tmp_path):
    for path in bombs(tmp_path):
        assert path.stat().st_size < 200_000
        begun = time.process_time()
        found, report = read(path)
        assert [damage.reason for damage in report.damages][:1] == ["bomb"] and report.balanced(), path.name
        assert any(isinstance(row, Page) for row in found)
        assert sum(len(row.text) for row in found if isinstance(row, Page)) < 2 * ALWAYS_ALLOWED
        assert time.process_time() - begun < 10  # processor seconds


def test_blank_lines_do_not_move_what_comes_after_them(tmp_path):
    line = b'{"text": "a page after many blank lines"}\n'
    for blank in (1, 3, 1 << 20, (1 << 21) + 7):
        path = tmp_path / "a.jsonl"
        path.write_bytes(line + b"\n" * blank + line)
        assert [row.shard_offset for row in read(path)[0]] == [0, len(line) + blank]
