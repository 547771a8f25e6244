"""Copies and n-grams against the plain definition in Python."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.units.copies import LEAST, MOST, copies_of, ngrams_of

pages_of_units = st.lists(st.lists(st.integers(0, 3), max_size=40), max_size=4)


def arrays(pages):
    units = [unit for page in pages for unit in page]
    first = np.concatenate([[0], np.cumsum([len(page) for page in pages])]).astype(np.int64)
    # Hashes that differ in their high bits only: the table must mix them.
    hashes = np.array([unit << 60 for unit in units], np.uint64)
    return np.array([unit + 1 for unit in units], np.int32), hashes, first


def slow_ngrams(page, n):
    """count, characters, top_count, top_start, top_characters, top_longest, repeated, covered, later."""
    grams = [tuple(page[at : at + n]) for at in range(len(page) - n + 1)]
    if not grams:
        return [0] * 9
    length = lambda gram: sum(unit + 1 for unit in gram)  # noqa: E731
    counts = Counter(grams)
    top, top_count = counts.most_common(1)[0]
    longest = max((length(gram) for gram in grams if counts[gram] == top_count), default=0) if top_count > 1 else 0
    covered, later, seen = set(), set(), set()
    blanks = 0
    for at, gram in enumerate(grams):
        if counts[gram] > 1:
            covered |= set(range(at, at + n))
        if gram in seen:
            new = set(range(at, at + n)) - later
            blanks += min(len(new), n - 1)
            later |= new
        seen.add(gram)
    characters = lambda positions: sum(page[at] + 1 for at in positions)  # noqa: E731
    repeated = sum(length(gram) for gram in grams if counts[gram] > 1)
    return [
        len(grams), sum(map(length, grams)), top_count, grams.index(top), length(top), longest,
        repeated, characters(covered), characters(later) + blanks,
    ]  # fmt: skip


@given(pages_of_units)
@settings(max_examples=150, deadline=None)
def test_ngrams_are_those_of_a_counter(pages):
    lengths, hashes, first = arrays(pages)
    found = ngrams_of(lengths, hashes, first)
    for n in range(LEAST, MOST + 1):
        for at, page in enumerate(pages):
            ours = [int(field[at]) for field in vars(found[n]).values()]
            ours[3] -= int(first[at]) if ours[0] else 0
            assert ours == slow_ngrams(page, n), (n, page)


@given(pages_of_units)
@settings(max_examples=80, deadline=None)
def test_copies_are_those_of_a_counter(pages):
    found = copies_of(*arrays(pages))
    for at, page in enumerate(pages):
        counts = Counter(page)
        repeated = {unit: count for unit, count in counts.items() if count > 1}
        assert [int(field[at]) for field in vars(found).values()] == [
            len(page),
            sum(unit + 1 for unit in page),
            len(counts),
            sum(unit + 1 for unit in counts),
            sum(repeated.values()),
            sum((unit + 1) * count for unit, count in repeated.items()),
        ]


def test_a_page_of_a_million_equal_words_is_measured_in_full():
    million = 1_000_000
    found = ngrams_of(np.ones(million, np.int32), np.full(million, 7, np.uint64), np.array([0, million]))
    assert found[10].top_count.tolist() == [million - 9]
    assert found[5].covered.tolist() == [million]
