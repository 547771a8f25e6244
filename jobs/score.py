"""score: the pages table in, one table of signals per group out.

    python -m jobs.score CONF [--set key=value ...] [--dry-run]

A task reads its part once, a row group at a time, and measures every group that has no output yet on the same page batch,
so that words and lines are found once for all of them. Where the experiment has a tokenizer, pages are also encoded here,
once for all subsets: `token_ids/` beside `signals/tokens/`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from classifiers import language
from classifiers.kinds import Floats, Scorer
from eval.tokenizer import encode_batch, load_tokenizer
from filters.files import sha256_of
from filters.kernels.unicode_tables import UNICODE_VERSION
from filters.nearest import nearest
from filters.pages import PageBatch
from filters.quantiles import RANKS, floats, ranked, ranks
from filters.signals import Group, Signal, configure, load_groups
from filters.stores import SCHEMES, local
from jobs.parts import command, deadline, loop, passes, session, storage
from jobs.parts.duplicate_options import SIGNALS
from jobs.parts.experiment_file import Experiment
from jobs.parts.places import Places
from jobs.parts.pool import Columns, cuts_of
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import Part, PartReport, StageReport, Table, parts_of

DEADLINE = deadline.Deadline()
TOKEN_IDS = pa.schema([("id", pa.string()), ("tokens", pa.list_(pa.uint32()))])
STORES = tuple(f"{scheme}://" for scheme in SCHEMES)
TOKEN_COUNT = pa.schema([("id", pa.string()), ("token_count", pa.int64())])


@dataclass(frozen=True)
class Measures:
    """What a worker is sent: the groups, where the tokenizer lies if pages are encoded, which groups are models."""

    groups: Mapping[str, Group]
    tokenizer: str | None
    models: frozenset[str] = frozenset()
    """Classifiers of the experiment. They have no deadline: a model may take long, and how long says nothing of the page."""


def check(experiment: Experiment) -> None:
    """Find what is wrong with the files that options of signals name, before anything is read. Raises ExperimentError."""
    _bound(experiment, [name for name in experiment.signals if name not in experiment.classifiers])


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Measure what is not measured yet."""
    pages = parts_of(Places(experiment.out).pages)
    measures, derived = (
        Measures(groups(experiment), _tokenizer(experiment), frozenset(experiment.classifiers)),
        _derived(experiment),
    )
    tables = _tables(experiment, measures)
    if dry_run:
        print(loop.plan("score", pages, tables))
        return command.OK

    def work(part: Part, missing: Sequence[Table], report: PartReport) -> Iterator[tuple[str, pa.RecordBatch]]:
        return score_part(part, {table.name for table in missing}, measures, report)

    reports = loop.run(lambda: session.session("score"), "score", pages, tables, work)
    for name, kind in derived.items():
        reports[name] = _derive(experiment, name, kind, pages)
    rows = max((report.rows for report in reports.values()), default=0)
    print(f"score: {rows:,} pages, groups {', '.join([*measures.groups, *derived]) or 'none'}")
    for name, report in reports.items():
        if slow := report.counts.get(deadline.REASON):
            print(f"  {slow:>9,}  pages took too long in {name} and have no value there")
    return command.OK


def _tokenizer(experiment: Experiment) -> str | None:
    if experiment.tokenizer is None:
        return None
    folder = Places(experiment.out).tokenizer
    if not storage.exists(folder / "tokenizer.json"):
        raise ExperimentError(f"{folder} has no tokenizer: run jobs.train_tokenizer first")
    return str(local(folder))


def groups(experiment: Experiment) -> dict[str, Group]:
    """Every group the experiment asks for, bound to its options and models. Raises ExperimentError with the nearest name."""
    derived = _derived(experiment)
    return _bound(experiment, [name for name in experiment.signals if name not in derived])


def _bound(experiment: Experiment, asked: Sequence[str]) -> dict[str, Group]:
    known = load_groups("filters", "classifiers")
    bound: dict[str, Group] = {}
    for name in (name for name in asked if name not in SIGNALS):  # those are measured by jobs.dedup
        if name not in known and name not in experiment.classifiers:
            raise ExperimentError(f"unknown signal group {name!r}: {nearest(name, [*known, *experiment.classifiers])}")
        try:
            bound[name] = _group(experiment, name, dict(experiment.signals[name] or {}), known)
        except OSError as error:
            raise ExperimentError(f"signals.{name}: {error.filename or error}: {error.strerror or 'it failed'}") from error
        except ValueError as error:
            raise ExperimentError(f"signals.{name}: {error}") from error
    return bound


def _group(experiment: Experiment, name: str, options: dict[str, Any], known: dict[str, dict[str, Signal]]) -> Group:
    """A group as workers are sent it. Models and lists are tried here, on no pages, so that a bad one stops the job."""
    if name in experiment.classifiers:
        asked = experiment.classifiers[name].options
        folder = Places(experiment.out).classifier(name)
        group = asked.group(name, local(folder) if asked.trained else folder)
    else:
        options = {key: _here(value) for key, value in options.items()}
        group = configure(name, language.resolve(options) if name == "language" else options, known)
    group.measure(pa.array([], pa.string()), PageBatch(pa.array([], pa.string()), pa.array([], pa.string())))
    return group


def _here(value: Any) -> Any:
    """An option; the address of a list or model in a store becomes its copy on this machine."""
    if isinstance(value, list):
        return [_here(item) for item in value]
    return str(local(value)) if isinstance(value, str) and value.startswith(STORES) else value


def _tables(experiment: Experiment, measures: Measures) -> list[Table]:
    places = Places(experiment.out)
    tables = [Table(places.signals(name), _config(group), group.schema) for name, group in measures.groups.items()]
    if measures.tokenizer:
        config = {"tokenizer": sha256_of(Path(measures.tokenizer) / "tokenizer.json")}
        tables += [
            Table(places.signals("tokens"), config, TOKEN_COUNT),
            Table(places.token_ids, config, TOKEN_IDS),
        ]
    return tables


def _derived(experiment: Experiment) -> dict[str, Scorer]:
    """The classifiers whose signals are made of other signals, in the order of the file."""
    kinds = {name: experiment.classifiers[name].options for name in experiment.signals if name in experiment.classifiers}
    return {name: kind for name, kind in kinds.items() if kind.derived_from()}


def _derive(experiment: Experiment, name: str, kind: Scorer, pages: Sequence[Part]) -> StageReport:
    """Rank the signals that a classifier is made of among pages that may be chosen, and write what it makes of the ranks."""
    signals = kind.derived_from()
    columns = Columns.find(experiment, signals)
    schema = pa.schema([("id", pa.string()), *kind.columns(name).items()])
    config = {"identity": kind.identity(), "tables": columns.identities()}
    table = Table(Places(experiment.out).signals(name), config, schema)
    quantiles: dict[str, Floats] = {}
    if loop.to_do("score", pages, [table]):
        spark = session.session("score")
        found = cuts_of(
            dict.fromkeys(signals, RANKS),
            lambda signal, pool: ranked(pool.numbers(signal), pool.weight("pages"), lowest=True),
            columns.only(signals),
            lambda function, merge: passes.merged(spark, "score", pages, function, merge),
        )
        quantiles = {signal: floats(cut.places[:, 0], lowest=True) for signal, cut in found.items()}

    def work(part: Part, *_: Any) -> Iterator[tuple[str, pa.RecordBatch]]:
        pool = columns.of(part).pages
        made = kind.derive(name, [ranks(pool.numbers(signal), quantiles[signal]) for signal in signals])
        values = [pa.array(value, mask=np.isnan(value)) for value in made.values()]
        rows = pa.table([storage.read_table(part.source, ["id"])["id"], *values], schema=schema)
        yield from ((name, batch) for batch in rows.to_batches())

    return loop.run(lambda: session.session("score"), "score", pages, [table], work)[name]


def _config(group: Group) -> dict[str, Any]:
    """What decides a group's values: signals, options, the content of model files, Unicode's version."""
    options = dict(group.options)
    for name, value in group.options.items():
        if isinstance(value, str) and Path(value).is_file():
            options[name] = sha256_of(Path(value))
    return {
        "columns": [signal.name for signal in group.signals],
        "signals": {group.name: options},
        "unicode": UNICODE_VERSION,
    }


def score_part(
    part: Part, missing: set[str], measures: Measures, report: PartReport
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """One part's rows for every table that lacks them, by row groups of pages; pages over the deadline are counted."""
    file = storage.open_parquet(part.source)
    wanted = {name: group for name, group in measures.groups.items() if name in missing}
    models = {name: group for name, group in wanted.items() if name in measures.models}
    measurer = deadline.measurer({name: group for name, group in wanted.items() if name not in models}, DEADLINE)
    for group_index in range(file.num_row_groups):
        rows = file.read_row_group(group_index, columns=["id", "url", "text"]).combine_chunks()
        ids, text, url = (_only_chunk(rows[name]) for name in ("id", "text", "url"))
        for name, found, slow in measurer.measure(pa.record_batch([ids, text, url], ["id", "text", "url"])):
            if slow:
                report.of_table[name][deadline.REASON] += slow
            yield name, found
        pages = PageBatch(text, url)
        for name, group in models.items():
            yield name, group.measure(ids, pages)
        if measures.tokenizer and missing & {"tokens", "token_ids"}:
            yield from _tokens(ids, text, measures.tokenizer)


def _only_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _tokens(ids: pa.Array, text: pa.Array, folder: str) -> Iterator[tuple[str, pa.RecordBatch]]:
    flat, offsets = encode_batch(load_tokenizer(Path(folder)), text.to_pylist())
    tokens = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(flat, pa.uint32()))
    yield "tokens", pa.record_batch([ids, pa.array(offsets[1:] - offsets[:-1], pa.int64())], TOKEN_COUNT)
    yield "token_ids", pa.record_batch([ids, tokens], TOKEN_IDS)


if __name__ == "__main__":
    command.main(main, __doc__, check=check)
