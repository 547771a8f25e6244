"""FineWeb's own heuristics in our reading (Penedo et al. 2024, arXiv 2406.17557, 3.6); duplicate lines are in `repetition`.

Lines are separated by newlines, blank ones do not count, white space around a line is no part of it (so CRLF reads like LF).
"""

import numpy as np
import numpy.typing as npt

from filters.heuristics.scripts import by_marks
from filters.kernels.text import Bytes, Codes, Offsets, decode_last, kernel
from filters.kernels.unicode_tables import CLOSING, MARKS, TERMINAL
from filters.pages import PageBatch
from filters.signals import Float, signal

SHORT = 30


@signal(group="fineweb")
def line_punctuation_ratio(pages: PageBatch) -> Float:
    """Share of lines that end with a mark that ends sentences, of any script. FineWeb keeps 0.12 or more (3.6).

    Closing quotes and brackets after the mark are passed over. An ellipsis counts, a comma, colon or semicolon does not.
    Null for Thai and Lao, which end sentences without a mark.
    """
    return by_marks(pages, pages.lines.sum(pages.once(punctuated)) / pages.lines.count)


@signal(group="fineweb")
def short_line_ratio(pages: PageBatch) -> Float:
    """Share of lines of up to 30 characters. FineWeb keeps up to 0.67 (3.6).

    Null for scripts without spaces between words: 30 characters of Chinese or Japanese are a sentence.
    """
    return pages.by_words(pages.lines.sum(pages.lines.lengths <= SHORT) / pages.lines.count)


@signal(group="fineweb")
def newline_word_ratio(pages: PageBatch) -> Float:
    """Newlines per word, those of blank lines included. FineWeb's code keeps up to 0.3; its paper does not mention it."""
    return pages.by_words((pages.all_lines.count - 1) / pages.words.count)


def punctuated(pages: PageBatch) -> npt.NDArray[np.bool_]:
    """Whether the last character of each line, closing quotes and brackets apart, ends sentences."""
    lasts = last_marks(pages.data, pages.lines.starts, pages.lines.ends, MARKS)
    found: npt.NDArray[np.bool_] = MARKS[lasts] & TERMINAL != 0
    return found


@kernel
def last_marks(data: Bytes, starts: Offsets, ends: Offsets, marks: Bytes) -> Codes:
    """The last code point of each line that is not a closing quote or bracket; 0 if all of them are."""
    lasts = np.zeros(len(starts), np.int32)
    for line in range(len(starts)):
        end = ends[line]
        while end > starts[line]:
            code, size = decode_last(data, starts[line], end)
            end -= size
            if not marks[code] & CLOSING:
                lasts[line] = code
                break
    return lasts
