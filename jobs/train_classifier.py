"""train_classifier: good and other pages in, one model per entry of `classifiers:` out.

    python -m jobs.train_classifier CONF [--set key=value ...] [--dry-run]

A share of the good texts is kept from training: models are later evaluated on it as the set `reference`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from classifiers.kinds import Pages, Scorer, TrainingError
from jobs.parts import command
from jobs.parts.experiment_file import Experiment, config_hash
from jobs.parts.made_by import is_made, say_made
from jobs.parts.places import Places
from jobs.parts.pool import pool_identity
from jobs.parts.refusals import ExperimentError
from jobs.parts.sample import is_reference, sampled_pages
from jobs.shards.reasons import ReadOptions
from jobs.shards.sources import shards, texts_of


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Train what is not trained yet."""
    for name, kind in _to_train(experiment).items():
        made_by = config_hash(_config(experiment, kind))
        if is_made(Places(experiment.out).classifier(name), made_by):
            print(f"train_classifier: {name} is trained")
        elif dry_run:
            print(f"train_classifier: {name} to train from {_sources(kind)}")
        else:
            _train(experiment, name, kind, made_by)
    return command.OK


def check(experiment: Experiment) -> None:
    """Find what is wrong with the files that classifiers are trained from. Raises ExperimentError."""
    for name, kind in _to_train(experiment).items():
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


def _train(experiment: Experiment, name: str, kind: Scorer, made_by: str) -> None:
    folder = Places(experiment.out).classifier(name)
    print(f"train_classifier: {name} from {_sources(kind)} ...", flush=True)
    try:
        about = FITS.get(experiment.classifiers[name].kind, fit_here)(experiment, name, folder)
    except TrainingError as error:
        raise ExperimentError(f"classifiers.{name}: {error}") from error
    say_made(folder, made_by)
    print(f"train_classifier: {name} {about}")


def _sources(kind: Scorer) -> str:
    files = [str(file) for named in kind.texts().values() for file in named]
    return ", ".join([*files, *(["pages of the pool"] if kind.pool_key() else [])])


def fit_here(experiment: Experiment, name: str, folder: Path) -> str:
    """Train on the driver, from pages that are read one after the other."""
    kind = experiment.classifiers[name].options
    texts: dict[str, Pages] = {key: _pages(experiment, name, key) for key in kind.texts()}
    pool = kind.pool_key()
    if pool:
        texts[pool] = sampled_pages(experiment, pool, kind.pool_pages(), "pages")
    return kind.train(texts, folder)


FITS: Mapping[str, Callable[[Experiment, str, Path], str]] = {}
"""Kinds that are fitted on DataFrames, each with the function that writes the model: kinds themselves know no Spark."""


def _pages(experiment: Experiment, name: str, key: str) -> Pages:
    """Pages from files; of good ones without those that models are evaluated on."""
    kind = experiment.classifiers[name].options
    good = key == kind.good_key()
    for page in texts_of(kind.texts()[key], f"classifiers.{name}.{key}"):
        if not (good and is_reference(page[0], experiment.seed)):
            yield page


if __name__ == "__main__":
    command.main(main, __doc__)
