"""What an extractor decides: the same shards read with each, and what the presets keep of its text.

Time is processor time of the whole reader, the helper process included, per page that came out.
"""

import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from filters.pages import PageBatch
from filters.rules import Pool, parse, resolve_in
from filters.signals import configure, load_groups
from jobs.parts.experiment_file import Pages
from jobs.parts.presets import preset_rules
from jobs.shards.reader import Page, ReadOptions, ShardReport, read_shard

PRESETS = ("gopher", "repetition", "c4", "fineweb")
TOGETHER = ("gopher", "repetition", "fineweb")
"""The presets of README's recipe, which are also counted together."""


def rows(shards: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of `extractors`: milliseconds a page beside the first, pages, text and shares that pass."""
    found = {name: _row(name, shards) for name in get_args(Pages.model_fields["extract"].annotation)}
    first = next(iter(found))
    return [
        {
            "bench": "extractors",
            "what": name,
            "ours": row["milliseconds"],
            "unit": "ms a page",
            "against": first,
            "theirs": found[first]["milliseconds"],
            "ratio": round(found[first]["milliseconds"] / row["milliseconds"], 2),
            "shards": [shard.name for shard in shards],
            **row,
        }
        for name, row in found.items()
    ]


def _row(extractor: str, shards: Sequence[Path]) -> dict[str, Any]:
    """One extractor on all shards."""
    report, before = ShardReport(), _processor_seconds()
    pages = [row for shard in shards for row in read_shard(str(shard), ReadOptions(extract=extractor), report)]
    seconds = _processor_seconds() - before
    texts = [page.text for page in pages if isinstance(page, Page)]
    return {
        "pages": len(texts),
        "without_text": report.counts["empty_extraction"],
        "full_text": report.counts["full_text"],
        "median_characters": int(np.median([len(text) for text in texts])),
        "megabytes": round(sum(len(text.encode()) for text in texts) / 1e6, 2),
        "milliseconds": round(1000 * seconds / len(texts), 2),
        "passing": _passing(pa.array(texts, pa.large_string())),
    }


def _passing(texts: pa.Array) -> dict[str, float]:
    """The share of texts that passes each preset, and that passes those of `TOGETHER` at once."""
    known, batch = load_groups("filters"), PageBatch(texts)
    ids = pa.array([str(at) for at in range(len(texts))])
    columns: dict[str, pa.Array] = {}
    for preset in PRESETS:
        signals = configure(preset, {}, known).measure(ids, batch)
        columns |= dict(zip(signals.column_names, signals.columns, strict=True))
    pool = Pool(ids.to_pylist(), columns, {})
    passes = {
        preset: np.logical_and.reduce([rule.passes(pool) for rule in resolve_in(pool, parse(preset_rules(preset)))])
        for preset in PRESETS
    }
    passes[" + ".join(TOGETHER)] = np.logical_and.reduce([passes[preset] for preset in TOGETHER])
    return {name: round(float(truth.mean()), 4) for name, truth in passes.items()}


def _processor_seconds() -> float:
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
