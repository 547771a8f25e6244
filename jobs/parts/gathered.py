"""What lies under an experiment's folder, as the report's facts.

The hard part is absence. A sweep that was killed, a subset that came out empty, a run that diverged, a measurement that is
not a number: each is a fact too. Whatever cannot be read becomes a sentence in `Facts.missing`, and the rest is reported.
"""

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.kinds import CARD
from eval.report.compared import read_compared
from eval.report.duplicates import read_duplicates
from eval.report.facts import (
    NOT_TRAINED,
    Cell,
    Drop,
    Facts,
    Packed,
    Run,
    Sample,
    Scores,
    Size,
    Subset,
    Table,
    evenly,
    level_text,
)
from eval.report.scorers import read_scorers
from eval.report.task_scores import read_tasks
from filters.levels import BESIDE
from filters.rules import uniforms
from jobs.parts import grid, storage
from jobs.parts.evaluated import SETS
from jobs.parts.places import Places
from jobs.parts.table import MANIFEST
from jobs.shards.balance import is_balance

CONTROLS = ("unfiltered", None, "random", "inverted", *BESIDE)
"""The order of subsets in the report: the pool, levels, then controls."""
MOST_SAMPLE_ROWS = 50_000  # ids looked at for samples; more would not make three pages more typical
SAMPLES = 3  # kept and dropped pages shown for each level
MOST_SAMPLED_LEVELS = 12
MOST_NAMED = 4  # subsets or runs listed in a sentence
SAMPLE_CHARACTERS = 2_000  # read per page; the report shows fewer


def collect(out: Path, trained: str | None, context: int, asked: Sequence[grid.Cell] = ()) -> Facts:
    """Everything there is under an experiment's folder.

    `trained` names the size, tokens and learning rate of the runs that are judged, or is None where nothing is trained;
    `context` is that of their models; `asked` has every model, budget and rate that was asked for.

    Raises ValueError where there is no such folder.
    """
    places = Places(out)
    if not out.is_dir():
        raise ValueError(
            f"there is no folder {out} to report on: run jobs.experiment, or jobs.choose and what follows, first"
        )
    missing: list[str] = []
    subsets = tuple(subset for subset in subsets_of(places, missing) if subset.control not in BESIDE)
    missing.extend(
        f"{subset.name} is {subset.status}{f': {subset.reason}' if subset.reason else ''}"
        for subset in subsets
        if subset.status != "ok"
    )
    runs = () if trained is None else _runs(places, trained, subsets, missing)
    say_together(
        [run for run in runs if run.finished and not storage.exists(run.folder / "evaluation.parquet")],
        "not evaluated",
        missing,
    )
    names = [subset.name for subset in subsets]
    held_out = scores_of("held_out", names, runs, missing)
    results = () if trained is None else _results(places, trained, missing)
    return Facts(
        name=out.name,
        subsets=subsets,
        runs=runs,
        held_out=held_out,
        pool=scores_of("pool", names, runs, missing),
        reference=scores_of("reference", names, runs, missing),
        results=results,
        tasks=read_tasks(places.items, results, _tasks_left_out(places, missing)),
        cells=tuple(
            Cell(one.model, one.tokens, one.size.learning_rate, one.first_rate, runs, held_out)
            if one.folder == trained
            else _cell(places, one, subsets, missing)
            for one in asked
        ),
        packed=tuple(_packed(places, context, subsets, missing)),
        samples=tuple(_samples(places, subsets, missing)),
        tables=tuple(_tables(places, subsets, missing)),
        languages=_languages(places, missing),
        compared=read_compared(places.compared, missing),
        duplicates=read_duplicates(places.duplicate_facts, missing),
        scorers=read_scorers(
            {folder.name: folder / CARD for folder in storage.folders(places.models)}, places.overlap, missing
        ),
        experiment=_experiment(places, missing),
        missing=tuple(dict.fromkeys(missing)),
        trains=trained is not None,
        explorer=places.explorer.name if storage.exists(places.explorer) else "",
    )


def _cell(places: Places, asked: grid.Cell, subsets: Sequence[Subset], missing: list[str]) -> Cell:
    """The runs of a cell that is not judged; at a rate that not all subsets are trained at, those that are."""
    there = [one for one in subsets if asked.first_rate or places.run(one.name, asked.folder, 0).parent.is_dir()]
    own: list[str] = []
    runs = _runs(places, asked.folder, there, own)
    scores = scores_of("held_out", [one.name for one in there], runs, own)
    missing.extend(f"{asked.folder}: {sentence}" for sentence in own)
    return Cell(asked.model, asked.tokens, asked.size.learning_rate, asked.first_rate, runs, scores)


def _json(path: Path, missing: list[str]) -> dict[str, Any]:
    """A JSON object, or {} and a sentence about it."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        missing.append(f"{path.name} in {path.parent.name}/ cannot be read: {error}")
        return {}
    if isinstance(loaded, dict):
        return loaded
    missing.append(f"{path.name} in {path.parent.name}/ is not a JSON object")
    return {}


def _results(places: Places, trained: str, missing: list[str]) -> tuple[Mapping[str, Any], ...]:
    """The measurements of models of one size, budget and learning rate; all are of one configuration, that of the most."""
    rows = [row for row in _json_lines(places.results, missing) if row.get("trained", trained) == trained]
    hashes = Counter(str(row.get("config_hash")) for row in rows)
    own = [row for row in rows if str(row.get("config_hash")) == max(hashes, key=lambda one: hashes[one])]
    if others := len(rows) - len(own):
        missing.append(f"{others:,} rows of results.jsonl are of another configuration and were left out")
    return tuple(own)


def _tasks_left_out(places: Places, missing: list[str]) -> list[str]:
    """Say which tasks could not be asked; what is missing so far."""
    facts = _json(places.task_facts, missing)
    left = {name: str(one["missing"]) for name, one in facts.items() if isinstance(one, dict) and one.get("missing")}
    if left:
        each = "; ".join(f"{name}, {why}" for name, why in left.items())
        missing.append(f"{len(left):,} {'task was' if len(left) == 1 else 'tasks were'} not asked: {each}")
    return missing


def _json_lines(path: Path, missing: list[str]) -> Iterable[Mapping[str, Any]]:
    if not storage.exists(path):
        missing.append("there is no results.jsonl: nothing has been evaluated")
        return
    for at, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError:
            missing.append(f"line {at} of results.jsonl is not JSON and was left out")
            continue
        if isinstance(row, dict):
            yield row


def _size(value: Any) -> Size:
    fields = value if isinstance(value, dict) else {}
    tokens = fields.get("tokens")
    return Size(int(fields.get("pages") or 0), int(fields.get("bytes") or 0), None if tokens is None else int(tokens))


def subsets_of(places: Places, missing: list[str]) -> tuple[Subset, ...]:
    """The subsets of the sweep, in its order: what else lies there belongs to another sweep."""
    asked = [str(name) for name in _json(places.sweep, missing).get("subsets") or []]
    found = {name: _subset(name, places, missing) for name in asked if storage.exists(places.subset_facts(name))}
    if not found:
        missing.append("there are no subsets: jobs.choose has not run")
    missing.extend(f"the subset {name} is in the sweep but has not been written" for name in asked if name not in found)
    others = sorted({told.stem for told in places.sweep.parent.glob("*.json")} - {*asked, places.sweep.stem})
    if others:
        named = ", ".join(others[:MOST_NAMED]) + (" and others" if len(others) > MOST_NAMED else "")
        are = "subset of another sweep in subsets/ is" if len(others) == 1 else "subsets of other sweeps in subsets/ are"
        missing.append(f"{len(others):,} {are} left aside: {named}")
    return _mildest_first(list(found.values()))


def _mildest_first(subsets: Sequence[Subset]) -> tuple[Subset, ...]:
    """Levels of one swept key by the share that they keep, whatever the order of the file; controls as their levels."""
    levels = [subset for subset in subsets if subset.control is None]
    if len({key for level in levels for key in level.levels}) != 1:
        return tuple(subsets)
    ordered = sorted(levels, key=lambda level: (-(level.share or 0.0), level.name))
    place = {level.name: at for at, level in enumerate(ordered)}
    moved = [
        dataclasses.replace(subset, strength=place.get(subset.of or subset.name, subset.strength))
        if subset.strength is not None
        else subset
        for subset in subsets
    ]
    return tuple(sorted(moved, key=lambda subset: (CONTROLS.index(subset.control), subset.strength or 0)))


def _subset(name: str, places: Places, missing: list[str]) -> Subset:
    facts = _json(places.subset_facts(name), missing)
    languages = facts.get("dropped_by_language") or {}
    drops = tuple(
        Drop(
            str(row.get("rule")),
            alone=_size(row.get("alone")),
            uniquely=_size(row.get("uniquely")),
            in_order=_size(row.get("in_order")),
            by_language=languages.get(str(row.get("rule"))) or {},
            signal=str(row.get("signal") or ""),
        )
        for row in facts.get("dropped") or []
    )
    return Subset(
        name=str(facts.get("name", name)),
        control=facts.get("control"),
        of=facts.get("of"),
        levels=facts.get("levels") or {},
        strength=facts.get("strength"),
        pool=_size(facts.get("in")),
        kept=_size(facts.get("kept")),
        drops=drops,
        held_out=facts.get("held_out") or {},
        status=str(facts.get("status", "unreadable")),
        reason=str(facts.get("reason") or ""),
        rules=facts.get("rules") or {},
        resolved=facts.get("resolved") or {},
        between=tuple(facts.get("between") or ()),
        breadth=tuple(row for row in facts.get("breadth") or [] if isinstance(row, dict)),
    )


def _runs(places: Places, trained: str, subsets: Sequence[Subset], missing: list[str]) -> tuple[Run, ...]:
    """One run for each subset that can be trained on and each replicate found anywhere."""
    replicates = replicates_of(places, trained, [subset.name for subset in subsets])
    if not replicates:
        missing.append("there are no runs: no model has been trained")
    runs = []
    for subset in subsets:
        if subset.status != "ok":
            continue
        runs += [run_of(places, trained, subset.name, replicate, missing) for replicate in replicates]
    say_together([run for run in runs if run.status == NOT_TRAINED], NOT_TRAINED, missing)
    return tuple(runs)


def replicates_of(places: Places, trained: str, names: Sequence[str]) -> list[int]:
    """The replicates of which any of some subsets has a run."""
    folders = [places.run(name, trained, 0).parent for name in names]
    return sorted({int(run.name) for folder in folders for run in storage.folders(folder) if run.name.isdecimal()})


def run_of(places: Places, trained: str, subset: str, replicate: int, missing: list[str]) -> Run:
    """A run as its summary says it ended."""
    folder = places.run(subset, trained, replicate)
    summary = _json(folder / "summary.json", missing)
    run = Run(subset, replicate, str(summary.get("status", NOT_TRAINED)), folder, summary)
    if not run.finished and run.status != NOT_TRAINED:
        reason = summary.get("reason")
        missing.append(f"the run {subset}, replicate {replicate}, is {run.status}{f': {reason}' if reason else ''}")
    return run


def say_together(runs: Sequence[Run], what: str, missing: list[str]) -> None:
    """One sentence for all runs that lack the same."""
    if runs:
        named = ", ".join(f"{run.subset} (replicate {run.replicate})" for run in runs[:MOST_NAMED]) + (
            " and others" if len(runs) > MOST_NAMED else ""
        )
        missing.append(f"{len(runs):,} {'run is' if len(runs) == 1 else 'runs are'} {what}: {named}")


def scores_of(name: str, subsets: Sequence[str], runs: Sequence[Run], missing: list[str]) -> Scores | None:
    """The runs' losses on the pages of one set, side by side; a run that saw other pages or has no number is left out."""
    tables: dict[tuple[str, int], pa.Table] = {}
    first: pa.Table | None = None
    trained: tuple[Any, ...] = ()
    for run in runs:
        table = _evaluation(name, run, missing)
        if table is None:
            continue
        first, trained = (table, _trained(run)) if first is None else (first, trained)
        if not table["id"].equals(first["id"]):
            missing.append(f"the run {run.subset}, replicate {run.replicate}, was evaluated on other pages and was left out")
        elif _trained(run) != trained:
            missing.append(f"the run {run.subset}, replicate {run.replicate}, was trained otherwise and was left out")
        else:
            tables[run.subset, run.replicate] = table
    if first is None or not first.num_rows:
        return None
    measured = {subset for subset, _ in tables}
    names = {subset: at for at, subset in enumerate(one for one in subsets if one in measured)}
    replicates = {replicate: at for at, replicate in enumerate(sorted({replicate for _, replicate in tables}))}
    nll = np.full((len(names), len(replicates), first.num_rows), np.nan)
    for (subset_name, replicate), table in tables.items():
        nll[names[subset_name], replicates[replicate]] = table["nll"].to_numpy()
    size = first["bytes"].to_numpy().astype(np.int64)
    cluster, stratum = (np.array(first[name].to_pylist()) for name in ("cluster", "stratum"))
    repeated = frozenset(run.subset for run in runs if (run.facts.get("epochs") or 0) > 1)
    return Scores(tuple(names), tuple(replicates), nll, size, cluster, stratum, repeated)


def _trained(run: Run) -> tuple[Any, ...]:
    """What all runs that are compared have in common, as their summaries say it."""
    return tuple(run.facts.get(name) for name in ("tokenizer_sha256", "vocabulary", "parameters", "tokens", "regime"))


def page_ids(name: str, runs: Sequence[Run]) -> list[str]:
    """The ids of the pages of one set that runs were evaluated on, in their order; empty where none was."""
    tables = (_evaluation(name, run, []) for run in runs)
    first = next((table for table in tables if table is not None), None)
    return [] if first is None else [str(page) for page in first["id"].to_pylist()]


def _evaluation(name: str, run: Run, missing: list[str]) -> pa.Table | None:
    path = run.folder / "evaluation.parquet"
    if not run.finished or not storage.exists(path):
        return None
    try:
        table = storage.read_table(path, ["id", "set", "passes", "in_pool", "cluster", "stratum", "bytes", "nll"])
    except OSError as error:
        missing.append(f"the evaluation of {run.subset}, replicate {run.replicate}, cannot be read: {error}")
        return None
    in_set = pc.and_(pc.equal(table["set"], SETS[name][0]), table[SETS[name][1]])
    table = table.filter(pc.and_(in_set, pc.greater(table["bytes"], 0)))
    if not np.isfinite(table["nll"].to_numpy()).all():
        missing.append(
            f"the evaluation of {run.subset}, replicate {run.replicate}, has values that are not numbers and was left out"
        )
        return None
    return table


def _packed(places: Places, context: int, subsets: Sequence[Subset], missing: list[str]) -> Iterable[Packed]:
    for subset in subsets:
        facts = _json(places.packed_facts(subset.name, context), missing)
        if (shared := facts.get("shared")) and (replicates := facts.get("replicates")):
            each = list(replicates.values())
            own = sum(one.get("fold") == "own" for one in each)
            tokens, slices, pages = (float(np.mean([one[name] for one in each])) for name in ("tokens", "slices", "pages"))
            epochs = float(np.mean([one["tokens"] / min(one["tokens"], one["pool"]) for one in each]))
            alike = float(shared["tokens"]), float(shared["pages"])
            yield Packed(subset.name, len(each), own, *alike, tokens, slices, pages, epochs)


def _tables(places: Places, subsets: Sequence[Subset], missing: list[str]) -> Iterable[Table]:
    """Tables of pages, then the written subsets whose text was edited."""
    for folder in [places.pages, places.rejected, *storage.folders(places.all_signals), places.token_ids, places.verdicts]:
        name = str(folder.relative_to(places.out))
        if not storage.exists(folder / MANIFEST):
            if folder in (places.pages, places.verdicts) or folder.is_dir():
                missing.append(f"the table {name}/ has no manifest: it was not finished")
            continue
        facts = _json(folder / MANIFEST, missing)
        missing.extend(
            f"the table {name}/ lacks the part {part}, which failed: {why}"
            for part, why in (facts.get("failed") or {}).items()
        )
        yield _table(name, facts | {"counts": {}} if folder == places.rejected else facts)  # its counts are those of pages/
    for subset in subsets:
        facts = _json(places.subset_books(subset.name) / MANIFEST, missing)
        if facts.get("counts"):
            yield _table(f"subsets/{subset.name}", facts)


def _table(name: str, facts: Mapping[str, Any]) -> Table:
    return Table(
        name=name,
        rows=int(facts.get("rows") or 0),
        counts={name: count for name, count in (facts.get("counts") or {}).items() if not is_balance(name)},
        damaged=tuple(facts.get("damaged") or ()),
        versions=facts.get("versions") or {},
        config_hash=str(facts.get("config_hash", "")),
    )


SECRET_KEY = re.compile(r"secret|passw|credential|(access|account|api|private).?key|signature|(^|[._-])(token|sas)$", re.I)
SECRET_VALUE = re.compile(
    r"hf_\w{16,}|(AKIA|ASIA)[0-9A-Z]{16}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)|(?<=[?&])[^=&\s]*(sig|signature|token|key)=[^&\s]+",
    re.I,
)


def _experiment(places: Places, missing: list[str]) -> str:
    """The resolved experiment file as text, with anything that looks like a key or password masked."""
    path = places.experiment
    if not storage.exists(path):
        missing.append("there is no experiment.yaml: the resolved config is unknown")
        return ""
    return "\n".join(_masked(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines())


def _masked(line: str) -> str:
    key, colon, value = line.partition(":")
    if value.strip() and SECRET_KEY.search(key.strip(" -'\"")):
        return f"{key}{colon} (masked)"
    return SECRET_VALUE.sub("(masked)", line)


def _languages(places: Places, missing: list[str]) -> dict[str, int]:
    """Pages of the pool by language, most first; empty where no language was measured."""
    counts = _json(places.sweep, missing).get("languages") or {}
    return {str(name): int(pages) for name, pages in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}


def _samples(places: Places, subsets: Sequence[Subset], missing: list[str]) -> Iterable[Sample]:
    """Pages kept and dropped at each level, decided by a hash of their ids: the same on every machine, chosen by nobody."""
    levels = [subset for subset in subsets if subset.control is None]
    parts = _some_parts(places.verdicts)
    if levels and not parts:
        missing.append("there are no verdicts: sample pages cannot be shown")
    verdicts = {path.name: storage.read_table(path) for path in parts if storage.exists(places.pages / path.name)}
    chosen = []
    for level in evenly(levels, MOST_SAMPLED_LEVELS):
        at = levels.index(level)
        for kept in (True, False):
            rows = _chosen(verdicts, level, levels[at - 1] if at else None, kept)
            chosen += [(level, kept, part, row) for part, row in rows]
    signals = list(dict.fromkeys(_signal_name(key) for level in levels for key in level.levels))
    cells = {
        part: _cells(places, part, {row for _, _, of, row in chosen if of == part}, ["language", *signals])
        for part in verdicts
    }
    for level, kept, part, row in chosen:
        yield _sample(cells[part][row], verdicts[part].slice(row, 1), signals, level, kept)


def _some_parts(folder: Path) -> list[Path]:
    """Parts in an order decided by their names' hash, until they hold enough pages to sample from."""
    parts = sorted(folder.glob("*.parquet"))
    order = np.argsort(uniforms([part.name for part in parts], 0, "parts for samples"), kind="stable")
    taken: list[Path] = []
    rows = 0
    for at in order:
        if rows >= MOST_SAMPLE_ROWS:
            break
        taken.append(parts[at])
        rows += storage.read_metadata(parts[at]).num_rows
    return sorted(taken)


def _chosen(verdicts: Mapping[str, pa.Table], level: Subset, milder: Subset | None, kept: bool) -> list[tuple[str, int]]:
    """Part and row of the pages shown; of dropped pages first those that the next milder level still kept."""
    ranked: list[tuple[bool, float, str, int]] = []
    for part, table in verdicts.items():
        if f"subset {level.name}" not in table.column_names:
            continue
        column = table[f"subset {level.name}"].to_numpy()
        in_pool = ~(table["held_out"].to_numpy() | table["copy_of_held_out"].to_numpy())
        before = f"subset {milder.name}" if milder else ""
        margin = table[before].to_numpy() if before in table.column_names and not kept else np.zeros(len(column), bool)
        rows = np.flatnonzero(in_pool & ((column > 0) == kept))  # a level that repeats pages says how often
        draws = uniforms(table["id"].take(pa.array(rows)).to_pylist(), 0, f"samples of {level.name}")
        ranked.extend((not margin[row], draw, part, int(row)) for row, draw in zip(rows, draws, strict=True))
    return [(part, row) for _, _, part, row in sorted(ranked)[:SAMPLES]]


def _sample(cells: Mapping[str, Any], verdict: pa.Table, signals: Sequence[str], level: Subset, kept: bool) -> Sample:
    rules = {drop.rule: f"rule {drop.rule}" for drop in level.drops}
    failed = [rule for rule, name in rules.items() if name in verdict.column_names and not verdict[name][0].as_py()]
    return Sample(
        subset=level.name,
        kept=kept,
        text=str(cells.get("text") or ""),
        url=str(cells.get("url") or ""),
        language=str(cells.get("language") or ""),
        value=", ".join(f"{signal} {level_text(cells[signal])}" for signal in signals if cells.get(signal) is not None),
        failed=tuple(failed),
    )


def _signal_name(key: str) -> str:
    return key.removeprefix("rules.").split(".")[0]


def _cells(places: Places, part: str, rows: set[int], signals: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Address, text and signals of some pages of a part; a signal that no table has is left out."""
    cells: dict[int, dict[str, Any]] = {row: {} for row in rows}
    for path in [places.pages / part, *sorted(places.all_signals.glob(f"*/{part}"))] if rows else []:
        wanted = ["url", "text"] if path.parent.name == "pages" else signals
        columns = [name for name in storage.read_schema(path).names if name in wanted]
        for row, found in _read_rows(path, columns, rows):
            cells[row] |= found
    return cells


def _read_rows(path: Path, columns: Sequence[str], rows: set[int]) -> Iterable[tuple[int, dict[str, Any]]]:
    """Some rows of a part, a batch at a time and long text cut: a part may hold gigabytes of it."""
    first = 0
    for batch in storage.open_parquet(path).iter_batches(batch_size=1024, columns=columns) if columns else ():
        for row in sorted(row for row in rows if first <= row < first + batch.num_rows):
            yield row, {name: _cut(batch[name].slice(row - first, 1)) for name in columns}
        first += batch.num_rows


def _cut(cell: pa.Array) -> Any:
    is_text = pa.types.is_string(cell.type) or pa.types.is_large_string(cell.type)
    return (pc.utf8_slice_codeunits(cell, 0, SAMPLE_CHARACTERS) if is_text else cell)[0].as_py()
