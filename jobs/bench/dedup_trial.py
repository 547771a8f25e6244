"""Pages whose copies are known, deduplicated: what is found of them, what is invented, and what it takes.

    python -m jobs.bench.dedup_trial PAGES FOLDER [--words N]

Pages are made by perturbing real ones (of the shards at hand) at known edit rates: clusters of 2 to a tenth of all pages,
a chain of a quarter, in which each page perturbs the one before, and a tenth that agree in one band and in nothing else.
FOLDER gets the pages, the experiment over them and `trial.json`. docs/duplicates.md has what came out.

A planted pair is a page and the page that it was made from. It counts as found where it stands among the verified pairs
itself: that chains of other pairs link the two at their own similarity is told beside it.
"""

import argparse
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from filters.duplicates.curve import collision
from filters.duplicates.forest import components
from filters.duplicates.minhash import signatures
from filters.duplicates.shingles import Shingling, jaccard
from filters.pages import PageBatch
from jobs.bench import heuristics
from jobs.bench.processes import below
from jobs.parts.session import HOME

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Draw = np.random.Generator

BANDS, ROWS, SIZE = 14, 8, 5
LEAST = 0.5
HOW = Shingling("words", SIZE)
WORDS = 250
"""In a page at most."""
CLUSTERS, CHAIN, BUCKET = (2, 3, 5, 10, 30, 100, 300, 1000, 3000, 20_000), 50_000, 20_000
"""Sizes in 200,000 pages; of other numbers of pages the last cluster, the chain and the bucket are in proportion."""
SHARE = 0.045
"""Of all pages are in clusters of each size but the largest."""
RATES = (0.004, 0.08)
"""Of words exchanged in a copy. In the chain it is the lower one: a word of a page."""
SNIPPETS = 400_000
"""Drawn to find those that bring about a band's minima."""
PARTS = 8
DEDUP = """
import json, os, sys, time
begun = time.monotonic()
from jobs import dedup, read, split
from jobs.bench.processes import ticks
from jobs.parts import session
def processor():
    return sum(ticks(os.getpid()).values()) / os.sysconf("SC_CLK_TCK")
from jobs.parts.command import run
def verbs(experiment, dry_run):
    seconds = {}
    steps = {"spark": lambda *_: session.session("trial") and 0, "read": read.main, "split": split.main}
    for name, verb in (steps | {"edges": dedup.edges, "ranks": dedup.ranks}).items():
        begin, used = time.monotonic(), processor()
        verb(experiment, dry_run)
        seconds[name] = [round(time.monotonic() - begin, 1), round(processor() - used, 1)]
    seconds["all"] = [round(time.monotonic() - begun, 1), round(processor(), 1)]
    open(sys.argv[2], "w").write(json.dumps(seconds))
    return 0
sys.exit(run(verbs, None, sys.argv[1:2]))
"""


@dataclass
class Made:
    """Pages as lists of words, and the planted pairs: (copy, page it was made from), with the number of their family."""

    pages: list[list[str]] = field(default_factory=list)
    pairs: list[tuple[int, int, int]] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    """What each family is: `cluster of 30`, `chain`."""

    def put(self, words: list[str]) -> int:
        """Append a page; its number."""
        self.pages.append(words)
        return len(self.pages) - 1


def sources(texts: Sequence[str], draw: Draw, words: int) -> Iterator[list[str]]:
    """Pages no two of which are alike: pieces of real ones, then pieces whose words are shuffled."""
    plain = [re.findall("[a-z]+", text.lower()) for text in texts]
    pieces = [page[at : at + words] for page in plain for at in range(0, max(1, len(page) - words + 1), words)]
    pieces = [piece for piece in pieces if len(piece) >= words // 2]
    if not pieces:
        raise ValueError("there is no text to make pages from")
    seen: set[str] = set()
    for piece in pieces:
        runs = {" ".join(piece[at : at + SIZE]) for at in range(len(piece) - SIZE + 1)}
        if len(runs & seen) * 10 < len(runs):
            seen |= runs
            yield piece
    while True:
        piece = pieces[int(draw.integers(len(pieces)))]
        yield [piece[k] for k in draw.permutation(len(piece)).tolist()]


def changed(words: list[str], vocabulary: Sequence[str], draw: Draw, rate: float) -> list[str]:
    """A page with this share of its words exchanged, at least one."""
    copy = words.copy()
    for at in draw.choice(len(words), max(1, round(rate * len(words))), replace=False).tolist():
        copy[at] = vocabulary[int(draw.integers(len(vocabulary)))]
    return copy


def make(pages: int, texts: Sequence[str], words: int = WORDS, seed: int = 0) -> Made:
    """So many pages with planted copies."""
    draw = np.random.default_rng(seed)
    source, made = sources(texts, draw, words), Made()
    vocabulary = sorted({word for text in texts for word in re.findall("[a-z]+", text.lower())})
    scale = pages / 200_000
    for size in CLUSTERS:
        most = size if size < CLUSTERS[-1] else max(2, round(size * scale))
        many = 1 if size == CLUSTERS[-1] else int(SHARE * pages / size)
        for _ in range(many):
            _cluster(made, next(source), most, vocabulary, draw)
    _chain(made, next(source), round(CHAIN * scale), vocabulary, draw)
    _bucket(made, round(BUCKET * scale), vocabulary, draw, words)
    while len(made.pages) < pages:
        made.put(next(source))
    return made


def _cluster(made: Made, root: list[str], size: int, vocabulary: Sequence[str], draw: Draw) -> None:
    first, family = made.put(root), len(made.families)
    made.families.append(f"clusters of {size:,}")
    for _ in range(size - 1):
        copy = made.put(changed(root, vocabulary, draw, float(draw.uniform(*RATES))))
        made.pairs.append((copy, first, family))


def _chain(made: Made, root: list[str], length: int, vocabulary: Sequence[str], draw: Draw) -> None:
    last, family = made.put(root), len(made.families)
    made.families.append(f"chain of {length:,}")
    for _ in range(length - 1):
        link = made.put(changed(made.pages[last], vocabulary, draw, RATES[0]))
        made.pairs.append((link, last, family))
        last = link


def _bucket(made: Made, size: int, vocabulary: Sequence[str], draw: Draw, words: int) -> None:
    """Pages that agree in the first band: each has the runs of words that have its smallest hashes, and is else its own."""
    runs = [[vocabulary[k] for k in row] for row in draw.integers(len(vocabulary), size=(SNIPPETS, SIZE)).tolist()]
    batch = PageBatch(pa.array([" ".join(run) for run in runs], pa.large_string()))
    smallest = signatures(batch, HOW, ROWS).minima.argmin(axis=0)
    for _ in range(size):
        page = [vocabulary[k] for k in draw.integers(len(vocabulary), size=words // 2).tolist()]
        for at in sorted(set(smallest.tolist())):
            page += [*runs[at], vocabulary[int(draw.integers(len(vocabulary)))]]
        made.put(page)


def write(made: Made, folder: Path, seed: int = 0) -> Path:
    """The pages as JSON lines in some files, in no order, and the experiment that deduplicates them; its file."""
    (folder / "in").mkdir(parents=True)
    order = np.random.default_rng(seed).permutation(len(made.pages))
    for part in range(PARTS):
        with (folder / "in" / f"{part}.jsonl").open("w") as file:
            for page in order[part::PARTS].tolist():
                file.write(json.dumps({"id": str(page), "text": " ".join(made.pages[page])}) + "\n")
    asked = {
        "out": str(folder / "out"),
        "pages": {"from": [str(folder / "in" / "*.jsonl")]},
        "signals": {"duplicates": {"near": {"size": SIZE, "bands": BANDS, "rows": ROWS}, "least": LEAST}},
    }
    conf = folder / "conf.json"
    conf.write_text(json.dumps(asked))
    return conf


def deduplicate(conf: Path) -> dict[str, Any]:
    """Run the verbs: seconds and processor seconds of each, the most megabytes of a worker, the driver and the JVM."""
    told = conf.with_name("seconds.json")
    with subprocess.Popen(
        [sys.executable, "-c", DEDUP, str(conf), str(told)], cwd=HOME, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        most: dict[str, float] = {}
        watcher = threading.Thread(target=_watch, args=(process, most), daemon=True)
        watcher.start()
        said = process.stdout.read().decode() if process.stdout else ""
        process.wait()
    if not told.exists():
        raise RuntimeError(said)
    return {"seconds": json.loads(told.read_text())} | {name: round(value) for name, value in most.items()}


def _watch(process: "subprocess.Popen[bytes]", most: dict[str, float]) -> None:
    """Keep the most megabytes that the driver, the JVM and any one worker held."""
    while process.returncode is None:
        for one in below(process.pid):
            name = "driver_mb" if one.pid == process.pid else "jvm_mb" if one.name == "java" else "worker_mb"
            most[name] = max(most.get(name, 0), one.resident / 1e6)
        time.sleep(0.2)


@dataclass(frozen=True)
class Pairs:
    """Planted pairs with their similarity, and what became of them; shape (pairs,)."""

    one: Integers
    other: Integers
    family: Integers
    alike: Floats
    in_a_bucket: npt.NDArray[np.bool_]
    found: npt.NDArray[np.bool_]
    linked: npt.NDArray[np.bool_]


def judged(made: Made, out: Path) -> tuple[Pairs, dict[str, Any]]:
    """What became of the planted pairs; and of the verified ones how many are as alike as they are said to be."""
    batch = PageBatch(pa.array([" ".join(words) for words in made.pages], pa.large_string()))
    everyone = np.arange(len(made.pages))
    sets = HOW.sets(batch.data, batch.offsets, everyone)
    keys = signatures(batch, HOW, BANDS * ROWS).bands(BANDS, ROWS)
    one, other, family = np.array(made.pairs).T
    alike = np.array([jaccard(sets[page], sets[beside]) for page, beside in zip(one, other, strict=True)])
    edges = pq.read_table(out / "duplicates" / "edges", columns=["id", "other", "jaccard"])
    left, right = (np.array(edges[name].to_pylist(), np.int64) for name in ("id", "other"))
    weights = edges["jaccard"].to_numpy()
    again = np.array([jaccard(sets[page], sets[beside]) for page, beside in zip(left, right, strict=True)])
    many = len(made.pages)
    stands = np.isin(np.minimum(one, other) * many + np.maximum(one, other), _numbered(left, right, many))
    told = {
        "edges": len(edges),
        "edges_as_alike_as_said": float(((again == weights) & (weights >= LEAST)).mean()),
        "edges_counted_by_words": _counted_by_words(made, left, right, weights),
    }
    linked = _linked(left, right, weights, one, other, alike, many)
    return Pairs(one, other, family, alike, (keys[one] == keys[other]).any(axis=1), stands, linked), told


def _numbered(left: Integers, right: Integers, many: int) -> Integers:
    return np.minimum(left, right) * many + np.maximum(left, right)


def _counted_by_words(made: Made, left: Integers, right: Integers, weights: Floats, some: int = 2000) -> float:
    """Of some verified pairs the share whose similarity is that of sets of runs of words, with no hash and no kernel."""

    def runs(page: int) -> set[tuple[str, ...]]:
        words = made.pages[page]
        return {tuple(words[at : at + SIZE]) for at in range(len(words) - SIZE + 1)}

    right_ones, drawn = 0, np.random.default_rng(0).integers(len(left), size=some).tolist()
    for at in drawn:
        one, other = runs(int(left[at])), runs(int(right[at]))
        right_ones += len(one & other) / len(one | other) == weights[at]
    return right_ones / some


def _linked(
    left: Integers, right: Integers, weights: Floats, one: Integers, other: Integers, alike: Floats, many: int
) -> npt.NDArray[np.bool_]:
    """Whether chains of verified pairs link each planted pair at its own similarity, told to two digits, or at more."""
    linked = np.zeros(len(one), bool)
    for value in np.unique(np.floor(alike * 100) / 100):
        some, strong = np.floor(alike * 100) / 100 == value, weights >= value
        parts = components(many, left[strong], right[strong])
        linked[some] = parts[one[some]] == parts[other[some]]
    return linked


def table(made: Made, pairs: Pairs) -> list[dict[str, Any]]:
    """A row for each kind of family and bin of similarity: share found, the curve's, and how many errors lie between.

    Pairs of one family share its first page and with it their luck: an error is the larger of that of pairs and of families.
    """
    kinds, rows = np.array(made.families)[pairs.family], []
    for kind in (*dict.fromkeys(made.families), "all"):
        for low in np.arange(0.5, 1, 0.05):
            some = (pairs.alike >= low) & (pairs.alike < low + 0.05) & ((kinds == kind) | (kind == "all"))
            if some.sum() >= 20:
                rows.append({"kind": kind, "from": round(float(low), 2)} | _row(pairs, some))
    return rows


def _row(pairs: Pairs, some: npt.NDArray[np.bool_]) -> dict[str, Any]:
    expected = np.array([collision(alike, BANDS, ROWS) for alike in pairs.alike[some].tolist()])
    luck = np.bincount(pairs.family[some], pairs.in_a_bucket[some] - expected)
    error = np.sqrt(max((luck**2).sum(), (expected * (1 - expected)).sum())) / len(expected)
    off = pairs.found[some].mean() - expected.mean()
    return {
        "pairs": len(expected),
        "curve": round(float(expected.mean()), 4),
        "in_a_bucket": round(float(pairs.in_a_bucket[some].mean()), 4),
        "found": round(float(pairs.found[some].mean()), 4),
        "linked": round(float(pairs.linked[some].mean()), 4),
        "errors": round(float(off / error), 1) if error else 0.0,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the pages, deduplicate them, and print what became of the copies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", type=int, metavar="PAGES")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--words", type=int, default=WORDS, metavar="N", help="of a page, %(default)s")
    asked = parser.parse_args(arguments)
    made = make(asked.pages, heuristics.pages(), asked.words)
    conf = write(made, asked.folder.absolute())
    took = deduplicate(conf)
    print(json.dumps(took), flush=True)
    pairs, told = judged(made, asked.folder / "out")
    print(json.dumps(told))
    rows = table(made, pairs)
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    above = pairs.alike >= 0.85
    told["found_of_0.85_and_more"] = float(pairs.found[above].mean())
    print(f"found of 0.85 and more: {told['found_of_0.85_and_more']:.4f} of {above.sum():,}")
    (asked.folder / "trial.json").write_text(json.dumps({"pages": len(made.pages), **took, **told, "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
