"""Tasks of an experiment: what each run answers, found once, and what that amounts to."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from eval.plan import RunConfig
from eval.side_by_side import Work
from eval.tasks.answers import Answering, OtherAnswers, unanswered
from eval.tasks.items import METRICS, means
from eval.tasks.signal_to_noise import signal_to_noise
from jobs.parts import storage
from jobs.parts.contaminated_levels import contaminated
from jobs.parts.experiment_file import Experiment
from jobs.parts.packed_tasks import Packed, pack_tasks
from jobs.parts.places import Places
from jobs.parts.presets import levels_of
from jobs.parts.refusals import made_by_another
from jobs.parts.scratch_runs import answer_on_scratch
from jobs.parts.spread import carry_out

ALL = "all"
"""What the mean over templates is called."""


class Run(NamedTuple):
    """A trained run, the SHA-256 of its model, and what every row about it says."""

    config: RunConfig
    model: str
    about: Mapping[str, Any]


def evaluate_tasks(experiment: Experiment, runs: Sequence[Run], context: int) -> list[dict[str, Any]]:
    """Put every task to every run that has not answered it; rows for results.jsonl, and which tasks tell levels apart.

    Raises ExperimentError as `pack_tasks` does, and where another model has answered.
    """
    packed, left_out = pack_tasks(experiment, context)
    if left_out:
        each = "; ".join(f"{one.asked.name}: {one.why}" for one in left_out)
        print(f"evaluate: {len(left_out)} of {len(packed) + len(left_out)} tasks are left out: {each}", flush=True)
    to_do = [left for run in runs if (left := _unanswered(experiment, run, packed))]
    if to_do and experiment.train:
        work = Work("tasks", answer_on_scratch, "token", lambda one: one.tokens, lambda one: one.run.label)
        carry_out(work, to_do, experiment.train.device)
    columns = {one.asked.name: column for one in packed if (column := _contamination(experiment, one))}
    subsets = list(dict.fromkeys(run.config.subset for run in runs))
    held = contaminated(experiment, list(columns.values()), subsets)
    facts = {one.asked.name: _about(one, held.get(columns.get(one.asked.name, ""))) for one in packed}
    rows = [row for run in runs for one in packed for row in _rows(experiment, run, one, facts[one.asked.name])]
    for trained, some in _by_model(runs).items():
        for one in packed:
            facts[one.asked.name]["by_model"][trained] = _worth(experiment, trained, some, one)
        _tell(trained, facts)
    if packed or left_out:
        missing = {one.asked.name: {"role": one.asked.role, "missing": one.why} for one in left_out}
        storage.write_json(Places(experiment.out).task_facts, facts | missing)
    return rows


def _unanswered(experiment: Experiment, run: Run, packed: Sequence[Packed]) -> Answering | None:
    requests = {one.asked.name: one.requests for one in packed}
    try:
        return unanswered(run.config, run.model, requests, lambda task: _items(experiment, run.config, task))
    except OtherAnswers as error:
        raise made_by_another(error.file, error.found, error.wanted, "evaluate") from error


def _items(experiment: Experiment, config: RunConfig, task: str) -> Path:
    return Places(experiment.out).items(config.subset, config.out.parent.name, config.replicate, task)


def _rows(experiment: Experiment, run: Run, one: Packed, facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What one run scores in a task: each template and metric, and the mean of templates with their standard deviation."""
    items = storage.read_table(_items(experiment, run.config, one.asked.name))
    found = {template: means(items, template) for template in one.asked.templates or ("harness",)}
    scored = {template: values for template, values in found.items() if values}
    for template in (*scored, ALL) if scored else ():
        here = items if template == ALL else items.filter(pc.field("template") == template)
        for metric in METRICS:
            each = [scored[name][metric] for name in (scored if template == ALL else [template])]
            yield {
                "subset": run.config.subset,
                "replicate": run.config.replicate,
                "metric": metric,
                "set": one.asked.role,
                "task": one.asked.name,
                "template": template,
                "value": float(np.mean(each)),
                "templates_deviation": float(np.std(each, ddof=1)) if len(each) > 1 else None,
                "n": here["skipped"].null_count,
                "skipped": len(here) - here["skipped"].null_count,
                "cut": pc.sum(pc.greater(here["cut"], 0)).as_py() or 0,
                "bytes": pc.sum(here["bytes"]).as_py(),
                "chance": facts["chance"],
                "counts_by": facts["metric"],
                "benchmark": one.facts["file"],
                "benchmark_sha256": one.facts["sha256"],
                "contaminated": (facts["contaminated"] or {}).get(run.config.subset),
                **run.about,
            }


def _contamination(experiment: Experiment, one: Packed) -> str | None:
    """The signal that looks for this benchmark's file in pages, if any does."""
    task, folder = one.asked.task, experiment.evaluate.benchmarks
    if experiment.contamination is None or task is None or folder is None:
        return None
    file = (folder / task.file).resolve()
    looked_for = (other for other in experiment.contamination.benchmarks if other.file.resolve() == file)
    return next((f"contamination_{other.called}" for other in looked_for), None)


def _about(one: Packed, held: Mapping[str, float | None] | None) -> dict[str, Any]:
    """What is known of a task whatever model answers it; `held`: the share of each subset's pages with text of it."""
    task = one.asked.task
    return {
        "role": one.asked.role,
        "chance": task.chance if task else None,
        "metric": task.metric if task else "bits_per_byte",
        "templates": list(one.asked.templates) or ["harness"],
        "contaminated": held,
        "by_model": {},
        **one.facts,
    }


def _by_model(runs: Sequence[Run]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.config.out.parent.name, []).append(run)
    return found


def _worth(experiment: Experiment, trained: str, runs: Sequence[Run], one: Packed) -> dict[str, Any]:
    """How well a task tells the levels apart by each metric, how many items were skipped and why, and cut."""
    levels = [level.name for level in levels_of(experiment) if level.control in (None, "unfiltered")]
    files = {(run.config.subset, run.config.replicate): _items(experiment, run.config, one.asked.name) for run in runs}
    tables = {key: storage.read_table(file) for key, file in files.items()}
    there = [level for level in levels if any(subset == level for subset, _ in tables)]
    replicates = [number for number in {key[1] for key in tables} if all((level, number) in tables for level in there)]
    any_table = next(iter(tables.values()))
    worth: dict[str, Any] = {
        "skipped": dict(Counter(why for why in any_table["skipped"].to_pylist() if why)),
        "cut": pc.sum(pc.greater(any_table["cut"], 0)).as_py() or 0,
        "levels": there,
        "replicates": sorted(replicates),
    }
    templates = [name for name in one.asked.templates or ("harness",) if means(any_table, name)]
    if not (templates and there and replicates):
        return worth
    scores = {key: [means(table, template) for template in templates] for key, table in tables.items()}
    for metric in METRICS:
        cube = [
            [[scores[level, number][at][metric] for number in sorted(replicates)] for level in there]
            for at in range(len(templates))
        ]
        if found := signal_to_noise(np.array(cube)):
            worth[metric] = asdict(found) | {"ratio": found.ratio, "counts": found.counts}
    return worth


def _tell(trained: str, facts: Mapping[str, Any]) -> None:
    """Which tasks tell levels apart, the best first, and which items were skipped."""
    for name, about in facts.items():
        for why, number in about["by_model"][trained]["skipped"].items():
            print(f"evaluate: {trained}: {name}: {number:,} questions are skipped: {why}")
    found = {
        name: about["by_model"][trained][about["metric"]]
        for name, about in facts.items()
        if about["role"] == "tasks" and about["metric"] in about["by_model"][trained]
    }
    ranked = sorted((name for name in found if found[name]["ratio"] is not None), key=lambda name: -found[name]["ratio"])
    for counts, say in ((True, "tell levels apart"), (False, "do not")):
        told = [f"{name} {found[name]['ratio']:.1f}" for name in ranked if found[name]["counts"] == counts]
        if told:
            print(f"evaluate: {trained}: tasks that {say}, by signal over noise: {', '.join(told)}", flush=True)
