"""train_classifier: good and other pages in, one fastText model per entry of `classifiers:` out.

    python -m jobs.train_classifier CONF [--set key=value ...] [--dry-run]

A share of the positives is kept from training: models are later evaluated on it as the set `reference`.
"""

from collections.abc import Iterator
from typing import Any, cast

from classifiers.fasttext.kind import Options as FastText
from classifiers.fasttext.kind import preset_file
from classifiers.fasttext.training import Recipe, TrainingError, recipe, train
from filters.files import sha256_of
from jobs.parts import command, loop
from jobs.parts.experiment_file import Experiment, as_tree, config_hash
from jobs.parts.made_by import is_made, say_made
from jobs.parts.places import classifier_file, is_reference, sampled_pages
from jobs.parts.refusals import ExperimentError
from jobs.parts.strict_yaml import read_yaml_file
from jobs.shards.reasons import ReadOptions
from jobs.shards.sources import shards, texts_of


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Train what is not trained yet."""
    for name, asked in trained(experiment).items():
        model = classifier_file(experiment.out, name)
        how = load_recipe(asked.preset)
        made_by = config_hash(_config(experiment, asked, how))
        if is_made(model, made_by):
            print(f"train_classifier: {name} is trained")
        elif dry_run:
            print(f"train_classifier: {name} to train from {', '.join(map(str, asked.positives))}")
        else:
            _train(experiment, name, asked, how, made_by)
    return command.OK


def check(experiment: Experiment) -> None:
    """Find what is wrong with the files that classifiers are trained from. Raises ExperimentError."""
    for name, asked in trained(experiment).items():
        load_recipe(asked.preset)
        for key, files in asked.texts().items():
            shards(files, ReadOptions(), f"classifiers.{name}.fasttext.{key}")


def trained(experiment: Experiment) -> dict[str, FastText]:
    """The classifiers that are trained here; a foreign model is used as it is."""
    asked = {name: cast(FastText, classifier.options) for name, classifier in experiment.classifiers.items()}
    return {name: options for name, options in asked.items() if options.model is None}


def load_recipe(preset: str) -> Recipe:
    """A file of conf/classifiers/, by name or path."""
    try:
        file = preset_file(preset)
        return recipe(read_yaml_file(file))
    except ValueError as error:
        raise ExperimentError(f"classifier preset {preset}: {error}") from error


def _config(experiment: Experiment, asked: FastText, how: Recipe) -> dict[str, Any]:
    loop.finished(experiment.out / "pages")
    files = asked.positives + (asked.negatives if isinstance(asked.negatives, list) else [])
    return {
        "recipe": how,
        "seed": asked.seed,
        "files": [shard.identity for shard in shards(files, ReadOptions(), "classifiers")],
        "pages": sha256_of(experiment.out / "pages" / loop.MANIFEST) if asked.negatives == "pages" else None,
        "held_out": as_tree(experiment.evaluate.held_out),
    }


def _train(experiment: Experiment, name: str, asked: FastText, how: Recipe, made_by: str) -> None:
    model = classifier_file(experiment.out, name)
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
    return sampled_pages(experiment, 1 << 62, "negatives")


if __name__ == "__main__":
    command.main(main, __doc__)
