"""A WARC, a zst and a parquet cut at every byte: no cut goes unnoticed, no page is short, every byte is accounted for.

python tests/hostile/cuts.py [STEP]
"""

import gzip
import io
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from jobs.shards.balance import PACKED
from jobs.shards.reader import ReadOptions, ShardReport, read_shard
from jobs.shards.reasons import Page

DRAW = random.Random(5)
TEXTS = ["".join(DRAW.choices("abcdefghijklmnopqrstuvwxyz ", k=1500)) for _ in range(5)]
ZSTD = zstandard.ZstdCompressor(write_checksum=True).compress


def _records() -> list[bytes]:
    head = "WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <urn:{}>\r\nContent-Length: {}\r\n\r\n"
    return [(head.format(at, len(text)) + text + "\r\n\r\n").encode() for at, text in enumerate(TEXTS)]


def shards() -> Iterator[tuple[str, bytes, set[int]]]:
    """Name, bytes, and where a cut cannot be known: between two members."""
    for name, packed in {
        "a.warc.gz": [gzip.compress(record, mtime=0) for record in _records()],
        "a.warc.zst": [ZSTD(record) for record in _records()],
        "a.jsonl.zst": [ZSTD("".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode())],
    }.items():
        yield name, b"".join(packed), {*accumulate(map(len, packed))}
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": TEXTS}), sink, row_group_size=2, write_page_checksum=True)
    yield "a.parquet", sink.getvalue(), set()


def trial(step: int) -> Iterator[str]:
    """A line for each shard. Raises AssertionError, which names the cut."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data, unknown in shards():
            file, worst, cuts = Path(folder, name), 0.0, range(1, len(data), step)
            for cut in cuts:
                file.write_bytes(data[:cut])
                begun, report = time.perf_counter(), ShardReport()
                pages = [row.text for row in read_shard(str(file), ReadOptions(), report) if isinstance(row, Page)]
                worst = max(worst, time.perf_counter() - begun)
                assert report.balanced() and report.bytes[PACKED] == (cut if PACKED in report.bytes else 0), (name, cut)
                assert pages == TEXTS[: len(pages)], (name, cut)
                assert bool(report.damages) != (cut in unknown), (name, cut)
            yield f"{name}: {len(cuts):,} cuts of {len(data):,} bytes, all noticed, the slowest took {worst:.3f} s"


if __name__ == "__main__":
    for line in trial(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
        print(line, flush=True)
