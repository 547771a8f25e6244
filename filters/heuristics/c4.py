"""C4's signals in our own reading (Raffel et al. 2020, JMLR 21(140), 2.2, and the authors' code where the paper is silent).

C4 cuts lines out of pages and then judges what is left. Here the cutting is the transform `c4_lines`; these signals say what
it would remove and what would be left, so that a page can be chosen without its text being touched. Lines are separated by
newlines, blank ones do not count, white space around a line is no part of it. Phrases match in any case of ASCII letters.

C4 is English, and its line must end in . ? ! or a closing double quote. Here a line of any script may end in that script's
own marks: Hindi, Arabic or Chinese is not taken for a page of cut lines. Thai and Lao have no such marks: null.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.heuristics.gopher import ELLIPSIS, ellipsis_lines
from filters.heuristics.scripts import by_marks
from filters.kernels.text import (
    Bytes,
    Codes,
    Offsets,
    count_characters,
    count_within,
    decode,
    decode_last,
    kernel,
    next_byte,
    same_phrase,
    sentence_end,
    skip_spaces,
    strip,
)
from filters.kernels.unicode_tables import CLASSES, LAST_QUOTE, MARKS, SPACE, TERMINAL
from filters.pages import PageBatch
from filters.signals import Count, Flag, Float, signal
from filters.transforms import text_array, transform
from filters.units.phrases import Phrases

FEWEST_WORDS = 5  # "only retained lines that contained at least 5 words"
LONGEST_WORD = 1000  # the authors' code: a line with a longer word is dropped
LOREM_IPSUM, CURLY_BRACKET, JAVASCRIPT, SQUARE_BRACKET = 1, 2, 4, 8
POLICY = 0b1111110000
PHRASES = Phrases.of(
    "lorem ipsum", "{", "javascript", "[",
    "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies",
)  # fmt: skip
CITATIONS = np.frombuffer(b"edit]citation needed]", np.uint8).copy()
EDIT = 5  # where the second of them begins


@signal(group="c4")
def terminal_line_fraction(pages: PageBatch) -> Float:
    """Share of lines that end in a mark that ends sentences or in a closing double quote; C4 keeps no other line.

    C4's marks are . ? ! (Raffel et al. 2020, 2.2), here those of every script count (Unicode's Sentence_Terminal), and with
    " and ” the quotes 」 and 』. A line that ends in an ellipsis ("..." or "…") is cut short and does not count, as in the
    authors' code. Null for Thai and Lao, which end sentences without a mark.
    """
    terminal = (MARKS[pages.lines.tails] & (TERMINAL | LAST_QUOTE) != 0) & ~pages.once(ellipsis_lines)
    return by_marks(pages, pages.lines.sum(terminal) / pages.lines.count)


@signal(group="c4")
def sentence_count(pages: PageBatch) -> Count:
    """Sentences on the page as it is. C4 counts those that its line rules leave: see c4_sentence_count.

    A sentence ends with its line or behind a mark of any script that ends sentences. Null for Thai and Lao, which have none.
    """
    return by_marks(pages, pages.sentences.count)


@signal(group="c4")
def short_line_count(pages: PageBatch) -> Count:
    """Lines of fewer than 5 words, which C4 removes (Raffel et al. 2020, 2.2)."""
    return pages.by_words(pages.lines.sum(pages.line_words < FEWEST_WORDS))


@signal(group="c4")
def has_lorem_ipsum(pages: PageBatch) -> Flag:
    """Whether "lorem ipsum" occurs; C4 keeps no such page (Raffel et al. 2020, 2.2)."""
    return pages.lines.sum(found(pages, LOREM_IPSUM)) > 0


@signal(group="c4")
def has_curly_bracket(pages: PageBatch) -> Flag:
    """Whether "{" occurs, as in most programming languages; C4 keeps no such page (Raffel et al. 2020, 2.2)."""
    return pages.lines.sum(found(pages, CURLY_BRACKET)) > 0


@signal(group="c4")
def javascript_line_count(pages: PageBatch) -> Count:
    """Lines that contain "javascript", which C4 removes: mostly warnings to switch it on (Raffel et al. 2020, 2.2)."""
    return pages.lines.sum(found(pages, JAVASCRIPT))


@signal(group="c4")
def policy_line_count(pages: PageBatch) -> Count:
    """Lines about terms of use, privacy or cookies, which C4 removes: one of six phrases (Raffel et al. 2020, 2.2)."""
    return pages.lines.sum(found(pages, POLICY))


@signal(group="c4")
def c4_sentence_count(pages: PageBatch) -> Count:
    """Sentences in what C4's line rules leave. C4 keeps 3 or more (Raffel et al. 2020, 2.2)."""
    return pages.by_words(pages.lines.sum(pages.once(what_is_left).sentences))


@signal(group="c4")
def c4_removed_character_fraction(pages: PageBatch) -> Float:
    """Share of the lines' characters that `c4_lines` would remove."""
    return pages.by_words(1 - pages.lines.sum(pages.once(what_is_left).characters) / pages.lines.characters)


@signal(group="c4")
def c4_removed_word_fraction(pages: PageBatch) -> Float:
    """Share of the words that `c4_lines` would remove."""
    return pages.by_words(1 - pages.lines.sum(pages.once(what_is_left).words) / pages.words.count)


def phrase_bits(pages: PageBatch) -> npt.NDArray[np.uint64]:
    """Which of `PHRASES` each line contains."""
    return PHRASES.in_lines(pages)


def found(pages: PageBatch, bits: int) -> Flag:
    """Whether each line contains one of the phrases of these bits."""
    present: Flag = pages.once(phrase_bits) & np.uint64(bits) != 0
    return present


@transform
def c4_lines(pages: PageBatch) -> pa.Array:
    """Each page without the lines that C4 removes and without citation marks (Raffel et al. 2020, 2.2).

    Citation marks are [1], [], [edit] and [citation needed], in any case. What is left of a line must end as
    `terminal_line_fraction` says, have at least 5 words and none of more than 1,000 characters, and not mention
    JavaScript or a policy. White space around lines goes; the lines are joined by newlines.
    """
    lines = pages.lines
    wanted, marked = pages.once(what_is_left).words > 0, found(pages, SQUARE_BRACKET)
    data, offsets = write_lines(pages.data, lines.starts, lines.ends, lines.first, wanted, marked, CLASSES, CITATIONS)
    return text_array(data, offsets, pages.valid)


class Left(NamedTuple):
    """What C4's rules leave of each line; 0 of everything where they remove it."""

    characters: Codes
    words: Codes
    sentences: Codes


def what_is_left(pages: PageBatch) -> Left:
    """Apply C4's rules to `pages.lines`."""
    lines = pages.lines
    whole = np.stack([lines.lengths, pages.line_words, count_within(pages.sentences.starts, lines.starts, lines.ends)])
    whole[:, found(pages, JAVASCRIPT | POLICY) | (pages.line_words < FEWEST_WORDS)] = 0
    marked = found(pages, SQUARE_BRACKET)
    judge_lines(pages.data, lines.starts, lines.ends, marked, CLASSES, MARKS, CITATIONS, whole)
    return Left(*whole)


@kernel
def citation_length(data: Bytes, at: int, end: int, citations: Bytes) -> int:
    """Bytes of the citation mark that begins with the "[" at `at`; 0 if none does."""
    stop = at + 1
    while stop < end and 0x30 <= data[stop] <= 0x39:
        stop += 1
    if stop < end and data[stop] == 0x5D:
        return stop + 1 - at
    for phrase in (citations[:EDIT], citations[EDIT:]):
        if same_phrase(data, at + 1, at, end, phrase):
            return 1 + len(phrase)
    return 0


@kernel
def without_citations(data: Bytes, start: int, end: int, out: Bytes, at: int, citations: Bytes) -> int:
    """Copy `data[start:end]` to `out` at `at` without citation marks; returns where the copy ends."""
    while start < end:
        mark = next_byte(data, start, end, 0x5B)
        while start < mark:
            out[at] = data[start]
            at += 1
            start += 1
        if start < end:
            length = citation_length(data, start, end, citations)
            if length == 0:
                out[at] = 0x5B
                at += 1
                length = 1
            start += length
    return at


@kernel
def ends_sentence(data: Bytes, start: int, end: int, marks: Bytes) -> bool:
    """Whether the line ends in a mark that ends sentences or in a closing double quote but not in an ellipsis."""
    if end == start:
        return False
    last = decode_last(data, start, end)[0]
    if last == 0x2E:
        return not (end - start >= 3 and data[end - 2] == 0x2E and data[end - 3] == 0x2E)
    return last != ELLIPSIS and marks[last] & (TERMINAL | LAST_QUOTE) != 0


@kernel
def has_words(data: Bytes, start: int, end: int, classes: Bytes) -> bool:
    """Whether the line has at least 5 words and none of more than 1,000 characters."""
    words, length = 0, 0
    at = start
    while at < end and (words < FEWEST_WORDS or end - at + length > LONGEST_WORD):
        code, size = decode(data, at, end)
        length = 0 if classes[code] & SPACE else length + 1
        words += int(length == 1)
        if length > LONGEST_WORD:
            return False
        at += size
    return words >= FEWEST_WORDS


@kernel
def count_words(data: Bytes, start: int, end: int, classes: Bytes) -> int:
    """White-space words in `data[start:end]`."""
    words, inside = 0, False
    while start < end:
        code, size = decode(data, start, end)
        word = classes[code] & SPACE == 0
        words += int(word and not inside)
        inside = word
        start += size
    return words


@kernel
def count_sentences(data: Bytes, start: int, end: int, classes: Bytes, marks: Bytes) -> int:
    """Sentences in one line."""
    sentences = 0
    while start < end:
        start = skip_spaces(data, sentence_end(data, start, end, classes, marks), end, classes)
        sentences += 1
    return sentences


@kernel
def longest(starts: Offsets, ends: Offsets) -> int:
    """The number of bytes in the longest line."""
    most = 0
    for line in range(len(starts)):
        most = max(most, ends[line] - starts[line])
    return most


@kernel
def judge_lines(
    data: Bytes,
    starts: Offsets,
    ends: Offsets,
    marked: npt.NDArray[np.bool_],
    classes: Bytes,
    marks: Bytes,
    citations: Bytes,
    left: npt.NDArray[np.int32],
) -> None:
    """Set characters, words and sentences (rows of `left`, filled in for whole lines) to what C4 leaves of each line."""
    scratch = np.empty(longest(starts, ends), np.uint8)
    for line in range(len(starts)):
        if left[1, line] == 0:
            continue
        start, end, source = starts[line], ends[line], data
        if marked[line]:
            start, end = strip(scratch, 0, without_citations(data, start, end, scratch, 0, citations), classes)
            source = scratch
        if not (ends_sentence(source, start, end, marks) and has_words(source, start, end, classes)):
            left[:, line] = 0
        elif marked[line]:
            left[0, line] = count_characters(source, start, end)
            left[1, line] = count_words(source, start, end, classes)
            left[2, line] = count_sentences(source, start, end, classes, marks)


@kernel
def write_lines(
    data: Bytes,
    starts: Offsets,
    ends: Offsets,
    first: Offsets,
    wanted: npt.NDArray[np.bool_],
    marked: npt.NDArray[np.bool_],
    classes: Bytes,
    citations: Bytes,
) -> tuple[Bytes, Offsets]:
    """Bytes and offsets of pages of the wanted lines, without citation marks in those that are `marked`."""
    size = 0
    for line in range(len(starts)):
        size += ends[line] - starts[line] + 1
    out = np.empty(size, np.uint8)
    offsets = np.zeros(len(first), np.int64)
    at = 0
    for page in range(len(first) - 1):
        for line in range(first[page], first[page + 1]):
            if not wanted[line]:
                continue
            if at > offsets[page]:
                out[at] = 0x0A
                at += 1
            start, end, source = starts[line], ends[line], data
            if marked[line]:
                start, end = strip(out, at, without_citations(data, start, end, out, at, citations), classes)
                source = out
            for k in range(end - start):
                out[at + k] = source[start + k]
            at += end - start
        offsets[page + 1] = at
    return out[:at], offsets
