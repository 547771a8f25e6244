"""Training a fastText classifier so that the same pages give the same bytes, and so that one sees whether it learned.

Which pages are drawn, held out and in which order they are shown is decided by hashes (`classifiers.examples`). The training
itself has a process of its own (`fasttext.child`), one thread and a seed.
"""

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fasttext
import numpy as np

from classifiers import card
from classifiers.examples import Sample, Sampling, sample
from classifiers.fasttext.child import ChildError, in_child
from classifiers.fasttext.file import ModelFileError, check_file
from classifiers.fasttext.model import digest
from classifiers.fasttext.text import Reading, lines
from classifiers.kinds import Pages, TrainingError
from filters.files import no_space
from filters.nearest import nearest

LABELS = ("__label__negative", "__label__positive")

HYPERPARAMETERS = ("wordNgrams", "dim", "epoch", "lr", "minCount", "minn", "maxn", "bucket", "loss")
SAMPLE = ("most_per_class", "fewest_per_class", "held_out")


@dataclass(frozen=True)
class Recipe:
    """How a classifier reads, draws and learns: one file of conf/classifiers/."""

    reading: Reading
    hyperparameters: Mapping[str, Any]
    sampling: Sampling


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
    return Recipe(Reading(**written["reading"]), dict(written["hyperparameters"]), Sampling(**written["sample"]))


def _check_keys(where: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"{where} has no key {key!r}: {nearest(key, list(known))}")
    missing = [key for key in known if key not in given]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")


def _write_lines(drawn: Sample, text: Path) -> None:
    """Write the labelled lines to train on."""
    with text.open("wb") as file:
        for page in drawn.training:
            file.write(LABELS[page.positive].encode() + b" " + drawn.content(page))


def _measure(model: Path, drawn: Sample) -> dict[str, Any]:
    """How well the model tells the held-out pages apart."""
    handle = fasttext.load_model(str(model)).f
    scores = np.zeros(len(drawn.held_out))
    for row, page in enumerate(drawn.held_out):
        names, values = handle.multilinePredict([drawn.content(page)], -1, 0.0, "strict")
        scores[row] = values[0][names[0].index(LABELS[1])]
    return card.probabilities(np.array([page.positive for page in drawn.held_out], bool), np.minimum(scores, 1.0))


def train(positives: Pages, negatives: Pages, path: Path, seed: int, how: Recipe) -> dict[str, Any]:
    """Train on pages, write the model to `path` and what is known of it beside, as JSON; give the latter.

    The classes are balanced, so that a score is a probability under equal odds. Raises TrainingError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder,
        (Path(folder) / "spool").open("w+b") as spool,
    ):
        text, model = Path(folder) / "text", Path(folder) / "model.bin"
        classes = {True: ("positives", positives), False: ("negatives", negatives)}
        drawn = sample(classes, lambda batch: lines(batch, how.reading), how.sampling, seed, spool)
        _write_lines(drawn, text)
        try:
            in_child(
                "train",
                {"text": str(text), "model": str(model), "seed": seed, "hyperparameters": dict(how.hyperparameters)},
                None,
            )
        except ChildError as error:
            raise TrainingError(f"training {path.name} failed: {error}") from None
        try:
            check_file(model)
        except ModelFileError:  # fastText does not say when the disk is full
            raise no_space(path) from None
        about = {
            "sha256": digest(model),
            "label": LABELS[1],
            "reading": dataclasses.asdict(how.reading),
            "hyperparameters": dict(how.hyperparameters),
            "seed": seed,
            **drawn.counts,
            "held_out": _measure(model, drawn),
            "fasttext": version("fasttext"),
        }
        beside = Path(folder) / "model.json"
        beside.write_text(json.dumps(about, indent=2) + "\n")
        drawn.keep_held_out(classes, path.parent)
        beside.rename(path.with_suffix(".json"))  # before the model: a model is never there without it
        model.rename(path)
    return about
