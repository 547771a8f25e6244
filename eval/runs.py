"""runs: a plan in, trained and evaluated models out, on a machine that has torch, transformers and pyarrow and no Spark.

    python -m eval.runs PLAN [--dry-run]

PLAN is the folder `packed/` that `jobs.pack` leaves under `out:`. The models and what the pages cost them are written to
PLAN/runs; copy that folder into `out:` and go on with `jobs.evaluate` there. What is done is left alone, and a killed run
goes on from its last checkpoint. Exit codes: 0 all is well; 1 some runs failed or diverged and are listed, the others are
done; 2 nothing was started.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from eval import side_by_side
from eval.evaluation import evaluate, evaluations
from eval.packed import read_header
from eval.plan import EVALUATED, RUNS, RunConfig, read_plan
from eval.side_by_side import RunsFailed, Slots, Tell, Work, cores
from eval.trainer import peak_flops
from eval.training import RunSummary, finished_run, train_run

Say = Callable[[str], object]


def device_here(asked: str) -> str:
    """What `auto`, `cpu` and `cuda` are on this machine. Raises ValueError where there is no GPU."""
    if asked == "cuda" and not torch.cuda.is_available():
        raise ValueError("train.device is cuda, but torch sees no GPU: use auto or cpu")
    return "cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu"


def slots(device: str) -> Slots:
    """A process for each core, or for each GPU that is to be seen."""
    if device == "cpu":
        return cores()
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = shown.split(",") if shown else [str(at) for at in range(torch.cuda.device_count())]
    peaks = [peak_flops(torch.cuda.get_device_name(at)) for at in range(len(ids))]
    known = [peak for peak in peaks if peak]
    return Slots([{"CUDA_VISIBLE_DEVICES": one} for one in ids], sum(known) if len(known) == len(ids) else None)


def train(run: RunConfig, tell: Tell) -> RunSummary:
    """One run in a worker process; tells the tokens trained on."""
    told = 0

    def progress(step: int, steps: int, _: float) -> None:
        nonlocal told
        done = run.tokens * step // steps
        tell(done - told)
        told = done

    return train_run(run, progress)


def flops(run: RunConfig) -> float:
    """Operations for each token that a run trains on."""
    return run.size.flops(read_header(run.packed).vocabulary)


TRAIN = Work("train", train, "token", lambda run: run.tokens, lambda run: run.label, flops)
"""A run's training, and how a bar counts it."""
MEASURE = Work("evaluate", evaluate, "token", lambda one: one.tokens, lambda one: one.run.label)
"""What pages cost a run."""


def main(arguments: Sequence[str] | None = None, say: Say = lambda text: sys.stdout.write(f"{text}\n")) -> int:
    """Carry out a plan; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path, help="the folder packed/ of an experiment")
    parser.add_argument("--dry-run", action="store_true", help="say what is done and what would run")
    options = parser.parse_args(arguments)
    try:
        runs, asked = read_plan(options.plan)
        here = device_here(asked)
        runs = [replace(run, device=here) for run in runs]
        pages = options.plan / EVALUATED
        done = [one for run in runs if (summary := finished_run(run)) for one in evaluations([(run, summary)], pages)]
    except (OSError, ValueError) as error:
        sys.stderr.write(f"goodhart: {error}\n")
        return 2
    measured = {one.run.out for one in done if one.is_made()}
    to_do = [run for run in runs if run.out not in measured]
    say(f"runs: {len(runs)} in all; {len(runs) - len(to_do)} done, {len(to_do)} to train and measure on {here}")
    return 0 if options.dry_run else _carry_out(to_do, options.plan, say)


def _carry_out(to_do: Sequence[RunConfig], plan: Path, say: Say) -> int:
    work = replace(TRAIN, name="runs", function=partial(_train_and_measure, plan / EVALUATED))
    try:
        summaries = side_by_side.run(work, to_do, slots(to_do[0].device)) if to_do else []
    except RunsFailed as error:
        sys.stderr.write(f"goodhart: {error}\n")
        return 1
    diverged = [(run, summary) for run, summary in zip(to_do, summaries, strict=True) if summary.status == "diverged"]
    for run, summary in diverged:
        say(f"runs: {run.label} diverged ({summary.reason}); it is not ranked")
    say(f"runs: all are done; copy {plan / RUNS} into out: and run jobs.evaluate there")
    return 1 if diverged else 0


def _train_and_measure(pages: Path, run: RunConfig, tell: Tell) -> RunSummary:
    summary = train(run, tell)
    for one in evaluations([(run, summary)], pages):
        if not one.is_made():
            evaluate(one, lambda _: None)
    return summary


if __name__ == "__main__":
    sys.exit(main())
