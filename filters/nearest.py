"""The nearest known name: how an error sentence about a name ends."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any


def nearest(given: str, known: Mapping[str, Any] | list[str]) -> str:
    """The end of an error sentence about a name: the nearest known one, else all of them."""
    close = get_close_matches(given, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(sorted(known))
