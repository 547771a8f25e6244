"""The rules of an experiment: those of its presets and its own together, and the levels that come of them."""

from collections.abc import Iterable
from typing import Any

from filters.joined import together
from filters.levels import Level, band_levels, plan, second_levels
from filters.rule_files import RuleFile, built, extended, rule_file
from jobs.parts.experiment_file import Experiment


def preset_rules(preset: str) -> dict[str, Any]:
    """The rules of a file in conf/rules/, by name or path. Raises RuleError."""
    return rule_file(preset).rules


def rules_of(experiment: Experiment) -> dict[str, Any]:
    """The rules of the presets, of the sets that `rules:` extends, and its own together. Raises RuleError."""
    bases = _sources([*experiment.presets, *extended(experiment.rules)])
    return built(experiment.rules, "rules:", {source: of.rules for source, of in bases.items()})


def _sources(presets: Iterable[str]) -> dict[str, RuleFile]:
    """Sets of rules, by what a sentence calls them."""
    return {f"preset {preset}": rule_file(preset) for preset in presets}


def levels_of(experiment: Experiment) -> list[Level]:
    """Every subset of the experiment, mildest level first, then controls and what is trained beside. Raises RuleError."""
    controls, rules = {control: at for control, at in experiment.controls if at}, rules_of(experiment)
    levels = plan(rules, experiment.sweep, controls, experiment.seed)
    second = second_levels(rules, experiment.sweep, experiment.beside.second)
    return [*levels, *second, *band_levels(experiment.beside.bands, levels)]


def compared_sets(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """The rules of every set under `compare:`. Raises RuleError."""
    return {
        name: together({source: of.rules for source, of in _sources(presets).items()})
        for name, presets in experiment.compare.items()
    }


def ways(experiment: Experiment) -> dict[str, str]:
    """How the signals are made that the presets of an experiment need, where they say it."""
    compared = [preset for presets in experiment.compare.values() for preset in presets]
    sources = _sources([*experiment.presets, *extended(experiment.rules), *compared])
    return {signal: way for of in sources.values() for signal, way in of.needs.items()}
