"""choose: signals in, one subset per level of the sweep and per control out.

    python -m jobs.choose CONF [--set key=value ...] [--write] [--dry-run]

Choosing reads signal columns only and all levels share one pass; they are a few bytes per page, so they are taken to the
driver, where a quantile is exact. What every rule says of every page is written to verdicts/; the pages that a subset keeps
are then written, part by part, as text.
"""

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters.levels import CONTROLS, Level, kept_by_control, needed
from filters.rules import Pool, Resolved, parse, resolve
from filters.signals import load_groups, nearest
from filters.split import copies_of
from filters.transforms import apply_transforms
from jobs.parts import command, loop, session, storage
from jobs.parts.experiment_file import Experiment, as_tree, config_hash
from jobs.parts.places import Places
from jobs.parts.presets import levels_of
from jobs.parts.refusals import ExperimentError, made_by_another
from jobs.parts.sample import is_held_out
from jobs.parts.table import (
    Part,
    PartReport,
    Table,
    code_version,
    identity_of,
    make_again,
    parts_of,
    publish,
    sidecar,
    signal_tables,
)

Truth = npt.NDArray[np.bool_]
SAMPLE_LANGUAGES = 12


@dataclass(frozen=True)
class Chosen:
    """A subset as chosen: which pages of the pool it keeps, and the rules that decided."""

    level: Level
    kept: Truth
    resolved: Sequence[Resolved]


@dataclass(frozen=True)
class Crawl:
    """All pages' small columns, in the order of the pages table, and which of them may be chosen."""

    parts: Sequence[Part]
    pool: Pool
    held_out: Truth
    copies: Truth

    @property
    def free(self) -> Truth:
        """True for the pages that may be chosen."""
        return ~(self.held_out | self.copies)


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Choose every subset of the sweep and write what is not written yet."""
    levels = levels_of(experiment)
    if dry_run:
        for level in levels:
            print(f"choose: {level.name}")
        return command.OK
    crawl = gather(experiment, levels)
    chosen = choose(levels, crawl, experiment)
    places = Places(experiment.out)
    made_by = {one.level.name: _config(experiment, one.level) for one in chosen}
    for one in chosen:
        _refuse_other(places, one.level.name, config_hash(made_by[one.level.name]))
    write_verdicts(experiment, crawl, chosen, made_by)
    write_texts(experiment, crawl.parts, chosen, made_by)
    for one in chosen:
        facts = describe(one, crawl, experiment) | {"config_hash": config_hash(made_by[one.level.name])}
        storage.write_json(places.subset_facts(one.level.name), facts)
        told = facts["kept"]
        print(f"choose: {one.level.name:<34} {told['pages']:>9,} pages {told['bytes']:>13,} bytes  {facts['status']}")
    sweep = {"sweep": experiment.sweep, "subsets": [level.name for level in levels]}
    storage.write_json(places.sweep, sweep)
    return command.OK


def gather(experiment: Experiment, levels: Sequence[Level]) -> Crawl:
    """Read the small columns the levels need. Raises ExperimentError where a signal is missing or a sidecar does not fit."""
    pages = parts_of(Places(experiment.out).pages)
    where = signal_tables(experiment.out)
    wanted = needed(levels) | {"text_bytes", "text_hash"} | ({"language", "token_count"} & set(where))
    for signal in sorted(wanted):
        if signal not in where:
            raise ExperimentError(
                f"a rule or the sweep needs the signal {signal!r}: {nearest(signal, list(where))}. "
                "Add its group under signals: and run jobs.score again"
            )
    rows = pa.concat_tables([storage.read_table(part.source, ["id", "domain"]) for part in pages])
    columns: dict[str, pa.ChunkedArray] = {}
    for table in sorted({where[signal] for signal in wanted}):
        signals = sorted(signal for signal in wanted if where[signal] == table)
        columns |= _sidecar(table, pages, signals)
    if not len(rows):
        raise ExperimentError(f"{Places(experiment.out).pages} has no pages: nothing can be chosen")
    held_out = is_held_out(experiment, rows["id"], rows["domain"])
    copies = np.zeros(len(rows), bool)
    if experiment.evaluate.held_out.drop_copies:
        copies = copies_of(held_out, columns["text_hash"].to_numpy())
    weights = {"pages": np.ones(len(rows), np.int64), "bytes": columns["text_bytes"].fill_null(0).to_numpy()}
    if "token_count" in columns:
        weights["tokens"] = columns["token_count"].fill_null(0).to_numpy()
    pool = Pool(rows["id"].to_pylist(), columns, weights, experiment.seed)
    return Crawl(pages, pool, held_out, copies)


def _sidecar(table: Path, pages: Sequence[Part], signals: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """Columns of a signal table in the order of the pages, after a check that the rows are the same pages."""
    chunks = [sidecar(table, part, signals, storage.read_table(part.source, ["id"])["id"]) for part in pages]
    joined = pa.concat_tables(chunks)
    return {signal: joined[signal] for signal in signals}


def _free(crawl: Crawl) -> Pool:
    """The pool without held-out pages and their copies: thresholds never see those."""
    free = pa.array(crawl.free)
    ids = list(itertools.compress(crawl.pool.ids, crawl.free))
    columns = {name: column.filter(free) for name, column in crawl.pool.columns.items()}
    return Pool(ids, columns, {name: weight[crawl.free] for name, weight in crawl.pool.weights.items()}, crawl.pool.seed)


def choose(levels: Sequence[Level], crawl: Crawl, experiment: Experiment) -> list[Chosen]:
    """Which pages of the whole table each subset keeps; never a held-out one."""
    free = _free(crawl)
    chosen: dict[str, Chosen] = {}
    for level in levels:
        resolved = [resolve(rule, free) for rule in parse(level.rules)]
        if level.control in CONTROLS:
            kept = kept_by_control(level, free, chosen[str(level.of)].kept[crawl.free], experiment.seed)
        else:
            kept = (
                np.logical_and.reduce([rule.passes(free) for rule in resolved], axis=0)
                if resolved
                else np.ones(len(free), bool)
            )
        everywhere = np.zeros(len(crawl.pool), bool)
        everywhere[crawl.free] = kept
        chosen[level.name] = Chosen(level, everywhere, resolved)
    return list(chosen.values())


def _config(experiment: Experiment, level: Level) -> dict[str, Any]:
    """What decides a subset: its rules, the pages and the signals it was chosen by, the split, the seed."""
    tables = signal_tables(experiment.out)
    used = {tables[signal] for signal in needed([level]) | {"text_bytes"}}
    return {
        "rules": as_tree(level.rules),
        "swept": as_tree(level.levels),
        "control": level.control,
        "seed": experiment.seed,
        "held_out": as_tree(experiment.evaluate.held_out),
        "tables": {table.name: identity_of(table) for table in sorted({Places(experiment.out).pages, *used})},
    }


def _refuse_other(places: Places, name: str, made_by: str) -> None:
    told = places.subset_facts(name)
    if not storage.exists(told):
        return
    found = storage.read_json(told)["config_hash"]
    if found != made_by:
        raise made_by_another(places.subset(name), found, made_by)


def write_verdicts(experiment: Experiment, crawl: Crawl, chosen: Sequence[Chosen], made_by: Mapping[str, Any]) -> None:
    """The table of what every rule and subset says of every page: verdicts/, a sidecar of pages/."""
    rules = {resolved.text: resolved for one in chosen for resolved in one.resolved}
    columns: dict[str, Any] = {"held_out": crawl.held_out, "copy_of_held_out": crawl.copies}
    columns |= {f"rule {text}": resolved.passes(crawl.pool) for text, resolved in rules.items()}
    columns |= {f"subset {one.level.name}": one.kept for one in chosen}
    schema = pa.schema([("id", pa.string()), *((name, pa.bool_()) for name in columns)])
    config = {"verdicts": list(made_by.values())}
    table = Table(Places(experiment.out).verdicts, config, schema)
    everything = pa.table([pa.array(crawl.pool.ids), *map(pa.array, columns.values())], schema=schema)
    starts = np.concatenate([[0], np.cumsum([pq.read_metadata(part.source).num_rows for part in crawl.parts])])
    slices = {
        part.name: everything.slice(int(start), int(stop - start))
        for part, start, stop in zip(crawl.parts, starts[:-1], starts[1:], strict=True)
    }

    def work(part: Part, *_: Any) -> Iterator[tuple[str, pa.RecordBatch]]:
        return ((table.name, batch) for batch in slices[part.name].combine_chunks().to_batches())

    make_again(table)
    written = [loop.write_part(part, [table], work) for part in crawl.parts]
    publish("choose", table, [outcome.entries[table.name] for outcome in written])


def write_texts(experiment: Experiment, pages: Sequence[Part], chosen: Sequence[Chosen], made_by: Mapping[str, Any]) -> None:
    """The kept pages of every subset asked for, as `part-<shard>.jsonl.zst` or `.parquet`."""
    asked = experiment.write.subsets
    names = [one.level.name for one in chosen]
    where, places = signal_tables(experiment.out), Places(experiment.out)
    for signal in experiment.write.signals:
        if signal not in where:
            raise ExperimentError(f"write.signals: there is no signal {signal!r}: {nearest(signal, list(where))}")
    signals = {signal: where[signal] for signal in experiment.write.signals}
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("url", pa.string()),
            ("text", pa.large_string()),
            *((name, _type(table, pages[0], name)) for name, table in signals.items()),
        ]
    )
    tables = [
        Table(
            places.subset(name),
            {"subset": made_by[name], "transforms": experiment.write.transforms, "signals": sorted(signals)},
            schema,
            experiment.write.format,
            "part-",
            places.subset_books(name),
        )
        for name in (names if asked == "all" else asked)
    ]
    if tables:
        work = partial(_texts_of_part, out=experiment.out, transforms=tuple(experiment.write.transforms), signals=signals)
        loop.run(lambda: session.session("choose"), "choose", pages, tables, work)


def _type(table: Path, part: Part, signal: str) -> pa.DataType:
    return pq.read_schema(table / f"{part.name}.parquet").field(signal).type


def _texts_of_part(
    part: Part,
    missing: Sequence[Table],
    _: PartReport,
    out: Path,
    transforms: Sequence[str],
    signals: Mapping[str, Path],
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """One part's kept pages for every subset: text is read once, a row group at a time."""
    if transforms:  # a worker process knows none before its module is imported
        load_groups("filters", "classifiers")
    verdicts = storage.read_table(Places(out).verdicts / f"{part.name}.parquet")
    values = {name: sidecar(table, part, [name])[name] for name, table in signals.items()}
    file = storage.open_parquet(part.source)
    at = 0
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group, columns=["id", "url", "text"])
        for name, column in values.items():
            rows = rows.append_column(name, column.slice(at, len(rows)))
        for table in missing:
            kept = rows.filter(verdicts[f"subset {table.name}"].slice(at, len(rows))).combine_chunks()
            if transforms and len(kept):
                kept = kept.set_column(2, "text", apply_transforms(kept["text"].combine_chunks(), list(transforms)))
            yield from ((table.name, batch.cast(table.schema)) for batch in kept.to_batches() if len(batch))
        at += len(rows)


def describe(one: Chosen, crawl: Crawl, experiment: Experiment) -> dict[str, Any]:
    """What `subset.json` says: rules as asked and as resolved, sizes, and what each rule drops."""
    pool = _free(crawl)
    kept = one.kept[crawl.free]
    facts = {
        "name": one.level.name,
        "control": one.level.control,
        "of": one.level.of,
        "levels": as_tree(one.level.levels),
        "strength": one.level.strength,
        "rules": as_tree(one.level.rules),
        "resolved": {rule.rule.signal: as_tree(rule.facts()) for rule in one.resolved},
        "in": _sizes(pool, np.ones(len(pool), bool)),
        "kept": _sizes(pool, kept),
        "held_out": {
            "by": experiment.evaluate.held_out.by,
            "share": experiment.evaluate.held_out.share,
            "pages": int(crawl.held_out.sum()),
            "copies_dropped": int(crawl.copies.sum()),
        },
        "version": code_version(),
    }
    dropped, by_language = _attribution(one, pool)
    status, reason = _status(facts["kept"], experiment)
    return facts | {"dropped": dropped, "dropped_by_language": by_language, "status": status, "reason": reason}


def _sizes(pool: Pool, kept: Truth) -> dict[str, int | None]:
    sizes: dict[str, int | None] = {name: int(weight[kept].sum()) for name, weight in pool.weights.items()}
    return {"tokens": None} | sizes


def _attribution(one: Chosen, pool: Pool) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    """What each rule removes, whatever the order: fails alone, fails only this one, fails this one first."""
    if one.level.control in CONTROLS or not one.resolved:
        return [], {}
    fails = [~rule.passes(pool) for rule in one.resolved]
    failures = np.sum(fails, axis=0)
    before = np.zeros(len(pool), bool)
    dropped = []
    by_language = {}
    for rule, failed in zip(one.resolved, fails, strict=True):
        dropped.append(
            {
                "rule": rule.text,
                "signal": rule.rule.signal,
                "alone": _sizes(pool, failed),
                "uniquely": _sizes(pool, failed & (failures == 1)),
                "in_order": _sizes(pool, failed & ~before),
            }
        )
        before |= failed
        if "language" in pool.columns:
            counted = pc.value_counts(pool.columns["language"].filter(pa.array(failed))).to_pylist()
            most = sorted(counted, key=lambda row: (-row["counts"], str(row["values"])))[:SAMPLE_LANGUAGES]
            by_language[rule.text] = {str(row["values"]): row["counts"] for row in most}
    return dropped, by_language


def _status(kept: Mapping[str, int | None], experiment: Experiment) -> tuple[str, str]:
    """ok, empty, or too small for the training budget, with a sentence."""
    if not kept["pages"]:
        return "empty", "no page passes its rules"
    train = experiment.train
    if train and train.regime == "fresh" and kept["tokens"] is not None and kept["tokens"] < train.tokens:
        return (
            "too small",
            f"it has {kept['tokens']:,} tokens, a run needs {train.tokens:,} different ones (train.regime: fresh)",
        )
    return "ok", ""


if __name__ == "__main__":
    # --write asks for the text of every subset, whatever write.subsets says.
    options = [["--set", "write.subsets=all"] if given == "--write" else [given] for given in sys.argv[1:]]
    command.main(main, __doc__, list(itertools.chain(*options)))
