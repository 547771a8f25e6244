"""Signatures estimate Jaccard as a 2-universal family must, and bands find what their curve says."""

import numpy as np
import pyarrow as pa
import pytest

from filters.duplicates import curve, minhash
from filters.duplicates.shingles import Shingling, jaccard
from filters.pages import PageBatch

HOW = Shingling("words", 1)


def pairs_of(similarity, pairs, draw, words=60):
    """Pairs of pages of different words that share as many as gives about this similarity."""
    shared = round(2 * words * similarity / (1 + similarity))
    texts = []
    for _ in range(pairs):
        drawn = [
            f"w{chr(97 + int(n) % 26)}" + np.base_repr(int(n), 26).translate(LETTERS)
            for n in draw.choice(2**40, 2 * words - shared, replace=False)
        ]
        common = drawn[:shared]
        texts += [" ".join(common + drawn[shared:words]), " ".join(common + drawn[words:])]
    return texts


LETTERS = str.maketrans("0123456789", "qrstuvwxyz")


def signed(texts, hashes):
    pages = PageBatch(pa.array(texts, pa.large_string()))
    sets = HOW.sets(pages.data, pages.offsets, np.arange(len(texts)))
    true = np.array([jaccard(sets[at], sets[at + 1]) for at in range(0, len(texts), 2)])
    return minhash.signatures(pages, HOW, hashes), true


@pytest.mark.parametrize("similarity", [0.1, 0.3, 0.5, 0.7, 0.85, 0.95])
def test_the_share_of_equal_minima_is_the_similarity_within_three_standard_errors(similarity):
    """Pairs of different random sets: their errors are those of independent draws, for all pairs and hashes together."""
    pairs, hashes = 600, 112
    found, true = signed(pairs_of(similarity, pairs, np.random.default_rng(1)), hashes)
    equal = (found.minima[0::2] == found.minima[1::2]).mean(axis=1)
    error = np.sqrt((true * (1 - true)).mean() / (pairs * hashes))
    assert abs((equal - true).mean()) < 3 * error
    spread = equal.std() / np.sqrt((true * (1 - true)).mean() / hashes)
    assert 0.85 < spread < 1.15  # slots that depend on each other would lie closer or further


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9])
def test_bands_find_pairs_as_often_as_the_curve_says(similarity):
    pairs = 800
    found, true = signed(pairs_of(similarity, pairs, np.random.default_rng(2)), 112)
    keys = found.bands(14, 8)
    share = (keys[0::2] == keys[1::2]).any(axis=1).mean()
    expected = np.mean([curve.collision(j, 14, 8) for j in true])
    assert abs(share - expected) < 3 * np.sqrt(expected * (1 - expected) / pairs) + 1e-9


def test_minima_are_those_of_the_formula():
    """Of pages of 3 to 12 shingles: some are taken together, and some are left."""
    texts = ["x", *(" ".join(["one", "two", "three", "two", *"abcdefghi"][:words]) for words in range(4, 14))]
    pages = PageBatch(pa.array(texts, pa.large_string()))
    sets = Shingling("words", 2).sets(pages.data, pages.offsets, np.arange(len(texts)))
    found = minhash.signatures(pages, Shingling("words", 2), 5)
    bases, multipliers = minhash.family(5)
    assert found.counts.tolist() == [0, *range(3, 13)] and (found.minima[0] == 2**32 - 1).all()
    for minima, shingles in zip(found.minima[1:].tolist(), sets[1:], strict=True):
        slow = [min(hashed(int(x), [int(a) for a in bases], int(c)) for x in shingles) for c in multipliers]
        assert minima == slow


def hashed(x, bases, multiplier):
    f, g = ((a * (x >> 32) + other * (x % 2**32) + b) % 2**64 >> 32 for a, other, b in (bases[:3], bases[3:]))
    return (f + multiplier * g) % 2**32


def test_the_order_of_words_within_the_page_does_not_matter_to_a_set_of_words():
    pages = PageBatch(pa.array(["a b c d", "d c b a a"], pa.large_string()))
    found = minhash.signatures(pages, HOW, 16)
    assert (found.minima[0] == found.minima[1]).all() and found.order[0] == found.order[1]


def test_known_points_of_known_curves():
    """FineWeb's 14 x 8 (Penedo et al. 2024, section 3.4): 92.4 % at 0.8, 98.8 % at 0.85, 77 % at 0.75, 56 % at 0.7."""
    assert [round(curve.collision(j, 14, 8), 3) for j in (0.7, 0.75, 0.8, 0.85)] == [0.565, 0.772, 0.924, 0.988]


def test_solved_bands_reach_the_recall_and_fewer_rows_would_find_more_below():
    bands, rows = curve.solve(0.8, 0.9, 128)
    assert bands * rows <= 128 and curve.collision(0.8, bands, rows) >= 0.9
    below = sum(curve.collision(0.8 * at / 100, bands, rows) for at in range(100))
    for other in range(1, 129):
        for many in range(1, 128 // other + 1):
            if curve.collision(0.8, many, other) >= 0.9:
                assert sum(curve.collision(0.8 * at / 100, many, other) for at in range(100)) >= below - 1e-12


def test_a_recall_out_of_reach_is_refused():
    with pytest.raises(ValueError, match="take more"):
        curve.solve(0.1, 0.999, 4)


def test_the_curve_is_drawn_with_where_it_crosses_one_half():
    said = curve.curve(20, 13)
    assert said.startswith("20 bands x 13 rows: half of the pairs of similarity 0.77") and "0.80" in said
