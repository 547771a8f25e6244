"""A note beside a made file says which configuration made it: what parts have in their footers, for files without one."""

from pathlib import Path

from jobs.parts import storage
from jobs.parts.refusals import made_by_another


def is_made(file: Path, config_hash: str) -> bool:
    """Whether the file is there and whole. Raises ExperimentError where another configuration made it."""
    if not (file.exists() and storage.exists(_note(file))):
        return False
    found = storage.read_json(_note(file))["config_hash"]
    if found != config_hash:
        raise made_by_another(file, found, config_hash)
    return True


def say_made(file: Path, config_hash: str) -> None:
    """Write the note; the last thing done to a file."""
    storage.write_json(_note(file), {"config_hash": config_hash})


def _note(file: Path) -> Path:
    return file.with_name(f".{file.name}.made_by.json")
