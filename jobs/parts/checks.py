"""What can be known of an experiment before its first task, beyond the types of its file: every verb asks first.

Nothing here reads pages or tables: whether patterns match files and whether models load is for the verbs that need them.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from classifiers.language import ISO_639_3
from eval.sizes import MODELS, size_names
from filters.levels import Level, needed, unswept
from filters.nearest import nearest
from filters.niches import signals_of
from filters.rules import NO_SIGNALS, Rule, RuleError, check_types, check_within, leaves, parse
from filters.signals import Signal, configure, load_groups
from filters.transforms import TRANSFORMS
from jobs.parts import matching
from jobs.parts.duplicate_options import COLUMNS, SIGNALS
from jobs.parts.experiment_file import Experiment
from jobs.parts.presets import compared_sets, levels_of, ways
from jobs.parts.refusals import ExperimentError
from jobs.parts.task_files import asked_tasks
from jobs.shards.sources import check_patterns

Types = dict[str, pa.DataType]
PAGE_COLUMNS = ("id", "url", "domain", "crawled_at", "text", "html_bytes", "shard", "shard_offset")
TAKEN = (*PAGE_COLUMNS, *NO_SIGNALS, "tokenizer", "tokens", "token_count")
"""Names of our own columns, tables and models, and rules that are on no signal."""


def check(experiment: Experiment) -> None:
    """Raise ExperimentError or RuleError for the first thing that cannot be meant, in one sentence."""
    _check_reuse(experiment)
    _check_files(experiment)
    groups = load_groups("filters", "classifiers")
    _check_names(experiment, groups)
    for name, options in experiment.signals.items():
        _check_group(experiment, name, options, groups)
    types = columns(experiment, groups)
    _check_derived(experiment, types)
    _check_duplicates(experiment, types)
    levels = levels_of(experiment)
    compared = [Level(name, rules) for name, rules in compared_sets(experiment).items()]
    _check_rules(experiment, [*levels, *compared], types, groups)
    _check_write(experiment, levels, types)
    _check_strata(experiment, types)
    _check_train(experiment)
    _check_primary(experiment, [level for level in levels if level.control is None])
    matching.check(experiment)
    asked_tasks(experiment)


def without_left_out(experiment: Experiment) -> tuple[Experiment, list[str]]:
    """The experiment without the classifiers that ask to be left out on this machine, and a sentence about each."""
    sentences = {name: why for name, one in experiment.classifiers.items() if (why := one.options.left_out())}
    kept = {
        key: {name: value for name, value in getattr(experiment, key).items() if name not in sentences}
        for key in ("classifiers", "signals")
    }
    return experiment.model_copy(update=kept), [f"{name} is left out: {why}" for name, why in sentences.items()]


def columns(experiment: Experiment, groups: Mapping[str, Mapping[str, Signal]]) -> Types:
    """The signals that the experiment will have, with their types; the domain of a page is one for rules."""
    types: Types = {"domain": pa.string(), **{name: signal.type for name, signal in groups["size"].items()}}
    for group in experiment.signals:
        if group in SIGNALS:
            types |= getattr(experiment, group).columns
        elif group in groups:
            types |= {name: signal.type for name, signal in groups[group].items()}
        else:
            types |= experiment.classifiers[group].options.columns(group)
    return types | ({"token_count": pa.int64()} if experiment.tokenizer else {})


def _check_derived(experiment: Experiment, types: Types) -> None:
    """What a classifier is made of is measured before it, and is a number."""
    for name in experiment.signals:
        for signal in experiment.classifiers[name].options.derived_from() if name in experiment.classifiers else ():
            before = list(types)[: list(types).index(name)]
            if signal not in before or (not pa.types.is_floating(types[signal]) and not pa.types.is_integer(types[signal])):
                known = [one for one in before if pa.types.is_floating(types[one]) or pa.types.is_integer(types[one])]
                raise ExperimentError(
                    f"classifiers.{name}: {signal!r} is no number that is measured before it: {nearest(signal, known)}"
                )


def _check_reuse(experiment: Experiment) -> None:
    """Tables are taken from the folder of another experiment."""
    other = experiment.reuse
    if other is None:
        return
    if not other.is_dir():
        raise ExperimentError(f"reuse: there is no folder {other}: name the out: of another experiment")
    if other.resolve() == experiment.out.resolve():
        raise ExperimentError(f"reuse: {other} is this experiment's own out:, where nothing need be taken from")


def _check_duplicates(experiment: Experiment, types: Types) -> None:
    """What copies are ranked by, and what they stand within, is measured before them."""
    asked = experiment.duplicates
    if asked is None:
        return
    before = [name for name in types if name not in asked.columns]
    for signal in asked.preferred:
        if signal not in before or not (pa.types.is_floating(types[signal]) or pa.types.is_integer(types[signal])):
            raise ExperimentError(f"signals.duplicates.prefer: no number {signal!r} is measured: {nearest(signal, before)}")
    if "language" in asked.scope and "language" not in types:
        raise ExperimentError("signals.duplicates.scope: language needs language: {} under signals:")


def _check_files(experiment: Experiment) -> None:
    """Lists of files that cannot be meant, as far as their words tell."""
    check_patterns(experiment.pages.from_, "pages.from")
    for name, classifier in experiment.classifiers.items():
        for key, files in classifier.options.texts().items():
            check_patterns(files, f"classifiers.{name}.{classifier.kind}.{key}")


def _check_names(experiment: Experiment, groups: Mapping[str, Mapping[str, Signal]]) -> None:
    """A classifier's name is a table, a column and a file of its own."""
    signals = {signal: group for group, members in groups.items() for signal in members}
    signals |= dict.fromkeys(experiment.duplicates.columns if experiment.duplicates else COLUMNS, "duplicates")
    for name in experiment.classifiers:
        what = "a group of signals" if name in groups or name in SIGNALS else f"a signal of the group {signals.get(name)}"
        if name in groups or name in SIGNALS or name in signals or name in TAKEN:
            what = "a column or table of ours" if name in TAKEN else what
            raise ExperimentError(f"classifiers: {name!r} is {what} already: take another name")
    given: dict[str, str] = {}
    for name, one in experiment.classifiers.items():
        for column in one.options.columns(name):
            if column in given:
                raise ExperimentError(
                    f"classifiers.{name} gives the signal {column!r}, and so does classifiers.{given[column]}"
                )
            given[column] = name


def _check_group(
    experiment: Experiment, name: str, options: Mapping[str, Any], groups: Mapping[str, Mapping[str, Signal]]
) -> None:
    """One entry of `signals:`: the group is there, and its options are of its functions' types."""
    if name in SIGNALS:  # a model has checked its options
        return
    if name in experiment.classifiers:
        if options:
            raise ExperimentError(f"signals.{name} takes no options: they stand under classifiers.{name}")
        return
    if name not in groups:
        raise ExperimentError(f"unknown signal group {name!r}: {nearest(name, [*groups, *experiment.classifiers])}")
    try:
        signals = configure(name, options, groups).signals
    except ValueError as error:
        raise ExperimentError(f"signals.{name}: {error}") from error
    for signal in signals:
        kinds = inspect.get_annotations(signal.function, eval_str=True)
        for option in set(signal.options) & set(options):
            _check_option(f"signals.{name}.{option}", options[option], kinds[option])


def _check_option(key: str, value: Any, kind: Any) -> None:
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        expected = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(kind, str(kind))
        raise ExperimentError(f"{key} must be {expected}, got {value!r}") from error


def _check_rules(
    experiment: Experiment, levels: Sequence[Level], types: Types, groups: Mapping[str, Mapping[str, Signal]]
) -> None:
    """Every signal of a rule is measured, and can be compared as the rule says."""
    way = ways(experiment)
    for signal in sorted(needed(levels)):
        if signal not in types:
            where = [group for group, signals in {**groups, "duplicates": COLUMNS}.items() if signal in signals]
            hint = f"add {where[0]}: {{}} under signals:" if where else way.get(signal) or nearest(signal, list(types))
            if any(signal in one.options.columns(name) for name, one in experiment.classifiers.items()):
                hint = f"add {signal}: {{}} under signals:"
            raise ExperimentError(
                f"a rule or the sweep needs the signal {signal!r}, which no group under signals: gives; {hint}"
            )
    for level in levels:
        rules = parse(level.rules)
        check_types(rules, types)
        for rule in leaves(rules):
            _check_codes(rule)
            if "tokens" in rule.weights and experiment.tokenizer is None:
                raise RuleError(f"rule {rule.signal!r}: weight: tokens needs a tokenizer: section")


def _check_codes(rule: Rule) -> None:
    """Languages and scripts are named by their ISO codes."""
    for code in [*rule.conditions.get("in", []), *rule.conditions.get("not_in", [])]:
        if rule.signal == "language" and not re.fullmatch(r"[a-z]{3}", code):
            hint = f": write {ISO_639_3[code]} for {code}" if code in ISO_639_3 else ""
            raise RuleError(f"rule 'language': the codes are ISO 639-3, such as eng or deu, got {code!r}{hint}")
        if rule.signal == "language_script" and not re.fullmatch(r"[A-Z][a-z]{3}", code):
            raise RuleError(f"rule 'language_script': the codes are ISO 15924, such as Latn or Hans, got {code!r}")


def _check_write(experiment: Experiment, levels: Sequence[Level], types: Types) -> None:
    """What is written is there: subsets, transforms, signals; and what edits it."""
    asked, duplicates = experiment.write, experiment.duplicates
    if asked.drop_lines and duplicates is None:
        raise ExperimentError("write.drop_lines needs duplicates: {} under signals:, which finds the lines of many domains")
    if asked.drop_lines and duplicates and asked.drop_lines.seen_on_domains < duplicates.seen_on_domains:
        raise ExperimentError(
            f"write.drop_lines.seen_on_domains is {asked.drop_lines.seen_on_domains}, but dedup keeps the lines of at least "
            f"{duplicates.seen_on_domains} other domains: lower signals.duplicates.seen_on_domains to it"
        )
    known = {
        "subset": ([] if asked.subsets in ("all", "none") else asked.subsets, [level.name for level in levels]),
        "transform": (asked.transforms, list(TRANSFORMS)),
        "signal": (asked.signals, list(types)),
    }
    for what, (names, have) in known.items():
        for name in names:
            if name not in have:
                raise ExperimentError(f"write.{what}s: unknown {what} {name!r}: {nearest(name, have)}")


def _check_strata(experiment: Experiment, types: Types) -> None:
    """The columns of strata are measured, and name parts."""
    within = experiment.evaluate.niches
    if unknown := sorted(signals_of(within) - set(types)):
        raise ExperimentError(f"evaluate.strata: no signal {unknown[0]!r} is measured: {nearest(unknown[0], list(types))}")
    try:
        check_within(within, types)
    except RuleError as error:
        raise ExperimentError(f"evaluate.strata: {error}") from error


def _check_train(experiment: Experiment) -> None:
    """Runs need a model size, a tokenizer and pages to be evaluated on."""
    train = experiment.train
    if train is None:
        if asked := sorted(experiment.beside.model_fields_set):
            raise ExperimentError(f"diagnostics.{asked[0]} needs a train: section: without models there is nothing to tell")
        return
    for model in train.model:
        if not (Path(model) if model.endswith(".yaml") else MODELS / f"{model}.yaml").is_file():
            raise ExperimentError(f"train.model: there is no model size {model!r}: {nearest(model, size_names())}")
    if experiment.tokenizer is None:
        raise ExperimentError("train: needs a tokenizer: section, such as tokenizer: {vocabulary: 4096}")
    if experiment.evaluate.held_out.share == 0:
        raise ExperimentError("train: needs pages to evaluate on: evaluate.held_out.share must be more than 0")


def _check_primary(experiment: Experiment, levels: Sequence[Level]) -> None:
    """The primary hypothesis names subsets that there will be."""
    if experiment.primary is None:
        return
    if experiment.train is None:
        raise ExperimentError("primary: needs a train: section: without models there is nothing to compare")
    known = ["unfiltered", *(level.name for level in levels)]
    known += ["none"] if any(unswept(level) for level in levels) else []
    known += ["best"] if len(levels) > 1 else []
    known += ["hardest"] if len(levels) > 1 and len(experiment.sweep) == 1 else []
    for name in experiment.primary.between:
        if name == "hardest" and len(experiment.sweep) > 1:
            raise ExperimentError("primary.between: levels of several swept keys have no hardest: name a level")
        if name not in known:
            raise ExperimentError(f"primary.between: there is no level {name!r}: {nearest(name, known)}")
    none = next((level.name for level in levels if unswept(level)), "")
    if len({none if name == "none" else name for name in experiment.primary.between}) < 2:
        raise ExperimentError(f"primary.between: none is {none}: name two subsets that differ")
