"""The Spark session every job runs in, and our code shipped to the workers as one zip.

Spark schedules parts and retries tasks; text never crosses into the JVM. Locally a session takes all cores and allows a task
three retries (Spark's local default is none, and it takes the number from the master's name alone); under `spark-submit` the
master is the one given there.
"""

import hashlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pyspark
from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from filters.stores import COPIES, bring
from jobs.parts.refusals import ExperimentError

PACKAGES = ("filters", "classifiers", "eval", "jobs")
HOME = Path(__file__).resolve().parents[2]
JAVA_VERSION = 17
QUIET = f"-Dlog4j2.configurationFile=file:{HOME / 'conf' / 'log4j2.properties'}"
LOG_LEVEL = "spark.log.level"
"""Spark's own setting, with which one hears it: `spark-submit --conf spark.log.level=INFO`."""
TOLD_BY_US = (
    "org.apache.spark.executor.Executor",
    "org.apache.spark.network.server.TransportRequestHandler",
    "org.apache.spark.scheduler.TaskSetManager",
    "org.apache.spark.storage.DiskBlockObjectWriter",
)
"""What logs a stack trace for each attempt of a task, the last of which we raise or tell in a sentence, or of a file that
somebody who is gone had asked for."""
BRIEF = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""On one machine the JVM only hands parts to Python: compiling less takes its start from 9 to 5 processor seconds."""
SILENT = "-Xlog:cds=off -Xlog:cds+dynamic=off"
"""A class archive of other jars or another Java is left alone, which is no news: it would be told on standard output."""


def session(name: str) -> SparkSession:
    """The running session, or a new one. Raises ExperimentError where there is no Java, or a setting that loses rows."""
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    _find_java()
    with _interrupted_later():
        return _start(name)


class SparkLost(RuntimeError):
    """Spark's Java machine has ended before the job has."""


Value = TypeVar("Value")


def received(value: Value) -> Value:
    """What Spark has sent, if its Java machine still answers. Raises SparkLost.

    To pyspark a machine that is killed while it sends a result has come to the end of it: a shorter list, and no error.
    """
    if is_lost():
        raise SparkLost("it ended while it sent a result")
    return value


def is_lost() -> bool:
    """Whether the Java machine that we have started answers no more."""
    gateway = SparkContext._gateway
    if gateway is None:
        return False
    try:
        gateway.jvm.java.lang.System.nanoTime()
    except (Py4JError, OSError):
        return True
    return False


def submitted() -> bool:
    """Whether spark-submit started us."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def on_cluster(name: str) -> SparkSession | None:
    """The session of a cluster; None where this machine is all there is. Outside spark-submit none is started for that."""
    active = SparkSession.getActiveSession()
    if active is None and submitted():
        active = session(name)
    return active if active is not None and not active.sparkContext.master.startswith("local") else None


def java_options() -> str:
    """What a Java machine that does little is started with: it maps its classes, where `jobs.parts.java_start` has run."""
    archive = class_archive()
    return f"{BRIEF} {SILENT} -XX:SharedArchiveFile={archive}" if archive.is_file() else BRIEF


def class_archive() -> Path:
    """Where the classes of this Spark are kept: beside the compiled kernels."""
    from filters.kernels.compiled import cache_folder  # whoever starts no machine needs no Numba

    spark = f"{Path(pyspark.__file__).resolve()} {pyspark.__version__}"
    return cache_folder() / f"spark-{hashlib.sha256(spark.encode()).hexdigest()[:16]}.jsa"


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Heed Ctrl-C when Spark has started: a JVM that loses us before it has answered is left behind for good."""
    pressed: list[int] = []

    def wait(number: int, _: object) -> None:
        pressed.append(number)

    before = signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)  # not Spark's own handler, which calls the JVM wherever we are
    if pressed:
        raise KeyboardInterrupt


def fall_silent() -> None:
    """Let the JVM say nothing more: that its tasks are torn from it when we stop are no errors."""
    active = SparkSession.getActiveSession()
    if active is not None:
        active.sparkContext.setLogLevel("OFF")


def _start(name: str) -> SparkSession:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    if not submitted():  # not under spark-submit: this machine alone, and a quiet log
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        os.environ.setdefault(
            "PYSPARK_SUBMIT_ARGS",
            f'--driver-java-options "{QUIET} {java_options()}" --conf spark.ui.showConsoleProgress=false pyspark-shell',
        )
    try:
        SparkContext._ensure_initialized()  # until the JVM is there, SparkConf knows nothing of what spark-submit was given
    except PySparkRuntimeError as error:
        raise SparkLost("it ended before it answered") from error
    conf = SparkConf()
    _refuse_lossy(conf)
    for key, value in _settings().items():
        conf.setIfMissing(key, value)
    conf.setMaster(_with_retries(conf.get("spark.master", "local[*]")))
    level = conf.get(LOG_LEVEL, "ERROR")
    _log(conf, level)
    spark: SparkSession = SparkSession.builder.appName(f"goodhart {name}").config(conf=conf).getOrCreate()
    spark.sparkContext.setLogLevel(level)
    _leave_losses_to_us(spark)
    if not spark.sparkContext.master.startswith("local"):
        _ship(spark)
    return spark


def _leave_losses_to_us(spark: SparkSession) -> None:
    """See to it that no library prints a stack trace of its own when the Java machine is killed: `command` says it."""

    def tell(*_: object) -> None:
        if not isinstance(sys.exception(), EOFError | ConnectionError):
            traceback.print_exc()

    spark.sparkContext._accumulatorServer.handle_error = tell
    logging.getLogger().addFilter(lambda said: not (said.exc_info and isinstance(said.exc_info[1], Py4JNetworkError)))


def _log(conf: SparkConf, level: str) -> None:
    """Set the level before there is a context, whose start alone is some forty lines under spark-submit.

    Spark settles its log with the first line that is written, and would undo what was set before.
    """
    conf._jconf.initializeLogIfNecessary(False, True)
    log4j = SparkContext._jvm.org.apache.logging.log4j
    configurator = log4j.core.config.Configurator
    configurator.setRootLevel(log4j.Level.toLevel(level))
    for name in TOLD_BY_US if level == "ERROR" else ():
        configurator.setLevel(name, log4j.Level.OFF)


def _settings() -> dict[str, str]:
    return {
        "spark.ui.enabled": "false",  # it binds all addresses, without a password
        "spark.ui.showConsoleProgress": "false",  # we draw our own
        "spark.python.worker.faulthandler.enabled": "true",  # else a crashed worker gives no cause
        "spark.driver.bindAddress": "0.0.0.0" if submitted() else "127.0.0.1",
        "spark.hadoop.parquet.page.verify-checksum.enabled": "true",  # off by default: bit rot reads as data
    }


def _with_retries(master: str) -> str:
    """A local master with four attempts for a task, as on a cluster, unless it says its own number."""
    local = re.fullmatch(r"local(?:\[([^,\]]+)\])?", master)
    return f"local[{local[1] or 1}, 4]" if local else master


def _refuse_lossy(conf: SparkConf) -> None:
    """Settings under which Spark leaves rows out without an error."""
    if conf.get("spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version", "1") == "2":
        raise ExperimentError("commit algorithm 2 shows half-written output as whole: unset it (version 1 is the default)")
    if conf.get("spark.sql.files.ignoreCorruptFiles", "false") == "true":
        raise ExperimentError("spark.sql.files.ignoreCorruptFiles leaves rows out in silence: unset it")


def _find_java() -> None:
    """JAVA_HOME as it is, else java on the PATH; one sentence where neither is new enough."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise ExperimentError(f"Spark needs Java {JAVA_VERSION} or newer and none was found: `make setup`, or set JAVA_HOME")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < JAVA_VERSION:
        raise ExperimentError(f"Spark needs Java {JAVA_VERSION} or newer; {java} says {said.splitlines()[:1]}")


def _ship(spark: SparkSession) -> None:
    """Give the executors our four packages, unless spark-submit --py-files brought them already."""
    if not (HOME / "jobs").is_dir():  # we are running from the zip ourselves
        return
    archive = Path(spark.sparkContext._temp_dir) / "goodhart.zip"  # goes when Spark does
    with zipfile.ZipFile(archive, "w") as written:
        for package in PACKAGES:
            for file in sorted((HOME / package).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    written.write(file, file.relative_to(HOME))
    spark.sparkContext.addPyFile(str(archive))


Whereabouts = tuple[Path, Mapping[str, Path]]
"""The driver's working directory, and its copies of files in stores."""


def whereabouts() -> Whereabouts:
    """What an executor must know to find by name what the driver finds."""
    return Path.cwd(), dict(COPIES)


def stand_in(whereabouts: Whereabouts) -> None:
    """Make paths mean to an executor what they mean to the driver: it starts in a folder of its own, with no copies.

    Where it has no such folder, relative paths name nothing; addresses and absolute paths mean the same everywhere.
    """
    folder, copies = whereabouts
    bring(copies)
    if folder.is_dir() and folder != Path.cwd():
        # Spark's entries are relative to that folder, and so is where packages look for modules that come later.
        ours = [module for name, module in sys.modules.items() if name.partition(".")[0] in PACKAGES]
        for places in (sys.path, *(module.__path__ for module in ours if hasattr(module, "__path__"))):
            places[:] = [str(Path(entry).absolute()) for entry in places]
        os.chdir(folder)
