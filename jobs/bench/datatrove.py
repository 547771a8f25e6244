"""datatrove's readings beside datatrove itself on the same pages: do they agree, and how fast is each on one core.

datatrove runs in a virtual environment of its own (`$GOODHART_PEERS/datatrove` or `.venv-peers/datatrove`), as one process
that keeps the pages and takes turns with ours; both are measured by processor time. datatrove remembers the words of the
last five texts, so that four filters after each other, page by page, find the words once: "together" is measured so.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.pages import PageBatch
from filters.rules import Pool, parse, resolve_in
from filters.signals import configure, load_groups
from filters.strict_yaml import read_yaml
from jobs.bench.heuristics import pages, peer
from jobs.parts.session import HOME
from jobs.shards.reader import Page, ReadOptions, ShardReport, read_shard

READINGS = {  # datatrove's filter with its options: our group, preset and options
    "GopherQualityFilter": ("gopher_datatrove", {}),
    "GopherRepetitionFilter": ("repetition_datatrove", {}),
    "C4QualityFilter": ("c4_datatrove", {}),
    "FineWebQualityFilter": ("fineweb_datatrove", {}),
    "C4QualityFilter filter_no_terminal_punct=False": ("c4_datatrove", {"end_marks": False}),
    "C4ParagraphFilter": ("mc4_datatrove", {}),
}
TOGETHER = " ".join(list(READINGS)[:4])
SAMPLE = 700_000  # bytes of text for the timing
AGREEMENT_GOAL, SPEED_GOAL = 99.5, 50

CHILD = """
import json, sys, time
from datatrove.data import Document
from datatrove.pipeline import filters
texts = [json.loads(line) for line in open(sys.argv[1])]
def make(name, *options):
    return getattr(filters, name)(**{key: value != "False" for key, value in (option.split("=") for option in options)})
def keeps(each, text):
    try:
        verdict = each.filter(Document(text=text, id=""))
    except ZeroDivisionError:
        return False
    return verdict if isinstance(verdict, bool) else verdict[0]
print("ready", flush=True)
for line in sys.stdin:
    names = line.split()
    made = [make(name) for name in names] if "=" not in line else [make(*names)]
    begin = time.process_time()
    verdicts = [all([keeps(each, text) for each in made]) for text in texts]
    print(json.dumps([time.process_time() - begin, verdicts]), flush=True)
"""


def rows(rounds: int = 5) -> list[dict[str, Any]]:
    """Agreement on WET and on extracted text, then speed; nothing where datatrove's environment is not there."""
    python = peer()
    if python is None:
        print("bench: datatrove is not measured: there is no .venv-peers/datatrove", file=sys.stderr)
        return []
    texts = pages()
    found = [row for what, of in (("WET", texts), ("extracted", extracted())) for row in agreement(python, what, of)]
    return found + speed(python, texts[:: max(1, sum(map(len, texts)) // SAMPLE)], rounds)


def extracted() -> list[str]:
    """The main text of the pages of every WARC shard at hand."""
    shards = sorted((HOME.parent / "shared" / "data" / "crawl").glob("*.warc.gz"))
    shards = shards or sorted((HOME / "data" / "sample").glob("*.warc.gz"))
    read = (row for shard in shards for row in read_shard(str(shard), ReadOptions(), ShardReport()))
    return [row.text for row in read if isinstance(row, Page)]


def agreement(python: Path, what: str, texts: list[str]) -> list[dict[str, Any]]:
    """Share of pages on which each filter and our preset say the same, in percent."""
    found = []
    with datatrove(python, texts) as process:
        for name, (group, options) in READINGS.items():
            _, verdicts = ask(process, name)
            ours = kept(group, options, texts)
            same = float(np.mean(ours == np.array(verdicts)))
            found.append(
                {
                    "bench": "score.agreement",
                    "what": f"{group}{' without end marks' if options else ''}, {what}",
                    "ours": round(100 * same, 3),
                    "unit": "% of verdicts alike",
                    "against": f"datatrove 0.10.1 {name}",
                    "theirs": round(100 * float(np.mean(verdicts)), 2),
                    "ratio": round(100 * float(np.mean(ours)) / max(100 * float(np.mean(verdicts)), 1e-9), 4),
                    "goal": AGREEMENT_GOAL,
                    "pages": len(texts),
                }
            )
    return found


def speed(python: Path, texts: list[str], rounds: int) -> list[dict[str, Any]]:
    """Megabytes of text per processor second, medians of `rounds` turns."""
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    found = []
    with datatrove(python, texts) as process:
        for name in [*list(READINGS)[:4], TOGETHER]:
            groups = [READINGS[each][0] for each in name.split()]
            rates: dict[str, list[float]] = {"ours": [], "theirs": []}
            measure(groups, texts)  # the first call compiles, or loads what was compiled
            for _ in range(rounds):
                rates["ours"].append(megabytes / measure(groups, texts))
                rates["theirs"].append(megabytes / ask(process, name)[0])
            medians = {whose: statistics.median(values) for whose, values in rates.items()}
            found.append(
                {
                    "bench": "score.heuristics",
                    "what": " + ".join(groups),
                    "ours": round(medians["ours"], 2),
                    "unit": "MB/s per core",
                    "against": "datatrove 0.10.1, page by page",
                    "theirs": round(medians["theirs"], 4),
                    "ratio": round(medians["ours"] / medians["theirs"], 1),
                    "spread": {whose: [round(min(values), 3), round(max(values), 3)] for whose, values in rates.items()},
                    "goal": SPEED_GOAL,
                    "pages": len(texts),
                }
            )
    return found


def measure(groups: list[str], texts: list[str]) -> float:
    """Seconds of processor time for the columns of some groups over one batch."""
    known = load_groups("filters")
    ids, array = pa.array(list(map(str, range(len(texts))))), pa.array(texts, pa.large_string())
    begin = time.process_time()
    batch = PageBatch(array)
    for group in groups:
        configure(group, {}, known).measure(ids, batch)
    return time.process_time() - begin


def kept(group: str, options: dict[str, Any], texts: list[str]) -> npt.NDArray[np.bool_]:
    """Whether each page passes the preset of the group's name."""
    ids = list(map(str, range(len(texts))))
    measured = configure(group, options, load_groups("filters")).measure(
        pa.array(ids), PageBatch(pa.array(texts, pa.large_string()))
    )
    pool = Pool(ids, dict(zip(measured.schema.names, measured.columns, strict=True)), {"pages": np.ones(len(ids), np.int64)})
    rules = read_yaml((HOME / "conf" / "rules" / f"{group}.yaml").read_text())["rules"]
    passed = [rule.passes(pool) for rule in resolve_in(pool, parse(rules))]
    return np.asarray(np.logical_and.reduce(passed), bool)


@contextmanager
def datatrove(python: Path, texts: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """A process of datatrove's that has read the pages and waits for the names of filters."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps(text) + "\n" for text in texts)
        file.flush()
        command = [str(python), "-c", CHILD, file.name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            _answer(process)
            yield process
            assert process.stdin
            process.stdin.close()


def ask(process: "subprocess.Popen[str]", name: str) -> tuple[float, list[bool]]:
    """Seconds that the filters of a name take for the pages, and whether each page passes all of them."""
    assert process.stdin
    process.stdin.write(name + "\n")
    process.stdin.flush()
    seconds, verdicts = json.loads(_answer(process))
    return seconds, verdicts


def _answer(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise ValueError(f"datatrove's process ended with code {process.wait()}: see its message above")
    return line
