"""Words on a list: whole words in any case and punctuation, anywhere where there are no spaces, null without a list."""

import json
import time

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.heuristics import bad_words
from filters.heuristics.bad_words import read_words
from filters.kernels.lists import ListFileError
from filters.kernels.unicode_tables import CLASSES
from filters.pages import PageBatch
from filters.signals import GROUPS
from filters.units.word_trie import WORD, word_trie

LETTERS = st.text(st.sampled_from("aAbBßéÉ\u0301ǅ1_- .,\n日本"), max_size=12)


def slow_units(text: str, by_character: bool) -> list[str]:
    small = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    if by_character:
        return list(small)
    return "".join(lc if CLASSES[ord(c)] & WORD else " " for c, lc in zip(text, small, strict=True)).split()


def slow_count(text: str, entries: list[str], by_character: bool) -> int:
    page = slow_units(text, by_character)
    wanted = [slow_units(entry, by_character) for entry in entries]
    return sum(any(len(w) and page[max(0, e - len(w)) : e] == w for w in wanted) for e in range(1, len(page) + 1))


@settings(deadline=None)  # the first call compiles
@given(st.lists(LETTERS, max_size=5), st.lists(st.text("aAbé1- .日本", max_size=4), max_size=6), st.booleans())
def test_the_trie_counts_what_comparing_every_place_counts(texts, entries, by_character):
    counts = word_trie(entries, by_character).count(PageBatch(pa.array(texts, pa.large_string())))
    assert counts.tolist() == [slow_count(text, entries, by_character) for text in texts]


def count(text: str, words: list[str], tmp_path, language: str = "en"):
    path = tmp_path / "words.json"
    path.write_text(json.dumps(words))
    bad_words.load_words.cache_clear()
    options = {"bad_words": str(path), "bad_words_language": language}
    return GROUPS["c4"]["bad_word_count"].measure(PageBatch(pa.array([text])), options)[0].as_py()


def test_part_of_a_word_is_no_hit(tmp_path):
    assert count("A class in Scunthorpe", ["ass", "cunt"], tmp_path) == 0


def test_case_punctuation_and_a_lines_edge_hide_nothing(tmp_path):
    assert count("Darn\nit, said the (DARN) man. darn_it!", ["darn"], tmp_path) == 3


def test_a_phrase_is_found_over_any_separator(tmp_path):
    assert count("two  girls, two\nGirls two boys", ["two girls"], tmp_path) == 2


def test_japanese_is_searched_inside_its_unbroken_text(tmp_path):
    assert count("これは悪い言葉です", ["悪い"], tmp_path, "ja") == 1
    assert count("これは悪い言葉です", ["悪い"], tmp_path, "en") == 0


def test_without_a_list_nothing_is_measured():
    column = GROUPS["c4"]["bad_word_count"].measure(PageBatch(pa.array(["darn", None])), {})
    assert column.to_pylist() == [None, None]


def test_broken_utf8_and_a_slice_stay_within_their_pages():
    broken = pa.array([b"darn", b"da\xffrn darn\xe6", b"darn"]).view(pa.string())
    assert word_trie(["darn"]).count(PageBatch(broken.slice(1, 1))).tolist() == [1]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", '{"en": ["x"]}', "must be a JSON array"),
        ("a.json", "[not json", "cannot be read"),
        ("a.txt", "# only a comment\n\n", "no entries"),
        ("a.txt", None, "no word list"),
    ],
)
def test_a_list_that_is_none_is_a_sentence(tmp_path, name, content, sentence):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(ListFileError, match=sentence):
        read_words(path)


def test_a_plain_list_skips_comments_and_blank_lines(tmp_path):
    (tmp_path / "a.txt").write_text("# mild\ndarn\n\n  heck \n")
    assert read_words(tmp_path / "a.txt") == ["darn", "heck"]


@pytest.mark.parametrize("text", ["a " * 500_000, "a" * 1_000_000, "-" * 1_000_000, "a b " * 250_000])
def test_a_megabyte_of_the_worst_takes_under_a_second(text):
    trie = word_trie(["a " * 20 + "x", "a b " * 10 + "x", "b"])
    trie.count(PageBatch(pa.array(["a"])))
    begin = time.process_time()
    trie.count(PageBatch(pa.array([text])))
    assert time.process_time() - begin < 1


def test_the_packaged_lists_are_read(shared_data):
    for path in sorted((shared_data / "lists" / "naughty-words").glob("*.json")):
        assert word_trie(read_words(path), path.stem in bad_words.BY_CHARACTER).ends.any(), path
