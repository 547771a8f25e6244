"""Phrases looked for in every line at once: two table look-ups a byte, and a comparison only at the rarest pair of each."""

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from filters.kernels import text as kernels
from filters.pages import PageBatch

RAREST = b"{[zqjxkvbpygfwmucldrhsnioate "  # characters of English text in ascending frequency


def _frequency(pair: bytes) -> int:
    first, *second = [RAREST.find(pair[at : at + 1]) + 1 for at in range(len(pair))]
    return first * (second[0] if second else len(RAREST))


def _either_case(character: bytes) -> list[int]:
    return sorted({*character.lower(), *character.upper()})


class Phrases(NamedTuple):
    """Up to 64 phrases of ASCII in lower case, as arrays for the kernel."""

    text: npt.NDArray[np.uint8]  # all phrases' bytes
    offsets: npt.NDArray[np.int64]  # phrase k is text[offsets[k]:offsets[k + 1]]
    anchors: npt.NDArray[np.int64]  # where in each phrase its rarest pair of characters begins
    triggers: npt.NDArray[np.uint64]  # for each byte, bit k if it is the first of phrase k's pair, in either case
    followers: npt.NDArray[np.uint64]  # the same for the second of the pair; all bytes for a phrase of one character

    @classmethod
    def of(cls, *phrases: str) -> Self:
        """Prepare the phrases; their order gives the bits."""
        encoded = [phrase.encode("ascii") for phrase in phrases]
        anchors = [min(range(max(len(phrase) - 1, 1)), key=lambda at: _frequency(phrase[at : at + 2])) for phrase in encoded]
        triggers, followers = np.zeros((2, 256), np.uint64)
        for k, (phrase, anchor) in enumerate(zip(encoded, anchors, strict=True)):
            triggers[_either_case(phrase[anchor : anchor + 1])] |= np.uint64(1 << k)
            followers[_either_case(phrase[anchor + 1 : anchor + 2]) or slice(None)] |= np.uint64(1 << k)
        offsets = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
        text = np.frombuffer(b"".join(encoded), np.uint8).copy()
        return cls(text, offsets, np.array(anchors, np.int64), triggers, followers)

    def in_lines(self, pages: PageBatch) -> npt.NDArray[np.uint64]:
        """Bit k of each of `pages.lines`: whether it contains phrase k, in any case of ASCII letters."""
        found: npt.NDArray[np.uint64] = kernels.find_phrases(pages.data, pages.lines.starts, pages.lines.ends, *self)
        return found
