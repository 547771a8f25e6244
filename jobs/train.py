"""train: packed tokens in, one small GPT per subset, replicate, size, budget and learning rate out.

    python -m jobs.train CONF [--set key=value ...] [--dry-run]

Every run has the same architecture, tokens and schedule; the runs of a replicate differ by their subset alone. A finished
run is left alone, a killed one goes on from its last checkpoint. On a machine without Spark `python -m eval.runs` does the
same from the folder that jobs.pack leaves.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import torch

from eval.evaluation import measured_elsewhere
from eval.packed import header_path
from eval.plan import RunConfig
from eval.runs import TRAIN, device_here, slots
from eval.trainer import peak_flops
from eval.training import RunMismatch, RunSummary, finished_run
from jobs.parts import command, storage
from jobs.parts.experiment_file import Experiment, Train
from jobs.parts.grid import cells, runs, vocabulary
from jobs.parts.refusals import ExperimentError, ways_out
from jobs.parts.scratch_runs import train_on_scratch
from jobs.parts.session import submitted
from jobs.parts.spread import carry_out

CORE_FLOPS = 3e10
"""Operations a second of one core where no run has been measured: docs/training.md, Speed."""
GPU_SHARE, GPU_FLOPS = 0.4, 3e14
"""Of a card's peak where no run has been measured, and a peak for cards that are not known: assumptions."""


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Train what is not trained yet; a run that diverged is told and kept out of the results."""
    asked = runs(experiment, dry_run)
    to_do = unfinished(asked, dry_run)
    if dry_run:
        done = len(asked) - len(to_do)
        print(f"train: {len(asked)} runs; {done} done, {len(to_do)} to run{estimate(experiment, asked, to_do)}")
        return command.OK
    if to_do and experiment.train:
        carry_out(replace(TRAIN, function=train_on_scratch), to_do, experiment.train.device)
    for run in asked:
        summary = finished(run)
        if summary and summary.status == "diverged":
            print(f"train: {run.label} diverged ({summary.reason}); it is not ranked")
    tokens = sum(run.tokens for run in asked)
    print(f"train: {len(asked)} runs of {tokens:,} tokens in all are done" if asked else "train: no subset to train on")
    return command.OK


def check(experiment: Experiment) -> None:
    """Find what is wrong with `train:` before anything is read. Raises ExperimentError."""
    if experiment.train is not None:
        cells(experiment.train)
        if not submitted():  # a cluster's executors may have what the driver's machine has not
            device(experiment.train)


def finished(run: RunConfig) -> RunSummary | None:
    """The summary of a run that is done, be its weights here or where it was trained and measured.

    Raises ExperimentError where another configuration made what is there.
    """
    try:
        return finished_run(run) or measured_elsewhere(run)
    except RunMismatch as error:
        raise ExperimentError(f"{error}, or all of them: {ways_out('train')}") from error
    except ValueError as error:
        raise ExperimentError(str(error)) from error


def unfinished(asked: Sequence[RunConfig], dry_run: bool = False) -> list[RunConfig]:
    """The runs that are not done; in a dry run those whose tokens are not packed yet are among them."""
    return [run for run in asked if (dry_run and not storage.exists(header_path(run.packed))) or finished(run) is None]


def device(train: Train | None) -> str:
    """The device as torch names it. Raises ExperimentError where there is no such one."""
    try:
        return device_here(train.device if train else "auto")
    except ValueError as error:
        raise ExperimentError(str(error)) from error


def estimate(experiment: Experiment, asked: Sequence[RunConfig], to_do: Sequence[RunConfig]) -> str:
    """Tokens and operations of the runs to do, and hours by the speed of those that are done."""
    if not to_do:
        return ""
    entries, here = vocabulary(experiment), device(experiment.train)
    flops = sum(run.tokens * run.size.flops(entries) for run in to_do)
    done = [(run, summary) for run in asked if run not in to_do and (summary := finished(run))]
    same = [run.size.flops(entries) * summary.tokens_per_second for run, summary in done if summary.device.startswith(here)]
    speed, source = (median(same), f"as the {len(same)} that are done") if same else (_assumed(here), "assumed")
    processes, tokens = min(len(slots(here, to_do)), len(to_do)), sum(run.tokens for run in to_do)
    hours = flops / speed / processes / 3600
    return (
        f" ({tokens:,} tokens, {flops:.2g} operations, about {hours:.2g} hours with {processes} at a time at "
        f"{speed / 1e9:,.0f} GFLOP/s each, {source})"
    )


def _assumed(here: str) -> float:
    if here == "cpu":
        return CORE_FLOPS
    return GPU_SHARE * (peak_flops(torch.cuda.get_device_name(here)) or GPU_FLOPS)


if __name__ == "__main__":
    command.main(main, __doc__, check=check)
