"""What a perplexity costs, in three parts: normalising, SentencePiece, KenLM; each beside what does the same elsewhere.

KenLM's part is measured beside its own program `query`, which is given the same lines of pieces and whose time for no line,
loading the model, is taken off. All is processor time on one core, in turns.
"""

import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from classifiers.kenlm.kind import Options
from classifiers.kenlm.model import Lines, lines, load, log_probability
from classifiers.kenlm.text import CHARACTERS, CONTROLS, PUNCTUATION, File, load_pieces, normalised, tokens
from classifiers.kenlm.training import missing_tools, tool
from classifiers.kinds import Page
from filters.pages import PageBatch

QUERY_GOAL = 0.83
"""Of the rate of `query`: at most 1.2 times its time."""


def rows(texts: pa.Array, rounds: int = 5) -> list[dict[str, Any]]:
    """The rows of `score.kenlm` for these pages, under a model of order 5 and 8,000 pieces trained on them."""
    if (missing := missing_tools()) or tool("query") is None:
        print(f"bench: kenlm is left out: {missing or 'there is no query'}", file=sys.stderr)
        return []
    pages = PageBatch(texts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        read = [text[:CHARACTERS] for text in texts.to_pylist()]
        Options(text=["shards"]).train({"text": [Page(str(row), text) for row, text in enumerate(read)]}, folder)
        pieces, model = File.at(folder / "pieces.model"), File.at(folder / "text.binary")
        cut = lines(pages, pieces)
        return [_normalising(read, rounds), _cutting(read, pieces, rounds), _scoring(cut, model, folder, rounds)]


def _normalising(read: Sequence[str], rounds: int) -> dict[str, Any]:
    rates = _rates(
        sum(len(text.encode()) for text in read) / 1e6,
        {"ours": lambda: [normalised(text) for text in read], "theirs": lambda: [_by_steps(text) for text in read]},
        rounds,
    )
    return _row("normalising", "MB/s per core", "the same steps one after another, each by a regular expression", rates)


def _by_steps(text: str) -> str:
    text = unicodedata.normalize("NFD", text.strip().lower())
    text = re.sub(r"\d", "0", "".join(one for one in text if unicodedata.category(one) != "Mn"))
    text = "".join(PUNCTUATION.get(one, one) for one in text)
    return re.sub(f"[{''.join(map(chr, CONTROLS))}]", "", text)


def _cutting(read: Sequence[str], pieces: File, rounds: int) -> dict[str, Any]:
    model, ready = load_pieces(pieces), [normalised(text) for text in read]
    rates = _rates(
        sum(len(text.encode()) for text in read) / 1e6,
        {
            "ours": lambda: [" ".join(tokens(text, model)) for text in read],
            "theirs": lambda: model.encode(ready, out_type=str, num_threads=1),
        },
        rounds,
    )
    against = f"sentencepiece {version('sentencepiece')}, bare call on normalised text"
    return _row("normalising and pieces", "MB/s per core", against, rates)


def _scoring(cut: Lines, file: File, folder: Path, rounds: int) -> dict[str, Any]:
    model, count = load(file), int(cut.counts.sum()) + len(cut.counts)
    ours = [log_probability(model, line, held) for line, held in zip(cut.texts, cut.counts.tolist(), strict=True)]
    text, nothing = folder / "lines", folder / "nothing"
    text.write_text("".join(line + "\n" for line in cut.texts))
    nothing.touch()
    if not np.isclose(sum(ours), _query_total(file, text), rtol=1e-3):
        raise ValueError("query gives other probabilities than ours")
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        begin = time.process_time()
        for line, held in zip(cut.texts, cut.counts.tolist(), strict=True):
            log_probability(model, line, held)
        times["ours"].append(time.process_time() - begin)
        times["theirs"].append(_query(file, text) - _query(file, nothing))
    rates = {whose: [count / 1e6 / taken for taken in some] for whose, some in times.items()}
    return _row("perplexity of pieces", "million tokens/s per core", "KenLM's query on the same pieces", rates, QUERY_GOAL)


def _query(file: File, text: Path) -> float:
    """Processor seconds that `query` takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with text.open("rb") as given:
        subprocess.run([str(tool("query")), "-v", "summary", file.path], stdin=given, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def _query_total(file: File, text: Path) -> float:
    """The log10 probability of all lines by `query`."""
    with text.open("rb") as given:
        command = [str(tool("query")), "-v", "sentence", file.path]
        said = subprocess.run(command, stdin=given, capture_output=True, text=True, check=True).stdout
    return sum(float(line.split()[1]) for line in said.splitlines() if line.startswith("Total:"))


def _rates(size: float, calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {whose: [] for whose in calls}
    for _ in range(rounds):
        for whose, call in calls.items():
            begin = time.process_time()
            call()
            rates[whose].append(size / (time.process_time() - begin))
    return rates


def _row(what: str, unit: str, against: str, rates: dict[str, list[float]], goal: float | None = None) -> dict[str, Any]:
    medians = {whose: statistics.median(values) for whose, values in rates.items()}
    return {
        "bench": "score.kenlm",
        "what": what,
        "ours": round(medians["ours"], 2),
        "unit": unit,
        "against": against,
        "theirs": round(medians["theirs"], 2),
        "ratio": round(medians["ours"] / medians["theirs"], 3),
        "spread": {whose: [round(min(values), 2), round(max(values), 2)] for whose, values in rates.items()},
        "goal": goal,
    }
