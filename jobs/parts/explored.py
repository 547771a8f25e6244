"""The explorer's sample: pages of the pool in strata by language, decided by hashes of their ids, with their signals.

A page is in the sample where its draw is among the lowest of its language: a share of every language and a fixed number of
each, so that large languages are measured well and small ones are there at all. Both are cuts like any other, so every part
decides alone and the driver holds no more than the sample.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eval.explorer.sampled import ChoiceColumn, Excerpt, NumberColumn, Sampled, Stratum, Switch
from eval.report.safe_text import private_masked
from filters.levels import Level, needed
from filters.quantiles import Found, Targets, ranked
from filters.rules import Pool, Resolved
from filters.signals import load_groups
from jobs import choose
from jobs.parts import storage
from jobs.parts.experiment_file import Experiment, as_tree
from jobs.parts.places import Places
from jobs.parts.pool import Columns, Over, cuts_of, pool_identity
from jobs.parts.presets import levels_of
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import Part, identity_of, signal_tables

STRATA = "language"
EVERYWHERE = "all pages"
LEAST_SHARE = 0.25
"""Of the sample: what is dealt evenly over languages, the rest goes by their size. An assumption: it costs the figures of
the whole pool a seventh of their precision, and a rare language has pages to look at."""
MOST_STRATA = 200
MOST_CHOICES = 50
"""Values of a text signal that are shown as boxes to tick; of more the most frequent can only be looked into."""
MOST_NUMBERS = 9_000_000
"""Bytes of numbers in the page: with the excerpts it stays under 15 MB."""
MOST_EXCERPTS = 20_000
ADDRESS_SHOWN = 80
EXCERPT_SHOWN = 220
READ = 2_400
"""Characters of a page that are read for its excerpt: `private_masked` looks a little further than it shows."""
SLIDERS = frozenset({"min", "max", "above", "below", "in", "not_in", "is", "null"})
"""Conditions that the page's own controls can say."""
HIDDEN = frozenset({"text_hash"})
PURPOSE = "explorer"


@dataclass(frozen=True)
class Drawn:
    """Rows of the sample from some parts: where they lie, their draws and strata, their columns, and which switches fail."""

    rows: pa.Table
    fails: npt.NDArray[np.bool_]


def config_of(experiment: Experiment) -> dict[str, Any]:
    """What decides the page: the pages that may be chosen, all signals, the rules of every level, the sample."""
    rules = {level.name: level.rules for level in levels_of(experiment) if level.control is None}
    signals = {table.name: identity_of(table) for table in sorted({*signal_tables(experiment.out).values()})}
    sample = {"pages": experiment.explore.pages, "seed": experiment.seed, "name": experiment.name}
    told: dict[str, Any] = as_tree({"pool": pool_identity(experiment), "signals": signals, "rules": rules, **sample})
    return told


def explored(experiment: Experiment, over: Over) -> Sampled:
    """The sample, its columns, the rules that stand in the file and excerpts of the pages. Raises ExperimentError."""
    levels = [level for level in levels_of(experiment) if level.control is None]
    wanted, left_out = _signals(experiment, levels)
    columns = Columns.find(experiment, {*needed(levels), *wanted})
    counted = over(lambda part: _counted(part, columns), lambda some: sum(some, Counter()))
    if not counted:
        raise ExperimentError(f"{Places(experiment.out).pages} has no pages that may be chosen: all are held out")
    decision = choose.resolved(levels, columns, over)
    cuts = _cuts(experiment.explore.pages, counted, columns, over)
    bounds, switches = _rules(decision, wanted)
    work = partial(_drawn, columns=columns, cuts=cuts, signals=list(wanted), switches=[rule for rule, _ in switches])
    drawn: Drawn = over(work, _together)
    order = np.argsort(drawn.rows["draw"].to_numpy(), kind="stable")
    drawn = Drawn(drawn.rows.take(pa.array(order)), drawn.fails[order])
    names = sorted(counted)
    strata_of = np.array([names.index(name) for name in drawn.rows["stratum"].to_pylist()], np.uint16)
    sampled = np.bincount(strata_of, minlength=len(names))
    numbers, choices = _columns(drawn.rows, wanted)
    return Sampled(
        name=experiment.name,
        strata=[Stratum(name, counted[name], int(sampled[at])) for at, name in enumerate(names)],
        strata_of=strata_of,
        weights={
            name: drawn.rows[f"weight {name}"].to_numpy().astype(np.float32) for name in columns.weights if name != "pages"
        },
        numbers=numbers,
        choices=choices,
        bounds=bounds,
        switches=[
            Switch(rule.rule.signal, rule.text, rule.rule.asked, on, drawn.fails[:, at])
            for at, (rule, on) in enumerate(switches)
        ],
        excerpts=_excerpts(drawn.rows, over),
        left_out=left_out,
    )


def _signals(experiment: Experiment, levels: Sequence[Level]) -> tuple[dict[str, str], list[str]]:
    """The signals that the page has room for, with their groups: first those of rules, then as the file lists the groups."""
    tables = signal_tables(experiment.out)
    groups = [*experiment.signals, *sorted({table.name for table in tables.values()} - {*experiment.signals})]
    ruled = {tables[signal].name for signal in needed(levels) if signal in tables}
    ordered = sorted(
        (signal for signal in tables if signal not in HIDDEN),
        key=lambda signal: (tables[signal].name not in ruled, groups.index(tables[signal].name)),
    )
    first = sorted(ordered, key=lambda signal: signal not in needed(levels))
    room = max(1, MOST_NUMBERS // (4 * experiment.explore.pages))
    kept = set(first[:room])
    return {signal: tables[signal].name for signal in ordered if signal in kept}, first[room:]


def _strata(pool: Pool) -> list[str]:
    """Each page's stratum; null is one of its own."""
    if STRATA not in pool.columns:
        return [EVERYWHERE] * len(pool)
    return [str(value) for value in pool.columns[STRATA].to_pylist()]


def _counted(part: Part, columns: Columns) -> Counter[str]:
    """A part's pages that may be chosen, by stratum."""
    return Counter(_strata(columns.only([STRATA]).of(part, check=True).chosen_from()))


def _cuts(pages: int, counted: Mapping[str, int], columns: Columns, over: Over) -> dict[str, Found]:
    """The draws up to which pages of each stratum are in the sample."""
    all_pages = sum(counted.values())
    least = int(LEAST_SHARE * pages) // len(counted) if len(counted) <= MOST_STRATA else 0
    evenly = sum(min(least, some) for some in counted.values())
    share = min(1.0, (pages - evenly) / all_pages) if all_pages > pages else 1.0
    targets = {"share": Targets("share", (share,)), "least": Targets("at most", (least,))}

    def column(_: str, pool: Pool) -> Any:
        within = pa.array(_strata(pool), pa.string())
        return ranked(pool.draw(PURPOSE), pool.weight("pages"), lowest=True, within=within)

    return cuts_of(targets, column, columns.only([STRATA]), over)


def _rules(decision: choose.Decision, signals: Collection[str]) -> tuple[dict[str, Any], list[tuple[Resolved, bool]]]:
    """The rules that every level shares and a slider can say, and all others with whether every level has them."""
    levels = list(decision.levels.values())
    shared = {rule for rule in levels[0] if all(rule in rules for rules in levels)}
    used = sorted({rule for rules in levels for rule in rules})
    bounds, switches = {}, []
    for at in used:
        rule = decision.rules[at]
        asked = rule.rule.conditions
        by_group = any(isinstance(value, Mapping) for value in asked.values())
        if at in shared and rule.rule.signal in signals and set(asked) <= SLIDERS and not by_group:
            bounds[rule.rule.signal] = dict(asked)
        else:
            switches.append((rule, at in shared))
    return bounds, switches


def _drawn(
    part: Part, columns: Columns, cuts: Mapping[str, Found], signals: Sequence[str], switches: Sequence[Resolved]
) -> Drawn:
    """A part's rows of the sample."""
    found = columns.of(part)
    pool = found.chosen_from()
    strata, draws = _strata(pool), pool.draw(PURPOSE)
    column = ranked(draws, pool.weight("pages"), lowest=True, within=pa.array(strata, pa.string()))
    taken = cuts["share"].keeps(column, 0) | cuts["least"].keeps(column, 0)
    domains = storage.read_table(part.source, ["domain"])["domain"].filter(pa.array(found.free))
    rows = {
        "part": pa.array([part.name] * len(pool)),
        "row": pa.array(np.flatnonzero(found.free)),
        "draw": pa.array(draws),
        "stratum": pa.array(strata, pa.string()),
        "domain": domains,
        **{f"weight {name}": pa.array(pool.weight(name)) for name in columns.weights},
        **{f"signal {name}": pool.column(name) for name in signals},
    }
    fails = np.array([~rule.passes(pool) for rule in switches], bool).reshape(len(switches), len(pool)).T
    return Drawn(pa.table(rows).filter(pa.array(taken)).combine_chunks(), fails[taken])


def _together(some: Sequence[Drawn]) -> Drawn:
    return Drawn(pa.concat_tables([one.rows for one in some]), np.concatenate([one.fails for one in some]))


def _columns(rows: pa.Table, groups: Mapping[str, str]) -> tuple[list[NumberColumn], list[ChoiceColumn]]:
    """The sample's signals as the page has them, and domains to look into."""
    about = {name: _about(one.function.__doc__) for some in load_groups("filters").values() for name, one in some.items()}
    numbers, choices = [], []
    for name, group in groups.items():
        column = rows[f"signal {name}"]
        told = name, group, about.get(name, "")
        if pa.types.is_boolean(column.type):
            choices.append(_choice(*told, "flag", pc.cast(column, pa.string())))
        elif pa.types.is_string(column.type):
            several = pc.count_distinct(column).as_py() > MOST_CHOICES
            choices.append(_choice(*told, "slice" if several else "text", column))
        else:
            values = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False).astype(np.float32)
            numbers.append(NumberColumn(*told, pa.types.is_integer(column.type), values))
    return numbers, [*choices, _choice("domain", "", "", "slice", rows["domain"])]


def _about(doc: str | None) -> str:
    """The first sentence of a signal's docstring."""
    return " ".join((doc or "").split("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def _choice(
    name: str, group: str, about: str, kind: Literal["flag", "text", "slice"], column: pa.ChunkedArray
) -> ChoiceColumn:
    """The most frequent values of a column, most frequent first, then `(other)` where there are more, then null."""
    counts = Counter(column.to_pylist())
    counts.pop(None, None)
    most = [value for value, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))][:MOST_CHOICES]
    names = [*most, *(["(other)"] if len(counts) > len(most) else []), "(null)"]
    codes = {value: at for at, value in enumerate(most)} | {None: len(names) - 1}
    values = np.array([codes.get(value, len(most)) for value in column.to_pylist()], np.uint16)
    return ChoiceColumn(name, group, about, kind, tuple(names), values)


def _excerpts(rows: pa.Table, over: Over) -> list[Excerpt]:
    """The beginnings of as many pages of the sample as there is room for."""
    first = rows.slice(0, MOST_EXCERPTS)
    wanted: dict[str, dict[int, int]] = {}
    for at, (part, row) in enumerate(zip(first["part"].to_pylist(), first["row"].to_pylist(), strict=True)):
        wanted.setdefault(part, {})[row] = at
    found: list[Excerpt] = over(
        lambda part: _beginnings(part, wanted.get(part.name, {})), lambda some: [one for many in some for one in many]
    )
    return sorted(found, key=lambda one: one.row)


def _beginnings(part: Part, rows: Mapping[int, int]) -> list[Excerpt]:
    """Excerpts of some rows of a part, a batch at a time: the key is the row, the value its place in the sample."""
    found, at = [], 0
    for batch in storage.open_parquet(part.source).iter_batches(1024, columns=["url", "text"]) if rows else ():
        for row in range(batch.num_rows):
            if at + row in rows:
                text = pc.utf8_slice_codeunits(batch["text"].slice(row, 1), 0, READ)[0].as_py() or ""
                address = private_masked(batch["url"][row].as_py() or "", ADDRESS_SHOWN)
                found.append(Excerpt(rows[at + row], address, private_masked(text, EXCERPT_SHOWN)))
        at += batch.num_rows
    return found
