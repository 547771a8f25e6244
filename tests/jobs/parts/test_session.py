"""On an executor our packages lie in a zip relative to its folder; a Java machine that is gone has not ended its answer."""

import logging
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from py4j.java_gateway import GatewayParameters, JavaGateway
from py4j.protocol import Py4JNetworkError
from pyspark import SparkContext

from filters.kernels import compiled
from jobs.parts import loop, passes, session, spills
from jobs.parts.session import HOME, PACKAGES, SparkLost, _leave_losses_to_us, is_lost, received
from jobs.parts.table import Part

LATER = """
import sys
sys.path.insert(0, "./goodhart.zip")
import filters, jobs.parts.session
assert "goodhart.zip" in filters.__path__[0], filters.__path__
from pathlib import Path
jobs.parts.session.stand_in((Path(sys.argv[1]), {}))
import filters.units.phrases, jobs.shards.charsets
assert Path.cwd() == Path(sys.argv[1])
print(filters.units.phrases.__file__)
"""


def test_a_module_is_found_after_the_folder_has_changed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(tmp_path / "goodhart.zip", "w") as archive:
        for file in (file for package in PACKAGES for file in (HOME / package).rglob("*.py")):
            archive.write(file, file.relative_to(HOME))
    command = [sys.executable, "-c", LATER, str(elsewhere)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "goodhart.zip")


def test_a_java_machine_maps_the_classes_of_this_spark_where_they_were_written(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "cache_folder", lambda: tmp_path)
    assert session.java_options() == session.BRIEF
    session.class_archive().touch()
    assert session.java_options().endswith(f"={session.class_archive()}")
    monkeypatch.setattr(session.pyspark, "__version__", "5.0")
    assert session.java_options() == session.BRIEF


@pytest.fixture
def killed(monkeypatch):
    """A Java machine of which only the port is left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(SparkContext, "_gateway", JavaGateway(gateway_parameters=GatewayParameters(port=port)))


def cut_short(answer):
    """A session that gives this and no more to whoever asks."""
    rows = SimpleNamespace(collect=lambda: answer, treeReduce=lambda _: answer)
    made = SimpleNamespace(map=lambda _: rows, mapPartitions=lambda _: rows)
    context = SimpleNamespace(
        parallelize=lambda *_: made, accumulator=lambda _: SimpleNamespace(value=0), defaultParallelism=1
    )
    return SimpleNamespace(sparkContext=context, mapInArrow=lambda *_: rows)


def test_what_a_killed_machine_had_sent_so_far_is_no_answer(killed, tmp_path):
    assert is_lost()
    with pytest.raises(SparkLost):
        received([])
    with pytest.raises(SparkLost):
        list(loop.outcomes(cut_short([]), [Part("one", "", "")], lambda part: loop.Outcome(part.name, 1)))
    with pytest.raises(SparkLost):
        passes.merged(cut_short(1), "count", [1, 2], int, sum)
    with pytest.raises(SparkLost):
        spills.spill(cut_short([]), spills.pa.schema([]), tmp_path / "spill")
    assert not (tmp_path / "spill").exists()


def test_without_a_java_machine_none_is_lost(monkeypatch):
    monkeypatch.setattr(SparkContext, "_gateway", None)
    assert received([1]) == [1]


@pytest.mark.parametrize(("error", "says"), [(EOFError, False), (ConnectionResetError, False), (ValueError, True)])
def test_no_library_prints_a_trace_of_its_own_when_the_machine_is_gone(capsys, monkeypatch, error, says):
    monkeypatch.setattr(logging.getLogger(), "filters", [])
    server = SimpleNamespace()
    _leave_losses_to_us(SimpleNamespace(sparkContext=SimpleNamespace(_accumulatorServer=server)))
    try:
        raise error
    except error:
        server.handle_error("request", "address")
    assert ("Traceback" in capsys.readouterr().err) == says


def test_what_py4j_logs_of_a_machine_that_is_gone_is_left_out(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "filters", [])
    _leave_losses_to_us(SimpleNamespace(sparkContext=SimpleNamespace(_accumulatorServer=SimpleNamespace())))
    for error in (Py4JNetworkError("empty"), ValueError("ours")):
        try:
            raise error
        except (Py4JNetworkError, ValueError):
            logging.exception("Exception while sending command.")
    assert [record.exc_info[0] for record in caplog.records] == [ValueError]
