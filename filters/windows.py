"""How a page is read by a model that sees only so many tokens at once."""


def scored_windows(length: int, context: int) -> list[tuple[int, int, int]]:
    """The windows of a page of ``length`` tokens, as (start, first scored, end) over its tokens.

    A window reads the ``end - start`` tokens before its targets (the end-of-text mark stands before token 0) and scores
    tokens ``first`` to ``end``; the scored ranges follow one another without gap or overlap.
    """
    stride = max(1, context // 2)
    windows, first = [], 0
    while first < length:
        end = min(length, first + (stride if first else context))
        windows.append((max(0, end - context), first, end))
        first = end
    return windows
