"""Tasks: what conf/tasks/ says of each, and the benchmark files of others that their items are read from.

The files come as their authors or others publish them; nothing of them is kept but the items that are drawn. An item's draw
is decided by its place in its file and by nothing of the experiment, so that two experiments ask the same.
"""

import csv
import io
import itertools
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import zstandard
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from classifiers.kinds import Options
from eval.tasks.requests import Doc, drawn
from filters.nearest import nearest
from filters.strict_yaml import YamlError, read_yaml_file
from jobs.parts.contaminated import OPENERS
from jobs.parts.experiment_file import Experiment
from jobs.parts.refusals import ExperimentError
from jobs.parts.session import HOME

TASKS = HOME / "conf" / "tasks"
ROLES = ("tasks", "verdict_tasks")
"""The keys of `evaluate:` that name tasks."""
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, zstandard.ZstdError, csv.Error)


class Template(Options):
    """One way to put an item to a model, in the keys of lm-eval; the answer stands after a space."""

    doc_to_text: str
    """What stands before the answer, or which of several texts is the right one."""
    doc_to_choice: str | list[str] | None = None
    """The answers, or the texts before an answer that they share."""
    doc_to_target: str | int
    """Which answer is right, or the answer itself."""


class TaskFile(Options):
    """A file of conf/tasks/: where the items of a task are, and how they are asked."""

    file: str
    """Its name in the folder of benchmarks."""
    shape: Literal["jsonl", "csv", "zip", "hellaswag_text"] = "jsonl"
    """How it is read; a zip holds files of JSON lines."""
    fields: list[str] = Field(min_length=1)
    """What every item has."""
    only: dict[str, str] = Field(default={})
    """Field -> what it must begin with, as a regular expression; other items are left out and counted."""
    groups: str | None = None
    """The field that says what an item is a kind of: as many items of each kind are drawn."""
    output_type: Literal["multiple_choice", "loglikelihood"] = "multiple_choice"
    """Whether there are answers to choose from."""
    chance: float
    """The accuracy of who guesses."""
    metric: Literal["accuracy", "accuracy_normalised", "bits_per_byte", "probability_per_character"]
    """What is worth looking at for models of the sizes here."""
    templates: dict[str, Template] = Field(min_length=1)
    """Ways to ask, the one that counts first."""

    @model_validator(mode="after")
    def _compile(self) -> Self:
        for pattern in self.only.values():
            re.compile(pattern)
        return self


@dataclass(frozen=True)
class Asked:
    """One entry of `evaluate.tasks` or `evaluate.verdict_tasks`."""

    name: str
    role: str
    hub: bool
    templates: Mapping[str, Template]
    task: TaskFile | None
    """None for a task of the hub, which lm-eval knows."""


class Items(NamedTuple):
    """What was drawn from a file, how many items it has, and how many were left out by reason."""

    docs: list[Doc]
    found: int
    left_out: Mapping[str, int]


def known() -> list[str]:
    """The names of the tasks in conf/tasks/."""
    return sorted(file.stem for file in TASKS.glob("*.yaml"))


def read_task(name: str) -> TaskFile:
    """A task of conf/tasks/, or of the YAML file of this name. Raises ExperimentError."""
    file = Path(name) if name.endswith(".yaml") else TASKS / f"{name}.yaml"
    if not file.is_file():
        raise ExperimentError(f"there is no task {name!r}: {nearest(name, known())}")
    try:
        return TypeAdapter(TaskFile).validate_python(read_yaml_file(file))
    except YamlError as error:
        raise ExperimentError(str(error)) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ExperimentError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def asked_tasks(experiment: Experiment) -> list[Asked]:
    """Every task that the experiment asks for. Raises ExperimentError for what is not known, named twice or has no file."""
    found: list[Asked] = []
    for role in ROLES:
        for entry in getattr(experiment.evaluate, role):
            one = _asked(entry, role)
            if one.name in {other.name for other in found}:
                raise ExperimentError(f"evaluate.{role}: {one.name} is asked twice: a task tunes or decides, not both")
            found.append(one)
    local = next((one for one in found if not one.hub), None)
    if local and experiment.evaluate.benchmarks is None:
        raise ExperimentError(
            f"evaluate.{local.role}: {local.name} is read from a file: name its folder with evaluate.benchmarks, or take a "
            "task of the hub with {hub: NAME}"
        )
    return found


def _asked(entry: str | Mapping[str, Any], role: str) -> Asked:
    name, chosen = (entry, None) if isinstance(entry, str) else next(iter(entry.items()))
    if name == "hub":
        return Asked(str(chosen), role, True, {}, None)
    try:
        task = read_task(name)
    except ExperimentError as error:
        raise ExperimentError(f"evaluate.{role}: {error}") from error
    for template in chosen or ():
        if template not in task.templates:
            raise ExperimentError(
                f"evaluate.{role}: {name} has no template {template!r}: {nearest(template, list(task.templates))}"
            )
    templates = {one: task.templates[one] for one in chosen or task.templates}
    return Asked(Path(name).stem if name.endswith(".yaml") else name, role, False, templates, task)


def items_of(file: Path, task: TaskFile, name: str, most: int) -> Items:
    """At most so many items of a benchmark's file, each with its fields, `item` (its id) and `group` (or None).

    Raises ExperimentError where the file is damaged or of another shape.
    """
    docs: list[Doc] = []
    left_out: Counter[str] = Counter()
    try:
        for place, row in SHAPES[task.shape](file):
            doc = {field: _field(row, field, file, place) for field in task.fields}
            failed = next((field for field, begin in task.only.items() if not re.match(begin, str(doc[field]))), None)
            if failed:
                left_out[f"its {failed} is not one that is asked for"] += 1
            else:
                docs.append(doc | {"item": place, "group": str(doc[task.groups]) if task.groups else None})
    except ExperimentError:
        raise
    except UNREADABLE as error:
        raise ExperimentError(f"the benchmark file {file} cannot be read as {task.shape}: {error}") from error
    if not docs:
        raise ExperimentError(f"the benchmark file {file} has no items")
    return Items(drawn(docs, most, name), len(docs) + left_out.total(), left_out)


def _field(row: Any, field: str, file: Path, place: str) -> Any:
    if not isinstance(row, dict):
        raise ExperimentError(f"{file}, {place}: expected a mapping with {field}, got {str(row)[:60]!r}")
    if field not in row:
        raise ExperimentError(f"{file}, {place}: there is no field {field!r}: {nearest(field, [str(key) for key in row])}")
    return row[field]


def _lines(file: Path) -> Iterator[str]:
    with OPENERS.get(file.suffix, open)(file, "rt", encoding="utf-8", newline="") as lines:
        yield from lines


def _jsonl(file: Path) -> Iterator[tuple[str, Any]]:
    for at, line in enumerate(_lines(file), 1):
        if line.strip():
            yield f"line {at}", json.loads(line)


def _csv(file: Path) -> Iterator[tuple[str, Any]]:
    """Rows by the names of their columns, in small letters with `_` for spaces."""
    rows = csv.DictReader(_lines(file))
    for at, row in enumerate(rows, 1):
        yield f"row {at}", {str(name).strip().lower().replace(" ", "_"): value for name, value in row.items()}


def _zip(file: Path) -> Iterator[tuple[str, Any]]:
    """JSON lines of every file in it, but for what a Mac leaves in archives."""
    with zipfile.ZipFile(file) as archive:
        names = [one for one in archive.namelist() if one.endswith(".jsonl") and not one.startswith("__MACOSX/")]
        for name in sorted(names):
            kind = Path(name).stem
            with archive.open(name) as lines:
                for at, line in enumerate(io.TextIOWrapper(lines, encoding="utf-8"), 1):
                    if line.strip():
                        yield f"{kind}, line {at}", json.loads(line)


def _hellaswag_text(file: Path) -> Iterator[tuple[str, Any]]:
    """Six lines an item: a description, which ending is right, four endings.

    The descriptions of videos break off in a sentence that the harness begins with a capital letter and this form of the
    data with a small one; those of articles end with a sentence.
    """
    lines = (line.rstrip("\n") for line in _lines(file))
    for at in itertools.count(1):
        item = list(itertools.islice(lines, 6))
        if not any(item):
            return
        if len(item) < 6 or item[1] not in ("0", "1", "2", "3"):
            raise ValueError(f"item {at} is not a description, a number from 0 to 3 and four endings")
        yield f"item {at}", {"query": _begun(item[0]), "gold": int(item[1]), "choices": item[2:]}


def _begun(text: str) -> str:
    """The text, its last sentence begun with a capital letter where it breaks off."""
    whole, stop, last = text.rpartition(". ")
    return text if text.endswith((".", "!", "?")) else f"{whole}{stop}{last.capitalize()}"


SHAPES: Mapping[str, Callable[[Path], Iterator[tuple[str, Any]]]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "zip": _zip,
    "hellaswag_text": _hellaswag_text,
}
"""How a file is read: (place, row) of every item."""
