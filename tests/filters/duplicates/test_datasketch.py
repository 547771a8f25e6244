"""datasketch as the oracle of signatures and bands: the same estimates within their error, the same pairs as often."""

import datasketch
import numpy as np
import pyarrow as pa
import pytest

from filters.duplicates.minhash import signatures
from filters.duplicates.shingles import Shingling, jaccard
from filters.pages import PageBatch

HASHES, BANDS, ROWS, PAIRS = 112, 14, 8, 300


@pytest.mark.parametrize("shared", [40, 60, 75, 90])
def test_estimates_and_candidates_are_those_of_datasketch(shared):
    """Pairs of random sets of words, whose shingles both sides hash for themselves."""
    draw, words = np.random.default_rng(shared), [chr(0x4E00 + k) for k in range(15_000)]
    texts = []
    for _ in range(PAIRS):
        drawn = [words[k] for k in draw.choice(len(words), 200 - shared, replace=False)]
        texts += ["".join(drawn[:100]), "".join(drawn[100 - shared :])]
    pages, how = PageBatch(pa.array(texts, pa.large_string())), Shingling("words", 1)
    sets = how.sets(pages.data, pages.offsets, np.arange(len(texts)))
    true = np.array([jaccard(sets[at], sets[at + 1]) for at in range(0, len(texts), 2)])
    ours = signatures(pages, how, HASHES)
    theirs = []
    for one in sets:
        sketch = datasketch.MinHash(num_perm=HASHES, scheme="affine32")
        sketch.update_batch([value.tobytes() for value in one])
        theirs.append(sketch)
    estimates = (ours.minima[0::2] == ours.minima[1::2]).mean(axis=1)
    others = np.array([theirs[at].jaccard(theirs[at + 1]) for at in range(0, len(theirs), 2)])
    error = np.sqrt((true * (1 - true)).mean() / (PAIRS * HASHES))
    assert abs((estimates - true).mean()) < 3 * error and abs((others - true).mean()) < 3 * error
    keys = ours.bands(BANDS, ROWS)
    found = (keys[0::2] == keys[1::2]).any(axis=1)
    index = datasketch.MinHashLSH(num_perm=HASHES, params=(BANDS, ROWS))
    for at in range(0, len(theirs), 2):
        index.insert(at, theirs[at])
    expected = np.array([at in index.query(theirs[at + 1]) for at in range(0, len(theirs), 2)])
    assert abs(found.mean() - expected.mean()) < 3 * np.sqrt(2 * 0.25 / PAIRS)
