"""Rows of Common Crawl's columnar index that pass rules: where records lie that are worth fetching.

The index is Parquet; its columns are the signals of these rules. Beside them stand the partitions in a file's path
(`crawl=.../subset=warc/`), by which whole files are passed over, and `primary_language`, the first of `content_languages`.
Row groups are passed over by their statistics.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from filters.nearest import nearest
from filters.rules import BOUNDS, SAMPLE, Pool, Rule, RuleError, check_types, leaves, parse, resolve
from jobs.parts.refusals import ExperimentError
from jobs.shards.rows import open_parquet

FILE, OFFSET, LENGTH = "warc_filename", "warc_record_offset", "warc_record_length"
SELECTED = pa.schema([("url", pa.string()), (FILE, pa.string()), (OFFSET, pa.int64()), (LENGTH, pa.int64())])
"""What is kept of an index, by its names for it."""
LANGUAGES, PRIMARY = "content_languages", "primary_language"
PARTITION = re.compile(r"([a-z_]+)=([^/]+)(?=/)")
CONDITIONS = {*BOUNDS, "in", "not_in", "is", "null"}
MAY_HOLD: Mapping[str, Callable[[Any, Any, Any], bool]] = {
    "in": lambda low, high, asked: any(low <= one <= high for one in asked),
    "min": lambda low, high, asked: high >= asked,
    "above": lambda low, high, asked: high > asked,
    "max": lambda low, high, asked: low <= asked,
    "below": lambda low, high, asked: low < asked,
}
"""Whether values between two bounds may meet a condition."""


def rules_of(item: Mapping[str, Any], key: str) -> list[Rule]:
    """The rules of an `index:`, without a look at any file. Raises ExperimentError for those that need all rows."""
    try:
        rules = parse(item.get("rules", {}))
    except RuleError as error:
        raise ExperimentError(f"{key}.rules: {error}") from error
    for rule in rules:
        if rule.signal == SAMPLE:
            raise ExperimentError(f"{key}.rules: sample: draws from pages; of an index take hashed: NUMBER")
    for rule in leaves(rules):
        unfit = [name for name, asked in rule.conditions.items() if name not in CONDITIONS or isinstance(asked, Mapping)]
        if unfit:
            known = ", ".join(sorted(CONDITIONS))
            raise ExperimentError(f"{key}.rules.{rule.signal}: {unfit[0]} needs all rows, an index takes {known}")
    return rules


def check(location: str, rules: Sequence[Rule], key: str) -> None:
    """Raise ExperimentError where a file is no such index, or its columns do not fit the rules."""
    try:
        with open_parquet(location) as file:
            types = _types(file.schema_arrow, location)
    except (OSError, pa.ArrowException) as error:
        raise ExperimentError(f"{key}.index: {location} cannot be read: {error}") from error
    for name in SELECTED.names:
        if name not in types:
            raise ExperimentError(f"{key}.index: {location} has no column {name}: it is no columnar index of a crawl")
    for rule in leaves(rules):
        if rule.signal not in types:
            raise ExperimentError(f"{key}.rules: the index has no column {rule.signal!r}: {nearest(rule.signal, [*types])}")
    try:
        check_types(rules, types)
    except RuleError as error:
        raise ExperimentError(f"{key}.rules: {error}") from error


def rows_of(location: str, rules: Sequence[Rule]) -> pa.Table:
    """The rows of a file that pass all rules, as SELECTED. Raises ExperimentError where one of them has no place."""
    partitions = dict(PARTITION.findall(location))
    if not all(_may_hold_partition(rule, partitions) for rule in rules):
        return SELECTED.empty_table()
    with open_parquet(location) as file:
        found = [_passing(file.read_row_group(group, columns), rules, partitions) for group, columns in _groups(file, rules)]
    rows = pa.concat_tables([SELECTED.empty_table(), *found])
    if any(rows[name].null_count for name in (FILE, OFFSET, LENGTH)):
        raise ExperimentError(f"{location} has rows without {FILE}, {OFFSET} or {LENGTH}: is it whole?")
    return rows


def _types(schema: pa.Schema, location: str) -> dict[str, pa.DataType]:
    types = {field.name: field.type for field in schema} | dict.fromkeys(dict(PARTITION.findall(location)), pa.string())
    return types | ({PRIMARY: pa.string()} if LANGUAGES in types else {})


def _may_hold_partition(rule: Rule, partitions: Mapping[str, str]) -> bool:
    """Whether a rule on a partition alone passes; another one may."""
    if rule.any_of or rule.signal not in partitions:
        return True
    pool = Pool(np.zeros(1, np.uint64), {rule.signal: pa.array([partitions[rule.signal]])}, {})
    return bool(resolve(rule, {}, {}).passes(pool)[0])


def _groups(file: pq.ParquetFile, rules: Sequence[Rule]) -> Iterator[tuple[int, list[str]]]:
    """The row groups that may have such rows, and the columns that are needed."""
    places = {file.schema_arrow.field(at).name: at for at in range(len(file.schema_arrow))}
    asked = {LANGUAGES if name == PRIMARY else name for rule in rules for name in rule.columns}
    columns = [name for name in places if name in {*SELECTED.names, *asked}]
    for group in range(file.num_row_groups):
        told = file.metadata.row_group(group)
        if all(_may_hold(rule, told.column(places[rule.signal])) for rule in rules if rule.signal in places):
            yield group, columns


def _may_hold(rule: Rule, column: pq.ColumnChunkMetaData) -> bool:
    statistics = column.statistics
    if rule.keeps_null or statistics is None or not statistics.has_min_max:
        return True
    low, high = statistics.min, statistics.max
    return all(MAY_HOLD[name](low, high, asked) for name, asked in rule.conditions.items() if name in MAY_HOLD)


def _passing(rows: pa.Table, rules: Sequence[Rule], partitions: Mapping[str, str]) -> pa.Table:
    columns = {name: rows[name] for name in rows.column_names}
    columns |= {name: pa.array([value] * len(rows), pa.string()) for name, value in partitions.items()}
    if LANGUAGES in columns:
        columns[PRIMARY] = pc.list_element(pc.split_pattern(pc.cast(rows[LANGUAGES], pa.string()), ","), 0)
    pool = Pool(np.zeros(len(rows), np.uint64), columns, {})
    passes = [resolve(rule, {}, {}).passes(pool) for rule in rules]
    kept = np.logical_and.reduce([np.ones(len(rows), bool), *passes])
    return rows.filter(pa.array(kept)).select(SELECTED.names).cast(SELECTED)
