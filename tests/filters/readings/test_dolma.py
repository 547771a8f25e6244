"""dolma's reading against its own values on hand-made texts, and its kernels against slow twins."""

import json
import re
from pathlib import Path
from statistics import median

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.pages import PageBatch
from filters.readings import dolma
from filters.units import marks

GOLDEN = Path(__file__).parents[1] / "golden" / "cross.json"
LINE_RULES = {
    "bullet": "bullet_line_ratio_dolma",
    "ell": "ellipsis_line_ratio_dolma",
    "dup_lines": "duplicate_line_fraction_dolma",
    "dup_line_chars": "duplicate_line_char_fraction_dolma",
}
VALUES = {
    "word_count": "word_count_dolma",
    "median_word_length": "median_word_length_dolma",
    "symbol_to_word_ratio": "symbol_word_ratio_dolma",
    "alpha": "alphabetic_word_ratio_dolma",
    "required_word_count": "stop_word_count_dolma",
    **LINE_RULES,
    **{f"top{n}": f"top_{n}gram_char_fraction_dolma" for n in (2, 3, 4)},
    **{f"dup{n}": f"duplicate_{n}gram_char_fraction_dolma" for n in range(5, 11)},
}
RULE_NAMES = {"word_count": "min_words", "median_word_length": "median_len", "symbol_to_word_ratio": "symbol"}
RULE_NAMES |= {"required_word_count": "stop", "ell": "ellipsis"}

texts = st.text(st.sampled_from("ab Ö字\n\n…#*-.\u2028\x85é{'"), max_size=80)


@pytest.fixture(scope="module", params=["v1", "v2"])
def version(request, reading):
    suffix = "_v2" if request.param == "v2" else ""
    columns = {key: column + (suffix if key in LINE_RULES else "") for key, column in VALUES.items()}
    return reading(f"dolma {request.param}", ["gopher_dolma", "repetition_dolma"]), columns


def test_every_value_is_dolmas(version):
    golden, columns = version
    assert list(golden.differing_values(columns)) == []


def test_the_presets_fail_what_dolma_fails_rule_by_rule(version):
    golden, columns = version
    rules = {column: RULE_NAMES.get(key, key) for key, column in columns.items()}
    renamed = {VALUES[key]: column for key, column in columns.items()}
    assert list(golden.differing_verdicts(["gopher_dolma", "repetition_dolma"], rules, renamed)) == []


def test_the_c4_flags_are_dolmas():
    golden = json.loads(GOLDEN.read_text())
    pages = PageBatch(pa.array([golden["texts"][name] for name in golden["dolma c4_v2"]]))
    flags = {
        "has_lorem_ipsum": dolma.has_lorem_ipsum_dolma(pages),
        "has_curly_brace": dolma.has_curly_bracket_dolma(pages),
        "has_javascript": dolma.has_javascript_dolma(pages),
    }
    for at, (name, theirs) in enumerate(golden["dolma c4_v2"].items()):
        assert {flag for flag, values in flags.items() if values[at]} == set(theirs), name


@given(st.lists(texts, max_size=4))
@settings(max_examples=60, deadline=None)
def test_lines_are_those_of_str_split(batch):
    pages = PageBatch(pa.array(batch, pa.large_string()))
    splits = {"\n": marks.pieces(pages), "\n+": dolma._lines_v2(pages), "\n\n": marks.pieces(pages, newlines=2)}
    for separator, found in splits.items():
        ours = [bytes(pages.data[start:end]) for start, end in zip(found.starts, found.ends, strict=True)]
        assert ours == [piece.encode() for text in batch for piece in re.split(separator, text)]


@given(st.lists(texts, max_size=4))
@settings(max_examples=60, deadline=None)
def test_lines_words_and_symbols_are_counted_as_python_counts_them(batch):
    check_counts(batch)


def test_lines_words_and_symbols_of_real_pages_are_counted_as_python_counts_them(crawl_texts):
    check_counts(crawl_texts)


def check_counts(batch):
    pages = PageBatch(pa.array(batch, pa.large_string()))
    assert dolma.median_word_length_dolma(pages).tolist() == [
        float(median(map(len, text.split()))) if text.split() else 0.0 for text in batch
    ]
    assert dolma.symbol_word_ratio_dolma(pages).tolist() == [
        sum("#" in word or "…" in word for word in text.split()) / max(len(text.split()), 1) for text in batch
    ]
    assert dolma.short_line_count_dolma(pages).tolist() == [
        sum(len(line.split()) < 3 for line in text.split("\n")) for text in batch
    ]
    assert dolma.unterminated_line_count_dolma(pages).tolist() == [
        sum(not line.strip().endswith((".", "?", "!", '"')) for line in text.split("\n")) for text in batch
    ]


def test_the_median_is_exact_above_the_counted_lengths():
    pages = PageBatch(pa.array(["a" * 300 + " " + "b" * 300, "a" * 900 + " b", "a b " + "c" * 255]))
    assert dolma.median_word_length_dolma(pages).tolist() == [300.0, 450.5, 1.0]
