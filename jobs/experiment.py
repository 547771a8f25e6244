"""experiment: every verb in turn, from crawl files to the report, out of one file.

    python -m jobs.experiment CONF [--set key=value ...] [--redo VERB] [--dry-run]

What is done already is left alone, so a rerun takes seconds and a killed one goes on where it was. Without `train:` pages
are filtered and nothing is trained.
"""

from collections.abc import Callable

import yaml

from filters.files import write_whole
from jobs import (
    choose,
    compare,
    dedup,
    evaluate,
    explore,
    pack,
    read,
    report,
    score,
    split,
    train,
    train_classifier,
    train_tokenizer,
)
from jobs.parts import command, disk
from jobs.parts.experiment_file import Experiment, as_tree
from jobs.parts.grid import waits_for_best
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError

Verb = Callable[[Experiment, bool], int]
FILTERING: tuple[Verb, ...] = (
    read.main,
    split.main,
    dedup.edges,
    train_tokenizer.main,
    train_classifier.main,
    score.main,
    dedup.ranks,
    dedup.contamination,
    choose.main,
)
TRAINING: tuple[Verb, ...] = (pack.main, train.main, evaluate.main)
SECOND_RATE: tuple[Verb, ...] = (train.main, evaluate.main)
"""Once more, when the best level at the first rate is known."""
TELLING: tuple[Verb, ...] = (compare.main, explore.main, report.main)


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Check the files that are named, then run the verbs; the worst of their exit codes."""
    check(experiment)
    if dry_run:
        return _plan(experiment)
    write_whole(Places(experiment.out).experiment, yaml.safe_dump(as_tree(experiment), sort_keys=False).encode())
    return max(verb(experiment, False) for verb in _verbs(experiment))


def _verbs(experiment: Experiment) -> tuple[Verb, ...]:
    """What runs, in order: nothing that models need where the file has no `train:`."""
    if experiment.train is None:
        return FILTERING + TELLING
    return FILTERING + TRAINING + (SECOND_RATE if waits_for_best(experiment.train) else ()) + TELLING


def _plan(experiment: Experiment) -> int:
    """What would run, as far as the tables that are there tell."""
    for verb in _verbs(experiment):
        try:
            verb(experiment, True)
        except ExperimentError as error:
            print(f"{verb.__module__.removeprefix('jobs.')}: to run after the verbs before it ({error})")
    print(disk.estimate(experiment))
    return command.OK


def check(experiment: Experiment) -> None:
    """Find what is wrong with the files that the experiment names. Raises ExperimentError."""
    read.check(experiment)
    train_tokenizer.check(experiment)
    train_classifier.check(experiment)
    score.check(experiment)
    train.check(experiment)


if __name__ == "__main__":
    command.main(main, __doc__, check=check)
