"""How fast a run trains on one core, beside a bare transformers and torch loop over the same model and the same tokens."""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import transformers

from eval.gpt import build_model
from eval.packed import Stream, write_packed
from eval.plan import RunConfig
from eval.sizes import read_size
from eval.slices import EVERY, slices_under
from eval.tokenizer import tokenizer_digest, train_tokenizer
from eval.training import train_run

SIZE, VOCABULARY, STEPS, ROUNDS = "0.2m", 4096, 60, 5
BUDGET = 300_000


def rows() -> list[dict[str, object]]:
    """One row, `train.tokens`: the whole of `train_run` (checks, metrics, saved model) against the loop alone.

    The sides take turns in one process with one thread; each figure is the median of five rounds, the spread its extremes.
    Seconds are the process's own processor time, so that other work on the machine does not count.
    """
    torch.set_num_threads(1)
    tokens = np.random.default_rng(0).integers(1, VOCABULARY, (STEPS + 1) * read_size(SIZE, BUDGET).batch_tokens)
    with tempfile.TemporaryDirectory() as name:
        config = _run_config(Path(name), tokens.astype(np.uint16))
        sides: list[Callable[[], None]] = [partial(_ours, config), partial(_bare, tokens)]
        rounds = [[_rate(side) for side in sides] for _ in range(ROUNDS)]
    ours, theirs = (statistics.median(column) for column in zip(*rounds, strict=True))
    row = {
        "bench": "train.tokens",
        "ours": round(ours),
        "unit": f"tokens/s per core ({SIZE}, vocabulary {VOCABULARY:,})",
        "against": f"a bare loop, transformers {transformers.__version__}",
        "theirs": round(theirs),
        "ratio": round(ours / theirs, 2),
        "goal": 1.0,
        "spread": [[round(min(column)), round(max(column))] for column in zip(*rounds, strict=True)],
    }
    return [row]


def _rate(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return STEPS * read_size(SIZE, BUDGET).batch_tokens / (time.process_time() - started)


def _run_config(folder: Path, tokens: "np.ndarray[tuple[int], np.dtype[np.uint16]]") -> RunConfig:
    train_tokenizer(["a few words"], 257, folder / "tokenizer")
    digest = tokenizer_digest(folder / "tokenizer")
    size = read_size(SIZE, BUDGET)
    page = pa.table(
        {"id": ["all"], "id_hash": pa.array([0], pa.uint64()), "tokens": pa.array([tokens], pa.list_(pa.uint32()))}
    )
    slices = slices_under(page, EVERY, size.context, replicate=0)
    stream = Stream(size.context, 0, "fresh", STEPS * size.batch_tokens + 1, pool=len(tokens) + len(slices))
    write_packed([slices], folder / "all.bin", stream, vocabulary=VOCABULARY, end_of_text=0, tokenizer=digest)
    return RunConfig(
        "all", folder / "all.bin", folder / "tokenizer", SIZE, size, STEPS * size.batch_tokens, 0, folder / "runs"
    )


def _ours(config: RunConfig) -> None:
    with tempfile.TemporaryDirectory(dir=config.out.parent) as out:
        train_run(RunConfig(**{**vars(config), "out": Path(out)}))


def _bare(tokens: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> None:
    """What one writes first: the model's own loss, AdamW, clipping."""
    size = read_size(SIZE, BUDGET)
    model = build_model(size, VOCABULARY, 0, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    for batch in torch.from_numpy(tokens)[: STEPS * size.batch_tokens].reshape(STEPS, size.batch, size.context):
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()


if __name__ == "__main__":
    for found in rows():
        print(found)
