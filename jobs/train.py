"""train: packed tokens in, one small GPT per subset and replicate out.

    python -m jobs.train CONF [--set key=value ...] [--dry-run]

Every run has the same architecture, tokens and schedule; the runs of a replicate differ by their subset alone. A finished
run is left alone, a killed one goes on from its last checkpoint.
"""

from collections.abc import Sequence
from dataclasses import asdict

import torch

from eval import side_by_side
from eval.packed import header_path
from eval.side_by_side import Tell
from eval.training import RunConfig, RunMismatch, RunSummary, finished_run, train_run
from jobs.pack import trainable
from jobs.parts import command, storage
from jobs.parts.experiment_file import Experiment, Train
from jobs.parts.grid import cells, subsets_of
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError, ways_out


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Train what is not trained yet; a run that diverged is told and kept out of the results."""
    configs = runs(experiment, dry_run)
    to_do = unfinished(configs, dry_run)
    if dry_run:
        print(f"train: {len(configs)} runs; {len(configs) - len(to_do)} done, {len(to_do)} to run")
        return command.OK
    if to_do:
        work = side_by_side.Work("train", _train, "token", lambda run: run.tokens, _label)
        side_by_side.run(work, to_do, side_by_side.workers(to_do[0].device))
    for config in configs:
        summary = finished(config)
        if summary and summary.status == "diverged":
            print(f"train: {_label(config)} diverged ({summary.reason}); it is not ranked")
    tokens = sum(config.tokens for config in configs)
    print(f"train: {len(configs)} runs of {tokens:,} tokens in all are done" if configs else "train: no subset to train on")
    return command.OK


def check(experiment: Experiment) -> None:
    """Find what is wrong with `train:` before anything is read. Raises ExperimentError."""
    if experiment.train is not None:
        cells(experiment.train)
        device(experiment.train)


def runs(experiment: Experiment, dry_run: bool = False) -> list[RunConfig]:
    """Every run of the experiment; in a dry run also of subsets that are not chosen yet.

    Raises ExperimentError for an unknown model size, device or a missing section.
    """
    train = experiment.train
    if train is None:
        raise ExperimentError("the experiment file has no train: section")
    places = Places(experiment.out)
    return [
        RunConfig(
            subset=subset,
            packed=places.packed(subset, cell.size.context, replicate),
            tokenizer=places.tokenizer,
            model=cell.model,
            size=cell.size,
            tokens=cell.tokens,
            replicate=replicate,
            out=places.run(subset, cell.folder, replicate),
            device=device(train),
        )
        for cell in cells(train)
        for subset in subsets_of(experiment, train, cell, trainable(experiment, cell.size.context, dry_run))
        for replicate in train.numbers
    ]


def finished(run: RunConfig) -> RunSummary | None:
    """The summary of a run that is done. Raises ExperimentError where another configuration made what is there."""
    try:
        return finished_run(run)
    except RunMismatch as error:
        raise ExperimentError(f"{error}, or all of them: {ways_out('train')}") from error
    except ValueError as error:
        raise ExperimentError(str(error)) from error


def unfinished(asked: Sequence[RunConfig], dry_run: bool = False) -> list[RunConfig]:
    """The runs that are not done; in a dry run those whose tokens are not packed yet are among them."""
    return [run for run in asked if (dry_run and not storage.exists(header_path(run.packed))) or finished(run) is None]


def device(train: Train) -> str:
    """The device as torch names it."""
    if train.device == "cuda" and not torch.cuda.is_available():
        raise ExperimentError("train.device is cuda, but torch sees no GPU: use auto or cpu")
    return "cuda" if train.device != "cpu" and torch.cuda.is_available() else "cpu"


def _label(config: RunConfig) -> str:
    return f"{config.subset}, replicate {config.replicate}, {config.out.parent.name}"


def _train(config: RunConfig, tell: Tell) -> dict[str, object]:
    """One run in a worker process; tells the tokens trained on."""
    told = 0

    def progress(step: int, steps: int, loss: float) -> None:
        nonlocal told
        done = config.tokens * step // steps
        tell(done - told)
        told = done

    summary: RunSummary = train_run(config, progress)
    return asdict(summary)


if __name__ == "__main__":
    command.main(main, __doc__, check=check)
