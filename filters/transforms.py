"""What edits a page's text: functions of a page batch, by name, for subsets that are written and models that read them.

A filter that cuts lines out of pages hides two decisions in one: which pages, and which parts of them. Here the second is
named apart. What a transform would remove is also measured, as a share of the page, so that a rule can bound it without the
text being touched.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.nearest import nearest
from filters.pages import PageBatch
from filters.signals import Float

Transform = Callable[[PageBatch], pa.Array]

TRANSFORMS: dict[str, Transform] = {}
"""Every transform that has been imported, by name."""


def transform(function: Transform) -> Transform:
    """Make a function a transform of its name: it gives every page's edited text (large_string), null where it was null."""
    name = function.__name__
    if name in TRANSFORMS and TRANSFORMS[name].__module__ != function.__module__:
        raise ValueError(f"transform {name!r} is in {TRANSFORMS[name].__module__} already")
    TRANSFORMS[name] = function
    return function


def apply_transforms(text: pa.Array, names: list[str]) -> pa.Array:
    """The text after each named transform in turn. Raises ValueError for an unknown name."""
    for name in names:
        if name not in TRANSFORMS:
            raise ValueError(f"unknown transform {name!r}: {nearest(name, list(TRANSFORMS))}")
        text = TRANSFORMS[name](PageBatch(text))
    return text


def text_array(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]) -> pa.Array:
    """A large_string array over these bytes: page i is `data[offsets[i]:offsets[i + 1]]`, null where not `valid[i]`."""
    bitmap = pa.array(valid).buffers()[1]
    return pa.Array.from_buffers(pa.large_string(), len(valid), [bitmap, pa.py_buffer(offsets), pa.py_buffer(data)])


def edited(pages: PageBatch, change: Transform) -> PageBatch:
    """The batch after a transform, made once for all signals that ask for it."""
    return pages.once(_edit, change)


def _edit(pages: PageBatch, change: Transform) -> PageBatch:
    return PageBatch(change(pages))


def removed_character_fraction(pages: PageBatch, change: Transform) -> Float:
    """Share of the characters that the transform would remove; white space around lines does not count."""
    return 1 - edited(pages, change).lines.characters / pages.lines.characters


def removed_word_fraction(pages: PageBatch, change: Transform) -> Float:
    """Share of the words that the transform would remove; null where words cannot be told apart by white space."""
    removed: Float = pages.by_words(1 - edited(pages, change).words.count / pages.words.count)
    return removed
