"""train_classifier: good and other pages in, one model per entry of `classifiers:` out.

    python -m jobs.train_classifier CONF [--set key=value ...] [--dry-run]

A share of the good texts is kept from training: models are later evaluated on it as the set `reference`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from classifiers.kinds import Scorer, TrainingError
from classifiers.texts import KIND
from jobs.parts import command, logistic, reuse, storage
from jobs.parts.experiment_file import Experiment, as_tree
from jobs.parts.made_by import is_made, say_made
from jobs.parts.places import Places
from jobs.parts.pool import pool_identity
from jobs.parts.refusals import ExperimentError
from jobs.parts.sample import training_texts
from jobs.shards.reasons import ReadOptions
from jobs.shards.sources import shards


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Train what is not trained yet."""
    for name, kind in _to_train(experiment).items():
        made_by, folder = _config(experiment, kind), Places(experiment.out).classifier(name)
        if is_made(folder, made_by, "train_classifier"):
            print(f"train_classifier: {name} is trained")
        elif reuse.model(folder, made_by, "train_classifier", dry_run):
            continue
        elif dry_run:
            print(f"train_classifier: {name} to train from {_sources(kind)}")
        else:
            _train(experiment, name, kind, made_by)
    return command.OK


def check(experiment: Experiment) -> None:
    """Find what is wrong with models from elsewhere and the files others are trained from. Raises ExperimentError."""
    for name, one in experiment.classifiers.items():
        try:
            one.options.look_into_models()
        except ValueError as error:
            raise ExperimentError(f"classifiers.{name}: {error}") from error
    for name, kind in _to_train(experiment).items():
        if lacking := kind.lacks():
            raise ExperimentError(f"classifiers.{name}: {lacking}")
        try:
            kind.identity()
        except ValueError as error:
            raise ExperimentError(f"classifiers.{name}: {error}") from error
        for key, files in kind.texts().items():
            shards(files, ReadOptions(), f"classifiers.{name}.{key}")


def _to_train(experiment: Experiment) -> dict[str, Scorer]:
    """The classifiers that are trained here; a model from elsewhere is used as it is."""
    return {name: one.options for name, one in experiment.classifiers.items() if one.options.trained}


def _config(experiment: Experiment, kind: Scorer) -> dict[str, Any]:
    files = [file for named in kind.texts().values() for file in named]
    return {
        "identity": kind.identity(),
        "files": [shard.identity for shard in shards(files, ReadOptions(), "classifiers")],
        "pages": pool_identity(experiment) if kind.pool_key() else None,
        "seed": experiment.seed,
    }


def _train(experiment: Experiment, name: str, kind: Scorer, made_by: Mapping[str, Any]) -> None:
    folder = Places(experiment.out).classifier(name)
    print(f"train_classifier: {name} from {_sources(kind)} ...", flush=True)
    try:
        about = FITS.get(experiment.classifiers[name].kind, fit_here)(experiment, name, folder)
    except TrainingError as error:
        raise ExperimentError(f"classifiers.{name}: {error}") from error
    storage.write_json(folder / KIND, as_tree(experiment.classifiers[name]))
    say_made(folder, made_by)
    print(f"train_classifier: {name} {about}")


def _sources(kind: Scorer) -> str:
    files = [str(file) for named in kind.texts().values() for file in named]
    return ", ".join([*files, *(["pages of the pool"] if kind.pool_key() else [])])


def fit_here(experiment: Experiment, name: str, folder: Path) -> str:
    """Train on the driver, from pages that are read one after the other."""
    return experiment.classifiers[name].options.train(training_texts(experiment, name), folder)


FITS: Mapping[str, Callable[[Experiment, str, Path], str]] = {"hashing_tf": logistic.fit_hashing_tf}
"""Kinds that are fitted on DataFrames, each with the function that writes the model: kinds themselves know no Spark."""


if __name__ == "__main__":
    command.main(main, __doc__, check=check)
