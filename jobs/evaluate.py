"""evaluate: runs and the pages nothing was trained on in, bits per byte out.

    python -m jobs.evaluate CONF [--set key=value ...] [--dry-run]

Each run writes what every evaluated page costs it (`evaluation.parquet`); `results.jsonl` sums that up by set, and by
stratum or the largest domains: `held_out` are pages that pass the rules which all levels share, `pool` are pages as they
come, `reference` are good texts. What is measured to tell why levels differ has sets of its own
(`jobs.parts.diagnostics`). Tasks are scored item by item (`results/items/`) and summed up there too.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from eval.bits_per_byte import bits_per_byte
from eval.evaluation import Evaluation, evaluations
from eval.plan import RunConfig
from eval.runs import MEASURE
from eval.training import RunSummary
from filters.files import write_whole
from filters.levels import CONTROLS
from jobs.parts import command, diagnostics, storage
from jobs.parts.evaluated import SETS, write_evaluated
from jobs.parts.experiment_file import Experiment, config_hash
from jobs.parts.grid import asked_of, cells, names_beside, permuted, runs, smallest_context
from jobs.parts.places import Places
from jobs.parts.presets import levels_of
from jobs.parts.refusals import ExperimentError
from jobs.parts.scratch_runs import evaluate_on_scratch
from jobs.parts.spread import carry_out
from jobs.parts.table import code_version
from jobs.parts.tasks import Run, evaluate_tasks
from jobs.train import finished, unfinished

DOMAIN_SHARE = 0.01
"""A domain with at least this share of the bytes is shown by itself."""
MOST_DOMAINS = 8


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Evaluate the finished runs that are not evaluated yet, then write results.jsonl from all of them."""
    if not dry_run:
        write_evaluated(experiment)
    asked = runs(experiment, dry_run)
    untrained = unfinished(asked, dry_run) if dry_run else []
    measured = _evaluations(experiment, [run for run in asked if run not in untrained])
    to_do = [one for one in measured if not one.is_made()]
    if dry_run:
        left = len({one.run.out for one in to_do}) + len(untrained)
        print(f"evaluate: {len(asked)} runs; {len(asked) - left} done, {left} to evaluate")
        return command.OK
    if to_do and experiment.train:
        carry_out(replace(MEASURE, function=evaluate_on_scratch), to_do, experiment.train.device)
    models, late = ([one for one in measured if (one.step is None) == final] for final in (True, False))
    rows = [row for one in models for row in _results(one, experiment)]
    rows += [row for one in late for row in _late(one, experiment)]
    rows += _diagnosed(models, experiment)
    results = Places(experiment.out).results
    _write(results, rows)  # which level is best, tasks may have to know
    if experiment.train and models:
        rows += evaluate_tasks(experiment, _tested(experiment, models), smallest_context(experiment.train))
    _write(results, rows)
    print(f"evaluate: {len(rows):,} measurements of {len(models)} runs in {results}")
    return command.OK


def _write(results: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_whole(results, "".join(json.dumps(row) + "\n" for row in rows).encode())


def _tested(experiment: Experiment, measured: Sequence[Evaluation]) -> list[Run]:
    """The runs that are asked tasks."""
    if experiment.train is None:
        return []
    beside = {*names_beside(experiment), *permuted(experiment)}
    there = {one.run.subset: None for one in measured if one.run.subset not in beside}
    asked = {cell.folder: asked_of(experiment, experiment.train, cell, list(there)) for cell in cells(experiment.train)}
    return [
        Run(one.run, str(one.summary.model_sha256), _about(one, experiment))
        for one in measured
        if one.run.subset in asked[one.run.out.parent.name]
    ]


def _evaluations(experiment: Experiment, asked: Sequence[RunConfig]) -> list[Evaluation]:
    pages = Places(experiment.out).evaluated
    if not storage.exists(pages):
        raise ExperimentError(f"{pages} is missing: run jobs.pack first")
    found: list[tuple[RunConfig, RunSummary]] = []
    for run in asked:
        summary = finished(run)
        if summary is None:
            raise ExperimentError(f"the run {run.label} is not trained: run jobs.train first")
        found.append((run, summary))
    kinds = {summary.kind_of_device: run for run, summary in found}
    if len(kinds) > 1:
        each = " and ".join(f"{run.label} on {kind}" for kind, run in sorted(kinds.items()))
        raise ExperimentError(
            f"runs of several kinds of device do not compare: {each}; remove those of one kind and train again"
        )
    return list(evaluations(found, pages))


def _about(one: Evaluation, experiment: Experiment) -> dict[str, Any]:
    """What every measurement of a run says of it."""
    return {
        "size": one.run.model,
        "trained": one.run.out.parent.name,
        "learning_rate": one.run.size.learning_rate,
        "tokens_trained": one.summary.tokens,
        "parameters": one.summary.parameters,
        "device": one.summary.device,
        "commit": code_version(),
        "config_hash": config_hash(experiment),
    }


def _results(one: Evaluation, experiment: Experiment) -> Iterator[dict[str, Any]]:
    """One row per set and stratum, or domain where there are no strata; all of them together, and the mean over strata."""
    rows, about = storage.read_table(one.file), _about(one, experiment)
    domains = np.array([domain or "no domain" for domain in rows["site"].to_pylist()], object)
    strata = np.array(rows["stratum"].to_pylist(), object)
    nll, size = rows["nll"].to_numpy(), rows["bytes"].to_numpy()
    for name, (which, column) in SETS.items():
        here = pc.and_(pc.equal(rows["set"], which), rows[column]).to_numpy()
        if not here.any():
            continue
        parts = sorted(set(strata[here]))
        for group, mask in _groups(domains if len(parts) == 1 else strata, size, here).items():
            yield _row(one, name, group, bits_per_byte(nll[mask], size[mask]), mask, size) | about
        each = [bits_per_byte(nll[here & (strata == part)], size[here & (strata == part)]) for part in parts]
        yield _row(one, name, "macro", float(np.mean(each)), here, size) | about


def _late(one: Evaluation, experiment: Experiment) -> Iterator[dict[str, Any]]:
    """What decides of the weights of a late step: the mean over strata."""
    for row in _results(one, experiment):
        if (row["set"], row["domain"]) == ("held_out", "macro"):
            yield row | {"set": diagnostics.LATE, "step": one.step}


def _diagnosed(models: Sequence[Evaluation], experiment: Experiment) -> list[dict[str, Any]]:
    """The models by how often they read what, and those that are no controls on what each level would keep."""
    if not models:
        return []
    controls = {level.name for level in levels_of(experiment) if level.control in CONTROLS}
    kept, pages = diagnostics.write_kept(experiment), diagnostics.judged_pages(experiment)
    found = []
    for one in models:
        exposed = storage.read_table(one.exposure)
        rows = [*diagnostics.by_exposure(exposed), *diagnostics.least_seen(exposed, pages)]
        if one.run.subset not in controls:
            rows += diagnostics.matrix(storage.read_table(one.file), kept)
        about = {"subset": one.run.subset, "replicate": one.run.replicate}
        found += [about | row | _about(one, experiment) for row in rows]
    return found


def _groups(
    domains: npt.NDArray[np.object_], size: npt.NDArray[np.int64], here: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[np.bool_]]:
    """All pages of a set, then its largest domains, then the others together."""
    held: Counter[str] = Counter()
    for domain in sorted(set(domains[here])):
        held[domain] = int(size[here & (domains == domain)].sum())
    shown = [domain for domain, held_bytes in held.most_common(MOST_DOMAINS) if held_bytes >= DOMAIN_SHARE * held.total()]
    groups = {"all": here} | {domain: here & (domains == domain) for domain in shown}
    others = here & ~np.isin(domains, np.array(shown, object))
    return groups | ({"other": others} if others.any() else {})


def _row(
    one: Evaluation, name: str, group: str, value: float, mask: npt.NDArray[np.bool_], size: npt.NDArray[np.int64]
) -> dict[str, Any]:
    return {
        "subset": one.run.subset,
        "replicate": one.run.replicate,
        "metric": "bits_per_byte",
        "set": name,
        "domain": group,
        "value": value,
        "n": int(mask.sum()),
        "bytes": int(size[mask].sum()),
    }


if __name__ == "__main__":
    command.main(main, __doc__)
