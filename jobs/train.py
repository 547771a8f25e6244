"""train: packed tokens in, one small GPT per subset and seed out.

    python -m jobs.train CONF [--set key=value ...] [--dry-run]

Every run has the same architecture, tokens, schedule and seeds; only the subset differs. A finished run is left alone, a
killed one goes on from its last checkpoint.
"""

from dataclasses import asdict
from pathlib import Path

import torch

from eval import side_by_side
from eval.gpt import ModelSize, read_size
from eval.side_by_side import Tell
from eval.training import RunConfig, RunSummary, finished_run, train_run
from jobs.pack import packed_file, trainable
from jobs.parts import command
from jobs.parts.experiment_file import Experiment, ExperimentError, Train
from jobs.parts.places import tokenizer_folder


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Train what is not trained yet; a run that diverged is told and kept out of the results."""
    configs = runs(experiment)
    to_do = [config for config in configs if finished(config) is None]
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
    print(
        f"train: {len(configs)} runs of {configs[0].tokens:,} tokens are done" if configs else "train: no subset to train on"
    )
    return command.OK


def check(experiment: Experiment) -> None:
    """Find what is wrong with `train:` before anything is read. Raises ExperimentError."""
    if experiment.train is not None:
        _size(experiment.train)
        device(experiment.train)


def _size(train: Train) -> ModelSize:
    if train.regime not in ("fresh", "fixed_pool"):
        raise ExperimentError(f"train.regime must be fresh or fixed_pool, got {train.regime!r}")
    try:
        return read_size(train.model)
    except ValueError as error:
        raise ExperimentError(str(error)) from error


def runs(experiment: Experiment) -> list[RunConfig]:
    """Every run of the experiment. Raises ExperimentError for an unknown model size, device or a missing section."""
    train = experiment.train
    if train is None:
        raise ExperimentError("the experiment file has no train: section")
    size = _size(train)
    return [
        RunConfig(
            subset=subset,
            packed=packed_file(experiment.out, subset, seed),
            tokenizer=tokenizer_folder(experiment.out),
            size=size,
            tokens=train.tokens,
            replicate=seed,
            out=run_folder(experiment.out, subset, seed),
            device=device(train),
        )
        for subset in trainable(experiment)
        for seed in train.seeds
    ]


def finished(run: RunConfig) -> RunSummary | None:
    """The summary of a run that is done. Raises ExperimentError where another configuration made what is there."""
    try:
        return finished_run(run)
    except ValueError as error:
        raise ExperimentError(str(error)) from error


def run_folder(out: Path, subset: str, seed: int) -> Path:
    """Where a run lies."""
    return out / "runs" / subset / str(seed)


def device(train: Train) -> str:
    """The device as torch names it."""
    if train.device not in ("auto", "cpu", "cuda"):
        raise ExperimentError(f"train.device must be auto, cpu or cuda, got {train.device!r}")
    if train.device == "cuda" and not torch.cuda.is_available():
        raise ExperimentError("train.device is cuda, but torch sees no GPU: use auto or cpu")
    return "cuda" if train.device != "cpu" and torch.cuda.is_available() else "cpu"


def _label(config: RunConfig) -> str:
    return f"{config.subset}, seed {config.replicate}"


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
    command.main(main, __doc__)
