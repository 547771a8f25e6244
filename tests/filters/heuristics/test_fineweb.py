import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import signals
from filters.heuristics import fineweb
from filters.kernels.unicode_tables import CLOSING, MARKS, TERMINAL
from filters.pages import PageBatch

PIECES = [*list("a.?!\"”'…)»,;: \n\té।กກ字。！ß\0\x85\u2028\u3000"), "x" * 29, "é" * 30, "字 " * 20, "\r\n", "word "]
NASTY = st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"]), max_size=40).map("".join)


def measure(*texts):
    pages = PageBatch(pa.array(texts, pa.large_string()))
    group = signals.configure("fineweb", {}, signals.GROUPS)
    rows = group.measure(pa.array([str(k) for k in range(len(texts))]), pages).to_pylist()
    return [{name: value for name, value in row.items() if name != "id"} for row in rows]


def is_punctuated(line):
    while line and MARKS[ord(line[-1])] & CLOSING:
        line = line[:-1]
    return bool(line) and bool(MARKS[ord(line[-1])] & TERMINAL)


def twin(text, spaceless):
    letters = [character for character in text if character.isalpha()]
    unmarked = 2 * sum("\u0e00" <= letter < "\u0f00" for letter in letters) > len(letters)
    lines, words = [line.strip() for line in text.split("\n") if line.strip()], text.split()
    return {
        "line_punctuation_ratio": sum(map(is_punctuated, lines)) / len(lines) if lines and not unmarked else None,
        "short_line_ratio": sum(len(line) <= fineweb.SHORT for line in lines) / len(lines)
        if lines and not spaceless
        else None,
        "newline_word_ratio": text.count("\n") / len(words) if words and not spaceless else None,
    }


@given(st.lists(NASTY, max_size=4))
@settings(deadline=None, max_examples=300)
def test_every_fineweb_signal_is_what_plain_python_counts(texts):
    spaceless = PageBatch(pa.array(texts, pa.large_string())).spaceless
    for text, row, without in zip(texts, measure(*texts), spaceless, strict=True):
        assert row == twin(text, without)


def test_carriage_returns_do_not_hide_the_full_stop():
    text = "A clean line of a page.\n" * 10
    plain, carried = measure(text, text.replace("\n", "\r\n"))
    assert plain == carried
    assert plain["line_punctuation_ratio"] == 1


def test_quotes_and_brackets_after_the_mark_are_passed_over():
    rows = measure('He left."', "(She stayed!)", "“Who?”", "等一下。」", "list:", "one, two", '"', "cut off…")
    assert [row["line_punctuation_ratio"] for row in rows] == [1, 1, 1, 1, 0, 0, 0, 1]


def test_a_line_of_chinese_is_not_short_and_a_line_of_thai_not_without_its_mark():
    chinese, thai, khmer = measure("我们测量每一页。\n然后决定。", "เราวัดทุกหน้า\nแล้วจึงตัดสินใจ", "យើងវាស់ទំព័រនីមួយៗ។\nមាតិកា")
    assert (chinese["line_punctuation_ratio"], chinese["short_line_ratio"]) == (1, None)
    assert (thai["line_punctuation_ratio"], thai["short_line_ratio"]) == (None, None)
    assert (khmer["line_punctuation_ratio"], khmer["short_line_ratio"]) == (0.5, None)


def test_thirty_characters_are_short_and_thirty_one_are_not():
    rows = measure("é" * 30, " " + "é" * 31 + " ")
    assert [row["short_line_ratio"] for row in rows] == [1, 0]


def test_real_pages_measure_as_in_plain_python(crawl_texts):
    spaceless = PageBatch(pa.array(crawl_texts, pa.large_string())).spaceless
    for text, row, without in zip(crawl_texts, measure(*crawl_texts), spaceless, strict=True):
        assert row == twin(text, without)
