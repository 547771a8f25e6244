"""What `signals: duplicates:` says, typed; presets of how near duplicates are found are files in conf/duplicates/."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pyarrow as pa
from pydantic import BeforeValidator, Field, TypeAdapter, model_validator

from classifiers.kinds import LocalPath, Options, Several, StoredPath
from filters.duplicates.curve import curve, solve
from filters.duplicates.shingles import Shingling
from filters.nearest import nearest
from filters.strict_yaml import read_yaml_file
from jobs.parts.session import HOME

Count = Annotated[int, Field(ge=1)]
Similarity = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, le=1)]
PRESETS = HOME / "conf" / "duplicates"
CHARACTERS = "characters"
"""What `prefer:` calls the length of a page, whose signal is `text_characters`."""

COLUMNS: dict[str, pa.DataType] = {
    "exact_duplicate_rank": pa.int64(),
    "url_duplicate_rank": pa.int64(),
    "near_duplicate_similarity": pa.float64(),
    "near_duplicate_cluster": pa.string(),
    "near_duplicate_cluster_size": pa.int64(),
    "repeated_line_char_fraction": pa.float64(),
}
"""The signals of the group, with their types."""
SCOPED = [name for name in COLUMNS if name != "repeated_line_char_fraction"]
"""Those that depend on which pages may be copies of each other."""


def within(signal: str, scope: str) -> str:
    """What a signal is called in a scope that is not the first."""
    return f"{signal}_within_{scope}"


class Near(Options):
    """How near duplicates are found: shingles of pages, and bands × rows of their MinHash, given or solved."""

    unit: Literal["words", "characters"] = "words"
    """What a shingle is a run of."""
    size: Count = 5
    """How many of them."""
    bands: Count | None = Field(default=None, examples=[14])
    """Groups of hashes; pages that agree on all of one are compared."""
    rows: Count | None = Field(default=None, examples=[8])
    """Hashes in each band."""
    threshold: Similarity | None = Field(default=None, examples=[0.8])
    """In place of bands and rows, which the next two are then needed to solve: how alike pairs must be to be found."""
    recall: Annotated[float, Field(gt=0, lt=1)] | None = Field(default=None, examples=[0.95])
    """With what probability they are found."""
    hashes: Count | None = Field(default=None, examples=[128])
    """How many hashes that may take at most."""
    most_pages: Count | None = Field(default=None, examples=["100_000"])
    """More pages than these are refused."""

    @model_validator(mode="after")
    def _given_or_solved(self) -> Self:
        given = [self.bands, self.rows]
        solved = [self.threshold, self.recall, self.hashes]
        if (None in given) == (None in solved) or (any(given) and any(solved)):
            raise ValueError("either bands and rows are needed, or threshold, recall and hashes to solve them from")
        if self.threshold and self.recall and self.hashes:
            solve(self.threshold, self.recall, self.hashes)
        return self

    @property
    def banding(self) -> tuple[int, int]:
        """Bands and rows."""
        if self.bands and self.rows:
            return self.bands, self.rows
        return solve(self.threshold or 1, self.recall or 0, self.hashes or 0)

    @property
    def shingling(self) -> Shingling:
        """How pages are cut."""
        return Shingling(self.unit, self.size)

    @property
    def curve(self) -> str:
        """How often pairs of each similarity are found, in lines of text."""
        return curve(*self.banding)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the bands of a page."""
        bands, rows = self.banding
        return {"unit": self.unit, "size": self.size, "bands": bands, "rows": rows}


def _preset(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    file = PRESETS / f"{given}.yaml"
    if not file.is_file():
        raise ValueError(f"unknown preset {given!r}: {nearest(given, sorted(one.stem for one in PRESETS.glob('*.yaml')))}")
    return read_yaml_file(file)


class Duplicates(Options):
    """The group `duplicates`."""

    near: Annotated[Near, BeforeValidator(_preset)] = Field(
        default="fineweb", validate_default=True, examples=["nemo", "{size: 5, threshold: 0.8, recall: 0.95, hashes: 128}"]
    )
    """A preset of conf/duplicates/, or its keys, below."""
    scope: Several[Literal["all", "language", "domain", "month"]] = Field(
        default=["all"], min_length=1, examples=["month", "[all, month]"]
    )
    """Pages are copies of each other within all pages, or within those of one language, domain or month of crawling. Of
    several, which rules and sweeps can compare, those after the first have signals of their own, such as
    `near_duplicate_similarity_within_month`."""
    prefer: Several[str] = Field(default=[CHARACTERS], examples=["[quality, characters]"])
    """Which page of several copies is the first: that with the highest value of these signals, one after the other
    (`characters`: the longest), then that with the smallest id."""
    least: Similarity = 0.5
    """Pairs less alike than this are not kept: the lowest threshold that rules can ask for."""
    threshold: Similarity = 0.8
    """Of `near_duplicate_cluster` and its size, and of the copies that go to one fold."""
    held_out: Similarity = 0.8
    """A page this much alike to a held-out one leaves the pool."""
    seen_on_domains: Count = 10
    """A line counts as repeated if it stands on so many other domains."""
    removes: Several[Share] = Field(default=[0.0, 0.9], min_length=2, max_length=2, examples=["[0.1, 0.6]"])
    """The share of pages that removing copies at `threshold` is expected to take: an alarm where it takes another."""
    against: Several[StoredPath] = Field(default=[], examples=["[out/older]"])
    """Output folders of experiments that deduplicated other pages: pages of those come before any of these."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > min(self.threshold, self.held_out):
            raise ValueError(f"least must be at most threshold and held_out, got {self.least}")
        if len(set(self.prefer)) < len(self.prefer):
            raise ValueError("prefer: a signal is there twice")
        if len(set(self.scope)) < len(self.scope):
            raise ValueError("scope: a scope is there twice")
        return self

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """The signals, with their types."""
        further = {within(name, scope): COLUMNS[name] for scope in self.scope[1:] for name in SCOPED}
        return COLUMNS | further

    @property
    def searched(self) -> str:
        """The scope in which pairs are looked for: languages are not known yet."""
        return self.scope[0] if self.scope in (["domain"], ["month"]) else "all"

    @property
    def preferred(self) -> list[str]:
        """The signals of `prefer`, by their own names."""
        return ["text_characters" if name == CHARACTERS else name for name in self.prefer]


class DropLines(Options):
    """The edit that cuts lines of many sites out of pages; it needs `signals: {duplicates: {}}`, which finds them."""

    seen_on_domains: Count = 10
    """A line of three words or more goes if it stands on so many other domains; at least as many as
    `signals.duplicates.seen_on_domains`."""
    most: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A page that would lose more than this share of its lines' characters stays as it is, and is counted."""


def _as_tuple(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else (given,) if isinstance(given, str) else given


class BenchmarkFile(Options):
    """A benchmark's items: rows of JSON lines (.gz, .bz2, .zst)."""

    file: Annotated[LocalPath, Field(examples=["bench/arc.jsonl"])]
    """Where they are."""
    fields: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(default=(), examples=["[query, choices]"])
    """Which of their fields hold text; without any all that do."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,79}$")] | None = Field(default=None, examples=["arc"])
    """Of the column `contamination_<name>`; without one the beginning of the file's name."""

    @property
    def called(self) -> str:
        """The name, given or not."""
        return self.name or self.file.name.partition(".")[0].replace("-", "_")


class Contamination(Options):
    """The group `contamination`."""

    benchmarks: Several[
        Annotated[BenchmarkFile, BeforeValidator(lambda given: {"file": given} if isinstance(given, str) else given)]
    ] = Field(min_length=1, examples=["[bench/piqa.jsonl.gz, {file: bench/arc.jsonl, fields: [query]}]"])
    """Files of items, or mappings, below."""
    common_domains: Count = 10
    """An n-gram that stands on more domains than these is common speech and not counted. GPT-3 left out those of more than
    10
    pages (Brown et al. 2020, appendix C), which excuses a benchmark that one site has often."""

    @model_validator(mode="after")
    def _different(self) -> Self:
        names = [one.called for one in self.benchmarks]
        for one in self.benchmarks:
            if not one.file.is_file():
                raise ValueError(f"there is no benchmark file {one.file}")
            if names.count(one.called) > 1:
                raise ValueError(f"two benchmarks are called {one.called!r}: name one of them otherwise with name:")
        return self

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """Its signals, with their types."""
        return {f"contamination_{one.called}": pa.float64() for one in self.benchmarks}


SIGNALS: Mapping[str, TypeAdapter[Any]] = {
    "duplicates": TypeAdapter(dict[Literal["signals"], dict[Literal["duplicates"], Duplicates]]),
    "contamination": TypeAdapter(dict[Literal["signals"], dict[Literal["contamination"], Contamination]]),
}
"""Groups whose options are models, and how each is validated where it stands in the file."""


def typed(group: str, given: Mapping[str, Any] | None) -> Any:
    """The options of such a group. Raises ValidationError."""
    return SIGNALS[group].validate_python({"signals": {group: given or {}}})["signals"][group]
