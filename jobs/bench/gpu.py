"""What a GPU does: how much of its peak, beside Hugging Face's Trainer, small runs alone and several at once, evaluation.

On a machine without one every row is left out, with a sentence. The tokens are drawn by chance: they train as fast as text.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import transformers
from transformers import Trainer, TrainingArguments

from eval import side_by_side
from eval.bits_per_byte import page_nats
from eval.gpt import build_model
from eval.packed import Packed
from eval.plan import RunConfig
from eval.runs import MOST_A_GPU, TRAIN, a_gpu, slots
from eval.side_by_side import Slots
from eval.sizes import read_size
from eval.tasks.items import score_items
from eval.trainer import Steps, peak_flops
from jobs.bench.train import run_config

GPT2 = 50_257
STEPS = 20
SWEEPS = {"0.2m": 300_000, "14m": 100_000_000}
"""Tokens that a run of the goal has: 14m should read them in 20 minutes on every level."""
LEVELS = 7 * 3
"""Runs of the goal: 7 levels in 3 replicates."""
SHORT = {"0.2m": 1000, "14m": 40}
"""Steps of the runs that are timed: their start counts, as it does in a sweep."""
ITEMS = 20_000
EVALUATED_TOKENS = 3_500_000
"""About 10 MB of text with a vocabulary of 4,096."""

Row = dict[str, Any]


def rows() -> Iterator[Row]:
    """`gpu.evaluate`, `gpu.tasks`, `gpu.flops`, `gpu.trainer` and `gpu.runs`, each as it is found; none without a GPU."""
    if not torch.cuda.is_available():
        sys.stderr.write("bench: gpu is left out: torch sees no GPU\n")
        return
    card = torch.cuda.get_device_name()
    with tempfile.TemporaryDirectory() as name:
        large = replace(read_size("124m", 10**10), batch_tokens=2**18)
        config = replace(run_config(Path(name) / "124m", large, "124m", STEPS * large.batch_tokens, GPT2), device="cuda")
        yield _evaluate()
        yield _tasks()
        yield from _flops(config, card)
        for model, tokens in SWEEPS.items():
            yield _runs(Path(name) / model, model, tokens)


def _flops(config: RunConfig, card: str) -> list[Row]:
    """Steps of 124m after the compiler has done its part, against the card's peak and against Trainer."""
    size = config.size
    steps = Steps(build_model(size, GPT2, 0, seed=0).to("cuda"), size, "cuda")
    steps.micro = min(steps.micro, 32)
    windows = torch.randint(0, GPT2, (size.batch, size.context + 1), device="cuda")
    for _ in range(3):
        steps.step(windows, 1e-4)
    steps.read()
    begun = time.monotonic()
    for _ in range(STEPS):
        steps.step(windows, 1e-4)
    steps.read()
    ours = STEPS * size.batch_tokens / (time.monotonic() - begun)
    del steps
    torch.cuda.empty_cache()
    theirs, peak = _trainer(config), peak_flops(card)
    used = ours * size.flops(GPT2) / peak if peak else float("nan")
    about = {"what": f"124m, context 1,024, {card}", "ours": round(ours), "unit": "tokens/s"}
    version = f"Trainer, transformers {transformers.__version__}"
    return [
        {
            "bench": "gpu.flops",
            **about,
            "against": "dense bfloat16 peak",
            "theirs": peak,
            "ratio": round(used, 3),
            "goal": 0.5,
        },
        {
            "bench": "gpu.trainer",
            **about,
            "against": version,
            "theirs": round(theirs),
            "ratio": round(ours / theirs, 2),
            "goal": 1.5,
        },
    ]


def _trainer(config: RunConfig) -> float:
    """Tokens a second of Hugging Face's own loop in bfloat16, with the windows at once that it holds."""
    size, tokens = config.size, Packed.open(config.packed).tokens
    rows = torch.from_numpy(tokens[: STEPS * 16 * size.context].astype(np.int64)).reshape(-1, size.context)
    data = [{"input_ids": row, "labels": row} for row in rows]
    options = TrainingArguments(
        output_dir=str(config.out.parent / "trainer"),
        per_device_train_batch_size=16,
        max_steps=STEPS,
        bf16=True,
        optim="adamw_torch_fused",
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Trainer(build_model(size, GPT2, 0, seed=0), options, train_dataset=data)
    begun = time.monotonic()
    trainer.train()
    return STEPS * 16 * size.context / (time.monotonic() - begun)


def _runs(folder: Path, model: str, budget: int) -> Row:
    """Eight short runs, one at a time on the first GPU and side by side; a whole sweep's minutes by the faster way."""
    size = read_size(model, budget)
    config = replace(run_config(folder, size, model, SHORT[model] * size.batch_tokens), device="cuda")
    [first, *_] = slots("cuda").environments
    rates = {}
    for processes in (1, MOST_A_GPU):
        runs = [replace(config, out=folder / str(processes) / str(at)) for at in range(MOST_A_GPU)]
        begun = time.monotonic()
        side_by_side.run(TRAIN, runs, Slots([first] * processes))
        rates[processes] = MOST_A_GPU * config.tokens / (time.monotonic() - begun)
    best, tokens = max(rates.values()), LEVELS * budget
    told = ", ".join(f"{processes}: {rate:,.0f}" for processes, rate in rates.items()) + f" ({a_gpu([config], 1)} are taken)"
    return {
        "bench": f"gpu.runs_{model}",
        "what": f"{model}, processes a GPU and tokens/s, start included: {told}; {tokens:,} tokens",
        "ours": round(tokens / best / 60, 1),
        "unit": "minutes",
        "against": "the goal",
        "theirs": 20,
        "ratio": round(20 * 60 * best / tokens, 2),
        "goal": 1.0,
    }


def _tasks() -> Row:
    """A 14m model and 20,000 items of two answers, of the lengths that BLiMP and ARC have."""
    size, drawn = read_size("14m", 100_000_000), np.random.default_rng(0)

    def answer(item: int, choice: int) -> dict[str, Any]:
        asked, answered = (drawn.integers(1, 4096, drawn.integers(*bounds)).tolist() for bounds in ((1, 60), (4, 24)))
        about = {"template": "harness", "item": str(item), "group": None, "choice": choice, "right": 0, "skipped": None}
        return about | {"length": 40, "characters": 40, "bytes": 40, "context": asked, "answer": answered}

    requests = pa.Table.from_pylist([answer(item, choice) for item in range(ITEMS) for choice in (0, 1)])
    model = build_model(size, 4096, 0, seed=0)
    score_items(model, requests.slice(0, 200), size.context, "cuda")
    begun = time.monotonic()
    score_items(model, requests, size.context, "cuda")
    return _timed("gpu.tasks", f"14m, {ITEMS:,} items of two answers", time.monotonic() - begun, 120)


def _evaluate() -> Row:
    """A 14m model on as many tokens as 10 MB are, in pages of 500."""
    size = read_size("14m", 100_000_000)
    model = build_model(size, 4096, 0, seed=0)
    tokens = np.random.default_rng(0).integers(1, 4096, EVALUATED_TOKENS).astype(np.uint32)
    offsets = np.arange(0, EVALUATED_TOKENS + 1, 500)
    page_nats(model, tokens[: offsets[100]], offsets[:101], size.context, 0, "cuda")
    begun = time.monotonic()
    page_nats(model, tokens, offsets, size.context, 0, "cuda")
    return _timed("gpu.evaluate", "14m on 10 MB", time.monotonic() - begun, 30)


def _timed(bench: str, what: str, seconds: float, goal: float) -> Row:
    about = {"bench": bench, "what": what, "ours": round(seconds, 1), "unit": "seconds", "against": "the goal"}
    return about | {"theirs": goal, "ratio": round(goal / seconds, 2), "goal": 1.0}


if __name__ == "__main__":
    for found in rows():
        print(found, flush=True)
