"""Draws: equal to the slow twin, even, and without a trace of id, seed or purpose in one another."""

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from filters.draws import draw, id_hashes, uniform

PAGES = 100_000
HASHES = id_hashes([f"<urn:uuid:{page:032x}>" for page in range(PAGES)])
ALL = 2**64 - 1

numbers = st.integers(0, ALL)


def slow_mix(state):
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & ALL
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & ALL
    return state ^ (state >> 31)


def slow_draw(hashed, seed, purpose):
    key = xxhash.xxh3_64_intdigest(f"{seed}:{purpose}".encode())
    return slow_mix(slow_mix(hashed ^ key) + key & ALL)


@given(st.lists(numbers, max_size=20), st.integers(-(2**40), 2**70), st.text(max_size=20))
def test_a_draw_is_that_of_the_slow_twin(hashes, seed, purpose):
    found = draw(np.array(hashes, np.uint64), seed, purpose)
    assert found.tolist() == [slow_draw(hashed, seed, purpose) for hashed in hashes]


@given(st.lists(st.text(max_size=300), max_size=20), st.integers(0, 20))
def test_an_id_is_hashed_by_its_utf8_bytes_however_arrow_holds_it(ids, cut):
    expected = [xxhash.xxh3_64_intdigest(one.encode()) for one in ids]
    chunked = pa.chunked_array([pa.array(ids[:cut], pa.string()), pa.array(ids[cut:], pa.string())])
    for held in (ids, pa.array(ids, pa.large_string()), chunked):
        assert id_hashes(held).tolist() == expected


@given(st.lists(numbers, min_size=1, max_size=50))
def test_a_uniform_is_the_leading_53_bits(draws):
    assert uniform(np.array(draws, np.uint64)).tolist() == [(one >> 11) / 2**53 for one in draws]
    assert uniform(np.array([0, ALL], np.uint64)).tolist() == [0.0, 1 - 2**-53]


@pytest.mark.parametrize("hashes", [HASHES, np.arange(PAGES, dtype=np.uint64)], ids=["hashes", "counting"])
@pytest.mark.parametrize("low", [0, 28, 56])
def test_draws_are_even_in_their_leading_middle_and_last_byte(hashes, low):
    """Chi-square over 256 cells: mean 255, deviation 22.6; five deviations either way."""
    for seed, purpose in ((0, "noisy cut"), (1, "noisy cut"), (0, "fold")):
        cells = draw(hashes, seed, purpose) >> np.uint64(low) & np.uint64(255)
        expected = PAGES / 256
        found = ((np.bincount(cells.astype(int), minlength=256) - expected) ** 2 / expected).sum()
        assert 142 < found < 368


@pytest.mark.parametrize(
    ("one", "other"), [((0, "random"), (1, "random")), ((0, "random"), (0, "held out")), ((0, ""), (1, ""))]
)
def test_draws_of_two_seeds_or_purposes_say_nothing_of_each_other(one, other):
    """Chi-square over 16 by 16 cells of pairs, and the correlation over 100,000 pages within five deviations."""
    first, second = draw(HASHES, *one), draw(HASHES, *other)
    cells = (first >> np.uint64(60) << np.uint64(4) | second >> np.uint64(60)).astype(int)
    expected = PAGES / 256
    assert 142 < ((np.bincount(cells, minlength=256) - expected) ** 2 / expected).sum() < 368
    assert abs(np.corrcoef(uniform(first), uniform(second))[0, 1]) < 5 / PAGES**0.5
    assert not (first == second).any()


def test_a_bit_of_the_hash_flips_each_bit_of_the_draw_in_half_of_all_cases():
    """64 by 64 shares of 4,000 cases: a deviation is 0.8 %, and the largest of 4,096 stays under six of them."""
    hashes = HASHES[:4000]
    before = draw(hashes, 7, "avalanche")
    for bit in range(64):
        flipped = before ^ draw(hashes ^ np.uint64(1 << bit), 7, "avalanche")
        shares = np.unpackbits(flipped.view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
        assert (abs(shares - 0.5) < 6 * 0.5 / 4000**0.5).all()


def test_different_hashes_have_different_draws():
    assert len(np.unique(draw(np.arange(PAGES, dtype=np.uint64), 0, ""))) == PAGES
