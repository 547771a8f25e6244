"""The arithmetic of the rounds, without Spark: stars end at components, and a file that lost rows is no file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.duplicates.forest import components
from jobs.parts.refusals import InvariantBroken
from jobs.parts.repeated_lines import FOUND, LINES, repeated_rows
from jobs.parts.spills import batches, row_sums
from jobs.parts.stars import large_star, small_star
from jobs.parts.table import Part

PAIRS = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), max_size=25)


def once(one, other):
    pairs = sorted(set(zip(one.tolist(), other.tolist(), strict=True)))
    return np.array(pairs, np.int64).reshape(-1, 2).T


@given(PAIRS)
@settings(deadline=None)
def test_stars_in_turn_end_at_the_smallest_page_of_each_component(pairs):
    pairs = [pair for pair in pairs if pair[0] != pair[1]]
    one, other = np.array(pairs, np.int64).reshape(-1, 2).T
    names = components(16, one, other)
    links, rounds = once(one, other), 0
    while True:
        before = links
        both = once(np.concatenate(links), np.concatenate(links[::-1]))
        large = once(*large_star(*both))
        links = once(*small_star(large.max(axis=0), large.min(axis=0)))
        rounds += 1
        if links.tolist() == before.tolist():
            break
    assert rounds < 12
    expected = {(page, name) for page, name in enumerate(names.tolist()) if page != name}
    assert set(zip(*links.tolist(), strict=True)) == expected


@given(
    st.lists(st.tuples(st.integers(), st.integers()).map(lambda pair: tuple(k % 2**62 for k in pair)), max_size=8),
    st.randoms(),
)
@settings(deadline=None)
def test_sums_tell_sets_of_rows_apart_whatever_their_order(rows, draw):
    def sums(some):
        columns = list(zip(*some, strict=True)) or [(), ()]
        return row_sums(
            pa.RecordBatch.from_pydict(
                {name: pa.array(column, pa.int64()) for name, column in zip("ab", columns, strict=True)}
            )
        )

    shuffled = rows[:]
    draw.shuffle(shuffled)
    assert sums(shuffled) == sums(rows)
    assert sums([*rows, (1, 2)]) != sums(rows) != sums([*rows, (2, 1)])
    assert sums([*rows, (1, 2)]) != sums([*rows, (2, 1)])


def test_a_file_that_lost_rows_stops_the_job(tmp_path):
    pq.write_table(pa.table({"one": [1, 2, 3]}), tmp_path / "a.parquet")
    assert sum(map(len, batches(Part("a", str(tmp_path / "a.parquet"), "", "3")))) == 3
    with pytest.raises(InvariantBroken, match="3 rows where 4 were written"):
        list(batches(Part("a", str(tmp_path / "a.parquet"), "", "4")))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.integers(0, 4)), max_size=30), st.integers(1, 3))
@settings(deadline=None)
def test_lines_of_more_sites_than_asked_are_named_once_for_each_part(rows, others):
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    table = pa.table([pa.array(column, pa.int64()) for column in columns], schema=LINES)
    found = pa.Table.from_batches(list(repeated_rows(iter(table.to_batches()), others)), FOUND)
    sites = {line: {site for _, some, site in rows if some == line} for _, line, _ in rows}
    expected = {(part, line, len(sites[line]) - 1) for part, line, _ in rows if len(sites[line]) > others}
    assert sorted(zip(*found.to_pydict().values(), strict=True)) == sorted(expected)
