"""Planted copies in one process, from text to verified pairs: as many are found as the curve says, none invented."""

import numpy as np
import pyarrow as pa
import pytest

from filters.duplicates.buckets import ALL_PAIRS, BandRows, link, sketches
from filters.duplicates.curve import collision
from filters.duplicates.forest import components
from filters.duplicates.minhash import signatures
from filters.duplicates.shingles import Shingling, jaccard
from filters.pages import PageBatch

BANDS, ROWS, WORDS = 14, 8, 120
HOW = Shingling("words", 5)


def changed(words, draw, edits):
    """The words with so many replaced by new ones."""
    words = words.copy()
    words[draw.choice(len(words), edits, replace=False)] = draw.integers(0, 2**40, edits)
    return words


@pytest.fixture(scope="module")
def planted():
    """Shingles, planted pairs, pairs compared and how alike those are: clusters, a chain, 500 pages but for a word."""
    draw, pages, pairs = np.random.default_rng(4), [], []

    def put(words, beside=None):
        pages.append(words)
        if beside is not None:
            pairs.append((beside, len(pages) - 1))
        return len(pages) - 1

    for size, clusters in ((2, 700), (5, 60), (30, 6), (300, 2)):
        for _ in range(clusters):
            first = put(draw.integers(0, 2**40, WORDS))
            for _ in range(size - 1):
                put(changed(pages[first], draw, int(draw.integers(1, 8))), first)
    last = put(draw.integers(0, 2**40, WORDS))
    for _ in range(400):
        last = put(changed(pages[last], draw, 1), last)
    first = put(draw.integers(0, 2**40, WORDS))
    for _ in range(500):
        put(changed(pages[first], draw, 1), first)
    texts = [" ".join(f"w{np.base_repr(word, 36).lower().translate(DIGITS)}" for word in words) for words in pages]
    batch = PageBatch(pa.array(texts, pa.large_string()))
    found = signatures(batch, HOW, BANDS * ROWS)
    numbers = np.repeat(np.arange(len(texts)), BANDS)
    zeros = np.zeros(len(numbers), np.uint64)
    hashes = draw.permutation(len(texts)).astype(np.uint64)
    keys = found.bands(BANDS, ROWS)
    rows = BandRows(
        keys.ravel(), zeros.astype(bool), zeros, found.order[numbers], sketches(keys)[numbers], hashes[numbers], numbers
    )
    left, right = link(rows)
    candidates = np.unique(np.stack([numbers[left], numbers[right]], axis=1), axis=0)
    sets = HOW.sets(batch.data, batch.offsets, np.arange(len(texts)))
    alike = np.array([jaccard(sets[one], sets[other]) for one, other in candidates])
    return sets, pairs, candidates, alike


DIGITS = str.maketrans("0123456789", "αβγδεζηθικ")


def linked_at(planted, less):
    """How alike each planted pair is, whether chains link it at that similarity or so much less, its cluster's size."""
    sets, pairs, candidates, alike = planted
    one, other = np.array(pairs).T
    true = np.array([jaccard(sets[left], sets[right]) for left, right in pairs])
    linked = np.zeros(len(pairs), bool)
    for value in np.unique(true):
        some = alike >= value - less
        parts = components(len(sets), candidates[some, 0], candidates[some, 1])
        linked |= (true == value) & (parts[one] == parts[other])
    clusters = components(len(sets), one, other)
    return true, linked, np.bincount(clusters)[clusters][one]


@pytest.mark.parametrize(("sizes", "less"), [((2, ALL_PAIRS), 0.0), ((ALL_PAIRS + 1, 1000), 0.1)])
def test_pairs_are_linked_as_often_as_the_curve_says(planted, sizes, less):
    """At their own similarity in clusters whose pages are all compared, at a little less in others, and in each bin."""
    true, linked, size = linked_at(planted, less)
    among = (size >= sizes[0]) & (size <= sizes[1])
    for low in np.arange(0.5, 1, 0.05):
        some = among & (true >= low) & (true < low + 0.05)
        if some.sum() > 20:
            expected = np.mean([collision(j, BANDS, ROWS) for j in true[some]])
            assert linked[some].mean() >= expected - 3 * np.sqrt(expected * (1 - expected) / some.sum()) - 1 / some.sum()
    assert linked[among & (true >= 0.85)].mean() >= 0.95


def test_a_hot_bucket_costs_a_few_pairs_a_page(planted):
    sets, _, candidates, _ = planted
    assert len(candidates) < 10 * len(sets)


def test_pages_of_no_cluster_are_no_verified_pairs(planted):
    sets, pairs, candidates, alike = planted
    one, other = np.array(pairs).T
    clusters = components(len(sets), one, other)
    wrong = clusters[candidates[:, 0]] != clusters[candidates[:, 1]]
    assert not (wrong & (alike >= 0.5)).any()
