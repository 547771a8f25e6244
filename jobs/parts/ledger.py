"""What every finished file under `out:` holds, so that a byte that flips later is noticed before it is used.

Tables have manifests. All other files, models and runs and facts, are listed here with their SHA-256 when a verb has ended.
The next verb looks at the small ones before it begins; `jobs.verify` at all, the parts of tables too. Files that a killed
verb has written since are not known yet, and a file that was removed is nobody's concern.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filters.files import sha256_of, write_whole
from filters.stores import StorePath
from jobs.parts import redo, storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import FORMATS, MANIFEST

LEDGER = ".ledger.json"
OPEN = ".ledger.open"
"""There while a verb runs: after a kill, files that have changed since are taken for that verb's work."""
SMALL = 1 << 24
"""Bytes up to which a file is looked at before every verb: 16 MB take 10 ms. Larger ones are checked where they are used."""
UNLISTED = (".lock", ".layout.json", LEDGER, OPEN)
LEASE = ".lease-"
PARTS = tuple(f".{ending}" for ending in FORMATS)
MOST_NAMED = 5


@contextmanager
def kept(experiment: Experiment) -> Iterator[None]:
    """Raise ExperimentError where a small file is not as it was written; after the block list what there is now."""
    out = experiment.out
    ends = {Places(out).explorer, *(Places(out).report(ending) for ending in ("html", "md", "svg", "json", "csv"))}
    refuse(experiment, [file for file in damaged(out, SMALL) if file not in ends])  # those are written again anyway
    write_whole(out / OPEN, b"")
    yield
    record(out)


def refuse(experiment: Experiment, files: list[Path]) -> None:
    """Raise ExperimentError that names damaged files and the verb that makes the first of them again."""
    if files:
        named = ", ".join(map(str, files[:MOST_NAMED])) + (" and others" if len(files) > MOST_NAMED else "")
        are = "is not as it was" if len(files) == 1 else "are not as they were"
        verb = maker(experiment, files[0])
        raise ExperimentError(
            f"{named} {are} written: a disk or a hand has changed bytes; add --redo {verb} to jobs.experiment or "
            f"jobs.{verb} to make what is damaged again, with all that depends on it"
        )


def maker(experiment: Experiment, file: Path) -> str:
    """The last verb that makes a file again."""
    verbs = (verb for verb in reversed(redo.VERBS) if {file, *file.parents} & {*redo.undone(experiment, verb)})
    return next(verbs, redo.VERBS[0])


def damaged(out: Path, most: int | None = None) -> list[Path]:
    """Listed files, of at most so many bytes, that are there and hold something else."""
    found = []
    was_killed, seen = storage.exists(out / OPEN), _seen(out)
    for name, told in _read(out).items():
        file = out / name
        now = seen(file)
        if now is None or (most is not None and told["bytes"] > most):
            continue
        if now != told["seen"] if was_killed else isinstance(out, StorePath) and most is not None and now == told["seen"]:
            continue  # a store holds what was put, or it has another time: only jobs.verify reads that again
        if now[0] != told["bytes"] or sha256_of(file) != told["sha256"]:
            found.append(file)
    return found


def record(out: Path) -> None:
    """List every file that no manifest lists, reading those that have changed; what killed processes wrote aside goes."""
    storage.remove_left_overs(out, below=True)
    before, now, seen = _read(out), {}, _seen(out)
    for file in unlisted(out):
        name, told = str(file.relative_to(out)), seen(file) or [0, 0]
        same = name in before and before[name]["seen"] == told
        now[name] = before[name] if same else {"bytes": told[0], "seen": told, "sha256": sha256_of(file)}
    storage.write_json(out / LEDGER, now)
    storage.remove(out / OPEN)


def unlisted(out: Path) -> Iterator[Path]:
    """The files under `out` that are no part of a table, by name. The names of parts are only listed."""
    for folder, names in storage.walk(out):
        parts = PARTS if _is_table(folder) else ()
        for name in names:
            if not name.endswith((*parts, ".tmp")) and name not in UNLISTED and not name.startswith(LEASE):
                yield folder / name


def _is_table(folder: Path) -> bool:
    """Whether a folder's parts are listed in a manifest, its own or that of its books."""
    return storage.exists(folder / MANIFEST) or storage.exists(folder.parent / "_books" / folder.name / MANIFEST)


def _seen(out: Path) -> Callable[[Path], list[int | str] | None]:
    """What `storage.seen` says of a file; None where it is not there. A store is asked once for all."""
    if isinstance(out, StorePath):
        listed = storage.files_below(out)
        return lambda file: list(listed[file]) if file in listed else None
    return lambda file: list(storage.seen(file)) if storage.exists(file) else None


def _read(out: Path) -> dict[str, Any]:
    """The list; a damaged one is none: it says nothing that could be trusted."""
    try:
        told: dict[str, Any] = storage.read_json(out / LEDGER)
    except (FileNotFoundError, ValueError):
        return {}
    return told
