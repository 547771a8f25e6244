"""Signals and rules of a list of texts: `filters.measure` and `filters.keep`, which need no job and no experiment file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.nearest import nearest
from filters.pages import PageBatch
from filters.rule_files import rule_file
from filters.rules import Pool, RuleError, check_types, parse, resolve_in
from filters.signals import Group, configure, load_groups

BATCH_PAGES = 4096
"""Texts that are looked at together, as in a row group of a job."""

Texts = Sequence[str | None]
"""A list, or an Arrow array or column, of texts; None where there is none."""


def measure(texts: Texts, groups: Iterable[str] | Mapping[str, Any], urls: Texts | None = None) -> pa.Table:
    """One row a text, one column a signal of the groups; null where a signal cannot be measured.

    `groups`: names, or names with the options that they have under `signals:`. `urls` are for signals of addresses.
    Raises ValueError for an unknown group or option, with the nearest that is known.
    """
    asked = groups if isinstance(groups, Mapping) else dict.fromkeys([groups] if isinstance(groups, str) else groups)
    known = load_groups("filters")
    return measured(texts, [configure(name, options or {}, known) for name, options in asked.items()], urls)


def measured(texts: Texts, groups: Sequence[Group], urls: Texts | None = None) -> pa.Table:
    """`measure` by groups that are configured."""
    text = _column(texts)
    url = pa.nulls(len(text), pa.string()) if urls is None else _column(urls).cast(pa.string())
    tables = []
    for start in range(0, max(len(text), 1), BATCH_PAGES):
        pages = PageBatch(text[start : start + BATCH_PAGES], url[start : start + BATCH_PAGES])
        rows = [group.measure(pa.nulls(len(pages), pa.string()), pages) for group in groups]
        tables.append(pa.table({name: batch[name] for batch in rows for name in batch.schema.names if name != "id"}))
    return pa.concat_tables(tables).combine_chunks()


def keep(table: pa.Table, rules: str | Mapping[str, Any], seed: int = 0) -> pa.BooleanArray:
    """Which rows pass all rules: a preset of conf/rules/ by name, a file of rules, or a mapping as under `rules:`.

    Shares and bands are those of the table's rows. Noisy cuts draw by the column `id`, or by the number of the row.
    Raises RuleError for a rule that cannot be meant, and for a signal that the table lacks.
    """
    asked = parse(rule_file(rules).rules if isinstance(rules, str) else rules)
    needed = [name for rule in asked for name in sorted(rule.columns)]
    for name in needed:
        if name not in table.column_names:
            raise RuleError(f"the table has no signal {name!r}: {_hint(name, table.column_names)}")
    check_types(asked, {name: table.schema.field(name).type for name in needed})
    ids = table["id"].to_pylist() if "id" in table.column_names else [str(row) for row in range(len(table))]
    weights = {"pages": np.ones(len(table), np.int64)}
    for weight, column in (("bytes", "text_bytes"), ("characters", "text_characters"), ("tokens", "token_count")):
        if column in table.column_names:
            weights[weight] = table[column].fill_null(0).to_numpy()
    pool = Pool(ids, {name: table[name].combine_chunks() for name in table.column_names}, weights, seed)
    passes = [rule.passes(pool) for rule in resolve_in(pool, asked)]
    return pa.array(np.logical_and.reduce([np.ones(len(table), bool), *passes]))


def _hint(signal: str, have: Sequence[str]) -> str:
    where = [group for group, signals in load_groups("filters").items() if signal in signals]
    return f"measure the group {where[0]!r} too" if where else nearest(signal, list(have))


def _column(texts: Texts) -> pa.Array:
    column = texts if isinstance(texts, pa.Array | pa.ChunkedArray) else pa.array(list(texts), pa.large_string())
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pc.cast(whole, pa.large_string())
