"""What a page is about, as the number of the nearest of some centres: spherical k-means (Dhillon and Modha 2001).

The centres are found by Spark ML on a sample. A page's vector has the root of how often each of its words is there, hashed
and weighed by how few pages of the sample have it (tf-idf); or it is the mean of an encoder's last states. Which words a
cluster shares is on the card: a number alone says nothing, and no cluster need be what a person calls a topic.
"""

import functools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from classifiers import card, encoders, kinds
from classifiers.bags import VECTOR, bags, lower_case_of, opened, read_tensors, sparse, sums, write_tensors
from classifiers.encoders import Encoder, read_text, unit
from classifiers.examples import Example, Sample, Sampling, sample
from classifiers.kinds import Floats, LocalPath, Pages, PagesOrFiles, Seed, TrainingError
from classifiers.transformer import folder_digest
from filters.files import write_whole
from filters.kernels.bags import root_sums
from filters.kernels.hashing import ngrams
from filters.kernels.text import Codes, Offsets
from filters.pages import PageBatch
from filters.signals import Group, Signal

MODEL = "model.safetensors"
PLACES = 1 << 18
"""As many as Spark's HashingTF; centres are kept for those alone that have a weight."""
FEWEST_PAGES = 3
"""Of the sample that a word is on: one that is on fewer draws no two others together."""
HELD_OUT = 0.1
TITLES, TITLE_LENGTH, WORDS = 5, 80, 10
TOLD_BYTES = 2000
"""Of each page, in which titles and telling words are looked for."""
VECTORS = pa.schema([("place", pa.int64()), ("features", VECTOR)])

Fit = Callable[[Path, int, int], Floats]
"""Finds this many centres of a file of VECTORS with this seed; shape (centres, size of a vector), perhaps fewer centres."""


@dataclass(frozen=True)
class Centres:
    """What each place of a vector weighs (places,), and unit vectors of places with a weight (clusters, such places).

    Each number of an encoder's vectors weighs 1.
    """

    weights: Floats
    directions: Floats

    @functools.cached_property
    def row_of(self) -> Codes:
        """The row of `by_row` for a word in each place; shape (places,)."""
        rows = np.full(len(self.weights), self.directions.shape[1], np.int32)
        rows[self.weights > 0] = np.arange(self.directions.shape[1])
        return rows

    @functools.cached_property
    def by_row(self) -> Floats:
        """What a word adds to the product with each centre; in the last row 0, for words without weight."""
        weighed = self.weights[self.weights > 0, None] * self.directions.T
        return np.concatenate([weighed, np.zeros((1, len(self.directions)))])


class Options(encoders.Options):
    """Which of some clusters of pages a page is nearest to, by its words or an encoder; found by Spark ML on a sample."""

    clusters: Annotated[int, Field(ge=2, le=1000)] = 50
    """How many centres are looked for."""
    text: PagesOrFiles = "pages"
    """What they are looked for in: `pages` (a sample of the pool, held-out pages apart) or files."""
    most_pages: Annotated[int, Field(ge=20)] = 20_000
    """Pages that are looked at at most."""
    seed: Seed = 0
    """Decides which pages are drawn and held out, and where the centres begin."""
    encoder: LocalPath | None = Field(default=None, examples=["models/minilm"])
    """The folder of an encoder whose mean states are clustered in place of hashed words."""

    @model_validator(mode="after")
    def _of_encoder(self) -> Self:
        for key in ("tokens", "characters"):
            if self.encoder is None and key in self.model_fields_set:
                raise ValueError(f"{key} belongs to an encoder, and none is named")
        return self

    @property
    def trained(self) -> bool:
        """Always."""
        return True

    def look_into_models(self) -> None:
        """The encoder loads, where there is one."""
        self._encoder()

    def identity(self) -> Any:
        """What decides the centres besides the pages."""
        settings = {name: getattr(self, name) for name in ("clusters", "most_pages", "seed")}
        if self.encoder is None:
            return {**settings, "places": PLACES}
        return {**settings, "encoder": folder_digest(self.encoder), "tokens": self.tokens, "characters": self.characters}

    def train(self, texts: Mapping[str, Pages], folder: Path) -> str:
        """It takes Spark to find the centres: `learn` is given what does."""
        raise TrainingError("topics are found by jobs.train_classifier")

    def learn(self, texts: Mapping[str, Pages], folder: Path, fit: Fit) -> str:
        """Write the centres that `fit` finds among the pages, and the card. Raises TrainingError."""
        folder.mkdir(parents=True, exist_ok=True)
        encoder = self._encoder()
        how = Sampling(self.most_pages, max(20, self.clusters), HELD_OUT, told_bytes=TOLD_BYTES)
        read = word_bags if encoder is None else functools.partial(read_text, characters=self.characters)
        with (
            tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside,
            (Path(aside) / "spool").open("w+b") as spool,
        ):
            drawn = sample({True: ("text", texts["text"])}, read, how, self.seed, spool)
            weights = place_weights(drawn) if encoder is None else np.ones(encoder.width)
            shown = list(_hashed(drawn, weights) if encoder is None else _encoded(drawn, encoder))
            _write([vector for _, vector in shown], Path(aside) / "vectors.parquet")
            found = unit(fit(Path(aside) / "vectors.parquet", self.clusters, self.seed))
            centres = Centres(weights, found)
            held_out = _cosines_of([drawn.text(example) for example in drawn.held_out], centres, encoder)
            near = np.array([_cosines_of_vector(vector, found) for _, vector in shown])
            topics = _told(near, [drawn.text(example) for example, _ in shown], centres, encoder)
        about = {
            "sha256": write_tensors(folder / MODEL, {"weights": weights, "directions": found}),
            **self.identity(),
            **drawn.counts,
            "held_out": _measured(held_out),
            "topics": topics,
        }
        write_whole(folder / kinds.CARD, (json.dumps(about, indent=2) + "\n").encode())
        measured = about["held_out"]
        return (
            f"found {len(found)} clusters of {len(shown):,} pages; mean cosine on {measured['pages']:,} others: to the "
            f"nearest centre {_short(measured['mean_cosine'])}, to the next {_short(measured['mean_cosine_to_next'])}"
        )

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """One whole number, called as the classifier is."""
        return {name: pa.int64()}

    def group(self, name: str, folder: Path) -> Group:
        """The number of the nearest centre; null for a page without a word that the sample had."""
        path, encoder = (folder / MODEL).resolve(), self._encoder()
        centres, sha256 = read_centres(path)
        if encoder is not None and len(centres.weights) != encoder.width:
            raise ValueError(f"{path} holds centres of another width than the encoder's: run jobs.train_classifier again")
        if encoder is None and len(centres.weights) != PLACES:
            raise ValueError(f"{path} holds centres of an encoder's vectors, not of words: run jobs.train_classifier again")
        identity = {"sha256": sha256, **(encoder.identity if encoder else {})}
        return Group(name, (Signal(name, Nearest(path, sha256, encoder), pa.int64()),), identity)

    def _encoder(self) -> Encoder | None:
        return None if self.encoder is None else self.encoder_in(self.encoder)


@dataclass(frozen=True)
class Nearest:
    """The function of the signal. It travels to the workers as plain data; the centres are loaded there, once."""

    path: Path
    sha256: str
    encoder: Encoder | None

    def __call__(self, pages: PageBatch) -> pa.Array:
        """The centre with the largest cosine, of equal ones the first; shape (pages,), int64."""
        found = cosines(pages, _loaded(self.path, self.sha256), self.encoder)
        unknown = np.isnan(found[:, 0])
        return pa.array(np.where(unknown[:, None], 0.0, found).argmax(axis=1), pa.int64(), mask=unknown)


def words_of(pages: PageBatch) -> tuple[Codes, Offsets]:
    """The place of every word of the pages, and the first word of each page."""
    both, first = ngrams(*pages.once(lower_case_of), PLACES)
    after = np.arange(len(both)) - np.repeat(first[:-1], np.diff(first))  # words and pairs of words take turns
    return both[after % 2 == 0], np.concatenate([[0], np.cumsum((np.diff(first) + 1) // 2)])


def word_bags(pages: PageBatch) -> list[bytes]:
    """What is learned from each page; no bytes of one without a word."""
    return bags(*words_of(pages), PLACES)


def cosines(pages: PageBatch, centres: Centres, encoder: Encoder | None) -> Floats:
    """The cosine between each page and each centre, NaN for a page without a known word; shape (pages, clusters)."""
    if encoder is not None:
        return np.asarray(unit(encoder.of_pages(pages)) @ centres.directions.T, np.float64)
    terms, first = words_of(pages)
    lengths = np.sqrt(np.nan_to_num(sums(centres.weights**2, terms, first)))
    products = root_sums(centres.row_of[terms], first, centres.by_row)
    return np.asarray(products / np.where(lengths > 0, lengths, np.nan)[:, None], np.float64)


def read_centres(path: Path) -> tuple[Centres, str]:
    """The centres in a file, and its SHA-256. Raises ValueError for what is no such model."""
    found, sha256 = read_tensors(path, {"weights": [None], "directions": [None, None]})
    if found["directions"].shape[1] != np.count_nonzero(found["weights"]):
        raise ValueError(f"{path} holds vectors of another width than weights: it is another kind of model")
    return Centres(**found), sha256


@functools.cache
def _loaded(path: Path, sha256: str) -> Centres:
    centres, found = read_centres(path)
    if found != sha256:
        raise ValueError(f"{path} has sha256 {found}, not {sha256}: it was changed while the job ran")
    return centres


def _cosines_of(texts: list[str], centres: Centres, encoder: Encoder | None) -> Floats:
    return cosines(PageBatch(pa.array(texts, pa.large_string())), centres, encoder)


def _measured(found: Floats) -> dict[str, Any]:
    """How near held-out pages are to their centre and to the next, by their cosines; shape (pages, clusters)."""
    known = np.sort(found[~np.isnan(found[:, 0])], axis=1)
    return {
        "pages": len(known),
        "without_known_words": len(found) - len(known),
        "mean_cosine": float(known[:, -1].mean()) if len(known) else None,
        "mean_cosine_to_next": float(known[:, -2:][:, 0].mean()) if len(known) else None,
    }


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _told(near: Floats, texts: list[str], centres: Centres, encoder: Encoder | None) -> list[dict[str, Any]]:
    """What the card says of each cluster: its pages, the words that are its own, first lines of the pages nearest to it.

    near: the cosines of the pages that were looked at, whose beginnings `texts` are; shape (pages, clusters).
    """
    words, mine = card.common_words(texts), near.argmax(axis=1)
    of_words = _cosines_of(words, centres, encoder)
    own = of_words - of_words.mean(axis=1, keepdims=True)
    topics = []
    for at in range(near.shape[1]):
        pages = np.flatnonzero(mine == at)
        inmost = pages[np.argsort(-near[pages, at], kind="stable")][:TITLES]
        telling = card.telling(words, own[:, at])["highest"][:WORDS]
        titles = [title(texts[row]) for row in inmost.tolist()]
        topics.append({"pages": len(pages), "words": [word for word, _ in telling], "titles": titles})
    return topics


def title(text: str) -> str:
    """The beginning of a text's first line that has a letter or digit."""
    return next((line.strip()[:TITLE_LENGTH] for line in text.splitlines() if any(map(str.isalnum, line))), "")


def place_weights(drawn: Sample) -> Floats:
    """Spark's IDF of each place, log((pages + 1) / (pages with it + 1)), 0 where too few have it; shape (places,)."""
    pages = np.zeros(PLACES)
    for example in drawn.training:
        pages[opened(drawn.content(example))[0]] += 1
    weights = np.where(pages >= FEWEST_PAGES, np.log((len(drawn.training) + 1) / (pages + 1)), 0.0)
    if not weights.any():
        raise TrainingError("no word is on three pages and not on all: pages that differ are needed to find topics")
    return np.asarray(weights, np.float64)


def _hashed(drawn: Sample, weights: Floats) -> Iterator[tuple[Example, dict[str, Any]]]:
    """The examples to train on that have a word with a weight, each with its vector of the places with a weight."""
    known = np.flatnonzero(weights)
    for example in drawn.training:
        places, counts = opened(drawn.content(example))
        some = weights[places] > 0
        if some.any():
            values = np.sqrt(counts[some]) * weights[places[some]]
            yield example, sparse(len(known), np.searchsorted(known, places[some]).astype(np.int32), values)


def _encoded(drawn: Sample, encoder: Encoder) -> Iterator[tuple[Example, dict[str, Any]]]:
    vectors = encoder.of_texts([drawn.content(example).decode() for example in drawn.training])
    yield from ((example, {"type": 1, "values": vector}) for example, vector in zip(drawn.training, vectors, strict=True))


def _write(vectors: Sequence[dict[str, Any]], path: Path) -> None:
    """Write rows of VECTORS in the order they are shown in."""
    rows = [{"place": place, "features": vector} for place, vector in enumerate(vectors)]
    pq.write_table(pa.Table.from_pylist(rows, VECTORS), path)


def _cosines_of_vector(vector: Mapping[str, Any], directions: Floats) -> Floats:
    """The cosine between a vector and unit ones of its places; shape (directions,)."""
    values = vector["values"]
    return np.asarray(directions[:, vector.get("indices", slice(None))] @ values / np.linalg.norm(values), np.float64)
