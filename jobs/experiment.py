"""experiment: every verb in turn, from crawl files to the report, out of one file.

    python -m jobs.experiment CONF [--set key=value ...] [--dry-run]

What is done already is left alone, so a rerun takes seconds and a killed one goes on where it was.
"""

from collections.abc import Callable

import yaml

from filters.files import write_whole
from filters.levels import Level, needed
from filters.signals import load_groups, nearest
from filters.transforms import TRANSFORMS
from jobs import choose, compare, evaluate, pack, read, report, score, train, train_classifier, train_tokenizer
from jobs.parts import command
from jobs.parts.experiment_file import Experiment, as_tree
from jobs.parts.places import Places
from jobs.parts.presets import compared_sets, levels_of
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import FORMATS

VERBS: tuple[Callable[[Experiment, bool], int], ...] = (
    read.main,
    train_tokenizer.main,
    train_classifier.main,
    score.main,
    choose.main,
    pack.main,
    train.main,
    evaluate.main,
    compare.main,
    report.main,
)


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Check the whole file, then run the verbs; the worst of their exit codes."""
    check(experiment)
    if dry_run:
        return _plan(experiment)
    write_whole(Places(experiment.out).experiment, yaml.safe_dump(as_tree(experiment), sort_keys=False).encode())
    return max(verb(experiment, False) for verb in VERBS)


def _plan(experiment: Experiment) -> int:
    """What would run, as far as the tables that are there tell."""
    for verb in VERBS:
        try:
            verb(experiment, True)
        except ExperimentError as error:
            print(f"{verb.__module__.removeprefix('jobs.')}: to run after the verbs before it ({error})")
    return command.OK


def check(experiment: Experiment) -> None:
    """Find every mistake that can be found before the first task. Raises ExperimentError or RuleError."""
    known = load_groups("filters", "classifiers")
    for name in experiment.signals:
        if name not in known and name not in experiment.classifiers:
            raise ExperimentError(f"unknown signal group {name!r}: {nearest(name, [*known, *experiment.classifiers])}")
    columns = {signal for group in ("size", *experiment.signals) for signal in known.get(group, {group: None})}
    compared = [Level(name, rules) for name, rules in compared_sets(experiment).items()]
    for signal in sorted(needed([*levels_of(experiment), *compared])):
        if signal not in columns:
            where = [group for group, signals in known.items() if signal in signals]
            hint = f"add {where[0]}: {{}} under signals:" if where else nearest(signal, sorted(columns))
            raise ExperimentError(
                f"a rule or the sweep needs the signal {signal!r}, which no group under signals: gives; {hint}"
            )
    for name in experiment.write.transforms:
        if name not in TRANSFORMS:
            raise ExperimentError(f"write.transforms: unknown transform {name!r}: {nearest(name, list(TRANSFORMS))}")
    if experiment.write.format not in FORMATS:
        raise ExperimentError(f"write.format must be {' or '.join(FORMATS)}, got {experiment.write.format!r}")
    for classifier in experiment.classifiers.values():
        train_classifier.load_recipe(classifier.fasttext.preset)
    read.check(experiment)
    train.check(experiment)


if __name__ == "__main__":
    command.main(main, __doc__)
