"""How much an experiment will write under `out:`, estimated before it is run.

Where pages are read already their own size counts; otherwise it is estimated from the bytes of the shards. All shares were
measured on small crawls (docs/output.md says which, and how to measure them again on others); they depend on the pages, so
that what is said is a range.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from filters.levels import Level
from filters.stores import StorePath
from jobs.parts import selection, storage
from jobs.parts.experiment_file import Experiment, Train
from jobs.parts.grid import budgets, runs, vocabulary
from jobs.parts.places import Places
from jobs.parts.presets import levels_of
from jobs.parts.table import MANIFEST
from jobs.shards.reasons import ReadOptions
from jobs.shards.sources import Shard, shards

Range = npt.NDArray[np.float64]
"""The least and the most, shape (2,)."""

PAGES_OF = {"warc": (0.12, 0.43), "wet": (0.95, 0.95), "other": (0.4, 1.0)}
"""Bytes of pages/ for each byte of a shard."""
PAGE_BYTES = (4100, 1500)
"""Bytes of pages/ for each page: the fewest pages and the most."""
TOKEN_IDS = 1.1
"""Bytes of token_ids/ for each byte of pages/, with a vocabulary of 4,096; larger ones take less."""
TEXTS = {"jsonl.zst": 0.75, "parquet": 1.0}
"""Bytes of a subset of all pages for each byte of pages/."""
WEIGHTS = 4
"""Copies of its weights that a run leaves: the model, and those of three late steps."""
ROW_BYTES = 50
"""Bytes of a row of a table of small columns, such as a group of signals, of which the id takes half."""


def estimate(experiment: Experiment) -> str:
    """One line: how much, what of it, from what, and how much is free."""
    places, levels = Places(experiment.out), levels_of(experiment)
    pages, rows, source = _pages(experiment, places)
    sizes = {"pages": np.zeros(2) if storage.exists(places.pages / MANIFEST) else pages}
    small = [places.split, places.verdicts, *(places.signals(group) for group in ("size", *experiment.signals))]
    sizes["signals and verdicts"] = rows * ROW_BYTES * sum(not storage.exists(table / MANIFEST) for table in small)
    if experiment.tokenizer and not storage.exists(places.token_ids / MANIFEST):
        sizes["token_ids"] = pages * TOKEN_IDS
    sizes["subsets"] = pages * TEXTS[experiment.write.format] * _texts(experiment, levels, places)
    if experiment.train:
        sizes["packed and runs"] = np.full(2, _trained(experiment, experiment.train))
    told = ", ".join(f"{name} {_told(size)}" for name, size in sizes.items() if size[1])
    taken = "; what reuse: gives takes no room on the same disk" if experiment.reuse else ""
    total: Range = np.sum(list(sizes.values()), axis=0)
    return (
        f"disk: about {_told(total)} to write under {places.out} ({told or 'nothing'}), estimated from {source} as "
        f"docs/output.md says{taken}" + _free(places.out)
    )


def _pages(experiment: Experiment, places: Places) -> tuple[Range, Range, str]:
    """Bytes of pages/, its rows, and what they are known from."""
    if storage.exists(places.pages / MANIFEST):
        told = storage.read_json(places.pages / MANIFEST)
        size = sum(line["bytes"] for line in told["parts"])
        return np.full(2, size), np.full(2, told["rows"]), f"the {told['rows']:,} pages that are read"
    found = {shard.location: shard for shard in shards(experiment.pages.from_, ReadOptions(), "pages.from")}
    known = [shard for shard in found.values() if shard.size is not None]
    chosen = sum(one.size for one in selection.parts(experiment, ReadOptions()))
    sizes = [np.array(PAGES_OF[_kind(shard)]) * (shard.size or 0) for shard in known]
    size = np.sum([*sizes, np.array(PAGES_OF["warc"]) * chosen], axis=0) + np.zeros(2)
    source = f"{_megabytes(chosen + sum(shard.size or 0 for shard in known))} MB of shards"
    if len(known) < len(found):
        source += f" ({len(found) - len(known):,} more, of unknown size, are left out)"
    return size, size / np.array(PAGE_BYTES), source


def _kind(shard: Shard) -> str:
    if shard.kind != "warc":
        return "other"
    return "wet" if ".wet" in shard.file.lower() else "warc"


def _texts(experiment: Experiment, levels: Sequence[Level], places: Places) -> Range:
    """How many times the text of all pages is written: kept and removed together are all pages, kept alone at most those."""
    asked = experiment.write
    names = [level.name for level in levels if level.control != "unfiltered"] if asked.subsets == "all" else asked.subsets
    new = [name for name in names if asked.subsets != "none" and not storage.exists(places.subset_books(name) / MANIFEST)]
    return np.array([len(new) if asked.removed else 0, len(new)], np.float64)


def _trained(experiment: Experiment, train: Train) -> float:
    """Packed tokens of two or four bytes, and weights of four."""
    entries, tokens = vocabulary(experiment), budgets(train)
    wide = 2 if entries <= 1 << 16 else 4
    asked = runs(experiment, dry_run=True)
    streams = {run.packed: wide * tokens[run.size.context] for run in asked if not storage.exists(run.packed)}
    new = [run for run in asked if not storage.exists(run.out / "summary.json")]
    return float(sum(streams.values()) + sum(WEIGHTS * 4 * run.size.parameters(entries) for run in new))


def _told(size: Range) -> str:
    low, high = (_megabytes(one) for one in size)
    return f"{high} MB" if low == high else f"{low} to {high} MB"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f}" if size >= 1e7 else f"{size / 1e6:.1f}"


def _free(folder: Path) -> str:
    """What is free where the folder lies or will lie; a store does not say."""
    if isinstance(folder, StorePath):
        return ""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())
    return f"; {_megabytes(shutil.disk_usage(there).free)} MB are free"
