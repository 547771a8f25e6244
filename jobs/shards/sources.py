"""What an experiment names as text: patterns, or a mapping that says which columns of foreign files hold the page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec

from filters.signals import nearest
from jobs.parts.refusals import ExperimentError
from jobs.shards.reader import expand, read_shard
from jobs.shards.reasons import Page, ReadOptions, ShardReport

FORMATS = ("parquet", "jsonl", "warc")
COLUMNS = ("text", "id", "url")


@dataclass(frozen=True)
class Shard:
    """One file of text and how it is read."""

    location: str
    options: ReadOptions

    @property
    def name(self) -> str:
        """What its part is called."""
        return Path(self.location).name

    @property
    def identity(self) -> str:
        """What tells it from another file of the same name: its size, and the columns that are read."""
        files, path = fsspec.core.url_to_fs(self.location)
        columns = [self.options.text_column, self.options.id_column, self.options.url_column]
        return f"{self.name} {files.size(path)} bytes, columns {' '.join(columns)}"


def shards(asked: Sequence[Any], options: ReadOptions, key: str) -> list[Shard]:
    """Every file that is named, each once. Raises ExperimentError, which names the key, for what cannot be read."""
    found = []
    try:
        for patterns, own in (_patterns(item, options, key) for item in asked):
            found += [Shard(location, own) for location in expand(patterns)]
        expand([shard.location for shard in found])  # refuses two files of one name
    except (ValueError, OSError) as error:
        raise ExperimentError(f"{key}: {error}") from error
    names = [shard.location for shard in found]
    for name in names:
        if names.count(name) > 1:
            raise ExperimentError(f"{key}: {name} is named twice")
    return sorted(found, key=lambda shard: shard.name)


def _patterns(item: Any, options: ReadOptions, key: str) -> tuple[list[str], ReadOptions]:
    """A pattern as it is, or `{parquet: PATTERN, text: COLUMN, id: COLUMN, url: COLUMN}`."""
    if isinstance(item, str):
        return [item], options
    if not isinstance(item, Mapping):
        raise ExperimentError(
            f"{key} takes patterns or mappings such as {{parquet: data/*.parquet, text: content}}, got {item!r}"
        )
    for name, value in item.items():
        if name not in (*FORMATS, *COLUMNS):
            raise ExperimentError(f"unknown key '{key}.{name}': {nearest(name, [*FORMATS, *COLUMNS])}")
        if not isinstance(value, str):
            raise ExperimentError(f"{key}.{name} must be text, got {value!r}")
    patterns = [item[name] for name in FORMATS if name in item]
    if len(patterns) != 1:
        raise ExperimentError(f"{key}: a mapping names one pattern under {', '.join(FORMATS)}, got {dict(item)!r}")
    return patterns, replace(options, **{f"{name}_column": item[name] for name in COLUMNS if name in item})


def texts_of(asked: Sequence[Any], key: str) -> Iterator[tuple[str, str]]:
    """(id, text) of every page in some files, of any format that pages are read from."""
    for shard in shards(asked, ReadOptions(), key):
        for row in read_shard(shard.location, shard.options, ShardReport()):
            if isinstance(row, Page):
                yield row.id, row.text
