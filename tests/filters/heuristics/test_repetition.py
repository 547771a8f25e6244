from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import signals
from filters.heuristics import repetition
from filters.pages import PageBatch

# Few different words and lines, so that n-grams up to ten words repeat and overlap.
WORDS = st.sampled_from(["a", "bb", "a", "é", "\u0301", "x\0y", "ccc", "longer-than-eight"])
SPACES = st.sampled_from([" ", " ", " ", "\n", "\r\n", "\n\n", "\n \t\n", "\u3000", "\u2028", "\x85"])
REPETITIVE = st.lists(st.tuples(WORDS, SPACES), max_size=60).map(
    lambda pairs: "".join(word + space for word, space in pairs)
)


def measure(*texts):
    pages = PageBatch(pa.array(texts, pa.large_string()))
    group = signals.configure("repetition", {}, signals.GROUPS)
    rows = group.measure(pa.array([str(k) for k in range(len(texts))]), pages).to_pylist()
    return [{name: value for name, value in row.items() if name != "id"} for row in rows]


def later_copies(units):
    return [unit in units[:k] for k, unit in enumerate(units)]


def paragraphs(text):
    found, inside = [], False
    for line in map(str.strip, text.split("\n")):
        if line and inside:
            found[-1].append(line)
        elif line:
            found.append([line])
        inside = bool(line)
    return found


def covered(words, grams, n, chosen):
    inside = {at + k for at, gram in enumerate(grams) if gram in chosen for k in range(n)}
    return sum(len(words[at]) for at in inside)


def ngram_fractions(words):
    for n in range(2, repetition.LONGEST + 1):
        grams = [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
        counts = Counter(grams)
        repeated = [gram for gram in dict.fromkeys(grams) if counts[gram] > 1]
        if n < 5:
            repeated = sorted(repeated, key=lambda gram: (-counts[gram], -sum(map(len, gram))))[:1]
        name = f"top_{n}gram_char_fraction" if n < 5 else f"duplicate_{n}gram_char_fraction"
        yield name, covered(words, grams, n, repeated) / sum(map(len, words)) if words else None


def twin(text):
    values = {}
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    for name, units, lengths in (
        ("line", lines, [len(line) for line in lines]),
        ("paragraph", paragraphs(text), [sum(map(len, paragraph)) for paragraph in paragraphs(text)]),
    ):
        copies = later_copies(units)
        inside = sum(length for length, copy in zip(lengths, copies, strict=True) if copy)
        values[f"duplicate_{name}_fraction"] = sum(copies) / len(units) if units else None
        values[f"duplicate_{name}_char_fraction"] = inside / sum(lengths) if units else None
    return values | dict(ngram_fractions(text.split()))


@given(st.lists(REPETITIVE, max_size=4))
@settings(deadline=None, max_examples=300)
def test_every_repetition_signal_is_what_plain_python_counts(texts):
    for text, row in zip(texts, measure(*texts), strict=True):
        assert row == twin(text)


def test_the_first_copy_of_a_line_is_not_a_duplicate():
    (row,) = measure("same line\nother\nsame line\n\nsame line")
    assert row["duplicate_line_fraction"] == 2 / 4
    assert row["duplicate_line_char_fraction"] == 18 / 32


def test_paragraphs_are_equal_if_their_lines_are_however_indented():
    (row,) = measure("one\r\n  two\r\n\r\none\ntwo\n \t\nthree")
    assert row["duplicate_paragraph_fraction"] == 1 / 3
    assert row["duplicate_paragraph_char_fraction"] == 6 / 17


def test_all_copies_of_an_ngram_count_and_each_word_once():
    (row,) = measure("a a a a b c d e")
    assert row["top_2gram_char_fraction"] == 4 / 8
    assert row["top_4gram_char_fraction"] == 0
    (row,) = measure("one two three four five six one two three four five")
    assert row["duplicate_5gram_char_fraction"] == pytest.approx(38 / 41)
    assert row["duplicate_6gram_char_fraction"] == 0


def test_an_ngram_that_occurs_once_is_not_repetition():
    (row,) = measure("alpha beta")
    assert {value for name, value in row.items() if "gram" in name} == {0.0}


def test_a_page_without_words_has_no_shares():
    for row in measure("", " \n\n ", None):
        assert set(row.values()) == {None}


def test_pages_without_spaces_have_lines_but_no_ngrams():
    (row,) = measure("我们测量每一页。\n我们测量每一页。")
    assert row["duplicate_line_fraction"] == 0.5
    assert row["top_2gram_char_fraction"] is None


def test_pages_do_not_see_each_other():
    text = "one two three four five six seven"
    assert measure(text, text, "", text)[3] == measure(text)[0]


def test_real_pages_measure_as_in_plain_python(crawl_texts):
    for text, row in zip(crawl_texts, measure(*crawl_texts), strict=True):
        row.pop("id", None)
        assert row == twin(text)
