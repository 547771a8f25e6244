"""The classes of Spark, written down by one Java machine for the next ones, which then need not load them from their jars.

    python -m jobs.parts.java_start

`make setup` does this once; a start takes 2 to 3 processor seconds instead of 4 to 5 from then on.
"""

import os
import subprocess
import sys
from pathlib import Path

from pyspark import SparkContext

from jobs.parts.session import BRIEF, QUIET, SILENT, class_archive, session


def write(archive: Path) -> None:
    """Run a small job in a Java machine that writes the classes it has used when it ends."""
    aside = archive.with_suffix(f".{os.getpid()}.tmp")
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        f'--driver-java-options "{QUIET} {BRIEF} {SILENT} -XX:ArchiveClassesAtExit={aside}" pyspark-shell'
    )
    spark = session("setup")
    spark.range(0, 4, 1, 2).mapInArrow(lambda rows: rows, "id bigint").groupBy("id").count().collect()
    spark.sparkContext.parallelize([0, 1], 2).map(bool).collect()
    machine: subprocess.Popen[bytes] = SparkContext._gateway.proc
    spark.stop()
    if machine.stdin:
        machine.stdin.close()  # it ends when nothing more can be asked of it
    machine.wait()
    aside.replace(archive)


if __name__ == "__main__":
    if not class_archive().is_file():
        write(class_archive())
    sys.stdout.write(f"{class_archive()}\n")
