"""Training a fastText classifier so that the same pages give the same bytes, and so that one sees whether it learned.

Three hashes decide everything, none of them the order in which pages arrive: one of (id, seed) which pages are drawn, a
second in which order they are shown, one of the prepared text which are held out (so that copies of a page never stand on
both sides). The training itself has a process of its own (`fasttext.child`), one thread and a seed.
"""

import dataclasses
import hashlib
import heapq
import itertools
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import fasttext
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers.fasttext.child import ChildError, in_child
from classifiers.fasttext.model import digest
from classifiers.fasttext.text import Reading, lines
from classifiers.kinds import Pages, TrainingError
from filters.nearest import nearest
from filters.pages import PageBatch

LABELS = ("__label__negative", "__label__positive")
PAGES_AT_A_TIME = 256

HYPERPARAMETERS = ("wordNgrams", "dim", "epoch", "lr", "minCount", "minn", "maxn", "bucket", "loss")
SAMPLE = ("most_per_class", "fewest_per_class", "held_out")


@dataclass(frozen=True)
class Recipe:
    """How a classifier reads, draws and learns: one file of conf/classifiers/."""

    reading: Reading
    hyperparameters: Mapping[str, Any]
    most_per_class: int
    fewest_per_class: int
    held_out: float


@dataclass(frozen=True)
class Drawn:
    """One page of the sample: the order it is shown in, its class, and where its line lies in the spool."""

    order: int
    positive: bool
    begin: int
    end: int


def recipe(written: Mapping[str, Any]) -> Recipe:
    """The recipe in a mapping read from YAML. Raises ValueError for a key that is unknown or missing."""
    known: dict[str, tuple[str, ...]] = {
        "reading": tuple(field.name for field in dataclasses.fields(Reading)),
        "hyperparameters": HYPERPARAMETERS,
        "sample": SAMPLE,
    }
    _check_keys("a classifier's recipe", written, tuple(known))
    for part, keys in known.items():
        _check_keys(f"{part!r} of a classifier's recipe", written[part], keys)
    sample = written["sample"]
    if not 0 < sample["held_out"] < 1:
        raise ValueError(f"held_out is {sample['held_out']!r}, expected a share between 0 and 1")
    return Recipe(Reading(**written["reading"]), dict(written["hyperparameters"]), **sample)


def _check_keys(where: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"{where} has no key {key!r}: {nearest(key, list(known))}")
    missing = [key for key in known if key not in given]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")


def _hashes(identifier: str, seed: int) -> tuple[int, int]:
    sixteen = hashlib.blake2b(f"{seed}\n{identifier}".encode("utf-8", "replace"), digest_size=16).digest()
    return int.from_bytes(sixteen[:8], "big"), int.from_bytes(sixteen[8:], "big")


def _is_held_out(line: bytes, seed: int, share: float) -> bool:
    eight = hashlib.blake2b(line, digest_size=8, salt=b"held out", key=str(seed).encode()).digest()
    return int.from_bytes(eight, "big") < share * 2**64


def _prepared(pages: Pages, reading: Reading) -> Iterator[tuple[str, bytes]]:
    iterator = iter(pages)
    while chunk := list(itertools.islice(iterator, PAGES_AT_A_TIME)):
        encoded = [text.encode("utf-8", "replace") for _, text in chunk]  # a lone surrogate becomes a question mark
        batch = PageBatch(pa.array(encoded, pa.large_binary()).view(pa.large_string()))
        yield from zip((identifier for identifier, _ in chunk), lines(batch, reading), strict=True)


def draw(pages: Pages, positive: bool, how: Recipe, seed: int, spool: BinaryIO) -> tuple[list[Drawn], dict[str, int]]:
    """The pages with the smallest hashes, nearest first, `most_per_class` at most, and how many were read and blank.

    Their lines are appended to `spool`, as are those that later pages push out (ln(pages / most_per_class) times as many).
    """
    heap: list[tuple[int, int, int, int]] = []
    read = blank = 0
    for identifier, line in _prepared(pages, how.reading):
        read += 1
        if not line:
            blank += 1
            continue
        rank, order = _hashes(identifier, seed)
        if len(heap) < how.most_per_class or -rank > heap[0][0]:
            begin = spool.tell()
            spool.write(line)
            entry = (-rank, order, begin, spool.tell())
            if len(heap) < how.most_per_class:
                heapq.heappush(heap, entry)
            else:
                heapq.heapreplace(heap, entry)
    drawn = [Drawn(order, positive, begin, end) for _, order, begin, end in sorted(heap, reverse=True)]
    return drawn, {"read": read, "blank": blank, "drawn": len(drawn)}


def area_under_curve(positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> float:
    """Probability that a positive scores above a negative, ties counted half (Mann-Whitney's U over its maximum)."""
    values, group, size = np.unique(scores, return_inverse=True, return_counts=True)
    if len(values) == 0 or positive.all() or not positive.any():
        return float("nan")
    ranks = (np.cumsum(size) - (size - 1) / 2)[group]
    positives = int(positive.sum())
    above = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(positive) - positives)))


def _balance(drawn: dict[bool, list[Drawn]], fewest: int) -> list[Drawn]:
    names = {True: "positives", False: "negatives"}
    for positive, pages in drawn.items():
        if len(pages) < fewest:
            raise TrainingError(
                f"{len(pages)} pages with words among the {names[positive]}, at least {fewest} are needed:"
                f" name more files under {names[positive]}:, or check that they hold text"
            )
    size = min(map(len, drawn.values()))
    sample = drawn[True][:size] + drawn[False][:size]
    return sorted(sample, key=lambda page: (page.order, page.positive, page.begin))


def _write_lines(
    sample: list[Drawn], spool: BinaryIO, text: Path, how: Recipe, seed: int
) -> tuple[list[Drawn], dict[str, int]]:
    """Write the labelled lines to train on, and give the pages that are held out."""
    held_out = []
    counts = {"positives": 0, "negatives": 0}
    with text.open("wb") as file:
        for page in sample:
            spool.seek(page.begin)
            line = spool.read(page.end - page.begin)
            if _is_held_out(line, seed, how.held_out):
                held_out.append(page)
            else:
                counts["positives" if page.positive else "negatives"] += 1
                file.write(LABELS[page.positive].encode() + b" " + line)
    if min(counts.values()) == 0:
        raise TrainingError(
            f"after holding out a share of {how.held_out}, one class has nothing to train on: {counts}; give more pages"
        )
    return held_out, counts


def _measure(model: Path, held_out: list[Drawn], spool: BinaryIO) -> dict[str, Any]:
    """How well the model tells the held-out pages apart; null where only one class was held out."""
    handle = fasttext.load_model(str(model)).f
    scores = np.zeros(len(held_out))
    for row, page in enumerate(held_out):
        spool.seek(page.begin)
        names, values = handle.multilinePredict([spool.read(page.end - page.begin)], -1, 0.0, "strict")
        scores[row] = values[0][names[0].index(LABELS[1])]
    positive = np.array([page.positive for page in held_out], bool)
    area = area_under_curve(positive, scores)
    return {
        "positives": int(positive.sum()),
        "negatives": int((~positive).sum()),
        "area_under_curve": None if np.isnan(area) else area,
        "accuracy": float(np.mean((scores > 0.5) == positive)) if len(held_out) else None,
    }


def train(positives: Pages, negatives: Pages, path: Path, seed: int, how: Recipe) -> dict[str, Any]:
    """Train on (id, text) pages, write the model to `path` and what is known of it beside, as JSON; give the latter.

    The classes are balanced, so that a score is a probability under equal odds. Raises TrainingError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder,
        (Path(folder) / "spool").open("w+b") as spool,
    ):
        text, model = Path(folder) / "text", Path(folder) / "model.bin"
        drawn, counts = {}, {}
        for positive, pages in ((True, positives), (False, negatives)):
            drawn[positive], counts["positives" if positive else "negatives"] = draw(pages, positive, how, seed, spool)
        sample = _balance(drawn, how.fewest_per_class)
        held_out, trained = _write_lines(sample, spool, text, how, seed)
        try:
            in_child(
                "train",
                {"text": str(text), "model": str(model), "seed": seed, "hyperparameters": dict(how.hyperparameters)},
                None,
            )
        except ChildError as error:
            raise TrainingError(f"training {path.name} failed: {error}") from None
        about = {
            "sha256": digest(model),
            "label": LABELS[1],
            "reading": dataclasses.asdict(how.reading),
            "hyperparameters": dict(how.hyperparameters),
            "seed": seed,
            "pages": counts,
            "trained_on": trained,
            "held_out": _measure(model, held_out, spool),
            "fasttext": version("fasttext"),
        }
        beside = Path(folder) / "model.json"
        beside.write_text(json.dumps(about, indent=2) + "\n")
        beside.rename(path.with_suffix(".json"))  # before the model: a model is never there without it
        model.rename(path)
    return about
