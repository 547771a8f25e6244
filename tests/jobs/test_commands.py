"""Every command of jobs/ says what it does when it is asked, and stops when it is told to."""

import errno
import importlib
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from py4j.protocol import Py4JNetworkError

from jobs import read
from jobs.bench import __main__ as bench
from jobs.parts import command
from jobs.parts.loop import PartsFailed
from jobs.parts.refusals import ExperimentError

JOBS = Path(__file__).resolve().parents[2] / "jobs"
COMMANDS = sorted(f"jobs.{file.stem}" for file in JOBS.glob("*.py") if file.stem != "__init__")
BENCHMARKS = sorted(
    file.stem for file in (JOBS / "bench").glob("*.py") if re.search(r"^def (rows|bench)\(", file.read_text(), re.M)
)
"""What gives rows is a benchmark; what stands beside them helps."""


@pytest.mark.parametrize("command", [*COMMANDS, "jobs.bench"])
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_help_is_printed_and_nothing_is_done(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(command, run_name="__main__")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: ") and f"python -m {command}" in said
    assert not list(tmp_path.iterdir())


def test_a_benchmark_is_a_module_whose_name_the_help_lists(capsys):
    with pytest.raises(SystemExit):
        bench.main(["--help"])
    listed = capsys.readouterr().out
    for name in BENCHMARKS:
        importlib.import_module(f"jobs.bench.{name}")
        assert name in bench.BENCHES and name in listed


def test_no_benchmark_is_without_a_module():
    assert sorted(bench.BENCHES) == BENCHMARKS


def test_an_unknown_benchmark_is_refused_with_the_nearest(capsys):
    assert bench.main(["heuristic"]) == 2
    assert "did you mean 'heuristics'?" in capsys.readouterr().err


def test_where_there_are_no_shards_the_benchmarks_say_how_to_get_some(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "HOME", tmp_path / "checkout")
    assert bench.main(["read"]) == 2
    assert "run `make demo` once" in capsys.readouterr().err


def test_the_heuristics_measured_are_groups_that_measure():
    from jobs.bench import heuristics

    assert [len(group.signals) > 0 for group in heuristics.groups()] == [True] * 4


def heed_interrupts():
    """What a shell starts in the background ignores SIGINT, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.spark
@pytest.mark.parametrize("said", ["WARNING", "read:"], ids=["while the JVM starts", "while tasks run"])
def test_ctrl_c_is_one_sentence_and_leaves_no_process(said, made_crawl, tmp_path):
    conf, errors = tmp_path / "read.yaml", tmp_path / "errors"
    conf.write_text(f"out: {tmp_path / 'out'}\npages: {{from: ['{made_crawl}/*.warc.gz']}}\n")
    command = [sys.executable, "-m", "jobs.read", str(conf)]
    with (
        errors.open("w") as log,
        subprocess.Popen(
            command, cwd=JOBS.parent, stdout=subprocess.PIPE, stderr=log, start_new_session=True, preexec_fn=heed_interrupts
        ) as process,
    ):
        while said not in errors.read_text() and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the JVM too
        process.communicate(timeout=120)  # returns when the last process that holds our pipe has ended
    assert process.returncode == 130
    [*before, last] = errors.read_text().splitlines()
    assert last == "goodhart: stopped; what is done stays, and the same command goes on from there"
    assert not [line for line in before if "Traceback" in line or "ERROR" in line or "Interrupt" in line]


FULL = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, FULL, "runs/a/model.safetensors"),
        PartsFailed(f"read: 2 of 3 parts failed, the others are done:\n  a: OSError: {FULL}\n  b: OSError: {FULL}"),
        ExperimentError(f"classifiers.books: lmplz failed: {FULL}"),
        RuntimeError(f"Job aborted: java.io.IOException: {FULL}\n\tat org.apache.spark.Task"),
    ],
    ids=["a file", "parts", "a model", "Spark"],
)
def test_a_full_disk_is_one_sentence(tmp_path, capsys, error):
    def full(*_):
        raise error

    conf = tmp_path / "conf.yaml"
    conf.write_text(f"out: {tmp_path / 'out'}\npages: {{from: [a.warc.gz]}}\n")
    assert command.run(full, read.__doc__, [str(conf)]) == command.DAMAGED
    where = f" for {error.filename}" if isinstance(error, OSError) else ""
    assert capsys.readouterr().err == (
        f"goodhart: no space is left on the disk{where}: make room, and the same command goes on from there\n"
    )


@pytest.mark.parametrize(
    "raised", [ConnectionRefusedError(111, "Connection refused"), EOFError(), Py4JNetworkError("empty")]
)
def test_a_killed_java_machine_is_one_sentence_and_an_error_of_ours_is_none(tmp_path, capsys, monkeypatch, raised):
    def broken(*_):
        raise raised

    conf = tmp_path / "conf.yaml"
    conf.write_text(f"out: {tmp_path / 'out'}\npages: {{from: [a.warc.gz]}}\n")
    with pytest.raises(type(raised)):
        command.run(broken, read.__doc__, [str(conf)])
    monkeypatch.setattr(command, "is_lost", lambda: True)
    assert command.run(broken, read.__doc__, [str(conf)]) == command.DAMAGED
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Spark's Java machine is gone" in said


def test_what_a_killed_verb_wrote_aside_is_removed_by_the_next_one(tmp_path):
    conf, left = tmp_path / "conf.yaml", tmp_path / "out" / "sweep" / ".levels.parquet.123.tmp"
    conf.write_text(f"out: {tmp_path / 'out'}\npages: {{from: [a.warc.gz]}}\n")
    left.parent.mkdir(parents=True)
    left.touch()
    assert command.run(lambda *_: 0, read.__doc__, [str(conf)]) == 0
    assert not left.exists()
