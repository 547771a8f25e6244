"""Made-up shards for job tests: our own sentences in real WARC records."""

import gzip
import itertools
import random
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs import read, split
from jobs.parts import passes, session

WORDS = """
the river and a stone that have been with of to be house garden letter winter candle bridge market forest island
silver yellow window reading between without station evening journey paper music answer morning number pattern
""".split()


def record(number: int, body: str) -> bytes:
    """One response record in a gzip member of its own."""
    page = f"<html><head><title>page {number}</title></head><body><main>{body}</main></body></html>".encode()
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"made-up-{number}")
    head = (
        f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{identity}>\r\nWARC-Date: 2026-01-02T03:04:05Z\r\n"
        f"WARC-Target-URI: https://site-{number % 37}.org/{number}\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + http + b"\r\n\r\n", mtime=0)


def sentences(draw: random.Random, most: int) -> str:
    """Paragraphs of made-up sentences."""
    lines = [" ".join(draw.choices(WORDS, k=draw.randint(4, 14))).capitalize() + "." for _ in range(draw.randint(1, most))]
    return "".join(f"<p>{line}</p>" for line in lines)


def text_record(number: int, text: str) -> bytes:
    """One conversion record, as a WET file has them, in a gzip member of its own."""
    identity, body = uuid.uuid5(uuid.NAMESPACE_URL, f"made-up-text-{number}"), text.encode()
    head = (
        f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <urn:uuid:{identity}>\r\nWARC-Date: 2026-01-02T03:04:05Z\r\n"
        f"WARC-Target-URI: https://site-{number % 37}.org/{number}\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + body + b"\r\n\r\n", mtime=0)


@pytest.fixture(scope="session")
def made_wet(tmp_path_factory) -> Path:
    """A folder with two WET files of 60 made-up pages each."""
    folder = tmp_path_factory.mktemp("wet")
    draw = random.Random(1)
    for shard in range(2):
        texts = [sentences(draw, 30).replace("<p>", "").replace("</p>", "\n") for _ in range(60)]
        records = [text_record(shard * 1000 + page, text) for page, text in enumerate(texts)]
        (folder / f"made-{shard}.warc.wet.gz").write_bytes(b"".join(records))
    return folder


@pytest.fixture(scope="session")
def made_crawl(tmp_path_factory) -> Path:
    """A folder with four shards of 120 made-up pages each, and `good.jsonl` with 60 good ones."""
    folder = tmp_path_factory.mktemp("crawl")
    draw = random.Random(0)
    for shard in range(4):
        records = [record(shard * 1000 + page, sentences(draw, 30)) for page in range(120)]
        (folder / f"made-{shard}.warc.gz").write_bytes(b"".join(records))
    good = [" ".join(draw.choices(WORDS[:12], k=80)) + "." for _ in range(60)]
    (folder / "good.jsonl").write_text("".join(f'{{"id": "good-{at}", "text": "{text}"}}\n' for at, text in enumerate(good)))
    return folder


@pytest.fixture
def tasks(monkeypatch):
    """The names of the parts that tasks were run for, in order; the tasks run here."""
    begun = []

    def parallelize(parts, _):
        def run_all(task):
            begun.extend(part.name for part in parts)
            return [task(part) for part in parts]

        def mapped(task):
            return SimpleNamespace(collect=lambda: run_all(task))

        def sampled(task):
            return SimpleNamespace(toLocalIterator=lambda **_: itertools.chain.from_iterable(map(task, parts)))

        return SimpleNamespace(map=mapped, flatMap=sampled)

    count = SimpleNamespace(value=0, add=lambda _: None)
    here = SimpleNamespace(parallelize=parallelize, accumulator=lambda _: count)
    monkeypatch.setattr(session, "session", lambda _: SimpleNamespace(sparkContext=here))
    monkeypatch.setattr(passes, "merged", lambda spark, stage, parts, of, merge: merge([*map(of, parts)]))
    monkeypatch.setattr(read, "repeated", lambda *_: None)
    monkeypatch.setattr(split, "find_copies", lambda *_: None)
    return begun
