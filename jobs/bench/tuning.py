"""How finely small models tell filters apart for the processor time they take: learning rate, batch, vocabulary, tokens.

    python -m jobs.bench tuning          # 0.2m, then 1m

It takes the pages and the verdicts of the demonstration (`make demo`). Every cell trains, in each replicate, on four of its
levels: the pool, the pool without 2 % of its pages (which differs from it by chance alone), the hardest level, and the worst
pages first. What a cell can see is how far the worst pages are from the pool; what hides it is how that of the other two
scatters from replicate to replicate. (difference / scatter)^2 grows with the replicates, so divided by the processor seconds
of a run it says what a second buys. Runs are kept in out/tuning/; what is there is not trained again.
"""

import itertools
import json
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from eval.bits_per_byte import bits_per_byte, page_nats, utf8_bytes
from eval.gpt import load_model
from eval.packed import Stream, stream_tokens, write_packed
from eval.plan import RunConfig
from eval.sizes import read_size
from eval.slices import EVERY, slices_under
from eval.strata import clusters, strata
from eval.tokenizer import encode_batch, end_of_text, load_tokenizer, tokenizer_digest, train_tokenizer
from eval.training import train_run
from filters.draws import draw, uniform
from jobs.parts import storage
from jobs.parts.evaluated import held_out_pages, shared_rules
from jobs.parts.experiment_file import Experiment, load
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.session import HOME
from jobs.parts.table import parts_of, sidecar

DEMO = HOME / "conf" / "demo.yaml"
POOL, NEAR, HARDEST, WORST = "quality-pareto-none", "near", "quality-pareto-3", "inverted-quality-pareto-3"
LEVELS = (POOL, NEAR, HARDEST, WORST)
LEFT_OUT = 0.02
"""The share of the pool's pages that the level next to it lacks."""
TOKENIZER_CHARACTERS = 15_000_000
JUDGED, CHARACTERS = 150, 700
"""Held-out pages, and how much of each from its beginning."""


class Cell(NamedTuple):
    """One way of training a size."""

    rate: float
    batch: int
    vocabulary: int
    tokens: int

    @property
    def told(self) -> str:
        """As a row of a table has it."""
        return f"{self.rate:g} | {self.batch:,} | {self.vocabulary:,} | {self.tokens:,}"


@dataclass(frozen=True)
class Trial:
    """The cells of a size, the first replicates that each gets, and which levels."""

    size: str
    cells: tuple[Cell, ...]
    replicates: int
    levels: tuple[str, ...] = LEVELS

    @property
    def file(self) -> Path:
        """One row a run."""
        return HOME / "out" / "tuning" / f"{self.size}.jsonl"


RATES = (0.0025, 0.005, 0.01)
SMALL = Trial(
    "0.2m",
    tuple(itertools.starmap(Cell, itertools.product(RATES, (512, 1024), (2048, 4096), (98_304,)))),
    replicates=8,
)
LARGER = Trial("1m", tuple(Cell(rate, 4096, 2048, 200_704) for rate in RATES), 4, (POOL, HARDEST, WORST))


def rows(trial: Trial = SMALL) -> list[dict[str, Any]]:
    """A row for each cell, beside the cell that conf/models has: information per processor second.

    Raises:
        ExperimentError: the demonstration's pages are not there.
    """
    with tempfile.TemporaryDirectory(prefix="tuning-") as name:
        _train(trial, Path(name))
    found = table(trial)
    print(f"| learning rate | tokens a step | vocabulary | tokens | {TOLD}")
    for cell, one in found.items():
        print(f"| {cell.told} | {one.told}", flush=True)
    size = read_size(trial.size, trial.cells[0].tokens)
    usual = next((one for cell, one in found.items() if (cell.rate, cell.batch) == (size.learning_rate, size.batch_tokens)))
    return [
        {
            "bench": "train.tuning",
            "what": f"{trial.size} {cell.told}",
            "ours": round(one.information, 3),
            "unit": "(difference / scatter)^2 per s",
            "against": f"conf/models/{trial.size}.yaml",
            "theirs": round(usual.information, 3),
            "ratio": round(one.information / usual.information, 2),
        }
        for cell, one in found.items()
    ]


TOLD = "bits per byte | worst − pool | scatter of near − pool | scatter of hardest − pool | s a run | information |"


@dataclass(frozen=True)
class Measured:
    """What a cell's replicates came to, in bits per byte; `values`: level -> [replicates], `seconds` of a run."""

    values: dict[str, npt.NDArray[np.float64]]
    seconds: float

    def over(self, level: str) -> npt.NDArray[np.float64]:
        """[replicates] a level minus the pool."""
        return self.values[level] - self.values[POOL]

    def scatter(self, level: str) -> float:
        """The standard deviation of a level minus the pool over replicates."""
        return float(np.std(self.over(level), ddof=1)) if level in self.values else np.nan

    @cached_property
    def information(self) -> float:
        """What a processor second tells of the worst pages, against the scatter of the other levels."""
        noise = np.nanmean([self.scatter(NEAR) ** 2, self.scatter(HARDEST) ** 2])
        return float(self.over(WORST).mean() ** 2 / noise / self.seconds)

    @property
    def told(self) -> str:
        """As the rest of a table's row."""
        numbers = (self.values[POOL].mean(), self.over(WORST).mean(), self.scatter(NEAR), self.scatter(HARDEST))
        shown = " | ".join("–" if np.isnan(number) else f"{number:.4f}" for number in numbers)
        return f"{shown} | {self.seconds:.1f} | {self.information:.2f} |"


def table(trial: Trial) -> dict[Cell, Measured]:
    """What is known of each cell from the replicates of which every level's run is there."""
    of: dict[Cell, dict[tuple[str, int], dict[str, Any]]] = {}
    for row in _rows(trial.file):
        of.setdefault(Cell(*row["cell"]), {})[row["level"], row["replicate"]] = row
    found = {}
    for cell in (cell for cell in trial.cells if cell in of):
        runs = of[cell]
        whole = [at for at in range(trial.replicates) if all((level, at) in runs for level in trial.levels)]
        if len(whole) > 1:
            values = {level: np.array([runs[level, at]["bits_per_byte"] for at in whole]) for level in trial.levels}
            found[cell] = Measured(values, float(np.median([row["seconds"] for row in runs.values()])))
    return found


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def _train(trial: Trial, scratch: Path) -> None:
    """Train what is not trained yet, replicate by replicate, so that all cells see the same hours of a busy machine."""
    done = {(Cell(*row["cell"]), row["level"], row["replicate"]) for row in _rows(trial.file)}
    asked = itertools.product(range(trial.replicates), trial.cells, trial.levels)
    to_do = [(cell, level, replicate) for replicate, cell, level in asked if (cell, level, replicate) not in done]
    if not to_do:
        return
    trial.file.parent.mkdir(parents=True, exist_ok=True)
    crawl, size = Crawl.of(load(DEMO), trial.replicates), read_size(trial.size, trial.cells[0].tokens)
    budget = max(stream_tokens(cell.tokens, cell.batch // size.context, size.context) for cell in trial.cells)
    speaks = {
        vocabulary: Encoded.of(crawl, vocabulary, scratch / str(vocabulary), size.context)
        for vocabulary in sorted({cell.vocabulary for cell, _, _ in to_do})
    }
    with trial.file.open("a") as file:
        for cell, level, replicate in to_do:
            encoded = speaks[cell.vocabulary]
            shape = replace(size, learning_rate=cell.rate, batch_tokens=cell.batch)
            packed = encoded.packed(level, replicate, budget)
            config = RunConfig(
                level, packed, encoded.folder, trial.size, shape, cell.tokens, replicate, scratch / "runs" / "run"
            )
            row = {"cell": cell, "level": level, "replicate": replicate} | encoded.measured(config)
            file.write(json.dumps(row) + "\n")
            file.flush()


@dataclass(frozen=True)
class Crawl:
    """The demonstration's pages: texts of those that a level keeps, which levels keep them, and those that are judged."""

    texts: list[str]
    id_hash: npt.NDArray[np.uint64]
    fold: npt.NDArray[np.int64]
    kept: dict[str, npt.NDArray[np.bool_]]
    judged: list[str]
    stratum: npt.NDArray[np.str_]

    @classmethod
    def of(cls, experiment: Experiment, folds: int) -> "Crawl":
        """Read them all: they are a small crawl."""
        places = Places(experiment.out)
        if not storage.exists(places.sweep):
            raise ExperimentError(f"{places.sweep} is missing: run `make demo` first")
        parts = parts_of(places.pages)
        columns = [f"subset {level}" for level in LEVELS if level != NEAR]
        verdicts = pa.concat_tables([sidecar(places.verdicts, part, columns) for part in parts])
        split = pa.concat_tables([sidecar(places.split, part, ["id_hash", "fold"]) for part in parts])
        wanted = np.logical_or.reduce([verdicts[column].to_numpy() for column in columns])
        text = pa.concat_tables([storage.read_table(Path(part.source), ["text"]) for part in parts])["text"].filter(wanted)
        id_hash = split["id_hash"].to_numpy()[wanted]
        kept = {column.removeprefix("subset "): verdicts[column].to_numpy()[wanted] for column in columns}
        kept[NEAR] = kept[POOL] & (uniform(draw(id_hash, 0, "near")) >= LEFT_OUT)
        fold = (split["fold"].to_numpy()[wanted] % np.uint64(folds)).astype(np.int64)
        drawn = held_out_pages(
            experiment, lambda function, merge: merge([function(part) for part in parts]), list(shared_rules(experiment))
        )
        pages = [page for page in drawn if page["passes"]][:JUDGED]
        site, url, page_id = ([page[name] for page in pages] for name in ("site", "url", "id"))
        stratum = strata(site, clusters(site, url, page_id, None))
        return cls(text.to_pylist(), id_hash, fold, kept, [page["text"][:CHARACTERS] for page in pages], np.array(stratum))


@dataclass(frozen=True)
class Encoded:
    """The crawl in one vocabulary, in `folder` with its tokenizer and streams."""

    crawl: Crawl
    folder: Path
    pages: pa.Table
    judged: tuple[npt.NDArray[np.unsignedinteger], npt.NDArray[np.int64]]
    context: int

    @classmethod
    def of(cls, crawl: Crawl, vocabulary: int, folder: Path, context: int) -> "Encoded":
        """A tokenizer of the pool's pages, and all pages encoded with it."""
        ends = np.cumsum([len(text) for text in crawl.texts])
        train_tokenizer(crawl.texts[: int(np.searchsorted(ends, TOKENIZER_CHARACTERS)) + 1], vocabulary, folder)
        tokenizer = load_tokenizer(folder)
        flat, offsets = encode_batch(tokenizer, crawl.texts)
        tokens = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(flat, pa.uint32()))
        ids = pa.array(map(str, crawl.id_hash.tolist()))
        pages = pa.table({"id": ids, "id_hash": crawl.id_hash, "tokens": tokens})
        return cls(crawl, folder, pages, encode_batch(tokenizer, crawl.judged), context)

    def packed(self, level: str, replicate: int, budget: int) -> Path:
        """The stream of a level in a replicate, of its own fold where that holds enough."""
        file = self.folder / f"{level}-{replicate}.bin"
        if not file.is_file():
            length = np.diff(self.pages["tokens"].combine_chunks().offsets.to_numpy())
            held = length + -(-length // self.context)
            kept = self.crawl.kept[level]
            own = kept & (self.crawl.fold == replicate)
            read = own if held[own].sum() >= budget else kept
            pool = int(held[read].sum())
            cut = int(EVERY * min(1.0, 1.3 * budget / pool))
            given = slices_under(self.pages.filter(pa.array(read)), cut, self.context, replicate)
            tokenizer = load_tokenizer(self.folder)
            write_packed(
                [given],
                file,
                Stream(self.context, replicate, "fresh", budget, pool),
                vocabulary=tokenizer.get_vocab_size(),
                end_of_text=end_of_text(tokenizer),
                tokenizer=tokenizer_digest(self.folder),
            )
        return file

    def measured(self, config: RunConfig) -> dict[str, Any]:
        """A run's bits per byte, the mean over strata, and the processor seconds of training and of evaluation."""
        started = time.process_time()
        train_run(config)
        trained = time.process_time()
        nats = page_nats(load_model(config.out), *self.judged, self.context, end_of_text(load_tokenizer(self.folder)))
        ended = time.process_time()
        shutil.rmtree(config.out)
        sizes, of = utf8_bytes(self.crawl.judged), self.crawl.stratum
        each = [bits_per_byte(nats[of == name], sizes[of == name]) for name in np.unique(of)]
        return {"bits_per_byte": float(np.mean(each)), "seconds": trained - started, "evaluation": ended - trained}
