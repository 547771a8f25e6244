r"""RefinedWeb's line corrections as DCLM configures them (361714b, dclm_baseline_refinedweb.yaml; Penedo et al. 2023, G.2).

Seven corrections run one after the other, and after most of them the page is stripped: then the first line has lost the
white space before it, which can decide about it in the next. So each page is edited in a buffer of its own, as spans of
lines. The oddities are DCLM's: "Read more..." is a regular expression there, so any three characters may follow "read more".
"""

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.kernels.text import decode, decode_last, kernel
from filters.kernels.unicode_tables import CLASSES, DIGIT, LETTER, NUMERIC, SPACE, UPPER
from filters.pages import PageBatch
from filters.readings.dclm import fasttext_words
from filters.signals import Float, signal
from filters.transforms import edited, removed_character_fraction, text_array, transform
from filters.units.marks import CASE, Bytes, Offsets, same, strings

MOST_UPPER, MOST_DIGITS = 0.5, 0.999999  # DCLM's numbers: above them a line goes
FEWEST_WORDS = 2
MOST_WORDS_DELETED_FROM = 10
UNDERSCORE = ord("_")
COUNTED = (
    "likes", "shares", "comments", "retweets", "reposts", "quotes", "bookmarks", "upvotes", "downvotes", "downloads",
    "views", "followers",
)  # fmt: skip
DELETED = ("items in cart", "read more", "sign-in")
CART, READ_MORE, SIGN_IN = 0, 1, 2

Table = npt.NDArray[np.uint8]


@cache
def digits() -> Table:
    """1 for every code point that is a digit for `str.isdigit` (superscripts and circled digits too); shape (0x110000,)."""
    table = np.zeros(0x110000, np.uint8)
    table[:0x20000] = [chr(code).isdigit() for code in range(0x20000)]
    table.flags.writeable = False
    return table


@kernel
def share_above(text: Bytes, at: int, end: int, table: Table, flag: int, most: float) -> bool:
    """Whether more than this share of the line's characters have the flag in the table."""
    characters, wanted = 0, 0
    while at < end:
        code, size = decode(text, at, end)
        characters += 1
        at += size
        if table[code] & flag:
            wanted += 1
        elif wanted + end - at <= most * (characters + end - at):
            return False  # not even if the rest of the line had it
    return characters > 0 and wanted / characters > most


@kernel
def has_words(text: Bytes, at: int, end: int, classes: Table, least: int) -> bool:
    """Whether the line has at least so many white-space words."""
    words, between = 0, True
    while at < end and words < least:
        code, size = decode(text, at, end)
        space = classes[code] & SPACE != 0
        words += between and not space
        between = space
        at += size
    return words == least


@kernel
def past(text: Bytes, at: int, end: int, table: Table, flags: int, inside: bool) -> int:
    r"""Past the characters that have one of the flags (`inside`), or none of them; an underscore counts as a letter."""
    while at < end:
        code, size = decode(text, at, end)
        if (table[code] & flags != 0 or (code == UNDERSCORE and flags & LETTER != 0)) != inside:
            break
        at += size
    return at


@kernel
def past_number(text: Bytes, at: int, end: int, classes: Table) -> int:
    """Past a digit, any digits, commas and full stops, and one k, m or b; `at` where there is no digit."""
    start = at
    at = past(text, at, end, classes, DIGIT, True)
    if at == start:
        return start
    while at < end:
        after = at + 1 if text[at] == 0x2C or text[at] == 0x2E else past(text, at, end, classes, DIGIT, True)
        if after == at:
            break
        at = after
    if at < end and text[at] | 0x20 in (0x6B, 0x6D, 0x62):
        at += 1
    return at


@kernel
def is_counter(text: Bytes, at: int, end: int, classes: Table, wanted: Bytes, offsets: Offsets) -> bool:
    """Whether the line is a number of likes, views and so on, and nothing else but punctuation."""
    word = LETTER | NUMERIC
    start = past(text, at, end, classes, word, False)
    at = past_number(text, start, end, classes)
    blank = past(text, at, end, classes, SPACE, True)
    if at == start or blank == at:
        return False
    for one in range(len(offsets) - 1):
        behind = blank + offsets[one + 1] - offsets[one]
        if behind <= end and same(text, blank, wanted, offsets[one], offsets[one + 1], True):
            return past(text, behind, end, classes, word, False) == end
    return False


@kernel
def space_before(text: Bytes, start: int, at: int, classes: Table) -> int:
    """Where the one white-space character before `at` begins, `at` if there is none in `text[start:at]`."""
    if at > start:
        code, size = decode_last(text, start, at)
        if classes[code] & SPACE:
            return at - size
    return at


@kernel
def delete(text: Bytes, at: int, behind: int, end: int) -> int:
    """Take `text[at:behind]` out of the line that ends at `end`; the line's new end."""
    for k in range(behind, end):
        text[at + k - behind] = text[k]
    return end - (behind - at)


@kernel
def find_anywhere(text: Bytes, at: int, end: int, wanted: Bytes, begin: int, stop: int) -> int:
    """Where the phrase comes next in the line; -1 if it does not."""
    while at + stop - begin <= end:
        if text[at] | np.uint8(CASE) == wanted[begin] and same(text, at, wanted, begin, stop, True):
            return at
        at += 1
    return -1


@kernel
def find_near_end(text: Bytes, start: int, end: int, wanted: Bytes, begin: int, stop: int) -> int:
    """Where the phrase stands if three characters and the end of the line follow it; -1 if it does not."""
    at = end
    for _ in range(3):
        if at == start:
            return -1
        at -= decode_last(text, start, at)[1]
    at -= stop - begin
    return at if at >= start and same(text, at, wanted, begin, stop, True) else -1


@kernel
def find_at_start(text: Bytes, start: int, end: int, wanted: Bytes, begin: int, stop: int) -> int:
    """`start` if the line starts with the phrase, else -1."""
    return start if start + stop - begin <= end and same(text, start, wanted, begin, stop, True) else -1


@kernel
def delete_all(text: Bytes, start: int, at: int, end: int, classes: Table, wanted: Bytes, begin: int, stop: int) -> int:
    """Delete the phrase at `at` and wherever else it is, each with one white-space character before it; the new end."""
    while at >= 0:
        start = space_before(text, start, at, classes)  # what is left of here is done: what meets here is no new phrase
        end = delete(text, start, at + stop - begin, end)
        at = find_anywhere(text, start, end, wanted, begin, stop)
    return end


@kernel
def strip_page(text: Bytes, starts: Offsets, ends: Offsets, lines: int, classes: Table) -> int:
    """`str.strip` over the page: blank lines and white space at its ends go; how many lines are left."""
    while lines and past(text, starts[lines - 1], ends[lines - 1], classes, SPACE, True) == ends[lines - 1]:
        lines -= 1
    if lines == 0:
        return 0
    first = 0
    while past(text, starts[first], ends[first], classes, SPACE, True) == ends[first]:
        first += 1
    if first:
        for line in range(first, lines):
            starts[line - first], ends[line - first] = starts[line], ends[line]
        lines -= first
    starts[0] = past(text, starts[0], ends[0], classes, SPACE, True)
    last = lines - 1
    before = space_before(text, starts[last], ends[last], classes)
    while before < ends[last]:
        ends[last] = before
        before = space_before(text, starts[last], ends[last], classes)
    return lines


@kernel
def stays(
    text: Bytes, start: int, end: int, step: int, classes: Table, digit: Table, counted: Bytes, counted_at: Offsets
) -> bool:
    """Whether a line stays in the four steps that drop lines: capitals, digits, counters, short lines."""
    if step == 0:
        return not share_above(text, start, end, classes, UPPER, MOST_UPPER)
    if step == 1:
        return not share_above(text, start, end, digit, 1, MOST_DIGITS)
    if step == 2:
        return not is_counter(text, start, end, classes, counted, counted_at)
    return start == end or has_words(text, start, end, classes, FEWEST_WORDS)


@kernel
def shortened(text: Bytes, start: int, end: int, step: int, classes: Table, deleted: Bytes, deleted_at: Offsets) -> int:
    """The end of the line after one of the three steps that delete phrases; `start` - 1 if nothing is left of it."""
    begin, stop = deleted_at[step], deleted_at[step + 1]
    if step == CART:
        at = find_anywhere(text, start, end, deleted, begin, stop)
    elif step == READ_MORE:
        at = find_near_end(text, start, end, deleted, begin, stop)
    else:
        at = find_at_start(text, start, end, deleted, begin, stop)
    if at < 0 or has_words(text, start, end, classes, MOST_WORDS_DELETED_FROM + 1):
        return end
    if step == CART:
        end = delete_all(text, start, at, end, classes, deleted, begin, stop)
    elif step == READ_MORE:
        end = space_before(text, start, at, classes)
    else:
        behind = at + stop - begin
        if behind < end:
            code, size = decode(text, behind, end)
            behind += size if classes[code] & SPACE else 0
        end = delete(text, at, behind, end)
    return start - 1 if past(text, start, end, classes, SPACE, True) == end else end


@kernel
def correct_page(
    text: Bytes,
    starts: Offsets,
    ends: Offsets,
    lines: int,
    classes: Table,
    digit: Table,
    counted: Bytes,
    counted_at: Offsets,
    deleted: Bytes,
    deleted_at: Offsets,
) -> int:
    """Apply the seven corrections to the lines of one page in place; how many lines are left."""
    for step in range(7):
        kept = 0
        for line in range(lines):
            start, end = starts[line], ends[line]
            if step >= 4:
                end = shortened(text, start, end, step - 4, classes, deleted, deleted_at)
            elif not stays(text, start, end, step, classes, digit, counted, counted_at):
                continue
            if end >= start:
                starts[kept], ends[kept] = start, end
                kept += 1
        lines = kept
        if step != 3:
            lines = strip_page(text, starts, ends, lines, classes)
    return lines


@kernel
def correct_pages(
    data: Bytes,
    offsets: Offsets,
    classes: Table,
    digit: Table,
    counted: Bytes,
    counted_at: Offsets,
    deleted: Bytes,
    deleted_at: Offsets,
) -> tuple[Bytes, Offsets]:
    """The bytes and offsets of the corrected pages."""
    out = np.empty(offsets[-1] - offsets[0], np.uint8)
    new = np.zeros(len(offsets), np.int64)
    for page in range(len(offsets) - 1):
        text = data[offsets[page] : offsets[page + 1]].copy()
        most = 1
        for byte in text:
            most += byte == 0x0A
        starts = np.zeros(most, np.int64)
        ends = np.full(most, len(text))
        line = 0
        for at in range(len(text)):
            if text[at] == 0x0A:
                ends[line] = at
                line += 1
                starts[line] = at + 1
        lines = correct_page(text, starts, ends, most, classes, digit, counted, counted_at, deleted, deleted_at)
        at = new[page]
        for line in range(lines):
            if line:
                out[at] = 0x0A
                at += 1
            for k in range(starts[line], ends[line]):
                out[at] = text[k]
                at += 1
        new[page + 1] = at
    return out[: new[-1]].copy(), new


@transform
def refinedweb(pages: PageBatch) -> pa.Array:
    """Each page after the line corrections, in DCLM's order.

    Lines go that are more than half capitals, all digits, a counter ("3 likes") or one word; blank lines stay. From lines
    of at most 10 words "items in cart" is deleted anywhere, "Read more..." at the end and "Sign-in" at the start; a line of
    which nothing is left goes. An empty page is one that DCLM drops.
    """
    data, offsets = correct_pages(pages.data, pages.offsets, CLASSES, digits(), *strings(*COUNTED), *strings(*DELETED))
    return text_array(data, offsets, pages.valid)


@signal(group="refinedweb")
def refinedweb_removed_word_fraction(pages: PageBatch) -> Float:
    """Share of the words (those that start with a letter or number, as `word_count_dclm`) that `refinedweb` removes.

    DCLM drops a page of which more than 0.05 go, and one without words, where this is null.
    """
    before = pages.once(fasttext_words)
    return (before - edited(pages, refinedweb).once(fasttext_words)) / before


@signal(group="refinedweb")
def refinedweb_removed_character_fraction(pages: PageBatch) -> Float:
    """Share of the characters that `refinedweb` removes, without the white space around lines."""
    return removed_character_fraction(pages, refinedweb)
