"""The part loop: a map job is a function from one part to the rows of one or more tables, and the loop does the rest.

A killed job finds what is done by looking: at the manifest for what was finished before, in the tasks for the rest. A rerun
does nothing, a second attempt of the same task writes the same bytes.
"""

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession
from tqdm import tqdm

from eval.side_by_side import why
from filters.files import told_full
from jobs.parts import reuse, storage
from jobs.parts.refusals import ExperimentError, InvariantBroken
from jobs.parts.session import received, stand_in, whereabouts
from jobs.parts.table import Part, PartReport, StageReport, Table, entry, known, publish, state, writer
from jobs.shards.locations import without_secrets

LOST = re.compile(r"Task (\d+) in stage \S+ failed (\d+) times, most recent failure: (?:Lost task [^)]*\) \([^)]*\): )?(.*)")
"""What Spark says when it gives up on a task: which one, after how many attempts, and why."""

LEFT_OUT: ContextVar[list[str] | None] = ContextVar("LEFT_OUT", default=None)
"""What is said at the end of parts that failed; None where a failed part stops the job (without `--skip-failed`)."""

Value = TypeVar("Value")
Work = Callable[[Part, Sequence[Table], PartReport], Iterator[tuple[str, pa.RecordBatch]]]
"""(part, tables still to write, report) -> (table name, rows) in order."""


@dataclass(frozen=True)
class Outcome:
    """A part after its task: the rows written and its lines for the manifests by table name, or why it failed.

    `broken`: what failed is that counts do not add up.
    """

    part: str
    rows: int
    failure: str | None = None
    broken: bool = False
    entries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class PartsFailed(RuntimeError):
    """Some parts failed while the others are done."""


def to_do(verb: str, parts: Sequence[Part], tables: Sequence[Table]) -> list[Part]:
    """The parts that the manifests do not have and `reuse:` does not offer: tasks will look which are whole all the same.

    `verb` is what makes the tables. Raises ExperimentError where a table was made by another configuration.
    """
    missing = _missing(parts, {table.name: known(table, verb) for table in tables})
    offered = _offered(missing, tables)
    return [part for part in missing if part.name not in offered]


def _offered(parts: Sequence[Part], tables: Sequence[Table]) -> set[str]:
    """The names of the parts that `reuse:` offers for all tables."""
    offers = [reuse.offered(table, parts) for table in tables]
    return {part.name for part in parts if all(part.name in some for some in offers)}


def _missing(parts: Sequence[Part], lines: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Part]:
    """The parts that some table's manifest lines do not have."""
    return [part for part in parts if not all(_same(some.get(part.name), part) for some in lines.values())]


def _same(line: Mapping[str, Any] | None, part: Part) -> bool:
    return line is not None and line["from"] == part.identity


def plan(verb: str, parts: Sequence[Part], tables: Sequence[Table]) -> str:
    """One line for --dry-run."""
    missing = [part for part in to_do(verb, parts, tables) if any(state(table, part) != "done" for table in tables)]
    taken = _offered(_missing(parts, {table.name: known(table, verb) for table in tables}), tables)
    names = ", ".join(table.name for table in tables)
    listed = ", ".join(part.name for part in missing[:5]) + (" ..." if len(missing) > 5 else "")
    return (
        f"{verb}: {len(parts)} parts into {names}; {len(parts) - len(missing) - len(taken)} done, "
        + (f"{len(taken)} to take, " if taken else "")
        + f"{len(missing)} to run"
        + (f" ({listed})" if missing else "")
    )


def run(
    spark: Callable[[], SparkSession], verb: str, parts: Sequence[Part], tables: Sequence[Table], work: Work
) -> dict[str, StageReport]:
    """Run `work` on every part that is not done, then write the manifests. Starts Spark only when there is work.

    What `reuse:` offers is taken before.

    Raises PartsFailed, after all other parts are done, naming each part and its reason, and InvariantBroken for a part whose
    counts do not add up. With `--skip-failed` the tables are published without the parts that fail; the next run tries them
    again.
    """
    if not parts:
        raise ExperimentError(f"{verb}: there are no parts to work on")
    lines = {table.name: known(table, verb) for table in tables}
    lacking = {name: [part for part in parts if not _same(some.get(part.name), part)] for name, some in lines.items()}
    for name, some in reuse.take(tables, lacking, verb).items():
        lines[name] |= some
    missing = _missing(parts, lines)
    if missing:
        for table in tables:
            storage.remove(table.manifest)
            storage.remove_left_overs(table.path)
        try:
            found = _all(spark(), verb, missing, tables, work)
        finally:
            for table in tables:
                storage.remove_left_overs(table.path)
        for outcome in found:
            for name, line in outcome.entries.items():
                lines[name][outcome.part] = dict(line)
    else:
        found = []
    failed = {outcome.part: outcome.failure for outcome in found if outcome.failure}
    if broken := [f"\n  {outcome.part}: {outcome.failure}" for outcome in found if outcome.broken]:
        raise InvariantBroken(f"{verb}: counts do not add up, so nothing is published:{''.join(broken)}")
    _tell_failed(verb, failed, len(parts))
    whole = [part.name for part in parts if part.name not in failed]
    return {table.name: publish(verb, table, [lines[table.name][name] for name in whole], failed) for table in tables}


def _tell_failed(stage: str, failed: Mapping[str, str], parts: int) -> None:
    """Raise PartsFailed, naming each, or where parts may be left out keep their names for the end.

    No part is left out for a full disk: that says nothing of the part.
    """
    if not failed:
        return
    listed = "".join(f"\n  {name}: {failure}" for name, failure in sorted(failed.items()))
    left_out = LEFT_OUT.get()
    if left_out is None or len(failed) == parts or any(map(told_full, failed.values())):
        raise PartsFailed(f"{stage}: {len(failed)} of {parts} parts failed, the others are done:{listed}")
    left_out.append(f"{stage}: {len(failed)} of {parts} parts are left out:{listed}")


def _all(spark: SparkSession, stage: str, missing: Sequence[Part], tables: Sequence[Table], work: Work) -> list[Outcome]:
    rows = spark.sparkContext.accumulator(0)  # for the progress bar alone: counts come from committed footers
    done = spark.sparkContext.accumulator(0)

    here = whereabouts()

    def task(part: Part) -> Outcome:
        stand_in(here)
        outcome = write_part(part, tables, work)
        rows.add(outcome.rows)
        done.add(1)
        return outcome

    return watch(stage, len(missing), lambda: list(outcomes(spark, missing, task)), lambda: (done.value, rows.value))


def outcomes(spark: SparkSession, missing: Sequence[Part], task: Callable[[Part], Outcome]) -> Iterator[Outcome]:
    """Outcomes of the parts. A task whose worker dies again and again ends Spark's job: the others go on in a new one."""
    left = list(missing)
    while left:
        try:
            yield from received(spark.sparkContext.parallelize(left, len(left)).map(task).collect())
            return
        except Py4JJavaError as error:  # not an error of the task's code, which pyspark raises as another type
            lost = LOST.search(str(error))
            if lost is None:
                raise
            yield Outcome(left.pop(int(lost[1])).name, 0, f"its task died {lost[2]} times: {lost[3]}")


def watch(
    stage: str, parts: int, job: Callable[[], Value], progress: Callable[[], tuple[int, int | None]], what: str = "pages"
) -> Value:
    """The job's value; while it runs, parts done, pages (or what else is counted), their number a second and time left are
    drawn.
    """
    values: list[Value] = []
    errors: list[BaseException] = []

    def run_job() -> None:
        try:
            values.append(job())
        except Exception as error:  # noqa: BLE001 - whatever stops Spark itself is raised again in the caller's thread
            errors.append(error)

    runner = threading.Thread(target=run_job, daemon=True)
    runner.start()
    begun = time.monotonic()
    # A terminal is redrawn all the time, a log gets a line now and then.
    every = 0.2 if sys.stderr.isatty() else 10.0
    with tqdm(total=parts, desc=stage, unit="part", file=sys.stderr, mininterval=every, dynamic_ncols=True) as bar:
        while runner.is_alive():
            runner.join(timeout=every)
            finished_parts, pages = progress()
            if pages is not None:
                per_second = pages / max(time.monotonic() - begun, 1e-9)
                bar.set_postfix_str(f"{pages:,} {what}, {per_second:,.0f} {what}/s", refresh=False)
            bar.update(finished_parts - bar.n)
    if errors:
        raise errors[0]
    return values[0]


def write_part(part: Part, tables: Sequence[Table], work: Work) -> Outcome:
    """One task: the rows of one part into every table that lacks them. Writes nothing that is not whole."""
    report = PartReport()
    try:
        part.check()
        part = part.hashed()
        states = {table.name: state(table, part) for table in tables}
        for table in tables:
            if states[table.name] == "other":
                raise ExperimentError(f"{table.file(part)} was made by another configuration: remove {table.path}")
        missing = [table for table in tables if states[table.name] == "missing"]
        with ExitStack() as stack:
            writers = {table.name: stack.enter_context(writer(table, part, report)) for table in missing}
            for name, batch in work(part, missing, report) if missing else ():
                if name in writers:  # a table that is whole already is not written again
                    writers[name].write(batch)
        entries = {table.name: entry(table, part) for table in tables if table not in missing}
        entries |= {name: one.entry for name, one in writers.items()}
    except Exception as error:  # noqa: BLE001 - one bad part must not stop the others: it is listed at the end
        return Outcome(part.name, 0, without_secrets(why(error)), isinstance(error, InvariantBroken))
    return Outcome(part.name, max((one.rows for one in writers.values()), default=0), entries=entries)
