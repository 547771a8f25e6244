"""MinHash signatures and the bands of locality-sensitive hashing, by one compiled pass over a batch of pages.

The probability that two pages share a minimum is the Jaccard similarity of their shingles (Broder 1997). Hash functions are
h(x) = (a x + b mod 2^64) div 2^32 on the high half x of a shingle's 64-bit hash, with a and b of 64 random bits: multiply-
add- shift, which is strongly universal (Dietzfelbinger 1996; Thorup 2015, arXiv 1504.06804, section 3.3), with no modulus
by a prime and eight of them at a time on common processors.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from filters.draws import draw
from filters.duplicates.shingles import Fold, Shingling, folds, shingle_page
from filters.kernels.text import Bytes, Hashes, Offsets, finish, kernel, mix, most_in_a_page
from filters.pages import PageBatch

Minima = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.int64]
HIGH = np.uint64(32)
MOST = np.uint64(0xFFFFFFFF)


@cache
def family(hashes: int) -> tuple[Hashes, Hashes]:
    """a and b of so many hash functions; shape (hashes,) each. The first ones of a larger family are those of a smaller."""
    numbers = np.arange(hashes, dtype=np.uint64)
    return draw(numbers, 0, "minhash a"), draw(numbers, 0, "minhash b")


@kernel
def lower_minima(shingles: Hashes, many: int, a: Hashes, b: Hashes, minima: Hashes) -> None:
    """Lower each function's minimum to that over some shingles."""
    for at in range(many):
        x = shingles[at] >> HIGH
        for k in range(len(minima)):
            minima[k] = min(minima[k], (a[k] * x + b[k]) >> HIGH)


@kernel
def fill_signatures(
    data: Bytes, offsets: Offsets, fold: Fold, words: bool, size: int, a: Hashes, b: Hashes, minima: Minima, counts: Counts
) -> None:
    """Fill in each page's minima and how many shingles it has (0: shorter than one, minima stay at their most)."""
    room = most_in_a_page(offsets) + 1
    pieces, shingles, lowest = np.empty(room, np.uint64), np.empty(room, np.uint64), np.empty(len(a), np.uint64)
    for page in range(len(offsets) - 1):
        many = shingle_page(data, offsets[page], offsets[page + 1], fold, words, size, pieces, shingles)
        counts[page] = many
        lowest[:] = MOST
        lower_minima(shingles, many, a, b, lowest)
        for k in range(len(a)):
            minima[page, k] = np.uint32(lowest[k])


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
    minima, counts = np.empty((len(pages), hashes), np.uint32), np.zeros(len(pages), np.int64)
    a, b = family(hashes)
    fill_signatures(pages.data, pages.offsets, folds(), how.unit == "words", how.size, a, b, minima, counts)
    return Signatures(minima, counts)
