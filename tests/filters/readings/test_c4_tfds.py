"""C4's own line rules against the same rules written with Python's strings."""

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.pages import PageBatch
from filters.readings import c4_tfds
from filters.signals import GROUPS

CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
LINE = "The old bridge was built of stone."


def slow(text):
    """(cleaned text, lines by fate, lorem ipsum, curly bracket)."""
    kept, fates, lorem, curly = [], [0] * 6, False, False
    for line in map(str.strip, text.splitlines()):
        if not line:
            continue
        low = CITATION.sub("", line).lower()
        became = c4_tfds.KEPT
        if any(len(word) > 1000 for word in line.split()):
            became = c4_tfds.LONG_WORD
        elif not low.endswith((".", "?", "!", '"')) or low.endswith("..."):
            became = c4_tfds.UNTERMINATED
        elif len(low.split()) < 5:
            became = c4_tfds.SHORT
        else:
            lorem |= "lorem ipsum" in low
            if "javascript" in low:
                became = c4_tfds.JAVASCRIPT
            else:
                curly |= "{" in low
                if any(phrase in low for phrase in c4_tfds.POLICIES):
                    became = c4_tfds.POLICY
        fates[became] += 1
        if became == c4_tfds.KEPT:
            kept.append(CITATION.sub("", line))
    return "\n".join(kept).strip(), fates, lorem, curly


def columns(texts):
    pages = PageBatch(pa.array(texts, pa.large_string()))
    return {name: signal.measure(pages, {}).to_pylist() for name, signal in GROUPS["c4_tfds"].items()}


pieces = st.sampled_from(
    ["one two three four five", " six", "\n", "\r\n", "\u2028", "\x0b", ".", "...", "!", '"', "…", "[1]", "[]", "[١]",
     "[edit]", "[Edit]", "[citation needed]", "[[2]", " ", "\u00a0", "{", "Lorem Ipsum", "JavaScript", "Privacy Policy",
     "x" * 1001, "é"]
)  # fmt: skip


@given(st.lists(st.lists(pieces, max_size=14).map("".join), max_size=3))
@settings(max_examples=80, deadline=None)
def test_pages_are_cleaned_as_with_pythons_strings(texts):
    pages = PageBatch(pa.array(texts, pa.large_string()))
    expected = [slow(text) for text in texts]
    assert c4_tfds.c4_tfds(pages).to_pylist() == [text for text, *_ in expected]
    facts = c4_tfds.cleaned(pages).facts
    assert facts[:6].T.tolist() == [fates for _, fates, *_ in expected]
    assert (facts[c4_tfds.LOREM_IPSUM] > 0).tolist() == [lorem for *_, lorem, _ in expected]
    assert (facts[c4_tfds.CURLY_BRACKET] > 0).tolist() == [curly for *_, curly in expected]


def test_real_pages_are_cleaned_as_with_pythons_strings(crawl_texts):
    pages = PageBatch(pa.array(crawl_texts, pa.large_string()))
    assert c4_tfds.c4_tfds(pages).to_pylist() == [slow(text)[0] for text in crawl_texts]
    assert c4_tfds.cleaned(pages).facts[:6].T.tolist() == [slow(text)[1] for text in crawl_texts]


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("It was late.", 1),
        ("It was late. We left. Nobody spoke.", 3),
        ("Was it late? Yes! It was 3.5 miles to www.example.com and back.", 3),
        ('He said "it is late." Then we left.', 2),
        ("We left (it was late.) and nobody spoke.", 2),
        ("We waited... and left at ten.", 1),
        ("Then J. R. Smith came in.", 1),
        ("Plan B. was no better.", 2),
        ("What?! Nobody knew it.", 2),
    ],
)
def test_sentences_end_at_a_mark_with_something_behind_it(line, sentences):
    assert columns([LINE + "\n" + line + " So be it then."])["sentence_count_tfds"] == [1 + sentences + 1]


def test_a_rule_sees_only_what_the_rules_before_it_left():
    found = columns(
        [LINE + "\nlorem ipsum dolor { sit amet\nsome javascript { in this line.", LINE + "\nFive words of Lorem Ipsum."]
    )
    assert found["has_lorem_ipsum_tfds"] == [False, True]
    assert found["has_curly_bracket_tfds"] == [False, False]
    assert found["unterminated_line_count_tfds"] == [1, 0]
    assert found["javascript_line_count_tfds"] == [1, 0]


def test_a_mark_at_the_end_of_a_line_leaves_a_blank_and_the_line_goes():
    found = columns(["It was built in 1900. [3]\n" + LINE])
    assert found["unterminated_line_count_tfds"] == [1]
    assert found["kept_line_count_tfds"] == [1]


def test_a_word_of_a_thousand_characters_stays_and_one_more_goes():
    assert columns([f"{'x' * n} two three four five." for n in (999, 1000, 1001)])["long_word_line_count_tfds"] == [0, 0, 1]


def test_what_is_removed_is_a_share_and_null_on_a_page_without_words():
    found = columns([LINE + "\nMenu", "", None])
    assert found["removed_word_fraction_tfds"] == [pytest.approx(1 / 8), None, None]
    assert found["kept_line_count_tfds"] == [1, 0, None]
