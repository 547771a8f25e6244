import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import signals
from filters.heuristics import gopher
from filters.kernels.unicode_tables import SPACELESS_SCRIPTS
from filters.pages import PageBatch

PIECES = [
    *list("ab.…#-*–•t \n\t\"'\x00\x85\u2028\xa0\u3000é́字カ一ไ\u202eß😀İ"),
    "the ",
    "of ",
    "...",
    "\r\n",
    "\n\n",
    "# ",
    "- ",
    "• ",
]
NASTY = st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"]), max_size=60).map("".join)


def measure(*texts):
    pages = PageBatch(pa.array(texts, pa.large_string()))
    group = signals.configure("gopher", {}, signals.GROUPS)
    return group.measure(pa.array([str(k) for k in range(len(texts))]), pages).to_pylist()


def written_lines(text):
    return [line.strip() for line in text.split("\n") if line.strip()]


def is_spaceless(text):
    letters = [character for character in text if character.isalpha()]
    without = [
        character
        for character in letters
        if unicodedata.category(character) == "Lo" and unicodedata.name(character, "").startswith(SPACELESS_SCRIPTS)
    ]
    return 2 * len(without) > len(letters)


def twin(text):
    """Every signal of the group on one page, in plain Python."""
    words, lines = text.split(), written_lines(text)
    trimmed = {re.sub(r"^[\0-/:-@\[-`{-\x7f]+|[\0-/:-@\[-`{-\x7f]+$", "", word) for word in words}
    folded = {word.translate({code: code + 32 for code in range(65, 91)}) for word in trimmed}
    symbols = max(text.count("#"), len(re.findall(r"\.{3,}", text)) + text.count("…"))
    bullet = re.compile(r"[•‣◦⁃∙●○■□▪▫◆◇▶▷►▸◀◄➢➤✓✔❖·]|[-*–—]([ \t]|$)")
    values = {
        "word_count": len(words),
        "mean_word_length": sum(map(len, words)) / len(words) if words else None,
        "symbol_word_ratio": symbols / len(words) if words else None,
        "alphabetic_word_ratio": sum(any(map(str.isalpha, word)) for word in words) / len(words) if words else None,
        "stop_word_count": len(folded & set(gopher.STOP_WORDS)),
    }
    if is_spaceless(text):
        values = dict.fromkeys(values)
    ratio = (lambda found: sum(found) / len(lines)) if lines else (lambda found: None)
    values["bullet_line_ratio"] = ratio([bool(bullet.match(line)) for line in lines])
    values["ellipsis_line_ratio"] = ratio([line.endswith(("...", "…")) for line in lines])
    return values


@given(st.lists(NASTY, max_size=4))
@settings(deadline=None, max_examples=300)
def test_every_gopher_signal_is_what_plain_python_counts(texts):
    for text, row in zip(texts, measure(*texts), strict=True):
        row.pop("id")
        assert row == twin(text)


def test_a_page_without_words_has_counts_but_no_ratios():
    for row in measure("", " \n\t", "\r\n"):
        assert row["word_count"] == 0
        assert row["stop_word_count"] == 0
        assert row["mean_word_length"] is None
        assert row["bullet_line_ratio"] is None


def test_a_page_without_text_has_no_signals():
    (row,) = measure(None)
    assert set(row) - {"id"} == {name for name, value in row.items() if value is None}


def test_words_are_not_counted_in_scripts_without_spaces_but_lines_are():
    chinese, korean = measure("• 我们测量每一页。\n没有空格", "우리는 모든 쪽을 잽니다")
    assert chinese["word_count"] is None
    assert chinese["alphabetic_word_ratio"] is None
    assert chinese["bullet_line_ratio"] == 0.5
    assert korean["word_count"] == 4


def test_either_symbol_alone_must_stay_below_the_bound():
    (row,) = measure("# one two... three # four ...... five")
    assert row["symbol_word_ratio"] == 2 / 8


def test_a_minus_sign_is_no_bullet():
    (row,) = measure("-5 degrees\n- item\n* item\n–\n• item\n*bold*")
    assert row["bullet_line_ratio"] == pytest.approx(4 / 6)


def test_stop_words_are_counted_once_each_in_any_case():
    (row,) = measure('"The the THE of, other thee bee')
    assert row["stop_word_count"] == 2


def test_carriage_returns_change_no_line_signal():
    text = "• one...\n• two…\nthree"
    plain, carried = measure(text, text.replace("\n", "\r\n"))
    assert plain | {"id": None} == carried | {"id": None}
    assert plain["ellipsis_line_ratio"] == pytest.approx(2 / 3)


def test_real_pages_measure_as_in_plain_python(crawl_texts):
    for text, row in zip(crawl_texts, measure(*crawl_texts), strict=True):
        row.pop("id", None)
        assert row == twin(text)
