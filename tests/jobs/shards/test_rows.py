"""Rows of other people's tables: each is a page or is counted, and a cut file is never a short one."""

import gzip
import json
import zlib
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.shards.extraction import ReadLimits
from jobs.shards.reader import read_shard
from jobs.shards.reasons import Page, ReadOptions, Rejected, ShardReport

PACK = {"jsonl": bytes, "jsonl.gz": gzip.compress, "jsonl.zst": zstandard.ZstdCompressor(write_checksum=True).compress}


def read(path, options=None):
    report = ShardReport()
    found = list(read_shard(str(path), options or ReadOptions(), report))
    assert report.balanced()
    pages = [row for row in found if isinstance(row, Page)]
    return pages, [row for row in found if isinstance(row, Rejected)], report


def write(tmp_path, data, name="rows.jsonl"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def lines(*rows):
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


ROWS = [{"id": f"page-{n}", "text": f"text {n} " * 30, "url": f"https://www.site{n}.co.uk/a"} for n in range(50)]


@pytest.mark.parametrize("name", PACK)
def test_rows_become_pages(tmp_path, name):
    pages, rejected, report = read(write(tmp_path, PACK[name](lines(*ROWS)), f"rows.{name}"))
    assert [page.text for page in pages] == [row["text"] for row in ROWS]
    assert (pages[3].id, pages[3].domain, pages[3].shard) == ("page-3", "site3.co.uk", f"rows.{name}")
    assert pages[3].html_bytes is None and pages[3].crawled_at is None
    assert not rejected and not report.damages


@pytest.mark.parametrize("name", ["jsonl.gz", "jsonl.zst"])
def test_a_file_of_several_members_is_read_whole_even_where_they_meet_inside_a_line(tmp_path, name):
    data = lines(*ROWS)
    packed = b"".join(PACK[name](data[start : start + 700]) for start in range(0, len(data), 700))
    pages, rejected, report = read(write(tmp_path, packed, f"rows.{name}"))
    assert len(pages) == 50 and not rejected and not report.damages
    assert len({page.shard_offset for page in pages}) == 50


@pytest.mark.parametrize("name", PACK)
def test_a_cut_file_never_gives_a_short_page_and_is_always_told(tmp_path, name):
    data = lines(*ROWS)
    packed = PACK[name](data)
    for cut in range(1, len(packed), max(1, len(packed) // 60)):
        pages, _, report = read(write(tmp_path, packed[:cut], f"rows.{name}"))
        assert [page.text for page in pages] == [row["text"] for row in ROWS][: len(pages)], cut
        assert report.damages or data[cut - 1 : cut + 1].count(b"\n"), cut


def test_a_flipped_byte_costs_its_member_and_not_the_next(tmp_path):
    packed = [gzip.compress(lines(*ROWS[:25])), gzip.compress(lines(*ROWS[25:]))]
    broken = bytearray(packed[0])
    broken[len(broken) // 2] ^= 0x40
    pages, _, report = read(write(tmp_path, bytes(broken) + packed[1], "rows.jsonl.gz"))
    assert [page.id for page in pages[-25:]] == [row["id"] for row in ROWS[25:]]
    assert [damage.reason for damage in report.damages] == ["corrupt"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "a"', "bad_json"),
        (b"[" * 9000, "bad_json"),
        (b'{"text": "a", "n": ' + b"9" * 5000 + b"}", "bad_json"),
        (b'{"text": "a"}{"text": "b"}', "bad_json"),
        (b'{"text": "caf\xe9"}', "bad_utf8"),
        (b'["a"]', "wrong_type"),
        (b'"a"', "wrong_type"),
        (b"null", "wrong_type"),
        (b'{"text": 5}', "wrong_type"),
        (b'{"text": ["a"]}', "wrong_type"),
        (b'{"text": "a", "id": {}}', "wrong_type"),
        (b'{"text": "a", "id": true}', "wrong_type"),
        (b'{"text": "a", "url": 7}', "wrong_type"),
        (b'{"Text": "a"}', "missing_text"),
        (b'{"text": null}', "missing_text"),
        (b'{"text": "' + b"x" * 2000 + b'"}', "too_large"),
        (b'{"text": "' + b"x" * 3_000_000 + b'"}', "too_large"),
        (b'{"text": "again", "id": "page-0"}', "duplicate_id"),
    ],
)
def test_a_bad_row_is_rejected_under_its_reason_and_the_next_is_read(tmp_path, line, reason):
    options = ReadOptions(limits=ReadLimits(bytes=2500, characters=1000))
    pages, rejected, _ = read(write(tmp_path, lines(ROWS[0]) + line + b"\n" + lines(ROWS[1])), options)
    assert [page.id for page in pages] == ["page-0", "page-1"]
    assert [row.reason for row in rejected] == [reason]
    assert rejected[0].shard_offset == len(lines(ROWS[0]))


def test_lines_end_at_lf_only(tmp_path):
    text = "one\u2028two\u0085three\x0bfour\rfive"
    data = json.dumps({"text": text}, ensure_ascii=False).encode().replace(b"\\r", b"\r").replace(b"\\u000b", b"\x0b")
    pages, rejected, _ = read(write(tmp_path, b"\xef\xbb\xbf" + lines(ROWS[0]) + b"\n \r\n" + lines({"text": text})))
    assert [page.text for page in pages] == [ROWS[0]["text"], text] and not rejected
    assert b"\n" not in data


def test_halves_of_characters_and_nuls_are_counted(tmp_path):
    pages, _, report = read(write(tmp_path, b'{"text": "a\\u0000b \\ud800 c", "id": "x\\udc00"}\n'))
    assert pages[0].text == "ab \ufffd c" and pages[0].id == "x\ufffd"
    assert report.counts["nul_removed"] == 1 and report.counts["surrogate_replaced"] == 1


def test_a_row_without_an_id_is_named_by_its_place(tmp_path):
    pages, _, _ = read(write(tmp_path, lines({"text": "a"}, {"text": "b", "id": ""}, {"text": "c", "id": 7})))
    assert [page.id for page in pages] == ["rows.jsonl#0", "rows.jsonl#14", "7"]


def test_foreign_columns_and_times_are_read(tmp_path):
    options = ReadOptions(text_column="raw", id_column="digest", url_column="link")
    row = {"raw": "text", "digest": "d1", "link": "http://a.example.org/", "date": "2020-03-29T09:04:10+02:00"}
    pages, _, _ = read(write(tmp_path, lines(row, row | {"digest": "d2", "date": "yesterday"})), options)
    assert pages[0][:5] == ("d1", row["link"], "example.org", datetime(2020, 3, 29, 7, 4, 10, tzinfo=UTC), "text")
    assert pages[1].crawled_at is None


def test_a_bomb_of_one_line_is_too_large(tmp_path):
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(b'{"text": "') + packer.compress(b"x" * 50_000_000) + packer.compress(b'"}\n' + lines(ROWS[0]))
    options = ReadOptions(limits=ReadLimits(bytes=1_000_000))
    pages, rejected, _ = read(write(tmp_path, packed + packer.flush(), "rows.jsonl.gz"), options)
    assert [row.reason for row in rejected] == ["too_large"] and [page.id for page in pages] == ["page-0"]


@given(data=st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_no_bytes_make_the_reader_raise(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    read(write(folder, b'{"text": "a"}\n' + data + b'\n{"text": "b"}\n'))
    read(write(folder, gzip.compress(lines(*ROWS)) + data, "rows.jsonl.gz"))


def parquet(tmp_path, **columns):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=10, write_page_checksum=True, write_statistics=False)
    return path


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_rows_become_pages(tmp_path, kind):
    texts = [row["text"] for row in ROWS]
    path = parquet(tmp_path, text=pa.array(texts, pa.string()).cast(kind), id=pa.array(range(50)))
    pages, rejected, report = read(path)
    assert [page.text for page in pages] == texts and [page.id for page in pages] == [str(n) for n in range(50)]
    assert [page.shard_offset for page in pages] == list(range(50)) and not rejected and not report.damages


def test_parquet_times_urls_and_bad_rows(tmp_path):
    texts = pa.array([b"good", b"caf\xe9", None, b" ", b"x\0y"], pa.binary()).cast(pa.string(), safe=False)
    moment = datetime(2024, 5, 18, tzinfo=UTC)
    path = parquet(
        tmp_path, text=texts, url=["http://x.org/"] * 5, crawled_at=pa.array([moment] * 5, pa.timestamp("us", "UTC"))
    )
    pages, rejected, _ = read(path)
    assert [page.text for page in pages] == ["good", " ", "xy"] and pages[0].crawled_at == moment
    assert [page.id for page in pages] == ["rows.parquet#0", "rows.parquet#3", "rows.parquet#4"]
    assert [row.reason for row in rejected] == ["bad_utf8", "missing_text"]


@pytest.mark.parametrize("text", ["", " ", "\n\n\n"])
def test_a_blank_text_in_a_table_is_a_page_for_the_rules_to_drop(tmp_path, text):
    pages, rejected, _ = read(parquet(tmp_path, text=[text]))
    assert [page.text for page in pages] == [text] and not rejected


def test_a_parquet_file_without_the_text_column_is_an_error_that_names_what_there_is(tmp_path):
    with pytest.raises(ValueError, match=r"no column 'text', it has: content, id"):
        read(parquet(tmp_path, content=["a"], id=["1"]))
    with pytest.raises(ValueError, match="holds int64, not strings"):
        read(parquet(tmp_path, text=[1]))


def test_a_flipped_byte_in_parquet_costs_its_row_group_and_is_told(tmp_path):
    path = parquet(tmp_path, text=[row["text"] for row in ROWS])
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(2).column(0)
    data[column.dictionary_page_offset + column.total_compressed_size // 2] ^= 0x10
    pages, _, report = read(write(tmp_path, bytes(data), "broken.parquet"))
    expected = [row["text"] for row in ROWS[:20] + ROWS[30:]]
    assert [page.text for page in pages] == expected and [damage.reason for damage in report.damages] == ["corrupt"]


@pytest.mark.parametrize("data", [b"", b"<html>not parquet</html>", b"PAR1 cut"])
def test_what_is_no_parquet_is_damage(tmp_path, data):
    pages, _, report = read(write(tmp_path, data, "rows.parquet"))
    assert not pages and len(report.damages) == 1
