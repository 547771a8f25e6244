"""What `reuse:` names: finished parts and models of another experiment, taken where the same configuration made them.

A file that is taken gets a second name (a hard link), or is copied where the file system has none: files under `out:` are
replaced and never written in place, so neither experiment can change what the other one has.
"""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.parts import storage
from jobs.parts.experiment_file import config_hash
from jobs.parts.made_by import note
from jobs.parts.table import Part, Table


@dataclass(frozen=True)
class Reuse:
    """The experiment that is worked on, and the one whose tables may be taken."""

    out: Path
    other: Path

    def there(self, path: Path) -> Path:
        """Where the other experiment has what lies here."""
        return self.other / path.relative_to(self.out)


REUSE: ContextVar[Reuse | None] = ContextVar("REUSE", default=None)
"""Set by the command line for the verb that it runs; None where nothing is taken."""


def offered(table: Table, parts: Sequence[Part]) -> dict[str, dict[str, Any]]:
    """The other experiment's lines about those of the parts that may be taken into a table, by name."""
    other = _other(table)
    if other is None or not storage.exists(other.manifest):
        return {}
    told = storage.read_json(other.manifest)
    if told["config_hash"] != table.hash:
        return {}
    identities, there = {part.name: part.identity for part in parts}, storage.sizes(other.path)
    return {
        line["name"]: line
        for line in told["parts"]
        if identities.get(line["name"]) == line["from"] and there.get(table.file_name(line["name"])) == line["bytes"]
    }


def take(tables: Sequence[Table], missing: Mapping[str, Sequence[Part]], verb: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Take what may be taken of the parts that tables lack, and say so; by table, the lines of their manifests."""
    lines = {table.name: offered(table, missing[table.name]) for table in tables}
    for table in tables:
        _take_parts(table, lines[table.name])
    taken, reuse = {name: len(some) for name, some in lines.items() if some}, REUSE.get()
    if taken and reuse:
        print(f"{verb}: {max(taken.values())} parts of {', '.join(taken)} are taken from {reuse.other}", flush=True)
    return lines


def _take_parts(table: Table, lines: Mapping[str, Any]) -> None:
    """A table that is taken as a whole gets the same manifest: what is made of it is the same then, too."""
    other = _other(table)
    if other is None or not lines:
        return
    for name in lines:
        part = Part(name, "", "")
        storage.take(other.file(part), table.file(part))
        if table.books or table.format != "parquet":
            storage.take(other.told(part), table.told(part))
    whole = {line["name"] for line in storage.read_json(other.manifest)["parts"]} == set(lines)
    if whole and not storage.exists(table.manifest):
        storage.take(other.manifest, table.manifest)


def model(folder: Path, config: Mapping[str, Any], verb: str, dry_run: bool) -> bool:
    """Take a trained model, and say so; False where there is none of this configuration."""
    reuse = REUSE.get()
    if reuse is None:
        return False
    other = reuse.there(folder)
    if not storage.exists(note(other)) or storage.read_json(note(other))["config_hash"] != config_hash(config):
        return False
    print(f"{verb}: {folder.name} is {'to take' if dry_run else 'taken'} from {reuse.other}", flush=True)
    if not dry_run:
        for name in storage.sizes(other):
            storage.take(other / name, folder / name)
        storage.take(note(other), note(folder))
    return True


def counterparts(file: Path) -> list[Path]:
    """The file, and where the other experiment has it."""
    reuse = REUSE.get()
    return [file, *([reuse.there(file)] if reuse else [])]


def _other(table: Table) -> Table | None:
    reuse = REUSE.get()
    if reuse is None or not table.path.is_relative_to(reuse.out):
        return None
    return replace(table, path=reuse.there(table.path), books=reuse.there(table.books) if table.books else None)
