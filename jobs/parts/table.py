"""A table is a folder of parts written by one job under one configuration; a sidecar has the same parts, rows and order.

A part's footer holds the configuration that made it, what it was made from, and its counts, so a finished part needs no
other record. `_manifest.json` is written last and says all of that for the whole table; a table without it is unfinished.
JSON lines have no footer and subsets hold data alone: what is known of those lies in a folder apart, the table's books.
"""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from filters.files import sha256_of, write_whole
from filters.stores import at
from jobs.parts import storage
from jobs.parts.experiment_file import as_tree, config_hash
from jobs.parts.refusals import ExperimentError, InvariantBroken, made_by_another
from jobs.parts.session import HOME
from jobs.shards.locations import local_path

FOOTER = b"goodhart"
MANIFEST = "_manifest.json"
LINES = pa.schema([("line", pa.large_binary())])
"""Rows that are JSON lines already, each with its line feed."""
FORMATS = ("jsonl.zst", "parquet")
LIBRARIES = ("pyarrow", "fastwarc", "resiliparse", "numba", "tokenizers", "pyspark", "numpy")


@dataclass(frozen=True)
class Part:
    """One unit of a map job: where its rows come from and what identifies that content."""

    name: str
    source: str
    identity: str
    origin: str = ""
    """What identifies that which the content was made from: a sidecar written in the same task says that of itself."""
    footer: str = ""
    """SHA-256 of the footer of its Parquet file; empty for a shard."""
    unhashed: tuple[str, str] | None = None
    """Of a file that is yet to be hashed: what stands before and behind the content in its identity, which is empty."""

    def hashed(self) -> "Part":
        """The part with its identity: where it has none yet, the file is read."""
        if self.unhashed is None:
            return self
        before, behind = self.unhashed
        return replace(self, identity=f"{before}{content_of(self.source)}{behind}", unhashed=None)

    def check(self) -> None:
        """Raise ExperimentError where the file's footer is not the one that was written."""
        if self.footer:
            _refuse_other_footer(at(self.source), self.footer)


def content_of(location: str) -> str:
    """What is told in an identity of the bytes of a file on a disk, all of which are read."""
    return f"sha256 {sha256_of(local_path(location))}"


@dataclass(frozen=True)
class Table:
    """A folder of parts written by one job under one configuration."""

    path: Path
    config: Mapping[str, Any]
    schema: pa.Schema
    format: str = "parquet"
    prefix: str = ""
    books: Path | None = None
    """Where what is known of the parts lies, if not among them."""

    @property
    def name(self) -> str:
        """The last folder of the path."""
        return self.path.name

    @property
    def hash(self) -> str:
        """What names the configuration."""
        return config_hash(self.config)

    @property
    def manifest(self) -> Path:
        """What is written last."""
        return (self.books or self.path) / MANIFEST

    def file_name(self, part: str) -> str:
        """What the output of a part is called."""
        return f"{self.prefix}{part}.{self.format}"

    def file(self, part: Part) -> Path:
        """Where the output of a part lies."""
        return self.path / self.file_name(part.name)

    def facts(self, part: Part) -> dict[str, Any] | None:
        """What a finished part says of itself; None where it is not there or not whole."""
        if self.books is None and self.format == "parquet":
            return footer(self.file(part))
        told = self.told(part)
        if not (storage.exists(self.file(part)) and storage.exists(told)):
            return None
        facts: dict[str, Any] = storage.read_json(told)
        return facts

    def told(self, part: Part) -> Path:
        """The file in the books that stands for a footer; it is written before the part gets its name."""
        return self.books / f"{part.name}.json" if self.books else self.path / f".{self.file(part).name}.json"


@dataclass
class PartReport:
    """What a task says about its part: counts by reason, also of one of its tables alone, and where its input is damaged."""

    counts: Counter[str] = field(default_factory=Counter)
    of_table: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    damaged: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class StageReport:
    """A table after its job."""

    rows: int
    counts: Mapping[str, int]
    damaged: Sequence[Mapping[str, Any]]


def footer(file: Path) -> dict[str, Any] | None:
    """What a finished Parquet part says of itself; None where the file is not there or not whole."""
    try:
        metadata = storage.read_metadata(file).metadata or {}
    except OSError:
        return None
    return json.loads(metadata[FOOTER]) if FOOTER in metadata else None


def finished(table: Path) -> dict[str, Any]:
    """The manifest of a finished table. Raises ExperimentError where the table is missing or unfinished."""
    _refuse_unfinished(table)
    loaded: dict[str, Any] = storage.read_json(table / MANIFEST)
    return loaded


def _refuse_unfinished(table: Path) -> None:
    if not storage.exists(table / MANIFEST):
        raise ExperimentError(f"{table} is missing or unfinished (no {MANIFEST}): run the job that makes it first")


def identity_of(table: Path) -> str:
    """What tells a finished table from another one of that name: its manifest's SHA-256. Raises ExperimentError."""
    _refuse_unfinished(table)
    return sha256_of(table / MANIFEST)


def parts_of(table: Path) -> list[Part]:
    """The parts of a finished table, as input of the next job."""
    return [
        Part(line["name"], str(table / f"{line['name']}.parquet"), line["sha256"], line["from"], line["footer"])
        for line in finished(table)["parts"]
    ]


def signal_tables(out: Path) -> dict[str, Path]:
    """Signal -> the finished table that holds it."""
    found: dict[str, Path] = {}
    for table in storage.folders(out / "signals"):
        if storage.exists(table / MANIFEST):
            first = parts_of(table)[0]
            first.check()
            found |= {name: table for name in storage.read_schema(first.source).names if name != "id"}
    return found


def sidecar(table: Path, part: Part, columns: Sequence[str], ids: pa.ChunkedArray | None = None) -> pa.Table:
    """Columns of a sidecar's part, after a check that it belongs to that part of the pages.

    `ids` are the part's page ids, to check the rows themselves. Raises ExperimentError where the sidecar was made from other
    pages, InvariantBroken where its footer says these but its rows do not.
    """
    file = table / f"{part.name}.parquet"
    if storage.exists(file) and (footers := _footers(table)):
        _refuse_other_footer(file, footers.get(part.name, ""))
    told = footer(file)
    if told is None or told["from"] not in (part.identity, part.origin):
        made_from = "nothing whole" if told is None else told["from"]
        raise ExperimentError(
            f"{file} was made from {made_from}, but {part.source} is {part.identity}: "
            f"run the job that makes {table.name} again"
        )
    rows = storage.read_table(file, ["id", *columns] if ids is not None else columns)
    if ids is None:
        return rows
    if not rows["id"].equals(ids):
        raise InvariantBroken(f"{file} has other pages, or another order, than {part.source}")
    return rows.drop_columns(["id"])


def _footers(table: Path) -> dict[str, str]:
    """Part -> SHA-256 of its footer, as the manifest has them; empty where there is none yet."""
    if not storage.exists(table / MANIFEST):
        return {}
    return _read_footers(table / MANIFEST, storage.seen(table / MANIFEST))


@lru_cache(maxsize=64)
def _read_footers(manifest: Path, _: tuple[int, int | str]) -> dict[str, str]:
    return {line["name"]: line["footer"] for line in storage.read_json(manifest)["parts"]}


def _refuse_other_footer(file: Path, footer: str) -> None:
    try:
        whole = storage.footer_sha256(file) == footer
    except OSError:
        whole = False
    if not whole:
        raise storage.not_as_written(file)


def state(table: Table, part: Part) -> Literal["done", "missing", "other"]:
    """Whether a part is done, missing, or made by another configuration."""
    found = table.facts(part)
    if found is None:
        return "missing"
    if found["config_hash"] != table.hash:
        return "other"
    return "done" if found["from"] == part.hashed().identity else "missing"


def entry(table: Table, part: Part) -> dict[str, Any]:
    """The manifest's line about a part that is whole. Reads the file once."""
    facts, file = table.facts(part), table.file(part)
    if facts is None:
        raise OSError(f"{file} is not whole after it was written")
    return _entry(part, facts, file, file.stat().st_size, sha256_of(file))


def _entry(part: Part, facts: Mapping[str, Any], file: Path, size: int, sha256: str) -> dict[str, Any]:
    about = {key: facts[key] for key in ("from", "rows", "counts", "damaged")}
    footer = {"footer": storage.footer_sha256(file)} if file.suffix == ".parquet" else {}
    return {"name": part.name, "file": file.name, "bytes": size, "sha256": sha256, **footer, **about}


class Writer:
    """The rows of one part on their way into a table; `entry` is the manifest's line once the part is whole."""

    def __init__(self, rows: "_Parquet | _JsonLines") -> None:
        self._rows = rows
        self.entry: dict[str, Any] = {}

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return self._rows.rows

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        self._rows.write(batch)


@contextmanager
def writer(table: Table, part: Part, report: PartReport) -> Iterator[Writer]:
    """A writer whose part gets its name when everything was written."""
    with storage.written(table.file(part)) as sink:
        rows = (_Parquet if table.format == "parquet" else _JsonLines)(sink, table.schema)
        one = Writer(rows)
        try:
            yield one
            facts = {
                "config": as_tree(table.config),
                "config_hash": table.hash,
                "from": part.identity,
                "rows": rows.rows,
                "counts": dict(sorted({**report.counts, **report.of_table[table.name]}.items())),
                "damaged": report.damaged,
            }
            rows.close(json.dumps(facts, sort_keys=True))
        finally:
            rows.abandon()
        if table.books or table.format != "parquet":
            write_whole(table.told(part), json.dumps(facts, sort_keys=True).encode())
    one.entry = _entry(part, facts, table.file(part), sink.size, sink.sha256)


class _Parquet:
    """Rows to one Parquet file, with page checksums and the facts in its footer."""

    def __init__(self, file: storage.Hashed, schema: pa.Schema) -> None:
        self.rows = 0
        self._file = pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True)

    def write(self, batch: pa.RecordBatch) -> None:
        self.rows += len(batch)
        self._file.write_batch(batch)

    def close(self, facts: str) -> None:
        self._file.add_key_value_metadata({FOOTER.decode(): facts})
        self._file.close()

    def abandon(self) -> None:
        self._file.close()


def json_lines(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Rows as JSON lines, so that several tables can take some of them without writing each again; see `LINES`.

    JSON has no typed null: a part whose `url` is null throughout would have another type than the next one and no loader
    could join them, so a text that is null is written as the empty text.
    """
    texts = {column.name: "" for column in batch.schema if pa.types.is_string(column.type)}
    lines = []
    for row in batch.to_pylist():
        row |= {name: empty for name, empty in texts.items() if row[name] is None}
        lines.append(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return pa.record_batch([pa.array(lines, pa.large_binary())], schema=LINES)


class _JsonLines:
    """Rows to one file of JSON lines under Zstandard, with a checksum in its frame; `LINES` are taken as they are."""

    def __init__(self, file: storage.Hashed, schema: pa.Schema) -> None:
        self.rows = 0
        self._file = zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(
            cast(IO[bytes], file), closefd=False
        )

    def write(self, batch: pa.RecordBatch) -> None:
        self.rows += len(batch)
        if batch.schema != LINES:
            batch = json_lines(batch)
        offsets = np.frombuffer(batch["line"].buffers()[1], np.int64)[batch["line"].offset :]
        self._file.write(memoryview(batch["line"].buffers()[2])[offsets[0] : offsets[len(batch)]])

    def close(self, facts: str) -> None:
        self._file.close()  # type: ignore[no-untyped-call]

    def abandon(self) -> None:
        """Nothing is left open."""


def known(table: Table, verb: str) -> dict[str, dict[str, Any]]:
    """The manifest's lines about parts that are still there, by name.

    Raises ExperimentError where another configuration made the table; `verb` is what makes it.
    """
    told = _made_by(table)
    if told is not None and told["config_hash"] != table.hash:
        raise made_by_another(table.path, told["config"], as_tree(table.config), verb)
    if told is None or "parts" not in told:
        return {}
    there = storage.sizes(table.path)
    return {line["name"]: line for line in told["parts"] if there.get(table.file_name(line["name"])) == line["bytes"]}


def make_again(table: Table) -> None:
    """Remove what another configuration made of a table that costs little to make."""
    found = _made_by(table)
    if found is not None and found["config_hash"] != table.hash:
        storage.remove(table.manifest)
        for name in storage.sizes(table.path):
            if name.endswith(table.format):
                storage.remove(table.path / name)


def _made_by(table: Table) -> Mapping[str, Any] | None:
    """The manifest, or the facts of a part, of what is there; None where there is nothing."""
    if storage.exists(table.manifest):
        told: dict[str, Any] = storage.read_json(table.manifest)
        return told
    for name in sorted(storage.sizes(table.path)):
        if name.startswith(table.prefix) and name.endswith(f".{table.format}"):
            facts = table.facts(Part(name.removeprefix(table.prefix).removesuffix(f".{table.format}"), "", ""))
            if facts is not None:
                return facts
    return None


def publish(
    stage: str, table: Table, entries: Sequence[Mapping[str, Any]], failed: Mapping[str, str] | None = None
) -> StageReport:
    """Write the manifest from the lines about all parts, unless the one there says the same, whatever versions it names.

    `failed` names parts that the table is published without, and why.
    """
    lines = sorted(entries, key=lambda line: line["name"])
    counts = Counter[str]()
    for line in lines:
        counts.update(line["counts"])
    damaged = [{"part": line["name"], **damage} for line in lines for damage in line["damaged"]]
    told = {
        "stage": stage,
        "config": as_tree(table.config),
        "config_hash": table.hash,
        "versions": {library: version(library) for library in LIBRARIES} | {"python": sys.version.split()[0]},
        "parts": lines,
        "rows": sum(line["rows"] for line in lines),
        "counts": dict(sorted(counts.items())),
        "damaged": damaged,
    } | ({"failed": dict(sorted(failed.items()))} if failed else {})
    before = storage.read_json(table.manifest) if storage.exists(table.manifest) else {}
    if before | {"versions": told["versions"]} != told:
        write_whole(table.manifest, (json.dumps(told, indent=1, sort_keys=True) + "\n").encode())
    return StageReport(told["rows"], told["counts"], damaged)


@cache
def code_version() -> str:
    """This project's version, with the commit where the code is a checkout."""
    said = subprocess.run(
        ["git", "-C", str(HOME), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return version("goodhart") + (f"+{said.stdout.strip()}" if said.returncode == 0 else "")
