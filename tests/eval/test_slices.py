"""A slice's place in a stream is a hash of itself alone, and a part finds its slices without the others."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.slices import EVERY, SLICES, copy_hash, slice_key, slice_keys, slices_under
from filters.draws import draw

WORD = 2**64 - 1
words = st.integers(0, WORD)


def mixed(state):
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & WORD
    return state ^ (state >> 31)


def key_by_hand(id_hash, number, replicate, epoch=0):
    key = 0
    for field in (replicate, epoch, id_hash, number):
        key = mixed((key ^ (field & WORD)) + 0x9E3779B97F4A7C15 & WORD)
    return key


def keys(id_hash, number, replicate, epoch=0):
    return slice_key(np.array(id_hash, np.uint64), np.array(number, np.int64), replicate, epoch)


def pages_of(tokens, hashes=None):
    hashes = range(len(tokens)) if hashes is None else hashes
    columns = {"id": [f"page {at}" for at in range(len(tokens))], "id_hash": hashes, "tokens": tokens}
    schema = pa.schema([("id", pa.string()), ("id_hash", pa.uint64()), ("tokens", pa.list_(pa.uint32()))])
    return pa.table(columns, schema=schema)


@given(st.lists(st.tuples(words, st.integers(0, 2**40)), max_size=20), st.integers(-(2**63), 2**63), st.integers(0, 99))
def test_keys_equal_those_worked_out_one_by_one(slices, replicate, epoch):
    found = keys([page for page, _ in slices], [number for _, number in slices], replicate, epoch)
    assert found.tolist() == [key_by_hand(page, number, replicate, epoch) for page, number in slices]


def test_keys_never_change():
    assert keys([0, 1, WORD], [0, 0, 7], replicate=0).tolist() == [
        2391539541053276776,
        15703761562794949698,
        10184828967765552126,
    ]
    assert keys([5], [3], replicate=2, epoch=1).tolist() == [6236938621794608897]


@pytest.mark.parametrize("bits", [range(0, 8), range(28, 36), range(56, 64)])
@pytest.mark.parametrize("varied", ["id_hash", "number", "replicate", "epoch"])
def test_keys_are_uniform_even_where_the_fields_only_count(varied, bits):
    """Chi-squared of 256 cells over 65,536 keys: mean 255, standard deviation 22.6."""
    count, zero = np.arange(2**16), np.zeros(2**16, np.int64)
    found = {
        "id_hash": lambda: keys(count, zero, 1),
        "number": lambda: keys(zero + 7, count, 1),
        "replicate": lambda: np.array([key_by_hand(7, 0, at) for at in range(2**16)], np.uint64),
        "epoch": lambda: np.array([key_by_hand(7, 0, 1, at) for at in range(2**16)], np.uint64),
    }[varied]()
    cells = np.bincount((found >> np.uint64(bits[0])).astype(np.int64) & 255, minlength=256)
    assert ((cells - 256) ** 2 / 256).sum() < 255 + 5 * 22.6


def test_replicates_and_epochs_order_the_same_slices_independently():
    """The rank correlation of any two orders of 10,000 slices is within five standard errors of 0."""
    orders = [keys(np.arange(10_000), np.zeros(10_000), *which) for which in [(0, 0), (1, 0), (0, 1), (2**40, 0)]]
    ranks = np.array([order.argsort().argsort() for order in orders])
    assert np.abs(np.corrcoef(ranks)[np.triu_indices(4, 1)]).max() < 5 / np.sqrt(10_000)


@given(st.lists(st.tuples(words, st.integers(0, 40)), max_size=12), st.integers(1, 9), st.integers(0, 3))
def test_every_token_is_in_exactly_one_slice_and_none_is_empty(pages, context, replicate):
    hashes, tokens = [page for page, _ in pages], [count for _, count in pages]
    found = slice_keys(np.array(hashes, np.uint64), np.array(tokens, np.int64), context, replicate)
    expected = [
        (at, number, key_by_hand(hashes[at], number, replicate), min(context, count - number * context), hashes[at])
        for at, count in enumerate(tokens)
        for number in range(-(-count // context))
    ]
    assert list(zip(*(column.tolist() for column in found), strict=True)) == expected


@settings(deadline=None)  # the first call loads Arrow's functions
@given(
    tokens=st.lists(st.one_of(st.none(), st.lists(st.integers(0, 2**32 - 1), max_size=20)), max_size=10),
    cut=st.integers(0, EVERY),
    context=st.integers(1, 6),
    chunks=st.integers(1, 4),
    skipped=st.integers(0, 3),
)
def test_a_part_gives_the_slices_under_the_cut_and_their_tokens(tokens, cut, context, chunks, skipped):
    whole = pages_of(tokens)
    pages = pa.concat_tables([whole.slice(at * chunks, chunks) for at in range(-(-len(tokens) // chunks))] or [whole])
    pages = pages.slice(skipped)
    expected = [
        {"id": f"page {at}", "id_hash": at, "number": number, "tokens": page[number * context : (number + 1) * context]}
        for at, page in enumerate(tokens)
        if at >= skipped and page
        for number in range(-(-len(page) // context))
        if key_by_hand(at, number, 5) < cut
    ]
    found = slices_under(pages, cut, context, replicate=5)
    assert found.schema == SLICES
    assert found.to_pylist() == expected


def test_a_slice_whose_key_is_the_cut_is_not_under_it():
    pages = pages_of([[1, 2, 3], [4], [5, 6]])
    slices = slice_keys(np.arange(3, dtype=np.uint64), np.array([3, 1, 2]), 2, replicate=0)
    for key in slices.key.tolist():
        assert len(slices_under(pages, key, 2, 0)) == (slices.key < key).sum()
        assert len(slices_under(pages, key + 1, 2, 0)) == (slices.key <= key).sum()


def test_the_first_copy_of_a_page_is_the_page_and_every_other_has_a_place_of_its_own():
    hashes = np.array([0, 1, WORD], np.uint64)
    assert copy_hash(hashes, 0) is hashes
    assert all((copy_hash(hashes, copy) == draw(hashes, copy, "copy of a page")).all() for copy in (1, 2))
    assert len({key for copy in range(4) for key in copy_hash(hashes, copy).tolist()}) == 12


def test_those_that_are_chosen_and_joined_keep_all_that_is_known_of_each():
    slices = slice_keys(np.array([7, 9], np.uint64), np.array([5, 3]), 2, replicate=1)
    chosen = np.array([True, False, True, False, True])
    rows, joined = list(zip(*slices, strict=True)), type(slices).joined([slices.where(chosen), slices.where(~chosen)])
    assert list(zip(*joined, strict=True)) == [rows[0], rows[2], rows[4], rows[1], rows[3]]
