"""Exact copies: a 128-bit hash of a page's text in which every run of white space is one blank.

Nothing else is folded: two pages whose case or numbers differ are near duplicates at most. Equal keys mean equal shingles.
"""

import numpy as np
import numpy.typing as npt
import xxhash

from filters.kernels.text import Bytes, Offsets, decode, kernel
from filters.kernels.unicode_tables import CLASSES, SPACE
from filters.pages import PageBatch

Keys = npt.NDArray[np.int64]
"""128-bit hashes as two signed numbers, the high half first; shape (pages, 2)."""


@kernel
def fold_spaces(data: Bytes, offsets: Offsets, classes: Bytes, folded: Bytes, ends: Offsets) -> None:
    """Write each page's words with one blank between them to `folded`, and where each page ends there to `ends[1:]`."""
    written = 0
    for page in range(len(offsets) - 1):
        at, end = offsets[page], offsets[page + 1]
        begin, waiting = written, False
        while at < end:
            code, size = decode(data, at, end)
            if classes[code] & SPACE:
                waiting = written > begin
            else:
                if waiting:
                    folded[written] = 0x20
                    written += 1
                    waiting = False
                for k in range(at, at + size):
                    folded[written] = data[k]
                    written += 1
            at += size
        ends[page + 1] = written


def text_keys(pages: PageBatch) -> Keys:
    """The key of each page's text."""
    folded = np.empty(int(pages.offsets[-1] - pages.offsets[0]), np.uint8)
    ends = np.zeros(len(pages.offsets), np.int64)
    fold_spaces(pages.data, pages.offsets, CLASSES, folded, ends)
    whole = folded.data
    return keys([whole[ends[page] : ends[page + 1]] for page in range(len(pages))])


def keys(contents: "list[memoryview] | list[bytes]") -> Keys:
    """XXH3 (128 bit) of each content."""
    joined = b"".join(xxhash.xxh3_128_digest(one) for one in contents)
    return np.frombuffer(joined, ">i8").astype(np.int64).reshape(-1, 2)
