"""Every token of a page is scored once, with as much of the page before it as was promised."""

from hypothesis import given
from hypothesis import strategies as st

from filters.windows import scored_windows


@given(length=st.integers(0, 300), context=st.integers(1, 40))
def test_windows_score_every_token_once_with_at_least_half_a_window_before_it(length, context):
    windows = scored_windows(length, context)
    assert [t for _, first, end in windows for t in range(first, end)] == list(range(length))
    for start, first, end in windows:
        assert 0 <= start <= first and end - start <= context
        assert start == 0 or first - start >= context // 2
