import hashlib
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.kernels import spacy_tables as tables
from filters.pages import PageBatch
from filters.units import spacy_words as kernels
from filters.units.spacy_words import spacy_words

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "datatrove.json").read_text())


def split(texts):
    """The kernel's words of each text."""
    pages = PageBatch(pa.array(texts, pa.large_string()))
    words = spacy_words(pages)
    data = pages.data.tobytes()
    found = [data[start:end].decode() for start, end in zip(words.starts, words.ends, strict=True)]
    return [found[words.first[page] : words.first[page + 1]] for page in range(len(texts))]


# The slow obvious twin: spaCy's loop over strings with regular expressions made from the same table of characters.


@cache
def members(flags):
    """The inside of a character class that matches every code point with one of the flags."""
    codes = np.flatnonzero(tables.TABLE & flags)
    runs = np.split(codes, np.flatnonzero(np.diff(codes) != 1) + 1)
    return "".join(f"{re.escape(chr(run[0]))}-{re.escape(chr(run[-1]))}" for run in runs if len(run))


@cache
def patterns():
    any_of = members
    before_stop = any_of(tables.LOWER | tables.BEFORE_STOP)
    letter, lower, upper, quote = (any_of(flag) for flag in (tables.ALPHA, tables.LOWER, tables.UPPER, tables.QUOTE))
    units = "|".join(map(re.escape, tables.AFTER_DIGITS))
    host_character = "A-Za-z0-9\u00a1-\uffff"
    low, high = "(?:[1-9][0-9]?|1[0-9]{2}|2[01][0-9]|22[0-3])", "(?:[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-4])"
    middle = r"\.(?:1?[0-9]{1,2}|2[0-4][0-9]|25[0-5])"
    private = r"(?!(?:10|127)\.|169\.254\.|192\.168\.|172\.(?:1[6-9]|2[0-9]|3[01])\.)"
    host = rf"(?:(?:[{host_character}][{host_character}_-]{{0,62}})?[{host_character}]\.)+[{lower}]{{2,63}}"
    return {
        "prefix": re.compile(rf"\+(?![0-9])|(?!\+)[{any_of(tables.PREFIX)}]|\.\.+|US\$|C\$|A\$"),
        "suffix": re.compile(
            rf"(?:……|[{any_of(tables.SUFFIX)}]|\.\.+|['’][sS]|(?<=[0-9])(?:{units})|(?<=[{before_stop}])\."
            rf"|(?<=[{upper}][{upper}])\.|(?<=°[FfCcKk])\.)\Z"
        ),
        "infix": re.compile(
            rf"\.\.+|…|[{any_of(tables.ICON)}]|(?<=[0-9])[+\-*^](?=[0-9-])|(?<=[{lower}{quote}])\.(?=[{upper}{quote}])"
            rf"|(?<=[{letter}]),(?=[{letter}])|(?<=[{letter}0-9])(?:-|–|—|--|---|——|~)(?=[{letter}])"
            rf"|(?<=[{letter}0-9])[:<>=/](?=[{letter}])"
        ),
        "url": re.compile(
            rf"(?:[\w+\-.]{{2,}}://)?(?:\S+@)?(?:{private}{low}{middle}{middle}\.{high}|{host})(?::\d{{2,5}})?(?:[/?#]\S*)?\Z"
        ),
    }


def twin_chunk(chunk, cases):
    """The words of one string without white space."""
    found, prefixes, suffixes = patterns(), [], []
    while chunk and chunk not in cases:
        match = found["prefix"].match(chunk)
        before = match.end() if match else 0
        if before and chunk[before:] in cases:
            prefixes.append(chunk[:before])
            chunk = chunk[before:]
            break
        match = found["suffix"].search(chunk[before:])
        behind = match.end() - match.start() if match else 0
        if not before and not behind:
            break
        whole = chunk
        if behind:
            suffixes.insert(0, chunk[len(chunk) - behind :])
            chunk = chunk[: len(chunk) - behind]
            if chunk in cases:
                break
        prefixes += [whole[:before]] if before else []
        chunk = chunk[before:]
    if chunk in cases:
        return [*prefixes, *cases[chunk], *suffixes]
    middle, cut = [], 0
    if chunk and not found["url"].match(chunk):
        for match in found["infix"].finditer(chunk):
            if match.start() > 0:
                middle += [chunk[cut : match.start()], match.group()]
                cut = match.end()
    return [*prefixes, *(word for word in [*middle, chunk[cut:]] if word), *suffixes]


@cache
def torn():
    """Words that a string known by heart is torn into, and that string."""
    found = {case: tuple(twin_chunk(case, {})) for case in tables.special_cases()}
    return {words for words in found.values() if len(words) > 1}


def twin_mend(words, cases):
    """Longest first, then leftmost: put back what was torn; words are (start, text), with white space among them."""
    texts = [text for _, text in words]
    spans = [
        (start, start + length)
        for length in range(11, 1, -1)
        for start in range(len(words) - length + 1)
        if tuple(texts[start : start + length]) in torn()
    ]
    taken, put = set(), {}
    for start, end in spans:
        whole = "".join(texts[start:end])
        if (
            start not in taken
            and end - 1 not in taken
            and words[end - 1][0] + len(texts[end - 1]) - words[start][0] == len(whole)
        ):
            put[start] = (end, cases[whole])
        taken |= set(range(start, end))
    mended, at = [], 0
    while at < len(words):
        end, pieces = put.get(at, (at + 1, [texts[at]]))
        mended += pieces
        at = end
    return mended


def twin(text):
    cases, words = tables.special_cases(), []
    for match in re.finditer(r"\s+|\S+", text):
        if match.group().isspace():
            begin = match.start() + (match.start() > 0 and match.group()[0] == " ")
            words += [(begin, text[begin : match.end()])] if begin < match.end() else []
        else:
            at = match.start()
            for word in twin_chunk(match.group(), cases):
                words.append((at, word))
                at += len(word)
    return [word for word in twin_mend(words, cases) if not word.isspace()]


PIECES = st.one_of(
    st.sampled_from(list("aAbBzZ019.,:;-—–~'’\"()[]<>=/+*^%$#@!?_…°|&s\\")),
    st.sampled_from(
        ["é", "ÉÉ", "中", "。", "\u0301", "ß", "ſ", "K", "İ", "😀", "\u00a0", "\u2028", "\x1c", "،", "م", "\u3000", "ʔ"]
    ),
    st.sampled_from(
        ["://", "www.", ".com", "http", "..", "km²", "US$", "8.8.8.8", "127.0.0.1", "192.168.1.1", "@x.org", " ", "\n"]
    ),
    st.sampled_from(sorted(tables.special_cases())),
    st.sampled_from(sorted(tables.AFTER_DIGITS)),
    st.characters(exclude_categories=["Cs"]),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(PIECES, max_size=25).map("".join), min_size=1, max_size=4))
def test_the_kernel_agrees_with_the_twin_on_any_text(texts):
    assert split(texts) == [twin(text) for text in texts]


@pytest.mark.parametrize("case", GOLDEN["tokenisation"], ids=lambda case: case["text"][:20])
def test_golden_words_are_found(case):
    assert split([case["text"]]) == [case["words"]]


def test_the_marks_are_datatroves():
    for flag, name in ((tables.SYMBOL, "punctuation_set"), (tables.TERMINAL, "terminal_punctuation")):
        marks = "".join(map(chr, np.flatnonzero(tables.TABLE & flag)))
        assert len(marks) == GOLDEN["meta"][f"{name}_size"]
        assert hashlib.sha256(marks.encode()).hexdigest() == GOLDEN["meta"][f"{name}_sha256"]


def test_what_is_torn_apart_is_mended_unless_a_longer_one_reaches_over_a_space():
    assert split(["x-and/or", "foo:)", "foo:) )"]) == [["x", "-", "and/or"], ["foo", ":)"], ["foo", ":", ")", ")"]]


def test_hashes_are_equal_exactly_where_words_are_and_lengths_are_characters():
    words = spacy_words(PageBatch(pa.array(["déjà vu déjà-vu", None, "", "vu"], pa.large_string())))
    assert words.first.tolist() == [0, 5, 5, 5, 6]
    assert words.lengths.tolist() == [4, 2, 4, 1, 2, 2]
    assert (words.hashes[0] == words.hashes[2]) and len(set(words.hashes.tolist())) == 3


@pytest.mark.parametrize(
    "text",
    [
        "!" * 20000,
        "." * 20001,
        "a@" * 10000,
        "a.b" * 9000,
        "(" * 5000 + "x" + ")" * 5000,
        "it's " * 9999,
        "\n" * 9999,
        "-a" * 9999,
    ],
)
def test_long_pages_without_end_are_split_in_linear_time(text):
    assert "".join(split([text])[0]) == re.sub(r"\s+", "", text)


def test_bytes_that_are_not_utf8_are_read_without_leaving_the_page():
    data = pa.py_buffer(b"ab\xff\xe2\x80 \xf0\x9f's\xc3")
    offsets = pa.py_buffer(np.array([0, 5, 9, 11], np.int64))
    words = spacy_words(PageBatch(pa.LargeStringArray.from_buffers(3, offsets, data)))
    bounds = np.array([0, 5, 9, 11])
    for page in range(3):
        mine = slice(words.first[page], words.first[page + 1])
        assert (words.starts[mine] >= bounds[page]).all() and (words.ends[mine] <= bounds[page + 1]).all()


def test_everything_known_by_heart_fits_its_arrays():
    cases = tables.special_cases()
    assert max(len(case.encode()) for case in cases) <= kernels.LONGEST
    assert max(len(pieces) for pieces in cases.values()) <= 4
    assert max(len(words) for words in torn()) <= kernels.MOST_TORN
    assert not set(cases) & set(tables.AFTER_DIGITS)
