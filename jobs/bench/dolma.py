"""How fast dolma's taggers are in our reading, beside dolma itself on the same pages, and that both give the same numbers.

dolma runs in a virtual environment of its own, as one process that keeps the pages and is asked in turns with ours. Both are
measured by processor time. Its dependencies are listed because pip needs ten minutes to choose them; those that only other
taggers need are left out.
"""

import json
import statistics
import subprocess
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from filters.pages import PageBatch
from filters.signals import configure, load_groups

PEER = (
    "dolma==1.2.1", "antlr4-python3-runtime==4.9.3", "anyascii==0.3.3", "blingfire==0.1.8", "certifi==2026.10.18",
    "charset-normalizer==3.5.2", "click==8.5.1", "fasttext-numpy2-wheel==0.9.2", "fsspec==2026.9.0", "idna==3.20",
    "joblib==1.6.0", "msgspec==0.22.0", "necessary==0.4.3", "nltk==3.10.4", "numpy==2.4.6", "omegaconf==2.4.0",
    "packaging==26.3", "platformdirs==4.14.7", "PyYAML==6.0.3", "regex==2026.11.15", "requests==2.34.2",
    "requirements-parser==0.13.1", "rich==15.0.0", "smart_open==9.0.2", "tokenizers==0.23.3", "tqdm==4.70.1",
    "typing_extensions==4.16.0", "uniseg==0.10.1", "urllib3==2.8.0", "wrapt==2.5.2", "zstandard==0.25.0",
)  # fmt: skip
TAGGERS = {  # our groups, and how many times dolma's speed they should have: c4_v2 is four substring searches and a split
    "gopher_v1": (("gopher_dolma", "repetition_dolma"), 50),
    "c4_v2": (("c4_dolma",), 5),
}

CHILD = """
import json, sys, time
import nltk
nltk.download = lambda *names, **options: False  # dolma asks for a sentence model that no tagger here uses
from dolma.core.data_types import Document
from dolma.core.registry import TaggerRegistry
import dolma
documents = [Document(id="", source="", text=json.loads(line)) for line in open(sys.argv[1])]
print("ready", flush=True)
for line in sys.stdin:
    tagger = TaggerRegistry.get(line.strip())()
    begin = time.process_time()
    results = [tagger.predict(document) for document in documents]
    seconds = time.process_time() - begin
    tags = [{span.type: span.score for span in result.spans} for result in results]
    print(json.dumps([seconds, tags]), flush=True)
"""


def peer(folder: Path) -> Path:
    """The Python of dolma's environment in `folder`, made if it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", *PEER], check=True)
    return python


@contextmanager
def dolma(python: Path, texts: pa.Array) -> Iterator[subprocess.Popen[str]]:
    """A process of dolma's that has read the pages and waits for the names of taggers."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as pages:
        pages.writelines(json.dumps(text) + "\n" for text in texts.to_pylist())
        pages.flush()
        command = [str(python), "-c", CHILD, pages.name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            _answer(process)
            yield process
            _pipe(process.stdin).close()


def rows(texts: pa.Array, python: Path, rounds: int = 5) -> list[dict[str, Any]]:
    """One row a tagger: pages per processor second of ours and of dolma's, medians of `rounds` turns.

    `texts`: the pages, none null; `python`: that of dolma's environment, from `peer`. Raises ValueError where dolma's word
    counts are not ours: then different things were measured.
    """
    with dolma(python, texts) as process:
        return [_row(tagger, texts, process, rounds) for tagger in TAGGERS]


def _row(tagger: str, texts: pa.Array, process: "subprocess.Popen[str]", rounds: int) -> dict[str, Any]:
    groups, goal = TAGGERS[tagger]
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    _ours(groups, texts)  # the first call compiles, or loads what was compiled
    for _ in range(rounds):
        seconds, columns = _ours(groups, texts)
        rates["ours"].append(len(texts) / seconds)
        _pipe(process.stdin).write(tagger + "\n")
        _pipe(process.stdin).flush()
        seconds, tags = json.loads(_answer(process))
        rates["theirs"].append(len(texts) / seconds)
        _compare(columns, tags)
    medians = {whose: statistics.median(values) for whose, values in rates.items()}
    return {
        "bench": "score.heuristics",
        "what": " + ".join(groups),
        "ours": round(medians["ours"]),
        "unit": "pages/s per core",
        "megabytes": round(medians["ours"] * sum(len(text.encode()) for text in texts.to_pylist()) / len(texts) / 1e6, 1),
        "against": f"dolma 1.2.1, tagger {tagger}",
        "theirs": round(medians["theirs"], 1),
        "ratio": round(medians["ours"] / medians["theirs"]),
        "spread": {whose: [round(min(values), 1), round(max(values), 1)] for whose, values in rates.items()},
        "goal": goal,
    }


def _ours(groups: tuple[str, ...], texts: pa.Array) -> tuple[float, dict[str, list[Any]]]:
    known = load_groups("filters")
    ids = pa.array(map(str, range(len(texts))))
    begin = time.process_time()
    pages = PageBatch(texts)
    batches = [configure(group, {}, known).measure(ids, pages) for group in groups]
    seconds = time.process_time() - begin
    return seconds, {name: values for batch in batches for name, values in batch.to_pydict().items()}


def _compare(columns: dict[str, list[Any]], tags: list[dict[str, float]]) -> None:
    for ours, theirs in (("word_count_dolma", "word_count"), ("line_count_dolma", "line_count")):
        if ours in columns:
            expected = [of_page.get(theirs, 0) for of_page in tags]
            if columns[ours] != expected:
                raise ValueError(f"{ours} is not dolma's {theirs}: different pages or versions were measured")


def _answer(process: "subprocess.Popen[str]") -> str:
    line = _pipe(process.stdout).readline()
    if not line:
        raise ValueError(f"dolma's process ended with code {process.wait()}: see its message above")
    return line


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise ValueError("the process was started without pipes")
    return pipe
