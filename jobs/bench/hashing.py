"""Scores from hashed words beside what they stand for: Spark's own pipeline, and importance weights as a plain loop.

Spark has a process of its own with one task thread and a compiler that is not held back, as our jobs' sessions hold it. It
gets the pages cached on its side for nothing and gives nothing back. Processor time counts on both sides, in turns.
"""

import contextlib
import hashlib
import itertools
import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from classifiers.bags import sums
from classifiers.hashing_tf import FEATURES, Fitted, probability, terms
from classifiers.importance import PLACES, page_ngrams
from classifiers.kinds import Floats
from filters.pages import PageBatch
from jobs.parts.session import QUIET

HASHING_GOAL, IMPORTANCE_GOAL = 20.0, 50.0
SPARK_WARM_UP = 5
LOOP_PAGES = 200  # the plain loop takes seconds for them


def rows(texts: pa.Array, rounds: int = 5) -> list[dict[str, Any]]:
    """The rows of `score.hashing_tf` and `score.importance` for these pages, medians of `rounds` turns."""
    return [_hashing_tf(texts, rounds), _importance(texts[:LOOP_PAGES], rounds)]


def _hashing_tf(texts: pa.Array, rounds: int) -> dict[str, Any]:
    model = Fitted(np.random.default_rng(0).normal(size=FEATURES), 0.0)
    here, there = multiprocessing.Pipe()
    spark = multiprocessing.get_context("spawn").Process(target=_spark, args=(there, texts.to_pylist()))
    spark.start()
    there.close()  # so that a process that ends is noticed here

    def theirs() -> float:
        here.send("again")
        return float(here.recv())

    ours = _seconds(lambda: probability(model, *terms(PageBatch(texts))))
    try:
        taken = _turns({"ours": ours, "theirs": theirs}, rounds)
    finally:
        here.close()
        spark.join()
    row = _row(taken, len(texts), "pages/s per core", f"Spark {version('pyspark')}, model.transform in local mode")
    return {"bench": "score.hashing_tf", **row, "goal": HASHING_GOAL}


def _spark(asked: Connection, texts: list[str]) -> None:
    """Processor seconds of the JVM for the pipeline over all pages, as often as it is asked."""
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        f'--driver-java-options "{QUIET}" --master local[1] --conf spark.ui.enabled=false pyspark-shell'
    )
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import HashingTF, Tokenizer
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    labels = [float(at % 2) for at in range(len(texts))]
    pages = spark.createDataFrame(pa.table({"text": texts, "label": labels})).coalesce(1).cache()
    words, vectors = Tokenizer(inputCol="text", outputCol="words"), HashingTF(inputCol="words", outputCol="features")
    fit = Pipeline(stages=[words, vectors, LogisticRegression(regParam=0.01, maxIter=1)]).fit(pages)
    used = Path(f"/proc/{spark._jvm.ProcessHandle.current().pid()}/stat")

    def seconds() -> float:
        begun = _processor_seconds(used)
        fit.transform(pages).select("probability").write.format("noop").mode("overwrite").save()
        return _processor_seconds(used) - begun

    for _ in range(SPARK_WARM_UP):
        seconds()
    with contextlib.suppress(EOFError):  # nobody asks any more
        while asked.recv():
            asked.send(seconds())
    spark.stop()


def _processor_seconds(stat: Path) -> float:
    """What a process has used, from Linux's account of it: user and system time in ticks."""
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _importance(texts: pa.Array, rounds: int) -> dict[str, Any]:
    weights, pages = np.random.default_rng(0).normal(size=PLACES), texts.to_pylist()
    ours = _seconds(lambda: sums(weights, *page_ngrams(PageBatch(texts))))
    theirs = _seconds(lambda: [_plain_loop(text, weights) for text in pages])
    megabytes = sum(len(text.encode()) for text in pages) / 1e6
    row = _row(_turns({"ours": ours, "theirs": theirs}, rounds), megabytes, "MB/s per core", "a plain loop with NumPy")
    return {"bench": "score.importance", **row, "goal": IMPORTANCE_GOAL}


def _plain_loop(text: str, weights: Floats) -> float:
    """One page as the method is told: words, pairs, SHA-256 places, counts, an inner product."""
    words = re.findall(r"\w+|[^\w\s]+", text.lower())
    counts = np.zeros(PLACES)
    for ngram in [*words, *map(" ".join, itertools.pairwise(words))]:
        counts[int(hashlib.sha256(ngram.encode()).hexdigest(), 16) % PLACES] += 1
    return float(counts @ weights)


def _seconds(call: Callable[[], Any]) -> Callable[[], float]:
    def timed() -> float:
        begun = time.process_time()
        call()
        return time.process_time() - begun

    timed()  # the first call compiles, or loads what was compiled
    return timed


def _turns(sides: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {whose: [] for whose in sides}
    for _ in range(rounds):
        for whose, side in sides.items():
            taken[whose].append(side())
    return taken


def _row(taken: dict[str, list[float]], amount: float, unit: str, against: str) -> dict[str, Any]:
    rates = {whose: [amount / seconds for seconds in side] for whose, side in taken.items()}
    medians = {whose: statistics.median(side) for whose, side in rates.items()}
    return {
        "ours": round(medians["ours"], 1),
        "unit": unit,
        "against": against,
        "theirs": round(medians["theirs"], 2),
        "ratio": round(medians["ours"] / medians["theirs"], 1),
        "spread": {whose: [round(min(side), 2), round(max(side), 2)] for whose, side in rates.items()},
    }
