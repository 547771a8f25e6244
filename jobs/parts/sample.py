"""The pages that models are trained on: a sample of the pool that hashes of ids decide, so that each part decides alone."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from classifiers import kinds
from filters.draws import draw
from filters.quantiles import Column, Targets, count, find, merged, ranked
from filters.rules import uniforms
from jobs.parts import passes, session, storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.places import Places
from jobs.parts.pool import outside_pool
from jobs.parts.session import stand_in, whereabouts
from jobs.parts.table import Part, parts_of, sidecar
from jobs.shards.sources import texts_of

REFERENCE_SHARE = 0.1
"""Positives kept from training for evaluation. An assumption: enough to measure, little enough not to be missed."""


def training_texts(experiment: Experiment, name: str) -> dict[str, kinds.Pages]:
    """What a classifier is trained from, by key: pages of files, and a sample of the pool where it takes one."""
    kind = experiment.classifiers[name].options
    texts: dict[str, kinds.Pages] = {key: _pages_of_files(experiment, name, key) for key in kind.texts()}
    pool = kind.pool_key()
    if pool:
        texts[pool] = sampled_pages(experiment, pool, kind.pool_pages(), "pages")
    return texts


def _pages_of_files(experiment: Experiment, name: str, key: str) -> kinds.Pages:
    """Pages from files; of good ones without those that models are evaluated on."""
    kind = experiment.classifiers[name].options
    good = key == kind.good_key()
    for page in texts_of(kind.texts()[key], f"classifiers.{name}.{key}"):
        if not (good and is_reference(page.id, experiment.seed)):
            yield kinds.Page(page.id, page.text, page.domain)


def sampled_pages(
    experiment: Experiment, purpose: str, most: int, weight: Literal["pages", "bytes"]
) -> Iterator[kinds.Page]:
    """The pages of the pool with the lowest draws, as many as weigh `most`, in page order.

    Neither a worker nor the driver holds the sample of a part.
    """
    places, seed = Places(experiment.out), experiment.seed
    parts, spark, here = parts_of(places.pages), session.session("sample"), whereabouts()
    deduplicated = experiment.duplicates is not None

    def drawn(part: Part) -> Column:
        return _drawn(part, places, seed, purpose, weight, deduplicated)

    def counted(wanted: Mapping[str, Any]) -> Any:
        return passes.merged(spark, purpose, parts, lambda part: count(wanted, lambda _: drawn(part)), merged)

    found = find({purpose: Targets("at most", (most,))}, counted)[purpose]

    def task(part: Part) -> Iterator[kinds.Page]:
        stand_in(here)
        kept = found.keeps(drawn(part), 0)
        return _texts(part, kept, places.duplicates("copies") if deduplicated else None) if kept.any() else iter(())

    sample = spark.sparkContext.parallelize(parts, len(parts)).flatMap(task)
    # The cut is made here and now: who trains may take the pages in a thread of its own, which knows no session.
    pages: Iterator[kinds.Page] = sample.toLocalIterator(prefetchPartitions=True)
    return pages


def _drawn(part: Part, places: Places, seed: int, purpose: str, weight: str, deduplicated: bool) -> Column:
    """The pool's pages of a part in the order of their draws."""
    split = sidecar(places.split, part, ["id_hash"])
    held_out, copies = outside_pool(places, part, deduplicated)
    pool = ~(held_out | copies)
    weights = np.ones(len(pool), np.int64)
    if weight == "bytes":
        weights = sidecar(places.signals("size"), part, ["text_bytes"])["text_bytes"].to_numpy()
    return ranked(draw(split["id_hash"].to_numpy(), seed, purpose), weights, lowest=True, among=pool)


def _texts(part: Part, kept: np.ndarray, copies: Path | None) -> Iterator[kinds.Page]:
    """Some rows of a part, a row group at a time, with their clusters where `copies` has them."""
    clusters = sidecar(copies, part, ["cluster"])["cluster"] if copies else None
    file, at = storage.open_parquet(part.source), 0
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group, columns=["id", "text", "domain"])
        rows = rows.append_column("cluster", pa.nulls(len(rows)) if clusters is None else clusters.slice(at, len(rows)))
        taken = rows.filter(pa.array(kept[at : at + len(rows)]))
        at += len(rows)
        yield from map(kinds.Page, *(taken[name].to_pylist() for name in kinds.Page._fields))


def is_reference(page_id: str, seed: int) -> bool:
    """Whether a page of a classifier's positives is kept from training, to evaluate on."""
    return bool(uniforms([page_id], seed, "reference")[0] < REFERENCE_SHARE)
