r"""C4 as its authors' code makes it (TensorFlow Datasets, c4_utils.py), which is not what the paper says nor what peers do.

A line meets the rules in a fixed order, and what an earlier one removes no later one sees: "lorem ipsum" or "{" drop a page
only from a line that ends a sentence and has five words. So each line is followed to its fate, and columns count the fates.
Lines are those of `str.splitlines`, stripped; blank ones count for nothing here (C4's reader of WET files drops them).

Sentences are Punkt's without its English model, which has learned that "Mr." ends none; docs/readings_others.md has what
that costs. Bad words, language, URLs and duplicate lines are other groups' matter.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.kernels.text import decode, decode_last, kernel, next_byte, strip
from filters.kernels.unicode_tables import CLASSES, DIGIT, LINE_BREAK, SPACE, UPPER
from filters.pages import PageBatch
from filters.signals import Count, Flag, Float, signal
from filters.transforms import removed_character_fraction, removed_word_fraction, text_array, transform
from filters.units.marks import CASE, Bytes, Offsets, measure, same, strings

LONGEST_WORD = 1000
FEWEST_WORDS = 5
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
PHRASES = ("lorem ipsum", "javascript", *POLICIES)  # eight, so that a byte has a bit for each
CURLY = ord("{")
CITATIONS = ("[edit]", "[citation needed]")

KEPT, LONG_WORD, UNTERMINATED, SHORT, JAVASCRIPT, POLICY = range(6)
LOREM_IPSUM, CURLY_BRACKET, SENTENCES = 6, 7, 8  # beside the fates, per page
FACTS = 9

IN_LOREM_IPSUM, IN_JAVASCRIPT, IN_POLICY = 0b1, 0b10, 0b11111100


@kernel
def citation_end(data: Bytes, at: int, end: int, classes: Bytes, marks: Bytes, marks_at: Offsets) -> int:
    """Where the citation mark that starts at `at` ends: [1], [], [edit] or [citation needed]; `at` if none does."""
    for one in range(len(marks_at) - 1):
        stop = at + int(marks_at[one + 1] - marks_at[one])
        if stop <= end and same(data, at, marks, marks_at[one], marks_at[one + 1], False):
            return stop
    stop = at + 1
    while stop < end:
        code, size = decode(data, stop, end)
        if code == 0x5D:
            at = stop + 1
        if not classes[code] & DIGIT:
            break
        stop += size
    return at


@kernel
def copy_without_citations(
    data: Bytes, at: int, end: int, out: Bytes, to: int, classes: Bytes, marks: Bytes, marks_at: Offsets
) -> int:
    """Copy `data[at:end]` to `out[to:]` without citation marks; where the copy ends."""
    while at < end:
        if data[at] == 0x5B:
            behind = citation_end(data, at, end, classes, marks, marks_at)
            if behind > at:
                at = behind
                continue
        out[to] = data[at]
        at += 1
        to += 1
    return to


@kernel
def words_and_longest(data: Bytes, at: int, end: int, classes: Bytes) -> tuple[int, int]:
    """White-space words of the line, and the characters of the longest."""
    words, length, longest = 0, 0, 0
    while at < end:
        code, size = decode(data, at, end)
        length = 0 if classes[code] & SPACE else length + 1
        words += length == 1
        longest = max(longest, length)
        at += size
    return words, longest


@kernel
def terminated(data: Bytes, start: int, end: int) -> bool:
    """Whether the line ends with one of . ? ! and the straight double quote, but not with three full stops."""
    if end == start or data[end - 1] not in (0x2E, 0x3F, 0x21, 0x22):
        return False
    return not (end - start >= 3 and data[end - 1] == 0x2E and data[end - 2] == 0x2E and data[end - 3] == 0x2E)


@kernel
def starts_big(data: Bytes, at: int, end: int, classes: Bytes) -> bool:
    """Whether the next thing behind white space is a capital letter."""
    while at < end:
        code, size = decode(data, at, end)
        if not classes[code] & SPACE:
            return bool(classes[code] & UPPER)
        at += size
    return False


@kernel
def is_initial(data: Bytes, start: int, at: int, classes: Bytes) -> bool:
    """Whether the full stop at `at` follows a word of a single capital letter, as in "J. Smith"."""
    if at == start:
        return False
    code, size = decode_last(data, start, at)
    if not classes[code] & UPPER:
        return False
    return at - size == start or classes[decode_last(data, start, at - size)[0]] & SPACE != 0


@kernel
def count_sentences(data: Bytes, start: int, end: int, classes: Bytes) -> int:
    """Sentences of a line that is not empty: Punkt's, as far as it goes without a learned model.

    An end mark ends one if white space follows, or a closing quote or bracket, and more of the line behind them. A full stop
    does not after another one, nor after a single capital letter when a capital follows.
    """
    sentences = 1
    at = start
    while at < end:
        mark = data[at]
        at += 1
        if mark not in (0x2E, 0x3F, 0x21):
            continue
        behind = at
        while behind < end and data[behind] in (0x22, 0x27, 0x29, 0x5D, 0x7D):  # " ' ) ] }
            behind += 1
        if behind == end:
            break
        space = classes[decode(data, behind, end)[0]] & SPACE != 0
        if not space and behind == at:
            continue
        if mark == 0x2E:
            if at - 2 >= start and data[at - 2] == 0x2E:
                continue
            if is_initial(data, start, at - 1, classes) and starts_big(data, behind, end, classes):
                continue
        sentences += 1
        at = behind
    return sentences


@kernel
def phrases_in(data: Bytes, start: int, end: int, phrases: Bytes, phrases_at: Offsets, heads: Bytes) -> int:
    """The phrases that are in the line in any case of ASCII letters, bit k for phrase k."""
    found = 0
    for at in range(start, end):
        candidates = heads[data[at]]
        one = 0
        while candidates:
            stop = at + phrases_at[one + 1] - phrases_at[one]
            if candidates & 1 and stop <= end and same(data, at, phrases, phrases_at[one], phrases_at[one + 1], True):
                found |= 1 << one
            candidates >>= 1
            one += 1
    return found


@kernel
def phrase_heads(phrases: Bytes, phrases_at: Offsets) -> Bytes:
    """Which phrases begin with each byte, in any case of ASCII letters: bit k for phrase k; shape (256,)."""
    heads = np.zeros(256, np.uint8)
    for one in range(len(phrases_at) - 1):
        head = phrases[phrases_at[one]]
        heads[head] |= 1 << one
        if 0x61 <= head <= 0x7A:
            heads[head ^ CASE] |= 1 << one
    return heads


@kernel
def fate(
    data: Bytes, start: int, end: int, classes: Bytes, phrases: Bytes, phrases_at: Offsets, heads: Bytes, facts: Offsets
) -> int:
    """What becomes of a line without its citation marks; what it says about its page is added to `facts`."""
    if not terminated(data, start, end):
        return UNTERMINATED
    if words_and_longest(data, start, end, classes)[0] < FEWEST_WORDS:
        return SHORT
    found = phrases_in(data, start, end, phrases, phrases_at, heads)
    facts[LOREM_IPSUM] += found & IN_LOREM_IPSUM
    if found & IN_JAVASCRIPT:
        return JAVASCRIPT
    facts[CURLY_BRACKET] += next_byte(data, start, end, CURLY) < end
    if found & IN_POLICY:
        return POLICY
    facts[SENTENCES] += count_sentences(data, start, end, classes)
    return KEPT


@kernel
def line_end(data: Bytes, at: int, end: int, classes: Bytes) -> tuple[int, int]:
    r"""Where the line at `at` ends, and where the next one starts: at any line break of `str.splitlines`, `\r\n` is one."""
    while at < end:
        if 0x20 <= data[at] < 0x80:
            at += 1
            continue
        code, size = decode(data, at, end)
        if classes[code] & LINE_BREAK:
            if code == 0x0D and at + 1 < end and data[at + 1] == 0x0A:
                return at, at + 2
            return at, at + size
        at += size
    return end, end


@kernel
def clean_pages(
    data: Bytes, offsets: Offsets, classes: Bytes, phrases: Bytes, phrases_at: Offsets, marks: Bytes, marks_at: Offsets
) -> tuple[Bytes, Offsets, Offsets]:
    """Bytes and offsets of the cleaned pages, and their facts: by fate, then what drops a page; (FACTS, pages)."""
    pages = len(offsets) - 1
    heads = phrase_heads(phrases, phrases_at)
    facts = np.zeros((FACTS, pages), np.int64)
    out = np.empty(offsets[-1] - offsets[0] + pages, np.uint8)
    new = np.zeros(pages + 1, np.int64)
    of_page = np.zeros(FACTS, np.int64)
    for page in range(pages):
        to, next_line, stop = new[page], offsets[page], offsets[page + 1]
        of_page[:] = 0
        while next_line < stop:
            line = next_line
            end, next_line = line_end(data, line, stop, classes)
            start, end = strip(data, line, end, classes)
            if start == end:
                continue
            if end - start > LONGEST_WORD and words_and_longest(data, start, end, classes)[1] > LONGEST_WORD:
                of_page[LONG_WORD] += 1
                continue
            begin = to + int(to > new[page])
            behind = copy_without_citations(data, start, end, out, begin, classes, marks, marks_at)
            became = fate(out, begin, behind, classes, phrases, phrases_at, heads, of_page)
            of_page[became] += 1
            if became == KEPT:
                if begin > to:
                    out[to] = 0x0A
                to = behind
        facts[:, page] = of_page
        start, end = strip(out, new[page], to, classes)
        for k in range(end - start):
            out[new[page] + k] = out[start + k]
        new[page + 1] = new[page] + end - start
    return out[: new[-1]].copy(), new, facts


@dataclass(frozen=True)
class Cleaned:
    """The cleaned pages' bytes and offsets, and per page what became of its lines; `facts` has the shape (FACTS, pages)."""

    data: Bytes
    offsets: Offsets
    facts: npt.NDArray[np.int64]


def cleaned(pages: PageBatch) -> Cleaned:
    """The pages after C4's line rules."""
    found: Any = clean_pages(pages.data, pages.offsets, CLASSES, *strings(*PHRASES), *strings(*CITATIONS))
    return Cleaned(*found)


@transform
def c4_tfds(pages: PageBatch) -> pa.Array:
    """Each page with the lines that C4's code keeps, without citation marks, joined by newlines.

    A line goes if it has a word of more than 1,000 characters, does not end with . ? ! or a straight double quote, ends with
    "...", has fewer than 5 words, mentions JavaScript or one of six phrases about policies.
    """
    found = pages.once(cleaned)
    return text_array(found.data, found.offsets, pages.valid)


def _fact(pages: PageBatch, which: int) -> Count:
    counts: Count = pages.once(cleaned).facts[which]
    return counts


@signal(group="c4_tfds")
def character_count_tfds(pages: PageBatch) -> Count:
    """Code points of the page before anything is removed. C4 keeps up to 190,000."""
    lengths: npt.NDArray[np.int32] = measure(pages.data, pages.offsets[:-1], pages.offsets[1:])[0]
    return lengths.astype(np.int64)


@signal(group="c4_tfds")
def kept_line_count_tfds(pages: PageBatch) -> Count:
    """Lines that C4's line rules leave."""
    return _fact(pages, KEPT)


@signal(group="c4_tfds")
def long_word_line_count_tfds(pages: PageBatch) -> Count:
    """Lines that go because a word has more than 1,000 characters, the first rule."""
    return _fact(pages, LONG_WORD)


@signal(group="c4_tfds")
def unterminated_line_count_tfds(pages: PageBatch) -> Count:
    """Lines that go because they end with no end mark, or with "...", the second rule."""
    return _fact(pages, UNTERMINATED)


@signal(group="c4_tfds")
def short_line_count_tfds(pages: PageBatch) -> Count:
    """Lines that go because they have fewer than 5 words, the third rule."""
    return _fact(pages, SHORT)


@signal(group="c4_tfds")
def javascript_line_count_tfds(pages: PageBatch) -> Count:
    """Lines that go because they contain "javascript", among those that the rules before left."""
    return _fact(pages, JAVASCRIPT)


@signal(group="c4_tfds")
def policy_line_count_tfds(pages: PageBatch) -> Count:
    """Lines that go because they contain one of six phrases about policies, among those that the rules before left."""
    return _fact(pages, POLICY)


@signal(group="c4_tfds")
def has_lorem_ipsum_tfds(pages: PageBatch) -> Flag:
    """Whether "lorem ipsum" is in a line that the first three rules left. C4 drops the page."""
    return _fact(pages, LOREM_IPSUM) > 0


@signal(group="c4_tfds")
def has_curly_bracket_tfds(pages: PageBatch) -> Flag:
    """Whether "{" is in a line that the first three rules and the one about JavaScript left. C4 drops the page."""
    return _fact(pages, CURLY_BRACKET) > 0


@signal(group="c4_tfds")
def sentence_count_tfds(pages: PageBatch) -> Count:
    """Sentences of the lines that are left, counted line by line. C4 keeps pages with 3 or more."""
    return _fact(pages, SENTENCES)


@signal(group="c4_tfds")
def removed_character_fraction_tfds(pages: PageBatch) -> Float:
    """Share of the characters that `c4_tfds` removes, without the white space around lines."""
    return removed_character_fraction(pages, c4_tfds)


@signal(group="c4_tfds")
def removed_word_fraction_tfds(pages: PageBatch) -> Float:
    """Share of the white-space words that `c4_tfds` removes."""
    return removed_word_fraction(pages, c4_tfds)
