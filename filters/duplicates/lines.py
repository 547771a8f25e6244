"""Lines that stand on many sites: menus, footers, notices; and how much of a page is made of them.

Lines are compared by their folded words (`filters.duplicates.shingles`), so that a date or the case does not tell them
apart. Lines of fewer words than three are compared with nothing: a `Yes` on a thousand sites is no copy.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.duplicates.shingles import Fold, find_words, folds
from filters.kernels.text import Bytes, Hashes, Offsets, finish, kernel, mix
from filters.pages import PageBatch
from filters.transforms import text_array

Truth = npt.NDArray[np.bool_]

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


def among(pages: PageBatch, repeated: Hashes) -> Truth:
    """Which of `pages.lines` are repeated ones, given by their hashes, which ascend."""
    hashes = line_hashes(pages)
    place = np.searchsorted(repeated, hashes)
    found: Truth = (np.append(repeated, np.uint64(0))[place] == hashes) & (hashes != 0)
    return found


def repeated_char_fraction(pages: PageBatch, repeated: Hashes) -> npt.NDArray[np.float64]:
    """Share of the lines' characters that stand in repeated ones; NaN where a page has no line. `repeated` ascends."""
    return _share(pages, among(pages, repeated))


def _share(pages: PageBatch, found: Truth) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return pages.lines.sum(pages.lines.lengths * found) / pages.lines.characters


@dataclass(frozen=True)
class Cut:
    """Text (large_string) without some of its lines; how many pages lost lines and how many would have lost too much, the
    lines and the characters in them.
    """

    text: pa.Array
    pages: int
    spared: int
    lines: int
    characters: int


def drop_lines(pages: PageBatch, repeated: Hashes, most: float) -> Cut:
    """The pages without their repeated lines; `repeated` ascends.

    A page of which that would take more than the share `most` of the lines' characters stays as it is: it is made of such
    lines, and whether it is kept at all is for a rule to say.
    """
    found, lines = among(pages, repeated), pages.lines
    spared = _share(pages, found) > most
    found &= ~np.repeat(spared, lines.count)
    dropped = np.zeros(len(pages.all_lines.starts), bool)
    dropped[pages.all_lines.lengths > 0] = found
    data, offsets = np.empty(int(pages.offsets[-1] - pages.offsets[0]), np.uint8), np.zeros(len(pages) + 1, np.int64)
    raw = pages.all_lines
    write_others(pages.data, raw.raw_starts, raw.raw_ends, raw.first, dropped, data, offsets)
    return Cut(
        text_array(data[: offsets[-1]], offsets, pages.valid),
        int((lines.sum(found) > 0).sum()),
        int(spared.sum()),
        int(found.sum()),
        int(lines.lengths[found].sum()),
    )


@kernel
def write_others(
    data: Bytes, starts: Offsets, ends: Offsets, first: Offsets, dropped: Truth, kept: Bytes, offsets: Offsets
) -> None:
    """Write the lines that are not dropped to `kept`, a newline between them, and where each page ends to `offsets[1:]`."""
    at = 0
    for page in range(len(first) - 1):
        begun = False
        for line in range(first[page], first[page + 1]):
            if dropped[line]:
                continue
            if begun:
                kept[at] = 0x0A
                at += 1
            begun = True
            for k in range(starts[line], ends[line]):
                kept[at] = data[k]
                at += 1
        offsets[page + 1] = at
