"""The items of every task, drawn and encoded once for all runs: what is packed needs no torch.

Each task has files of its own, so that one that is added later asks nothing again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eval.tasks.requests import SPLIT, TaskError, encoded, hub_requests, lm_eval_config, requests_of
from eval.tokenizer import load_tokenizer, tokenizer_digest
from filters.files import sha256_of, write_whole
from jobs.parts import storage
from jobs.parts.experiment_file import Experiment, as_tree
from jobs.parts.made_by import is_made, say_made
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.task_files import Asked, asked_tasks, items_of


@dataclass(frozen=True)
class Packed:
    """A task whose requests are encoded."""

    asked: Asked
    requests: Path
    facts: Mapping[str, Any]
    """`file`, `sha256`, `items` (in the file), `drawn`, `left_out`: of the benchmark's file."""


@dataclass(frozen=True)
class LeftOut:
    """A task that cannot be asked, and why."""

    asked: Asked
    why: str


def pack_tasks(experiment: Experiment, context: int) -> tuple[list[Packed], list[LeftOut]]:
    """Draw and encode the items of every task that is asked and not packed yet; one without its file is left out.

    ``context`` is that of the smallest model: all are asked what it can be asked.

    Raises ExperimentError where a file is damaged, of another shape, or another one than before.
    """
    found = [_packed(experiment, asked, context) for asked in asked_tasks(experiment)]
    return [one for one in found if isinstance(one, Packed)], [one for one in found if isinstance(one, LeftOut)]


def _packed(experiment: Experiment, asked: Asked, context: int) -> Packed | LeftOut:
    places, folder = Places(experiment.out), experiment.evaluate.benchmarks
    requests, facts = places.requests(asked.name), places.requests(asked.name).with_suffix(".json")
    file = None if asked.task is None or folder is None else folder / asked.task.file
    config = {
        "task": {key: value for key, value in as_tree(asked.task).items() if key != "templates"} if asked.task else "hub",
        "templates": as_tree(dict(asked.templates)),
        "items": experiment.evaluate.items,
        "context": context,
        "tokenizer": tokenizer_digest(places.tokenizer),
    }
    if file is not None and file.is_file():
        config["sha256"] = sha256_of(file)
    elif file is not None and not storage.exists(facts):
        return LeftOut(asked, f"there is no file {file}")
    elif file is not None:
        config["sha256"] = storage.read_json(facts)["sha256"]
    if not is_made(requests, config, "evaluate"):
        try:
            found, table = _read(experiment, asked, file, context)
        except TaskError as error:
            raise ExperimentError(f"evaluate.{asked.role}: {error}") from error
        storage.write_table(requests, table)
        storage.write_json(facts, {"sha256": config.get("sha256")} | found)
        say_made(requests, config)
    return Packed(asked, requests, storage.read_json(facts))


def _read(experiment: Experiment, asked: Asked, file: Path | None, context: int) -> tuple[dict[str, Any], pa.Table]:
    """Facts about a task's items, and its requests."""
    tokenizer, most = load_tokenizer(Places(experiment.out).tokenizer), experiment.evaluate.items
    if asked.task is None or file is None:
        requests, digest = hub_requests(asked.name, most)
        table = encoded(tokenizer, "harness", requests, context)
        return _facts(f"hub: {asked.name}", table) | {"sha256": digest}, table
    items = items_of(file, asked.task, asked.name, most)
    tables = []
    for name, template in asked.templates.items():
        config = lm_eval_config(f"{asked.name}_{name}", asked.task.output_type, template.model_dump(exclude_none=True))
        tables.append(encoded(tokenizer, name, requests_of(config, items.docs), context))
        skipped = set(tables[-1].filter(pc.field("skipped").is_valid())["item"].to_pylist())
        _write_for_lm_eval(experiment, config, [doc for doc in items.docs if doc["item"] not in skipped])
    table = pa.concat_tables(tables)
    return _facts(file.name, table) | {"items": items.found, "left_out": dict(items.left_out)}, table


def _facts(file: str, requests: pa.Table) -> dict[str, Any]:
    drawn = pc.count_distinct(requests["item"]).as_py()
    return {"file": file, "items": drawn, "drawn": drawn, "left_out": {}}


def _write_for_lm_eval(experiment: Experiment, config: Mapping[str, Any], docs: Sequence[Mapping[str, Any]]) -> None:
    """The items and a task file with which `lm_eval --include_path OUT/tasks --tasks TASK_TEMPLATE` asks the same."""
    folder = Places(experiment.out).tasks
    data = folder / f"{config['task']}.jsonl"
    write_whole(data, "".join(json.dumps(doc, ensure_ascii=False) + "\n" for doc in docs).encode())
    task = {**config, "dataset_path": "json", "dataset_kwargs": {"data_files": {SPLIT: str(data.resolve())}}}
    storage.write_json(folder / f"{config['task']}.yaml", task)
