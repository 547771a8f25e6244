"""Runs and the pages that none was trained on in, what every page costs every run out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eval.bits_per_byte import page_nats
from eval.checkpoints import canonical
from eval.gpt import load_model
from eval.plan import RunConfig
from eval.side_by_side import Tell
from eval.tokenizer import end_of_text, load_tokenizer
from eval.training import RunSummary
from filters.files import sha256_of, sync_file
from filters.stores import source

MADE_BY = b"made_by"
"""What a file of costs was made from, in its own metadata."""


@dataclass(frozen=True)
class Evaluation:
    """One run on the pages, and what tells whether it was measured: model and pages by content."""

    run: RunConfig
    summary: RunSummary
    pages: Path
    made_by: bytes
    tokens: int

    def on(self, device: str) -> "Evaluation":
        """The same on a device."""
        return replace(self, run=self.run.on(device))

    @property
    def file(self) -> Path:
        """One row per evaluated page."""
        return self.run.out / "evaluation.parquet"

    def is_made(self) -> bool:
        """Whether this model was measured on these pages; a file of other ones or a damaged one is measured again."""
        try:
            return bool((pq.read_schema(source(self.file)).metadata or {}).get(MADE_BY) == self.made_by)
        except (OSError, pa.ArrowException):
            return False


def evaluations(runs: Iterable[tuple[RunConfig, RunSummary]], pages: Path) -> Iterator[Evaluation]:
    """One for each finished run; a diverged one has no model and none."""
    digest, lists = sha256_of(pages), pq.read_table(source(pages), columns=["tokens"])["tokens"].combine_chunks()
    for run, summary in runs:
        if summary.model_sha256 is not None:
            made_by = canonical({"model": summary.model_sha256, "pages": digest})
            yield Evaluation(run, summary, pages, made_by, len(lists.flatten()))


def evaluate(one: Evaluation, tell: Tell) -> None:
    """Nats of every page under one model, in a worker process."""
    pages = pq.read_table(one.pages)
    tokens = pages["tokens"].combine_chunks()
    model = load_model(one.run.out)
    mark = end_of_text(load_tokenizer(one.run.tokenizer))
    offsets = tokens.offsets.to_numpy().astype(np.int64)
    nats = page_nats(model, tokens.values.to_numpy(), offsets, one.run.size.context, mark, one.run.device)
    rows = pages.drop_columns(["tokens"]).append_column("nll", pa.array(nats, pa.float64()))
    aside = one.file.with_name(one.file.name + ".tmp")
    pq.write_table(rows.replace_schema_metadata({MADE_BY: one.made_by}), aside, compression="zstd")
    sync_file(aside)
    aside.replace(one.file)
    tell(one.tokens)
