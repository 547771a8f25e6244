"""The rules of an experiment: those of its presets, its own in their place, and the levels that come of them."""

from pathlib import Path
from typing import Any

from filters.levels import Level, plan
from filters.signals import nearest
from jobs.parts.experiment_file import Experiment
from jobs.parts.refusals import ExperimentError
from jobs.parts.session import HOME
from jobs.parts.strict_yaml import read_yaml_file


def preset_rules(preset: str) -> dict[str, Any]:
    """The rules of a file in conf/rules/, by name or path."""
    file = Path(preset) if preset.endswith(".yaml") else HOME / "conf" / "rules" / f"{preset}.yaml"
    if not file.is_file():
        known = sorted(path.stem for path in (HOME / "conf" / "rules").glob("*.yaml"))
        raise ExperimentError(f"unknown preset {preset!r}: {nearest(preset, known)}")
    tree = read_yaml_file(file)
    if not isinstance(tree, dict) or not isinstance(tree.get("rules"), dict):
        raise ExperimentError(f"{file} must hold rules: with a mapping of signal to conditions")
    return dict(tree["rules"])


def rules_of(experiment: Experiment) -> dict[str, Any]:
    """The rules of the presets, with those of `rules:` in place of a preset's rule on the same signal."""
    rules: dict[str, Any] = {}
    for preset in experiment.presets:
        rules |= preset_rules(preset)
    return rules | dict(experiment.rules)


def levels_of(experiment: Experiment) -> list[Level]:
    """Every subset of the experiment, mildest level first, then the controls. Raises ExperimentError or RuleError."""
    controls = {control: at for control, at in experiment.controls if at}
    return plan(rules_of(experiment), experiment.sweep, controls)


def compared_sets(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """The rules of every set under `compare:`. Raises ExperimentError for an unknown preset."""
    sets: dict[str, dict[str, Any]] = {}
    for name, presets in experiment.compare.items():
        sets[name] = {}
        for preset in presets:
            sets[name] |= preset_rules(preset)
    return sets
