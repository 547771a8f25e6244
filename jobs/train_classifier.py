"""train_classifier: good and other pages in, one model per entry of `classifiers:` out.

    python -m jobs.train_classifier CONF [--set key=value ...] [--dry-run]

A share of the good texts is kept from training: models are later evaluated on it as the set `reference`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from classifiers import card
from classifiers.examples import HELD_OUT
from classifiers.kinds import CARD, Scorer, TrainingError
from classifiers.texts import KIND
from jobs.parts import command, contents, k_means, logistic, reuse, storage
from jobs.parts.experiment_file import Experiment, as_tree, config_hash
from jobs.parts.made_by import clear, is_made, say_made
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
        "files": contents.identities(shards(files, ReadOptions(), "classifiers"), experiment.out) if files else [],
        "pages": pool_identity(experiment) if kind.pool_key() else None,
        "seed": experiment.seed,
    }


def _train(experiment: Experiment, name: str, kind: Scorer, made_by: Mapping[str, Any]) -> None:
    folder = Places(experiment.out).classifier(name)
    print(f"train_classifier: {name} from {_sources(kind)} ...", flush=True)
    clear(folder)
    with storage.on_scratch(folder) as here:
        try:
            about = FITS.get(experiment.classifiers[name].kind, fit_here)(experiment, name, here)
        except TrainingError as error:
            raise ExperimentError(f"classifiers.{name}: {error}") from error
        storage.write_json(here / KIND, as_tree(experiment.classifiers[name]))
        _complete_card(experiment, name, kind, here)
    say_made(folder, made_by)
    print(f"train_classifier: {name} {about}")


def _complete_card(experiment: Experiment, name: str, kind: Scorer, folder: Path) -> None:
    """Add to what the kind wrote: where each side is from, and what its signals say of pages it held out, if any."""
    if not storage.exists(folder / CARD):
        return
    about = {"kind": experiment.classifiers[name].kind, **storage.read_json(folder / CARD)}
    told = {"columns": _tried(name, kind, folder)} if storage.exists(folder / HELD_OUT) else {}
    storage.write_json(folder / CARD, {**about, "sources": _sides(experiment, kind), **told})


def _tried(name: str, kind: Scorer, folder: Path) -> dict[str, Any]:
    """What each signal says of pages that were held out, and which words move it, by column."""
    pages = storage.read_table(folder / HELD_OUT)
    sides, texts = (pages[column].to_pylist() for column in ("side", "text"))
    group, words = kind.group(name, folder), card.common_words(texts)
    weighed = kind.weigh_words(name, folder, words)
    by_word = card.scores(group, words) if weighed is None else weighed
    told = card.tried(group, sides, pages["positive"].to_numpy(), texts, kind.lower_is_better())
    for column, values in by_word.items():
        told[column]["telling"] = card.telling(words, values)
    return told


def _sides(experiment: Experiment, kind: Scorer) -> dict[str, Any]:
    """Each side's files as they are named, how many they are, and a hash of their content; or the pool's tables."""
    found: dict[str, Any] = {}
    for key, files in kind.texts().items():
        identities = contents.identities(shards(files, ReadOptions(), key), experiment.out)
        found[key] = {"from": as_tree(files), "files": len(identities), "hash": config_hash(identities)}
    if (pool := kind.pool_key()) is not None:
        found[pool] = {"from": ["pages of the pool"], "files": None, "hash": config_hash(pool_identity(experiment))}
    return found


def _sources(kind: Scorer) -> str:
    files = [str(as_tree(file)) for named in kind.texts().values() for file in named]
    return ", ".join([*files, *(["pages of the pool"] if kind.pool_key() else [])])


def fit_here(experiment: Experiment, name: str, folder: Path) -> str:
    """Train on the driver, from pages that are read one after the other."""
    return experiment.classifiers[name].options.train(training_texts(experiment, name), folder)


FITS: Mapping[str, Callable[[Experiment, str, Path], str]] = {
    "hashing_tf": logistic.fit_hashing_tf,
    "topic": k_means.fit_topic,
}
"""Kinds that are fitted on DataFrames, each with the function that writes the model: kinds themselves know no Spark."""


if __name__ == "__main__":
    command.main(main, __doc__, check=check)
