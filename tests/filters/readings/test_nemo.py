"""NeMo Curator's reading against its own values on hand-made texts, ties aside."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.pages import PageBatch
from filters.readings import nemo
from filters.signals import GROUPS

GROUP_NAMES = ["gopher_nemo", "repetition_nemo"]
TOP = {f"top{n}": f"top_{n}gram_char_fraction_nemo" for n in (2, 3, 4)}
VALUES = {
    "words": "word_count_nemo",
    "mean_len": "mean_word_length_nemo",
    "symbol": "symbol_word_ratio_nemo",
    "bullet": "bullet_line_ratio_nemo",
    "ellipsis": "ellipsis_line_ratio_nemo",
    "alpha": "alphabetic_word_ratio_nemo",
    "stop": "stop_word_count_nemo",
    "punct": "unterminated_line_ratio_nemo",
    "nonalnum": "non_alphanumeric_fraction_nemo",
    "dup_lines": "distinct_line_fraction_nemo",
    "dup_paras": "distinct_paragraph_fraction_nemo",
    "dup_line_chars": "distinct_line_char_fraction_nemo",
    "dup_para_chars": "distinct_paragraph_char_fraction_nemo",
    **{f"dup{n}": f"duplicate_{n}gram_char_fraction_nemo" for n in range(5, 11)},
}


@pytest.fixture(scope="module")
def golden(reading):
    return reading("nemo", GROUP_NAMES)


def ngrams(text, n):
    words = text.split()
    return [" ".join(words[at : at + n]) for at in range(len(words) - n + 1)]


def tops(text, n):
    """The most frequent n-grams, in order of their first copies."""
    counts = Counter(ngrams(text, n))
    return [gram for gram, count in counts.items() if count == max(counts.values())]


def share(text, gram):
    return (len(text) - len(text.replace(gram, ""))) / len(text)


def test_every_value_is_nemos(golden):
    assert list(golden.differing_values(VALUES)) == []


def test_the_most_frequent_ngram_is_nemos_or_one_that_ties_with_it(golden):
    for key, column in TOP.items():
        n = int(key[-1])
        for name, _, theirs, ours in golden.differing_values({key: column}):
            tied = tops(golden.texts[name], n)
            assert len(tied) > 1, (name, n)
            assert ours == pytest.approx(share(golden.texts[name], tied[0]), abs=1e-12)
            assert any(theirs == pytest.approx(share(golden.texts[name], gram), abs=1e-6) for gram in tied)


def test_the_presets_fail_what_nemo_fails_rule_by_rule(golden):
    rules = {column: key for key, column in (VALUES | TOP).items()}
    for name, theirs, ours in golden.differing_verdicts(GROUP_NAMES, rules):
        for rule in theirs ^ ours:
            assert rule in TOP, (name, rule)
            assert len(tops(golden.texts[name], int(rule[-1]))) > 1, (name, rule)


texts = st.text(st.sampled_from("aab  #…\n.ÖⅣ\u0903字"), min_size=1, max_size=50)


@given(texts)
@settings(max_examples=150, deadline=None)
def test_shares_of_ngrams_are_those_of_the_plain_definition(text):
    check_ngrams(text)


def test_shares_of_ngrams_of_real_pages_are_those_of_the_plain_definition(crawl_texts):
    for text in crawl_texts:
        check_ngrams(text)


def check_ngrams(text):
    pages = PageBatch(pa.array([text]))
    for n in (2, 3, 4):
        expected = share(text, tops(text, n)[0]) if ngrams(text, n) else 1.0
        assert GROUPS["repetition_nemo"][TOP[f"top{n}"]].function(pages).tolist() == [expected]
    for n in (5, 6):
        column = GROUPS["repetition_nemo"][f"duplicate_{n}gram_char_fraction_nemo"]
        assert column.function(pages).tolist() == [slow_later(text, n)]


def slow_later(text, n):
    words, seen, known, characters = text.split(), set(), set(), 0
    if len(words) < n:
        return 1.0
    for at in range(len(words) - n + 1):
        gram = tuple(words[at : at + n])
        if gram in seen:
            new = set(range(at, at + n)) - known
            characters += sum(len(words[k]) for k in new) + min(len(new), n - 1)
            known |= new
        seen.add(gram)
    return characters / len(text)


@given(texts)
@settings(max_examples=80, deadline=None)
def test_letters_and_symbols_are_those_of_its_regular_expressions(text):
    pages, words = PageBatch(pa.array([text])), text.split()
    if words:
        letters = sum(bool(regex.search("[[:alpha:]]", word)) for word in words) / len(words)
        assert nemo.alphabetic_word_ratio_nemo(pages).tolist() == [letters]
        symbols = [word in nemo.ELLIPSES or len(regex.findall("#+", word)) / len(word) > 0.5 for word in words]
        assert nemo.symbol_word_ratio_nemo(pages).tolist() == [sum(symbols) / len(words)]
    plain = len(regex.findall("[a-zA-Z0-9\n?!,.]", text))
    assert nemo.non_alphanumeric_fraction_nemo(pages).tolist() == [(len(text) - plain) / len(text)]


@given(st.text(st.sampled_from("ab "), max_size=60), st.text(st.sampled_from("ab "), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_the_search_for_long_texts_counts_as_python_does(text, wanted):
    data, phrase = (np.frombuffer(part.encode(), np.uint8) for part in (text, wanted))
    assert nemo.occurrences_of_long(data, 0, len(data), phrase) == text.count(wanted)


def test_words_as_long_as_a_page_take_no_lifetime():
    page = "a" * 200_000 + " b " + "a" * 400_000 + " c"
    found = GROUPS["repetition_nemo"]["top_2gram_char_fraction_nemo"].function(PageBatch(pa.array([page])))
    assert found.tolist() == [share(page, "a" * 200_000 + " b")]
