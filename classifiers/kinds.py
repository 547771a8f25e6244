"""Kinds of learned signals: which there are, the module of each, and what every kind can be asked.

A kind's module has a class `Options`; under `classifiers:` it stands as `{name: {kind: options}}`. What the rest of the
system knows of a kind are the methods of that class.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from filters import stores
from filters.nearest import nearest
from filters.signals import Group

KINDS: Mapping[str, str] = {
    "fasttext": "classifiers.fasttext.kind",
    "kenlm": "classifiers.kenlm.kind",
    "hashing_tf": "classifiers.hashing_tf",
    "importance": "classifiers.importance",
    "ensemble": "classifiers.ensemble",
    "transformer": "classifiers.transformer",
    "topic": "classifiers.topic",
    "preference": "classifiers.preference",
    "criteria": "classifiers.criteria",
    "language_model": "classifiers.language_model",
    "judge": "classifiers.judge",
    "reading_vector": "classifiers.reading_vector",
}
"""Kind -> its module."""
CARD = "model.json"
"""Beside a trained model: what is known of it (`classifiers.card`)."""

Floats = npt.NDArray[np.float64]


class Page(NamedTuple):
    """A page to learn from; `domain`: its registrable domain, if it has one; `cluster`: a number that near copies share."""

    id: str
    text: str
    domain: str | None = None
    cluster: int | None = None


Pages = Iterable[Page]


class TrainingError(ValueError):
    """A model that cannot be trained from these pages; the message says why and what to do."""


class Options(BaseModel):
    """A mapping of the experiment file whose keys and types are known; nothing is converted, nothing unknown is let by."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )

    @classmethod
    def known_keys(cls) -> list[str]:
        """The keys as they stand in the file."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        if isinstance(given, cls):
            return given
        known = cls.known_keys()
        if not isinstance(given, Mapping):
            raise PydanticCustomError("mapping", "a mapping with {keys}", {"keys": ", ".join(known)})
        for key in given:
            if key not in known:
                raise PydanticCustomError("unknown_key", "{nearest}", {"key": key, "nearest": nearest(key, known)})
        return given


class Scorer(Options, ABC):
    """The options of a kind, and what is asked of it: all that jobs know of a learned signal."""

    def texts(self) -> dict[str, list[Any]]:
        """The files of text that the options name, by key."""
        return {}

    def good_key(self) -> str | None:
        """The key of those that show what is good: a share is kept from training, to evaluate models on."""
        return None

    def pool_key(self) -> str | None:
        """The key under which training takes pages of the pool, if it takes any."""
        return None

    def pool_pages(self) -> int:
        """How many of them it takes at most."""
        return 0

    def derived_from(self) -> list[str]:
        """The signals that its own are made of, where pages are not looked at: those must be measured first."""
        return []

    def derive(self, name: str, ranks: Sequence[Floats]) -> dict[str, Floats]:
        """The signals of a classifier of this name, from the ranks of each of `derived_from()`; NaN is not measured.

        ranks: in [0, 1] among the pages that may be chosen, one array of shape (pages,) a signal; so is every value.
        """
        raise NotImplementedError(f"{name} is not derived")

    def lower_is_better(self) -> bool:
        """Whether pages with lower values of its signals are the better ones."""
        return False

    def weigh_words(self, name: str, folder: Path, words: Sequence[str]) -> dict[str, Floats] | None:
        """What each word adds to the signals of a trained classifier; None where a page of one word tells that."""
        return None

    @property
    @abstractmethod
    def trained(self) -> bool:
        """Whether there is something to train; otherwise the model is used as it is."""

    def look_into_models(self) -> None:
        """Find what is wrong with models from elsewhere, before there is anything to score. Raises ValueError."""

    def lacks(self) -> str | None:
        """What this machine lacks to train it, in a sentence; None where it lacks nothing."""
        return None

    def left_out(self) -> str | None:
        """What it lacks, where it is to be left out of the experiment for that; else None."""
        return None

    @abstractmethod
    def identity(self) -> Any:
        """What decides the model besides pages and files: plain data, with the content of every file of settings."""

    @abstractmethod
    def train(self, texts: Mapping[str, Pages], folder: Path) -> str:
        """Write the model into the folder, its card and some held-out pages; a line about it for the terminal.

        `texts` has pages for the keys of `texts()` and for `pool_key()`. Raises TrainingError.
        """

    @abstractmethod
    def columns(self, name: str) -> dict[str, pa.DataType]:
        """The signals that a classifier of this name gives, before there is a model."""

    @abstractmethod
    def group(self, name: str, folder: Path) -> Group:
        """The signals as workers are sent them, loaded once here to find what is wrong. Raises ValueError."""


def options(kind: str) -> type[Scorer]:
    """The options of a kind. Raises ValueError for one that is not there, with the nearest that is."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind of classifier {kind!r}: {nearest(kind, list(KINDS))}")
    found: type[Scorer] = importlib.import_module(KINDS[kind]).Options
    return found


Item = TypeVar("Item")
Several = Annotated[list[Item], BeforeValidator(lambda given: given if isinstance(given, list) else [given])]
"""One value stands for a list of one, as in `from: crawl/*.warc.gz`."""

Seed = Annotated[int, Field(ge=0, lt=1 << 31)]
"""What every library that draws takes as a seed."""


def _path(given: Any, found: Callable[[str], Path]) -> Any:
    if isinstance(given, str):
        if not given.strip() or "\0" in given:
            raise ValueError(f"expected a path, got {given!r}")
        return found(given)
    if isinstance(given, Path):
        return given
    raise PydanticCustomError("path", "a path")


def _copied(given: str) -> Path:
    """The path, or a local copy of what lies in a store."""
    try:
        return stores.local(given)
    except ValueError:
        raise
    except Exception as error:  # every store raises errors of its own
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{given} cannot be copied ({what}); check the address and your credentials") from error


LocalPath = Annotated[Path, BeforeValidator(lambda given: _path(given, _copied))]
"""A file or folder that some library opens by its name: what lies in a store is copied to this machine's scratch."""

StoredPath = Annotated[Path, BeforeValidator(lambda given: _path(given, stores.at))]
"""A folder of an experiment, on this machine or in a store."""


class IdColumn(Options):
    """Ids that restart in every file."""

    column: str = Field(examples=["id"])
    """The column that holds them."""
    per: Literal["shard"] = Field(examples=["shard"])
    """With the file's name before them they are told apart."""


class Columns(Options):
    """Files whose kind or columns are said: one pattern under its kind, and what holds the page."""

    parquet: str | None = Field(default=None, examples=["data/*.parquet"])
    """Which files, where they are parquet: a pattern."""
    jsonl: str | None = Field(default=None, examples=["data/*.jsonl.zst"])
    """Which files, where they are JSON lines."""
    warc: str | None = Field(default=None, examples=["data/*.warc.gz"])
    """Which files, where they are WARC or WET; they have no columns."""
    txt: str | None = Field(default=None, examples=["books/*.txt"])
    """Which files, where they are plain text."""
    paths: str | None = Field(default=None, examples=["warc.paths.gz"])
    """A list of paths, as Common Crawl publishes them, one a line."""
    index: str | None = Field(default=None, examples=["cc-index/*.parquet"])
    """Files of Common Crawl's columnar index: the records are read that its rows name (`pages.from` alone); a name in
    `.paths.gz` is a list of them."""
    rules: dict[str, Any] | None = Field(default=None, examples=["{content_languages: {in: [eng]}}"])
    """Which rows of an index: conditions on its columns, as under `rules:` of the experiment, without shares."""
    at_once: int | None = Field(default=None, ge=1, le=64, examples=["4"])
    """How many requests a task makes at once for records of an index; 2 if it is not said."""
    text: str | None = Field(default=None, examples=["content"])
    """The column that holds the text; `text` if it is not named. A dot reaches into structs and objects."""
    id: str | IdColumn | None = Field(default=None, examples=["uid"])
    """The column that holds the page's id; `none` to know pages by their place; `{column: COLUMN, per: shard}` for ids that
    restart in every file. `id` if it is not named."""
    url: str | None = Field(default=None, examples=["metadata.url"])
    """The column that holds the address; `url` if it is not named, else `metadata.url` where there is one."""
    records: list[Literal["response", "resource"]] | None = Field(default=None, examples=["[response, resource]"])
    """Which WARC records are pages."""
    page: Literal["file", "paragraph"] | None = Field(default=None, examples=["paragraph"])
    """What of plain text is a page."""
    prefix: str | None = Field(default=None, examples=["https://data.commoncrawl.org/"])
    """What stands before every path of a list, or before the names of files in an index."""
    first: int | None = Field(default=None, ge=1, examples=["100"])
    """How many paths are taken from the beginning of a list; of an index, records by file and place."""
    hashed: int | None = Field(default=None, ge=1, examples=["100"])
    """How many paths are taken from a list, or records of an index, by the hash of their names: a sample."""

    @model_validator(mode="after")
    def _one_pattern(self) -> "Columns":
        patterns = {"parquet": self.parquet, "jsonl": self.jsonl, "warc": self.warc, "txt": self.txt}
        patterns |= {"paths": self.paths, "index": self.index}
        if sum(pattern is not None for pattern in patterns.values()) != 1:
            raise ValueError(f"a mapping names one pattern under {', '.join(patterns)}")
        return self


def _source(given: Any) -> Any:
    if isinstance(given, Mapping):
        return Columns.model_validate(given).model_dump(exclude_none=True)
    if not isinstance(given, str) or not given.strip():
        raise PydanticCustomError("source", "a pattern such as crawl/*.warc.gz or {parquet: PATTERN, text: COLUMN}")
    return given


Source = Annotated[str | dict[str, Any], BeforeValidator(_source)]
"""Files of text: a pattern, or a mapping as `Columns` has it."""

PagesOrFiles = Annotated[
    Annotated[Literal["pages"], Tag("pages")] | Annotated[Several[Source], Tag("files")],
    Discriminator(lambda given: "pages" if given == "pages" else "files"),
]
"""The sample of the pool, or files."""
