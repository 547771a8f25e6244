"""Runs and encoded requests in, a table of items for each task out: wherever models are, with Spark or without."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eval.checkpoints import canonical
from eval.gpt import load_model
from eval.plan import RunConfig
from eval.side_by_side import Tell
from eval.tasks.items import score_items
from filters.files import sha256_of, sync_file
from filters.stores import source

MADE_BY = b"made_by"
"""What answers were made from, in their file's own metadata."""


class OtherAnswers(ValueError):
    """A file has the answers of another model, or to other requests: what is asked once is not asked again."""

    def __init__(self, file: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        """Keep what made the file, and what would."""
        changed = " and ".join(key for key in wanted if found.get(key) != wanted[key])
        super().__init__(f"{file} was made of another {changed}: remove it to ask again")
        self.file, self.found, self.wanted = file, found, wanted


@dataclass(frozen=True)
class Answering:
    """What a worker process needs to put tasks to one run."""

    run: RunConfig
    files: tuple[tuple[Path, Path, bytes], ...]
    """Requests, where the answers go, and what decides them."""
    tokens: int

    def on(self, device: str) -> "Answering":
        """The same on a device."""
        return replace(self, run=self.run.on(device))


def unanswered(run: RunConfig, model: str, requests: Mapping[str, Path], items: Callable[[str], Path]) -> Answering | None:
    """The tasks that a run has not answered, None where it has all; ``model`` is the SHA-256 of its model.

    ``requests``: task -> what is asked. ``items``: task -> where the answers lie. Raises OtherAnswers.
    """
    files = []
    for task, asked in requests.items():
        made_by = {"model": model, "requests": sha256_of(asked)}
        if not _is_made(items(task), made_by):
            files.append((asked, items(task), canonical(made_by)))
    return Answering(run, tuple(files), sum(tokens_of(asked) for asked, *_ in files)) if files else None


def _is_made(file: Path, made_by: Mapping[str, Any]) -> bool:
    """Whether the answers are there; a damaged file is made again."""
    try:
        told = (pq.read_schema(source(file)).metadata or {}).get(MADE_BY)
    except (OSError, pa.ArrowException):
        return False
    if told is None:
        return False
    found = json.loads(told)
    if found != made_by:
        raise OtherAnswers(file, found, made_by)
    return True


def tokens_of(requests: Path) -> int:
    """Tokens of all requests."""
    table = pq.read_table(source(requests), columns=["context", "answer"])
    return sum(len(column.combine_chunks().flatten()) for column in table.columns)


def answer(one: Answering, tell: Tell) -> None:
    """One run's answers to all tasks that it has not answered, in a worker process."""
    model = load_model(one.run.out)
    for requests, items, made_by in one.files:
        table, _ = score_items(model, pq.read_table(requests), one.run.size.context, one.run.device)
        items.parent.mkdir(parents=True, exist_ok=True)
        aside = items.with_name(items.name + ".tmp")
        made = table.replace_schema_metadata({MADE_BY: made_by})
        pq.write_table(made, aside, compression="zstd", write_page_checksum=True)
        sync_file(aside)
        aside.replace(items)
        tell(tokens_of(requests))
