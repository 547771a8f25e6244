"""Runs and the pages that none was trained on in, what every page costs every run out."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from eval import exposure
from eval.bits_per_byte import summed, token_nats
from eval.checkpoints import canonical
from eval.gpt import load_model
from eval.packed import Packed
from eval.plan import RunConfig
from eval.side_by_side import Tell
from eval.tokenizer import end_of_text, entry_bytes, load_tokenizer
from eval.training import RunSummary, trained_run
from filters.files import sha256_of, sync_file
from filters.stores import source

MADE_BY = b"made_by"
"""What a file of costs was made from, in its own metadata."""
VARIETY = b"variety"
"""What the run read, in the metadata of its exposure (`eval.exposure.variety`)."""


@dataclass(frozen=True)
class Evaluation:
    """One run on the pages, and what tells whether it was measured: model and pages by content."""

    run: RunConfig
    summary: RunSummary
    pages: Path
    made_by: bytes
    tokens: int
    step: int | None = None
    """The late step whose weights are measured; None for the finished model."""

    def on(self, device: str) -> "Evaluation":
        """The same on a device."""
        return replace(self, run=self.run.on(device))

    @property
    def label(self) -> str:
        """The run, and the step where it is a late one, as a person names it."""
        return self.run.label if self.step is None else f"{self.run.label}, step {self.step}"

    @property
    def folder(self) -> Path:
        """Where the weights lie, and what they make of the pages."""
        return self.run.out if self.step is None else late_folder(self.run, self.step)

    @property
    def file(self) -> Path:
        """One row per evaluated page."""
        return self.folder / "evaluation.parquet"

    @property
    def exposure(self) -> Path:
        """One row an entry of the vocabulary (`eval.exposure`); of the finished model alone."""
        return self.folder / "exposure.parquet"

    def is_made(self) -> bool:
        """Whether this model was measured on these pages; a file of other ones or a damaged one is measured again."""
        files = [self.file] if self.step is not None else [self.file, self.exposure]
        try:
            return all((pq.read_schema(source(file)).metadata or {}).get(MADE_BY) == self.made_by for file in files)
        except (OSError, pa.ArrowException):
            return False


def measured_elsewhere(run: RunConfig) -> RunSummary | None:
    """The summary of a run that was measured where it was trained and whose weights stayed there; None of any other run.

    Raises RunMismatch as `finished_run` does.
    """
    summary = trained_run(run)
    if summary is None or (run.out / "model.safetensors").is_file():
        return None
    try:
        told = (pq.read_schema(source(run.out / "evaluation.parquet")).metadata or {}).get(MADE_BY, b"{}")
    except (OSError, pa.ArrowException):
        return None
    return summary if json.loads(told).get("model") == summary.model_sha256 else None


def late_folder(run: RunConfig, step: int) -> Path:
    """Where a run keeps the weights of a late step."""
    return run.out / "late" / str(step)


def evaluations(runs: Iterable[tuple[RunConfig, RunSummary]], pages: Path) -> Iterator[Evaluation]:
    """One for each finished run, then one for each of its late steps where they are asked for; a diverged run has none."""
    digest, lists = sha256_of(pages), pq.read_table(source(pages), columns=["tokens"])["tokens"].combine_chunks()
    tokens = len(lists.flatten())
    for run, summary in runs:
        if summary.model_sha256 is None:
            continue
        of_step: dict[int | None, str] = {None: summary.model_sha256}
        of_step |= {step: sha256_of(late_folder(run, step) / "model.safetensors") for step in _late_steps(run)}
        for step, model in of_step.items():
            made_by = canonical({"model": model, "pages": digest})
            yield Evaluation(run, summary, pages, made_by, tokens, step)


def _late_steps(run: RunConfig) -> list[int]:
    """The late steps that are asked for and whose weights are there."""
    found = (run.out / "late").glob("*/model.safetensors") if run.late else ()
    return sorted(int(weights.parent.name) for weights in found)


def evaluate(one: Evaluation, tell: Tell) -> None:
    """Nats of every page under one model, and of every entry of the vocabulary, in a worker process."""
    pages, tokenizer = pq.read_table(one.pages), load_tokenizer(one.run.tokenizer)
    lists = pages["tokens"].combine_chunks()
    offsets, tokens = lists.offsets.to_numpy().astype(np.int64), lists.values.to_numpy()
    model = load_model(one.folder)
    nats = token_nats(model, tokens, offsets, one.run.size.context, end_of_text(tokenizer), one.run.device)
    if one.step is None:
        judged = pc.and_(pc.equal(pages["set"], "held_out"), pages["passes"]).to_numpy()
        here = np.repeat(judged, np.diff(offsets))
        _write(one, one.exposure, _exposure(one, tokenizer, tokens[here], nats[here]))
    rows = pages.drop_columns(["tokens"]).append_column("nll", pa.array(summed(nats, offsets), pa.float64()))
    _write(one, one.file, rows.replace_schema_metadata({}))
    tell(one.tokens)


def _exposure(
    one: Evaluation, tokenizer: Tokenizer, tokens: npt.NDArray[np.integer], nats: npt.NDArray[np.float64]
) -> pa.Table:
    """What the run read of each entry and what it costs; `tokens` and `nats` of the pages that models are judged by."""
    packed, entries = Packed.open(one.run.packed), tokenizer.get_vocab_size()
    read = exposure.read_of(packed, one.run.size.batch, one.run.tokens)
    seen, (held_out, costs) = exposure.seen(read, entries), exposure.on_held_out(tokens, nats, entries)
    told = json.dumps(exposure.variety(read, seen, entry_bytes(tokenizer)))
    rows = pa.table({"seen": seen, "held_out": held_out, "nats": costs}, schema=exposure.SCHEMA)
    return rows.replace_schema_metadata({VARIETY: told.encode()})


def _write(one: Evaluation, file: Path, rows: pa.Table) -> None:
    """Write a table whole, with what it was made from."""
    metadata: dict[Any, Any] = dict(rows.schema.metadata or {}) | {MADE_BY: one.made_by}
    aside = file.with_name(file.name + ".tmp")
    pq.write_table(rows.replace_schema_metadata(metadata), aside, compression="zstd")
    sync_file(aside)
    aside.replace(file)
