"""A batch of pages as the signals see it: the UTF-8 bytes of an Arrow column, and the units found in them once.

Signals share what is expensive. A unit (word, line, paragraph) is found by one compiled pass over the bytes the first time
a signal asks for it; after that a signal is arithmetic on arrays with one entry per unit or per page.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.kernels import text as kernels
from filters.kernels.unicode_tables import CLASSES, MARKS

Found = TypeVar("Found")
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Units:
    """Pieces of text in page order. Piece k is `data[starts[k]:ends[k]]`; page i owns pieces `first[i]:first[i + 1]`."""

    starts: Counts
    ends: Counts
    first: Counts

    @cached_property
    def count(self) -> Counts:
        """Pieces per page; shape (pages,)."""
        return np.diff(self.first)

    def sum(self, values: npt.NDArray[Any]) -> Counts:
        """Sum over each page of one integer or truth value per piece; shape (pages,)."""
        sums = np.zeros(len(self.first) - 1, np.int64)
        some = self.count > 0
        if some.any():
            sums[some] = np.add.reduceat(values, self.first[:-1][some], dtype=np.int64)
        return sums


@dataclass(frozen=True)
class Words(Units):
    """Words with their code points, 64-bit hashes (equal words, equal hashes) and the union of their character classes.

    Per page: `characters` in words, how many of them are `letters`, and how many letters of scripts without spaces.
    """

    lengths: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.uint64]
    classes: npt.NDArray[np.uint8]
    characters: Counts
    letters: Counts
    spaceless_letters: Counts


@dataclass(frozen=True)
class Passages(Units):
    """Lines or paragraphs: without the white space around lines, with their code points and 64-bit hashes of equality."""

    lengths: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.uint64]

    @cached_property
    def characters(self) -> Counts:
        """Code points in lines, per page, without the white space around each; shape (pages,)."""
        return self.sum(self.lengths)

    @cached_property
    def copies(self) -> npt.NDArray[np.bool_]:
        """Whether each equals an earlier one of its page."""
        copies: npt.NDArray[np.bool_] = kernels.find_copies(self.hashes, self.first)
        return copies


@dataclass(frozen=True)
class Lines(Passages):
    r"""Lines. `starts` and `ends` leave out the white space around them (so also the `\r` of a `\r\n`).

    `heads`, `tails`: first and last code point, -1 in a blank line. `raw_starts`, `raw_ends`: with that white space.
    """

    heads: npt.NDArray[np.int32]
    tails: npt.NDArray[np.int32]
    raw_starts: Counts
    raw_ends: Counts

    def where(self, wanted: npt.NDArray[np.bool_]) -> Self:
        """Only the wanted lines; `wanted` is one truth value per line."""
        first = np.concatenate([[0], np.cumsum(self.sum(wanted))])
        names = [field.name for field in fields(self) if field.name != "first"]
        return type(self)(first=first, **{name: getattr(self, name)[wanted] for name in names})


class PageBatch:
    """The text (and url, where a signal needs it) of some pages, with units found on demand.

    `data` uint8: the bytes; `offsets` int64 (pages + 1): page i is `data[offsets[i]:offsets[i + 1]]`; `valid` bool (pages):
    False where the text is null. Slices, nulls, string and large_string are all taken as they are, without copying text.
    """

    def __init__(self, text: pa.Array, url: pa.Array | None = None) -> None:
        if pa.types.is_string(text.type):
            text = text.cast(pa.large_string())
        if not pa.types.is_large_string(text.type):
            raise TypeError(f"text must be a string or large_string array, got {text.type}")
        _, offsets, data = text.buffers()
        count = len(text)
        self.text = text
        self.url = url
        self.valid: npt.NDArray[np.bool_] = (
            np.ones(count, bool) if text.null_count == 0 else np.asarray(text.is_valid().to_numpy(zero_copy_only=False))
        )
        everything = np.frombuffer(offsets, np.int64) if offsets else np.zeros(count + text.offset + 1, np.int64)
        self.offsets: Counts = everything[text.offset : text.offset + count + 1]
        self.data: npt.NDArray[np.uint8] = np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)
        self.data.flags.writeable = False  # so that every batch has the same type for the compiler, wherever it came from
        self.offsets.flags.writeable = False
        self._once: dict[Hashable, Any] = {}

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def once(self, find: Callable[..., Found], *arguments: Hashable) -> Found:
        """`find(self, *arguments)`, computed the first time it is asked for and then kept with the batch."""
        key = (find, *arguments)
        if key not in self._once:
            self._once[key] = find(self, *arguments)
        found: Found = self._once[key]
        return found

    @cached_property
    def words(self) -> Words:
        """White-space words, as `str.split()` finds them."""
        return Words(*kernels.find_words(self.data, self.offsets, CLASSES))

    @cached_property
    def all_lines(self) -> Lines:
        r"""Lines as `str.split("\n")` finds them, blank ones too."""
        return Lines(*kernels.find_lines(self.data, self.offsets, CLASSES))

    @cached_property
    def lines(self) -> Lines:
        """The lines that have something else than white space in them."""
        return self.all_lines.where(self.all_lines.lengths > 0)

    @cached_property
    def paragraphs(self) -> Passages:
        """Runs of lines with no blank line between them."""
        lines = self.all_lines
        return Passages(*kernels.find_paragraphs(lines.starts, lines.ends, lines.first, lines.lengths, lines.hashes))

    @cached_property
    def sentences(self) -> Units:
        """Sentences: every line has at least one, and ends one. Abbreviations before white space count as ends, too."""
        lines = self.lines
        return Units(*kernels.find_sentences(self.data, lines.starts, lines.ends, lines.first, CLASSES, MARKS))

    @cached_property
    def line_words(self) -> npt.NDArray[np.int32]:
        """Words in each of `lines`."""
        counts: npt.NDArray[np.int32] = kernels.count_within(self.words.starts, self.lines.starts, self.lines.ends)
        return counts

    @cached_property
    def spaceless(self) -> npt.NDArray[np.bool_]:
        """Pages whose letters mostly belong to scripts without spaces between words; shape (pages,)."""
        return self.words.spaceless_letters * 2 > self.words.letters

    def by_words(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`values`, one per page, masked (null in the column) where words cannot be told apart by white space."""
        return np.ma.masked_array(values, self.spaceless)
