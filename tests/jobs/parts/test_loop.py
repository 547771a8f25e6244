"""The part loop without Spark: what is whole is kept, what is not is redone, and nobody sees half a part."""

import errno
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.parts import loop
from jobs.parts.loop import plan, run, to_do, write_part
from jobs.parts.refusals import ExperimentError, InvariantBroken
from jobs.parts.storage import held
from jobs.parts.table import Part, Table, entry, finished, footer, identity_of, parts_of, publish

SCHEMA = pa.schema([("id", pa.string()), ("number", pa.int64())])
PARTS = [Part(f"shard-{at}", f"source-{at}", f"identity-{at}") for at in range(3)]


def table_in(folder, config="one", **more):
    return Table(folder / "numbers", {"config": config}, SCHEMA, **more)


def work(part, missing, report):
    report.counts["seen"] += 2
    yield "numbers", pa.record_batch([[part.name, "b"], [1, 2]], schema=SCHEMA)


def made(table, parts=PARTS):
    table.path.mkdir(parents=True, exist_ok=True)
    for part in parts:
        assert write_part(part, [table], work).failure is None


def no_spark():
    raise AssertionError("Spark was started although there is nothing to do")


def test_a_whole_part_says_what_made_it_and_what_it_holds(tmp_path):
    made(table_in(tmp_path), PARTS[:1])
    told = footer(tmp_path / "numbers" / "shard-0.parquet")
    assert told["config_hash"] == table_in(tmp_path).hash
    assert told["from"] == "identity-0"
    assert told["counts"] == {"seen": 2}


def test_finished_work_is_not_done_again(tmp_path):
    table = table_in(tmp_path)
    made(table)
    publish("count", table, [entry(table, part) for part in PARTS])
    [report] = run(no_spark, "count", PARTS, [table], work).values()
    assert report.rows == 6
    assert report.counts == {"seen": 6}
    before = {file: file.stat().st_mtime_ns for file in table.path.iterdir()}
    run(no_spark, "count", PARTS, [table], work)
    assert {file: file.stat().st_mtime_ns for file in table.path.iterdir()} == before


@pytest.mark.parametrize("form", ["parquet", "jsonl.zst"])
def test_a_second_attempt_writes_the_same_bytes(tmp_path, form):
    one, two = (table_in(tmp_path / name, format=form) for name in ("one", "two"))
    made(one)
    made(two)
    for part in PARTS:
        assert one.file(part).read_bytes() == two.file(part).read_bytes()


def test_what_a_killed_job_left_whole_is_looked_at_and_kept(tmp_path):
    """Its parts are in no manifest: each task looks at its own, and writes only what is not there."""
    table = table_in(tmp_path)
    made(table, PARTS[:1])
    assert to_do("count", PARTS, [table]) == PARTS
    before = table.file(PARTS[0]).stat().st_mtime_ns
    again = write_part(PARTS[0], [table], work)
    assert table.file(PARTS[0]).stat().st_mtime_ns == before and again.rows == 0
    assert again.entries["numbers"] == entry(table, PARTS[0])


@pytest.mark.parametrize("form", ["parquet", "jsonl.zst"])
def test_what_is_said_of_a_part_is_what_it_holds(tmp_path, form):
    table = table_in(tmp_path, format=form, books=tmp_path / "books")
    table.path.mkdir()
    said = write_part(PARTS[0], [table], work).entries["numbers"]
    file = table.file(PARTS[0])
    assert (said["bytes"], said["sha256"]) == (file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
    assert said == entry(table, PARTS[0])
    assert list(table.path.iterdir()) == [file]


def test_a_table_without_its_manifest_is_unfinished(tmp_path):
    table = table_in(tmp_path)
    made(table)
    with pytest.raises(ExperimentError, match="missing or unfinished"):
        finished(table.path)
    publish("count", table, [entry(table, part) for part in PARTS])
    assert [part.name for part in parts_of(table.path)] == [part.name for part in PARTS]


@pytest.mark.parametrize("published", [False, True])
def test_another_configuration_is_refused_with_the_keys_that_changed_and_the_way_out(tmp_path, published):
    made(table_in(tmp_path))
    if published:
        publish("count", table_in(tmp_path), [entry(table_in(tmp_path), part) for part in PARTS])
    with pytest.raises(ExperimentError) as refusal:
        to_do("count", PARTS, [table_in(tmp_path, "two")])
    assert "numbers was made by another configuration: config was one and is two" in str(refusal.value)
    assert "add --redo count to remove it with all that depends on it" in str(refusal.value)


def test_libraries_of_other_versions_make_no_other_manifest(tmp_path):
    """What is made of a table goes by its manifest: an update must not make all of it another's."""
    table = table_in(tmp_path)
    made(table)
    publish("count", table, [entry(table, part) for part in PARTS])
    told = json.loads(table.manifest.read_text())
    table.manifest.write_text(json.dumps(told | {"versions": {"numpy": "1.0"}}))
    run(no_spark, "count", PARTS, [table], work)
    assert json.loads(table.manifest.read_text())["versions"] == {"numpy": "1.0"}


def test_a_part_made_from_other_content_is_made_again(tmp_path):
    table = table_in(tmp_path)
    made(table)
    publish("count", table, [entry(table, part) for part in PARTS])
    changed = [PARTS[0], Part("shard-1", "source-1", "changed"), PARTS[2]]
    assert [part.name for part in to_do("count", changed, [table])] == ["shard-1"]


def test_a_damaged_part_is_made_again(tmp_path):
    table = table_in(tmp_path)
    made(table)
    publish("count", table, [entry(table, part) for part in PARTS])
    file = table.file(PARTS[1])
    file.write_bytes(file.read_bytes()[:-20])
    assert [part.name for part in to_do("count", PARTS, [table])] == ["shard-1"]


def test_a_part_that_fails_leaves_nothing_and_names_its_reason(tmp_path):
    table = table_in(tmp_path)
    table.path.mkdir(parents=True)

    def failing(part, missing, report):
        yield from work(part, missing, report)
        raise ValueError("the third record is mad")

    outcome = write_part(PARTS[0], [table], failing)
    line = failing.__code__.co_firstlineno + 2
    assert outcome.failure == f"ValueError: the third record is mad (test_loop.py:{line})" and outcome.rows == 0
    assert list(table.path.iterdir()) == []
    with pytest.raises(OSError, match="not whole"):
        entry(table, PARTS[0])


def test_pages_have_checksums_that_notice_a_flipped_byte(tmp_path):
    table = table_in(tmp_path)
    made(table, PARTS[:1])
    file = table.file(PARTS[0])
    column = pq.read_metadata(file).row_group(0).column(0)
    at = column.data_page_offset + column.total_compressed_size - 1
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    with pytest.raises(OSError, match="checksum"):
        pq.read_table(file, page_checksum_verification=True)


def test_a_dry_run_says_what_is_done_and_what_would_run(tmp_path):
    table = table_in(tmp_path)
    made(table, PARTS[:2])
    assert plan("count", PARTS, [table]) == "count: 3 parts into numbers; 2 done, 1 to run (shard-2)"
    made(table, PARTS[2:])
    assert plan("count", PARTS, [table]) == "count: 3 parts into numbers; 3 done, 0 to run"


@pytest.mark.parametrize(("number", "listed"), [(5, "0, 1, 2, 3, 4"), (6, "0, 1, 2, 3, 4 ...")])
def test_a_dry_run_names_the_first_five_parts(tmp_path, number, listed):
    parts = [Part(str(at), "", "") for at in range(number)]
    told = plan("count", parts, [table_in(tmp_path)])
    assert told == f"count: {number} parts into numbers; 0 done, {number} to run ({listed})"


def test_what_another_folder_offers_is_not_to_be_done(tmp_path, monkeypatch):
    """A part counts as offered where it is for every table."""
    one, other = table_in(tmp_path / "one"), Table(tmp_path / "two" / "others", {}, SCHEMA)
    offers = {"numbers": {"shard-0", "shard-1"}, "others": {"shard-1", "shard-2"}}
    monkeypatch.setattr(loop.reuse, "offered", lambda table, parts: dict.fromkeys(offers[table.name]))
    assert [part.name for part in to_do("count", PARTS, [one, other])] == ["shard-0", "shard-2"]
    said = "count: 3 parts into numbers, others; 0 done, 1 to take, 2 to run (shard-0, shard-2)"
    assert plan("count", PARTS, [one, other]) == said
    assert to_do("count", PARTS, [one]) == PARTS[2:]


def test_only_what_each_table_lacks_is_taken_from_another_folder(tmp_path, monkeypatch, in_one_process):
    one, other = table_in(tmp_path), Table(tmp_path / "others", {}, SCHEMA)
    made(one)
    publish("count", one, [entry(one, part) for part in PARTS])
    asked = {}

    def take(tables, lacking, verb):
        asked.update({name: [part.name for part in parts] for name, parts in lacking.items()})
        return {name: {} for name in lacking}

    def both(part, missing, report):
        assert [table.name for table in missing] == ["others"]
        yield from ((name, batch) for _, batch in work(part, missing, report) for name in ("numbers", "others"))

    monkeypatch.setattr(loop.reuse, "take", take)
    before = one.file(PARTS[0]).stat().st_mtime_ns
    reports = run(lambda: None, "count", PARTS, [one, other], both)
    assert asked == {"numbers": [], "others": [part.name for part in PARTS]}
    assert {name: report.rows for name, report in reports.items()} == {"numbers": 6, "others": 6}
    assert one.file(PARTS[0]).stat().st_mtime_ns == before  # whole already: its rows are not written again


def test_what_a_killed_writer_was_writing_is_removed_before_and_after(tmp_path, in_one_process):
    table = table_in(tmp_path)
    table.path.mkdir()

    def leaving(part, missing, report):
        assert not (table.path / ".killed.tmp").exists()
        (table.path / f".{part.name}.left.tmp").touch()
        yield from work(part, missing, report)

    (table.path / ".killed.tmp").touch()
    run(lambda: None, "count", PARTS, [table], leaving)
    assert not list(table.path.glob("*.tmp")) and len(list(table.path.iterdir())) == 4


def test_a_part_whose_source_was_changed_is_not_worked_on(tmp_path):
    source, table = table_in(tmp_path), Table(tmp_path / "next", {}, SCHEMA)
    made(source, PARTS[:1])
    publish("count", source, [entry(source, PARTS[0])])
    [part] = parts_of(source.path)
    data = bytearray(source.file(PARTS[0]).read_bytes())
    data[-9] ^= 1
    source.file(PARTS[0]).write_bytes(data)
    outcome = write_part(part, [table], lambda *_: pytest.fail("it was worked on"))
    assert "is not as it was written" in outcome.failure


def test_two_jobs_on_one_folder_are_refused(tmp_path):
    with held(tmp_path), pytest.raises(ExperimentError, match="another job"), held(tmp_path):
        pass


def test_no_parts_is_an_error(tmp_path):
    with pytest.raises(ExperimentError, match="no parts"):
        run(no_spark, "count", [], [table_in(tmp_path)], work)


KILLED = """
import sys, time
sys.path.insert(0, {home!r})
from pathlib import Path
import pyarrow as pa
from jobs.parts.loop import write_part
from jobs.parts.table import Part, Table
SCHEMA = pa.schema([("id", pa.string()), ("number", pa.int64())])
table = Table(Path({folder!r}) / "numbers", {{"config": "one"}}, SCHEMA)
table.path.mkdir(parents=True, exist_ok=True)
def work(part, missing, report):
    for at in range(60):
        yield "numbers", pa.record_batch([[str(at)] * 1000, list(range(1000))], schema=SCHEMA)
        time.sleep(0.002)
print("ready", flush=True)
for at in range(100):
    write_part(Part(f"shard-{{at}}", "source", "identity"), [table], work)
"""


@pytest.mark.parametrize("after_s", [0.03, 0.11, 0.23])
def test_a_killed_writer_leaves_whole_parts_or_none(tmp_path, after_s):
    home = str(Path(__file__).resolve().parents[3])
    script = KILLED.format(home=home, folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(after_s)
        os.kill(process.pid, signal.SIGKILL)
    for file in (tmp_path / "numbers").glob("*.parquet"):
        assert pq.read_table(file).num_rows == 60_000


def test_a_manifest_is_the_same_bytes_every_time(tmp_path):
    tables = [table_in(tmp_path / name) for name in ("one", "two")]
    for table in tables:
        made(table)
        publish("count", table, [entry(table, part) for part in PARTS])
    one, two = ((table.path / "_manifest.json").read_text() for table in tables)
    assert one == two
    assert json.loads(one)["rows"] == 6


@pytest.fixture
def in_one_process(monkeypatch):
    monkeypatch.setattr(
        loop, "_all", lambda spark, stage, missing, tables, work: [write_part(part, tables, work) for part in missing]
    )


def mad(part, missing, report):
    if part.name == "shard-1":
        raise ValueError("this one is mad")
    return work(part, missing, report)


class Died(loop.Py4JJavaError):
    """What pyspark raises where Spark gives up on a task."""

    def __init__(self, task):
        why = "Lost task 0.3 in stage 7.0 (TID 9) (here executor driver): worker crashed"
        self.said = f"Job aborted: Task {task} in stage 7.0 failed 4 times, most recent failure: {why}"

    def __str__(self):
        return self.said


class Here:
    """A session whose tasks run here, one after the other; some parts kill them. It counts."""

    def __init__(self, deadly=()):
        self.sparkContext, self.deadly, self.counts, self.jobs = self, deadly, [], []

    def accumulator(self, value):
        counted = SimpleNamespace(value=value)
        counted.add = lambda more: setattr(counted, "value", counted.value + more)
        self.counts.append(counted)
        return counted

    def parallelize(self, parts, pieces):
        assert pieces == len(parts)
        self.jobs.append([part.name for part in parts])
        return SimpleNamespace(map=lambda task: SimpleNamespace(collect=lambda: self.run_all(parts, task)))

    def run_all(self, parts, task):
        for at, part in enumerate(parts):
            if part.name in self.deadly:
                raise Died(at)
        return [task(part) for part in parts]


def test_a_part_that_kills_its_workers_is_named_and_the_others_are_done_in_new_jobs(tmp_path):
    here, table = Here(deadly=("shard-0", "shard-2")), table_in(tmp_path)
    with pytest.raises(loop.PartsFailed) as failed:
        run(lambda: here, "count", PARTS, [table], work)
    why = "its task died 4 times: worker crashed"
    assert str(failed.value) == f"count: 2 of 3 parts failed, the others are done:\n  shard-0: {why}\n  shard-2: {why}"
    assert here.jobs == [["shard-0", "shard-1", "shard-2"], ["shard-1", "shard-2"], ["shard-1"]]
    assert [file.name for file in table.path.iterdir()] == ["shard-1.parquet"]
    lost = next(loop.outcomes(Here(deadly=("shard-1",)), PARTS, lambda part: None))
    assert (lost.part, lost.rows) == ("shard-1", 0)


def test_an_error_of_spark_that_names_no_task_is_raised(tmp_path):
    class Lost(Died):
        def __str__(self):
            return "the cluster is gone"

    here = Here()
    here.run_all = lambda *_: (_ for _ in ()).throw(Lost(0))
    with pytest.raises(Lost):
        run(lambda: here, "count", PARTS, [table_in(tmp_path)], work)


def test_tasks_stand_where_the_driver_stands_and_tell_how_far_they_are(tmp_path, monkeypatch):
    stood, here = [], Here()
    monkeypatch.setattr(loop, "whereabouts", lambda: "the driver's")
    monkeypatch.setattr(loop, "stand_in", stood.append)
    run(lambda: here, "count", PARTS, [table_in(tmp_path)], work)
    assert stood == ["the driver's"] * 3 and [count.value for count in here.counts] == [6, 3]


@pytest.mark.parametrize(("terminal", "pages", "said"), [(True, 50, "50 pages, 25 pages/s"), (False, None, None)])
def test_while_a_job_runs_its_parts_pages_and_speed_are_drawn(monkeypatch, terminal, pages, said):
    drawn, released, asked, clock = [], threading.Event(), [], itertools.chain([100.0], itertools.repeat(102.0))

    class Bar:
        def __init__(self, **how):
            asked.append((how["total"], how["desc"], how["mininterval"]))
            self.n = 1

        def __enter__(self):
            return self

        def __exit__(self, *_):
            drawn.append(("parts", self.n))

        def set_postfix_str(self, text, refresh):
            drawn.append((text, refresh))

        def update(self, more):
            self.n += more
            released.set()

    monkeypatch.setattr(loop, "tqdm", Bar)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(loop, "sys", SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: terminal)))
    monkeypatch.setattr(loop.threading.Thread, "join", lambda self, timeout: asked.append(timeout) or plain_join(self, 0.01))
    assert loop.watch("read", 3, lambda: released.wait(5) and "done", lambda: (3, pages)) == "done"
    every = 0.2 if terminal else 10.0
    assert asked[:2] == [(3, "read", every), every]
    assert drawn[-1] == ("parts", 3) and (said is None or drawn[0] == (said, False)) and (said or len(drawn) == 1)


plain_join = threading.Thread.join


def test_an_error_of_the_job_is_raised_where_it_was_asked_for():
    with pytest.raises(KeyError, match="gone"):
        loop.watch("read", 1, lambda: {}["gone"], lambda: (0, None))


def test_where_all_parts_fail_nothing_is_left_out(tmp_path, in_one_process):
    before = loop.LEFT_OUT.set([])
    try:
        with pytest.raises(loop.PartsFailed, match="1 of 1 parts failed"):
            run(lambda: None, "count", PARTS[1:2], [table_in(tmp_path)], mad)
    finally:
        loop.LEFT_OUT.reset(before)


def test_a_part_that_fails_leaves_the_table_unfinished(tmp_path, in_one_process):
    table = table_in(tmp_path)
    with pytest.raises(loop.PartsFailed, match="1 of 3 parts failed, the others are done:\n  shard-1: ValueError: this one"):
        run(lambda: None, "count", PARTS, [table], mad)
    with pytest.raises(ExperimentError, match="unfinished"):
        finished(table.path)


def test_a_part_whose_counts_do_not_add_up_stops_all_even_where_parts_may_be_left_out(tmp_path, in_one_process):
    def broken(part, missing, report):
        if part.name == "shard-1":
            raise InvariantBroken("3 records are lost")
        return work(part, missing, report)

    table, before = table_in(tmp_path), loop.LEFT_OUT.set([])
    try:
        with pytest.raises(InvariantBroken, match=r"nothing is published:\n  shard-1: InvariantBroken: 3 records are lost"):
            run(lambda: None, "count", PARTS, [table], broken)
    finally:
        loop.LEFT_OUT.reset(before)
    assert not table.manifest.exists()


def test_no_part_is_left_out_for_a_full_disk(tmp_path, in_one_process):
    def full(part, missing, report):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield

    def some(part, missing, report):
        return (full if part.name == "shard-1" else work)(part, missing, report)

    before = loop.LEFT_OUT.set([])
    try:
        with pytest.raises(loop.PartsFailed, match="1 of 3"):
            run(lambda: None, "count", PARTS, [table_in(tmp_path)], some)
    finally:
        loop.LEFT_OUT.reset(before)


@pytest.mark.parametrize("dies", [ValueError("mad"), KeyboardInterrupt()], ids=["fails", "stopped"])
def test_a_table_that_is_made_again_is_unfinished_until_all_of_it_is(tmp_path, in_one_process, dies):
    """One part's content changed: what stops the work half-way leaves no manifest that calls the old parts whole."""
    table = table_in(tmp_path)
    run(lambda: None, "count", PARTS, [table], work)
    changed = [PARTS[0], Part("shard-1", "source-1", "changed"), PARTS[2]]

    def dying(part, missing, report):
        yield from work(part, missing, report)
        raise dies

    with pytest.raises((loop.PartsFailed, KeyboardInterrupt)):
        run(lambda: None, "count", changed, [table], dying)
    assert not table.manifest.exists()
    with pytest.raises(ExperimentError, match="unfinished"):
        finished(table.path)
    seen = []
    run(lambda: None, "count", changed, [table], lambda part, *more: (seen.append(part.name), *work(part, *more))[1:])
    assert seen == ["shard-1"] and {line["from"] for line in finished(table.path)["parts"]} == {
        part.identity for part in changed
    }


def test_the_digests_of_a_manifest_are_those_of_the_files_and_its_own_is_the_tables(tmp_path, in_one_process):
    table = table_in(tmp_path)
    run(lambda: None, "count", PARTS, [table], work)
    for line in finished(table.path)["parts"]:
        data = (table.path / line["file"]).read_bytes()
        assert (line["sha256"], line["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
        footer_at = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        assert line["footer"] == hashlib.sha256(data[footer_at:]).hexdigest()
    assert [part.identity for part in parts_of(table.path)] == [line["sha256"] for line in finished(table.path)["parts"]]
    assert identity_of(table.path) == hashlib.sha256(table.manifest.read_bytes()).hexdigest()


def test_where_failed_parts_may_be_left_out_the_manifest_names_them_and_the_next_run_tries_again(tmp_path, in_one_process):
    table, said = table_in(tmp_path), []
    before = loop.LEFT_OUT.set(said)
    try:
        assert run(lambda: None, "count", PARTS, [table], mad)["numbers"].rows == 4
    finally:
        loop.LEFT_OUT.reset(before)
    assert "shard-1: ValueError: this one is mad" in said[0]
    told = finished(table.path)
    assert [part["name"] for part in told["parts"]] == ["shard-0", "shard-2"] and "mad" in told["failed"]["shard-1"]
    assert run(lambda: None, "count", PARTS, [table], work)["numbers"].rows == 6
    assert "failed" not in finished(table.path)
