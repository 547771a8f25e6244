"""train_classifier: good and other pages in, one fastText model per entry of `classifiers:` out.

    python -m jobs.train_classifier CONF [--set key=value ...] [--dry-run]

A share of the positives is kept from training: models are later evaluated on it as the set `reference`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from classifiers.fasttext.training import Recipe, TrainingError, recipe, train
from filters.signals import nearest
from jobs.parts import command
from jobs.parts.experiment_file import Experiment, FastText, as_tree, config_hash
from jobs.parts.made_by import is_made, say_made
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.sample import is_reference, sampled_pages
from jobs.parts.session import HOME
from jobs.parts.strict_yaml import read_yaml
from jobs.parts.table import identity_of
from jobs.shards.reasons import ReadOptions
from jobs.shards.sources import shards, texts_of


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Train what is not trained yet."""
    for name, classifier in experiment.classifiers.items():
        model = Places(experiment.out).models / f"{name}.bin"
        how = load_recipe(classifier.fasttext.preset)
        made_by = config_hash(_config(experiment, classifier.fasttext, how))
        if is_made(model, made_by):
            print(f"train_classifier: {name} is trained")
        elif dry_run:
            print(f"train_classifier: {name} to train from {', '.join(map(str, classifier.fasttext.positives))}")
        else:
            _train(experiment, name, classifier.fasttext, how, made_by)
    return command.OK


def load_recipe(preset: str) -> Recipe:
    """A file of conf/classifiers/, by name or path."""
    file = Path(preset) if preset.endswith(".yaml") else HOME / "conf" / "classifiers" / f"{preset}.yaml"
    if not file.is_file():
        known = sorted(path.stem for path in (HOME / "conf" / "classifiers").glob("*.yaml"))
        raise ExperimentError(f"unknown classifier preset {preset!r}: {nearest(preset, known)}")
    try:
        return recipe(read_yaml(file.read_text(encoding="utf-8"), str(file)))
    except ValueError as error:
        raise ExperimentError(f"{file}: {error}") from error


def _config(experiment: Experiment, asked: FastText, how: Recipe) -> dict[str, Any]:
    files = asked.positives + (asked.negatives if isinstance(asked.negatives, list) else [])
    return {
        "recipe": how,
        "seed": asked.seed,
        "files": [shard.identity for shard in shards(files, ReadOptions(), "classifiers")],
        "pages": identity_of(Places(experiment.out).pages) if asked.negatives == "pages" else None,
        "held_out": as_tree(experiment.evaluate.held_out),
    }


def _train(experiment: Experiment, name: str, asked: FastText, how: Recipe, made_by: str) -> None:
    model = Places(experiment.out).models / f"{name}.bin"
    positives = [
        page
        for page in texts_of(asked.positives, f"classifiers.{name}.fasttext.positives")
        if not is_reference(page[0], experiment.seed)
    ]
    print(f"train_classifier: {name} from {len(positives):,} good pages and as many others ...", flush=True)
    try:
        about = train(positives, _negatives(experiment, asked), model, asked.seed, how)
    except TrainingError as error:
        raise ExperimentError(f"classifiers.{name}: {error}") from error
    say_made(model, made_by)
    seen, measured = about["trained_on"], about["held_out"]
    print(
        f"train_classifier: {name} learned from {seen['positives']:,} + {seen['negatives']:,} pages; "
        f"area under the curve {measured['area_under_curve']} on {measured['positives']} + {measured['negatives']} others"
    )


def _negatives(experiment: Experiment, asked: FastText) -> Iterator[tuple[str, str]]:
    if isinstance(asked.negatives, list):
        return texts_of(asked.negatives, "negatives")
    if asked.negatives != "pages":
        raise ExperimentError(f"negatives must be `pages` or a list of files, got {asked.negatives!r}")
    return sampled_pages(experiment, 1 << 62, "negatives")


if __name__ == "__main__":
    command.main(main, __doc__)
