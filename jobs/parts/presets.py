"""The rules of an experiment: those of its presets and its own together, and the levels that come of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filters.levels import Level, plan
from filters.nearest import nearest
from filters.rules import together
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
    """The rules of the presets and of `rules:` together; one that says `replace: true` stands in place of the presets'.

    Raises ExperimentError or RuleError.
    """
    own = {signal: _without_replace(conditions) for signal, conditions in experiment.rules.items()}
    replaced = {signal for signal, conditions in experiment.rules.items() if _replaces(signal, conditions)}
    presets = {
        source: {signal: conditions for signal, conditions in rules.items() if signal not in replaced}
        for source, rules in _sources(experiment.presets).items()
    }
    return together({**presets, "rules:": own})


def _replaces(signal: str, conditions: Any) -> bool:
    """Whether a rule stands in place of those that presets have on its signal."""
    replace = conditions.get("replace", False) if isinstance(conditions, Mapping) else False
    if not isinstance(replace, bool):
        raise ExperimentError(f"rules.{signal}.replace must be true or false, got {replace!r}")
    return replace


def _without_replace(conditions: Any) -> Any:
    if not isinstance(conditions, Mapping):
        return conditions
    return {name: value for name, value in conditions.items() if name != "replace"}


def _sources(presets: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The rules of presets, by what a sentence calls them."""
    return {f"preset {preset}": preset_rules(preset) for preset in presets}


def levels_of(experiment: Experiment) -> list[Level]:
    """Every subset of the experiment, mildest level first, then the controls. Raises ExperimentError or RuleError."""
    controls = {control: at for control, at in experiment.controls if at}
    return plan(rules_of(experiment), experiment.sweep, controls)


def compared_sets(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """The rules of every set under `compare:`. Raises ExperimentError or RuleError."""
    return {name: together(_sources(presets)) for name, presets in experiment.compare.items()}
