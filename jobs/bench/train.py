"""How fast a run trains on one core beside a bare transformers and torch loop over the same model and tokens."""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import transformers

from eval.gpt import build_model
from eval.packed import Stream, write_packed
from eval.plan import RunConfig
from eval.sizes import ModelSize, read_size
from eval.slices import EVERY, slices_under
from eval.tokenizer import tokenizer_digest, train_tokenizer
from eval.training import train_run

VOCABULARY, BUDGET = 4096, 300_000


@dataclass(frozen=True)
class Trial:
    """A size, and how much of it is trained in how many rounds."""

    name: str
    size: ModelSize
    steps: int
    rounds: int
    goal: float

    @property
    def tokens(self) -> int:
        """Targets of a run."""
        return self.steps * self.size.batch_tokens


TRIALS = (
    Trial("0.2m", read_size("0.2m", BUDGET), steps=60, rounds=5, goal=1.1),
    # The ladder's batch would be minutes a step: two windows are as fast as many.
    Trial("14m", replace(read_size("14m", BUDGET), batch_tokens=1024), steps=12, rounds=3, goal=0.95),
)


def rows() -> list[dict[str, Any]]:
    """`train.tokens` of 0.2m and of 14m: the whole of `train_run` (checks, metrics, saved models) against the loop alone.

    The sides take turns in one process with one thread; each figure is the median of the rounds, the spread its extremes.
    Seconds are the process's own processor time, so that other work on the machine does not count.
    """
    torch.set_num_threads(1)
    return [_row(trial) for trial in TRIALS]


def _row(trial: Trial) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        config = run_config(Path(name), trial.size, trial.name, trial.tokens)
        tokens = np.fromfile(config.packed, np.uint16).astype(np.int64)
        sides: list[Callable[[], None]] = [partial(_ours, config), partial(_bare, tokens, trial)]
        rounds = [[_rate(side, trial.tokens) for side in sides] for _ in range(trial.rounds)]
    ours, theirs = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {
        "bench": "train.tokens",
        "what": trial.name,
        "ours": round(ours),
        "unit": f"tokens/s per core (vocabulary {VOCABULARY:,})",
        "against": f"a bare loop, transformers {transformers.__version__}",
        "theirs": round(theirs),
        "ratio": round(ours / theirs, 2),
        "goal": trial.goal,
        "spread": [[round(min(column)), round(max(column))] for column in zip(*rounds, strict=True)],
    }


def _rate(work: Callable[[], None], tokens: int) -> float:
    started = time.process_time()
    work()
    return tokens / (time.process_time() - started)


def run_config(folder: Path, size: ModelSize, name: str, tokens: int, vocabulary: int = VOCABULARY) -> RunConfig:
    """A run on tokens drawn by chance, in a folder."""
    drawn = np.random.default_rng(0).integers(1, vocabulary, tokens + tokens // size.context + 2)
    train_tokenizer(["a few words"], 257, folder / "tokenizer")
    digest = tokenizer_digest(folder / "tokenizer")
    page = pa.table(
        {"id": ["all"], "id_hash": pa.array([0], pa.uint64()), "tokens": pa.array([drawn], pa.list_(pa.uint32()))}
    )
    slices = slices_under(page, EVERY, size.context, replicate=0)
    stream = Stream(size.context, 0, "fresh", tokens + 1, pool=len(drawn) + len(slices))
    write_packed([slices], folder / "all.bin", stream, vocabulary=vocabulary, end_of_text=0, tokenizer=digest)
    return RunConfig("all", folder / "all.bin", folder / "tokenizer", name, size, tokens, 0, folder / "runs" / name / "0")


def _ours(config: RunConfig) -> None:
    with tempfile.TemporaryDirectory(dir=config.tokenizer.parent) as out:
        train_run(replace(config, out=Path(out)))


def _bare(tokens: "np.ndarray[tuple[int], np.dtype[np.int64]]", trial: Trial) -> None:
    """What one writes first: the model's own loss, AdamW, clipping."""
    size = trial.size
    model = build_model(size, VOCABULARY, 0, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    for batch in torch.from_numpy(tokens)[: trial.tokens].reshape(trial.steps, size.batch, size.context):
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()


if __name__ == "__main__":
    for found in rows():
        print(found)
