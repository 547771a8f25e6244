"""Hashed words and logistic regression: the classifier that GPT-3's Common Crawl was filtered with.

Brown et al. 2020 (arXiv 2005.14165, appendix A) used Spark ML's Tokenizer, HashingTF and LogisticRegression. Here a kernel
of ours makes the vectors that the first two would (`filters.kernels.hashing`), Spark fits on vectors, and a page is scored
from the weights by the same kernel, without a JVM.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from classifiers import card, kinds
from classifiers.bags import (
    VECTOR,
    Places,
    bags,
    loaded,
    lower_case_of,
    opened,
    read_weights,
    sparse,
    sums,
    write_weights,
)
from classifiers.examples import Sample, Sampling, sample
from classifiers.kinds import Floats, Pages, PagesOrFiles, Seed, Several, Source, TrainingError
from filters.files import write_whole
from filters.kernels.hashing import spark_terms
from filters.kernels.text import Codes, Offsets
from filters.pages import PageBatch
from filters.signals import Group, Signal

MODEL = "model.safetensors"
FEATURES = 1 << 18
"""Spark's default; the paper names no other."""
FEWEST, HELD_OUT = 20, 0.1
"""Pages of a class that are no sample, and the share kept from training: as in conf/classifiers/gao.yaml."""
ROWS_AT_A_TIME = 1000

VECTORS = pa.schema([("place", pa.int64()), ("label", pa.float64()), ("features", VECTOR)])


class Fitted(NamedTuple):
    """A linear model: one weight a feature, and what is added to their sum."""

    weights: Floats
    intercept: float


Fit = Callable[[Path, float], Fitted]
"""Fits a logistic regression on a file of VECTORS with this much regularization."""


class Options(kinds.Scorer):
    """Hashed words and logistic regression, as GPT-3's filter; trained by Spark, asked without it."""

    positives: Annotated[Several[Source], Field(min_length=1, examples=["[data/reference/*.jsonl.zst]"])]
    """Files of good text, in any form that `pages.from` takes."""
    negatives: PagesOrFiles = "pages"
    """`pages` (a sample of the pool, held-out pages apart) or files."""
    seed: Seed = 0
    """Decides which pages are drawn and held out; the fit draws nothing."""
    regularization: Annotated[float, Field(gt=0)] = 0.01
    """Spark's `regParam`, of the squares of the weights. Spark's default of 0 fits a small sample perfectly."""
    most_per_class: Annotated[int, Field(ge=FEWEST)] = 100_000
    """Pages of each class that are trained on at most; as many of both."""

    @property
    def trained(self) -> bool:
        """Always."""
        return True

    def texts(self) -> dict[str, list[Any]]:
        """Positives, and negatives where they are files."""
        return {"positives": self.positives, **({"negatives": self.negatives} if isinstance(self.negatives, list) else {})}

    def good_key(self) -> str | None:
        """The positives."""
        return "positives"

    def pool_key(self) -> str | None:
        """Negatives are pages of the pool unless they are files."""
        return "negatives" if self.negatives == "pages" else None

    def pool_pages(self) -> int:
        """As many as are drawn of a class, and some more for pages without words."""
        return int(1.1 * self.most_per_class)

    def identity(self) -> Any:
        """What decides the fit besides the pages."""
        settings = ("seed", "regularization", "most_per_class")
        return {"features": FEATURES, **{name: getattr(self, name) for name in settings}}

    def train(self, texts: Mapping[str, Pages], folder: Path) -> str:
        """It takes Spark to fit: `learn` is given what does."""
        raise TrainingError("a hashing_tf classifier is fitted by jobs.train_classifier")

    def learn(self, texts: Mapping[str, Pages], folder: Path, fit: Fit) -> str:
        """Write the model and its card with what `fit` makes of the pages. Raises TrainingError."""
        folder.mkdir(parents=True, exist_ok=True)
        how = Sampling(self.most_per_class, FEWEST, HELD_OUT)
        classes = {True: ("positives", texts["positives"]), False: ("negatives", texts["negatives"])}
        with (
            tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside,
            (Path(aside) / "spool").open("w+b") as spool,
        ):
            drawn = sample(classes, term_bags, how, self.seed, spool)
            seen = _seen(drawn)
            vectors = Path(aside) / "vectors.parquet"
            _write_vectors(drawn, seen, vectors)
            found = fit(vectors, self.regularization)
            fitted = Fitted(np.zeros(FEATURES), found.intercept)
            fitted.weights[seen] = found.weights
            measured = _measure(drawn, fitted)
            drawn.keep_held_out(classes, folder)
        about = {
            "sha256": write_weights(folder / MODEL, fitted.weights, fitted.intercept),
            **self.identity(),
            **drawn.counts,
            "held_out": measured,
        }
        write_whole(folder / kinds.CARD, (json.dumps(about, indent=2) + "\n").encode())
        return card.sentence(about)

    def weigh_words(self, name: str, folder: Path, words: Sequence[str]) -> dict[str, Floats] | None:
        """By the weights of their features: of a page of one word the intercept says most."""
        weights, _, _ = read_weights(folder / MODEL, FEATURES)
        return {name: sums(weights, *terms(PageBatch(pa.array(words, pa.large_string()))))}

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """One score, called as the classifier is."""
        return {name: pa.float64()}

    def group(self, name: str, folder: Path) -> Group:
        """The probability that a page is one of the positives."""
        path = (folder / MODEL).resolve()
        sha256 = read_weights(path, FEATURES)[2]
        return Group(name, (Signal(name, Score(path, sha256), pa.float64()),), {"sha256": sha256})


@dataclass(frozen=True)
class Score:
    """The function of a classifier's signal. It travels to the workers as plain data; the model is loaded there, once."""

    path: Path
    sha256: str

    def __call__(self, pages: PageBatch) -> Floats:
        """The probability in [0, 1] that each page is a positive, NaN for one without a word; shape (pages,)."""
        return probability(Fitted(*loaded(self.path, self.sha256, FEATURES)), *pages.once(terms))


def terms(pages: PageBatch) -> tuple[Codes, Offsets]:
    """The feature of every term of the pages, and the first term of each page."""
    return spark_terms(*pages.once(lower_case_of), FEATURES)


def term_bags(pages: PageBatch) -> list[bytes]:
    """What is learned from each page; no bytes of one without a word."""
    return bags(*terms(pages), FEATURES)


def probability(model: Fitted, buckets: Codes, first: Offsets) -> Floats:
    """The probability of a positive, NaN for a page without terms; shape (pages,)."""
    return logistic(sums(model.weights, buckets, first) + model.intercept)


def logistic(margin: Floats) -> Floats:
    """1 / (1 + exp(-margin)), without ever overflowing."""
    small = np.exp(-np.abs(margin))
    return np.asarray(np.where(margin < 0, small, 1) / (1 + small), np.float64)


def _measure(drawn: Sample, fitted: Fitted) -> dict[str, Any]:
    """How well the model tells the held-out pages apart."""
    found = [opened(drawn.content(page)) for page in drawn.held_out]
    margins = np.array([float(fitted.weights[places] @ counts) for places, counts in found]) + fitted.intercept
    return card.probabilities(np.array([page.positive for page in drawn.held_out], bool), logistic(margins))


def _seen(drawn: Sample) -> Places:
    """The features of the examples that are trained on. The weight of any other is 0, and fitting it would take its time."""
    seen = np.zeros(FEATURES, bool)
    for example in drawn.training:
        seen[opened(drawn.content(example))[0]] = True
    return np.flatnonzero(seen).astype(np.int32)


def _write_vectors(drawn: Sample, seen: Places, path: Path) -> None:
    """Write the examples to train on as rows of VECTORS of the features seen, in the order they are shown in."""
    with pq.ParquetWriter(path, VECTORS) as writer:
        for begin in range(0, len(drawn.training), ROWS_AT_A_TIME):
            writer.write_table(pa.Table.from_pylist(list(_rows(drawn, seen, begin)), VECTORS))


def _rows(drawn: Sample, seen: Places, begin: int) -> Iterator[dict[str, Any]]:
    for place, example in enumerate(drawn.training[begin : begin + ROWS_AT_A_TIME], begin):
        features, counts = opened(drawn.content(example))
        vector = sparse(len(seen), np.searchsorted(seen, features).astype(np.int32), counts)
        yield {"place": place, "label": float(example.positive), "features": vector}
