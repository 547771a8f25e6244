"""Rows of other people's tables: each is a page or is counted, and a cut file is never a short one."""

import bz2
import decimal
import gzip
import json
import lzma
import uuid
import zlib
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.shards.extraction import ReadLimits
from jobs.shards.reader import read_shard
from jobs.shards.reasons import Page, ReadOptions, Rejected, ShardReport
from jobs.shards.rows import _LineCutter

PACK = {
    "jsonl": bytes,
    "jsonl.gz": gzip.compress,
    "jsonl.zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "jsonl.bz2": bz2.compress,
    "jsonl.xz": lzma.compress,
}


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
    assert len(ROWS) == len(read(write(tmp_path, packed, f"rows.{name}"))[0])
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
        (b'{"text": "a"}, {"text": "b"}', "bad_json"),
        (b'{"text": "caf\xe9"}', "bad_utf8"),
        (b'["a"]', "wrong_type"),
        (b'"a"', "wrong_type"),
        (b"null", "wrong_type"),
        (b'{"text": 5}', "wrong_type"),
        (b'{"text": ["a"]}', "wrong_type"),
        (b'{"text": " \\n\\u3000"}', "empty_body"),
        (b'{"text": "\\u0000"}', "empty_body"),
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
    assert [page.text for page in pages] == ["good", "xy"] and pages[0].crawled_at == moment
    assert [page.id for page in pages] == ["rows.parquet#0", "rows.parquet#4"]
    assert [row.reason for row in rejected] == ["bad_utf8", "missing_text", "empty_body"]


@pytest.mark.parametrize("text", ["", " ", "\n\n\n", "\0"])
def test_a_blank_text_is_counted_as_in_crawl_files(tmp_path, text):
    pages, rejected, _ = read(parquet(tmp_path, text=["words", text]))
    assert [page.text for page in pages] == ["words"] and [row.reason for row in rejected] == ["empty_body"]


def test_a_parquet_file_without_the_text_column_is_an_error_that_names_what_there_is(tmp_path):
    with pytest.raises(ValueError, match=r"no column 'text', it has: content, id"):
        read(parquet(tmp_path, content=["a"], id=["1"]))
    with pytest.raises(ValueError, match="holds int64, not text; it has: text"):
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


@given(
    lengths=st.lists(st.integers(0, 400), max_size=12),
    most=st.integers(20, 300),
    piece=st.integers(1, 120),
    ends=st.booleans(),
)
@example(lengths=[50, 400, 50, 50, 50, 50], most=300, piece=120, ends=True)
@settings(max_examples=200, deadline=None)
def test_of_lines_of_any_length_only_the_too_long_ones_are_lost(lengths, most, piece, ends):
    given_ = [b"x" * length for length in lengths]
    data = b"\n".join(given_) + (b"\n" if ends else b"")
    cutter = _LineCutter(most)
    found = [line for start in range(0, len(data), piece) for line in cutter.feed(data[start : start + piece])]
    found += cutter.rest()
    starts = [sum(lengths[:at]) + at for at in range(len(lengths))]
    expected = [(start, line if len(line) <= most else b"") for start, line in zip(starts, given_, strict=True) if line]
    assert [(line.start, line.text) for line in found] == expected
    assert [line.broken is not None for line in found] == [len(line) > most for line in given_ if line]


def test_behind_a_line_too_long_to_hold_the_rest_is_read(tmp_path):
    long = b'{"text": "' + b"x" * 3_000_000 + b'"}\n'
    options = ReadOptions(limits=ReadLimits(bytes=500_000))
    pages, rejected, report = read(write(tmp_path, lines(ROWS[0]) + long + lines(*ROWS[1:5])), options)
    assert [page.id for page in pages] == [f"page-{n}" for n in range(5)]
    assert [row.reason for row in rejected] == ["too_large"] and not report.damages


@pytest.mark.parametrize(
    ("row", "field", "flag"),
    [
        ({"id": {}}, ("rows.jsonl#0", None, None), "bad_id"),
        ({"id": True}, ("rows.jsonl#0", None, None), "bad_id"),
        ({"id": 2.0**53}, ("rows.jsonl#0", None, None), "bad_id"),
        ({"id": float("inf")}, ("rows.jsonl#0", None, None), "bad_id"),
        ({"id": float("nan")}, ("rows.jsonl#0", None, None), None),
        ({"id": 12.0}, ("12", None, None), None),
        ({"id": 0.5}, ("0.5", None, None), None),
        ({"url": 7}, ("rows.jsonl#0", None, None), "bad_url"),
        ({"url": ["http://a.org/"]}, ("rows.jsonl#0", None, None), "bad_url"),
        ({"url": float("nan")}, ("rows.jsonl#0", None, None), None),
        ({"url": ""}, ("rows.jsonl#0", None, None), None),
        ({"date": "yesterday"}, ("rows.jsonl#0", None, None), "bad_time"),
        ({"date": 1700000000}, ("rows.jsonl#0", None, None), "bad_time"),
        ({"date": "9999-12-31T23:59:59-10:00"}, ("rows.jsonl#0", None, None), "bad_time"),
        ({"date": ""}, ("rows.jsonl#0", None, None), None),
    ],
)
def test_a_bad_value_costs_its_field_and_is_counted(tmp_path, row, field, flag):
    pages, rejected, report = read(write(tmp_path, lines({"text": "words", **row})))
    assert [(page.id, page.url, page.crawled_at) for page in pages] == [field] and not rejected
    assert {name for name in report.counts if name.startswith("bad_")} == ({flag} if flag else set())


def test_half_a_character_in_a_host_costs_nothing_but_itself(tmp_path):
    pages, _, _ = read(write(tmp_path, b'{"text": "a", "url": "http://www.\\ud800x.example.org/\\udc00"}\n'))
    assert (pages[0].url, pages[0].domain) == ("http://www.\ufffdx.example.org/\ufffd", "example.org")


def test_ids_can_be_left_alone_or_told_apart_by_shard(tmp_path):
    path = write(tmp_path, lines({"id": 1, "text": "a"}, {"id": 7, "text": "b"}, {"text": "c"}))
    assert [page.id for page in read(path, ReadOptions(id_column=None))[0]] == [f"rows.jsonl#{at}" for at in (0, 23, 46)]
    pages = read(path, ReadOptions(id_per_shard=True))[0]
    assert [page.id for page in pages] == ["rows.jsonl/1", "rows.jsonl/7", "rows.jsonl#46"]


NESTED = {"text": "words", "metadata": {"url": "http://a.example.org/", "more": {"key": "k1"}}, "a.b": "dotted"}


def both(tmp_path, *rows):
    """The same rows as jsonl and as parquet."""
    pq.write_table(pa.Table.from_pylist(list(rows)), tmp_path / "rows.parquet")
    return write(tmp_path, lines(*rows)), tmp_path / "rows.parquet"


def test_a_dotted_name_reaches_into_objects_and_structs(tmp_path):
    options = ReadOptions(url_column="metadata.url", id_column="metadata.more.key", named=("id", "url"))
    for path in both(tmp_path, NESTED):
        assert read(path, options)[0][0][:3] == ("k1", "http://a.example.org/", "example.org")
        assert read(path, ReadOptions(id_column="a.b", named=("id",)))[0][0].id == "dotted"


@pytest.mark.parametrize("folder", ["metadata", "meta"])
def test_a_url_in_the_metadata_is_found_where_there_is_none_above(tmp_path, folder):
    for path in both(tmp_path, {"text": "words", folder: {"url": "http://a.org/"}}):
        assert read(path)[0][0].url == "http://a.org/"
    for path in both(tmp_path, {"text": "words", "url": "http://b.org/", folder: {"url": "http://a.org/"}}):
        assert read(path)[0][0].url == "http://b.org/"


@pytest.mark.parametrize("name", ["lnk", "metadata.lnk", "metadata.url.host", "text.url"])
def test_a_named_column_that_no_row_has_is_an_error_that_names_what_there_is(tmp_path, name):
    for path in both(tmp_path, NESTED, NESTED):
        with pytest.raises(
            ValueError, match=rf"no column '{name}', it has: a.b, metadata, metadata.more, metadata.url, text"
        ):
            read(path, ReadOptions(url_column=name, named=("url",)))
        assert read(path, ReadOptions(url_column=name))[0][0].url is None


def test_a_named_column_may_be_missing_from_rows_and_from_a_table_without_any(tmp_path):
    options = ReadOptions(url_column="link", named=("url",))
    pages, _, _ = read(write(tmp_path, lines({"text": "a"}, {"text": "b", "link": None})), options)
    assert [page.url for page in pages] == [None, None]
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "none.parquet")
    assert read(tmp_path / "none.parquet", options)[2].counts == {}


def test_a_struct_that_is_null_has_no_url(tmp_path):
    kind = pa.struct([("url", pa.string())])
    path = parquet(tmp_path, text=["a", "b"], metadata=pa.array([None, {"url": "http://b.org/"}], kind))
    assert [page.url for page in read(path)[0]] == [None, "http://b.org/"]


ANY_UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("column", "ids"),
    [
        (pa.array([1.0, None, 3.0]), ["1", "rows.parquet#1", "3"]),
        (pa.array([b"d0", b"\xff\x00", b"a\0"]), ["d0", "ff00", "6100"]),
        (
            pa.array([ANY_UUID.bytes, None, bytes(16)], pa.binary(16)),
            [str(ANY_UUID), "rows.parquet#1", str(uuid.UUID(int=0))],
        ),
        (pa.array([ANY_UUID.bytes], pa.uuid()), [str(ANY_UUID)]),
        (pa.array([b"\x01\xff"], pa.binary(2)), ["01ff"]),
        (pa.array([decimal.Decimal("12345678901234567890")]), ["12345678901234567890"]),
        (pa.array([b"caf\xe9", b"b"], pa.binary()).cast(pa.string(), safe=False), ["636166e9", "b"]),
        (pa.array([1, 2**63], pa.uint64()), ["1", str(2**63)]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.nulls(1), ["rows.parquet#0"]),
    ],
)
def test_ids_of_every_type_are_read(tmp_path, column, ids):
    pages, rejected, report = read(parquet(tmp_path, text=["words"] * len(ids), id=column))
    assert [page.id for page in pages] == ids and not rejected and not report.counts["bad_id"]


@pytest.mark.parametrize(
    "column",
    [pa.array([["a"]]), pa.array([{"a": b"\xff"}]), pa.array([True]), pa.array([date(2024, 1, 1)])],
)
def test_what_can_be_no_id_costs_the_id_and_is_refused_if_it_was_named(tmp_path, column):
    path = parquet(tmp_path, text=["words"], id=column, url=column)
    pages, _, report = read(path)
    assert [(page.id, page.url) for page in pages] == [("rows.parquet#0", None)]
    assert report.counts["bad_id"] == report.counts["bad_url"] == 1
    with pytest.raises(ValueError, match=r"column 'id' of rows\.parquet holds .*, not text; it has: id, "):
        read(path, ReadOptions(named=("id",)))


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int8(), pa.binary())])
def test_text_kept_as_bytes_is_read(tmp_path, kind):
    texts = pa.array(["é one", "two"]).cast(pa.binary())
    texts = texts.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else texts.cast(kind)
    assert [page.text for page in read(parquet(tmp_path, text=texts))[0]] == ["é one", "two"]


def test_text_that_is_null_throughout_gives_no_page_and_is_told(tmp_path):
    pages, rejected, report = read(parquet(tmp_path, text=pa.nulls(3)))
    assert not pages and [row.reason for row in rejected] == ["missing_text"] * 3
    assert [damage.reason for damage in report.damages] == ["few_pages"]


@pytest.mark.parametrize("column", [pa.array([["a"]]), pa.array([{"a": "b"}]), pa.array([1])])
def test_text_that_is_a_list_or_a_struct_is_refused(tmp_path, column):
    with pytest.raises(ValueError, match=r"column 'text' of rows\.parquet holds"):
        read(parquet(tmp_path, text=column))


def test_of_a_column_that_is_there_twice_the_first_is_read(tmp_path):
    table = pa.Table.from_arrays(
        [pa.array(["a"]), pa.array(["b"]), pa.array([1]), pa.array([2])], ["text", "text", "id", "id"]
    )
    pq.write_table(table, tmp_path / "twice.parquet")
    assert [(page.text, page.id) for page in read(tmp_path / "twice.parquet")[0]] == [("a", "1")]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Oslo", "Middle/Earth", "+05:30"])
def test_moments_are_read_in_any_unit_and_zone(tmp_path, unit, zone):
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    counts = [1_700_000_000 * per_second, None, 0]
    column = pa.array(counts, pa.int64()).cast(pa.timestamp(unit, zone))
    pages, _, report = read(parquet(tmp_path, text=["a", "b", "c"], date=column))
    moment, epoch = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)
    assert [page.crawled_at for page in pages] == [moment, None, epoch] and not report.counts["bad_time"]


def test_nanoseconds_are_cut_and_years_out_of_range_cost_the_time(tmp_path):
    nanoseconds = pa.array([1_700_000_000_123_456_789], pa.int64()).cast(pa.timestamp("ns"))
    pages, _, _ = read(parquet(tmp_path, text=["a"], date=nanoseconds))
    assert pages[0].crawled_at == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    for column in (
        pa.array([2**62, -(2**62), 0]).cast(pa.timestamp("us")),
        pa.array([2**31 - 1, -(2**31), 0], pa.int32()).cast(pa.date32()),
    ):
        pages, _, report = read(parquet(tmp_path, text=["a", "b", "c"], date=column))
        assert [page.crawled_at for page in pages] == [None, None, datetime(1970, 1, 1, tzinfo=UTC)]
        assert report.counts["bad_time"] == 2


@pytest.mark.parametrize("name", ["text", "url", "date", "id"])
def test_one_value_that_is_not_utf_8_costs_no_other_row(tmp_path, name):
    bad = pa.array([b"1", b"\xff\xfe", b"3"], pa.binary()).cast(pa.string(), safe=False)
    columns = {"text": ["a", "b", "c"], "url": ["http://a.org/"] * 3, name: bad}
    pages, rejected, _ = read(parquet(tmp_path, **columns))
    assert [page.shard_offset for page in pages] == ([0, 2] if name == "text" else [0, 1, 2])
    assert [row.reason for row in rejected] == ["bad_utf8"] * (name == "text")


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                name: st.one_of(st.none(), st.text(max_size=5), st.floats(), st.integers(), st.lists(st.text(max_size=2)))
                for name in ("text", "id", "url", "date", "metadata")
            },
        ),
        max_size=6,
    )
)
@settings(max_examples=150, deadline=None)
def test_rows_of_any_values_are_pages_or_counted(tmp_path_factory, rows):
    pages, rejected, report = read(write(tmp_path_factory.mktemp("any"), lines(*rows)))
    assert len(pages) + len(rejected) == len(rows)
    texts = [row["text"] for row in rows if isinstance(row.get("text"), str) and row["text"].replace("\0", "").strip()]
    assert len(pages) == len(texts) - report.counts["duplicate_id"]


def test_a_row_group_slice_gives_its_rows_with_their_places(tmp_path):
    path = parquet(tmp_path, text=[row["text"] for row in ROWS])
    whole = read(path)[0]
    sliced = [page for groups in ((0, 2), (2, 3), (3, 5)) for page in read(path, ReadOptions(row_groups=groups))[0]]
    assert sliced == whole


FEW = {
    "a wrong key": (lines(*({"content": "a", "url": "u"} for _ in range(3))), "no 'text' in a row of content, url"),
    "an array": (json.dumps([{"text": "a"}] * 3).encode(), "the line is a list, not an object"),
    "an array over lines": (json.dumps([{"text": "a"}] * 3, indent=1).encode(), "bad_json"),
    "UTF-16": ('{"text": "a"}\n{"text": "b"}\n'.encode("utf-16"), "the file is UTF-16"),
    "UTF-16 without a mark": ('{"text": "a"}\n{"text": "b"}\n'.encode("utf-16-le"), "the file is UTF-16"),
    "mostly broken": (lines(ROWS[0]) + b'{"text"\n' * 2, "1 of 3 records became pages: 2 bad_json"),
}


@pytest.mark.parametrize("what", FEW)
def test_a_table_that_gives_few_pages_is_told_with_what_was_expected(tmp_path, what):
    data, says = FEW[what]
    pages, _, report = read(write(tmp_path, data))
    told = [damage.detail for damage in report.damages if damage.reason == "few_pages"]
    assert (
        len(told) == 1 and says in told[0] and "expected one JSON object in UTF-8 a line, with text under 'text'" in told[0]
    )
    assert len(pages) == (what == "mostly broken")
