"""What a GPU does: how much of its peak, beside Hugging Face's Trainer, small runs alone and several at once, evaluation.

On a machine without one every row is left out, with a sentence. The tokens are drawn by chance: they train as fast as text.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import Trainer, TrainingArguments

from eval import side_by_side
from eval.bits_per_byte import page_nats
from eval.gpt import build_model
from eval.packed import Packed
from eval.plan import RunConfig
from eval.runs import TRAIN, slots
from eval.side_by_side import Slots
from eval.sizes import ModelSize, read_size
from eval.trainer import Steps, peak_flops
from jobs.bench.train import run_config

GPT2 = 50_257
STEPS = 20
SWEEP = 7 * 3 * 100_000_000
"""Tokens of 7 levels in 3 replicates of 100 million, which 14m should read in 20 minutes."""
EVALUATED_TOKENS = 3_500_000
"""About 10 MB of text with a vocabulary of 4,096."""

Row = dict[str, Any]


def rows() -> list[Row]:
    """`gpu.flops`, `gpu.trainer`, `gpu.runs` and `gpu.evaluate`; none without a GPU."""
    if not torch.cuda.is_available():
        sys.stderr.write("bench: gpu is left out: torch sees no GPU\n")
        return []
    card = torch.cuda.get_device_name()
    with tempfile.TemporaryDirectory() as name:
        large = replace(read_size("124m", 10**10), batch_tokens=2**18)
        config = replace(run_config(Path(name) / "124m", large, "124m", STEPS * large.batch_tokens, GPT2), device="cuda")
        return [*_flops(config, card), *_runs(Path(name)), _evaluate()]


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


def _runs(folder: Path) -> list[Row]:
    """Four runs of 14m, one, two and four processes on the first GPU; the sweep's minutes follow from the best."""
    size: ModelSize = read_size("14m", 100_000_000)
    config = run_config(folder / "14m", size, "14m", 40 * size.batch_tokens)
    [first, *_] = slots("cuda").environments
    rates = {}
    for processes in (1, 2, 4):
        runs = [replace(config, device="cuda", out=folder / str(processes) / str(at)) for at in range(4)]
        begun = time.monotonic()
        side_by_side.run(TRAIN, runs, Slots([first] * processes))
        rates[processes] = 4 * config.tokens / (time.monotonic() - begun)
    best = max(rates.values())
    told = ", ".join(f"{processes}: {rate:,.0f}" for processes, rate in rates.items())
    row = {
        "bench": "gpu.runs",
        "what": f"14m, processes a GPU and tokens/s, start included: {told}; a sweep of {SWEEP:,} tokens",
        "ours": round(SWEEP / best / 60, 1),
        "unit": "minutes",
        "against": "the goal",
        "theirs": 20,
        "ratio": round(20 * 60 * best / SWEEP, 2),
        "goal": 1.0,
    }
    return [row]


def _evaluate() -> Row:
    """A 14m model on as many tokens as 10 MB are, in pages of 500."""
    size = read_size("14m", 100_000_000)
    model = build_model(size, 4096, 0, seed=0)
    tokens = np.random.default_rng(0).integers(1, 4096, EVALUATED_TOKENS).astype(np.uint32)
    offsets = np.arange(0, EVALUATED_TOKENS + 1, 500)
    page_nats(model, tokens, offsets[:100], size.context, 0, "cuda")
    begun = time.monotonic()
    page_nats(model, tokens, offsets, size.context, 0, "cuda")
    seconds = time.monotonic() - begun
    return {
        "bench": "gpu.evaluate",
        "what": "14m on 10 MB",
        "ours": round(seconds, 1),
        "unit": "seconds",
        "against": "the goal",
        "theirs": 30,
        "ratio": round(30 / seconds, 2),
        "goal": 1.0,
    }


if __name__ == "__main__":
    for found in rows():
        print(found)
