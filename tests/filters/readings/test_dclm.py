"""DCLM's reading against its own counts and verdicts on hand-made texts."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.pages import PageBatch
from filters.readings import dclm
from filters.signals import GROUPS

QUALITY = {
    "word_count_dclm": "words",
    "mean_word_length_dclm": "mean_len",
    "symbol_word_ratio_dclm": "symbol",
    "alphabetic_word_ratio_dclm": "alpha",
    "stop_word_count_dclm": "stop",
    "bullet_line_ratio_dclm": "bullet",
    "ellipsis_line_ratio_dclm": "ellipsis",
}
REPETITION = {
    "duplicate_line_fraction_dclm": "dup_lines",
    "duplicate_paragraph_fraction_dclm": "dup_paras",
    "duplicate_line_char_fraction_dclm": "dup_line_chars",
    "duplicate_paragraph_char_fraction_dclm": "dup_para_chars",
    **{f"top_{n}gram_char_fraction_dclm": f"top{n}" for n in (2, 3, 4)},
    **{f"duplicate_{n}gram_char_fraction_dclm": f"dup{n}" for n in range(5, 11)},
}


@pytest.fixture(scope="module")
def golden(reading):
    return reading("dclm", ["gopher_dclm", "repetition_dclm"])


def test_words_and_segments_are_counted_as_dclm_counts_them(golden):
    columns = {"n_words_fasttext_alnum": "word_count_dclm", "n_words_uniseg_alnum": "segment_count_dclm"}
    assert list(golden.differing_values(columns)) == []


def test_the_presets_fail_what_dclm_fails_rule_by_rule(golden):
    assert list(golden.differing_verdicts(["gopher_dclm", "repetition_dclm"], QUALITY | REPETITION)) == []


@given(st.lists(st.text(st.sampled_from('ab 1"Ö字\n\0\t\v\u00a0\u2028½\x85'), max_size=40), max_size=4))
@settings(max_examples=80, deadline=None)
def test_fasttext_words_are_split_at_ascii_white_space_and_nul(batch):
    pages = PageBatch(pa.array(batch, pa.large_string()))
    for separator in "\n\t\v\f\r\0":
        batch = [text.replace(separator, " ") for text in batch]
    expected = [sum(word[0].isalnum() for word in text.split(" ") if word) for text in batch]
    assert dclm.word_count_dclm(pages).tolist() == expected


def test_of_equally_frequent_ngrams_the_longest_counts():
    pages = PageBatch(pa.array(["a b a b long words long words"]))
    assert GROUPS["repetition_dclm"]["top_2gram_char_fraction_dclm"].function(pages).tolist() == [2 * 9 / 22]


def test_an_empty_page_has_no_repetition_and_a_page_of_one_word_has_none_to_speak_of():
    group = GROUPS["repetition_dclm"]
    columns = {name: signal.measure(PageBatch(pa.array(["", "word"])), {}).to_pylist() for name, signal in group.items()}
    assert columns.pop("segment_count_dclm") == [0, 1]
    assert set(map(tuple, columns.values())) == {(None, 0.0)}
