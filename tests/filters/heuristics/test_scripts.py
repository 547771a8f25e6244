"""Scripts of pages: the kernel counts what Python's own names of characters say."""

import unicodedata
from collections import Counter

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.heuristics.scripts import CODES, SCRIPTS, letter_share, script
from filters.pages import PageBatch


def slow_script(text: str | None, characters: int) -> str | None:
    names = [unicodedata.name(c, "").split(" ")[0] for c in (text or "")[:characters] if c.isalpha() and ord(c) < 0x40000]
    counts = Counter(SCRIPTS[name] for name in names if name in SCRIPTS)
    kana = counts.pop("Hira", 0) + counts.pop("Kana", 0)
    japanese = kana * 10 > counts["Hani"]
    counts["Hani"] += kana
    best = max(CODES[1:], key=lambda code: counts[code])
    return None if not counts[best] else "Jpan" if best == "Hani" and japanese else best


LETTERS = st.sampled_from("aéжλب中漢かカ한अกა ,1\u0301ﾊ")


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.one_of(st.none(), st.text(LETTERS, max_size=20), st.text(max_size=20)), max_size=5), st.integers(1, 25))
def test_the_kernel_counts_what_the_names_say(texts, characters):
    batch = PageBatch(pa.array(texts, pa.large_string()))
    assert script(batch, characters).to_pylist() == [slow_script(text, characters) for text in texts]


@settings(deadline=None)
@given(st.lists(st.text(LETTERS, max_size=20) | st.text(max_size=20), max_size=5), st.integers(1, 25))
def test_the_share_of_letters_is_what_plain_python_counts(texts, characters):
    for text, share in zip(texts, letter_share(PageBatch(pa.array(texts, pa.large_string())), characters), strict=True):
        seen = [c for c in text[:characters] if not c.isspace()]
        letters = sum(c.isalpha() or unicodedata.category(c)[0] == "M" for c in seen)
        assert share == (letters / len(seen) if seen else 0)


def test_chinese_with_a_japanese_name_in_it_stays_han():
    assert script(PageBatch(pa.array(["日本語の文章です。", "中文" * 20 + "ソニー"])), 1000).to_pylist() == ["Jpan", "Hani"]
