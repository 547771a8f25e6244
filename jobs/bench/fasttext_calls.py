"""What asking fastText our way costs: a batch of pages to a column of scores, beside the library's own calls.

Against the bare call, which gets prepared lines for nothing, while ours cuts, folds and escapes the text and gives nulls;
the mapped kernel alone against the same call on the same lines. All are measured by processor time, in turns. Three models:
one that reads 1,500 characters of each page, one of the size people use, 800 MB, and lid.176, which is quantized: there the
library is asked.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fasttext
import pyarrow as pa

from classifiers.fasttext.kind import read_preset
from classifiers.fasttext.mapped import ask_lines
from classifiers.fasttext.model import Mapped, Model, likeliest, load, score
from classifiers.fasttext.text import lines, written
from classifiers.fasttext.training import LABELS, train
from classifiers.kinds import Page
from classifiers.language import CHARACTERS, SHA256, default_model
from filters.pages import PageBatch

GOAL = 0.87  # of the bare call's rate: at most 1.15 times its time
GOAL_MAPPED = 1.0
WIDE = {"dim": 100, "bucket": 2_000_000, "epoch": 1}  # as gao and DCLM have it

Calls = Mapping[str, Callable[[], Any]]


def bench(texts: pa.Array, rounds: int = 5) -> list[dict[str, Any]]:
    """The rows of `score.fasttext` for these pages: pages per processor second, medians of `rounds` turns."""
    pages = PageBatch(texts)
    language = load(default_model(), SHA256)
    language = replace(language, reading=replace(language.reading, characters=CHARACTERS))
    rows: list[dict[str, Any]] = []
    sizes: tuple[tuple[str, dict[str, Any]], ...] = (("33 MB", {}), ("800 MB", WIDE))
    for name, changes in sizes:
        with tempfile.TemporaryDirectory() as folder:
            quality = _classifier(texts, Path(folder) / "quality.bin", changes)
            rows += _rows(f"classifier of {name}, 1,500 characters", quality, pages, rounds)
    calls: Calls = {"ours": lambda: likeliest(language, pages), "theirs": _bare(language, pages, 1)}
    return [*rows, _row(f"lid.176, {CHARACTERS:,} characters", pages, calls, rounds, GOAL)]


def _classifier(texts: pa.Array, path: Path, changes: Mapping[str, Any]) -> Model:
    """A classifier of these pages drawn by lot: it learns nothing, at the full cost of asking."""
    draw = random.Random(0)
    classes: tuple[list[Page], list[Page]] = ([], [])
    for row, text in enumerate(texts.to_pylist()):
        classes[draw.random() < 0.5].append(Page(str(row), text or ""))
    how = read_preset("gao_small")
    train(*classes, path, 0, replace(how, hyperparameters={**how.hyperparameters, **changes}))
    return load(path.resolve())


def _rows(name: str, model: Model, pages: PageBatch, rounds: int) -> list[dict[str, Any]]:
    """The whole way from pages to scores, and the kernel alone on lines made before."""
    assert isinstance(model.asked, Mapped)
    tables, prepared, bare = model.asked.tables, written(pages, model.reading), _bare(model, pages, -1)
    whole: Calls = {"ours": lambda: score(model, pages, LABELS[1]), "theirs": bare}
    kernel: Calls = {"ours": lambda: ask_lines(tables, *prepared, 1), "theirs": bare}
    return [
        _row(name, pages, whole, rounds, GOAL),
        _row(f"{name}, kernel alone", pages, kernel, rounds, GOAL_MAPPED),
    ]


def _bare(model: Model, pages: PageBatch, labels: int) -> Callable[[], Any]:
    prepared = [line.decode() for line in lines(pages, model.reading) if line]
    predict = fasttext.load_model(str(model.path)).f.multilinePredict
    return lambda: predict(prepared, labels, 0.0, "strict")


def _row(name: str, pages: PageBatch, calls: Calls, rounds: int, goal: float) -> dict[str, Any]:
    rates: dict[str, list[float]] = {whose: [] for whose in calls}
    for call in calls.values():
        call()  # compiled and warm
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
        "goal": goal,
    }
