"""What `--redo VERB` removes: what that verb made, and all that was made of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from filters.nearest import nearest
from jobs.parts import storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.made_by import note
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import MANIFEST

VERBS = (
    "read",
    "split",
    "dedup",
    "train_tokenizer",
    "train_classifier",
    "score",
    "sweep",
    "choose",
    "compare",
    "pack",
    "train",
    "evaluate",
    "explore",
    "report",
)
"""In the order in which an experiment runs them."""
BY_ITSELF = "sweep"
"""The verb that no experiment runs."""


def check(verb: str, command: str) -> None:
    """Raise ExperimentError for a verb that is none, or that this command does not run."""
    if verb not in VERBS:
        raise ExperimentError(f"--redo takes a verb, and {verb!r} is none: {nearest(verb, list(VERBS))}")
    runs_it = [f"jobs.{verb}"] if verb == BY_ITSELF else ["jobs.experiment", f"jobs.{verb}"]
    if f"jobs.{command}" not in runs_it:
        raise ExperimentError(
            f"jobs.{command} would not make again what {verb} made: give --redo {verb} to {' or '.join(runs_it)}"
        )


def undone(experiment: Experiment, verb: str) -> list[Path]:
    """The files and folders under `out:` that a verb made or that depend on them, those made last first.

    A split, a tokenizer and classifiers decide some signals and not others; what only counts words stays.
    """
    places = Places(experiment.out)
    tables, models = storage.folders(places.all_signals), storage.folders(places.models)
    size, tokens = places.signals("size"), places.signals("tokens")
    classifiers = [folder for folder in models if folder != places.tokenizer]
    derived = [name for name, one in experiment.classifiers.items() if one.options.derived_from()]
    learned = [table for table in tables if table.name in {*derived, *(folder.name for folder in classifiers)}]
    files = ("*/*/*/evaluation.parquet", "*/*/*/exposure.parquet", "*/*/*/late/*/evaluation.parquet")
    evaluations = [file for pattern in files for file in sorted(places.runs.glob(pattern))]
    told = [places.report(ending) for ending in ("html", "md", "svg", "json", "csv")]
    explored = [places.explorer, *told]
    answered = [places.all_items.parent, places.results, *told]
    tested = [places.evaluated, places.all_requests, places.tasks, *evaluations, *answered]
    packed = [places.packs, places.tasks, places.runs, *answered]
    chosen = [places.verdicts, places.sweep.parent, places.all_removed, *packed]
    judged = [places.sweep_tables, places.compared, places.overlap, places.explorer, *chosen]
    encoded = [tokens, places.token_ids]
    ranked = [places.signals("duplicates"), places.signals("contamination")]
    copied = [places.duplicates("edges").parent, places.contamination("hits").parent, *ranked]
    # Copies leave the pool, so what was trained on it goes with them.
    pooled = [*models, *learned, *encoded, *judged]
    found: Mapping[str, Sequence[Path]] = {
        "read": [
            places.selection,
            places.pages,
            places.rejected,
            size,
            places.split,
            *copied,
            *models,
            *tables,
            places.token_ids,
            *judged,
        ],
        "split": [places.split, *copied, *pooled],
        "dedup": [*copied, *pooled],
        "train_tokenizer": [places.tokenizer, *encoded, *judged],
        "train_classifier": [*classifiers, *learned, *judged],
        "score": [*(table for table in tables if table != size), places.token_ids, *judged],
        "sweep": [places.sweep_tables],
        "choose": chosen,
        "compare": [places.compared, places.overlap, *told],
        "pack": packed,
        "train": [places.runs, *answered],
        "evaluate": tested,
        "explore": explored,
        "report": told,
    }
    return [path for path in reversed(dict.fromkeys(found[verb])) if path.exists()]


def undo(experiment: Experiment, verb: str) -> None:
    """Remove all that. A table loses its manifest first, so that a kill leaves nothing that looks finished."""
    for path in undone(experiment, verb):
        storage.remove(note(path))
        if path.is_dir():
            storage.remove(path / MANIFEST)
            storage.remove_folder(path)
        else:
            storage.remove(path)


def told(experiment: Experiment, verb: str) -> str:
    """One line that says what is removed, and how much that is."""
    paths = undone(experiment, verb)
    if not paths:
        return f"redo: {verb} has made nothing under {experiment.out} yet"
    size = sum(storage.held_bytes(path) for path in paths)
    names = dict.fromkeys(_name(path.relative_to(experiment.out)) for path in paths)
    return f"redo: {', '.join(names)}: {size:,} bytes to remove"


def _name(path: Path) -> str:
    """The path; evaluations of runs are one."""
    return f"runs/*/*/*/{path.name}" if path.parts[0] == "runs" and len(path.parts) > 1 else str(path)
