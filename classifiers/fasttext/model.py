"""A fastText model as a signal: checked before it is loaded, loaded once per process, and asked in one way.

Every page goes through the same call, a list of prepared lines (`fasttext.text`): the library's call for one string fails
with NumPy 2 and returns another precision. A page without words gets null, where the library would give its prior.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.fasttext.child import ChildError, in_child
from classifiers.fasttext.file import ModelFileError, check_file
from classifiers.fasttext.text import Reading, lines
from filters.nearest import nearest
from filters.pages import PageBatch
from filters.signals import Group, Signal

LOADING_BASE_S = 30.0
LOADING_BYTES_PER_S = 20e6  # a slow network disk; a deadline is for files that would never load


@dataclass(frozen=True)
class Model:
    """A loaded model with the way it reads a page. `label` is the class whose probability is the score, if that is known."""

    path: Path
    sha256: str
    labels: tuple[str, ...]
    label: str | None
    reading: Reading
    handle: Any


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
    """Load the file in a child process with a deadline and look at three predictions. Raises ModelFileError."""
    check_file(path)
    deadline_s = LOADING_BASE_S + path.stat().st_size / LOADING_BYTES_PER_S
    try:
        found = in_child("try", {"path": str(path)}, deadline_s)
    except ChildError as error:
        raise ModelFileError(f"model file {path} does not load: {error}. It is damaged: fetch or train it again") from None
    if not found["sound"]:
        raise ModelFileError(f"model file {path} answers with numbers that are no probabilities: it is damaged")


def load(path: Path, sha256: str | None = None) -> Model:
    """The model in this file, loaded once per process. Raises ModelFileError.

    With `sha256` (of the file, as `digest` gives it) the file must match, and a file that matches is trusted; without it
    the file is first tried out in a child process. A description beside the model must belong to this very file.
    """
    if sha256 is None:
        try_out(path)
        sha256 = digest(path)
    return _load(path, sha256.lower())


@functools.cache
def _load(path: Path, sha256: str) -> Model:
    check_file(path)
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
    handle = fasttext.load_model(str(path))
    reading = Reading(**about["reading"]) if "reading" in about else Reading()
    return Model(path, found, tuple(sorted(handle.get_labels())), about.get("label"), reading, handle.f)


def ask(model: Model, pages: PageBatch, labels: int) -> tuple[list[int], list[list[str]], list[Any]]:
    """Rows of the pages that have words and, for each, the `labels` likeliest labels (-1: all) with their probabilities."""
    prepared = lines(pages, model.reading)
    rows = [row for row, line in enumerate(prepared) if line]
    names, probabilities = model.handle.multilinePredict([prepared[row] for row in rows], labels, 0.0, "strict")
    return rows, names, probabilities


def score(model: Model, pages: PageBatch, label: str) -> pa.Array:
    """The probability of `label` in [0, 1] for each page, null for a page without words; float64, shape (pages,).

    fastText adds 1e-5 to every probability, so that the largest may exceed 1: clipped here.
    """
    scores = np.full(len(pages), np.nan)
    rows, names, probabilities = ask(model, pages, -1)
    scores[rows] = [float(values[of.index(label)]) for of, values in zip(names, probabilities, strict=True)]
    return pa.array(np.minimum(scores, 1.0), mask=np.isnan(scores))


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
