"""C4's rules as datatrove 0.10.1 reads them (`C4QualityFilter`, `C4ParagraphFilter`, `C4BadWordsFilter`, English).

C4 cuts lines out of a page and judges what is left; datatrove goes through the lines once and gives up a page at the first
line with a curly bracket or "lorem ipsum" that it has not cut for another reason before. So each flag says that such a line
was met, the counts of lines stop there as datatrove's statistics do, and the sentences and the text left are those of the
page as if these two rules were off. Two options, as datatrove's: `end_marks` (FineWeb turns that rule off) and
`fewest_words`.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.kernels.spacy_tables import DIGIT, SPACE, TABLE
from filters.kernels.text import Bytes, Offsets, count_characters, decode, kernel, next_byte, strip
from filters.kernels.unicode_tables import CLASSES
from filters.pages import PageBatch
from filters.readings.gopher_datatrove import line_end
from filters.signals import Count, Flag, Float, signal
from filters.transforms import (
    Transform,
    removed_character_fraction,
    removed_word_fraction,
    text_array,
    transform,
)
from filters.units.spacy_words import WORD, Book, Tokens, book, count_sentences, grown, mend, spacy_words, split_text

LONGEST_WORD = 1000
LINES, KEPT, LONG_WORD, UNTERMINATED, SHORT, JAVASCRIPT, POLICY, LOREM_IPSUM, CURLY_BRACKET = range(9)
PHRASES = (  # each of these begins with a letter of its own, but for the last three
    ("lorem ipsum", LOREM_IPSUM),
    ("javascript", JAVASCRIPT),
    ("terms of use", POLICY),
    ("privacy policy", POLICY),
    ("cookie policy", POLICY),
    ("uses cookies", POLICY),
    ("use of cookies", POLICY),
    ("use cookies", POLICY),
)
CITATIONS = ("[edit]", "[citation needed]")
NOT_BAD = {"sm", "グロ", "女の子", "性"}  # datatrove's exceptions for Japanese and Chinese, taken out of every list

Table = npt.NDArray[np.int64]


class Lines(NamedTuple):
    """What datatrove's C4 filter makes of a batch."""

    counts: Table  # LINES to CURLY_BRACKET; shape (9, pages)
    text: Bytes  # the lines kept, each with a newline behind it
    starts: Offsets  # where each of them begins, and where the last one ends
    sources: Offsets  # where each begins in the page; -1 where something was cut out of it
    first: Offsets  # the first kept line of each page (pages + 1)


@signal(group="c4_datatrove")
def sentence_count_datatrove(pages: PageBatch, *, end_marks: bool = True, fewest_words: int = 3) -> Count:
    """Sentences in the lines kept, as spaCy's sentencizer finds them in each. datatrove keeps 5 or more.

    end_marks: whether a line must end in one of . ? ! " ' and not in "...". fewest_words: in a line.
    """
    kept, words = lines(pages, end_marks, fewest_words), pages.once(spacy_words)
    sentences = sentences_by_line(kept.text, kept.starts, kept.sources, kept.first, words.tokens, words.first, book())
    return np.diff(np.concatenate([[0], np.cumsum(sentences)])[kept.first])


@signal(group="c4_datatrove")
def has_lorem_ipsum_datatrove(pages: PageBatch, *, end_marks: bool = True, fewest_words: int = 3) -> Flag:
    """Whether a line has "lorem ipsum" that is not cut for its end, its length or its words. datatrove drops the page."""
    return counted(pages, end_marks, fewest_words, LOREM_IPSUM) > 0


@signal(group="c4_datatrove")
def has_curly_bracket_datatrove(pages: PageBatch, *, end_marks: bool = True, fewest_words: int = 3) -> Flag:
    """Whether a line has "{" that is not cut for its end, words or "javascript". datatrove drops the page."""
    return counted(pages, end_marks, fewest_words, CURLY_BRACKET) > 0


@signal(group="c4_datatrove")
def line_count_datatrove(pages: PageBatch, *, end_marks: bool = True, fewest_words: int = 3) -> Count:
    """Lines, as `str.splitlines` finds them, up to the one at which datatrove gives the page up."""
    return counted(pages, end_marks, fewest_words, LINES)


@signal(group="c4_datatrove")
def kept_line_count_datatrove(pages: PageBatch, *, end_marks: bool = True, fewest_words: int = 3) -> Count:
    """Those of them that are not cut."""
    return counted(pages, end_marks, fewest_words, KEPT)


@signal(group="c4_datatrove")
def terminal_line_fraction_datatrove(pages: PageBatch, *, end_marks: bool = True, fewest_words: int = 3) -> Float:
    """Share of those lines, without the ones of too long a word, that are not cut for their ends."""
    looked_at = counted(pages, end_marks, fewest_words, LINES) - counted(pages, end_marks, fewest_words, LONG_WORD)
    return 1 - counted(pages, end_marks, fewest_words, UNTERMINATED) / looked_at


@signal(group="c4_datatrove")
def long_word_line_count_datatrove(pages: PageBatch, *, end_marks: bool = True, fewest_words: int = 3) -> Count:
    """Lines cut for a word of more than 1,000 characters: the first of the reasons, in datatrove's order."""
    return counted(pages, end_marks, fewest_words, LONG_WORD)


@signal(group="c4_datatrove")
def unterminated_line_count_datatrove(pages: PageBatch, *, end_marks: bool = True, fewest_words: int = 3) -> Count:
    """Lines cut for their ends, of those that the rule before left."""
    return counted(pages, end_marks, fewest_words, UNTERMINATED)


@signal(group="c4_datatrove")
def short_line_count_datatrove(pages: PageBatch, *, end_marks: bool = True, fewest_words: int = 3) -> Count:
    """Lines cut for too few words (citation marks being words), of those that the rules before left."""
    return counted(pages, end_marks, fewest_words, SHORT)


@signal(group="c4_datatrove")
def javascript_line_count_datatrove(pages: PageBatch, *, end_marks: bool = True, fewest_words: int = 3) -> Count:
    """Lines cut for "javascript", of those that the rules before left."""
    return counted(pages, end_marks, fewest_words, JAVASCRIPT)


@signal(group="c4_datatrove")
def policy_line_count_datatrove(pages: PageBatch, *, end_marks: bool = True, fewest_words: int = 3) -> Count:
    """Lines cut for one of six phrases about cookies, privacy and terms of use, of those that the rules before left."""
    return counted(pages, end_marks, fewest_words, POLICY)


@signal(group="c4_datatrove")
def c4_removed_character_fraction_datatrove(pages: PageBatch, *, end_marks: bool = True, fewest_words: int = 3) -> Float:
    """Share of the characters, white space around lines apart, that cutting these lines would remove."""
    return removed_character_fraction(pages, cut(end_marks, fewest_words))


@signal(group="c4_datatrove")
def c4_removed_word_fraction_datatrove(pages: PageBatch, *, end_marks: bool = True, fewest_words: int = 3) -> Float:
    """Share of the words, between white space, that cutting these lines would remove."""
    return removed_word_fraction(pages, cut(end_marks, fewest_words))


@signal(group="c4_datatrove")
def bad_word_count_datatrove(pages: PageBatch, *, bad_words: str = "", bad_words_language: str = "en") -> Count:
    r"""Matches of datatrove's expression for a list of bad words, `(?:\W|^)(a|b|…)(?:\W|$)`, in the page in lower case.

    datatrove drops a page that has one (and may spare a share of them by a stream of random numbers that depends on the
    order of pages; here a rule on a draw per page would do that). bad_words: a JSON array or one entry per line; without a
    list the column is null. In ja, th and zh an entry is found anywhere.
    """
    if not bad_words:
        nothing: Count = np.ma.masked_array(np.zeros(len(pages), np.int64), True)
        return nothing
    pattern = bad_word_pattern(bad_words, bad_words_language in ("ja", "th", "zh"))
    texts = (text or "" for text in pages.text.to_pylist())
    return np.fromiter((sum(1 for _ in pattern.finditer(text.lower())) for text in texts), np.int64, len(pages))


@signal(group="mc4_datatrove")
def third_longest_line_length_datatrove(pages: PageBatch) -> Count:
    """Characters of the third longest line (between newlines); null with fewer. mC4 keeps 200 or more."""
    lengths = third_lengths(pages.data, pages.offsets)
    found: Count = np.ma.masked_array(lengths, lengths < 0)
    return found


@transform
def c4_datatrove(pages: PageBatch) -> pa.Array:
    """The page with the lines that datatrove's C4 filter keeps, without citation marks like [1]."""
    return cut(True, 3)(pages)


@transform
def c4_any_line_end_datatrove(pages: PageBatch) -> pa.Array:
    """The same without the rule on line ends, as FineWeb applies it."""
    return cut(False, 3)(pages)


@transform
def c4_five_words_datatrove(pages: PageBatch) -> pa.Array:
    """The same with at least 5 words in a line, as the original code has it."""
    return cut(True, 5)(pages)


@cache
def cut(end_marks: bool, fewest_words: int) -> Transform:
    """The transform with these options."""

    def cut_lines(pages: PageBatch) -> pa.Array:
        kept = lines(pages, end_marks, fewest_words)
        data, offsets = joined(kept.text, kept.starts, kept.first, CLASSES)
        return text_array(data, offsets, pages.valid)

    return cut_lines


def lines(pages: PageBatch, end_marks: bool, fewest_words: int) -> Lines:
    """The lines of the batch, sorted out once for each pair of options."""
    return pages.once(_lines, end_marks, fewest_words)


def counted(pages: PageBatch, end_marks: bool, fewest_words: int, kind: int) -> Count:
    """One row of the counts."""
    found: Count = lines(pages, end_marks, fewest_words).counts[kind]
    return found


def _lines(pages: PageBatch, end_marks: bool, fewest_words: int) -> Lines:
    phrases = np.frombuffer("".join(phrase for phrase, _ in PHRASES).encode(), np.uint8)
    bounds = np.cumsum([0, *(len(phrase) for phrase, _ in PHRASES)])
    kinds = np.array([kind for _, kind in PHRASES])
    citations = np.frombuffer("".join(CITATIONS).encode(), np.uint8)
    found = sort_lines(pages.data, pages.offsets, end_marks, fewest_words, phrases, bounds, kinds, citations, TABLE, CLASSES)
    for array in found[1:3]:
        array.flags.writeable = False  # so that they have the type of a batch's arrays for the compiler
    return Lines(*found)


@cache
def bad_word_pattern(path: str, anywhere: bool) -> re.Pattern[str]:
    """The expression for a list, compiled once per process. Longer entries go first, so that the count is determined."""
    text = Path(path).read_text(encoding="utf-8")
    entries = json.loads(text) if path.endswith(".json") else text.splitlines()
    words = sorted({entry.strip() for entry in entries if entry.strip()} - NOT_BAD, key=lambda word: (-len(word), word))
    if not words:
        raise ValueError(f"word list {path} has no entries: expected one word or phrase per line")
    either = "|".join(map(re.escape, words))
    return re.compile(either if anywhere else rf"(?:\W|^)({either})(?:\W|$)")


@kernel
def count_line_words(data: Bytes, start: int, end: int, classes: npt.NDArray[np.uint16]) -> tuple[int, int]:
    """White-space words of a line, and the characters of the longest."""
    words, length, longest = 0, 0, 0
    at = start
    while at < end:
        code, size = int(data[at]), 1
        if code >= 0x80:
            code, size = decode(data, at, end)
        length = 0 if classes[code] & SPACE else length + 1
        words += int(length == 1)
        longest = max(longest, length)
        at += size
    return words, longest


@kernel
def starts_with(data: Bytes, at: int, end: int, phrase: Bytes) -> bool:
    """Whether the phrase stands at `at`, byte for byte."""
    if at + len(phrase) > end:
        return False
    k = 0
    while k < len(phrase) and data[at + k] == phrase[k]:
        k += 1
    return k == len(phrase)


@kernel
def citation_end(data: Bytes, at: int, end: int, citations: Bytes, classes: npt.NDArray[np.uint16]) -> int:
    """Where the citation mark at `at` ends: digits or none in brackets, or one of the two words; `at` if there is none."""
    if starts_with(data, at, end, citations[:6]):
        return at + 6
    if starts_with(data, at, end, citations[6:]):
        return at + len(citations) - 6
    stop = at + 1
    while stop < end:
        code, size = decode(data, stop, end)
        if not classes[code] & DIGIT:
            break
        stop += size
    return stop + 1 if stop < end and data[stop] == 0x5D else at


@kernel
def copy_line(
    data: Bytes, start: int, end: int, out: Bytes, place: int, citations: Bytes, classes: npt.NDArray[np.uint16]
) -> int:
    """Write a line without its citation marks to `place`; returns where it ends there."""
    at = start
    while at < end:
        if data[at] == 0x5B:
            stop = citation_end(data, at, end, citations, classes)
            if stop > at:
                at = stop
                continue
        out[place] = data[at]
        place += 1
        at += 1
    return place


@kernel
def is_terminated(data: Bytes, start: int, end: int) -> bool:
    """Whether the line ends in one of . ? ! " ' but not in "..."."""
    if end == start:
        return False
    last = data[end - 1]
    if last == 0x2E:
        return not (end - start >= 3 and data[end - 2] == 0x2E and data[end - 3] == 0x2E)
    return bool(last == 0x3F or last == 0x21 or last == 0x22 or last == 0x27)


@kernel
def says(data: Bytes, at: int, end: int, phrase: Bytes) -> bool:
    """Whether the phrase stands at `at` when the text is in lower case."""
    for k in range(len(phrase)):
        if at >= end:
            return False
        byte = data[at]
        # The Kelvin sign is the one character beside K whose lower case is k.
        if byte == 0xE2 and phrase[k] == 0x6B and at + 2 < end and data[at + 1] == 0x84 and data[at + 2] == 0xAA:
            at += 3
            continue
        if (byte + 32 if 0x41 <= byte <= 0x5A else byte) != phrase[k]:
            return False
        at += 1
    return True


@kernel
def contents(data: Bytes, start: int, end: int, phrases: Bytes, bounds: Offsets, kinds: Offsets) -> int:
    """Bits 1 << kind of the phrases that a line has, and of the curly bracket."""
    found, letters = 0, 0
    for k in range(len(kinds)):
        letters |= 1 << int(phrases[bounds[k]] & 0x1F)
    for at in range(start, end):
        byte = data[at]
        if byte == 0x7B:
            found |= 1 << CURLY_BRACKET
        if byte < 0x40 or not letters >> (byte & 0x1F) & 1:
            continue
        for k in range(len(kinds)):
            if phrases[bounds[k]] == byte | 0x20 and says(data, at, end, phrases[bounds[k] : bounds[k + 1]]):
                found |= 1 << kinds[k]
    return found


@kernel
def sort_line(found: int, counts: Offsets, stopped: bool) -> tuple[bool, bool]:
    """Count a line by its contents, in datatrove's order; returns whether it is kept, and whether the page is given up."""
    if found >> LOREM_IPSUM & 1:
        counts[LOREM_IPSUM] += 1
        stopped = True
    if found >> JAVASCRIPT & 1:
        counts[JAVASCRIPT] += int(not stopped)
        return False, stopped
    if found >> CURLY_BRACKET & 1:
        counts[CURLY_BRACKET] += 1
        stopped = True
    if found >> POLICY & 1:
        counts[POLICY] += int(not stopped)
        return False, stopped
    counts[KEPT] += int(not stopped)
    return True, stopped


@kernel
def sort_lines(
    data: Bytes,
    offsets: Offsets,
    end_marks: bool,
    fewest_words: int,
    phrases: Bytes,
    bounds: Offsets,
    kinds: Offsets,
    citations: Bytes,
    classes: npt.NDArray[np.uint16],
    spaces: Bytes,
) -> tuple[Table, Bytes, Offsets, Offsets, Offsets]:
    """The fields of `Lines`."""
    pages = len(offsets) - 1
    counts = np.zeros((9, pages), np.int64)
    out = np.empty(offsets[-1] - offsets[0] + pages, np.uint8)
    starts, sources = np.zeros(64, np.int64), np.zeros(64, np.int64)
    first = np.zeros(pages + 1, np.int64)
    found, place = 0, 0
    for page in range(pages):
        at, end, stopped = offsets[page], offsets[page + 1], False
        mine = counts[:, page]
        while at < end:
            stop, following = line_end(data, at, end)
            start, stop = strip(data, at, stop, spaces)
            at = following
            mine[LINES] += int(not stopped)
            words, longest = count_line_words(data, start, stop, classes)
            if longest > LONGEST_WORD:
                mine[LONG_WORD] += int(not stopped)
                continue
            last = copy_line(data, start, stop, out, place, citations, classes)
            if end_marks and not is_terminated(out, place, last):
                mine[UNTERMINATED] += int(not stopped)
                continue
            if words < fewest_words:
                mine[SHORT] += int(not stopped)
                continue
            kept, stopped = sort_line(contents(out, place, last, phrases, bounds, kinds), mine, stopped)
            if kept:
                out[last] = 0x0A
                sources[found] = start if last - place == stop - start else -1
                place = last + 1
                found += 1
                if found == len(starts):
                    starts, sources = grown(starts), grown(sources)
                starts[found] = place
        first[page + 1] = found
    return counts, out[:place], starts[: found + 1], sources[:found], first


@kernel
def sentences_by_line(
    text: Bytes, starts: Offsets, sources: Offsets, first: Offsets, words: Tokens, first_word: Offsets, book: Book
) -> Table:
    """Sentences of each kept line, of the page's `words` where it stands in the page as it is.

    Line k is `text[starts[k]:starts[k + 1] - 1]`. White space between lines keeps their words apart, so that the page's
    words are the line's; a line out of which something was cut has its own.
    """
    found = np.zeros(len(starts) - 1, np.int64)
    tokens = np.empty(256, WORD)
    for page in range(len(first) - 1):
        word = first_word[page]
        for line in range(first[page], first[page + 1]):
            if sources[line] < 0:
                tokens, count = split_text(text, starts[line], starts[line + 1] - 1, tokens, 0, book)
                tokens, count = mend(text, tokens, 0, count, book)
                found[line] = count_sentences(tokens, 0, count)
                continue
            end = sources[line] + starts[line + 1] - 1 - starts[line]
            while word < first_word[page + 1] and words[word].start < sources[line]:
                word += 1
            begin = word
            while word < first_word[page + 1] and words[word].start < end:
                word += 1
            found[line] = count_sentences(words, begin, word)
    return found


@kernel
def joined(text: Bytes, starts: Offsets, first: Offsets, classes: Bytes) -> tuple[Bytes, Offsets]:
    """Bytes and offsets of the pages' lines, joined by newlines and stripped at both ends."""
    out = np.empty(len(text), np.uint8)
    offsets = np.zeros(len(first), np.int64)
    place = 0
    for page in range(len(first) - 1):
        start, end = starts[first[page]], starts[first[page + 1]]
        if end > start:
            start, end = strip(text, start, end, classes)
        for at in range(start, end):
            out[place] = text[at]
            place += 1
        offsets[page + 1] = place
    return out[:place], offsets


@kernel
def third_lengths(data: Bytes, offsets: Offsets) -> Table:
    """Characters of the third longest line of each page, -1 with fewer than three lines; shape (pages,)."""
    found = np.empty(len(offsets) - 1, np.int64)
    for page in range(len(offsets) - 1):
        at, end = offsets[page], offsets[page + 1]
        one, two, three = -1, -1, -1
        while at <= end:
            stop = next_byte(data, at, end, 0x0A)
            length = count_characters(data, at, stop)
            three = max(three, min(two, length))
            two = max(two, min(one, length))
            one = max(one, length)
            at = stop + 1
        found[page] = three
    return found
