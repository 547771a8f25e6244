"""A whole experiment with `out: s3://...` on a server that fails now and then, beside the same one in a folder.

    python -m jobs.bench stores

Inputs and good texts lie in the store for both. The job is killed once while it trains, and goes on in
another working directory with another scratch, as on another machine. Then both experiments must hold the same bytes.
"""

import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from filters.stores import StorePath
from jobs.bench.failing_store import running
from jobs.parts import lease
from jobs.parts.session import HOME

PAGES, SHARDS, EVERY = 240, 3, 29
"""Every so many requests one fails."""
WORDS = [f"{one}{other}{end}" for one in "b d f g k l m n p r s t".split() for other in "aeiou" for end in ("n", "l", "st")]
TELLING = re.compile(
    r"\.ledger|\.lease|experiment\.yaml|config\.yaml|metrics\.jsonl|summary\.json|kind\.json|models/quality/model\.json|"
    r"evaluated\.parquet\.made_by|report\.|results\.jsonl"
)
"""Files that tell where inputs lie, or how fast a run was; all others must hold the same bytes wherever they lie."""


def rows() -> list[dict[str, Any]]:
    """The row of `stores`: seconds in the store and in a folder, requests, failures, and files that are the same."""
    with tempfile.TemporaryDirectory(prefix="stores-") as name, running("trial", EVERY) as (store, environment):
        folder = Path(name)
        _inputs(folder / "in")
        with mock.patch.dict(os.environ, environment):
            bucket = StorePath("s3://trial")
            for file in (folder / "in").iterdir():
                (bucket / "in" / file.name).put(file)
            begun = time.monotonic()
            _run(folder, "here", "s3://trial/in", str(folder / "out"))
            locally = time.monotonic() - begun
            begun, before = time.monotonic(), len(store.seen)
            killed = _killed(folder, "s3://trial/in", "s3://trial/out", bucket / "out")
            _run(folder, "there", "s3://trial/in", "s3://trial/out", wait=lease.SECONDS + 5)
            remotely = time.monotonic() - begun
            requests, failed = len(store.seen) - before, store.failed
            files = {str(file.relative_to(bucket / "out")): file for file in (bucket / "out").walk_files()}
            compared = {
                name: (folder / "out" / name).exists() and file.read_bytes() == (folder / "out" / name).read_bytes()
                for name, file in files.items()
                if not TELLING.search(name)
            }
            compared["results.jsonl"] = _values(bucket / "out") == _values(folder / "out")
            before = len(store.seen)
            begun = time.monotonic()
            _run(folder, "there", "s3://trial/in", "s3://trial/out")
            rerun = time.monotonic() - begun
    return [
        {
            "bench": "stores",
            "what": f"{PAGES * SHARDS} pages, {failed} of {requests:,} requests failed, killed {killed}",
            "ours": round(remotely, 1),
            "unit": "s on s3://",
            "same": sum(compared.values()),
            "files": len(compared),
            "rerun": round(rerun, 1),
            "rerun_requests": len(store.seen) - before,
            "against": "a folder",
            "theirs": round(locally, 1),
            "ratio": f"{sum(compared.values())} of {len(compared)} files the same",
            "unlike": sorted(name for name, same in compared.items() if not same),
        }
    ]


def _values(out: Path) -> list[tuple[str, int, str, float]]:
    """What was measured."""
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    return [(row["subset"], row["replicate"], row["set"], row["value"]) for row in rows]


def _inputs(folder: Path) -> None:
    """WARC files of made-up pages, and good texts."""
    folder.mkdir()
    draw = random.Random(1)
    for shard in range(SHARDS):
        with (folder / f"made-{shard}.warc.gz").open("wb") as file:
            for page in range(PAGES):
                file.write(gzip.compress(record(shard, page, text(draw)), mtime=0))
    good = "".join(json.dumps({"id": f"good-{at}", "text": text(draw)}) + "\n" for at in range(60))
    (folder / "good.jsonl").write_text(good)


def text(draw: random.Random, words: Sequence[str] = WORDS) -> str:
    """A dozen made-up sentences."""
    return " ".join(f"{' '.join(draw.choices(words, k=draw.randint(5, 12))).capitalize()}." for _ in range(12))


def record(shard: int, page: int, text: str) -> bytes:
    """A page as one response record of a WARC file."""
    url = f"http://site-{page % 17}.org/{shard}/{page}"
    html = f"<html><body><main><p>{text}</p></main></body></html>".encode()
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:made:{shard}-{page}>\r\nWARC-Target-URI: {url}\r\n"
        f"WARC-Date: 2026-01-01T00:00:00Z\r\nContent-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


def _conf(inputs: str, out: str) -> dict[str, Any]:
    return {
        "name": "stores",
        "out": out,
        "pages": {"from": [f"{inputs}/*.warc.gz"]},
        "classifiers": {"quality": {"fasttext": {"preset": "gao_small", "positives": [f"{inputs}/good.jsonl"]}}},
        "signals": {"gopher": {}, "quality": {}},
        "rules": {"word_count": {"min": 20}},
        "sweep": {"rules.quality.keep_fraction": ["none", 0.6]},
        "controls": {"random": "all"},
        "tokenizer": {"vocabulary": 300},
        "train": {"model": str(HOME / "conf" / "models" / "0.2m.yaml"), "tokens": 20_000, "replicates": 2, "device": "cpu"},
        "evaluate": {"held_out": {"by": "page", "share": 0.1, "most_bytes": 20_000, "page_characters": 400}},
    }


def _begin(folder: Path, name: str, inputs: str, out: str) -> "subprocess.Popen[str]":
    """The experiment in a working directory and a scratch of its own."""
    for one in (folder / name, folder / name / "tmp"):
        one.mkdir(exist_ok=True)
    (folder / name / "conf.json").write_text(json.dumps(_conf(inputs, out)))
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(HOME), "TMPDIR": str(folder / name / "tmp")}
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.experiment", "conf.json"],
        cwd=folder / name,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _run(folder: Path, name: str, inputs: str, out: str, wait: float = 0.0) -> None:
    """Run it to its end; while the lease of a killed job lasts it is refused, and begun again for so many seconds."""
    begun = time.monotonic()
    while True:
        job = _begin(folder, name, inputs, out)
        said, _ = job.communicate()
        if job.returncode == 0:
            return
        if "its lease ends in" not in said or time.monotonic() - begun > wait:
            raise RuntimeError(f"the experiment ended with {job.returncode}: {said[-3000:]}")
        time.sleep(2)


def _killed(folder: Path, inputs: str, out: str, place: StorePath) -> str:
    """Begin it, and kill it with all its processes when the first run is published; where that was."""
    job = _begin(folder, "killed", inputs, out)
    for _ in _ticks():
        if job.poll() is not None:
            raise RuntimeError(f"the experiment ended before it was killed: {job.communicate()[0][-3000:]}")
        if any(place.glob("runs/*/*/*/summary.json")):
            break
    os.killpg(job.pid, signal.SIGKILL)
    job.communicate()
    return "while it trained"


def _ticks() -> Iterator[None]:
    while True:
        time.sleep(0.5)
        yield
