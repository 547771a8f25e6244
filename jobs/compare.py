"""compare: rule sets side by side on the same pages: where they agree, which rule decides, and pages to look at.

    python -m jobs.compare CONF [--set key=value ...] [--dry-run]

`compare:` names the sets: readings of one filter, or presets. The result is `compare.json`, a section of the report. Where
there are two learned signals or more, `overlap.json` says how far they keep the same pages.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from filters.agreement import SAMPLE, Comparison, Counted, RuleSet, comparison, count, summed
from filters.levels import Level, needed
from jobs import choose
from jobs.parts import command, passes, session, storage
from jobs.parts.experiment_file import Experiment, config_hash
from jobs.parts.overlap import overlap, scorers
from jobs.parts.places import Places
from jobs.parts.pool import Columns
from jobs.parts.presets import compared_sets
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import Part, parts_of

SAMPLES = 3
SAMPLE_CHARACTERS = 300


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Compare scorers, then the rule sets that are named, and print their agreement."""
    _compare_scorers(experiment, dry_run)
    return _compare_sets(experiment, dry_run)


def _compare_scorers(experiment: Experiment, dry_run: bool) -> None:
    """Nothing to do for fewer than two."""
    lower = scorers(experiment)
    if len(lower) < 2:
        return
    if dry_run:
        print(f"compare: {', '.join(lower)}")
        return
    columns, file = Columns.find(experiment, lower), Places(experiment.out).overlap
    made_by = config_hash({"scorers": lower, "tables": columns.identities()})
    if storage.exists(file) and storage.read_json(file).get("config_hash") == made_by:
        return
    pages, spark = parts_of(columns.places.pages), session.session("compare")
    found = overlap(lower, columns, lambda work, merge: passes.merged(spark, "compare", pages, work, merge))
    storage.write_json(file, found | {"config_hash": made_by})


def _compare_sets(experiment: Experiment, dry_run: bool) -> int:
    """Nothing to do without `compare:`."""
    sets = compared_sets(experiment)
    if dry_run or not sets:
        print(f"compare: {', '.join(sets) or 'no rule sets under compare:'}")
        return command.OK
    for name, rules in sets.items():
        if not rules:
            raise ExperimentError(f"compare: the rule set {name!r} has no rules, so there is nothing to compare")
    levels = [Level(name, rules) for name, rules in sets.items()]
    columns = Columns.find(experiment, needed(levels))
    places = Places(experiment.out)
    made_by = config_hash({"sets": sets, "tables": columns.identities(), "seed": experiment.seed})
    if storage.exists(places.compared) and storage.read_json(places.compared).get("config_hash") == made_by:
        print(f"compare: {', '.join(sets)} are compared")
        return command.OK
    pages, spark = parts_of(places.pages), session.session("compare")

    def over(function: Callable[[Part], Any], merge: Callable[[Sequence[Any]], Any]) -> Any:
        return passes.merged(spark, "compare", pages, function, merge)

    decision = choose.resolved(levels, columns, over)
    counted: Counted = over(lambda part: _counted(part, columns, decision), lambda some: summed(some, SAMPLES))
    found = comparison(counted)
    storage.write_json(places.compared, _told(found, spark, pages) | {"config_hash": made_by})
    _print(found)
    return command.OK


def _counted(part: Part, columns: Columns, decision: choose.Decision) -> Counted:
    """What one part says of the sets. All pages are judged, the held-out ones too."""
    pool = columns.of(part, check=True).pages
    verdicts = [
        RuleSet(name, {decision.rules[rule].text: decision.rules[rule].passes(pool) for rule in rules})
        for name, rules in decision.levels.items()
    ]
    ids = storage.read_table(part.source, ["id"])["id"].to_pylist()
    languages = pool.columns["language"].to_pylist() if "language" in pool.columns else None
    return count(verdicts, ids, languages, SAMPLES, pool.draw(SAMPLE))


def _told(found: Comparison, spark: SparkSession, pages: Sequence[Part]) -> dict[str, Any]:
    """The comparison as JSON, with the samples' addresses and the beginning of their text."""
    wanted = sorted({page for one in found.differences for page in one.sample})

    def texts_of(part: Part) -> dict[str, dict[str, Any]]:
        texts: dict[str, dict[str, Any]] = {}
        for batch in storage.open_parquet(part.source).iter_batches(1024, columns=["id", "url", "text"]):
            rows = batch.filter(pc.is_in(batch["id"], value_set=pa.array(wanted, pa.string())))
            texts |= {row["id"]: {**row, "text": row["text"][:SAMPLE_CHARACTERS]} for row in rows.to_pylist()}
        return texts

    texts = passes.merged(spark, "compare", pages, texts_of, lambda some: {k: v for one in some for k, v in one.items()})
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
