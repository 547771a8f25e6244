"""split: pages in, what is decided of each before anything is trained out: held out or not, a held-out page's copy, its fold.

    python -m jobs.split CONF [--set key=value ...] [--dry-run]

All of it follows from hashes of ids and sites, so each part decides alone; only copies are looked for across parts, by the
hash of their text.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as sql

from filters import split
from filters.draws import id_hashes
from jobs.parts import command, loop, session, storage
from jobs.parts.experiment_file import Experiment, HeldOut, as_tree
from jobs.parts.frames import rows_of
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import Part, PartReport, Table, identity_of, parts_of, sidecar

SPLIT = pa.schema(
    [
        ("id", pa.string()),
        ("id_hash", pa.uint64()),
        ("held_out", pa.bool_()),
        ("copy_of_held_out", pa.bool_()),
        ("fold", pa.uint64()),
    ]
)
COPIES = pa.schema([("part", pa.int32()), ("text_hash", pa.int64())])


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Split what is not split yet."""
    places = Places(experiment.out)
    pages = parts_of(places.pages)
    table = split_table(experiment)
    if dry_run:
        print(loop.plan("split", pages, [table]))
        return command.OK
    copies = table.path / ".copies"
    if loop.to_do(pages, [table]) and experiment.evaluate.held_out.drop_copies:
        find_copies(session.session("split"), experiment, pages, copies)

    def work(part: Part, *_: Any) -> Iterator[tuple[str, pa.RecordBatch]]:
        return split_part(part, experiment, copies)

    report = loop.run(lambda: session.session("split"), "split", pages, [table], work)[table.name]
    storage.remove_folder(copies)
    held_out, copied = report.counts.get("held_out", 0), report.counts.get("copies_of_held_out", 0)
    print(f"split: {report.rows:,} pages, {held_out:,} held out, {copied:,} copies of those")
    return command.OK


def split_table(experiment: Experiment) -> Table:
    """The table as this experiment's configuration makes it."""
    config = {"held_out": _split_by(experiment.evaluate.held_out), "seed": experiment.seed}
    return Table(Places(experiment.out).split, config, SPLIT)


def _split_by(how: HeldOut) -> dict[str, Any]:
    """What of `held_out:` decides the split; the rest decides what is evaluated."""
    return {key: value for key, value in as_tree(how).items() if key in ("by", "share", "drop_copies")}


def split_part(part: Part, experiment: Experiment, copies: Path) -> Iterator[tuple[str, pa.RecordBatch]]:
    """One part's rows."""
    rows = storage.read_table(part.source, ["id", "domain"])
    hashes = id_hashes(rows["id"])
    sites = split.site_hashes(hashes, rows["domain"])
    held_out = _held_out(hashes, sites, experiment)
    copied = np.zeros(len(rows), bool)
    found = copies / f"{part.name}.parquet"
    if storage.exists(found):
        texts = sidecar(Places(experiment.out).signals("size"), part, ["text_hash"])["text_hash"]
        copied = ~held_out & pc.is_in(texts, value_set=storage.read_table(found)["text_hash"].combine_chunks()).to_numpy()
    columns = [rows["id"], hashes, held_out, copied, split.fold(sites, experiment.seed)]
    yield "split", pa.table(columns, schema=SPLIT).combine_chunks().to_batches()[0]
