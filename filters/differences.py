"""Which keys of two configurations differ, and what each says: for errors, and for experiments side by side."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

ABSENT = "not there"
"""What stands for the value of a key that only the other configuration has."""
MOST_TOLD = 8
MOST_CHARACTERS = 120
DIGEST = re.compile(r"[0-9a-f]{16,64}")


class Difference(NamedTuple):
    """A key, as `--set` takes it, and its two values."""

    key: str
    old: Any
    new: Any


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """The keys whose values differ, in the order of the first mapping; lists are compared as a whole."""
    first, second = dict(_leaves(old, "")), dict(_leaves(new, ""))
    pairs = ((key, first.get(key, ABSENT), second.get(key, ABSENT)) for key in {**first, **second})
    return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]


def told(found: list[Difference]) -> str:
    """The differences as part of a sentence; of two digests only that they differ, which is all they say."""
    said = [_told(one) for one in found[:MOST_TOLD]]
    left = len(found) - len(said)
    return "; ".join([*said, *([f"and {left} more"] if left else [])])


def _leaves(tree: Any, above: str) -> list[tuple[str, Any]]:
    if not isinstance(tree, Mapping) or not tree:
        return [(above, tree)] if above else []
    return [leaf for key, value in tree.items() for leaf in _leaves(value, f"{above}.{key}".lstrip("."))]


def _told(one: Difference) -> str:
    if all(isinstance(value, str) and DIGEST.fullmatch(value) for value in (one.old, one.new)):
        return f"{one.key} has other content"
    return f"{one.key} was {shown(one.old)} and is {shown(one.new)}"


def shown(value: Any) -> str:
    """A value on one line, cut where it is long."""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "..."
