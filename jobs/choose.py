"""choose: signals in, one subset per level of the sweep and per control out.

    python -m jobs.choose CONF [--set key=value ...] [--write] [--dry-run]

Choosing reads signal columns only, in passes over all parts that every level shares: thresholds are exact quantiles found by
adding up what parts count (`filters.quantiles`), sizes and what each rule drops are sums, controls are cut like thresholds.
What every rule says of every page is then written to verdicts/, and the pages that a subset keeps as text, part by part.
"""

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.levels import (
    BAND,
    BESIDE,
    SECOND,
    UNFILTERED,
    Level,
    Order,
    ends_of,
    needed,
    order_of,
    other_rules,
    signals_of,
)
from filters.quantiles import RANKS, Found, Targets, floats, ranked
from filters.rules import SAMPLE, Floats, Pool, Resolved, parse, preference, resolve, resolve_all
from filters.soft_cuts import Copies, Spread
from filters.survey import overlaps
from filters.verdicts import Bits, Tally, failing, passing, tally
from jobs.parts import command, loop, matching, passes, session, storage
from jobs.parts.breadth import breadths
from jobs.parts.edits import Edit, Edits, told_of
from jobs.parts.experiment_file import Experiment, as_tree, config_hash
from jobs.parts.places import Places
from jobs.parts.pool import Columns, Over, cuts_of, cuts_over
from jobs.parts.presets import levels_of
from jobs.parts.refusals import ExperimentError, made_by_another
from jobs.parts.shuffled import Buckets
from jobs.parts.table import (
    LINES,
    Part,
    PartReport,
    StageReport,
    Table,
    code_version,
    identity_of,
    json_lines,
    known,
    make_again,
    parts_of,
    sidecar,
    signal_tables,
)

Truth = npt.NDArray[np.bool_]
Value = TypeVar("Value")
Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)
SHOWN_NAMES = 12
"""Languages that a rule drops most pages of, told in a subset's facts."""


@dataclass(frozen=True)
class Control:
    """A control of a level: the rules (by number) whose pages it takes, in which order, and which cut of it is its own."""

    among: tuple[int, ...]
    order: str
    target: int


@dataclass(frozen=True)
class Decision:
    """What every page can be judged by: the different rules of all levels, numbered, and the orders of controls."""

    rules: tuple[Resolved, ...]
    levels: Mapping[str, tuple[int, ...]]
    controls: Mapping[str, Control]
    orders: Mapping[str, Order]
    quantiles: Mapping[str, Floats]
    cuts: Mapping[str, Found]
    bands: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The two levels that each band lies between: it has what the first keeps and the second drops."""

    def failing(self, pool: Pool) -> Bits:
        """Which rules each page fails."""
        return failing([rule.passes(pool) for rule in self.rules], len(pool))

    @property
    def repeating(self) -> tuple[str, ...]:
        """The levels that have pages read more than once."""
        return tuple(name for name, rules in self.levels.items() if any(self.rules[rule].repeats for rule in rules))

    def copies(self, pool: Pool, bits: Bits) -> dict[str, Copies]:
        """How often each page is read by the levels that repeat."""
        found = {}
        for name in self.repeating:
            [repeats] = [rule for rule in self.levels[name] if self.rules[rule].repeats]
            found[name] = self.rules[repeats].copies(pool) * passing(bits, self.levels[name])
        return found

    def reads(self, pool: Pool, bits: Bits) -> dict[str, npt.NDArray[Any]]:
        """How often each page is read by every level; a flag where that is once at most."""
        return {name: passing(bits, rules) for name, rules in self.levels.items()} | self.copies(pool, bits)

    def tally(self, pool: Pool, bits: Bits, weights: Sequence[str]) -> Tally:
        """What rules and levels keep and drop of the pages, given which rules each fails."""
        levels = list(self.levels)
        copies = {levels.index(name): some for name, some in self.copies(pool, bits).items()}
        by_weight = np.stack([pool.weights[name] for name in weights], axis=1)
        rules = list(self.levels.values())
        return tally(bits, len(self.rules), rules, by_weight, pool.columns.get("language"), copies)

    def passing(self, pool: Pool, rules: Sequence[int]) -> Truth:
        """The pages that pass some of the rules."""
        verdicts = [np.ones(len(pool), bool), *(self.rules[rule].passes(pool) for rule in rules)]
        return np.asarray(np.logical_and.reduce(verdicts), bool)

    def kept_by_controls(self, pool: Pool) -> Iterator[tuple[str, Truth]]:
        """What each control keeps of the pages that may be chosen."""
        columns: dict[tuple[str, tuple[int, ...]], Any] = {}
        for name, control in self.controls.items():
            key = control.order, control.among
            if key not in columns:
                columns[key] = self.orders[control.order].column(pool, self.passing(pool, control.among), self.quantiles)
            yield name, self.cuts[_cut_name(*key)].keeps(columns[key], control.target)

    def kept_beside(self, pool: Pool, bits: Bits) -> Iterator[tuple[str, Truth]]:
        """What each control and each band keeps of the pages that may be chosen, given which rules each fails."""
        yield from self.kept_by_controls(pool)
        for name, (milder, harder) in self.bands.items():
            yield name, passing(bits, self.levels[milder]) & ~passing(bits, self.levels[harder])


def _cut_name(order: str, among: Sequence[int]) -> str:
    return f"{order} among {' '.join(map(str, among))}"


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Choose every subset of the sweep and write what is not written yet."""
    levels = levels_of(experiment)
    if dry_run:
        for level in levels:
            print(f"choose: {level.name}")
        return command.OK
    places = Places(experiment.out)
    pages = parts_of(places.pages)
    columns = Columns.find(experiment, needed(levels))
    identities = columns.identities()
    made_by = {
        level.name: _config(level, levels, columns, identities) | matching.config(experiment, levels) for level in levels
    }
    for level in levels:
        _refuse_other(places, level.name, made_by[level.name])
    if not _is_decided(places, pages, made_by):
        _decide(experiment, levels, columns, pages, made_by)
    write_texts(experiment, pages, levels, made_by)
    for level in levels:
        told = storage.read_json(places.subset_facts(level.name))
        kept = told["kept"]
        print(f"choose: {level.name:<34} {kept['pages']:>9,} pages {kept['bytes']:>13,} bytes  {told['status']}")
    return command.OK


def _config(level: Level, levels: Sequence[Level], columns: Columns, identities: Mapping[str, str]) -> dict[str, Any]:
    """What decides a subset: its rules, the pages, their split and the signals it was chosen by, the seed.

    A band is decided by all levels: their sizes say which it lies between.
    """
    between = [one for one in levels if one.control is None] if level.control == BAND else []
    own = (
        needed([level, *between]) | {"text_bytes"} | ({"token_count"} if level.of is not None else set())
    )  # what controls match
    others = {table: signals for table, signals in columns.tables.items() if table != columns.places.pages}
    not_used = {table.name for table, signals in others.items() if not own & set(signals)}
    return {
        "rules": as_tree(level.rules),
        "swept": as_tree(level.levels),
        "control": level.control,
        "seed": columns.seed,
        "tables": {table: identity for table, identity in identities.items() if table not in not_used},
        **({"between": {one.name: as_tree(one.rules) for one in between}} if between else {}),
    }


def _refuse_other(places: Places, name: str, made_by: Mapping[str, Any]) -> None:
    told = storage.read_json(places.subset_facts(name)) if storage.exists(places.subset_facts(name)) else None
    if told and told["config_hash"] != config_hash(made_by):
        raise made_by_another(places.subset(name), told["config"], made_by, "choose")


def _verdicts(
    places: Places, made_by: Mapping[str, Any], rules: Sequence[str] = (), repeating: Collection[str] = ()
) -> Table:
    """The table of verdicts: flags, and where a level repeats pages, how often each is read."""
    names = ["held_out", "copy_of_held_out", *(f"rule {rule}" for rule in rules)]
    subsets = [(f"subset {name}", pa.uint8() if name in repeating else pa.bool_()) for name in made_by]
    schema = pa.schema([("id", pa.string()), *((name, pa.bool_()) for name in names), *subsets])
    return Table(places.verdicts, {"verdicts": list(made_by.values())}, schema)


def _is_decided(places: Places, pages: Sequence[Part], made_by: Mapping[str, Any]) -> bool:
    """Whether every page has its verdicts and every subset its facts."""
    table = _verdicts(places, made_by)
    make_again(table)
    told = known(table, "choose")
    same = all(part.name in told and told[part.name]["from"] == part.identity for part in pages)
    return same and storage.exists(places.sweep) and all(storage.exists(places.subset_facts(name)) for name in made_by)


def _decide(
    experiment: Experiment, levels: Sequence[Level], columns: Columns, pages: Sequence[Part], made_by: Mapping[str, Any]
) -> None:
    """Resolve the rules, cut the controls, write verdicts/ and the facts of every subset."""
    spark, places = session.session("choose"), Places(experiment.out)

    def over(function: Callable[[Part], Any], merge: Callable[[Sequence[Any]], Any]) -> Any:
        return passes.merged(spark, "choose", pages, function, merge)

    decision = resolved(levels, columns, over)
    counted: Tally = over(lambda part: _tally(part, columns, decision), _sum)
    if not counted.all_pages[0]:
        raise ExperimentError(f"{places.pages} has no pages that may be chosen: none was read, or all are held out")
    if experiment.match:
        decision = matched(experiment, decision, counted, columns, over)
        counted = over(lambda part: _tally(part, columns, decision), _sum)
        _print_containment(decision, columns, over)
    decision = with_bands(levels, with_controls(levels, decision, counted, columns, over), counted)
    breadth = breadths(decision.rules, decision.levels, columns, over)
    beside = over(lambda part: _sizes_beside(part, columns, decision), lambda some: np.sum(some, axis=0))
    shown = [rule.text for rule in decision.rules[: _shown(decision)]]
    table = _verdicts(places, made_by, shown, decision.repeating)

    def work(part: Part, _: Sequence[Table], report: PartReport) -> Iterator[tuple[str, pa.RecordBatch]]:
        rows = _judged(part, columns, decision, table.schema)
        report.counts.update({name: pc.sum(rows[name]).as_py() or 0 for name in ("held_out", "copy_of_held_out")})
        yield from ((table.name, batch) for batch in rows.to_batches())

    report = loop.run(lambda: spark, "choose", pages, [table], work)[table.name]
    sizes = dict(zip([*decision.controls, *decision.bands], beside, strict=True))
    for level in levels:
        facts = describe(level, decision, counted, sizes.get(level.name), columns.weights, experiment)
        split = {"pages": report.counts["held_out"], "copies_dropped": report.counts["copy_of_held_out"]}
        facts |= {"held_out": {**as_tree(experiment.evaluate.held_out), **split}}
        facts |= {"breadth": [row for row in breadth if row["level"] == level.name]}
        facts |= {"config": made_by[level.name], "config_hash": config_hash(made_by[level.name])}
        storage.write_json(places.subset_facts(level.name), facts)
    by_name = zip(counted.names, counted.pages_by_name.tolist(), strict=True)
    languages = {name: pages for name, pages in by_name if name != "None"}  # null is no language
    told = {"sweep": experiment.sweep, "subsets": [level.name for level in levels], "languages": languages}
    storage.write_json(places.sweep, told)


def resolved(levels: Sequence[Level], columns: Columns, over: Over) -> Decision:
    """The rules of all levels with their thresholds, and the rules that controls choose among."""
    asked = {level.name: parse(level.rules) for level in levels if level.of is None and level.control != BAND}
    others = {level.name: other_rules(level) for level in levels if level.of is not None}
    everything = [rule for some in (*asked.values(), *others.values()) for rule in some]
    cuts = partial(cuts_over, columns, over)
    one_by_one = iter(resolve_all(everything, cuts, lambda signals: _deviations(signals, columns, over)))
    numbers: dict[str, int] = {}
    rules: list[Resolved] = []

    def number(one: Resolved) -> int:
        if one.text not in numbers:
            numbers[one.text] = len(rules)
            rules.append(one)
        return numbers[one.text]

    by_level = {name: tuple(number(next(one_by_one)) for _ in some) for name, some in asked.items()}
    among = {name: tuple(number(next(one_by_one)) for _ in some) for name, some in others.items()}
    controls = {name: Control(rules_of, "", 0) for name, rules_of in among.items()}
    return Decision(tuple(rules), by_level, controls, {}, {}, {})


def matched(experiment: Experiment, decision: Decision, counted: Tally, columns: Columns, over: Over) -> Decision:
    """With a sample for each level that makes them alike."""
    sizes = dict(zip(decision.levels, counted.read[:, -1].tolist(), strict=True))
    for name in (UNFILTERED, *(level.name for level in levels_of(experiment) if level.control == SECOND)):
        del sizes[name]  # what is trained beside the levels does not decide how large they are
    if experiment.match == "repetition":
        found = dict.fromkeys(sizes, matching.one_share(experiment, int(counted.all_pages[-1])))
    else:
        found = matching.shares(sizes, lambda pool: decision.reads(pool, decision.failing(pool)), columns, over)
    rules, levels = list(decision.rules), dict(decision.levels)
    for name, share in found.items():
        sample = resolve(parse({SAMPLE: share})[0], {}, {})
        if sample not in rules:
            rules.append(sample)
        levels[name] = (*levels[name], rules.index(sample))
    return replace(decision, rules=tuple(rules), levels=levels)


def _print_containment(decision: Decision, columns: Columns, over: Over) -> None:
    """How much of each level lies in the one before it: samples may leave levels that are not nested."""

    def both(part: Part) -> Any:
        pool = columns.of(part).chosen_from()
        bits = decision.failing(pool)
        return overlaps(np.stack([passing(bits, rules) for rules in decision.levels.values()], axis=1).astype(np.uint8))

    found = over(both, lambda some: np.sum(some, axis=0))
    names = [name for name in decision.levels if name != UNFILTERED]
    at = list(decision.levels).index
    for milder, harder in itertools.pairwise(names):
        share = found[at(milder), at(harder)] / max(found[at(harder), at(harder)], 1)
        print(f"choose: {harder:<34} {share:6.1%} of its pages are in {milder}")


def _deviations(signals: Sequence[str], columns: Columns, over: Over) -> dict[str, float]:
    """The standard deviation of some signals over the pages that may be chosen."""
    if not signals:
        return {}
    few = columns.only(signals)

    def spreads(part: Part) -> list[Spread]:
        pool = few.of(part).chosen_from()
        return [Spread.of(pool.numbers(signal)) for signal in signals]

    found = over(spreads, lambda some: [sum(each, Spread()) for each in zip(*some, strict=True)])
    return {signal: spread.deviation for signal, spread in zip(signals, found, strict=True)}


def _shown(decision: Decision) -> int:
    """How many of the rules belong to levels: those that only controls choose among come behind them."""
    return 1 + max((rule for rules in decision.levels.values() for rule in rules), default=-1)


def _tally(part: Part, columns: Columns, decision: Decision) -> Tally:
    pool = columns.of(part, check=True).chosen_from()
    return decision.tally(pool, decision.failing(pool), columns.weights)


def _sum(some: Sequence[Tally]) -> Tally:
    total = some[0]
    for one in some[1:]:
        total = total + one
    return total


def with_controls(levels: Sequence[Level], decision: Decision, counted: Tally, columns: Columns, over: Over) -> Decision:
    """The controls cut to the weight of their levels, in tokens where there are any."""
    weight = columns.weights[-1]
    kept = dict(zip(decision.levels, counted.read[:, -1].tolist(), strict=True))
    orders = {level.name: order_of(level, weight) for level in levels if level.of is not None}
    amounts: dict[str, dict[str, int]] = {}
    keys: dict[str, tuple[Order, tuple[int, ...]]] = {}
    for level in levels:
        if level.of is not None:
            order, among = orders[level.name], decision.controls[level.name].among
            cut = _cut_name(order.name, among)
            amounts.setdefault(cut, {})[level.name] = kept[level.of]
            keys[cut] = order, among
    quantiles = _wishes([order for order, _ in keys.values() if len(order.swept) > 1], columns, over)

    def column(cut: str, pool: Pool) -> Any:
        order, among = keys[cut]
        return order.column(pool, decision.passing(pool, among), quantiles)

    targets = {cut: Targets("at most", tuple(sorted(set(some.values())))) for cut, some in amounts.items()}
    used = [decision.rules[rule].rule for _, among in keys.values() for rule in among]
    used += [rule for order, _ in keys.values() for rule in order.swept]
    cuts = cuts_of(targets, column, columns.only(signals_of(used)), over)
    controls = {
        name: Control(keys[cut][1], keys[cut][0].name, targets[cut].amounts.index(amount))
        for cut, some in amounts.items()
        for name, amount in some.items()
    }
    in_order = {level.name: controls[level.name] for level in levels if level.of is not None}
    by_name = {order.name: order for order, _ in keys.values()}
    return replace(decision, controls=in_order, orders=by_name, quantiles=quantiles, cuts=cuts)


def _wishes(orders: Sequence[Order], columns: Columns, over: Over) -> dict[str, Floats]:
    """Quantiles of how much each rule wants pages, by its signal: what ranks are read off."""
    rules = {rule.signal: rule for order in orders for rule in order.swept}

    def column(signal: str, pool: Pool) -> Any:
        return ranked(preference(rules[signal], pool, invert=True), pool.weight("pages"), lowest=True)

    found = cuts_of(dict.fromkeys(rules, RANKS), column, columns.only(rules), over)
    return {signal: floats(one.places[:, 0], lowest=True) for signal, one in found.items()}


def with_bands(levels: Sequence[Level], decision: Decision, counted: Tally) -> Decision:
    """With the levels that each band lies between, by the bytes that levels keep."""
    ordered = [level.name for level in levels if level.control is None]
    kept = dict(zip(decision.levels, counted.kept[:, 1].tolist(), strict=True))
    bands = [level.name for level in levels if level.control == BAND]
    return replace(decision, bands={band: ends_of(band, {name: kept[name] for name in ordered}) for band in bands})


def _sizes_beside(part: Part, columns: Columns, decision: Decision) -> npt.NDArray[np.int64]:
    """What each control and each band keeps of a part; shape (controls and bands, weights)."""
    pool = columns.of(part).chosen_from()
    weights = np.stack([pool.weights[name] for name in columns.weights], axis=1)
    kept = [weights[mask].sum(axis=0) for _, mask in decision.kept_beside(pool, decision.failing(pool))]
    return np.array(kept, np.int64).reshape(len(kept), weights.shape[1])


def _judged(part: Part, columns: Columns, decision: Decision, schema: pa.Schema) -> pa.Table:
    """A part's rows of verdicts/."""
    found = columns.of(part)
    free, bits = found.free, decision.failing(found.pages)
    ids = storage.read_table(part.source, ["id"])["id"]
    verdicts = {"id": ids, "held_out": found.held_out, "copy_of_held_out": found.copies}
    for number, rule in enumerate(decision.rules[: _shown(decision)]):
        verdicts[f"rule {rule.text}"] = passing(bits, [number])
    repeated = decision.copies(found.pages, bits)
    for name, rules in decision.levels.items():
        kept_by = repeated.get(name)
        verdicts[f"subset {name}"] = free & passing(bits, rules) if kept_by is None else kept_by * free
    for name, mask in decision.kept_beside(found.chosen_from(), bits[free]):
        kept = np.zeros(len(free), bool)
        kept[free] = mask
        verdicts[f"subset {name}"] = kept
    return pa.table([verdicts[name] for name in schema.names], schema=schema)


@dataclass(frozen=True)
class Texts:
    """What is written of pages beside their id and address: edited text, and signals, each with its table."""

    places: Places
    edits: Edits
    signals: Mapping[str, Path]

    def schema(self, part: Part, *more: tuple[str, pa.DataType]) -> pa.Schema:
        """The columns of the files."""
        columns = [("id", pa.string()), ("url", pa.string()), ("text", pa.large_string())]
        types = [
            (name, storage.read_schema(table / f"{part.name}.parquet").field(name).type)
            for name, table in self.signals.items()
        ]
        return pa.schema([*columns, *types, *more])

    def groups(self, part: Part) -> Iterator[tuple[slice, pa.Table]]:
        """The pages of a part, a row group at a time, and where they stand in it."""
        values = {name: sidecar(table, part, [name])[name] for name, table in self.signals.items()}
        file = storage.open_parquet(part.source)
        at = 0
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=["id", "url", "text"])
            for name, column in values.items():
                rows = rows.append_column(name, column.slice(at, len(rows)))
            yield slice(at, at + len(rows)), rows
            at += len(rows)


def _taken(rows: pa.Table, wanted: Truth | Copies, edit: Edit, counts: Counter[str]) -> pa.Table:
    """Some of the rows, each as often as is wanted, their text edited."""
    taken = _repeated(rows, wanted).combine_chunks()
    return taken.set_column(2, "text", edit(taken["text"].combine_chunks(), counts)) if len(taken) else taken


def write_texts(
    experiment: Experiment, pages: Sequence[Part], levels: Sequence[Level], made_by: Mapping[str, Mapping[str, Any]]
) -> None:
    """The pages of every subset asked for, and where asked those that its levels remove, in a file for each shard."""
    asked, places = experiment.write, Places(experiment.out)
    where = signal_tables(experiment.out)
    texts = Texts(places, Edits.of(experiment), {signal: where[signal] for signal in asked.signals})
    names, edited = written(experiment, levels), texts.edits.config()

    def table(name: str, folder: Path, books: Path, schema: pa.Schema) -> Table:
        config = {"subset": made_by[name], **edited, "signals": sorted(texts.signals)}
        return Table(folder, config, schema, asked.format, "part-", books)

    kept = [table(name, places.subset(name), places.subset_books(name), texts.schema(pages[0])) for name in names]
    if kept:
        for name, report in _write_kept(experiment, pages, kept, texts).items():
            if said := told_of(report.counts):
                print(f"choose: {name:<34} {said}")
    schema = texts.schema(pages[0], ("failed", pa.list_(pa.string())))
    rules = {level.name: _rules_of(places, level) for level in levels if level.name in names and asked.removed}
    removed = [table(name, places.removed(name), places.removed_books(name), schema) for name, some in rules.items() if some]
    if removed:
        work = partial(_removed_of_part, texts=texts, rules=rules)
        loop.run(lambda: session.session("choose"), "choose", pages, removed, work)


def _write_kept(
    experiment: Experiment, pages: Sequence[Part], kept: Sequence[Table], texts: Texts
) -> dict[str, StageReport]:
    """The pages of subsets, in a file for each shard, or in one random order over all of them."""
    asked, places = experiment.write, Places(experiment.out)

    def spark() -> Any:
        return session.session("choose")

    if not asked.shuffle:
        return loop.run(spark, "choose", pages, kept, partial(kept_of_part, texts=texts))
    largest = max(storage.read_json(places.subset_facts(table.name))["kept"]["bytes"] for table in kept)
    names = tuple(table.name for table in kept)
    identity = {"verdicts": identity_of(places.verdicts), "written": [table.config for table in kept]}
    folder = places.shuffled / config_hash(identity)
    buckets = Buckets(folder, max(1, -(-largest // asked.shard_bytes)), experiment.seed, names)
    parts = buckets.parts(identity)
    if loop.to_do("choose", parts, kept):
        passes.merged(spark(), "shuffle", pages, lambda part: _spilled(part, texts, buckets), _added)
    reports = loop.run(spark, "choose", parts, kept, buckets.work)
    storage.remove_folder(places.shuffled)
    return reports


def _added(rows: Sequence[int]) -> int:
    return sum(rows)


def _spilled(part: Part, texts: Texts, buckets: Buckets) -> int:
    """Leave a part's kept pages by bucket, edited; how many rows those are."""
    names = [f"subset {name}" for name in buckets.levels]
    verdicts = sidecar(texts.places.verdicts, part, names)
    hashes, edit = sidecar(texts.places.split, part, ["id_hash"])["id_hash"].to_numpy(), texts.edits.of_part(part)
    kept = {name: verdicts[f"subset {name}"].to_numpy() for name in buckets.levels}

    wanted = np.logical_or.reduce([some != 0 for some in kept.values()])

    def groups() -> Iterator[tuple[npt.NDArray[np.int64], pa.Table]]:
        for where, rows in texts.groups(part):
            yield where.start + np.flatnonzero(wanted[where]), _taken(rows, wanted[where], edit, Counter())

    return buckets.spill(part, kept, hashes, groups())


def written(experiment: Experiment, levels: Sequence[Level]) -> list[str]:
    """The subsets whose text is asked for."""
    asked = experiment.write.subsets
    if asked == "all":
        return [level.name for level in levels if level.control != "unfiltered"]
    return [] if asked == "none" else list(asked)


def _rules_of(places: Places, level: Level) -> list[str]:
    """The rules that decide a level; none of a control, which chance or a size cuts."""
    return [row["rule"] for row in storage.read_json(places.subset_facts(level.name))["dropped"]]


def kept_of_part(
    part: Part, missing: Sequence[Table], report: PartReport, texts: Texts
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """One part's kept pages for every subset: text is read once."""
    names = [f"subset {table.name}" for table in missing]
    verdicts = sidecar(texts.places.verdicts, part, names)
    kept, edit = {name: verdicts[name].to_numpy() for name in names}, texts.edits.of_part(part)
    once = texts.edits.lines is None and missing[0].format == "jsonl.zst"  # what is cut is counted by level
    wanted = np.logical_or.reduce([some != 0 for some in kept.values()])
    for where, rows in texts.groups(part):
        if once:
            lines = _lines(_taken(rows, wanted[where], edit, Counter()), missing[0].schema)
        for table, name in zip(missing, names, strict=True):
            if once:
                yield table.name, _repeated(lines, kept[name][where][wanted[where]])
            else:
                yield from _batches(table, _taken(rows, kept[name][where], edit, report.of_table[table.name]))


def _lines(rows: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    """The rows as they stand in files, once for all levels."""
    batches = [json_lines(batch.cast(schema)) for batch in rows.to_batches()]
    return pa.concat_batches(batches) if batches else pa.record_batch([pa.array([], pa.large_binary())], schema=LINES)


def _repeated(rows: Rows, wanted: Truth | Copies) -> Rows:
    """Some of the rows, each as often as is wanted."""
    if wanted.dtype == np.bool_:
        return rows.filter(pa.array(wanted))
    return rows.take(pa.array(np.repeat(np.arange(len(rows)), wanted)))


def _removed_of_part(
    part: Part, missing: Sequence[Table], report: PartReport, texts: Texts, rules: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """One part's pages of the pool that levels remove, each with the rules it fails: text is read once."""
    needed = [f"rule {rule}" for rule in dict.fromkeys(rule for table in missing for rule in rules[table.name])]
    subsets = [f"subset {table.name}" for table in missing]
    verdicts = sidecar(texts.places.verdicts, part, ["held_out", "copy_of_held_out", *subsets, *needed])
    says = {name: verdicts[name].to_numpy() for name in verdicts.column_names}
    free, edit = ~(says["held_out"] | says["copy_of_held_out"]), texts.edits.of_part(part)
    for where, rows in texts.groups(part):
        for table, subset in zip(missing, subsets, strict=True):
            removed = (free & (says[subset] == 0))[where]
            passes = np.stack([says[f"rule {rule}"][where][removed] for rule in rules[table.name]], axis=1)
            failed = names_of_failed(rules[table.name], passes)
            taken = _taken(rows, removed, edit, report.of_table[table.name])
            yield from _batches(table, taken.append_column("failed", failed))


def names_of_failed(rules: Sequence[str], passes: Truth) -> pa.ListArray:
    """The names of the rules that each page fails, in order. passes (pages, rules)."""
    _, which = np.nonzero(~passes)
    ends = np.concatenate([[0], np.cumsum((~passes).sum(axis=1))])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(rules, pa.string()).take(pa.array(which)))


def _batches(table: Table, rows: pa.Table) -> Iterator[tuple[str, pa.RecordBatch]]:
    yield from ((table.name, batch.cast(table.schema)) for batch in rows.to_batches() if len(batch))


def describe(
    level: Level,
    decision: Decision,
    counted: Tally,
    control: npt.NDArray[np.int64] | None,
    weights: Sequence[str],
    experiment: Experiment,
) -> dict[str, Any]:
    """What a subset's facts say: rules as asked and as resolved, sizes, and what each rule drops."""

    def sizes(values: npt.NDArray[np.int64]) -> dict[str, int | None]:
        return {"tokens": None} | dict(zip(weights, values.tolist(), strict=True))

    between = decision.bands.get(level.name)
    own, of = level.of is None and not between, between[1] if between else level.of or level.name
    at, rules = list(decision.levels).index(of), decision.levels[of]
    kept = sizes(counted.kept[at] if own or control is None else control)
    read = sizes(counted.read[at]) if own else kept
    dropped = [
        {
            "rule": decision.rules[rule].text,
            "signal": decision.rules[rule].rule.signal,
            "alone": sizes(counted.failed[rule]),
            "uniquely": sizes(counted.uniquely[at][place]),
            "in_order": sizes(counted.in_order[at][place]),
        }
        for place, rule in enumerate(rules)
    ]
    status, reason = _status(read, experiment, level.control in BESIDE)
    alone = [decision.rules[rule].text for rule in rules if counted.failed[rule][0] == counted.all_pages[0]]
    if status == "empty" and between:
        reason = f"no page lies between {between[0]} and {between[1]}"
    elif status == "empty" and alone:
        reason = f"{alone[0]} removes every page"
    return {
        "name": level.name,
        "control": level.control,
        "of": level.of,
        "between": list(between) if between else None,
        "levels": as_tree(level.levels),
        "strength": level.strength,
        "rules": as_tree(level.rules),
        "resolved": {}
        if between
        else {decision.rules[rule].rule.signal: as_tree(decision.rules[rule].facts()) for rule in rules},
        "in": sizes(counted.all_pages),
        "kept": kept,
        "read": read,
        "version": code_version(),
        "dropped": dropped if own else [],
        "dropped_by_language": _by_name(decision, counted, rules) if own else {},
        "status": status,
        "reason": reason,
    }


def _by_name(decision: Decision, counted: Tally, rules: Sequence[int]) -> dict[str, dict[str, int]]:
    """Pages that each rule drops, of the languages that it drops most of."""
    told = {}
    for rule in rules if counted.names else ():
        by_name = [(name, pages) for name, pages in zip(counted.names, counted.failed_by_name[rule].tolist(), strict=True)]
        most = sorted((one for one in by_name if one[1]), key=lambda one: (-one[1], one[0]))
        told[decision.rules[rule].text] = dict(most[:SHOWN_NAMES])
    return told


def _status(kept: Mapping[str, int | None], experiment: Experiment, beside: bool) -> tuple[str, str]:
    """ok, empty, or too small for the training budget, with a sentence; what is `beside` levels has the first one alone."""
    if not kept["pages"]:
        return "empty", "no page passes its rules"
    train = experiment.train
    needed = (train.tokens[0] if beside else max(train.tokens)) if train and train.regime == "fresh" else 0
    if kept["tokens"] is not None and kept["tokens"] < needed:
        return "too small", f"it has {kept['tokens']:,} tokens, a run needs {needed:,} different ones (train.regime: fresh)"
    return "ok", ""


if __name__ == "__main__":
    # --write asks for the text of all subsets, whatever write.subsets says.
    options = [["--set", "write.subsets=all"] if given == "--write" else [given] for given in sys.argv[1:]]
    command.main(main, __doc__, list(itertools.chain(*options)))
