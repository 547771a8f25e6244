"""From WARC shards to a choice of pages, beside datatrove's own pipeline over the same shards.

Ours reads, splits, scores and chooses in Spark; datatrove reads, extracts with trafilatura and filters in its local executor
with one task. Ours measures every signal on every page, the language too; a page that one of datatrove's filters drops is
not seen by those behind it. Both are held to one core and measured by the processor time of all their processes: driver,
workers, the helper that extracts, and Spark's JVM from when it has started. Ours without the JVM is told beside it: what the
JVM takes is its own compiling, for the most part, and does not grow with the pages. The limit is told too:
a bare loop that takes records out of the same shards, decodes them and extracts their text, and nothing else. Before the
clock begins Spark and its worker have started, and datatrove and spaCy are imported. The sides take turns, each time in new
processes.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jobs.bench.heuristics import OURS, peer
from jobs.bench.processes import ticks
from jobs.parts.session import HOME

SECONDS = 180  # for all rounds; one is made however long it takes
GOALS = {"resiliparse": 18.0, "trafilatura": 1.8}

READS_WARC = (
    "babel==2.18.0", "courlan==1.4.0", "dateparser==1.5.0", "dill==0.4.1", "faust-cchardet==3.2.0", "htmldate==1.11.0",
    "jusText==3.0.2", "lxml==6.1.3", "lxml_html_clean==0.4.6", "multiprocess==0.70.19", "python-dateutil==4.0.0",
    "python-magic==0.4.27", "pytz==2026.6", "six==1.17.0", "tld==0.13.2", "trafilatura==2.3.1", "tzlocal==5.4.5",
    "warcio==1.8.1",
)  # fmt: skip
"""What datatrove needs beside what its filters need."""

CHILD = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import magic, spacy, trafilatura, warcio
from loguru import logger
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import C4QualityFilter, FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import WarcReader
logger.remove()
folder, names, logs = sys.argv[1], sys.argv[2].split(","), sys.argv[3]
paths = os.path.join(logs, "paths.txt")
open(paths, "w").write("".join(name + chr(10) for name in names))
filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter()]
pipeline = [WarcReader(folder, paths_file=paths), Trafilatura(timeout=10), *filters]
print("ready", flush=True)
sys.stdin.readline()
stats = LocalPipelineExecutor(pipeline, tasks=1, logging_dir=logs).run()
print(stats.stats[1].stats["forwarded"].total, flush=True)
sys.stdin.readline()
"""
# The allowance of a page is ten times datatrove's own: a crowded machine must not cost it pages.


class Used(NamedTuple):
    """Processor seconds of all processes, those of the JVM among them, and the pages read."""

    seconds: float
    jvm: float
    pages: int


def rows(shards: list[Path]) -> list[dict[str, Any]]:
    """The rows of `pipeline.warc`: processor seconds for the shards, with our own extractor and with trafilatura.

    datatrove's side is null where its environment is not there.
    """
    sides: dict[str, Callable[[], Used]] = {name: _ours(shards, name) for name in GOALS}
    sides |= {f"bare {name}": _bare(shards, name) for name in GOALS}
    python = _reads_warc(peer())
    if python is not None:
        sides["theirs"] = _theirs(python, shards)
    for name in GOALS:  # the first call of a fresh checkout compiles
        sides[name]()
    used: dict[str, list[Used]] = {name: [] for name in sides}
    begun, longest = time.monotonic(), 0.0
    while time.monotonic() - begun + longest < SECONDS:
        turn = time.monotonic()
        for name, side in sides.items():
            used[name].append(side())
        longest = max(longest, time.monotonic() - turn)
    return [_row(name, goal, used) for name, goal in GOALS.items()]


def _row(extract: str, goal: float, used: dict[str, list[Used]]) -> dict[str, Any]:
    ours, theirs = used[extract], used.get("theirs")
    both = {"ours": ours} | ({"theirs": theirs} if theirs else {})
    middle = {whose: statistics.median(one.seconds for one in some) for whose, some in both.items()}
    own = statistics.median(one.seconds - one.jvm for one in ours)
    bare = statistics.median(one.seconds for one in used[f"bare {extract}"])
    against = middle.get("theirs")
    return {
        "bench": "pipeline.warc",
        "what": f"read + score + choose, {extract}",
        "ours": round(middle["ours"], 2),
        "unit": "s of processor time",
        "against": "datatrove 0.10.1, trafilatura",
        "theirs": against and round(against, 2),
        "ratio": against and round(against / middle["ours"], 2),
        "goal": goal,
        "without_jvm": {"ours": round(own, 2), "ratio": against and round(against / own, 2)},
        "bare_extraction": {"ours": round(bare, 2), "ratio": against and round(against / bare, 2)},
        "rounds": len(ours),
        "spread": {whose: [round(min(some).seconds, 2), round(max(some).seconds, 2)] for whose, some in both.items()},
        "pages": {whose: some[-1].pages for whose, some in both.items()},
    }


def _reads_warc(python: Path | None) -> Path | None:
    """datatrove's Python with what reads and extracts; None, with a message, where that cannot be installed."""
    if python is None:
        return None
    tried = [str(python), "-c", "import dill, magic, multiprocess, trafilatura, warcio"]
    try:
        if subprocess.run(tried, stderr=subprocess.DEVNULL, check=False).returncode:
            subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", *READS_WARC], check=True)
            subprocess.run(tried, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"bench: datatrove's pipeline is not measured, reading WARC does not work: {error}", file=sys.stderr)
        return None
    return python


def _ours(shards: list[Path], extract: str) -> Callable[[], Used]:
    def side() -> Used:
        with tempfile.TemporaryDirectory(prefix="pipeline-") as folder:
            conf = Path(folder) / "conf.json"
            conf.write_text(json.dumps(_experiment(shards, extract, Path(folder) / "out")))
            return _measured([sys.executable, "-m", "jobs.bench.pipeline", str(conf)])

    return side


def _bare(shards: list[Path], extract: str) -> Callable[[], Used]:
    command = [sys.executable, "-m", "jobs.bench.pipeline", extract, *(str(shard.resolve()) for shard in shards)]
    return lambda: _measured(command)


def _experiment(shards: list[Path], extract: str, out: Path) -> dict[str, Any]:
    return {
        "out": str(out),
        "pages": {"from": [str(shard.resolve()) for shard in shards], "extract": extract},
        "signals": {group: {} for group in ("language", *OURS)},
        "presets": list(OURS),
        "write": {"subsets": []},
    }


def _theirs(python: Path, shards: list[Path]) -> Callable[[], Used]:
    names = ",".join(shard.name for shard in shards)

    def side() -> Used:
        with tempfile.TemporaryDirectory(prefix="pipeline-") as logs:
            folder = str(shards[0].parent.resolve())
            return _measured([str(python), "-c", CHILD, folder, names, logs])

    return side


def _measured(command: list[str]) -> "Used":
    """What a child uses from when it says it is ready until it tells how many pages it read.

    Raises RuntimeError where it ends before.
    """
    with subprocess.Popen(command, cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin
        _answer(child)
        before = ticks(child.pid)
        child.stdin.write("\n")
        child.stdin.flush()
        pages = int(_answer(child))
        after = ticks(child.pid)
        after.subtract(before)
    per_second = os.sysconf("SC_CLK_TCK")
    return Used(after.total() / per_second, after["java"] / per_second, pages)


def _answer(child: "subprocess.Popen[str]") -> str:
    """What it says next that is meant for us: `ready` or a number."""
    assert child.stdout
    for line in child.stdout:
        if line.strip() == "ready" or line.strip().isdigit():
            return line
    raise RuntimeError(f"the pipeline ended with code {child.wait()}: see its message above")


def _run(conf: Path) -> None:
    """What our child does: Spark and its worker first, then every verb."""
    from jobs import choose, read, score, split
    from jobs.parts.experiment_file import load
    from jobs.parts.places import Places
    from jobs.parts.session import session
    from jobs.parts.table import finished

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    session("bench").sparkContext.parallelize(range(1), 1).map(_imported).collect()
    experiment = load(conf)
    print("ready", flush=True)
    sys.stdin.readline()
    for verb in (read, split, score, choose):
        verb.main(experiment)
    print(finished(Places(experiment.out).pages)["rows"], flush=True)
    sys.stdin.readline()


def _extract(extract: str, shards: list[str]) -> None:
    """What the child of the bare loop does."""
    from jobs.bench.read import decoded, loop
    from jobs.shards.extract_page import html_extractor

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    extractor = html_extractor(extract)
    print("ready", flush=True)
    sys.stdin.readline()
    print(sum(loop(Path(shard), decoded, extractor)[0] for shard in shards), flush=True)
    sys.stdin.readline()


def _imported(_: int) -> str:
    """Import in a worker what its tasks need."""
    import jobs.choose
    import jobs.score

    return jobs.choose.__name__ + jobs.score.__name__


if __name__ == "__main__":
    if sys.argv[1] in GOALS:
        _extract(sys.argv[1], sys.argv[2:])
    else:
        _run(Path(sys.argv[1]))
