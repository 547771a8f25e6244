"""MinHash signatures and the bands of locality-sensitive hashing, by one compiled pass over a batch of pages.

The probability that two pages share a minimum is the Jaccard similarity of their shingles (Broder 1997). Hash functions are
h_k(x) = f(x) + c_k g(x) mod 2^32 with random c_k. f and g are independent, each (a y + a' z + b mod 2^64) div 2^32 of the
halves y and z of a shingle's 64-bit hash x, with a, a' and b of 64 random bits: multiply-add-shift of vectors, strongly
universal (Dietzfelbinger 1996; Thorup 2015, arXiv 1504.06804, section 3.5). So is every h_k: f alone makes the hashes of two
shingles independent. All but f and g is arithmetic of 32 bits, eight or sixteen functions at a time on common processors.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from filters.draws import draw
from filters.duplicates.shingles import Fold, Shingling, folds, shingle_page
from filters.kernels.compiled import inlined
from filters.kernels.text import Bytes, Hashes, Offsets, finish, kernel, mix, most_in_a_page
from filters.pages import PageBatch

Minima = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.int64]
Family = tuple[Hashes, npt.NDArray[np.uint32]]
HIGH, LOW_HALF = np.uint64(32), np.uint64(0xFFFFFFFF)
MOST = np.uint32(0xFFFFFFFF)
AT_ONCE = 4
"""Shingles that are hashed together: one by one, loads and stores of minima take more than half of the time."""


@cache
def family(hashes: int) -> Family:
    """a, a', b of f, then of g; and the c of so many hash functions. The first of a larger family are those of a smaller."""
    numbers = np.arange(max(hashes, 6), dtype=np.uint64)
    multipliers = (draw(numbers[:hashes], 0, "minhash multipliers") >> HIGH).astype(np.uint32)
    return draw(numbers[:6], 0, "minhash bases"), multipliers


@inlined
def base(shingle: np.uint64, a: np.uint64, other: np.uint64, b: np.uint64) -> np.uint32:
    """f or g of a shingle."""
    return np.uint32((a * (shingle >> HIGH) + other * (shingle & LOW_HALF) + b) >> HIGH)


@kernel
def lower_minima(shingles: Hashes, many: int, bases: Hashes, multipliers: Minima, minima: Minima) -> None:
    """Lower each function's minimum to that over some shingles."""
    f, g = np.empty(AT_ONCE, np.uint32), np.empty(AT_ONCE, np.uint32)
    for begin in range(0, many, AT_ONCE):
        for at in range(AT_ONCE):
            shingle = shingles[min(begin + at, many - 1)]  # the last one again changes no minimum
            f[at] = base(shingle, bases[0], bases[1], bases[2])
            g[at] = base(shingle, bases[3], bases[4], bases[5])
        f0, f1, f2, f3 = f[0], f[1], f[2], f[3]
        g0, g1, g2, g3 = g[0], g[1], g[2], g[3]
        for k in range(len(minima)):
            c = multipliers[k]
            one = min(np.uint32(f0 + np.uint32(c * g0)), np.uint32(f1 + np.uint32(c * g1)))
            other = min(np.uint32(f2 + np.uint32(c * g2)), np.uint32(f3 + np.uint32(c * g3)))
            minima[k] = min(minima[k], min(one, other))


@kernel
def fill_signatures(
    data: Bytes,
    offsets: Offsets,
    fold: Fold,
    words: bool,
    size: int,
    bases: Hashes,
    multipliers: Minima,
    minima: Minima,
    counts: Counts,
) -> None:
    """Lower each page's minima, and fill in how many shingles it has (0: shorter than one)."""
    room = most_in_a_page(offsets) + 1
    pieces, shingles = np.empty(room, np.uint64), np.empty(room, np.uint64)
    for page in range(len(offsets) - 1):
        many = shingle_page(data, offsets[page], offsets[page + 1], fold, words, size, pieces, shingles)
        counts[page] = many
        lower_minima(shingles, many, bases, multipliers, minima[page])


@kernel
def fill_bands(minima: Minima, rows: int, bands: Hashes) -> None:
    """Fill in the 64-bit key of every band: a hash of its number and its minima."""
    for page in range(len(minima)):
        for band in range(bands.shape[1]):
            hashed = np.uint64(band + 1)
            for k in range(band * rows, band * rows + rows):
                hashed = mix(hashed, np.uint64(minima[page, k]))
            bands[page, band] = finish(hashed)


@dataclass(frozen=True)
class Signatures:
    """Of pages: minima uint32 (pages, hashes), and number of shingles int64 (pages,), 0 where a page is shorter than one."""

    minima: Minima
    counts: Counts

    def bands(self, bands: int, rows: int) -> Hashes:
        """The keys of the bands; shape (pages, bands)."""
        keys = np.empty((len(self.minima), bands), np.uint64)
        fill_bands(self.minima, rows, keys)
        return keys

    @property
    def order(self) -> Hashes:
        """A number by which like pages stand near each other: first minima agree as often as two pages share shingles."""
        first = self.minima[:, : min(2, self.minima.shape[1])].astype(np.uint64)
        return first[:, 0] << HIGH | first[:, -1]


def signatures(pages: PageBatch, how: Shingling, hashes: int) -> Signatures:
    """The signatures of a batch."""
    minima, counts = np.full((len(pages), hashes), MOST), np.zeros(len(pages), np.int64)
    fill_signatures(pages.data, pages.offsets, folds(), how.unit == "words", how.size, *family(hashes), minima, counts)
    return Signatures(minima, counts)
