"""A page that takes too long costs its own values in one group, and the pages beside it nothing."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filters.pages import PageBatch
from filters.signals import Group, Signal, configure, load_groups
from jobs import score
from jobs.parts import deadline
from jobs.parts.deadline import Deadline, Measurer
from jobs.parts.table import Part, PartReport

SHORT = Deadline(page=0.2, more=0)


def work_for_ever(pages):
    """A count that hangs, using the processor, on a page that says so."""
    while any(text and "HANG" in text for text in pages.text.to_pylist()):
        pass
    return np.full(len(pages), 7)


def fall(pages):
    if any(text and "FALL" in text for text in pages.text.to_pylist()):
        os.kill(os.getpid(), signal.SIGSEGV)
    return np.full(len(pages), 8)


def stumble(pages):
    if any(text and "STUMBLE" in text for text in pages.text.to_pylist()):
        raise ValueError("stumbled")
    return np.full(len(pages), 9)


def group(function) -> Group:
    return Group(function.__name__, (Signal(function.__name__, function, pa.int64()),), {})


@pytest.fixture
def measurer():
    """Of our groups, with little time."""
    one = Measurer(GROUPS, SHORT)
    yield one
    one.stop()


GROUPS = {one.__name__: group(one) for one in (work_for_ever, fall, stumble)}


def rows(*texts) -> pa.RecordBatch:
    ids = pa.array([str(at) for at in range(len(texts))])
    return pa.record_batch(
        [ids, pa.array(texts, pa.large_string()), pa.nulls(len(texts), pa.string())], ["id", "text", "url"]
    )


def values(batch) -> list:
    return batch.column(1).to_pylist()


def asked(measurer, *texts) -> dict:
    """Group -> its values, and how many pages took too long."""
    return {name: (values(found), slow) for name, found, slow in measurer.measure(rows(*texts))}


def test_only_the_pages_that_take_too_long_are_null_and_counted(measurer):
    batch = rows("a", "HANG", "b", None, "HANG too")
    found = {name: (batch, slow) for name, batch, slow in measurer.measure(batch)}
    assert [(values(made), slow) for made, slow in found.values()] == [
        ([7, None, 7, None, None], 2),
        ([8, 8, 8, None, 8], 0),
        ([9, 9, 9, None, 9], 0),
    ]
    assert found["work_for_ever"][0]["id"].to_pylist() == list("01234")
    assert [made.schema for made, _ in found.values()] == [one.schema for one in GROUPS.values()]
    assert asked(measurer, "c") == {"work_for_ever": ([7], 0), "fall": ([8], 0), "stumble": ([9], 0)}


def test_an_error_is_raised_as_it_is_and_a_crash_names_its_group(measurer):
    with pytest.raises(ValueError, match="stumbled"):
        asked(measurer, "STUMBLE")
    with pytest.raises(RuntimeError, match="the process that measures fall ended with signal 11"):
        asked(measurer, "FALL")
    assert asked(measurer, "a")["fall"] == ([8], 0)


def test_a_child_that_someone_kills_while_it_waits_or_works_costs_nothing(tmp_path):
    def killed_once(pages):
        if "KILL" in pages.text.to_pylist() and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full(len(pages), 5)

    one = Measurer({"stumble": group(stumble), "killed_once": group(killed_once)}, SHORT)
    expected = {"stumble": ([9, 9], 0), "killed_once": ([5, 5], 0)}
    assert asked(one, "a", "b") == expected
    os.kill(one._child[0], signal.SIGKILL)
    time.sleep(0.1)
    assert asked(one, "b", "c") == expected
    assert asked(one, "d", "KILL") == expected and (tmp_path / "killed").exists()
    one.stop()


def test_a_batch_larger_than_what_is_shared_at_first_is_measured(measurer, monkeypatch):
    monkeypatch.setattr(deadline, "SHARED_BYTES", 1 << 13)
    one = Measurer({"fall": GROUPS["fall"]}, SHORT)
    for size in (10, 100_000, 10, 1_000_000):
        assert asked(one, "x" * size) == {"fall": ([8], 0)}
    one.stop()


def test_a_child_serves_equal_groups_and_is_ended_for_others():
    one = deadline.measurer(GROUPS, SHORT)
    asked(one, "a")
    pid, _ = one._child
    assert deadline.measurer({**GROUPS}, SHORT) is one
    assert deadline.measurer({"fall": GROUPS["fall"]}, SHORT) is not one
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_answers_that_nobody_waited_for_are_not_taken_for_the_next(measurer):
    """As where a part fails to be written, or after Ctrl-C."""
    answers = measurer.measure(rows("a"))
    assert next(answers)[0] == "work_for_ever"
    assert asked(measurer, "a", "b")["work_for_ever"] == ([7, 7], 0)


def test_a_child_ends_with_its_parent():
    here, there = os.pipe()
    parent = os.fork()
    if parent == 0:
        one = Measurer(GROUPS, SHORT)
        asked(one, "a")
        os.write(there, str(one._child[0]).encode())
        os._exit(0)
    os.waitpid(parent, 0)
    child = int(os.read(here, 20))
    for _ in range(200):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            break
        if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":  # its end is nobody's concern here
            break
        time.sleep(0.02)
    else:
        pytest.fail("it is still there")


def test_a_child_that_waits_instead_of_working_is_ended_by_the_clock():
    def sleep(pages):
        time.sleep(60 * any(text == "SLEEP" for text in pages.text.to_pylist()))
        return np.full(len(pages), 1)

    one = Measurer({"sleep": group(sleep)}, Deadline(page=0.01, more=0, least=0.1))
    assert asked(one, "SLEEP") == {"sleep": ([None], 1)}


def test_a_batch_has_more_time_than_a_page():
    assert Deadline(page=30, more=0.1).of(1) == (30, 360)
    assert Deadline(page=30, more=0.1).of(1001) == (130, 1360)


def test_a_part_is_scored_to_the_same_values_as_in_this_process_and_counts_its_slow_pages(tmp_path, monkeypatch):
    texts = [f"The river {at} and a stone.\n- some item, 石と川 {at}" for at in range(40)]
    texts[7] += " HANG"
    ids, urls = [f"page-{at}" for at in range(40)], [f"https://a.org/{at}" for at in range(40)]
    table = pa.table({"id": ids, "url": urls, "text": pa.array(texts, pa.large_string())})
    pq.write_table(table, tmp_path / "pages.parquet", row_group_size=16)
    known = load_groups("filters", "classifiers")
    real = {name: configure(name, {}, known) for name in ("gopher", "c4")}
    monkeypatch.setattr(score, "DEADLINE", Deadline(page=0.25, more=0))
    measures = score.Measures(
        {**real, "work_for_ever": GROUPS["work_for_ever"], "fall": GROUPS["fall"]}, None, frozenset({"fall"})
    )
    report = PartReport()
    made: dict = {}
    part = Part("p", str(tmp_path / "pages.parquet"), "")
    for name, batch in score.score_part(part, {*measures.groups}, measures, report):
        made.setdefault(name, []).append(batch)
    assert report.of_table == {"work_for_ever": {"measure_timeout": 1}} and not report.counts
    whole = {name: pa.Table.from_batches(batches) for name, batches in made.items()}
    pages = PageBatch(table["text"].chunk(0), table["url"].chunk(0))
    for name, group_ in real.items():
        assert whole[name].equals(pa.Table.from_batches([group_.measure(table["id"].chunk(0), pages)]))
    assert whole["work_for_ever"].column(1).to_pylist() == [7] * 7 + [None] + [7] * 32
