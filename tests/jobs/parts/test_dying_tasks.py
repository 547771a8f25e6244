"""A Python worker that dies is no end: its task is tried again, and a part that kills every worker is named."""

import os
import signal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PythonException

from jobs.parts.loop import PartsFailed, run
from jobs.parts.session import _with_retries, session
from jobs.parts.table import Part, Table

PARTS = [Part(f"shard-{at}", f"source-{at}", f"identity-{at}") for at in range(4)]


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("local", "local[1, 4]"),
        ("local[*]", "local[*, 4]"),
        ("local[2]", "local[2, 4]"),
        ("local[2,1]", "local[2,1]"),
        ("local-cluster[2,1,1024]", "local-cluster[2,1,1024]"),
        ("spark://host:7077", "spark://host:7077"),
    ],
)
def test_a_local_master_allows_retries_unless_it_says_how_many(asked, got):
    assert _with_retries(asked) == got


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path / "numbers", {"config": "one"}, pa.schema([("id", pa.string())]))


def killing(folder, deaths):
    """Work whose parts kill their own worker the first times, in the middle of writing."""

    def work(part, missing, report):
        (folder / f"{part.name}.{len(list(folder.glob(part.name + '.*')))}").touch()
        yield "numbers", pa.record_batch([[part.name]], names=["id"])
        if len(list(folder.glob(part.name + ".*"))) <= deaths.get(part.name, 0):
            os.kill(os.getpid(), signal.SIGKILL)

    return work


@pytest.fixture
def attempts(tmp_path):
    folder = tmp_path / "attempts"
    folder.mkdir()
    return folder


@pytest.mark.spark
def test_a_task_whose_worker_dies_is_tried_again(table, attempts):
    reports = run(lambda: session("test"), "count", PARTS, [table], killing(attempts, {"shard-1": 2}))
    assert reports["numbers"].rows == 4
    assert len(list(attempts.glob("shard-1.*"))) == 3
    assert sorted(file.name for file in table.path.iterdir()) == ["_manifest.json", *(f"{p.name}.parquet" for p in PARTS)]


@pytest.mark.spark
def test_a_part_that_kills_every_worker_is_named_and_the_others_are_done(table, attempts):
    with pytest.raises(
        PartsFailed, match=r"1 of 4 parts failed, the others are done:\n  shard-1: .* died 4 times: .*worker"
    ):
        run(lambda: session("test"), "count", PARTS, [table], killing(attempts, {"shard-1": 99}))
    assert len(list(attempts.glob("shard-1.*"))) == 4
    assert sorted(file.name for file in table.path.iterdir()) == [f"shard-{at}.parquet" for at in (0, 2, 3)]
    assert pq.read_table(table.path / "shard-3.parquet")["id"].to_pylist() == ["shard-3"]


@pytest.mark.spark
def test_an_error_that_is_no_part_s_own_stops_at_once(table, attempts, monkeypatch):
    def stopping(path):
        raise RuntimeError("the folder is gone")

    monkeypatch.setattr("jobs.parts.loop.stand_in", stopping)
    with pytest.raises(PythonException, match="the folder is gone"):
        run(lambda: session("test"), "count", PARTS, [table], killing(attempts, {}))
    assert list(attempts.iterdir()) == []
