"""`compare.json` as the comparison it was written from.

The file outlives the code that wrote it and may be cut short or edited: whatever does not fit is one sentence, not half a
section.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filters.agreement import Comparison, Decides, Difference, Drops


@dataclass(frozen=True)
class Page:
    """A sample page: its address and the beginning of its text."""

    url: str
    text: str


@dataclass(frozen=True, eq=False)
class Compared:
    """A comparison of rule sets, and the pages that its differences name, by id."""

    comparison: Comparison
    pages: Mapping[str, Page]


def read_compared(path: Path, missing: list[str]) -> Compared | None:
    """The comparison in a file; None where there is no file, and None and a sentence in `missing` where it is damaged."""
    try:
        return _compared(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except KeyError as error:
        reason = f"it lacks {error}"
    except (ValueError, TypeError, OverflowError, OSError) as error:
        reason = str(error)
    missing.append(f"{path.name} cannot be read, so rule sets are not compared; run jobs.compare again: {reason}")
    return None


def _compared(tree: Any) -> Compared:
    names = tuple(str(name) for name in tree["names"])
    kept = tuple(int(pages) for pages in tree["kept"])
    agreement = np.array([[_share(share) for share in row] for row in tree["agreement"]], np.float64)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"two or more sets of different names were expected, got {', '.join(names) or 'none'}")
    if len(kept) != len(names) or agreement.shape != (len(names), len(names)):
        raise ValueError(f"{len(names)} sets were expected in `kept`, and in the rows and columns of `agreement`")
    comparison = Comparison(
        names=names,
        pages=int(tree["pages"]),
        kept=kept,
        agreement=agreement,
        unanimous=_share(tree["unanimous"]),
        differences=tuple(_difference(one) for one in tree["differences"]),
        drops=tuple(_drops(row) for row in tree["drops"]),
    )
    pages = {str(page["id"]): _page(page) for one in tree["differences"] for page in one["sample"]}
    return Compared(comparison, pages)


def _share(value: Any) -> float:
    return math.nan if value is None else float(value)


def _difference(one: Any) -> Difference:
    return Difference(
        keeps=str(one["keeps"]),
        drops=str(one["drops"]),
        pages=int(one["pages"]),
        rules=tuple(Decides(str(rule["rule"]), int(rule["fails"]), int(rule["alone"])) for rule in one["rules"]),
        sample=tuple(str(page["id"]) for page in one["sample"]),
    )


def _drops(row: Any) -> Drops:
    counts = (int(row[key]) for key in ("pages", "alone", "uniquely", "in_order"))
    return Drops(str(row["rule_set"]), str(row["rule"]), None if row["group"] is None else str(row["group"]), *counts)


def _page(page: Any) -> Page:
    return Page(str(page["url"] or ""), str(page["text"] or ""))
