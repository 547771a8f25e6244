"""report: an experiment's folder in, one page out; or the folders of two, one page that sets them side by side.

    python -m jobs.report CONF [--set key=value ...] [--dry-run]
    python -m jobs.report OUT1 OUT2

Writes `report.html` (self-contained), `report.md` with `report.svg` (the main figure alone), `report.json` (what that
figure is drawn from) and `report.csv` (every subset in every cell of the grid, for an appendix), and prints the levels as a
table. Whatever the earlier verbs have not done yet is said on the page. Of two folders `beside.html` and `beside.md` are
written into the second.
"""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from eval.report import beside
from eval.report.appendix import appendix
from eval.report.facts import Facts
from eval.report.page import answer, html, main_figure, markdown, terminal_table
from filters.files import write_whole
from filters.stores import at
from jobs.parts import command, storage
from jobs.parts.diagnosed import diagnosed
from jobs.parts.experiment_file import Experiment, Train, as_tree, config_hash
from jobs.parts.gathered import collect, page_ids
from jobs.parts.grid import cells
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError

OF_TASKS = ("tasks", "verdict_tasks", "items", "task_levels", "benchmarks")
"""Keys of `evaluate:` that decide nothing of the main figure."""


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Write the report of what lies under `out` now; the same folder gives the same bytes."""
    places = Places(experiment.out)
    page = places.report("html")
    if dry_run:
        print(f"report: {page}{' is there and would be written again' if storage.exists(page) else ' would be written'}")
        return command.OK
    try:
        facts = _collected(experiment.out, experiment.train)
        facts = replace(facts, name=experiment.name, primary=_primary(experiment))
    except ValueError as error:
        raise ExperimentError(str(error)) from error
    figure = main_figure(facts)
    told = {"made_by": made_by(experiment), "answer": asdict(answer(facts)), "figure": asdict(figure)}
    forms = {"html": html(facts), "md": markdown(facts), "csv": appendix(facts), "svg": figure.svg, "json": json.dumps(told)}
    for ending, text in forms.items():
        write_whole(places.report(ending), text.encode())
    print(terminal_table(facts))
    print(f"report: {page}")
    return command.OK


BESIDE_THE_FIGURE = ("out", "reuse", "scratch", "diagnostics")
"""Keys of the file that no number of the main figure hangs on."""


def made_by(experiment: Experiment) -> dict[str, Any]:
    """What decides the numbers of the main figure, wherever the experiment lies: its file, and its model by content."""
    asked = {key: value for key, value in as_tree(experiment).items() if key not in BESIDE_THE_FIGURE}
    asked["evaluate"] = {key: value for key, value in asked["evaluate"].items() if key not in OF_TASKS}
    model = asdict(cells(experiment.train)[0].size) if experiment.train else None
    return {"experiment": config_hash(asked), "model": model}


def _primary(experiment: Experiment) -> tuple[str, str] | None:
    """The two subsets of the hypothesis that the file names, the second minus the first."""
    if experiment.primary is None:
        return None
    first, second = experiment.primary.between
    return first, second


def side_by_side(first: Path, second: Path) -> int:
    """Write the page of two experiments into the second's folder and print what it says."""
    trees = [_understood(out) for out in (first, second)]
    one, other = (_facts(out, tree) for out, tree in zip((first, second), trees, strict=True))
    called = [str(tree.get("name", out)) for out, tree in zip((first, second), trees, strict=True)]
    options = [called, [first.name, second.name], [str(first), str(second)]]
    names = next((some[0], some[1]) for some in options if some[0] != some[1] or some is options[-1])
    pages = [page_ids("held_out", facts.runs) for facts in (one, other)]
    two = beside.beside(names, (one, other), bool(pages[0]) and pages[0] == pages[1])
    places = Places(second)
    for ending, text in (("html", beside.html(two)), ("md", beside.markdown(two))):
        write_whole(places.beside(ending), text.encode())
    print(beside.terminal_text(two))
    print(f"report: {places.beside('html')}")
    return command.OK


def _understood(out: Path) -> dict[str, Any]:
    """The experiment file as it was understood when the folder was made. Raises ExperimentError."""
    file = Places(out).experiment
    if not storage.exists(file):
        raise ExperimentError(f"there is no {file}: name the out: of two experiments that jobs.experiment has run")
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    return tree if isinstance(tree, dict) else {}


def _facts(out: Path, tree: dict[str, Any]) -> Facts:
    try:
        return _collected(out, Train.model_validate(tree["train"]) if tree.get("train") else None)
    except (ValidationError, ValueError) as error:
        raise ExperimentError(f"{Places(out).experiment} cannot be read: {error}") from error


def _collected(out: Path, train: Train | None) -> Facts:
    """What there is: judged are the runs of the first model at the first budget and learning rate."""
    grid = cells(train) if train else []
    first = grid[0] if grid else None
    facts = collect(out, first.folder if first else None, first.size.context if first else 0, grid)
    if first is None:
        return facts
    found, missing = diagnosed(out, first.folder, facts)
    return replace(facts, diagnosed=found, missing=tuple(dict.fromkeys([*facts.missing, *missing])))


def run(arguments: list[str]) -> int:
    """The page of one experiment file, or that of two folders."""
    if len(arguments) != 2 or any(given.startswith("-") for given in arguments):
        return command.run(main, __doc__, arguments)
    try:
        return side_by_side(*map(at, arguments))
    except (ExperimentError, ValueError) as error:
        return command.tell(error, command.REFUSED)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
