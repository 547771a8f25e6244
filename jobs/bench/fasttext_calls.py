"""What asking fastText our way costs: a batch of pages to a column of scores, beside the bare call on lines made before.

The bare call gets prepared lines for nothing; ours cuts, folds and escapes the text and gives nulls. Both are measured by
processor time, in turns. Two models: a classifier that reads 1,500 characters of each page, and lid.176, which looks at
parts of words and is slow enough that nothing around it matters.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from classifiers.fasttext.kind import read_preset
from classifiers.fasttext.model import Model, ask, load, score
from classifiers.fasttext.text import lines
from classifiers.fasttext.training import LABELS, train
from classifiers.kinds import Page
from classifiers.language import CHARACTERS, SHA256, default_model
from filters.pages import PageBatch

GOAL = 0.8  # of the bare call: its lines are given to it, folding and escaping ours is an eighth of the time


def bench(texts: pa.Array, rounds: int = 5) -> list[dict[str, Any]]:
    """The rows of `score.fasttext` for these pages: pages per processor second, medians of `rounds` turns."""
    pages = PageBatch(texts)
    language = load(default_model(), SHA256)
    language = replace(language, reading=replace(language.reading, characters=CHARACTERS))
    with tempfile.TemporaryDirectory() as folder:
        quality = _classifier(texts, Path(folder) / "quality.bin")
    return [
        _row("classifier, 1,500 characters", quality, pages, -1, lambda: score(quality, pages, LABELS[1]), rounds),
        _row(f"lid.176, {CHARACTERS:,} characters", language, pages, 1, lambda: ask(language, pages, 1), rounds),
    ]


def _classifier(texts: pa.Array, path: Path) -> Model:
    """A classifier of these pages drawn by lot: it learns nothing, at the full cost of asking."""
    draw = random.Random(0)
    classes: tuple[list[Page], list[Page]] = ([], [])
    for row, text in enumerate(texts.to_pylist()):
        classes[draw.random() < 0.5].append(Page(str(row), text or ""))
    train(*classes, path, 0, read_preset("gao_small"))
    return load(path.resolve())


def _row(name: str, model: Model, pages: PageBatch, labels: int, ours: Callable[[], Any], rounds: int) -> dict[str, Any]:
    prepared = [line.decode() for line in lines(pages, model.reading) if line]
    predict = model.handle.multilinePredict
    calls: dict[str, Callable[[], Any]] = {"ours": ours, "theirs": lambda: predict(prepared, labels, 0.0, "strict")}
    rates: dict[str, list[float]] = {whose: [] for whose in calls}
    for _ in range(rounds):
        for whose, call in calls.items():
            begin = time.process_time()
            call()
            rates[whose].append(len(pages) / (time.process_time() - begin))
    medians = {whose: statistics.median(values) for whose, values in rates.items()}
    return {
        "bench": "score.fasttext",
        "what": name,
        "ours": round(medians["ours"]),
        "unit": "pages/s per core",
        "against": f"fasttext {version('fasttext')}, bare call on prepared lines",
        "theirs": round(medians["theirs"]),
        "ratio": round(medians["ours"] / medians["theirs"], 3),
        "spread": {whose: [round(min(values)), round(max(values))] for whose, values in rates.items()},
        "goal": GOAL,
    }
