"""The part loop: a map job is a function from one part to the rows of one or more tables, and the loop does the rest.

A part's output is written aside and renamed when whole; its footer holds the configuration that made it, what it was made
from, and its counts. So a finished part needs no other record: a killed job finds what is done by looking, a rerun does
nothing, a second attempt of the same task writes the same bytes. `_manifest.json` comes last; a table without it is
unfinished.
"""

import fcntl
import json
import os
import re
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession
from tqdm import tqdm

from filters.files import sha256_of, sync_file, write_whole
from jobs.parts.experiment_file import ExperimentError, as_tree, config_hash, made_by_another
from jobs.parts.session import HOME, stand_in

FOOTER = b"goodhart"
MANIFEST = "_manifest.json"
FORMATS = ("jsonl.zst", "parquet")
LOST = re.compile(r"Task (\d+) in stage \S+ failed (\d+) times, most recent failure: (?:Lost task [^)]*\) \([^)]*\): )?(.*)")
"""What Spark says when it gives up on a task: which one, after how many attempts, and why."""
LIBRARIES = ("pyarrow", "fastwarc", "resiliparse", "fasttext", "numba", "tokenizers", "pyspark", "numpy")


@dataclass(frozen=True)
class Part:
    """One unit of a map job: where its rows come from and what identifies that content."""

    name: str
    source: str
    identity: str


@dataclass(frozen=True)
class Table:
    """A folder of parts written by one job under one configuration."""

    path: Path
    config: Mapping[str, Any]
    schema: pa.Schema
    format: str = "parquet"
    prefix: str = ""

    @property
    def name(self) -> str:
        """The last folder of the path."""
        return self.path.name

    @property
    def hash(self) -> str:
        """What names the configuration."""
        return config_hash(self.config)

    def file(self, part: Part) -> Path:
        """Where the output of a part lies."""
        return self.path / f"{self.prefix}{part.name}.{self.format}"


@dataclass
class PartReport:
    """What a task says about its part: counts by reason, and where its input is damaged."""

    counts: Counter[str] = field(default_factory=Counter)
    damaged: list[dict[str, Any]] = field(default_factory=list)


Work = Callable[[Part, Sequence[Table], PartReport], Iterator[tuple[str, pa.RecordBatch]]]
"""(part, tables still to write, report) -> (table name, rows) in order."""


@dataclass(frozen=True)
class Outcome:
    """A part after its task: the rows written, or why it failed."""

    part: str
    rows: int
    failure: str | None = None


@dataclass(frozen=True)
class StageReport:
    """A table after its job."""

    rows: int
    counts: Mapping[str, int]
    damaged: Sequence[Mapping[str, Any]]


class PartsFailed(RuntimeError):
    """Some parts failed while the others are done."""


def footer(file: Path) -> dict[str, Any] | None:
    """What a finished part says of itself; None where the file is not there or not whole."""
    if not file.name.endswith(".parquet"):
        beside = _beside(file)
        return json.loads(beside.read_text()) if file.is_file() and beside.is_file() else None
    try:
        metadata = pq.read_metadata(file).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    return json.loads(metadata[FOOTER]) if FOOTER in metadata else None


def _beside(file: Path) -> Path:
    """JSON lines have no footer: what is known of them lies in a hidden file, written before they get their name."""
    return file.with_name(f".{file.name}.json")


def finished(table: Path) -> dict[str, Any]:
    """The manifest of a finished table. Raises ExperimentError where the table is missing or unfinished."""
    manifest = table / MANIFEST
    if not manifest.is_file():
        raise ExperimentError(f"{table} is missing or unfinished (no {MANIFEST}): run the job that makes it first")
    loaded: dict[str, Any] = json.loads(manifest.read_text())
    return loaded


def parts_of(table: Path) -> list[Part]:
    """The parts of a finished table, as input of the next job."""
    return [Part(part["name"], str(table / f"{part['name']}.parquet"), part["sha256"]) for part in finished(table)["parts"]]


def _state(table: Table, part: Part) -> str:
    """done, missing, or the hash of another configuration that made what is there."""
    found = footer(table.file(part))
    if found is None:
        return "missing"
    if found["config_hash"] != table.hash:
        return str(found["config_hash"])
    return "done" if found["from"] == part.identity else "missing"


def to_do(parts: Sequence[Part], tables: Sequence[Table]) -> list[Part]:
    """The parts whose output is not whole. Raises ExperimentError where a table was made by another configuration."""
    missing = []
    for part in parts:
        states = [_state(table, part) for table in tables]
        for table, state in zip(tables, states, strict=True):
            if state not in ("done", "missing"):
                raise made_by_another(table.path, state, table.hash)
        if "missing" in states:
            missing.append(part)
    return missing


def plan(stage: str, parts: Sequence[Part], tables: Sequence[Table]) -> str:
    """One line for --dry-run."""
    missing = to_do(parts, tables)
    names = ", ".join(table.name for table in tables)
    listed = ", ".join(part.name for part in missing[:5]) + (" ..." if len(missing) > 5 else "")
    return f"{stage}: {len(parts)} parts into {names}; {len(parts) - len(missing)} done, {len(missing)} to run" + (
        f" ({listed})" if missing else ""
    )


def run(
    spark: Callable[[], SparkSession], stage: str, parts: Sequence[Part], tables: Sequence[Table], work: Work
) -> dict[str, StageReport]:
    """Run `work` on every part that is not done, then write the manifests. Starts Spark only when there is work.

    Raises PartsFailed, after all other parts are done, naming each part and its reason.
    """
    if not parts:
        raise ExperimentError(f"{stage}: there are no parts to work on")
    missing = to_do(parts, tables)
    for table in tables:
        table.path.mkdir(parents=True, exist_ok=True)
    if missing:
        for table in tables:
            (table.path / MANIFEST).unlink(missing_ok=True)
        _drop_half_written(tables)
        try:
            _all(spark(), stage, missing, tables, work)
        finally:
            _drop_half_written(tables)
    return {table.name: publish(stage, parts, table) for table in tables}


def _drop_half_written(tables: Sequence[Table]) -> None:
    """Remove what processes left that were killed while they wrote."""
    for table in tables:
        for left_over in table.path.glob(".*.tmp"):
            left_over.unlink(missing_ok=True)


def _all(spark: SparkSession, stage: str, missing: Sequence[Part], tables: Sequence[Table], work: Work) -> None:
    rows = spark.sparkContext.accumulator(0)  # for the progress bar alone: counts come from committed footers
    done = spark.sparkContext.accumulator(0)

    here = Path.cwd()

    def task(part: Part) -> Outcome:
        stand_in(here)
        outcome = write_part(part, tables, work)
        rows.add(outcome.rows)
        done.add(1)
        return outcome

    outcomes: list[Outcome] = []
    errors: list[BaseException] = []

    def collect() -> None:
        try:
            outcomes.extend(_outcomes(spark, missing, tables, task))
        except Exception as error:  # whatever stops Spark itself is raised again in the caller's thread
            errors.append(error)

    runner = threading.Thread(target=collect, daemon=True)
    runner.start()
    _watch(runner, stage, len(missing), lambda: (done.value, rows.value))
    if errors:
        raise errors[0]
    failed = sorted((outcome.part, outcome.failure) for outcome in outcomes if outcome.failure)
    if failed:
        listed = "".join(f"\n  {name}: {failure}" for name, failure in failed)
        raise PartsFailed(f"{stage}: {len(failed)} of {len(missing)} parts failed, the others are done:{listed}")


def _outcomes(
    spark: SparkSession, missing: Sequence[Part], tables: Sequence[Table], task: Callable[[Part], Outcome]
) -> Iterator[Outcome]:
    """Outcomes of the parts. A task whose worker dies again and again ends Spark's job: the others go on in a new one."""
    left = list(missing)
    while left:
        try:
            yield from spark.sparkContext.parallelize(left, len(left)).map(task).collect()
            return
        except Py4JJavaError as error:  # not an error of the task's code, which pyspark raises as another type
            lost = LOST.search(str(error))
            if lost is None:
                raise
            yield Outcome(left.pop(int(lost[1])).name, 0, f"its task died {lost[2]} times: {lost[3]}")
            left = to_do(left, tables)


def _watch(runner: threading.Thread, stage: str, parts: int, progress: Callable[[], tuple[int, int]]) -> None:
    """Draw parts, pages, pages per second and time left until the runner ends."""
    begun = time.monotonic()
    # A terminal is redrawn all the time, a log gets a line now and then.
    every = 0.2 if sys.stderr.isatty() else 10.0
    with tqdm(total=parts, desc=stage, unit="part", file=sys.stderr, mininterval=every, dynamic_ncols=True) as bar:
        while True:
            runner.join(timeout=every)
            finished_parts, pages = progress()
            bar.set_postfix_str(
                f"{pages:,} pages, {pages / max(time.monotonic() - begun, 1e-9):,.0f} pages/s", refresh=False
            )
            bar.update(finished_parts - bar.n)
            if not runner.is_alive():
                return


def write_part(part: Part, tables: Sequence[Table], work: Work) -> Outcome:
    """One task: the rows of one part into every table that lacks them. Writes nothing that is not whole."""
    missing = [table for table in tables if _state(table, part) != "done"]
    report = PartReport()
    try:
        with ExitStack() as stack:
            writers = {table.name: stack.enter_context(_writer(table, part, report)) for table in missing}
            for name, batch in work(part, missing, report):
                if name in writers:  # a table that is whole already is not written again
                    writers[name].write(batch)
    except Exception as error:  # one bad part must not stop the others: it is listed with its reason at the end
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(part.name, 0, f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})")
    return Outcome(part.name, max((writer.rows for writer in writers.values()), default=0))


class _Parquet:
    """Rows to one Parquet file, with page checksums and the facts in its footer."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._file = pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True)

    def write(self, batch: pa.RecordBatch) -> None:
        self.rows += len(batch)
        self._file.write_batch(batch)

    def close(self, final: Path, facts: str) -> None:
        self._file.add_key_value_metadata({FOOTER.decode(): facts})
        self._file.close()

    def abandon(self) -> None:
        self._file.close()


class _JsonLines:
    """Rows to one file of JSON lines under Zstandard, with a checksum in its frame."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._raw = file.open("wb")
        self._file = zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(self._raw)

    def write(self, batch: pa.RecordBatch) -> None:
        self.rows += len(batch)
        for row in batch.to_pylist():
            self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def close(self, final: Path, facts: str) -> None:
        self._file.close()  # type: ignore[no-untyped-call]
        write_whole(_beside(final), facts.encode())

    def abandon(self) -> None:
        self._raw.close()


@contextmanager
def _writer(table: Table, part: Part, report: PartReport) -> Iterator[_Parquet | _JsonLines]:
    """A writer beside the final name, moved there when everything was written."""
    final = table.file(part)
    aside = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    writer = (_Parquet if table.format == "parquet" else _JsonLines)(aside, table.schema)
    try:
        yield writer
        facts = {
            "config": as_tree(table.config),
            "config_hash": table.hash,
            "from": part.identity,
            "rows": writer.rows,
            "counts": dict(sorted(report.counts.items())),
            "damaged": report.damaged,
        }
        writer.close(final, json.dumps(facts, sort_keys=True))
        sync_file(aside)
        aside.replace(final)
    finally:
        writer.abandon()
        aside.unlink(missing_ok=True)


def make_again(table: Table) -> None:
    """Remove what another configuration made of a table that costs little to make."""
    table.path.mkdir(parents=True, exist_ok=True)
    for file in table.path.glob(f"*.{table.format}"):
        told = footer(file)
        if told is None or told["config_hash"] != table.hash:
            file.unlink()


def publish(stage: str, parts: Sequence[Part], table: Table) -> StageReport:
    """Write the manifest from what the parts say of themselves, unless the one there says the same."""
    manifest = table.path / MANIFEST
    old = json.loads(manifest.read_text()) if manifest.is_file() else {"parts": []}
    known = {entry["name"]: entry for entry in old["parts"]}
    entries, counts, damaged = [], Counter[str](), []
    for part in sorted(parts, key=lambda part: part.name):
        file = table.file(part)
        facts = footer(file)
        if facts is None:
            raise PartsFailed(f"{stage}: {file} is not whole after its task; run the job again")
        size = file.stat().st_size
        entry = known.get(part.name)
        same = entry is not None and entry["bytes"] == size and entry["from"] == facts["from"]
        digest = entry["sha256"] if entry is not None and same else sha256_of(file)
        entries.append({"name": part.name, "rows": facts["rows"], "bytes": size, "sha256": digest, "from": facts["from"]})
        counts.update(facts["counts"])
        damaged += [{"part": part.name, **damage} for damage in facts["damaged"]]
    told = {
        "stage": stage,
        "config": as_tree(table.config),
        "config_hash": table.hash,
        "versions": {library: version(library) for library in LIBRARIES} | {"python": sys.version.split()[0]},
        "parts": entries,
        "rows": sum(entry["rows"] for entry in entries),
        "counts": dict(sorted(counts.items())),
        "damaged": damaged,
    }
    if told != old:
        write_whole(manifest, (json.dumps(told, indent=1, sort_keys=True) + "\n").encode())
    return StageReport(told["rows"], told["counts"], damaged)


def code_version() -> str:
    """This project's version, with the commit where the code is a checkout."""
    said = subprocess.run(
        ["git", "-C", str(HOME), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return version("goodhart") + (f"+{said.stdout.strip()}" if said.returncode == 0 else "")


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold the output folder: a second job on the same folder is refused, a killed one leaves nothing behind."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExperimentError(f"another job is writing to {out}: wait for it, or set another out:") from error
        yield
