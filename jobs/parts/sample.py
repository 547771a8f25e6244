"""The pages that models are trained on: a sample of the pool decided by page ids, held-out pages apart."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from filters.rules import uniforms
from filters.split import held_out
from jobs.parts import storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import parts_of

REFERENCE_SHARE = 0.1
"""Positives kept from training for evaluation. An assumption: enough to measure, little enough not to be missed."""


def is_held_out(experiment: Experiment, ids: pa.ChunkedArray, domains: pa.ChunkedArray) -> np.ndarray:
    """True for the pages that no model may see; shape (pages,)."""
    how = experiment.evaluate.held_out
    try:
        return held_out(ids.to_pylist(), domains.to_pylist(), how.by, how.share, experiment.seed)
    except ValueError as error:
        raise ExperimentError(str(error)) from error


def sampled_pages(experiment: Experiment, most_bytes: int, purpose: str) -> Iterator[tuple[str, str]]:
    """(id, text) of pages not held out: a sample decided by their ids, about `most_bytes` of text, in page order."""
    sources = [part.source for part in parts_of(Places(experiment.out).pages)]
    every = pa.concat_tables([storage.read_table(source, ["id", "domain"]) for source in sources])
    draws = uniforms(every["id"].to_pylist(), experiment.seed, purpose)
    draws[is_held_out(experiment, every["id"], every["domain"])] = 2.0
    share = _share_for(sources, most_bytes)
    at = 0
    for source in sources:
        for batch in storage.open_parquet(source).iter_batches(1024, columns=["id", "text"]):
            taken = np.flatnonzero(draws[at : at + len(batch)] < share)
            at += len(batch)
            rows = batch.take(pa.array(taken))
            yield from zip(rows["id"].to_pylist(), rows["text"].to_pylist(), strict=True)


def _share_for(sources: list[str], most_bytes: int) -> float:
    """The share of pages that holds about so much text, by the sizes in the files' footers."""
    total = 0
    for source in sources:
        metadata = pq.read_metadata(source)
        text = metadata.schema.to_arrow_schema().names.index("text")
        total += sum(metadata.row_group(k).column(text).total_uncompressed_size for k in range(metadata.num_row_groups))
    return min(1.0, most_bytes / max(total, 1))


def is_reference(page_id: str, seed: int) -> bool:
    """Whether a page of a classifier's positives is kept from training, to evaluate on."""
    return bool(uniforms([page_id], seed, "reference")[0] < REFERENCE_SHARE)
