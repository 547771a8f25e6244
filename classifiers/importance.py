r"""Importance weights: how much more likely a page's words are in a target corpus than in the crawl.

Data selection by importance resampling (Xie et al. 2023, arXiv 2302.03169, section 4): unigrams and bigrams are hashed into
10,000 places, one distribution over these is estimated on the target and one on the raw pages, and a page weighs the sum of
the logarithms of their ratio. Tokens are those of the authors' code, `\w+|[^\w\s]+` in lower case.

Three things are not as there. The signal is the mean over a page's n-grams, not their sum: nearly every page is less like
the target than like the crawl it is from, so the sum falls with length and a cut by it keeps the short ones
(docs/classifiers.md has by how much). Counts are smoothed by one a place: their code adds 1e-8 to each probability, by which
a place that a small target never fills costs a page some nine nats. The hash is another.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from classifiers import card, kinds
from classifiers.bags import bags, loaded, lower_case_of, opened, read_weights, sums, write_weights
from classifiers.examples import Sample, Sampling, sample
from classifiers.kinds import Floats, Pages, PagesOrFiles, Seed, Several, Source
from filters.files import write_whole
from filters.kernels.hashing import ngrams
from filters.kernels.text import Codes, Offsets
from filters.pages import PageBatch
from filters.signals import Group, Signal

MODEL = "model.safetensors"
PLACES = 10_000
"""Section 4 of the paper, and the authors' code."""
SMOOTHING = 1.0
"""Added to the count of every place (Laplace)."""
FEWEST, HELD_OUT = 20, 0.1
"""Pages that are no corpus, and the share kept from training: as in conf/classifiers/gao.yaml."""


class Options(kinds.Scorer):
    """Importance weights: how much more likely a page's words are in a target corpus than in the crawl."""

    target: Annotated[Several[Source], Field(min_length=1, examples=["[data/books/*.jsonl.zst]"])]
    """Files of the text that pages should be like, in any form that `pages.from` takes."""
    raw: PagesOrFiles = "pages"
    """What the target is compared with: `pages` (a sample of the pool, held-out pages apart) or files."""
    seed: Seed = 0
    """Decides which pages are drawn and held out."""
    most_pages: Annotated[int, Field(ge=FEWEST)] = 100_000
    """Pages that are counted at most of each side."""

    @property
    def trained(self) -> bool:
        """Always."""
        return True

    def texts(self) -> dict[str, list[Any]]:
        """The target, and the raw pages where they are files."""
        return {"target": self.target, **({"raw": self.raw} if isinstance(self.raw, list) else {})}

    def good_key(self) -> str | None:
        """The target."""
        return "target"

    def pool_key(self) -> str | None:
        """Raw pages are those of the pool unless they are files."""
        return "raw" if self.raw == "pages" else None

    def pool_pages(self) -> int:
        """As many as are counted, and some more for pages without words."""
        return int(1.1 * self.most_pages)

    def identity(self) -> Any:
        """What decides the weights besides the pages."""
        return {"places": PLACES, "smoothing": SMOOTHING, "seed": self.seed, "most_pages": self.most_pages}

    def train(self, texts: Mapping[str, Pages], folder: Path) -> str:
        """Write the weights and their card `model.json`. Raises TrainingError."""
        folder.mkdir(parents=True, exist_ok=True)
        how = Sampling(self.most_pages, FEWEST, HELD_OUT, balanced=False)
        classes = {True: ("target", texts["target"]), False: ("raw", texts["raw"])}
        with tempfile.TemporaryFile(dir=folder.parent) as spool:
            drawn = sample(classes, ngram_bags, how, self.seed, spool)
            counts = {positive: _counted(drawn, positive) for positive in classes}
            weights = log_ratio(counts[True], counts[False])
            measured = _measure(drawn, weights)
            drawn.keep_held_out(classes, folder)
        about = {
            "sha256": write_weights(folder / MODEL, weights, 0.0),
            **self.identity(),
            **drawn.counts,
            "ngrams": {name: int(counts[positive].sum()) for positive, (name, _) in classes.items()},
            "held_out": measured,
        }
        write_whole(folder / kinds.CARD, (json.dumps(about, indent=2) + "\n").encode())
        return card.sentence(about)

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """One number, `importance_` before the classifier's name."""
        return {f"importance_{name}": pa.float64()}

    def group(self, name: str, folder: Path) -> Group:
        """The mean logarithm of the ratio, in nats an n-gram; higher is more like the target."""
        path = (folder / MODEL).resolve()
        sha256 = read_weights(path, PLACES)[2]
        return Group(name, (Signal(f"importance_{name}", Weight(path, sha256), pa.float64()),), {"sha256": sha256})


@dataclass(frozen=True)
class Weight:
    """The function of an importance signal. It travels to the workers as plain data; the weights are loaded there, once."""

    path: Path
    sha256: str

    def __call__(self, pages: PageBatch) -> Floats:
        """Nats an n-gram, NaN for a page without any; shape (pages,)."""
        buckets, first = pages.once(page_ngrams)
        weights, _ = loaded(self.path, self.sha256, PLACES)
        return sums(weights, buckets, first) / np.maximum(np.diff(first), 1)


def page_ngrams(pages: PageBatch) -> tuple[Codes, Offsets]:
    """The place of every n-gram of the pages, and the first n-gram of each page."""
    return ngrams(*pages.once(lower_case_of), PLACES)


def ngram_bags(pages: PageBatch) -> list[bytes]:
    """What is learned from each page; no bytes of one without a word."""
    return bags(*page_ngrams(pages), PLACES)


def log_ratio(target: Floats, raw: Floats) -> Floats:
    """The logarithm of how much likelier each place is in the target, from the counts of both; shape (places,)."""
    smoothed = [counts + SMOOTHING for counts in (target, raw)]
    return np.asarray(np.log(smoothed[0] / smoothed[0].sum()) - np.log(smoothed[1] / smoothed[1].sum()), np.float64)


def _counted(drawn: Sample, positive: bool) -> Floats:
    """How often each place is filled in the examples of a class that are trained on; shape (places,)."""
    counts = np.zeros(PLACES)
    for example in drawn.training:
        if example.positive == positive:
            places, times = opened(drawn.content(example))
            counts[places] += times
    return counts


def _measure(drawn: Sample, weights: Floats) -> dict[str, Any]:
    """How well the weights tell the held-out pages apart."""
    found = [opened(drawn.content(page)) for page in drawn.held_out]
    scores = np.array([float(weights[places] @ times) / times.sum() for places, times in found])
    return card.ranking(np.array([page.positive for page in drawn.held_out], bool), scores)
