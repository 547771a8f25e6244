"""Why a job stops: what was asked cannot be done, or what was made cannot be right."""

from pathlib import Path


class ExperimentError(ValueError):
    """The experiment file, or what it names, cannot be used as it is: one sentence for the person who wrote it."""


class InvariantBroken(RuntimeError):
    """Counts that do not add up, or an id that is there twice: the result must not be used."""


def made_by_another(what: Path, found: str, wanted: str) -> ExperimentError:
    """The refusal to mix what two configurations made."""
    return ExperimentError(
        f"{what} was made by configuration {found}, this one is {wanted}: set another out:, or remove it to make it again"
    )
