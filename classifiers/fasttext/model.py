"""A fastText model as a signal: checked before it is loaded, loaded once per process, and asked in one way.

A model of float32 is mapped and asked by our kernels (`fasttext.mapped`), a quantized one by the library. Either is given
prepared lines (`fasttext.text`), the library all of them in one call: that for one string fails with NumPy 2 and returns
another precision. A page without words gets null, where the library would give its prior.
"""

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import fasttext
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.fasttext.child import ChildError, in_child
from classifiers.fasttext.file import Layout, ModelFileError, check_file
from classifiers.fasttext.mapped import Singles, Tables, ask_lines, can_be_mapped, is_finite, tables
from classifiers.fasttext.text import Reading, lines, written
from filters.nearest import nearest
from filters.pages import PageBatch
from filters.signals import Group, Signal

LOADING_BASE_S = 30.0
LOADING_BYTES_PER_S = 20e6  # a slow network disk; a deadline is for files that would never load


class Asked(Protocol):
    """A loaded model, whoever asks it. Both give float32 of shape (pages,), not a number where there is no answer."""

    def probabilities(self, pages: PageBatch, reading: Reading, label: str) -> Singles:
        """Of one label."""

    def likeliest(self, pages: PageBatch, reading: Reading) -> tuple[list[str], Singles]:
        """Labels and their probabilities; a label says nothing where there is no answer."""


@dataclass(frozen=True)
class Mapped:
    """A model that lies in its file. `names`: its labels, in the file's order."""

    tables: Tables
    names: tuple[str, ...]

    def probabilities(self, pages: PageBatch, reading: Reading, label: str) -> Singles:
        """Of one label, by our kernels."""
        return self._ask(pages, reading, self.names.index(label))[1]

    def likeliest(self, pages: PageBatch, reading: Reading) -> tuple[list[str], Singles]:
        """Labels and their probabilities, by our kernels."""
        labels, probabilities = self._ask(pages, reading, -1)
        return [self.names[label] for label in labels.tolist()], probabilities

    def _ask(self, pages: PageBatch, reading: Reading, wanted: int) -> tuple[npt.NDArray[np.int64], Singles]:
        labels, probabilities = ask_lines(self.tables, *written(pages, reading), wanted)
        probabilities[~pages.valid] = np.nan
        return labels, probabilities


@dataclass(frozen=True)
class Loaded:
    """A model in this process' memory, asked by the library."""

    handle: Any

    def probabilities(self, pages: PageBatch, reading: Reading, label: str) -> Singles:
        """Of one label; 0 where the library leaves it out, as it does below 1e-5 in a tree."""
        found = np.full(len(pages), np.nan, np.float32)
        for row, names, values in self._ask(pages, reading, -1):
            found[row] = values[names.index(label)] if label in names else 0.0
        return found

    def likeliest(self, pages: PageBatch, reading: Reading) -> tuple[list[str], Singles]:
        """Labels and their probabilities."""
        labels, found = [""] * len(pages), np.full(len(pages), np.nan, np.float32)
        for row, (name,), (value,) in self._ask(pages, reading, 1):
            labels[row], found[row] = name, value
        return labels, found

    def _ask(self, pages: PageBatch, reading: Reading, labels: int) -> Iterator[tuple[int, list[str], Any]]:
        """Rows of the pages that have an answer, with their `labels` likeliest labels (-1: all)."""
        prepared = lines(pages, reading)
        rows = [row for row, line in enumerate(prepared) if line]
        names, values = self.handle.multilinePredict([prepared[row] for row in rows], labels, 0.0, "strict")
        return ((row, named, of) for row, named, of in zip(rows, names, values, strict=True) if named)


@dataclass(frozen=True)
class Model:
    """A loaded model with the way it reads a page. `label` is the class whose probability is the score, if that is known."""

    path: Path
    sha256: str
    labels: tuple[str, ...]
    label: str | None
    reading: Reading
    asked: Asked


def digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal. Raises ModelFileError where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFileError(f"model file {path} cannot be read: {error.strerror}") from None


def description(path: Path) -> dict[str, Any]:
    """What `fasttext.training.train` wrote beside the model; empty for a model from elsewhere."""
    beside = path.with_suffix(".json")
    if not beside.exists():
        return {}
    try:
        written: dict[str, Any] = json.loads(beside.read_text())
    except ValueError as error:
        raise ModelFileError(f"{beside}, which describes {path.name}, is no JSON: {error}") from None
    return written


def try_out(path: Path) -> None:
    """Find what is wrong with a file that nobody vouches for. Raises ModelFileError.

    A damaged file hangs or kills the library: it is tried in a child process with a deadline.
    """
    layout = check_file(path)
    if can_be_mapped(layout):
        sound = is_finite(layout)
    else:
        deadline_s = LOADING_BASE_S + path.stat().st_size / LOADING_BYTES_PER_S
        try:
            sound = in_child("try", {"path": str(path)}, deadline_s)
        except ChildError as error:
            raise ModelFileError(
                f"model file {path} does not load: {error}. It is damaged: fetch or train it again"
            ) from None
    if not sound:
        raise ModelFileError(f"model file {path} answers with numbers that are no probabilities: it is damaged")


def _mapped(layout: Layout) -> Mapped:
    names = [layout.entry(layout.words + label)[0].decode("utf-8", "replace") for label in range(layout.labels)]
    return Mapped(tables(layout), tuple(names))


def load(path: Path, sha256: str | None = None) -> Model:
    """The model in this file, loaded once per process. Raises ModelFileError.

    With `sha256` (of the file, as `digest` gives it) the file must match, and a file that matches is trusted; without it
    the file is first tried out. A description beside the model must belong to this very file.
    """
    if sha256 is None:
        try_out(path)
        sha256 = digest(path)
    return _load(path, sha256.lower())


@functools.cache
def _load(path: Path, sha256: str) -> Model:
    layout = check_file(path)
    found = digest(path)
    about = description(path)
    for whose, expected in (
        ("the one given", sha256),
        (f"the one in {path.with_suffix('.json').name}", about.get("sha256")),
    ):
        if expected is not None and expected != found:
            raise ModelFileError(
                f"model file {path} has sha256 {found}, not {whose}, {expected}: it is another file or damaged"
            )
    reading = Reading(**about["reading"]) if "reading" in about else Reading()
    if can_be_mapped(layout):
        mapped = _mapped(layout)
        return Model(path, found, tuple(sorted(mapped.names)), about.get("label"), reading, mapped)
    handle = fasttext.load_model(str(path))
    return Model(path, found, tuple(sorted(handle.get_labels())), about.get("label"), reading, Loaded(handle.f))


def likeliest(model: Model, pages: PageBatch) -> tuple[list[str], Singles]:
    """The likeliest label of each page and its probability in [0, 1], not a number where a page has no words."""
    labels, probabilities = model.asked.likeliest(pages, model.reading)
    return labels, np.minimum(probabilities, np.float32(1))


def score(model: Model, pages: PageBatch, label: str) -> pa.Array:
    """The probability of `label` in [0, 1] for each page, null for a page without words; float64, shape (pages,).

    fastText adds 1e-5 to every probability, so that the largest may exceed 1: clipped here.
    """
    probabilities = model.asked.probabilities(pages, model.reading, label).astype(np.float64)
    return pa.array(np.minimum(probabilities, 1.0), mask=~np.isfinite(probabilities))


def score_batch(model: Model, texts: pa.Array, label: str) -> pa.Array:
    """`score` for an array of texts."""
    return score(model, PageBatch(texts), label)


def word_margins(path: Path, label: str, words: Sequence[str]) -> npt.NDArray[np.float64]:
    """What each word adds to the logarithm of the odds of `label` if a page were made of it alone, in nats; shape (words,).

    The end of the line, which a score of a page of one word is half made of, is left out. Of a softmax of two labels.
    """
    model = fasttext.load_model(str(path))
    rows = dict(zip(model.get_labels(), model.get_output_matrix(), strict=True))
    mine = rows.pop(label)
    direction = mine - np.mean(list(rows.values()), axis=0)
    return np.array([model.get_word_vector(word) @ direction for word in words], np.float64)


@dataclass(frozen=True)
class Score:
    """The function of a classifier's signal. It travels to the workers as plain data; the model is loaded there, once."""

    path: str
    sha256: str
    label: str
    reading: Reading
    higher_is_better: bool = True

    def __call__(self, pages: PageBatch) -> pa.Array:
        """The probability of the label, or that of all others where a higher one is worse."""
        model = replace(load(Path(self.path), self.sha256), reading=self.reading)
        probability = score(model, pages, self.label)
        return probability if self.higher_is_better else pc.subtract(1.0, probability)


def classifier_group(
    name: str,
    path: Path,
    sha256: str | None = None,
    label: str | None = None,
    reading: Reading | None = None,
    higher_is_better: bool = True,
) -> Group:
    """The group of one column `name`: the model's probability of `label`. Loads the model once, here, to find what is wrong.

    A model trained here knows its label and reading; of one from elsewhere the label must be given. Raises ModelFileError.
    """
    path = path.resolve()
    model = load(path, sha256)
    label = label or model.label
    if label is None:
        raise ModelFileError(
            f"classifier {name!r}: say which label's probability is the score, one of {list(model.labels[:20])}"
        )
    if label not in model.labels:
        raise ModelFileError(
            f"classifier {name!r}: {path} has no label {label!r}, {nearest(label, list(model.labels[:200]))}"
        )
    score_of = Score(str(path), model.sha256, label, reading or model.reading, higher_is_better)
    identity = {key: value for key, value in asdict(score_of).items() if key != "path"}
    return Group(name, (Signal(name, score_of, pa.float64()),), identity)
