"""Every byte of a shard is of a record that was read, or lost under a reason: held against shards whose truth is known."""

import bz2
import gzip
import json
import lzma
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.parts.table import StageReport
from jobs.read import tell
from jobs.shards.balance import PACKED, ROWS, UNPACKED, parts
from jobs.shards.extraction import ReadLimits
from jobs.shards.reader import ReadOptions, ShardReport, read_shard
from jobs.shards.warc import LONGEST_HEADER

ZSTD = zstandard.ZstdCompressor(write_checksum=True)
MEMBERS = {"gz": gzip.compress, "zst": ZSTD.compress}
STREAMS = {"bz2": bz2.compress, "xz": lzma.compress, "": bytes} | MEMBERS


def record(number, *, told=None, header=b"") -> bytes:
    """A WET record, which needs no helper to be read."""
    body = f"text of page {number} ".encode() * (1 + number % 7)
    length = len(body) if told is None else told
    head = f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <urn:{number}>\r\nContent-Length: {length}\r\n"
    return head.encode() + header + b"\r\n" + body + b"\r\n\r\n"


def read(file, **options) -> tuple[int, ShardReport]:
    """How many pages a file gives, and its balanced report."""
    report = ShardReport()
    rows = list(read_shard(str(file), ReadOptions(**options), report))
    assert report.balanced(), report
    return sum(hasattr(row, "text") for row in rows), report


BROKEN = {
    "none": (lambda number: record(number), None),
    "a header over the limit": (
        lambda number: record(number, header=b"X: " + b"y" * LONGEST_HEADER + b"\r\n"),
        "bad_header",
    ),
    "a length that is no number": (lambda number: record(number, told="x"), "bad_length"),
    "a length that is too large": (lambda number: record(number, told=10**12), "bad_length"),
    "a length that is too small": (lambda number: record(number, told=3), "bad_length"),
    "no record at all": (lambda _: b"what is this doing here?\r\n\r\n", "bad_header"),
}


@given(broken=st.lists(st.sampled_from(sorted(BROKEN)), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("ending", ["", *MEMBERS])
def test_what_cannot_be_framed_is_counted_to_the_byte(tmp_path_factory, ending, broken):
    """In one member of many records, between two that are whole. Nobody knows where a record of a bad length ends."""
    made = [record(0), *(BROKEN[name][0](at + 1) for at, name in enumerate(broken)), record(99)]
    truth = Counter({"read": len(made[0]) + len(made[-1])})
    before = None
    for name, one in zip(broken, made[1:], strict=False):
        before = before if before and name == "no record at all" else BROKEN[name][1]
        truth[before or "read"] += len(one)
    data = b"".join(made)
    file = tmp_path_factory.mktemp("w") / f"a.warc.{ending}".rstrip(".")
    file.write_bytes(STREAMS[ending](data))
    pages, report = read(file)
    assert pages == 2 + broken.count("none")
    assert parts(report.bytes, UNPACKED) == truth and report.bytes[UNPACKED] == len(data)
    assert parts(report.bytes, PACKED) == {"read": file.stat().st_size}


@given(flips=st.sets(st.integers(0, 4), max_size=5), padding=st.integers(0, 9), junk=st.integers(0, 5), data=st.data())
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("ending", MEMBERS)
def test_a_flipped_member_is_lost_with_its_bytes_and_no_others(tmp_path_factory, ending, flips, padding, junk, data):
    """The last one is whole: what follows a member that is not is lost with it."""
    packed = [bytearray(MEMBERS[ending](record(number))) for number in range(6)]
    for at in flips:
        packed[at][data.draw(st.integers(len(packed[at]) - 4, len(packed[at]) - 1))] ^= 0x10
    lost = sum(len(packed[at]) for at in flips)
    file = tmp_path_factory.mktemp("w") / f"a.warc.{ending}"
    garbage = b"?" * 7 * (junk > 0)
    file.write_bytes(b"".join(packed[:junk]) + garbage + b"".join(packed[junk:]) + bytes(padding))
    pages, report = read(file)
    assert pages == 6 - len(flips)
    became = Counter(parts(report.bytes, PACKED))
    assert became["read"] == sum(map(len, packed)) - lost and became["padding"] == padding
    assert became.total() - became["read"] - padding == lost + len(garbage)
    assert became.keys() <= {"read", "padding", "corrupt", "garbage", "truncated"}


LINES = {
    "good": (lambda n: json.dumps({"id": str(n), "text": f"line {n}"}), None, 1),
    "too long": (lambda n: json.dumps({"id": str(n), "text": "x" * 5000}), "too_large", 0),
    "no JSON": (lambda n: '{"text": "never ends', "bad_json", 0),
    "no object": (lambda n: "[1, 2]", None, 0),
    "blank": (lambda n: "", None, 0),
    "four in one": (lambda n: "\r".join(json.dumps({"id": f"{n}-{m}", "text": "four"}) for m in range(4)), None, 4),
}


@given(kinds=st.lists(st.sampled_from(sorted(LINES)), max_size=9))
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("ending", STREAMS)
def test_lines_that_are_no_json_are_lost_with_their_bytes(tmp_path_factory, ending, kinds):
    made = [LINES[kind][0](at) + "\n" for at, kind in enumerate(kinds)] + ['{"text": "the last"}\n']
    truth = Counter({"read": len(made[-1])})
    for kind, line in zip(kinds, made, strict=False):
        truth[LINES[kind][1] or "read"] += len(line)
    data = "".join(made).encode()
    file = tmp_path_factory.mktemp("l") / f"a.jsonl.{ending}".rstrip(".")
    file.write_bytes(STREAMS[ending](data))
    pages, report = read(file, limits=ReadLimits(bytes=1000))
    assert pages == 1 + sum(LINES[kind][2] for kind in kinds)
    assert parts(report.bytes, UNPACKED) == truth and report.bytes[UNPACKED] == len(data)
    assert parts(report.bytes, PACKED) == {"read": file.stat().st_size}


def test_objects_that_lost_their_line_feeds_are_known_by_the_bytes_where_they_begin(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "é"} {"text": "b"}\t{"text": "c"}{"te\n{"text": "d"}\n')
    report = ShardReport()
    rows = list(read_shard(str(tmp_path / "a.jsonl"), ReadOptions(), report))
    data = (tmp_path / "a.jsonl").read_bytes()
    assert [data[row.shard_offset :][:10] for row in rows] == [b'{"text": "'] * 3 + [b'{"te\n{"tex', b'{"text": "']
    assert report.counts["lines_joined"] == 3 and report.counts["bad_json"] == 1
    assert parts(report.bytes, UNPACKED) == {"read": len(data) - 5, "bad_json": 5}


@pytest.mark.parametrize("flipped", [0, 1, 2])
def test_a_row_group_that_does_not_decompress_is_lost_with_its_rows(tmp_path, flipped):
    rows = pa.table({"text": [f"{row} " * 50 for row in range(300)]})
    pq.write_table(rows, tmp_path / "a.parquet", row_group_size=120, use_dictionary=False, write_page_checksum=True)
    column = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(flipped).column(0)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    (tmp_path / "a.parquet").write_bytes(data)
    pages, report = read(tmp_path / "a.parquet")
    gone = [120, 120, 60][flipped]
    assert pages == 300 - gone and parts(report.bytes, ROWS) == {"read": pages, "corrupt": gone}


def small_shards() -> dict[str, bytes]:
    """One of each kind, as it lies on a disk."""
    records = [record(number) for number in range(5)]
    lines = "".join(json.dumps({"id": str(n), "text": f"line {n} " * 9}) + "\n" for n in range(9)).encode()
    return {
        "a.warc": b"".join(records),
        "a.warc.gz": b"".join(map(gzip.compress, records)),
        "b.warc.gz": gzip.compress(b"".join(records)),
        "a.warc.zst": b"".join(map(ZSTD.compress, records)),
        "a.jsonl": lines,
        "a.jsonl.gz": gzip.compress(lines[:200]) + gzip.compress(lines[200:]),
        "a.jsonl.zst": ZSTD.compress(lines[:300]) + b"\x50\x2a\x4d\x18\x05\0\0\0hello" + ZSTD.compress(lines[300:]),
        "a.jsonl.bz2": bz2.compress(lines),
        "a.txt.gz": gzip.compress(b"one\n\ntwo\nthree\n\n") + gzip.compress(b"four\n\nfive"),
        "a.txt.xz": lzma.compress(b"one\n\ntwo\nthree\n"),
    }


SMALL = small_shards()


@pytest.mark.parametrize("name", SMALL)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_whatever_is_cut_flipped_or_put_in_every_byte_is_accounted_for(tmp_path_factory, name, data):
    broken = bytearray(SMALL[name])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(broken) - 1)))
        how = data.draw(st.sampled_from(["cut", "flip", "insert", "zeros"]))
        if how == "cut":
            del broken[at:]
        elif how == "flip" and broken:
            broken[at] ^= data.draw(st.integers(1, 255))
        elif how == "insert":
            broken[at:at] = data.draw(st.binary(min_size=1, max_size=40))
        else:
            broken[at : at + 30] = bytes(len(broken[at : at + 30]))
    file = tmp_path_factory.mktemp("b") / name
    file.write_bytes(broken)
    report = ShardReport()
    list(read_shard(str(file), ReadOptions(paragraphs=True), report))
    assert report.balanced() and report.bytes[PACKED] == len(broken)
    if "." not in name.partition(".")[2] and name != "a.txt":  # what is not compressed is its own unpacking
        assert report.bytes[UNPACKED] == len(broken)


def test_a_cut_skippable_frame_is_damage(tmp_path):
    (tmp_path / "a.warc.zst").write_bytes(b"\x5d\x2a\x4d\x18\xff\0\0\0half a dictionary")
    _, report = read(tmp_path / "a.warc.zst")
    assert [damage.reason for damage in report.damages] == ["truncated"]
    assert parts(report.bytes, PACKED) == {"truncated": 25}


def test_what_is_lost_is_said_in_bytes(tmp_path, capsys):
    packed = gzip.compress(record(1))
    (tmp_path / "a.warc.gz").write_bytes(packed + b"junk" + gzip.compress(record(2)) + bytes(3))
    _, report = read(tmp_path / "a.warc.gz")
    tell(StageReport(2, {**report.counts, **report.bytes}, []))
    whole = len(packed) + len(gzip.compress(record(2)))
    assert f"  of {whole + 7:,} packed bytes: {whole:,} read, 4 garbage, 3 padding\n" in capsys.readouterr().out


@pytest.mark.parametrize("group", [0, 1])
@pytest.mark.parametrize(("said", "rows", "there"), [(6, 3, 2), (2, 1, 1), (0, 0, 0), (3, 0, 0)])
def test_a_footer_that_miscounts_a_row_group_loses_no_row_unseen(tmp_path, group, said, rows, there):
    """Thrift's zigzag: 6 is three rows, 2 one, 3 minus two. Rows that are said and do not come are lost under a reason."""
    table = pa.table({"id": list("abcd"), "text": ["one", "two", "three", "four"]})
    plain = {"use_dictionary": False, "write_statistics": False, "compression": "none"}
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2, write_page_checksum=True, **plain)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for at in range(
        footer, len(data) - 8
    ):  # several fields hold a two: that of the group is the one that its metadata shows
        if data[at : at + 2] == b"\x16\x04":
            data[at + 1] = said
            told = pq.ParquetFile(pa.BufferReader(bytes(data))).metadata
            if told.row_group(group).num_rows != 2:
                break
            data[at + 1] = 4
    assert told.row_group(group).num_rows != 2 == told.row_group(1 - group).num_rows
    (tmp_path / "a.parquet").write_bytes(data)
    pages, report = read(tmp_path / "a.parquet")
    assert pages == 2 + there and report.bytes[ROWS] == 2 + rows == sum(parts(report.bytes, ROWS).values())
    assert parts(report.bytes, ROWS).get("corrupt", 0) == rows - there
