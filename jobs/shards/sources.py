"""What an experiment names as text: patterns, or mappings that say what foreign files hold or where a list of paths lies.

The hard idea: a slip is found before any work. What the mappings say is checked without a look at any file
(`check_patterns`); then each local table is looked into as far as its first row, and of those in a store the first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pyarrow as pa

from filters.nearest import nearest
from jobs.parts.refusals import ExperimentError
from jobs.shards import index
from jobs.shards.locations import (
    COMPRESSED,
    ENDINGS,
    Told,
    expand,
    expand_list,
    file_name,
    has_unknown_ending,
    is_remote,
    kind,
    local_copy,
    one_name,
    shard_names,
    without_secrets,
)
from jobs.shards.reader import read_shard
from jobs.shards.reasons import Page, ReadOptions, ShardReport
from jobs.shards.rows import first_identity, open_parquet

COLUMNS = ("text", "id", "url")
LIST = ("prefix", "first", "hashed")
AT_ONCE = 2
"""Requests that a task makes at once: a cluster has many tasks, and a crawl's server many readers."""
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "parquet": COLUMNS,
    "jsonl": COLUMNS,
    "warc": ("records",),
    "txt": ("page",),
    "paths": (*LIST, *COLUMNS, "records", "page"),
    "index": (*LIST, "rules", "at_once", "records"),
}
"""What a mapping names files by, and what else it may say then."""
SELECTS = "pages.from"
"""The key under which rows of an index may stand for pages (`jobs.parts.selection`)."""
LARGE_PARQUET = 1 << 30
"""Bytes above which a parquet file is read in several parts, so that no task is a hundred times as long as another."""


@dataclass(frozen=True)
class Shard:
    """One file of text, or a slice of a large one, and how it is read."""

    location: str
    options: ReadOptions
    file: str
    """Its name in the tables."""
    told: Told
    """Bytes and tag, where someone says."""

    @property
    def size(self) -> int | None:
        """Bytes; None where nobody says."""
        return self.told.size

    @property
    def name(self) -> str:
        """What its part is called."""
        groups = self.options.row_groups
        return f"{self.file}.{groups[0]:05d}" if groups else self.file

    @property
    def kind(self) -> str:
        """warc, parquet, jsonl or txt."""
        return self.options.kind or kind(self.location)

    @property
    def how(self) -> str:
        """What is told of the way in which it is read, where there are several."""
        how, told = self.options, ""
        if self.kind in ("parquet", "jsonl"):
            per_shard = " per shard" if how.id_per_shard else ""
            told = f", columns {how.text_column} {how.id_column or 'none'}{per_shard} {how.url_column}"
        return told + ", resource records" * how.resources + ", paragraphs" * how.paragraphs

    @property
    def said(self) -> str | None:
        """What a store says of its content: bytes and tag, or its address alone; None on a disk, where bytes are hashed."""
        if not is_remote(self.location):
            return None
        told = [] if self.size is None else [f"{self.size} bytes"]
        return " ".join([*told, *([f"tag {self.told.tag}"] if self.told.tag else [])]) or without_secrets(self.location)

    def identity(self, content: str) -> str:
        """What tells it from another of its name: its content, and how it is read."""
        return f"{self.file} {content}{self.how}"


@dataclass(frozen=True)
class _Source:
    """One item of a list such as `pages.from`: a pattern, or a list of paths, and how its files are read."""

    pattern: str
    options: ReadOptions
    paths: Mapping[str, Any] | None = None

    def files(self) -> dict[str, Told]:
        """Every file, with what is said of it."""
        return expand([self.pattern]) if self.paths is None else expand_list(self.pattern, **self.paths)


def check_patterns(asked: Sequence[Any], key: str) -> None:
    """Refuse what such a list cannot mean, without a look at any file. Raises ExperimentError, one sentence."""
    for item in asked:
        _source(item, ReadOptions(), key)
        if is_selection(item):
            index.rules_of(item, key)
        if isinstance(item, str) and has_unknown_ending(item):
            raise ExperimentError(
                f"{key}: {item!r} is of no kind that is read: names end in {', '.join(ENDINGS)}, with "
                f"{', '.join(COMPRESSED)} or plain; a file of another name is given as {{jsonl: PATTERN}} or the like"
            )


def shards(asked: Sequence[Any], options: ReadOptions, key: str) -> list[Shard]:
    """Every shard that is named, each once, by name.

    Raises ExperimentError, which names the key, for what cannot be read.
    """
    sources = [_source(item, options, key) for item in asked if not is_selection(item)]
    if len(sources) < len(asked) and key != SELECTS:
        raise ExperimentError(f"{key}: an index: selects pages, which {SELECTS} alone takes: name files")
    if asked and not sources:
        return []
    try:
        found = _found(sources)
        _look_into(found)
        return sorted((part for shard in found for part in _slices(shard)), key=lambda shard: shard.name)
    except (ValueError, OSError) as error:
        raise ExperimentError(f"{key}: {error}") from error


def is_selection(item: Any) -> bool:
    """Whether an item names rows of an index rather than files."""
    return isinstance(item, Mapping) and "index" in item


def selection_options(item: Mapping[str, Any], options: ReadOptions, key: str) -> ReadOptions:
    """How the records are read that an item of `pages.from` selects. Raises ExperimentError for what it cannot mean."""
    listing = _listing(item, f"{key}.index")
    how = _source(item, options, key).options
    return replace(how, kind="index", prefix=listing.get("prefix", ""), at_once=item.get("at_once", AT_ONCE))


def _found(sources: Sequence[_Source]) -> list[Shard]:
    files: dict[str, tuple[str, Told, ReadOptions]] = {}
    for source in sources:
        for location, told in source.files().items():
            if one_name(location) in files:
                raise ValueError(f"{location} is named twice")
            files[one_name(location)] = location, told, source.options
    if not files:
        raise ValueError("no shards are named; give paths, globs or addresses")
    names = shard_names([location for location, _, _ in files.values()])
    found = [Shard(location, how, names[location], told) for location, told, how in files.values()]
    for shard in found:
        if file_name(shard.location).lower().removesuffix(".gz").endswith(".arc"):
            raise ValueError(
                f"{shard.location} is an ARC file, the format before WARC; convert it, e.g. with warcio recompress"
            )
    return found


def _look_into(found: Sequence[Shard]) -> None:
    """Raise ValueError for a table that lacks a column, and for two whose ids begin to count at the same number."""
    counts: dict[tuple[str, Any], Shard] = {}
    asked: set[tuple[ReadOptions, str]] = set()
    for shard in found:
        known = shard.kind
        if known not in ("parquet", "jsonl") or (is_remote(shard.location) and not _worth_a_copy(shard, asked)):
            continue
        first = _first_identity(shard, known)
        if shard.options.id_per_shard or not _counts(first):
            continue
        one = counts.setdefault((type(first).__name__, first), shard)
        if one is not shard:
            column = shard.options.id_column
            raise ValueError(
                f"ids seem to restart in every file: {one.location} and {shard.location} both begin with {first!r}; give "
                f"{{{known}: PATTERN, id: {{column: {column}, per: shard}}}}, or id: none to know pages by their place"
            )


def _worth_a_copy(shard: Shard, asked: set[tuple[ReadOptions, str]]) -> bool:
    """Whether this is the first table of its kind in a store, and none of the large ones."""
    if (shard.options, shard.kind) in asked:
        return False
    asked.add((shard.options, shard.kind))
    return (shard.size or 0) <= LARGE_PARQUET


@lru_cache(maxsize=1 << 16)
def _first_identity(shard: Shard, known: str) -> Any:
    with local_copy(shard.location) as path:
        return first_identity(path, known == "parquet", shard.file, shard.options)


def _counts(identity: Any) -> bool:
    """Whether an id is a whole number, as those are that restart in every file."""
    return (isinstance(identity, int) and not isinstance(identity, bool)) or (
        isinstance(identity, str) and identity.isascii() and identity.isdigit()
    )


def _slices(shard: Shard) -> list[Shard]:
    """The shard, or slices of whole row groups of a parquet file that is too large for one part."""
    if shard.size is None or shard.size <= LARGE_PARQUET or shard.kind != "parquet":
        return [shard]
    try:
        with open_parquet(shard.location) as file:
            sizes = [file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups)]
    except (OSError, pa.ArrowException):
        return [shard]  # damage, which reading tells
    most = sum(sizes) * LARGE_PARQUET / shard.size
    starts, held = [0], 0
    for group, size in enumerate(sizes):
        if held and held + size > most:
            starts.append(group)
            held = 0
        held += size
    ends = [*starts[1:], len(sizes)]
    return [
        replace(shard, options=replace(shard.options, row_groups=slice_)) for slice_ in zip(starts, ends, strict=True)
    ] or [shard]


def _source(item: Any, options: ReadOptions, key: str) -> _Source:
    """A pattern as it is, or a mapping such as `{parquet: PATTERN, text: content, id: none}`."""
    if isinstance(item, str):
        return _Source(item, options)
    if not isinstance(item, Mapping):
        raise ExperimentError(
            f"{key} takes patterns or mappings such as {{parquet: data/*.parquet, text: content}}, got {item!r}"
        )
    known = [*OPTIONS, *dict.fromkeys(name for names in OPTIONS.values() for name in names)]
    for name in item:
        if name not in known:
            raise ExperimentError(f"unknown key '{key}.{name}': {nearest(str(name), known)}")
    named = [name for name in OPTIONS if name in item]
    if len(named) != 1:
        raise ExperimentError(f"{key}: a mapping names one pattern under {', '.join(OPTIONS)}, got {dict(item)!r}")
    by = named[0]
    for name in item:
        if name != by and name not in OPTIONS[by]:
            raise ExperimentError(f"{key}.{name} is nothing that {by}: takes, which is {', '.join(OPTIONS[by])}")
    pattern = _text(item, by, key)
    how = replace(options, **_columns(item, key), **_choices(item, key), kind=None if by == "paths" else by)
    return _Source(pattern, how, _listing(item, key) if by == "paths" else None)


def _text(item: Mapping[str, Any], name: str, key: str) -> str:
    if not isinstance(item[name], str) or not item[name]:
        raise ExperimentError(f"{key}.{name} must be text, got {item[name]!r}")
    return str(item[name])


def _columns(item: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The options that name columns."""
    options: dict[str, Any] = {f"{name}_column": _text(item, name, key) for name in ("text", "url") if name in item}
    named = [name for name in COLUMNS if name in item]
    if "id" in item:
        given = item["id"]
        if given in (None, "none"):
            options["id_column"] = None
        elif isinstance(given, str):
            options["id_column"] = _text(item, "id", key)
        elif isinstance(given, Mapping) and set(given) == {"column", "per"} and given["per"] == "shard":
            options |= {"id_column": _text(given, "column", f"{key}.id"), "id_per_shard": True}
        else:
            raise ExperimentError(f"{key}.id must be a column, none, or {{column: COLUMN, per: shard}}, got {given!r}")
    return options | ({"named": tuple(named)} if named else {})


def _choices(item: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The options that say what becomes a page."""
    options: dict[str, Any] = {}
    if "records" in item:
        if item["records"] not in (["response"], ["response", "resource"]):
            raise ExperimentError(f"{key}.records must be [response] or [response, resource], got {item['records']!r}")
        options["resources"] = "resource" in item["records"]
    if "page" in item:
        if item["page"] not in ("file", "paragraph"):
            raise ExperimentError(f"{key}.page must be file or paragraph, got {item['page']!r}")
        options["paragraphs"] = item["page"] == "paragraph"
    return options


def _listing(item: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What is taken from a list of paths."""
    listing: dict[str, Any] = {"prefix": _text(item, "prefix", key)} if "prefix" in item else {}
    for name in ("first", "hashed"):
        if name in item:
            if not isinstance(item[name], int) or isinstance(item[name], bool) or item[name] < 1:
                raise ExperimentError(f"{key}.{name} must be a whole number above 0, got {item[name]!r}")
            listing[name] = item[name]
    if "first" in listing and "hashed" in listing:
        raise ExperimentError(f"{key}: a list of paths takes first: or hashed:, not both")
    return listing


def texts_of(asked: Sequence[Any], key: str) -> Iterator[Page]:
    """Every page in some files, of any format that pages are read from.

    Raises ExperimentError for a file that gives no page or loses most of them.
    """
    for shard in shards(asked, ReadOptions(), key):
        report = ShardReport()
        for row in read_shard(shard.location, shard.options, report, shard.file):
            if isinstance(row, Page):
                yield row
        for damage in report.damages:
            if damage.reason == "few_pages":
                raise ExperimentError(f"{key}: {shard.location}: {damage.detail}")


def refuse_split_without_domains(by: str, pages: int, without_domain: int) -> None:
    """Refuse to hold out whole domains where no page has one: each page would silently stand for its own.

    `pages` and `without_domain` are the rows and the count `no_domain` of the pages table. Raises ExperimentError.
    """
    if by == "domain" and pages and without_domain == pages:
        raise ExperimentError(
            f"evaluate.held_out.by is domain and none of the {pages:,} pages has one: name the column of the URL in "
            "pages.from, as in {parquet: PATTERN, url: metadata.url}, or set evaluate.held_out.by to page"
        )
