"""What `pages.from` selects by an index: a file of places under `out:`, cut into parts of so many records.

Rows of the index that pass the rules are put in the order of file and offset, so that neighbours in a shard are neighbours
in a part and are fetched together. A part is a row group of that file; after a kill those that were read are not fetched
again.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters.draws import id_hashes
from jobs.parts import passes, session, storage
from jobs.parts.experiment_file import Experiment, as_tree, config_hash
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import Part
from jobs.shards import index
from jobs.shards.index import FILE, LENGTH, OFFSET, SELECTED
from jobs.shards.locations import Told, expand, expand_list, file_name
from jobs.shards.reasons import ReadOptions
from jobs.shards.sources import SELECTS, is_selection, selection_options

ROWS = 2_000
"""Records of a part: of Common Crawl's some 40 MB, and a minute of reading."""
VERSION = 1
"""Changes whenever the same index and rules give other rows."""
DIGESTS = b"digests"


@dataclass(frozen=True)
class Selected:
    """A part of a selection."""

    name: str
    location: str
    options: ReadOptions
    identity: str
    """SHA-256 of its rows, and how their records are read."""
    size: int
    """Bytes of its records."""

    @property
    def file(self) -> str:
        """Its own name: the pages have those of their shards."""
        return self.name


def check(experiment: Experiment, options: ReadOptions) -> None:
    """Find what is wrong with selections before anything is read. Raises ExperimentError."""
    for item in _items(experiment):
        selection_options(item, options, SELECTS)
        files = _index(item)
        index.check(next(iter(files)), index.rules_of(item, SELECTS), SELECTS)


def pending(experiment: Experiment) -> list[str]:
    """The indexes whose rows are still to be selected."""
    return [item["index"] for item in _items(experiment) if not storage.exists(_file(experiment, item, _index(item)))]


def select(experiment: Experiment) -> None:
    """Select what is not selected yet, file by file of each index. Raises ExperimentError where nothing is left."""
    for item in _items(experiment):
        files = _index(item)
        file = _file(experiment, item, files)
        if not storage.exists(file):
            index.check(next(iter(files)), index.rules_of(item, SELECTS), SELECTS)
            _write(file, _rows(item, list(files)))


def parts(experiment: Experiment, options: ReadOptions) -> list[Selected]:
    """The parts of all that is selected."""
    return [part for item in _items(experiment) for part in _parts(experiment, item, options)]


def _items(experiment: Experiment) -> list[Mapping[str, Any]]:
    return [item for item in experiment.pages.from_ if isinstance(item, Mapping) and is_selection(item)]


def _index(item: Mapping[str, Any]) -> dict[str, Told]:
    """The files of an index, with what is said of them."""
    asked = item["index"]
    try:
        listed = asked.removesuffix(".gz").endswith(".paths")
        return expand_list(asked, item.get("prefix", "")) if listed else expand([asked])
    except (ValueError, OSError) as error:
        raise ExperimentError(f"{SELECTS}.index: {error}") from error


def _file(experiment: Experiment, item: Mapping[str, Any], files: Mapping[str, Told]) -> Path:
    """Where a selection lies: its name is a hash of all that decides it."""
    asked = {key: item.get(key) for key in ("rules", "first", "hashed")}
    listed = [[file_name(location), *told] for location, told in files.items()]
    name = config_hash({"version": VERSION, "index": listed, **as_tree(asked)})
    return Places(experiment.out).selection / f"index-{name}.parquet"


def _rows(item: Mapping[str, Any], files: Sequence[str]) -> pa.Table:
    """The rows that pass, each record once, by file and offset."""
    rules = index.rules_of(item, SELECTS)
    asked = [Part(str(number), location, "") for number, location in enumerate(files)]
    spark = session.session("read")
    found: pa.Table = passes.merged(
        spark, "read", asked, lambda part: index.rows_of(part.source, rules), lambda some: pa.concat_tables(some)
    )
    rows = _once(found.sort_by([(FILE, "ascending"), (OFFSET, "ascending")]).combine_chunks())
    passing = len(rows)
    if not passing:
        raise ExperimentError(f"{SELECTS}: no row of {item['index']} passes its rules: loosen them, or name another index")
    if "hashed" in item:
        places = pc.binary_join_element_wise(rows[FILE], pc.cast(rows[OFFSET], pa.string()), " ")
        order = np.argsort(id_hashes(places), kind="stable")[: item["hashed"]]
        rows = rows.take(pa.array(np.sort(order)))
    rows = rows.slice(0, item.get("first"))
    size = pc.sum(rows[LENGTH]).as_py()
    print(f"read: {len(rows):,} of {passing:,} rows of the index that pass its rules, {size:,} bytes to fetch", flush=True)
    return rows


def _once(rows: pa.Table) -> pa.Table:
    """The first of the rows that name one record."""
    if not len(rows):
        return rows
    file, offset = rows[FILE].combine_chunks().dictionary_encode().indices.to_numpy(), rows[OFFSET].to_numpy()
    first = np.append(True, (file[1:] != file[:-1]) | (offset[1:] != offset[:-1]))
    return rows.filter(pa.array(first))


def _write(file: Path, rows: pa.Table) -> None:
    groups = [rows.slice(at, ROWS) for at in range(0, len(rows), ROWS)]
    digests = [hashlib.sha256(json.dumps(group.drop_columns(["url"]).to_pylist()).encode()).hexdigest() for group in groups]
    with (
        storage.written(file) as sink,
        pq.ParquetWriter(sink, SELECTED, compression="zstd", write_page_checksum=True) as writer,
    ):
        for group in groups:
            writer.write_table(group)
        writer.add_key_value_metadata({DIGESTS.decode(): json.dumps(digests)})


def _parts(experiment: Experiment, item: Mapping[str, Any], options: ReadOptions) -> Iterator[Selected]:
    file = _file(experiment, item, _index(item))
    if not storage.exists(file):
        return
    how, told = selection_options(item, options, SELECTS), storage.read_metadata(file)
    lengths, at = storage.read_table(file, [LENGTH])[LENGTH].to_numpy(), 0
    for group, digest in enumerate(json.loads(told.metadata[DIGESTS])):
        rows = told.row_group(group).num_rows
        identity = f"rows of an index {digest}" + ", resource records" * how.resources
        one = replace(how, row_groups=(group, group + 1))
        yield Selected(f"{file.stem}.{group:05d}", str(file), one, identity, int(lengths[at : at + rows].sum()))
        at += rows
