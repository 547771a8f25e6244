"""How fast our own reading of the heuristics is: beside datatrove's four filters, one pass over memory, and a first call.

datatrove runs in a virtual environment of its own (`$GOODHART_PEERS/datatrove` or `.venv-peers/datatrove`), as one process
that keeps the pages and takes turns with ours. Both are measured by processor time on one core. Its dependencies are listed
because pip needs minutes to choose them; those that only other parts of datatrove need are left out.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from filters.heuristics import c4, fineweb, gopher, repetition
from filters.kernels import text as kernels
from filters.kernels.unicode_tables import CLASSES, MARKS
from filters.pages import PageBatch
from filters.signals import GROUPS, Group
from jobs.parts.session import HOME
from jobs.shards.reader import Page, ReadOptions, ShardReport, read_shard

OURS = [module.__name__.rpartition(".")[2] for module in (gopher, repetition, c4, fineweb)]
SAMPLE = 1_500_000  # bytes of text that both sides measure: datatrove needs a quarter of a minute for them
BATCH = 8_000_000  # bytes of text in a batch of the score job
PEER_GOAL, RATE_GOAL, COLD_GOAL, WARM_GOAL = 300, 40, 30, 3

PEER = (
    "datatrove==0.10.1", "annotated-doc==0.0.7", "annotated-types==0.8.0", "anyio==4.16.0", "blis==1.3.4",
    "catalogue==2.0.10", "certifi==2026.10.18", "charset-normalizer==3.5.2", "click==8.5.1", "cloudpathlib==0.26.0",
    "confection==1.3.4", "cymem==2.0.16", "filelock==4.2.12", "fsspec==2026.9.0", "h11==0.16.0", "httpcore2==2.16.2",
    "httpcore==1.0.9", "httpx2==2.16.2", "httpx==0.28.1", "huggingface_hub==2.4.0", "humanize==4.17.0", "idna==3.20",
    "Jinja2==3.1.6", "loguru==0.7.3", "MarkupSafe==3.0.4", "murmurhash==1.0.16", "numpy==2.4.6", "packaging==26.3",
    "preshed==3.0.15", "pydantic==2.14.3", "pydantic_core==2.50.4", "Pygments==2.21.0", "PyYAML==6.0.3",
    "regex==2026.11.15", "requests==2.34.2", "rich==15.0.0", "shellingham==1.5.4", "smart_open==9.0.2",
    "spacy-legacy==3.0.12", "spacy-loggers==1.0.5", "spacy==3.8.18", "srsly==2.5.6", "thinc==8.3.14", "tqdm==4.70.1",
    "truststore==0.10.5", "typer==0.29.2", "typing-inspection==0.4.5", "typing_extensions==4.16.0", "urllib3==2.8.0",
    "wasabi==1.1.3", "weasel==1.0.1", "wrapt==2.5.2", "xxhash==3.8.2",
)  # fmt: skip

CHILD = """
import json, sys, time
from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
texts = [json.loads(line) for line in open(sys.argv[1])]
filters = [GopherQualityFilter(), GopherRepetitionFilter(), C4QualityFilter(), FineWebQualityFilter()]
def measure(texts):
    begin = time.process_time()
    for each in filters:
        for text in texts:
            each.filter(Document(text=text, id=""))
    return time.process_time() - begin
measure(texts[:1])
print("ready", flush=True)
for line in sys.stdin:
    print(measure(texts), flush=True)
"""

FIRST = """
import time
begin = time.process_time()
import pyarrow as pa
from filters.pages import PageBatch
from jobs.bench.heuristics import groups
for group in groups():
    group.measure(pa.array(["0"]), PageBatch(pa.array(["One page. With two sentences."])))
print(time.process_time() - begin)
"""


def rows() -> list[dict[str, Any]]:
    """The rows of `score.heuristics` in our own reading; datatrove's side is null where its environment is not there."""
    texts = pages()
    return [_against_datatrove(texts), _in_batches(texts), *_kernels(texts), *_first_calls()]


def pages() -> list[str]:
    """The texts of the shards at hand: WET where there is any, else what is extracted from the sample's WARC."""
    shards = sorted((HOME.parent / "shared" / "data" / "crawl").glob("*.wet.gz"))
    shards = shards or sorted((HOME / "data" / "sample").glob("*.warc.gz"))
    read = (row for shard in shards for row in read_shard(str(shard), ReadOptions(), ShardReport()))
    return [row.text for row in read if isinstance(row, Page)]


def groups() -> list[Group]:
    """The four groups, without the signals that need a list of words."""
    return [Group(name, tuple(signal for signal in GROUPS[name].values() if not signal.options), {}) for name in OURS]


def peer() -> Path | None:
    """The Python of datatrove's environment, made if it is not there; None, with a message, where it cannot be made."""
    folder = Path(os.environ.get("GOODHART_PEERS", HOME / ".venv-peers")) / "datatrove"
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            venv.create(folder, with_pip=True)
            subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", *PEER], check=True)
        subprocess.run([python, "-c", "import datatrove, spacy"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"bench: datatrove is not measured, its environment in {folder} does not work: {error}", file=sys.stderr)
        return None
    return python


def _against_datatrove(texts: list[str], rounds: int = 5) -> dict[str, Any]:
    sample = _every_nth(texts, SAMPLE)
    megabytes = sum(len(text.encode()) for text in sample) / 1e6
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    measure = _measuring([pa.array(sample, pa.large_string())])
    measure()
    with _datatrove(sample) as theirs:
        for _ in range(rounds):
            rates["ours"].append(megabytes / _seconds(measure))
            if theirs:
                rates["theirs"].append(megabytes / theirs())
    return _row(" + ".join(OURS), rates, "datatrove 0.10.1, the same four filters", PEER_GOAL, pages=len(sample))


def _in_batches(texts: list[str], rounds: int = 5) -> dict[str, Any]:
    measure = _measuring(_batches(texts))
    measure()
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    rates = {"ours": [megabytes / _seconds(measure) for _ in range(rounds)], "theirs": []}
    return _row(" + ".join(OURS) + ", all pages", rates, "the goal alone", RATE_GOAL, pages=len(texts))


def _kernels(texts: list[str], rounds: int = 5) -> list[dict[str, Any]]:
    """Each kernel on one batch beside one pass over its bytes."""
    page = PageBatch(_batches(texts)[0])
    data, offsets, lines, words = page.data, page.offsets, page.lines, page.words
    eights = data[: len(data) // 8 * 8].view(np.uint64)
    each: dict[str, Callable[[], Any]] = {
        "find_words": lambda: kernels.find_words(data, offsets, CLASSES),
        "find_lines": lambda: kernels.find_lines(data, offsets, CLASSES),
        "find_sentences": lambda: kernels.find_sentences(data, lines.starts, lines.ends, lines.first, CLASSES, MARKS),
        "find_phrases": lambda: c4.PHRASES.in_lines(page),
        "count_symbols": lambda: gopher.count_symbols(data, offsets),
        "count_stop_words": lambda: gopher.stop_word_count(page),
        "count_repeated": lambda: repetition.count_repeated(words.hashes, words.lengths, words.first),
        "what_is_left": lambda: c4.what_is_left(page),
    }
    found = []
    for name, call in each.items():
        call()
        rates: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(rounds):
            rates["ours"].append(len(data) / 1e6 / _seconds(call))
            rates["theirs"].append(len(data) / 1e6 / (_seconds(lambda: [eights.sum() for _ in range(20)]) / 20))
        found.append(_row(f"kernel {name}", rates, "numpy's sum of the same bytes, eight at a time", None))
    return found


def _first_calls() -> list[dict[str, Any]]:
    """Processor seconds in which a fresh worker measures its first page, without and with compiled kernels on disk."""
    with tempfile.TemporaryDirectory() as cache:
        seconds = [_first_call(cache) for _ in range(4)]
    found = []
    for what, taken, goal in (("cold", seconds[:1], COLD_GOAL), ("warm", seconds[1:], WARM_GOAL)):
        rates: dict[str, list[float]] = {"ours": taken, "theirs": []}
        found.append(_row(f"first call, {what} cache", rates, "at most the goal", goal) | {"unit": "s of processor time"})
    return found


def _first_call(cache: str) -> float:
    command = [sys.executable, "-c", FIRST]
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    return float(subprocess.run(command, env=environment, cwd=HOME, stdout=subprocess.PIPE, check=True).stdout)


def _every_nth(texts: list[str], size: int) -> list[str]:
    """Pages from everywhere in the crawl, about `size` bytes of them."""
    return texts[:: max(1, sum(len(text.encode()) for text in texts) // size)]


def _batches(texts: list[str]) -> list[pa.Array]:
    batches: list[list[str]] = [[]]
    size = 0
    for text in texts:
        batches[-1].append(text)
        size += len(text.encode())
        if size >= BATCH:
            batches.append([])
            size = 0
    return [pa.array(batch, pa.large_string()) for batch in batches if batch]


def _measuring(batches: list[pa.Array]) -> Callable[[], None]:
    bound = groups()

    def measure() -> None:
        for text in batches:
            batch = PageBatch(text)
            ids = pa.array(map(str, range(len(text))))
            for group in bound:
                group.measure(ids, batch)

    return measure


@contextmanager
def _datatrove(texts: list[str]) -> Iterator[Callable[[], float] | None]:
    """Seconds that its four filters take for the pages, whenever asked; None where its environment is not there."""
    python = peer()
    if python is None:
        yield None
        return
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps(text) + "\n" for text in texts)
        file.flush()
        command = [str(python), "-c", CHILD, file.name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            _answer(process)

            def seconds() -> float:
                assert process.stdin
                process.stdin.write("\n")
                process.stdin.flush()
                return float(_answer(process))

            yield seconds


def _answer(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise ValueError(f"datatrove's process ended with code {process.wait()}: see its message above")
    return line


def _seconds(function: Callable[[], Any]) -> float:
    begin = time.process_time()
    function()
    return time.process_time() - begin


def _row(what: str, rates: dict[str, list[float]], against: str, goal: float | None, **more: int) -> dict[str, Any]:
    medians = {whose: statistics.median(values) for whose, values in rates.items() if values}
    theirs = medians.get("theirs")
    return {
        "bench": "score.heuristics",
        "what": what,
        "ours": round(medians["ours"], 2),
        "unit": "MB/s per core",
        "against": against,
        "theirs": theirs and round(theirs, 3),
        "ratio": theirs and round(medians["ours"] / theirs, 3),
        "spread": {whose: [round(min(values), 3), round(max(values), 3)] for whose, values in rates.items() if values},
        "goal": goal,
        **more,
    }
