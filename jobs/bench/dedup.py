"""Finding duplicates beside the peers: signatures of pages on one core, and a whole deduplication on all.

datatrove and rensa run in virtual environments of their own. Signatures are measured by processor time, by turns, of the
same pages, from text on both sides; beside rensa also of shingles that were made before, which both sides hash: rensa takes
them as Python's strings, ours as an Arrow array; and of hashes of shingles. End to end both sides read the same JSON lines
and say which pages are kept.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from filters.duplicates.minhash import MOST, Minima, family, lower_minima, signatures
from filters.duplicates.shingles import Shingling
from filters.kernels.text import Bytes, Hashes, Offsets, hash_bytes, kernel
from filters.pages import PageBatch
from jobs.bench import heuristics
from jobs.bench.processes import ticks
from jobs.parts.session import HOME

BANDS, ROWS, SIZE = 14, 8, 5
SAMPLE = 400_000  # bytes of text that datatrove signs
PAGES = 20_000
SIGNATURES_GOAL, RENSA_GOAL, END_TO_END_GOAL = 200, 1, 8
RENSA = "rensa==0.5.0"
DATATROVE_NEEDS = ("dill==0.4.1", "orjson==3.13.0", "multiprocess==0.70.19", "tokenizers==0.23.3")

SIGN_DATATROVE = """
import json, sys, tempfile, time
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
texts = [json.loads(line) for line in open(sys.argv[1])]
bands, rows, size = map(int, sys.argv[2:5])
config = MinhashConfig(n_grams=size, num_buckets=bands, hashes_per_bucket=rows)
signer = MinhashDedupSignature(output_folder=tempfile.mkdtemp(), config=config)
def sign(texts):
    for text in texts:
        shingles = signer.get_shingles(text)
        if shingles.size:
            signer.get_signature(shingles)
sign(texts[:3])
print("ready", flush=True)
for line in sys.stdin:
    begin = time.process_time()
    sign(texts)
    print(time.process_time() - begin, flush=True)
"""

SIGN_RENSA = """
import array, itertools, json, sys, time
from rensa import RMinHash
texts = [json.loads(line) for line in open(sys.argv[1])]
bands, rows, size = map(int, sys.argv[2:5])
def cut(text):
    words = text.lower().split()
    return [" ".join(words[at:at + size]) for at in range(len(words) - size + 1)]
pages = [cut(text) for text in texts]
sets = RMinHash.hash_token_sets(pages)
flat = array.array("Q", itertools.chain.from_iterable(sets))
bounds = array.array("Q", itertools.accumulate(map(len, sets), initial=0))
print("ready", flush=True)
for line in sys.stdin:
    begin = time.process_time()
    if line == "hashes\\n":
        RMinHash.digest_matrix_from_flat_token_hashes(flat, bounds, bands * rows, 42)
    for text, page in zip(texts, pages) if line != "hashes\\n" else ():
        one = RMinHash(num_perm=bands * rows, seed=42)
        one.update(cut(text) if line == "texts\\n" else page)
        one.digest()
    print(time.process_time() - begin, flush=True)
"""

DEDUP_DATATROVE = """
import sys
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
folder, out, cores = sys.argv[1], sys.argv[2], int(sys.argv[3])
bands, rows, size = map(int, sys.argv[4:7])
config = MinhashConfig(n_grams=size, num_buckets=bands, hashes_per_bucket=rows)
def run(steps, tasks, name):
    LocalPipelineExecutor(steps, tasks=tasks, workers=cores, logging_dir=f"{out}/logs/{name}").run()
if __name__ == "__main__":
    run([JsonlReader(folder), MinhashDedupSignature(f"{out}/signatures", config=config)], cores, "signatures")
    run([MinhashDedupBuckets(f"{out}/signatures", f"{out}/buckets", config=config)], bands, "buckets")
    run([MinhashDedupCluster(f"{out}/buckets", f"{out}/clusters", config=config)], 1, "cluster")
    kept = JsonlWriter(f"{out}/kept", compression=None)
    run([JsonlReader(folder), MinhashDedupFilter(f"{out}/clusters"), kept], cores, "filter")
"""


DEDUP_OURS = """
import sys
from jobs import dedup, read, split
from jobs.parts.command import run
def verbs(experiment, dry_run):
    return max(verb.main(experiment, dry_run) for verb in (read, split, dedup))
sys.exit(run(verbs, None, sys.argv[1:]))
"""


class Took(NamedTuple):
    """Seconds by the clock, and processor seconds of all processes."""

    seconds: float
    processor: float


def rows(pages: int = PAGES, rounds: int = 5) -> list[dict[str, Any]]:
    """The rows of `dedup.signatures` and `dedup.end_to_end`; a peer whose environment cannot be made is left out."""
    texts = heuristics.pages()
    datatrove, rensa = datatrove_peer(), rensa_peer()
    found = []
    if datatrove:
        some = texts[:: max(1, sum(map(len, texts)) // SAMPLE)]
        found.append(
            _signed(datatrove, SIGN_DATATROVE, "datatrove 0.10.1 MinhashDedupSignature", some, SIGNATURES_GOAL, rounds)
        )
    if rensa:
        for what, goal in (("texts", RENSA_GOAL), ("shingles", RENSA_GOAL), ("hashes", None)):
            found.append(_signed(rensa, SIGN_RENSA, "rensa 0.5.0 RMinHash", texts[:2000], goal, rounds, what))
    if datatrove:
        found.append(end_to_end(datatrove, grown(texts, pages)))
    return found


def datatrove_peer() -> Path | None:
    """The Python of datatrove's environment with what its deduplication imports beyond its filters."""
    python = heuristics.peer()
    try:
        needs = [str(python), "-c", "import dill, multiprocess, orjson, tokenizers"]
        if python and subprocess.run(needs, check=False, stderr=subprocess.DEVNULL).returncode:
            subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", *DATATROVE_NEEDS], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"bench: datatrove is not measured, its environment lacks {DATATROVE_NEEDS}: {error}", file=sys.stderr)
        return None
    return python


def rensa_peer() -> Path | None:
    """The Python of rensa's environment, made if it is not there; None, with a message, where it cannot be made."""
    folder = Path(os.environ.get("GOODHART_PEERS", HOME / ".venv-peers")) / "rensa"
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            venv.create(folder, with_pip=True)
            subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", RENSA], check=True)
        subprocess.run([python, "-c", "import rensa"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"bench: rensa is not measured, its environment in {folder} does not work: {error}", file=sys.stderr)
        return None
    return python


def _signed(
    python: Path, code: str, peer: str, texts: Sequence[str], goal: float | None, rounds: int, given: str = "texts"
) -> dict[str, Any]:
    """A row: pages per processor second on both sides, medians of `rounds` turns."""
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    seconds = partial(sign, texts) if given == "texts" else sign_shingles(texts, given == "hashes")
    seconds()  # the first call compiles, or loads what was compiled
    with _child(python, code, texts, given) as ask:
        for _ in range(rounds):
            rates["theirs"].append(len(texts) / next(ask))
            rates["ours"].append(len(texts) / seconds())
    ours, theirs = (statistics.median(rates[whose]) for whose in ("ours", "theirs"))
    return {
        "bench": "dedup.signatures",
        "what": f"{BANDS} x {ROWS}, word {SIZE}-grams, given {given}",
        "ours": round(ours, 1),
        "unit": "pages/s per core",
        "against": peer,
        "theirs": round(theirs, 2),
        "ratio": round(ours / theirs, 1),
        "spread": {whose: [round(min(some), 1), round(max(some), 1)] for whose, some in rates.items()},
        "goal": goal,
        "pages": len(texts),
        "megabytes": round(sum(len(text.encode()) for text in texts) / 1e6, 2),
    }


@kernel
def hash_all(data: Bytes, offsets: Offsets, hashed: Hashes) -> None:
    """Fill in the hash of each string."""
    for at in range(len(hashed)):
        hashed[at] = hash_bytes(data, offsets[at], offsets[at + 1])


@kernel
def lower_all(hashed: Hashes, firsts: Offsets, bases: Hashes, multipliers: Minima, minima: Minima) -> None:
    """Lower each page's minima to those over its shingles."""
    for page in range(len(minima)):
        begin, end = firsts[page], firsts[page + 1]
        lower_minima(hashed[begin:end], end - begin, bases, multipliers, minima[page])


def cut(text: str) -> list[str]:
    """A page's shingles, as the peer is given them."""
    words = text.lower().split()
    return [" ".join(words[at : at + SIZE]) for at in range(len(words) - SIZE + 1)]


def sign_shingles(texts: Sequence[str], hashed_before: bool) -> Callable[[], float]:
    """What gives the processor seconds for the minima of some pages' shingles, which are cut before."""
    cuts = [cut(text) for text in texts]
    strings = PageBatch(pa.array([shingle for one in cuts for shingle in one], pa.large_string()))
    firsts, hashed = np.cumsum([0, *map(len, cuts)]), np.empty(len(strings), np.uint64)
    hash_all(strings.data, strings.offsets, hashed)

    def seconds() -> float:
        minima = np.full((len(cuts), BANDS * ROWS), MOST)
        begin = time.process_time()
        if not hashed_before:
            hash_all(strings.data, strings.offsets, hashed)
        lower_all(hashed, firsts, *family(BANDS * ROWS), minima)
        return time.process_time() - begin

    return seconds


def sign(texts: Sequence[str]) -> float:
    """Processor seconds for the band keys of some pages."""
    array = pa.array(texts, pa.large_string())
    begin = time.process_time()
    signatures(PageBatch(array), Shingling("words", SIZE), BANDS * ROWS).bands(BANDS, ROWS)
    return time.process_time() - begin


@contextmanager
def _child(python: Path, code: str, texts: Sequence[str], given: str) -> Iterator[Iterator[float]]:
    """A process of a peer's that has read the pages; each value asked of the iterator is one more turn's seconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps(text) + "\n" for text in texts)
        file.flush()
        command = [str(python), "-c", code, file.name, str(BANDS), str(ROWS), str(SIZE)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin and process.stdout
            process.stdout.readline()
            yield _turns(process, given)
            process.stdin.close()


def _turns(process: "subprocess.Popen[str]", given: str) -> Iterator[float]:
    assert process.stdin and process.stdout
    while True:
        process.stdin.write(f"{given}\n")
        process.stdin.flush()
        yield float(process.stdout.readline())


def grown(texts: Sequence[str], pages: int) -> list[str]:
    """So many pages: those at hand, then copies of them with one word in 50 exchanged."""
    draw, found = random.Random(0), list(texts[:pages])
    while len(found) < pages:
        words = draw.choice(texts).split(" ")
        for at in draw.sample(range(len(words)), len(words) // 50):
            words[at] = draw.choice(words)
        found.append(" ".join(words))
    return found


def end_to_end(python: Path, texts: Sequence[str]) -> dict[str, Any]:
    """A row: seconds from JSON lines to which pages are kept, both sides on all cores, and how far they keep the same."""
    with tempfile.TemporaryDirectory(prefix="dedup-") as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for part in range(2):
            lines = [json.dumps({"id": str(at), "text": texts[at]}) + "\n" for at in range(part, len(texts), 2)]
            (folder / "in" / f"{part}.jsonl").write_text("".join(lines))
        ours, removed = _ours(folder)
        theirs, kept = _theirs(python, folder)
        families = _families(folder / "out", kept)
    lost = set(map(str, range(len(texts)))) - kept
    return {
        "bench": "dedup.end_to_end",
        "what": f"{len(texts):,} pages, {os.cpu_count()} cores",
        "ours": round(ours.seconds, 1),
        "unit": "s",
        "against": "datatrove 0.10.1, four stages",
        "theirs": round(theirs.seconds, 1),
        "ratio": round(theirs.seconds / ours.seconds, 2),
        "processor": {"ours": round(ours.processor, 1), "theirs": round(theirs.processor, 1)},
        "goal": END_TO_END_GOAL,
        "removed": {"ours": len(removed), "theirs": len(lost), "both": len(removed & lost)},
        "families": families,
    }


def _ours(folder: Path) -> tuple[Took, set[str]]:
    """What our verbs take in one process, and the pages that are like a better one."""
    conf = folder / "conf.json"
    near = {"unit": "words", "size": SIZE, "bands": BANDS, "rows": ROWS}
    asked = {
        "out": str(folder / "out"),
        "pages": {"from": [str(folder / "in" / "*.jsonl")]},
        "signals": {"duplicates": {"near": near}},
    }
    conf.write_text(json.dumps(asked))
    took = _timed([sys.executable, "-c", DEDUP_OURS, str(conf)])
    rows = pq.read_table(folder / "out" / "signals" / "duplicates", columns=["id", "near_duplicate_similarity"])
    alike = zip(*rows.to_pydict().values(), strict=True)
    return took, {page for page, value in alike if value}


def _families(out: Path, kept: set[str]) -> dict[str, int]:
    """How many families of alike pages we found and keep one page of; of how many the peer keeps one, several or none.

    Pages that are alone to us and lost to the peer are of pairs that fail verification or that one side did not find.
    """
    rows = pq.read_table(out / "duplicates" / "copies", columns=["id", "component"]).to_pylist()
    left = Counter(row["component"] for row in rows if row["component"] is not None and row["id"] in kept)
    families = {row["component"] for row in rows} - {None}
    alone = [row["id"] for row in rows if row["component"] is None]
    return {
        "ours": len(families),
        "peer_keeps_one": sum(left[family] == 1 for family in families),
        "peer_keeps_several": sum(left[family] > 1 for family in families),
        "peer_keeps_none": sum(left[family] == 0 for family in families),
        "alone": len(alone),
        "alone_and_kept_by_peer": len(kept.intersection(alone)),
    }


def _timed(command: Sequence[str]) -> Took:
    """What a command takes."""
    begin, used = time.monotonic(), 0
    with subprocess.Popen(command, cwd=HOME, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            used = max(used, sum(ticks(process.pid).values()))
            time.sleep(0.1)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Took(time.monotonic() - begin, used / os.sysconf("SC_CLK_TCK"))


def _theirs(python: Path, folder: Path) -> tuple[Took, set[str]]:
    """What datatrove's four stages take, and the pages that it keeps."""
    code = folder / "datatrove_dedup.py"
    code.write_text(DEDUP_DATATROVE)
    command = [python, code, folder / "in", folder / "theirs", os.cpu_count(), BANDS, ROWS, SIZE]
    took = _timed(list(map(str, command)))
    files = sorted((folder / "theirs" / "kept").rglob("*.jsonl"))
    return took, {str(json.loads(line)["id"]) for file in files for line in file.read_text().splitlines()}
