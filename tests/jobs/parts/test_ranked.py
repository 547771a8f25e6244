"""Which page is the better one, and what pages of other scopes have to do with it: nothing."""

import math

import pyarrow as pa

from jobs.parts.ranked import BOTH, alike_pages, best_first

PAGES = [  # component, page, scope, older, id, preferred
    (1, 0, 7, False, "b", [0.5, 10.0]),
    (1, 1, 7, False, "a", [0.5, 10.0]),
    (1, 2, 7, False, "c", [0.9, 1.0]),
    (1, 3, 7, False, "d", [math.nan, 99.0]),
    (1, 4, 7, False, "e", [0.5, 11.0]),
    (1, 5, 8, False, "f", [1.0, 1.0]),
    (1, 1 << 40, 7, True, "z", [math.nan, math.nan]),
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
