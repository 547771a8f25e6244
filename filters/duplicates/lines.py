"""Lines that stand on many sites: menus, footers, notices; and how much of a page is made of them.

Lines are compared by their folded words (`filters.duplicates.shingles`), so that a date or the case does not tell them
apart. Lines of fewer words than three are compared with nothing: a `Yes` on a thousand sites is no copy.
"""

import numpy as np
import numpy.typing as npt

from filters.duplicates.shingles import Fold, find_words, folds
from filters.kernels.text import Bytes, Hashes, Offsets, finish, kernel, mix
from filters.pages import PageBatch

LEAST_WORDS = 3
"""Of a line that is compared: CCNet and RefinedWeb drop any line, and with it single words."""


@kernel
def fill_hashes(data: Bytes, starts: Offsets, ends: Offsets, fold: Fold, least: int, hashes: Hashes) -> None:
    """Fill in a hash of the folded words of each line; 0 where it has fewer than `least`."""
    most = 0
    for line in range(len(starts)):
        most = max(most, ends[line] - starts[line])
    pieces = np.empty(most + 1, np.uint64)
    for line in range(len(starts)):
        many = find_words(data, starts[line], ends[line], fold, pieces)
        hashed = np.uint64(many)
        for at in range(many):
            hashed = mix(hashed, pieces[at])
        hashes[line] = finish(hashed) if many >= least else np.uint64(0)


def line_hashes(pages: PageBatch) -> Hashes:
    """A hash for each of `pages.lines`, 0 of those that are compared with nothing."""
    hashes = np.zeros(len(pages.lines.starts), np.uint64)
    fill_hashes(pages.data, pages.lines.starts, pages.lines.ends, folds(), LEAST_WORDS, hashes)
    return hashes


def repeated_char_fraction(pages: PageBatch, repeated: Hashes) -> npt.NDArray[np.float64]:
    """Share of the lines' characters that stand in repeated ones; NaN where a page has no line. `repeated` ascends."""
    hashes = line_hashes(pages)
    place = np.searchsorted(repeated, hashes)
    found = np.append(repeated, np.uint64(0))[place] == hashes
    with np.errstate(invalid="ignore"):
        return pages.lines.sum(pages.lines.lengths * (found & (hashes != 0))) / pages.lines.characters
