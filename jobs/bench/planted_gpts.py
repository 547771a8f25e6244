"""Whether the bigram model of the planted worlds stands for small GPTs: the same worlds, GPTs of 0.2 million parameters.

    python -m jobs.bench.planted_gpts

Tokens go straight into the model. A run reads 240 pages, 30,720 tokens, as the stand-in does, but four times over, and the
worlds have 32 different tokens: of 512 a GPT of this size finds only how frequent each
is in so short a run (docs/training.md). It takes some twenty minutes on a core.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from eval.bits_per_byte import page_nats
from eval.gpt import Loss, build_model, parameter_groups
from eval.planted import (
    BYTES_OF_TOKEN,
    LENGTH,
    Design,
    Floats,
    Integers,
    World,
    compared,
    experiment,
    judged,
    truth,
)
from eval.sizes import read_size
from eval.statistics import Comparison
from eval.trainer import CLIP, learning_rate

DESIGN = Design(run_noise=0.0, kept=(1.0, 0.6, 0.25, 0.08, 0.04), words=32)
SIZE = replace(read_size("0.2m", 122_880), learning_rate=0.01, batch_tokens=256)
EPOCHS = 4
EXPERIMENTS, FIRST_WEIGHTS = 6, 6
"""Experiments in each world; first weights on the same pages."""


def gpt_nats(read: Integers, of: Integers, words: int, replicate: int) -> Floats:
    """[pages] nats of token sequences [pages, length] under a GPT that read others, with first weights by its replicate."""
    torch.set_num_threads(1)
    model = build_model(SIZE, words + 1, words, replicate)
    optimizer = torch.optim.AdamW(parameter_groups(model, SIZE.weight_decay), lr=0.0, betas=(0.9, 0.95), fused=True)
    marked = np.hstack([np.full((len(read), 1), words), read])
    steps = EPOCHS * len(read) // SIZE.batch
    for step in range(steps):
        rows = torch.from_numpy(marked[(step * SIZE.batch + np.arange(SIZE.batch)) % len(read)])
        optimizer.zero_grad(set_to_none=True)
        Loss()(model, rows[:, :-1], rows[:, 1:]).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, SIZE)
        optimizer.step()
    return page_nats(model, of.ravel().astype(np.uint16), np.arange(len(of) + 1) * LENGTH, LENGTH, words)


def first_weights() -> tuple[float, float]:
    """What first weights alone do to a run: deviation of bits per byte, and its correlation between neighbouring levels."""
    values = []
    for seed in range(FIRST_WEIGHTS):
        learner = partial(_one_replicate, seed=seed)
        nats = experiment("u", 0, DESIGN, learner).nats[:, 0]
        values.append(nats.sum(axis=1) / np.log(2) / (nats.shape[1] * LENGTH * BYTES_OF_TOKEN))
    table = np.array(values)
    rest = table - table.mean(axis=0)
    deviation = float(np.sqrt((rest**2).sum() / (rest.size - rest.shape[1])))
    neighbours = (rest[:, :-1] * rest[:, 1:]).sum() / np.sqrt((rest[:, :-1] ** 2).sum() * (rest[:, 1:] ** 2).sum())
    return deviation, float(neighbours)


def _one_replicate(read: Integers, of: Integers, words: int, replicate: int, seed: int) -> Floats:
    """The first replicate alone, with other first weights."""
    return gpt_nats(read, of, words, seed) if replicate == 0 else np.zeros(len(of))


def main() -> int:
    """Print the curves of GPT and stand-in, and how many intervals of single experiments hold what the others say."""
    worlds: tuple[World, ...] = ("u", "null")
    for world in worlds:
        found = [compared(experiment(world, seed, DESIGN, gpt_nats), DESIGN) for seed in range(EXPERIMENTS)]
        said = ", ".join(judged(one, DESIGN.levels).outcome for one in found)
        inside = held_by_others(found, known=np.zeros(len(DESIGN.kept)) if world == "null" else None)
        print(f"{world}: {said}; {int(inside.sum())} of {inside.size} intervals hold")
        print("  levels minus the pool, one experiment a line:")
        for one in found:
            print(f"    {_over(one.values)}")
        gpt, stand_in = np.mean([one.values for one in found], axis=0), truth(world, 40, DESIGN).values
        print(f"  GPT {_over(gpt)}; stand-in {_over(stand_in)}", flush=True)
        if world == "u":
            print(f"  the curves correlate by {np.corrcoef(gpt, stand_in)[0, 1]:.2f}", flush=True)
    deviation, neighbours = first_weights()
    print(f"first weights alone: deviation {deviation:.4f} bits per byte, neighbouring levels correlate by {neighbours:.2f}")
    return 0


def held_by_others(found: Sequence[Comparison], known: Floats | None = None) -> npt.NDArray[np.bool_]:
    """[experiments, levels - 1] whether an experiment's interval of a level minus the pool holds what is `known`.

    Where nothing is known the mean of the other experiments stands for it. It is uncertain itself, so that intervals are
    widened by sqrt(1 + 1 / others): then 95 % of them hold if single intervals hold the truth in 95 %.
    """
    inside = []
    for at, one in enumerate(found):
        others = [other.values for before, other in enumerate(found) if before != at]
        true = np.mean(others, axis=0) if known is None else known
        wider = np.sqrt(1 + 1 / len(others)) if known is None else 1.0
        for level, name in enumerate(one.subsets[1:], start=1):
            gap = one.difference(name, one.subsets[0])
            inside.append(abs(gap.value - (true[level] - true[0])) <= wider * gap.half_width)
    return np.array(inside).reshape(len(found), -1)


def _over(values: npt.NDArray[np.float64]) -> str:
    return " ".join(f"{value - values[0]:+.4f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
