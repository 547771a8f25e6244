"""runs: a plan in, trained and evaluated models out, on a machine that has torch, transformers and pyarrow and no Spark.

    python -m eval.runs PLAN [--dry-run]

PLAN is the folder `packed/` that `jobs.pack` leaves under `out:`. The models and what the pages cost them are written to
PLAN/runs, what they answer in tasks to PLAN/results; copy both into `out:` and go on with `jobs.evaluate` there. What is
done is left alone, and a killed run goes on from its last checkpoint. Exit codes: 0 all is well; 1 some runs failed or
diverged and are listed, the others are done; 2 nothing was started.
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
from eval.plan import EVALUATED, RESULTS, RUNS, Plan, RunConfig, items, read_plan, requests
from eval.side_by_side import RunsFailed, Slots, Tell, Work, cores
from eval.tasks.answers import Answering, answer, unanswered
from eval.trainer import peak_flops
from eval.training import RunSummary, finished_run, train_run

Say = Callable[[str], object]

BUSY_STEP = 2e12
"""Operations of a step that fill a GPU: with less it waits for the processor, 7 ms a step (docs/gpu.md)."""
MOST_A_GPU = 8
"""Processes, each with half a gigabyte of CUDA's own, that were tried on one."""


def device_here(asked: str) -> str:
    """What `auto`, `cpu` and `cuda` are on this machine. Raises ValueError where there is no GPU."""
    if asked == "cuda" and not torch.cuda.is_available():
        raise ValueError("train.device is cuda, but torch sees no GPU: use auto or cpu")
    return "cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu"


def slots(device: str, trained: Sequence[RunConfig] = ()) -> Slots:
    """A process for each core, or for each GPU that is to be seen: several where the steps of training are small."""
    if device == "cpu":
        return cores()
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids = shown.split(",") if shown else [str(at) for at in range(torch.cuda.device_count())]
    peaks = [peak_flops(torch.cuda.get_device_name(at)) for at in range(len(ids))]
    known = [peak for peak in peaks if peak]
    each = a_gpu(trained, len(ids))
    return Slots([{"CUDA_VISIBLE_DEVICES": one} for one in ids] * each, sum(known) if len(known) == len(ids) else None)


def a_gpu(trained: Sequence[RunConfig], gpus: int) -> int:
    """Processes that share a GPU: so many that their mean steps keep it at work together; a core each at most."""
    if not trained:
        return 1
    each = sum(run.tokens * flops(run) for run in trained) / sum(run.tokens / run.size.batch_tokens for run in trained)
    return max(1, min(MOST_A_GPU, len(os.sched_getaffinity(0)) // gpus, round(BUSY_STEP / each)))


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
MEASURE = Work("evaluate", evaluate, "token", lambda one: one.tokens, lambda one: one.label)
"""What pages cost a run."""


def main(arguments: Sequence[str] | None = None, say: Say = lambda text: sys.stdout.write(f"{text}\n")) -> int:
    """Carry out a plan; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path, help="the folder packed/ of an experiment")
    parser.add_argument("--dry-run", action="store_true", help="say what is done and what would run")
    options = parser.parse_args(arguments)
    try:
        plan = read_plan(options.plan)
        here = device_here(plan.device)
        plan = plan._replace(runs=[replace(run, device=here) for run in plan.runs])
        to_do = [run for run in plan.runs if not _is_done(run, plan, options.plan)]
    except (OSError, ValueError) as error:
        sys.stderr.write(f"goodhart: {error}\n")
        return 2
    done = len(plan.runs) - len(to_do)
    say(f"runs: {len(plan.runs)} in all; {done} done, {len(to_do)} to train and measure on {here}")
    return 0 if options.dry_run else _carry_out(to_do, plan, options.plan, say)


def _is_done(run: RunConfig, plan: Plan, folder: Path) -> bool:
    """Whether a run is trained, measured and asked; one that diverged is trained again from its last checkpoint."""
    summary = finished_run(run)
    measured = [one for one in evaluations([(run, summary)], folder / EVALUATED)] if summary else []
    return (
        bool(summary and measured and all(one.is_made() for one in measured)) and _to_ask(run, summary, plan, folder) is None
    )


def _to_ask(run: RunConfig, summary: RunSummary | None, plan: Plan, folder: Path) -> Answering | None:
    """The tasks that a run has yet to answer."""
    if summary is None or summary.model_sha256 is None or run.subset not in plan.asked:
        return None
    asked = {task: requests(folder, task) for task in plan.tasks}
    return unanswered(run, summary.model_sha256, asked, partial(items, folder, run))


def _carry_out(to_do: Sequence[RunConfig], plan: Plan, folder: Path, say: Say) -> int:
    work = replace(TRAIN, name="runs", function=partial(_train_and_measure, plan, folder))
    try:
        summaries = side_by_side.run(work, to_do, slots(to_do[0].device, to_do)) if to_do else []
    except RunsFailed as error:
        sys.stderr.write(f"goodhart: {error}\n")
        return 1
    diverged = [(run, summary) for run, summary in zip(to_do, summaries, strict=True) if summary.status == "diverged"]
    for run, summary in diverged:
        say(f"runs: {run.label} diverged ({summary.reason}); it is not ranked")
    both = f"{folder / RUNS} and {folder / RESULTS}" if plan.tasks else f"{folder / RUNS}"
    say(f"runs: all are done; copy {both} into out: and run jobs.evaluate there")
    return 1 if diverged else 0


def _train_and_measure(plan: Plan, folder: Path, run: RunConfig, tell: Tell) -> RunSummary:
    summary = train(run, tell)
    for one in evaluations([(run, summary)], folder / EVALUATED):
        if not one.is_made():
            evaluate(one, lambda _: None)
    if asked := _to_ask(run, summary, plan, folder):
        answer(asked, lambda _: None)
    return summary


if __name__ == "__main__":
    sys.exit(main())
