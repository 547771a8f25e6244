"""Which of two pages is preferred: a Bradley-Terry model of pages and worse revisions of them.

It is the reward model of learning from human feedback (Christiano et al. 2017, arXiv 1706.03741; in trlX, Havrilla et al.
2023), linear in a page's vector. The two sides of a pair share subject, site and author: what is learned is what was
revised, and little that merely goes with it.
"""

import functools
import hashlib
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from classifiers import card, encoders, kinds
from classifiers.bags import Places, bags, lower_case_of, opened, read_tensors, sums, write_tensors
from classifiers.bradley_terry import Rows, bradley_terry, calibrated, dense
from classifiers.encoders import Encoder, read_text, unit
from classifiers.examples import Example, Sampling, Side, sample, write_held_out
from classifiers.hashing_tf import logistic
from classifiers.kinds import Floats, LocalPath, Pages, PagesOrFiles, Seed, Several, TrainingError
from classifiers.revisions import revised
from classifiers.transformer import CARD_PAGES, folder_digest, is_held_out, tables
from filters.files import write_whole
from filters.kernels.hashing import ngrams
from filters.kernels.text import Codes, Offsets
from filters.pages import PageBatch
from filters.signals import Group, Signal

MODEL = "model.safetensors"
PLACES = 1 << 18
"""As many as Spark's HashingTF has."""
CHARACTERS = 5000
"""Of a page's beginning that are revised and learned from; the whole page is scored."""
ON_NGRAMS, ON_ENCODER = 1e-7, 1e-4
"""Regularization: n-grams' vectors are shares, an encoder's have length 1 (docs/classifiers.md has what others gave)."""
FEWEST, HELD_OUT = 20, 0.1
CARD_SIDE = 300
PAGES_AT_A_TIME = 256


Revision = Literal["shuffled", "boilerplate", "dropped", "repeated", "headlines"]


class Pair(NamedTuple):
    """Two texts, the first preferred, and by which revision or from where."""

    kind: str
    better: str
    worse: str


class Lot(NamedTuple):
    """Pairs to learn from and others, and what the card says of where they are from."""

    training: list[Pair]
    held_out: list[Pair]
    counts: dict[str, Any]


class Options(encoders.Options):
    """Whether a page is preferred to worse revisions of itself; learned from pairs, on hashed n-grams or an encoder."""

    text: PagesOrFiles = "pages"
    """What is revised: `pages` (a sample of the pool, held-out pages apart) or files."""
    revisions: list[Revision] = Field(default=list(get_args(Revision)), min_length=1)
    """How each page is made worse, once each: sentences `shuffled`, lines of `boilerplate` inserted, words `dropped`,
    phrases `repeated`, sentences cut to `headlines`."""
    pairs: Several[LocalPath] = Field(default=[], examples=["pairs.jsonl.zst"])
    """In place of revisions: files with the columns `better` and `worse`, parquet or JSON lines; may be patterns."""
    most_pages: Annotated[int, Field(ge=FEWEST)] = 2000
    """Pages that are revised at most."""
    seed: Seed = 0
    """Decides which pages are drawn and held out, and what is revised."""
    regularization: Annotated[float, Field(gt=0)] | None = None
    """Of half the squares of the weights, beside the mean loss of a pair; 1e-7 on n-grams and 1e-4 on an encoder where none
    is named."""
    encoder: LocalPath | None = Field(default=None, examples=["models/minilm"])
    """The folder of an encoder whose mean states are looked at in place of hashed n-grams."""

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        given = self.model_fields_set
        for key in {"tokens", "characters"} & given if self.encoder is None else ():
            raise ValueError(f"{key} belongs to an encoder, and none is named")
        for key in {"text", "revisions", "most_pages"} & given if self.pairs else ():
            raise ValueError(f"{key} belongs to pages that are revised: name either it or pairs")
        return self

    @property
    def trained(self) -> bool:
        """Always."""
        return True

    def texts(self) -> dict[str, list[Any]]:
        """The text where it is files; pairs, so that they are checked and known by their content."""
        if self.pairs:
            return {"pairs": [str(pattern) for pattern in self.pairs]}
        return super().texts()

    def pool_key(self) -> str | None:
        """The text is of the pool unless it is files, or there are pairs."""
        return None if self.pairs else super().pool_key()

    def look_into_models(self) -> None:
        """Every pair has two sides, and the encoder loads, where there is one."""
        read_pairs(self.pairs)
        self._encoder()

    def identity(self) -> Any:
        """What decides the weights besides the pages."""
        settings = {name: getattr(self, name) for name in ("revisions", "most_pages", "seed", "regularization")}
        if self.encoder is None:
            return {**settings, "places": PLACES}
        return {**settings, "encoder": folder_digest(self.encoder), "tokens": self.tokens, "characters": self.characters}

    def train(self, texts: Mapping[str, Pages], folder: Path) -> str:
        """Write the weights and the card. Raises TrainingError."""
        folder.mkdir(parents=True, exist_ok=True)
        encoder = self._encoder()
        with tempfile.TemporaryFile(dir=folder.parent) as spool:
            lot = self._of_file() if self.pairs else self._of_pages(texts["text"], spool)
        if len(lot.training) < FEWEST or not lot.held_out:
            raise TrainingError(
                f"{len(lot.training)} pairs to learn from and {len(lot.held_out)} others, {FEWEST} and 1 are needed:"
                " name more text or pairs"
            )
        strength = self.regularization or (ON_NGRAMS if encoder is None else ON_ENCODER)
        weights = learned(lot.training, encoder, strength)
        better, worse = (_margins([pair[at] for pair in lot.held_out], weights, encoder) for at in (1, 2))
        line = calibrated(better, worse)
        if not line[0] > 0:
            raise TrainingError(
                "pages that are held out score no higher than their revisions: name more text, or other revisions"
            )
        positive = np.repeat([True, False], len(better))
        scores = logistic(line[0] * np.concatenate([better, worse]) + line[1])
        by_kind = _by_kind(lot, better > worse)
        about = {
            "sha256": write_tensors(folder / MODEL, {"weights": weights, "calibration": line}),
            **self.identity(),
            **lot.counts,
            "pairs": by_kind,
            "held_out": {
                **card.ranking(positive, scores),
                "pairs": len(better),
                "preferred": float((better > worse).mean()),
            },
        }
        write_whole(folder / kinds.CARD, (json.dumps(about, indent=2) + "\n").encode())
        write_held_out(_sides(lot.held_out, CARD_SIDE if encoder is None else CARD_PAGES), folder)
        told = ", ".join(f"{kind} {_percent(one['preferred'])}" for kind, one in by_kind.items())
        return f"learned from {len(lot.training):,} pairs; of {len(better):,} others the page is preferred in: {told}"

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """One score, called as the classifier is."""
        return {name: pa.float64()}

    def group(self, name: str, folder: Path) -> Group:
        """The probability that a page is one as it was written and not a revision, of as many of both."""
        path, encoder = (folder / MODEL).resolve(), self._encoder()
        weights, _, sha256 = read_weights(path)
        if len(weights) != (PLACES if encoder is None else encoder.width):
            raise ValueError(f"{path} holds {len(weights)} weights, of other vectors: run jobs.train_classifier again")
        identity = {"sha256": sha256, **(encoder.identity if encoder else {})}
        return Group(name, (Signal(name, Score(path, sha256, encoder), pa.float64()),), identity)

    def _encoder(self) -> Encoder | None:
        return None if self.encoder is None else self.encoder_in(self.encoder)

    def _of_pages(self, pages: Pages, spool: Any) -> Lot:
        """Pages and their revisions; a revision that changes nothing that is read, or leaves nothing, is no pair."""
        read = functools.partial(read_text, characters=CHARACTERS)
        drawn = sample({True: ("text", pages)}, read, Sampling(self.most_pages, FEWEST, HELD_OUT), self.seed, spool)
        unchanged: Counter[str] = Counter(dict.fromkeys(self.revisions, 0))

        def pairs(examples: Sequence[Example], unseen: bool) -> Iterator[Pair]:
            for example, name in itertools.product(examples, self.revisions):
                text = drawn.content(example).decode()
                worse = revised(text, name, example.order, unseen)
                if worse.split() == text.split() or not worse.strip():
                    unchanged[name] += 1
                else:
                    yield Pair(name, text, worse)

        training, held_out = list(pairs(drawn.training, False)), list(pairs(drawn.held_out, True))
        return Lot(training, held_out, {**drawn.counts, "unchanged": dict(unchanged)})

    def _of_file(self) -> Lot:
        """The pairs of files; which are held out is decided by a hash of the better text."""
        pairs = read_pairs(self.pairs)
        apart = [is_held_out(pair.better, self.seed) for pair in pairs]
        training, held_out = (
            [pair for pair, out in zip(pairs, apart, strict=True) if out == side] for side in (False, True)
        )
        told = hashlib.sha256(json.dumps([pair[1:] for pair in training]).encode()).hexdigest()
        return Lot(training, held_out, {"trained_on": {"pairs": len(training)}, "trained_on_hash": {"pairs": told}})


@dataclass(frozen=True)
class Score:
    """The function of the signal. It travels to the workers as plain data; the weights are loaded there, once."""

    path: Path
    sha256: str
    encoder: Encoder | None

    def __call__(self, pages: PageBatch) -> Floats:
        """A probability in [0, 1], NaN for a page without a word; shape (pages,)."""
        weights, line = _loaded(self.path, self.sha256)
        return logistic(line[0] * margins(pages, weights, self.encoder) + line[1])


def page_ngrams(pages: PageBatch) -> tuple[Codes, Offsets]:
    """The place of every n-gram of the pages, and the first n-gram of each page."""
    return ngrams(*pages.once(lower_case_of), PLACES)


def margins(pages: PageBatch, weights: Floats, encoder: Encoder | None) -> Floats:
    """The score of each page on the scale of log-odds, NaN for one without words; shape (pages,).

    The mean weight of its n-grams: of roots of counts in place of shares a longer page had the larger sum.
    """
    if encoder is not None:
        return np.asarray(unit(encoder.of_pages(pages)) @ weights, np.float64)
    buckets, first = page_ngrams(pages)
    return sums(weights, buckets, first) / np.maximum(np.diff(first), 1)


def _margins(texts: Sequence[str], weights: Floats, encoder: Encoder | None) -> Floats:
    batches = [_batch(texts[at : at + PAGES_AT_A_TIME]) for at in range(0, len(texts), PAGES_AT_A_TIME)]
    return np.concatenate([margins(batch, weights, encoder) for batch in batches])


def _batch(texts: Sequence[str]) -> PageBatch:
    return PageBatch(pa.array(texts, pa.large_string()))


def learned(pairs: Sequence[Pair], encoder: Encoder | None, regularization: float) -> Floats:
    """The weights of a Bradley-Terry model of these pairs; shape (width of a vector,)."""
    row = {text: at for at, text in enumerate(dict.fromkeys(text for pair in pairs for text in pair[1:]))}
    better, worse = (np.array([row[pair[at]] for pair in pairs]) for at in (1, 2))
    if encoder is not None:
        return bradley_terry(dense(unit(encoder.of_texts(list(row)))), better, worse, regularization)
    rows, seen = shares(list(row))
    weights = np.zeros(PLACES)  # of what no text has the weight is 0, and finding that would take its time
    weights[seen] = bradley_terry(rows, better, worse, regularization)
    return weights


def shares(texts: Sequence[str]) -> tuple[Rows, Places]:
    """The share that each n-gram has of all of a text, and the places of those that some text has; every text has one."""
    found = [
        opened(bag)
        for at in range(0, len(texts), PAGES_AT_A_TIME)
        for bag in bags(*page_ngrams(_batch(texts[at : at + PAGES_AT_A_TIME])), PLACES)
    ]
    seen, places = np.unique(np.concatenate([one for one, _ in found]), return_inverse=True)
    values = np.concatenate([counts / counts.sum() for _, counts in found])
    sizes = np.array([len(one) for one, _ in found])
    first = np.cumsum(sizes) - sizes

    def times(weights: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values * weights[places], first), np.float64)

    def transposed_times(sides: Floats) -> Floats:
        return np.asarray(np.bincount(places, values * np.repeat(sides, sizes), len(seen)), np.float64)

    return Rows(len(seen), times, transposed_times), seen


def read_pairs(patterns: Sequence[Path]) -> list[Pair]:
    """The columns `better` and `worse` of parquet or JSON lines (.gz, .bz2, .zst too).

    Raises ValueError where a side is missing.
    """
    pairs: list[Pair] = []
    for file, table in tables(patterns, "pairs", ("better", "worse")):
        for column in ("better", "worse"):
            if not (pa.types.is_string(table[column].type) or pa.types.is_large_string(table[column].type)):
                raise ValueError(f"{column} in {file} is {table[column].type}, expected text")
        rows = [Pair("pairs", *sides) for sides in zip(table["better"].to_pylist(), table["worse"].to_pylist(), strict=True)]
        lame = [at for at, pair in enumerate(rows) if not ((pair.better or "").strip() and (pair.worse or "").strip())]
        if lame:
            raise ValueError(
                f"{file} has {len(lame):,} pairs with one side alone, the first in row {lame[0] + 1}: each pair has the "
                "text that is preferred under better and the other under worse"
            )
        pairs += rows
    return pairs


def read_weights(path: Path) -> tuple[Floats, Floats, str]:
    """The weights in a file, the line that calibrates them and the file's SHA-256. Raises ValueError for no such model."""
    found, sha256 = read_tensors(path, {"weights": [None], "calibration": [2]})
    return found["weights"], found["calibration"], sha256


@functools.cache
def _loaded(path: Path, sha256: str) -> tuple[Floats, Floats]:
    weights, line, found = read_weights(path)
    if found != sha256:
        raise ValueError(f"{path} has sha256 {found}, not {sha256}: it was changed while the job ran")
    return weights, line


def _by_kind(lot: Lot, right: Any) -> dict[str, dict[str, Any]]:
    """By revision: how many pairs there are, and in which share of those that are held out the page is preferred."""
    kinds_of = np.array([pair.kind for pair in lot.held_out])
    trained_on = Counter(pair.kind for pair in lot.training)
    return {
        kind: {
            "trained_on": trained_on[kind],
            "held_out": int((kinds_of == kind).sum()),
            "preferred": float(right[kinds_of == kind].mean()) if (kinds_of == kind).any() else None,
        }
        for kind in dict.fromkeys([*trained_on, *kinds_of.tolist()])
    }


def _sides(held_out: Sequence[Pair], most: int) -> list[Side]:
    """Held-out pages, and of each one revision, of all kinds by turns."""
    by_page: dict[str, list[str]] = {}
    for pair in held_out:
        by_page.setdefault(pair.better, []).append(pair.worse)
    pages = list(by_page.items())[:most]
    revisions = [several[at % len(several)] for at, (_, several) in enumerate(pages)]
    return [Side("pages", True, [page for page, _ in pages]), Side("revisions", False, revisions)]


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.0%}"
