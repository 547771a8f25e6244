"""Why a job stops: what was asked cannot be done, or what was made cannot be right."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filters.differences import differences, told


class ExperimentError(ValueError):
    """The experiment file, or what it names, cannot be used as it is: one sentence for the person who wrote it."""


class InvariantBroken(RuntimeError):
    """Counts that do not add up, or an id that is there twice: the result must not be used."""


def made_by_another(what: Path, found: Mapping[str, Any], wanted: Mapping[str, Any], verb: str) -> ExperimentError:
    """The refusal to mix what two configurations made: the keys that changed, and how `verb` makes it again."""
    changed = told(differences(found, wanted))
    return ExperimentError(f"{what} was made by another configuration: {changed}; {ways_out(verb)}")


def ways_out(verb: str) -> str:
    """What to do about something that another configuration made."""
    return f"add --redo {verb} to remove it with all that depends on it and make it again, or set another out:"
