"""What must come out the same and takes too long for the tests: a 14m run that is killed on its way, the compiled loss."""

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from eval.gpt import Loss, build_model, hidden_states, piece_for_compiler
from eval.sizes import read_size
from eval.training import RunSummary, train_run
from jobs.bench.train import VOCABULARY, run_config

STEPS, KILLED_AT = 200, 130
WINDOW = 32
"""A short context and one window a step: the same matrices, in seconds."""


class Killed(Exception):
    """Stands for the end of the process."""


def rows() -> list[dict[str, Any]]:
    """`train.resume`: 1 where the bits are the same. `train.compiled`: the largest difference, where there is a compiler."""
    if shutil.which("c++") is None and shutil.which("g++") is None:
        sys.stderr.write("bench: train.compiled is left out: there is no C++ compiler\n")
        return [_resumed()]
    return [_resumed(), _compiled()]


def _resumed() -> dict[str, Any]:
    size = replace(read_size("14m", 300_000), context=WINDOW, batch_tokens=WINDOW)
    with tempfile.TemporaryDirectory() as name:
        config = run_config(Path(name), size, "14m", STEPS * WINDOW)
        whole = train_run(config)
        killed = replace(config, out=config.out.with_name("1"), checkpoint_seconds=1.0)
        try:
            train_run(killed, _kill)
        except Killed:
            resumed: RunSummary = train_run(killed)
    same = whole.model_sha256 == resumed.model_sha256
    return {
        "bench": "train.resume",
        "what": f"14m, {STEPS} steps, killed at {KILLED_AT}",
        "ours": int(same),
        "unit": "same bits",
        "against": "a run that was not killed",
        "theirs": 1,
        "ratio": float(same),
        "goal": 1.0,
    }


def _compiled() -> dict[str, Any]:
    """Loss and gradients of a small model, compiled for this processor and not."""
    size = replace(read_size("0.2m", 300_000), layers=1)
    model = build_model(size, VOCABULARY, 0, seed=0)
    tokens = torch.randint(0, VOCABULARY, (size.batch, size.context + 1), generator=torch.Generator().manual_seed(0))
    plain = Loss(hidden_states, piece_for_compiler)
    compiled = Loss(torch.compile(hidden_states, dynamic=False), torch.compile(piece_for_compiler, dynamic=False))
    found = []
    for loss in (plain, compiled):
        model.zero_grad()
        value = loss(model, tokens[:, :-1], tokens[:, 1:])
        value.backward()  # type: ignore[no-untyped-call]
        gradients = [one.grad.flatten() for one in model.parameters() if one.grad is not None]
        found.append(torch.cat([value.detach().flatten(), *gradients]))
    difference = ((found[0] - found[1]).norm() / found[0].norm()).item()
    return {
        "bench": "train.compiled",
        "what": "loss and gradients",
        "ours": f"{difference:.1e}",
        "unit": "relative difference",
        "against": "the functions as they are",
        "theirs": 0,
        "ratio": difference,
        "goal": 1e-5,
    }


def _kill(step: int, steps: int, loss: float) -> None:
    if step == KILLED_AT:
        raise Killed
