"""Which page is the better one, and what pages of other scopes have to do with it: nothing."""

import itertools
import math

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.duplicates.forest import components
from jobs.parts.ranked import BOTH, alike_pages, best_first, within_scopes

PAGES = [  # component, page, scope, text, older, id, preferred
    (1, 0, 7, 10, False, "b", [0.5, 10.0]),
    (1, 1, 7, 11, False, "a", [0.5, 10.0]),
    (1, 2, 7, 12, False, "c", [0.9, 1.0]),
    (1, 3, 7, 13, False, "d", [math.nan, 99.0]),
    (1, 4, 7, 14, False, "e", [0.5, 11.0]),
    (1, 5, 8, 15, False, "f", [1.0, 1.0]),
    (1, 1 << 40, 7, 1 << 40, True, "z", [math.nan, math.nan]),
]


def table(pairs):
    nodes = [dict(zip(BOTH.names, (*row, None, None), strict=True)) for row in PAGES]
    edges = [{"component": 1, "page": one, "other": other, "jaccard": alike} for one, other, alike in pairs]
    return pa.Table.from_pylist(nodes + edges, schema=BOTH)


def alike(pairs, threshold=0.8):
    found = pa.Table.from_batches(list(alike_pages(iter(table(pairs).to_batches()), threshold)))
    return {row["page"]: row for row in found.to_pylist()}


def test_older_pages_come_first_then_each_signal_null_last_then_the_smallest_id():
    nodes = table([])
    assert [nodes["id"][at].as_py() for at in best_first(nodes).tolist()] == ["z", "f", "c", "e", "a", "b", "d"]


def test_a_page_is_as_alike_as_its_chain_to_a_better_one():
    found = alike([(0, 1, 0.9), (0, 3, 0.95), (1, 2, 0.6)])
    assert [found[page]["similarity"] for page in range(5)] == [0.9, 0.6, 0.0, 0.95, 0.0]
    assert [found[page]["cluster"] for page in range(5)] == ["a", "a", "c", "a", "e"]
    assert [found[page]["size"] for page in range(5)] == [3, 3, 1, 3, 1]


def test_pages_of_two_scopes_are_no_copies_of_each_other():
    found = alike([(2, 5, 1.0), (5, 4, 1.0), (0, 4, 0.7)])
    assert found[2]["similarity"] == found[4]["similarity"] == found[5]["similarity"] == 0.0
    assert found[0]["similarity"] == 0.7 and found[5]["size"] == 1


def test_an_older_page_beats_all_and_is_not_told_of():
    found = alike([(2, 1 << 40, 0.85)])
    assert found[2]["similarity"] == 0.85 and found[2]["size"] == 2 and 1 << 40 not in found


PAGE = st.tuples(st.integers(0, 5), st.integers(0, 2))
PAIR = st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([0.5, 0.8, 0.9]))


@given(st.lists(PAGE, min_size=1, max_size=10), st.lists(PAIR, max_size=8))
@settings(deadline=None, max_examples=200)
def test_texts_that_are_alike_are_so_in_every_scope_that_both_stand_in(pages, pairs):
    """The links of pages, at each threshold, against all pairs of pages compared one by one."""
    text, scope = np.array(pages, np.int64).T
    pairs = [pair for pair in pairs if {pair[0], pair[1]} <= set(text.tolist())]
    ends = np.array([pair[:2] for pair in pairs], np.int64).reshape(-1, 2) * 10  # texts' own numbers have gaps
    found = within_scopes(text * 10, scope, ends, np.array([pair[2] for pair in pairs]))
    alike = {frozenset(pair[:2]): [] for pair in pairs}
    for one, other, weight in pairs:
        alike[frozenset((one, other))].append(weight)
    for threshold in (0.5, 0.8, 0.9, 1.0):
        enough = found[2] >= threshold
        expected = [
            (one, other)
            for one, other in itertools.combinations(range(len(pages)), 2)
            if scope[one] == scope[other]
            and (text[one] == text[other] or max(alike.get(frozenset((text[one], text[other])), [0])) >= threshold)
        ]
        wanted = np.array(expected, np.int64).reshape(-1, 2)
        assert (
            components(len(pages), found[0][enough], found[1][enough]).tolist()
            == components(len(pages), wanted[:, 0].copy(), wanted[:, 1].copy()).tolist()
        )
