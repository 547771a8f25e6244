"""Which pages are compared, and what the walk over verified pairs says for every threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.duplicates.buckets import ALL_PAIRS, NEIGHBOURS, BandRows, link, sketches
from filters.duplicates.forest import components, walk


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """The kernels compile before hypothesis looks at the clock."""
    link(band_rows([(1, False, 0, 0), (1, True, 0, 0)]))
    nothing = np.zeros(0, np.int64)
    walk(1, nothing, nothing, np.zeros(0))
    components(1, nothing, nothing)


def band_rows(rows):
    """Rows of (key, held out, scope, order), pages numbered, ids hashed by some bijection."""
    keys, held_out, scopes, orders = zip(*rows, strict=True) if rows else ((), (), (), ())
    hashes = np.arange(len(rows), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    whole = [np.array(column, np.uint64) for column in (keys, scopes, orders)]
    return BandRows(whole[0], np.array(held_out, bool), whole[1], whole[2], whole[2] * hashes, hashes, np.arange(len(rows)))


def pairs_of(rows):
    left, right = link(rows)
    pairs = list(zip(rows.pages[left].tolist(), rows.pages[right].tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    return pairs


ROW = st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 1), st.integers(0, 3))


@given(st.lists(ROW, max_size=ALL_PAIRS))
@settings(deadline=None)
def test_every_pair_of_a_small_bucket_is_compared_and_no_pair_of_two_buckets(rows):
    rows = band_rows(rows)
    expected = set()
    for one in range(len(rows.pages)):
        for other in range(one):
            same = rows.held_out[one] == rows.held_out[other] and rows.scopes[one] == rows.scopes[other]
            across = rows.held_out[one] != rows.held_out[other]
            if rows.keys[one] == rows.keys[other] and (same or across):
                first = (rows.held_out[one], ~rows.hashes[one]) > (rows.held_out[other], ~rows.hashes[other])
                if same:
                    first = rows.hashes[one] < rows.hashes[other]
                expected.add((one, other) if first else (other, one))
    assert set(pairs_of(rows)) == expected


@given(st.lists(st.tuples(st.just(7), st.booleans(), st.integers(0, 1), st.integers(0, 9)), min_size=40, max_size=90))
@settings(max_examples=30, deadline=None)
def test_a_hot_bucket_costs_a_few_pairs_a_page_and_leaves_nobody_out(rows):
    rows = band_rows(rows)
    pairs = pairs_of(rows)
    assert len(pairs) <= len(rows.pages) * (ALL_PAIRS + 2 * NEIGHBOURS + 1)
    left, right = np.array(pairs).T
    for held_out in (False, True):
        for scope in (0, 1):
            side = np.flatnonzero((rows.held_out == held_out) & (rows.scopes == scope))
            within = np.isin(left, side) & np.isin(right, side)
            assert len(np.unique(components(len(rows.pages), left[within], right[within])[side])) <= 1
            partners = [set(left[right == page]) | set(right[left == page]) for page in side]
            assert len(side) < 2 or max(len(some & set(side.tolist())) for some in partners) == len(side) - 1
    if rows.held_out.any():
        across = rows.held_out[left] != rows.held_out[right]
        assert set(right[across].tolist()) == set(np.flatnonzero(~rows.held_out).tolist())


def test_hubs_of_a_hot_bucket_are_the_page_that_the_others_were_made_from_and_those_like_it():
    """300 pages share one band, and of the others two in five with the first page; two have all of its bands."""
    draw, bands = np.random.default_rng(8), 14
    keys = draw.integers(0, 2**63, (300, bands)).astype(np.uint64)
    first = [123, 7, 250]
    keys = np.where(draw.random(keys.shape) < 0.4, keys[first[0]], keys)
    keys[first[1:]] = keys[first[0]]
    same = np.full(len(keys), 7, np.uint64)
    orders, hashes = (draw.permutation(len(keys)).astype(np.uint64) for _ in range(2))
    rows = BandRows(same, same < 0, same, orders, hashes=hashes, sketches=sketches(keys), pages=np.arange(len(keys)))
    pairs = pairs_of(rows)
    for hub in first:
        assert {page for pair in pairs if hub in pair for page in pair} == set(range(len(keys)))
    assert len(pairs) < (NEIGHBOURS + len(first)) * len(keys)


@given(st.lists(st.tuples(st.just(7), st.booleans(), st.integers(0, 1), st.integers(0, 9)), max_size=60), st.randoms())
@settings(max_examples=30, deadline=None)
def test_pairs_do_not_depend_on_the_order_of_rows(rows, draw):
    rows = band_rows(rows)
    order = list(range(len(rows.pages)))
    draw.shuffle(order)
    assert set(pairs_of(rows)) == set(pairs_of(rows.take(np.array(order, np.int64))))


@st.composite
def graphs(draw):
    pages = draw(st.integers(1, 12))
    page = st.integers(0, pages - 1)
    weight = st.sampled_from([0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0])
    edges = [edge for edge in draw(st.lists(st.tuples(page, page, weight), max_size=25)) if edge[0] != edge[1]]
    return pages, edges


def arrays(edges):
    left, right, weights = zip(*edges, strict=True) if edges else ((), (), ())
    return np.array(left, np.int64), np.array(right, np.int64), np.array(weights, np.float64)


def reached(pages, edges, start, threshold):
    """Every page that chains of pairs of this similarity or more lead to."""
    seen, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        for one, other, weight in edges:
            for here, there in ((one, other), (other, one)):
                if here == page and weight >= threshold and there not in seen:
                    seen.add(there)
                    waiting.append(there)
    return seen


@given(graphs())
@settings(deadline=None)
def test_the_walk_gives_the_largest_threshold_at_which_a_better_page_is_reached(graph):
    pages, edges = graph
    found = walk(pages, *arrays(edges)).similarity
    for page in range(pages):
        linked = [w for *_, w in edges if min(reached(pages, edges, page, w)) < page]
        assert found[page] == max(linked, default=0.0)


@given(graphs())
@settings(deadline=None)
def test_a_rule_at_a_threshold_keeps_what_a_fresh_dedup_at_it_keeps(graph):
    """Ten thresholds, one walk: kept are the best pages of the components that pairs of that similarity or more make."""
    pages, edges = graph
    found = walk(pages, *arrays(edges)).similarity
    for threshold in np.linspace(0.55, 1.0, 10):
        left, right, weights = arrays(edges)
        some = weights >= threshold
        best = np.unique(components(pages, left[some], right[some]))  # pages are numbered best first
        assert np.flatnonzero(found < threshold).tolist() == best.tolist()


@given(graphs(), st.randoms())
@settings(deadline=None)
def test_the_order_of_pairs_and_pairs_that_join_nothing_do_not_matter(graph, draw):
    pages, edges = graph
    forest = walk(pages, *arrays(edges))
    shuffled = [(two, one, weight) for one, two, weight in edges]
    draw.shuffle(shuffled)
    assert (walk(pages, *arrays(shuffled)).similarity == forest.similarity).all()
    kept = [edge for edge, joins in zip(edges, forest.joins, strict=True) if joins]
    assert len(kept) < pages
    assert (walk(pages, *arrays(kept)).similarity == forest.similarity).all()


@given(graphs())
@settings(deadline=None)
def test_components_are_named_by_their_smallest_page(graph):
    pages, edges = graph
    left, right, _ = arrays(edges)
    assert components(pages, left, right).tolist() == [min(reached(pages, edges, page, 0)) for page in range(pages)]
