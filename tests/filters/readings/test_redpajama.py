"""RedPajama-V2's reading against its own values on hand-made texts, and its words against the plain definition."""

import re
import string
import time
import unicodedata
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.kernels.text import hash_bytes
from filters.pages import PageBatch
from filters.readings import redpajama

GROUPS = ["gopher_redpajama", "repetition_redpajama"]
VALUES = {
    "word_count": "word_count_redpajama",
    "mean_len": "mean_word_length_redpajama",
    "symbol": "symbol_word_ratio_redpajama",
    "ell": "ellipsis_line_ratio_redpajama",
    "bullet": "bullet_line_ratio_redpajama",
    **{f"top{n}": f"top_{n}gram_char_fraction_redpajama" for n in (2, 3, 4)},
    **{f"dup{n}": f"duplicate_{n}gram_char_fraction_redpajama" for n in range(5, 11)},
}
RULE_NAMES = {"word_count": "min_words", "ell": "ellipsis"}

batches = st.lists(st.text(st.sampled_from("ab ABÉ字\n\x1cΣσİ…#*-._\u2028\x85e\u0301\u0323½²١"), max_size=60), max_size=4)


@pytest.fixture(scope="module")
def golden(reading):
    return reading("rp", GROUPS)


def test_every_value_is_redpajamas(golden):
    assert list(golden.differing_values(VALUES)) == []


def test_tokens_without_a_letter_are_the_complement_of_tokens_with_one(golden):
    golden.columns["without"] = pa.compute.subtract(1.0, golden.columns["alphabetic_word_ratio_redpajama"])
    assert list(golden.differing_values({"no_alpha": "without"})) == []


def test_the_presets_fail_what_the_gopher_cuts_fail_rule_by_rule(golden):
    rules = {column: RULE_NAMES.get(key, key) for key, column in VALUES.items()}
    rules["alphabetic_word_ratio_redpajama"] = "alpha"
    assert list(golden.differing_verdicts(GROUPS, rules)) == []


MARKS = st.text(st.sampled_from("ae\u0301\u0323\u0345\u05b0\u3099각İσ\u1ea5\u0f71\u0344\U0001d15e"), max_size=40)


@given(MARKS, st.integers(0, 8))
@settings(deadline=None)
def test_a_long_word_is_decomposed_as_python_decomposes_it(word, at_once):
    with mock.patch.object(redpajama, "AT_ONCE", at_once):
        assert redpajama.decomposed(word) == unicodedata.normalize("NFD", word)


def test_a_word_of_combining_marks_takes_seconds_and_not_minutes():
    word = "a" + "\u0301\u0323" * 450_000  # above, below: each mark below passes all that stand above
    pages = PageBatch(pa.array([word]))
    begin = time.process_time()
    found = redpajama.normalised_words(pages)
    assert time.process_time() - begin < 20
    assert found.lengths.tolist() == [900_001]
    ordered = ("a" + "\u0323" * 450_000 + "\u0301" * 450_000).encode()
    assert found.hashes.tolist() == [hash_bytes(np.frombuffer(ordered, np.uint8), 0, len(ordered))]


def slow_words(text):
    text = text.translate(str.maketrans("", "", string.punctuation)).lower().strip()
    return unicodedata.normalize("NFD", re.sub(r"\s+", " ", text)).split()


@given(batches)
@settings(max_examples=100, deadline=None)
def test_normalised_words_are_those_of_the_whole_text_normalised(batch):
    check_words(batch)


def test_normalised_words_of_real_pages_are_those_of_their_whole_text(crawl_texts):
    check_words(crawl_texts)


def check_words(batch):
    found = redpajama.normalised_words(PageBatch(pa.array(batch, pa.large_string())))
    words = [word for text in batch for word in slow_words(text)]
    assert np.diff(found.first).tolist() == [len(slow_words(text)) for text in batch]
    assert found.lengths.tolist() == [len(word) for word in words]
    same = {}
    for word, hashed in zip(words, found.hashes.tolist(), strict=True):
        assert same.setdefault(word, hashed) == hashed
    assert len(set(same.values())) == len(same)


@given(batches)
@settings(max_examples=100, deadline=None)
def test_tokens_and_lines_are_those_of_the_regular_expressions(batch):
    check_tokens(batch)


def test_tokens_and_lines_of_real_pages_are_those_of_the_regular_expressions(crawl_texts):
    check_tokens(crawl_texts)


def check_tokens(batch):
    pages = PageBatch(pa.array(batch, pa.large_string()))
    tokens = [re.findall(r"\w+|[^\w\s]+", text) for text in batch]
    found, with_letter = redpajama._tokens(pages)
    assert found.tolist() == [len(of_page) for of_page in tokens]
    assert with_letter.tolist() == [sum(bool(re.search("[a-zA-Z]", token)) for token in of_page) for of_page in tokens]
    lines = [re.findall(r"[^\n]*\n|[^\n]+$", text) for text in batch]
    assert redpajama._lines(pages).count.tolist() == [len(of_page) for of_page in lines]


def test_words_that_differ_in_the_order_of_their_accents_are_one_word():
    found = redpajama.normalised_words(PageBatch(pa.array(["a\u0323\u0301 \u1ea1\u0301 Ạ́!"])))
    assert len(set(found.hashes.tolist())) == 1
    assert found.lengths.tolist() == [3, 3, 3]


def test_bytes_that_are_not_text_are_words_like_others():
    broken = pa.Array.from_buffers(
        pa.large_string(), 1, [None, pa.py_buffer(np.array([0, 6])), pa.py_buffer(b"\xff\xc3 \xe2\x82A")]
    )
    assert redpajama.word_count_redpajama(PageBatch(broken)).tolist() == [2]
