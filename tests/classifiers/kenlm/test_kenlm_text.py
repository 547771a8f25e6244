"""Normalising: what CCNet makes of a text, step by step; and where tokens end."""

import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers.fasttext.file import ModelFileError
from classifiers.kenlm.text import CHARACTERS, PUNCTUATION, File, load_pieces, normalised, tokens


def one_step_after_another(text):
    text = text.strip()
    if not text:
        return text
    text = text.lower()
    text = "".join(one for one in unicodedata.normalize("NFD", text) if unicodedata.category(one) != "Mn")
    text = re.sub(r"\d", "0", text)
    text = "".join('"' if one == "１" else PUNCTUATION.get(one, one) for one in text)
    return re.sub("[\x00-\x1f\x7f-\x9f]", "", text)


SPICE = st.sampled_from([*PUNCTUATION, *"１٣७é\u0301\u0345İßﬁ\x00\x1f\x7f\x9f\n\r\t\xa0\u2028 aZ9", "\ud800", "가"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the table is made in the first example
@given(st.text(max_size=30) | st.lists(SPICE, max_size=30).map("".join))
def test_one_pass_gives_what_the_steps_give_one_after_another(text):
    assert normalised(text) == one_step_after_another(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" École №12:\n１２ “días” — etc… ", 'ecole №00:00 "dias"  -  etc...'),
        ("first line\nsecond line", "first linesecond line"),
        ("a\xa0b\u2028c", "a\xa0b\u2028c"),
        ("％ ► 。x．", "% - .x. "),
        ("\n\t ", ""),
        ("\x01\x02", ""),
    ],
)
def test_a_text_becomes(text, expected):
    assert normalised(text) == expected


def test_the_table_has_the_33_marks_that_are_left_of_34():
    """One entry of CCNet's, a fullwidth digit, is a 0 before it is asked."""
    assert len(PUNCTUATION) == 33


def test_words_are_kept_apart_by_line_ends():
    assert tokens("The sea\nA whale\x00s\xa0eye", None) == ["the", "sea", "a", "whales", "eye"]
    assert tokens("", None) == tokens(" \n\x01", None) == []


def test_a_page_is_read_up_to_a_million_characters():
    assert len(tokens("a " * CHARACTERS, None)) == CHARACTERS // 2


@pytest.mark.parametrize("content", [b"", b"\\data\\\n", b"\x00" * 40])
def test_a_file_that_is_no_sentencepiece_model_is_refused_by_name(tmp_path, content):
    (tmp_path / "sp.model").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"sp\.model is no whole SentencePiece model"):
        load_pieces(File.at(tmp_path / "sp.model"))
