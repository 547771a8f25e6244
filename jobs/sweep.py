"""sweep: signals in, what every level of a sweep would keep out, without reading or writing any text.

    python -m jobs.sweep CONF [--set key=value ...] [--dry-run]

One pass over the signal columns gives, of all levels at once, their sizes, what each rule drops, how levels overlap, and
what they keep of each domain, language or tenth of a signal; a few before it find thresholds and the names of slices. The
tables are in sweep/ under `out:`, each as parquet and as CSV (docs/choosing.md).
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from operator import add
from typing import Any

import pyarrow as pa
from pyarrow import csv

from filters.files import write_whole
from filters.levels import BESIDE, Level, needed
from filters.rules import Rule, bounds_of_tenths, leaves, tenths_signals
from filters.slicing import Frequent, Slicing, names_of, shown
from filters.slicing import counted as count_names
from filters.survey import Asked, Survey
from filters.verdicts import Tally
from jobs import choose
from jobs.parts import command, matching, passes, session, storage
from jobs.parts.breadth import breadths
from jobs.parts.experiment_file import Experiment, as_tree, config_hash
from jobs.parts.places import Places
from jobs.parts.pool import Columns, Over, cuts_over
from jobs.parts.presets import levels_of
from jobs.parts.refusals import ExperimentError
from jobs.parts.sweep_tables import Counted, tables
from jobs.parts.table import Part, parts_of, signal_tables

FACTS = "sweep.json"
"""Written last: what the tables were made from, and the alarms."""
SHOWN_LEVELS = 40
VALUES = {"in", "not_in", "is", "null"}
"""Conditions of a signal that is sliced by its values; all others have numbers."""


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Survey the levels of the sweep, unless that is done, and print their sizes and the alarms."""
    levels = [level for level in levels_of(experiment) if level.of is None and level.control not in BESIDE]
    if dry_run:
        print(f"sweep: {len(levels):,} levels: {', '.join(level.name for level in levels[:SHOWN_LEVELS])}")
        return command.OK
    places = Places(experiment.out)
    columns = Columns.find(experiment, needed(levels) | {"domain"} | set(_targets(experiment)))
    made_by = {
        "levels": {level.name: as_tree(level.rules) for level in levels},
        "tables": columns.identities(),
        "seed": experiment.seed,
        "budget": as_tree(experiment.budget),
        "train": experiment.train.tokens if experiment.train else None,
        **matching.config(experiment, levels),
    }
    facts = places.sweep_tables / FACTS
    if not storage.exists(facts) or storage.read_json(facts)["config_hash"] != config_hash(made_by):
        storage.remove(facts)
        found = tables(_count(experiment, levels, columns))
        for name, table in found.items():
            storage.write_table(places.sweep_tables / f"{name}.parquet", table)
            write_whole(places.sweep_tables / f"{name}.csv", _csv(table))
        told = {"config": made_by, "config_hash": config_hash(made_by), "tables": sorted(found)}
        storage.write_json(facts, told)
    _print(places)
    return command.OK


def _targets(experiment: Experiment) -> list[str]:
    """The signals that say how much more likely a page is in a target corpus than in the crawl, where they are measured."""
    where = signal_tables(experiment.out)
    asked = {name: one for name, one in experiment.classifiers.items() if one.kind == "importance"}
    return [signal for name, one in asked.items() for signal in one.options.columns(name) if signal in where]


def _count(experiment: Experiment, levels: Sequence[Level], columns: Columns) -> Counted:
    """The counts over all pages that may be chosen."""
    spark, pages = session.session("sweep"), parts_of(columns.places.pages)

    def over(function: Callable[[Part], Any], merge: Callable[[Sequence[Any]], Any]) -> Any:
        return passes.merged(spark, "sweep", pages, function, merge)

    decision = choose.resolved(levels, columns, over)
    if experiment.match:
        plain = over(lambda part: _tally(part, columns, decision), lambda some: reduce(add, some))
        decision = choose.matched(experiment, decision, plain, columns, over)
    asked = leaves(one.rule for one in decision.rules)
    numbers = sorted({leaf.signal for leaf in asked if set(leaf.conditions) - VALUES})
    sliced = dict.fromkeys(["text_bytes", *numbers, *tenths_signals(asked)])
    tenths = bounds_of_tenths(sliced, partial(cuts_over, columns, over))
    by_tenths = [Slicing(signal, bounds=bounds) for signal, bounds in tenths.items()]
    slicings = [*_by_name(asked, columns, over), *by_tenths]
    wanted = Asked(decision.rules, list(decision.levels.values()), slicings, numbers, _targets(experiment), columns.weights)

    def survey(part: Part) -> Survey:
        pool = columns.of(part, check=True).chosen_from()
        bits = decision.failing(pool)
        return wanted.survey(pool, bits, decision.tally(pool, bits, columns.weights))

    found: Survey = over(survey, lambda some: reduce(add, some))
    if not found.tally.all_pages[0]:
        raise ExperimentError(f"{columns.places.pages} has no pages that may be chosen: none was read, or all are held out")
    return Counted(experiment, levels, wanted, found, breadths(decision.rules, decision.levels, columns, over))


def _tally(part: Part, columns: Columns, decision: choose.Decision) -> Tally:
    pool = columns.of(part).chosen_from()
    return decision.tally(pool, decision.failing(pool), columns.weights)


def _by_name(rules: Sequence[Rule], columns: Columns, over: Over) -> list[Slicing]:
    """Slices by domain, its ending, language, the signals that rules take values of, and the columns they cut within."""
    have = {signal for some in columns.tables.values() for signal in some}
    texts = {leaf.signal for leaf in rules if not set(leaf.conditions) - VALUES} | ({"language"} & have)
    texts |= {one for leaf in rules for one in leaf.groupings if isinstance(one, str)}
    named = ["domain", "tld", *sorted(texts - {"domain"})]
    few = columns.only({"domain", *texts})

    def frequent(part: Part) -> tuple[dict[str, Frequent], int]:
        pool = few.of(part).chosen_from()
        return {name: Frequent.of(names_of(pool, name)) for name in named}, len(pool)

    def together(some: Sequence[tuple[dict[str, Frequent], int]]) -> tuple[dict[str, Frequent], int]:
        return {name: reduce(add, [one[name] for one, _ in some]) for name in named}, sum(pages for _, pages in some)

    found, pages = over(frequent, together)
    exact = _exactly({name: list(one.pages) for name, one in found.items() if one.missed}, few, over)
    return [Slicing(name, shown(exact.get(name, one.pages), one.missed, pages)) for name, one in found.items()]


def _exactly(candidates: Mapping[str, Sequence[str]], columns: Columns, over: Over) -> dict[str, dict[str, int]]:
    """The pages of each candidate, where some were missed."""
    if not candidates:
        return {}

    def count(part: Part) -> dict[str, dict[str, int]]:
        pool = columns.of(part).chosen_from()
        return {name: count_names(names_of(pool, name), some) for name, some in candidates.items()}

    def together(some: Sequence[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
        return {name: {one: sum(part[name][one] for part in some) for one in of} for name, of in candidates.items()}

    found: dict[str, dict[str, int]] = over(count, together)
    return found


def _csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    csv.write_csv(table, sink)
    return sink.getvalue()


def _print(places: Places) -> None:
    """A line for each level, the alarms, and where the tables are."""
    levels = storage.read_table(places.sweep_tables / "levels.parquet").to_pylist()
    for row in levels[:SHOWN_LEVELS]:
        epochs = "" if row["epochs"] is None else f"  {row['epochs']:,.2f} epochs"
        share = row["share_of_pages"] or 0.0
        print(f"sweep: {row['level']:<40} {row['pages']:>12,} pages {share:6.1%} {row['bytes']:>16,} bytes{epochs}")
    if len(levels) > SHOWN_LEVELS:
        print(f"sweep: and {len(levels) - SHOWN_LEVELS:,} more levels")
    for row in storage.read_table(places.sweep_tables / "alarms.parquet").to_pylist():
        print(f"sweep: alarm: {row['sentence']}")
    print(f"sweep: the tables are in {places.sweep_tables}", flush=True)


if __name__ == "__main__":
    command.main(main, __doc__)
