"""compare: rule sets side by side on the same pages: where they agree, which rule decides, and pages to look at.

    python -m jobs.compare CONF [--set key=value ...] [--dry-run]

`compare:` names the sets: readings of one filter, or presets. The result is `compare.json`, a section of the report.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.agreement import Comparison, RuleSet, compare
from filters.files import write_whole
from filters.levels import Level
from filters.rules import parse, resolve_in
from jobs import choose
from jobs.parts import command, storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.places import Places
from jobs.parts.presets import compared_sets
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import parts_of

SAMPLES = 3
SAMPLE_CHARACTERS = 300


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Compare the rule sets and print their agreement; nothing to do without `compare:`."""
    sets = compared_sets(experiment)
    if dry_run or not sets:
        print(f"compare: {', '.join(sets) or 'no rule sets under compare:'}")
        return command.OK
    levels = [Level(name, rules) for name, rules in sets.items()]
    pool = choose.gather(experiment, levels).pool
    verdicts = [
        RuleSet(level.name, {rule.text: rule.passes(pool) for rule in resolve_in(pool, parse(level.rules))})
        for level in levels
    ]
    languages = pool.columns["language"].to_pylist() if "language" in pool.columns else None
    try:
        found = compare(verdicts, pool.ids, languages, SAMPLES, experiment.seed)
    except ValueError as error:
        raise ExperimentError(f"compare: {error}") from error
    told = json.dumps(_told(found, experiment), indent=1) + "\n"
    write_whole(Places(experiment.out).compared, told.encode())
    _print(found)
    return command.OK


def _told(found: Comparison, experiment: Experiment) -> dict[str, Any]:
    """The comparison as JSON, with the samples' addresses and the beginning of their text."""
    wanted = sorted({page for one in found.differences for page in one.sample})
    texts: dict[str, dict[str, Any]] = {}
    for part in parts_of(Places(experiment.out).pages):
        for batch in storage.open_parquet(part.source).iter_batches(1024, columns=["id", "url", "text"]):
            rows = batch.filter(pc.is_in(batch["id"], value_set=pa.array(wanted, pa.string())))
            texts |= {row["id"]: {**row, "text": row["text"][:SAMPLE_CHARACTERS]} for row in rows.to_pylist()}
    told: dict[str, Any] = asdict(found)
    told["agreement"] = [[None if math.isnan(share) else share for share in row] for row in found.agreement.tolist()]
    told["unanimous"] = None if math.isnan(found.unanimous) else found.unanimous
    for one in told["differences"]:
        one["sample"] = [texts[page] for page in one["sample"]]
    return told


def _print(found: Comparison) -> None:
    """The share of pages each set keeps, and the share on which each pair agrees."""
    widest = max(map(len, found.names))
    print(f"compare: {found.pages:,} pages; the sets agree on {found.unanimous:.1%} of them")
    kept: Mapping[str, float] = dict(zip(found.names, np.array(found.kept) / max(found.pages, 1), strict=True))
    for name, row in zip(found.names, found.agreement, strict=True):
        shares = "  ".join(f"{share:6.1%}" for share in row)
        print(f"  {name:<{widest}}  keeps {kept[name]:6.1%}  agrees with {shares}")


if __name__ == "__main__":
    command.main(main, __doc__)
