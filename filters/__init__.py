"""What can be told from text: page batches, signals and their kernels, rules.

`filters.measure(texts, groups)` and `filters.keep(table, rules)` are all of it for a list of texts (docs/python.md).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filters.texts import keep, measure

__all__ = ["keep", "measure"]


def __getattr__(name: str) -> Any:
    """`keep` and `measure`, looked up when they are asked for: most modules here need none of what they import."""
    if name in __all__:
        from filters import texts

        return getattr(texts, name)
    raise AttributeError(f"module 'filters' has no attribute {name!r}")
