"""train_tokenizer: a neutral sample of the pages in, the tokenizer that every subset shares out.

    python -m jobs.train_tokenizer CONF [--set key=value ...] [--dry-run]

The sample is drawn from all pages by their ids, held-out pages apart, whatever the rules say.
"""

from typing import Any

from eval.tokenizer import FILES, check_tokenizer, copy_tokenizer, tokenizer_digest, train_tokenizer
from jobs.parts import command, reuse, storage
from jobs.parts.experiment_file import Experiment, Tokenizer
from jobs.parts.made_by import clear, is_made, say_made
from jobs.parts.places import Places
from jobs.parts.pool import pool_identity
from jobs.parts.refusals import ExperimentError
from jobs.parts.sample import sampled_pages


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Train the tokenizer, unless it is trained or the experiment has none."""
    asked, folder = experiment.tokenizer, Places(experiment.out).tokenizer
    if asked is None:
        print("train_tokenizer: the experiment file has no tokenizer: section, so pages are not encoded")
        return command.OK
    made_by = _config(experiment, asked)
    if is_made(folder, made_by, "train_tokenizer"):
        print("train_tokenizer: the tokenizer is there")
        return command.OK
    if reuse.model(folder, made_by, "train_tokenizer", dry_run):
        return command.OK
    if asked.path:
        print(f"train_tokenizer: {asked.path} is used as it is")
        check(experiment)
        if not dry_run:
            clear(folder)
            with storage.on_scratch(folder) as here:
                copy_tokenizer(asked.path, here)
            say_made(folder, made_by)
        return command.OK
    print(
        f"train_tokenizer: {asked.vocabulary:,} entries from {asked.sample_bytes:,} bytes of pages at most"
        + (", to train" if dry_run else " ..."),
        flush=True,
    )
    if dry_run:
        return command.OK
    try:
        sample = sampled_pages(experiment, "tokenizer", asked.sample_bytes, "bytes")
        clear(folder)
        with storage.on_scratch(folder) as here:
            train_tokenizer((page.text for page in sample), asked.vocabulary, here)
    except ValueError as error:
        raise ExperimentError(str(error)) from error
    say_made(folder, made_by)
    return command.OK


def check(experiment: Experiment) -> None:
    """Find what is wrong with a tokenizer that is used as it is. Raises ExperimentError."""
    folder = experiment.tokenizer.path if experiment.tokenizer else None
    if folder is None:
        return
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ExperimentError(f"tokenizer.path: there is no {missing[0]} in {folder}: name a folder of a whole tokenizer")
    try:
        check_tokenizer(folder)
    except ValueError as error:
        raise ExperimentError(f"tokenizer.path: {error}") from error


def _config(experiment: Experiment, asked: Tokenizer) -> dict[str, Any]:
    if asked.path:
        return {"tokenizer": tokenizer_digest(asked.path)}
    return {"tokenizer": asked, "pool": pool_identity(experiment), "seed": experiment.seed}


if __name__ == "__main__":
    command.main(main, __doc__, check=check)
