"""Breadth, for the report: how many niches levels keep pages of, how evenly and how good, beside flat cuts of their size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.report.facts import Subset, evenly
from eval.report.safe_text import plain

NAME_SHOWN = 60
MOST_LEVELS = 20


@dataclass(frozen=True)
class Measured:
    """Three numbers of one choice of pages, as they are shown; dashes where there is none."""

    covered: str
    effective: str
    qd_score: str

    @classmethod
    def of(cls, row: Mapping[str, Any], prefix: str = "") -> "Measured":
        """Those of a level, or with a prefix those of the cut beside it."""
        covered, effective, score = (row.get(f"{prefix}{name}") for name in ("covered", "effective", "qd_score"))
        return cls("–" if covered is None else f"{int(covered):,}", _number(effective), _number(score))


def breadth(subsets: Sequence[Subset]) -> list[dict[str, Any]]:
    """A table for each set of niches that a quota declares."""
    rows: dict[tuple[str, str], list[tuple[str, Mapping[str, Any]]]] = {}
    for subset in subsets:
        for row in subset.breadth:
            rows.setdefault((str(row.get("niches")), str(row.get("signal"))), []).append((subset.name, row))
    return [
        {
            "niches": plain(niches, NAME_SHOWN),
            "signal": plain(signal, NAME_SHOWN),
            "all": f"{max(int(row.get('all_niches') or 0) for _, row in some):,}",
            "levels": [
                (plain(name, NAME_SHOWN), Measured.of(row), Measured.of(row, "flat_"))
                for name, row in evenly(some, MOST_LEVELS)
            ],
        }
        for (niches, signal), some in rows.items()
    ]


def _number(value: Any) -> str:
    return "–" if value is None else f"{float(value):.1f}"
