import re

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import signals
from filters.heuristics import c4
from filters.kernels import unicode_tables
from filters.pages import PageBatch
from filters.transforms import apply_transforms

PIECES = [
    *list("a.?!\"”'…)» \n\t{}[]1é字。！」।।กกກß\0\x85\u2028\u3000"),
    "one two three four five. ", "words and more words here!\n", "...", "\r\n", "[12]", "[edit]", "[citation needed]", "[",
    "JavaScript", "lorem ipsum", "Lorem Ipsum", "terms of use", "privacy policy", "Cookie Policy", "uses cookies",
    "use of cookies", "use cookies", "w" * 1000, "v" * 1001,
]  # fmt: skip
NASTY = st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"]), max_size=40).map("".join)
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def measure(*texts):
    pages = PageBatch(pa.array(texts, pa.large_string()))
    group = signals.configure(
        "c4", {}, {"c4": {name: s for name, s in signals.GROUPS["c4"].items() if name != "bad_word_count"}}
    )
    rows = group.measure(pa.array([str(k) for k in range(len(texts))]), pages).to_pylist()
    return [{name: value for name, value in row.items() if name != "id"} for row in rows]


def ascii_lower(text):
    return text.translate({code: code + 32 for code in range(65, 91)})


def split_lines(text):
    return [line.strip() for line in text.split("\n") if line.strip()]


def is_terminal(line):
    return line.endswith((*MARKS, *'"”＂」』')) and not line.endswith(("...", "…"))


def is_unmarked(text):
    letters = [character for character in text if character.isalpha()]
    return 2 * sum("\u0e00" <= letter < "\u0f00" for letter in letters) > len(letters)


MARKS = "".join(map(chr, np.flatnonzero(unicode_tables.MARKS & unicode_tables.TERMINAL)))
ANYWHERE = "".join(map(chr, np.flatnonzero(unicode_tables.MARKS & unicode_tables.ANYWHERE)))
CLOSERS = "".join(map(chr, np.flatnonzero(unicode_tables.MARKS & unicode_tables.CLOSING)))
SENTENCE_END = re.compile(f"[{re.escape(MARKS)}][{re.escape(MARKS + CLOSERS)}]*")


def sentences(line):
    """Cut behind marks and closers that white space follows, or that hold a mark with no other use."""
    found, start = 0, 0
    for match in SENTENCE_END.finditer(line):
        anywhere = any(mark in ANYWHERE for mark in match[0])
        if match.end() == len(line) or line[match.end()].isspace() or anywhere:
            found += 1
            start = match.end()
    return found + bool(line[start:].strip())


def lines_kept(text):
    for line in split_lines(text):
        lowered = ascii_lower(line)
        if "javascript" in lowered or any(phrase in lowered for phrase in POLICY):
            continue
        rest = re.sub(r"(?i:\[[0-9]*\]|\[edit\]|\[citation needed\])", "", line).strip()
        words = rest.split()
        if is_terminal(rest) and len(words) >= 5 and max(map(len, words)) <= 1000:
            yield rest


def twin(text, spaceless):
    lines, lowered, kept = split_lines(text), ascii_lower(text), list(lines_kept(text))
    characters, words = sum(map(len, lines)), len(text.split())
    values = {
        "terminal_line_fraction": sum(map(is_terminal, lines)) / len(lines) if lines else None,
        "sentence_count": sum(map(sentences, lines)),
        "short_line_count": sum(len(line.split()) < 5 for line in lines),
        "has_lorem_ipsum": any("lorem ipsum" in ascii_lower(line) for line in lines),
        "has_curly_bracket": "{" in text,
        "javascript_line_count": sum("javascript" in ascii_lower(line) for line in lines),
        "policy_line_count": sum(any(phrase in ascii_lower(line) for phrase in POLICY) for line in lines),
        "c4_sentence_count": sum(map(sentences, kept)),
        "c4_removed_character_fraction": 1 - sum(map(len, kept)) / characters if characters else None,
        "c4_removed_word_fraction": 1 - sum(len(line.split()) for line in kept) / words if words else None,
    }
    assert "lorem ipsum" not in lowered or values["has_lorem_ipsum"]
    if spaceless:
        counted = ("short_line_count", "c4_sentence_count", "c4_removed_character_fraction", "c4_removed_word_fraction")
        values |= dict.fromkeys(counted)
    if is_unmarked(text):
        values |= dict.fromkeys(("terminal_line_fraction", "sentence_count"))
    return values


@given(st.lists(NASTY, max_size=4))
@settings(deadline=None, max_examples=300)
def test_every_c4_signal_is_what_plain_python_counts(texts):
    spaceless = PageBatch(pa.array(texts, pa.large_string())).spaceless
    for text, row, without in zip(texts, measure(*texts), spaceless, strict=True):
        assert row == twin(text, without)


@given(st.lists(st.none() | NASTY, max_size=4))
@settings(deadline=None, max_examples=200)
def test_the_text_left_is_what_plain_python_leaves(texts):
    left = apply_transforms(pa.array(texts, pa.string()), ["c4_lines"])
    left.validate(full=True)
    assert left.to_pylist() == [None if text is None else "\n".join(lines_kept(text)) for text in texts]


def test_what_is_left_is_left_when_cut_again():
    lines = [
        'He said: "We built this in 1900." [3]',
        "Short one.",
        "A line cut off right here...",
        "All of this is fine, is it not?",
    ]
    text = pa.array(["\n".join(lines)])
    once = apply_transforms(text, ["c4_lines"])
    assert once.to_pylist() == ['He said: "We built this in 1900."\nAll of this is fine, is it not?']
    assert apply_transforms(once, ["c4_lines"]) == once


def test_a_citation_does_not_hide_the_end_of_its_line():
    (row,) = measure("The old mill was built in 1900. [3]")
    assert row["c4_sentence_count"] == 1
    assert row["terminal_line_fraction"] == 0


def test_carriage_returns_change_nothing():
    text = 'One line that ends well.\nThis site uses cookies, as all do.\n\nAnd "another" one { right here."\n'
    plain, carried = measure(text, text.replace("\n", "\r\n"))
    assert plain == carried
    assert plain["has_curly_bracket"]
    assert plain["policy_line_count"] == 1


def test_pages_of_nothing_have_no_shares():
    for row in measure("", "\n \r\n"):
        assert row["terminal_line_fraction"] is None
        assert row["c4_removed_word_fraction"] is None
        assert row["sentence_count"] == 0
    (row,) = measure(None)
    assert set(row.values()) == {None}


def test_sentences_of_scripts_without_spaces_are_counted():
    (row,) = measure("我们测量每一页。然后决定！最后训练？")
    assert row["sentence_count"] == 3
    assert row["short_line_count"] is None


def test_lines_that_end_as_their_script_ends_sentences_are_no_cut_lines():
    rows = measure(
        "我们测量每一页。\n然后决定！\n「最后训练」\n目录",
        "हम हर पन्ने को मापते हैं।\nफिर तय करते हैं।",
        "نقيس كل صفحة؟\nفهرس",
        "我们还没说完…",
    )
    assert [row["terminal_line_fraction"] for row in rows] == [0.75, 1, 0.5, 0]
    assert rows[1]["c4_removed_word_fraction"] == 1 - 6 / 10  # the second line has four words
    assert rows[1]["c4_sentence_count"] == 1


def test_where_no_mark_ends_a_sentence_its_ends_are_not_measured():
    for row in measure("เราวัดทุกหน้า แล้วจึงตัดสินใจ\nจากนั้นจึงฝึก", "ພວກເຮົາວັດແທກທຸກໜ້າ"):
        assert row["terminal_line_fraction"] is row["sentence_count"] is row["short_line_count"] is None
    (row,) = measure("We measure every page. เราวัด")
    assert row["sentence_count"] == 2


def test_the_phrases_are_found_at_both_ends_of_a_line_and_not_across_lines():
    rows = measure("javascript", "x JAVASCRIPT", "java\nscript", "lorem\nipsum", "javascrip")
    assert [row["javascript_line_count"] for row in rows] == [1, 1, 0, 0, 0]
    assert not rows[3]["has_lorem_ipsum"]


def test_the_bits_are_those_of_the_phrases():
    assert c4.PHRASES.text.tobytes().count(b"cookie") == 4
    assert c4.POLICY.bit_count() == len(POLICY)


def test_real_pages_measure_as_in_plain_python(crawl_texts):
    spaceless = PageBatch(pa.array(crawl_texts, pa.large_string())).spaceless
    for text, row, without in zip(crawl_texts, measure(*crawl_texts), spaceless, strict=True):
        assert row == twin(text, without)
