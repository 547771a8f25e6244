"""Word segmentation against the rules of annex 29 written one by one, and against the regex package's own boundaries."""

import numpy as np
import pyarrow as pa
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.kernels import uax29_words
from filters.kernels.uax29_words import segment_end, word_breaks
from filters.pages import PageBatch

# One or two characters of every property value, and neighbours that the rules treat alike but the tables may not.
ALPHABET = "\r\n\u0085\u0301\u0327\u200d\u00ad🇫🇩カヵאשaZé字'\".’:·,;19٣_‿ \u3000©👩ⓂℹΑ½²"
texts = st.text(st.sampled_from(ALPHABET) | st.characters(exclude_categories=["Cs"]), max_size=30)


def segments(text):
    data = np.frombuffer(text.encode(), np.uint8)
    at, found = 0, []
    while at < len(data):
        end = segment_end(data, at, len(data), word_breaks())
        found.append(bytes(data[at:end]).decode())
        at = end
    return found


def kind(character):
    names = [name for name in uax29_words.PROPERTIES if regex.match(rf"\p{{WB={name}}}", character)]
    return names[0] if names else "Other"


IGNORED = {"Extend", "Format", "ZWJ"}
BREAKS = {"CR", "LF", "Newline"}
LETTER = {"ALetter", "Hebrew_Letter"}
MIDDLE = {"MidNumLet", "Single_Quote"}
JOINED = LETTER | {"Numeric", "Katakana", "ExtendNumLet"}


def slow_boundary(text, kinds, at):
    """Whether a boundary lies before character `at`: WB3 to WB4 on all characters, the others on those that WB4 leaves."""
    before, after = kinds[at - 1], kinds[at]
    if (before, after) == ("CR", "LF"):
        return False
    if before in BREAKS or after in BREAKS:
        return True
    if before == "ZWJ" and regex.match(r"\p{Extended_Pictographic}", text[at]):
        return False
    if before == after == "WSegSpace" or after in IGNORED:
        return False
    left = []
    for k in range(at - 1, -1, -1):
        if kinds[k] not in IGNORED or k == 0 or kinds[k - 1] in BREAKS:
            left.append(kinds[k])
        if kinds[k] in BREAKS:
            break
    right = [other for other in kinds[at:] if other not in IGNORED]
    return not joined(*[*left, None][:2], *[*right, None][:2], flags(left))


def flags(left):
    count = 0
    while count < len(left) and left[count] == "Regional_Indicator":
        count += 1
    return count


def joined(one, two, after, then, indicators):
    """WB5 to WB16: `one` is left of the boundary and `two` left of that, `after` is right of it and `then` right of that."""
    return (
        (one in LETTER and after in LETTER)
        or (one in LETTER and after in MIDDLE | {"MidLetter"} and then in LETTER)
        or (two in LETTER and one in MIDDLE | {"MidLetter"} and after in LETTER)
        or (one == "Hebrew_Letter" and after == "Single_Quote")
        or (one == "Hebrew_Letter" and after == "Double_Quote" and then == "Hebrew_Letter")
        or (two == "Hebrew_Letter" and one == "Double_Quote" and after == "Hebrew_Letter")
        or (one in LETTER | {"Numeric"} and after in LETTER | {"Numeric"})
        or (two == "Numeric" and one in MIDDLE | {"MidNum"} and after == "Numeric")
        or (one == "Numeric" and after in MIDDLE | {"MidNum"} and then == "Numeric")
        or (one == after == "Katakana")
        or (one in JOINED and after == "ExtendNumLet")
        or (one == "ExtendNumLet" and after in JOINED)
        or (after == "Regional_Indicator" and indicators % 2 == 1)
    )


def slow_segments(text):
    kinds = [kind(character) for character in text]
    found = []
    for at, character in enumerate(text):
        if at and not slow_boundary(text, kinds, at):
            found[-1] += character
        else:
            found.append(character)
    return found


@given(texts)
@settings(max_examples=150, deadline=None)
def test_segments_are_those_of_the_rules(text):
    assert segments(text) == slow_segments(text)


def test_segments_of_real_pages_are_those_of_the_regex_package(crawl_texts):
    for text in crawl_texts:
        assert segments(text) == [segment for segment in regex.split(r"(?wV1)\b", text) if segment]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("can't stop 3,000.5 a.b.", ["can't", " ", "stop", " ", "3,000.5", " ", "a.b", "."]),
        ("e_mail _x foo@bar", ["e_mail", " ", "_x", " ", "foo", "@", "bar"]),
        ("a:b a..b 1.,2", ["a:b", " ", "a", ".", ".", "b", " ", "1", ".", ",", "2"]),
        ("日本語 テスト", ["日", "本", "語", " ", "テスト"]),
        ("🇫🇷🇩🇪🇮x", ["🇫🇷", "🇩🇪", "🇮", "x"]),
        ("👩‍👩‍👧x", ["👩‍👩‍👧", "x"]),
        ("\r\n  a\u0301b", ["\r\n", "  ", "a\u0301b"]),
    ],
)
def test_segments_of_known_cases(text, expected):
    assert segments(text) == expected


@given(st.lists(texts, max_size=3))
@settings(max_examples=80, deadline=None)
def test_words_are_the_segments_that_start_with_a_letter_or_number(batch):
    pages = PageBatch(pa.array(batch, pa.large_string()))
    lengths, hashes, first = uax29_words.uax29_words(pages.data, pages.offsets)
    words = [[word for word in segments(text) if word[0].isalnum()] for text in batch]
    assert np.diff(first).tolist() == [len(of_page) for of_page in words]
    assert lengths.tolist() == [len(word) for of_page in words for word in of_page]
    assert len(set(hashes.tolist())) == len({word for of_page in words for word in of_page})


def test_a_page_may_have_more_words_than_half_its_bytes():
    data = np.frombuffer(("a½" * 1000).encode(), np.uint8)
    assert uax29_words.uax29_words(data, np.array([0, len(data)]))[2].tolist() == [0, 2000]


@given(st.lists(st.binary(max_size=12), max_size=3))
@settings(max_examples=100, deadline=None)
def test_any_bytes_end_without_reading_outside_their_page(batch):
    data = np.frombuffer(b"".join(batch), np.uint8)
    offsets = np.concatenate([[0], np.cumsum([len(page) for page in batch])]).astype(np.int64)
    together = uax29_words.uax29_words(data, offsets)[0].tolist()
    apart = [
        length
        for page in batch
        for length in uax29_words.uax29_words(np.frombuffer(page, np.uint8), np.array([0, len(page)]))[0].tolist()
    ]
    assert together == apart
