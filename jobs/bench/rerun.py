"""How long the verbs take over many parts when all is done.

One small page is read, split, scored and chosen from; its parts then get as many names as are asked for, in every table, and
the manifests say so. What is timed is each verb on its command line, which starts no Spark where nothing is to do.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filters.levels import needed
from jobs import choose
from jobs.parts import storage
from jobs.parts.experiment_file import as_tree, config_hash, load
from jobs.parts.places import Places
from jobs.parts.pool import Columns
from jobs.parts.presets import levels_of
from jobs.parts.table import MANIFEST, identity_of
from jobs.read import UNIQUE

PARTS = 20_000
GOAL = 30.0  # seconds
VERBS = ("read", "split", "score", "choose")
PAGE = "A page of some words. It has two sentences, and both of them end.\n" * 4


def rows(parts: int = PARTS) -> list[dict[str, Any]]:
    """The row of `rerun`: seconds of all verbs, and of each."""
    with tempfile.TemporaryDirectory(prefix="rerun-") as name:
        folder = Path(name)
        conf = _one_part(folder)
        tables = sorted((folder / "out").rglob(MANIFEST))
        _repeat(folder / "in" / "00000.txt", parts)
        for manifest in tables:
            _repeat(manifest.parent / "00000.txt.parquet", parts)
            _rewrite(manifest, lambda told: _repeated(told, parts))
        _as_chosen(conf)
        seconds = {verb: _seconds(verb, conf) for verb in VERBS}
    return [
        {
            "bench": "rerun",
            "what": f"{parts:,} parts, {len(tables)} tables",
            "ours": round(sum(seconds.values()), 1),
            "unit": "s",
            "each": {verb: round(taken, 1) for verb, taken in seconds.items()},
            "against": "nobody",
            "theirs": "",
            "ratio": "",
            "goal": GOAL,
        }
    ]


def _one_part(folder: Path) -> Path:
    """An experiment over one page, done; its file."""
    (folder / "in").mkdir()
    (folder / "in" / "00000.txt").write_text(PAGE)
    conf = folder / "conf.json"
    asked = {
        "out": str(folder / "out"),
        "pages": {"from": [str(folder / "in" / "*.txt")]},
        "signals": {group: {} for group in ("gopher", "repetition", "fineweb")},
        "rules": {"word_count": {"min": 5}},
        "sweep": {"rules.line_punctuation_ratio.keep_fraction": [0.9, 0.5]},
        "controls": {"random": "all"},
        "write": {"subsets": []},
    }
    conf.write_text(json.dumps(asked))
    for verb in VERBS:
        _seconds(verb, conf)
    return conf


def _repeat(file: Path, parts: int) -> None:
    """Give the file of part 0 the names of the others too."""
    for number in range(1, parts):
        os.link(file, file.with_name(file.name.replace("00000", f"{number:05d}")))


def _repeated(told: dict[str, Any], parts: int) -> dict[str, Any]:
    """A manifest of one part as one of many: the texts are the same, so their hashes are."""
    [line] = told["parts"]
    names = [f"{number:05d}.txt" for number in range(parts)]
    lines = [line | {"name": name, "from": line["from"].replace("00000.txt", name)} for name in names]
    counts = {reason: count * parts for reason, count in told["counts"].items()}
    return told | {"parts": lines, "rows": told["rows"] * parts, "counts": counts}


def _as_chosen(conf: Path) -> None:
    """Let ids count as unlike, and verdicts and subsets as made from these tables."""
    experiment = load(conf)
    places, levels = Places(experiment.out), levels_of(experiment)
    storage.write_json(places.pages / UNIQUE, {"pages": identity_of(places.pages)})
    columns = Columns.find(experiment, needed(levels))
    identities = columns.identities()
    made_by = {level.name: choose._config(level, levels, columns, identities) for level in levels}
    table = choose._verdicts(places, made_by)
    _rewrite(table.manifest, lambda told: told | {"config": as_tree(table.config), "config_hash": table.hash})
    for name, one in made_by.items():
        file = places.subset_facts(name)
        storage.write_json(file, storage.read_json(file) | {"config_hash": config_hash(one)})


def _rewrite(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    storage.write_json(file, change(storage.read_json(file)))


def _seconds(verb: str, conf: Path) -> float:
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-m", f"jobs.{verb}", str(conf)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{verb}: {done.stderr}")
    return time.monotonic() - begun
