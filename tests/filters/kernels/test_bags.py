"""Sums over bags of terms, against a loop over counters."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.kernels.bags import root_sums

WEIGHTS = np.random.default_rng(0).normal(size=(8, 3))


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 7), max_size=30), max_size=5))
def test_a_pages_sum_is_that_of_a_plain_loop_over_its_terms(pages):
    buckets = np.array([place for page in pages for place in page], np.int32)
    first = np.cumsum([0, *map(len, pages)])
    plain = [sum((np.sqrt(n) * WEIGHTS[place] for place, n in Counter(page).items()), np.zeros(3)) for page in pages]
    assert root_sums(buckets, first, WEIGHTS) == pytest.approx(np.reshape(plain, (-1, 3)), abs=1e-12)
