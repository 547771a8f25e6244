"""Bags of hashed terms against weights, where each term counts by the square root of how often it is on the page.

The root keeps a word that is there a hundred times from being the whole page. The squared length of a page's vector is then
the number of its terms, and the distance between two of length 1 is Hellinger's between the shares of their terms.
"""

import numpy as np
import numpy.typing as npt

from filters.kernels.compiled import kernel
from filters.kernels.text import Codes, Offsets

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@kernel
def fill_root_sums(buckets: Codes, first: Offsets, weights: Floats, counts: Counts, out: Floats) -> None:
    """Fill in what `root_sums` returns. `counts` are zero, one a place, and are left so."""
    for page in range(len(first) - 1):
        for at in range(first[page], first[page + 1]):
            counts[buckets[at]] += 1
        for at in range(first[page], first[page + 1]):
            place = buckets[at]
            if counts[place]:
                root = np.sqrt(counts[place])
                counts[place] = 0
                for column in range(weights.shape[1]):
                    out[page, column] += root * weights[place, column]


def root_sums(buckets: Codes, first: Offsets, weights: Floats) -> Floats:
    """The sum over each page's different terms: the root of how often it is there times its row of `weights`.

    buckets: the place of every term; first: the first term of each page, and the number of all; weights: shape (places,
    columns). Shape (pages, columns).
    """
    out = np.zeros((len(first) - 1, weights.shape[1]))
    fill_root_sums(buckets, first, weights, np.zeros(len(weights), np.int64), out)
    return out
