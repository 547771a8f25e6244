"""A note beside a made file says which configuration made it: what parts have in their footers, for files without one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.parts import storage
from jobs.parts.experiment_file import as_tree, config_hash
from jobs.parts.refusals import made_by_another


def is_made(file: Path, config: Mapping[str, Any], verb: str) -> bool:
    """Whether the file is there and whole. Raises ExperimentError where another configuration made it.

    `verb` is what makes it.
    """
    if not (file.exists() and storage.exists(note(file))):
        return False
    found = storage.read_json(note(file))
    if found["config_hash"] != config_hash(config):
        raise made_by_another(file, found["config"], as_tree(config), verb)
    return True


def clear(folder: Path) -> None:
    """Remove what killed work has left where a folder is to be made, and beside it; an old note first."""
    storage.remove(note(folder))
    storage.remove_folder(folder)
    for beside in storage.folders(folder.parent):
        if beside.name.startswith(f".{folder.name}."):
            storage.remove_folder(beside)


def say_made(file: Path, config: Mapping[str, Any]) -> None:
    """Write the note; the last thing done to a file."""
    storage.write_json(note(file), {"config": as_tree(config), "config_hash": config_hash(config)})


def note(file: Path) -> Path:
    """Where the note of a file or folder lies."""
    return file.with_name(f".{file.name}.made_by.json")
