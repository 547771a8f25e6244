"""Learned signals: training, loading and scoring.

`classifiers.score(texts, folder)` asks a model that an experiment has trained (docs/python.md).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classifiers.texts import score

__all__ = ["score"]


def __getattr__(name: str) -> Any:
    """`score`, looked up when it is asked for: most modules here need no model's library."""
    if name in __all__:
        from classifiers import texts

        return getattr(texts, name)
    raise AttributeError(f"module 'classifiers' has no attribute {name!r}")
