"""Where an experiment's models lie under `models/`, and the pages they are trained on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eval.tokenizer import train_tokenizer
from filters.draws import id_hashes
from filters.files import sha256_of
from filters.rules import uniforms
from filters.split import held_out, site_hashes
from jobs.parts import loop
from jobs.parts.experiment_file import Experiment, ExperimentError, config_hash
from jobs.parts.made_by import is_made, say_made

REFERENCE_SHARE = 0.1
"""Positives kept from training for evaluation. An assumption: enough to measure, little enough not to be missed."""


def classifier_file(out: Path, name: str) -> Path:
    """The fastText model of a classifier."""
    return out / "models" / f"{name}.bin"


def tokenizer_folder(out: Path) -> Path:
    """The tokenizer every subset shares."""
    return out / "models" / "tokenizer"


def ensure_tokenizer(experiment: Experiment) -> Path:
    """The tokenizer that every subset shares, trained on a neutral sample of the pages where it is not trained yet."""
    folder, asked = tokenizer_folder(experiment.out), experiment.tokenizer
    if asked is None:
        raise ExperimentError("the experiment file has no tokenizer: section, so pages cannot be encoded")
    pages = sha256_of(experiment.out / "pages" / loop.MANIFEST)
    made_by = config_hash(
        {"tokenizer": asked, "pages": pages, "held_out": experiment.evaluate.held_out, "seed": experiment.seed}
    )
    if not is_made(folder, made_by):
        print(f"tokenizer: {asked.vocabulary:,} entries from {asked.sample_bytes:,} bytes of pages at most ...", flush=True)
        try:
            sample = sampled_pages(experiment, asked.sample_bytes, "tokenizer")
            train_tokenizer((text for _, text in sample), asked.vocabulary, folder)
        except ValueError as error:
            raise ExperimentError(str(error)) from error
        say_made(folder, made_by)
    return folder


def is_held_out(experiment: Experiment, ids: pa.ChunkedArray, domains: pa.ChunkedArray) -> np.ndarray:
    """True for the pages that no model may see; shape (pages,)."""
    how = experiment.evaluate.held_out
    try:
        hashes = id_hashes(ids)
        return held_out(hashes, site_hashes(hashes, domains), how.by, how.share, experiment.seed)
    except ValueError as error:
        raise ExperimentError(str(error)) from error


def sampled_pages(experiment: Experiment, most_bytes: int, purpose: str) -> Iterator[tuple[str, str]]:
    """(id, text) of pages not held out: a sample decided by their ids, about `most_bytes` of text, in page order."""
    sources = [part.source for part in loop.parts_of(experiment.out / "pages")]
    every = pa.concat_tables([pq.read_table(source, columns=["id", "domain"]) for source in sources])
    draws = uniforms(every["id"].to_pylist(), experiment.seed, purpose)
    draws[is_held_out(experiment, every["id"], every["domain"])] = 2.0
    share = _share_for(sources, most_bytes)
    at = 0
    for source in sources:
        for batch in pq.ParquetFile(source, page_checksum_verification=True).iter_batches(1024, columns=["id", "text"]):
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
