"""A standalone cluster on this machine: a master and workers of one core each, on loopback, ended by their ids."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyspark

from jobs.parts.session import java_options

SPARK = Path(pyspark.__file__).resolve().parent
SUBMIT = str(SPARK / "bin" / "spark-submit")


def environment() -> Mapping[str, str]:
    """What a user exports before spark-submit: the Python that has the packages."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK", "SPARK"))}
    ours = {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(SPARK)}
    return keep | ours | {"SPARK_DAEMON_JAVA_OPTS": java_options()}


@contextmanager
def running(folder: Path, workers: int = 2) -> Iterator[str]:
    """The master's address, while the block runs. Logs and what executors leave lie in the folder."""
    started: list[subprocess.Popen[bytes]] = []

    def start(role: str, *arguments: str) -> Path:
        log = folder / f"{role}-{len(started)}.log"
        command = [str(SPARK / "bin" / "spark-class"), f"org.apache.spark.deploy.{role}", "--host", "127.0.0.1", *arguments]
        with log.open("w") as file:
            started.append(subprocess.Popen(command, env=environment(), stdout=file, stderr=file, start_new_session=True))
        return log

    try:
        log = start("master.Master", "--port", "0", "--webui-port", "0")
        master = _said(log, "Starting Spark master at ").split()[0]
        work = ("--cores", "1", "--memory", "600m", "--work-dir", str(folder / "work"), "--webui-port", "0")
        for log in [start("worker.Worker", *work, master) for _ in range(workers)]:
            _said(log, "Successfully registered with master")
        yield master
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def _said(log: Path, words: str) -> str:
    """What a log says after these words, which it is waited for."""
    for _ in range(600):
        text = log.read_text()
        if words in text:
            return text.split(words, 1)[1]
        time.sleep(0.1)
    raise RuntimeError(f"{log} never said {words!r}: {text[-2000:]}")
