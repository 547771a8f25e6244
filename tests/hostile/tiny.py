"""A whole experiment that takes a minute, for trials that deny it something: inputs and file, all made here."""

import gzip
import hashlib
import json
import random
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.bench.stores import WORDS, record, text
from jobs.parts.session import HOME

SHARDS, PAGES = 4, 150
GOOD = WORDS[:40]
MODEL = (
    "{layers: 1, width: 16, heads: 2, feed_forward: 32, context: 32, batch_tokens: 256, learning_rate: 1.0e-2, warmup: 0.1,"
    " weight_decay: 0.1}"
)
TIMES = ("seconds", "tokens_per_second")
"""Keys of a run's files that tell how fast it was."""
UNLIKE = re.compile(r"\.ledger\.json|report\.(html|md|csv)")
"""Files that may differ between two runs, by what they tell of speed and of when a file was written."""


def make(folder: Path, out: Path, prefer: Sequence[str] = ("quality", "characters")) -> Path:
    """Write the inputs into a folder; the experiment file, in which duplicates are preferred by this."""
    folder.mkdir(parents=True, exist_ok=True)
    draw, texts = random.Random(7), list[str]()
    for shard in range(SHARDS):
        with (folder / f"made-{shard}.warc.gz").open("wb") as file:
            for page in range(PAGES):
                near = page % 10 == 9  # nearly what another page says
                texts.append(f"{draw.choice(texts)} Again." if near else text(draw, WORDS if page % 3 else GOOD))
                file.write(gzip.compress(record(shard, page, texts[-1]), mtime=0))
    good = "".join(json.dumps({"id": f"good-{at}", "text": text(draw, GOOD)}) + "\n" for at in range(60))
    (folder / "good.jsonl").write_text(good)
    (folder / "tiny.yaml").write_text(MODEL)
    preset = (HOME / "conf" / "classifiers" / "gao_small.yaml").read_text()
    (folder / "preset.yaml").write_text(preset.replace("bucket: 200000", "bucket: 2000"))
    conf = folder / "tiny.json"
    conf.write_text(json.dumps(_conf(folder, out, prefer)))
    return conf


def _conf(folder: Path, out: Path, prefer: Sequence[str]) -> dict[str, Any]:
    return {
        "name": "tiny",
        "out": str(out),
        "pages": {"from": [f"{folder}/*.warc.gz"]},
        "classifiers": {
            "quality": {"fasttext": {"preset": str(folder / "preset.yaml"), "positives": [f"{folder}/good.jsonl"]}}
        },
        "signals": {"gopher": {}, "repetition": {}, "quality": {}, "duplicates": {"prefer": [*prefer]}},
        "rules": {"word_count": {"min": 20}, "near_duplicate_similarity": {"below": 0.8}},
        "sweep": {"rules.quality.keep_fraction": ["none", 0.5]},
        "controls": {"random": "all"},
        "write": {"removed": True},
        "compare": {"gopher": ["gopher"], "repetition": ["repetition"]},
        "tokenizer": {"vocabulary": 300},
        "train": {"model": str(folder / "tiny.yaml"), "tokens": 12_000, "replicates": 2, "device": "cpu"},
        "evaluate": {"held_out": {"by": "page", "share": 0.1, "most_bytes": 20_000, "page_characters": 400}},
    }


def put(state: Path, out: Path) -> None:
    """Make `out:` what it was, times of files included."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(state, out, symlinks=True)


def held(out: Path) -> dict[str, str]:
    """The SHA-256 of every file that an experiment leaves, by its path, without what tells times."""
    files = [file for file in sorted(out.rglob("*")) if file.is_file()]
    return {str(file.relative_to(out)): hashlib.sha256(_without_times(file)).hexdigest() for file in files}


def _without_times(file: Path) -> bytes:
    if UNLIKE.fullmatch(file.name):
        return b""
    data = file.read_bytes()
    if file.name not in ("metrics.jsonl", "summary.json"):
        return data
    rows = [json.loads(data)] if file.suffix == ".json" else [json.loads(line) for line in data.splitlines()]
    return json.dumps([{key: value for key, value in row.items() if key not in TIMES} for row in rows]).encode()
