"""Duplicates, for the report: what every threshold would keep, how large clusters are, and what the largest are about."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.report.safe_text import plain, private_masked
from eval.report.wording import percent

SHOWN = 160
"""Characters of a page's line."""
BAR = 240


@dataclass(frozen=True)
class Duplicates:
    """What `duplicates/facts.json` says: pages of the pool, those that thresholds would remove, clusters, alarms."""

    threshold: float
    pages: int
    exact: int
    removed: tuple[tuple[float, int], ...]
    sizes: tuple[tuple[int, int], ...]
    clusters: tuple[Mapping[str, Any], ...]
    alarms: tuple[str, ...]


def read_duplicates(path: Path, missing: list[str]) -> Duplicates | None:
    """The facts in a file; None where there is no file, and None and a sentence in `missing` where it is damaged."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return Duplicates(
            threshold=float(tree["threshold"]),
            pages=int(tree["pages"]),
            exact=int(tree["exact"]),
            removed=tuple((float(threshold), int(pages)) for threshold, pages in tree["removed"]),
            sizes=tuple((int(size), int(clusters)) for size, clusters in tree["sizes"]),
            clusters=tuple({"pages": int(one["pages"]), "line": str(one["line"])} for one in tree["clusters"]),
            alarms=tuple(str(alarm) for alarm in tree["alarms"]),
        )
    except FileNotFoundError:
        return None
    except KeyError as error:
        reason = f"it lacks {error}"
    except (ValueError, TypeError, OSError) as error:
        reason = str(error)
    missing.append(f"{path.name} of duplicates cannot be read, so they are not shown; run jobs.dedup again: {reason}")
    return None


def duplicates(found: Duplicates | None) -> dict[str, Any] | None:
    """The section's strings; None where duplicates were not looked for."""
    if found is None or not found.pages:
        return None
    kept = [(threshold, 1 - removed / found.pages) for threshold, removed in found.removed]
    most = max((clusters for size, clusters in found.sizes if size > 1), default=1)
    return {
        "lead": f"Of {found.pages:,} pages that may be chosen {found.exact:,} are exact copies of another; all thresholds "
        "come from one pass over verified pairs.",
        "kept": [(f"{threshold:.2f}", percent(share), f"{BAR * share:.0f}") for threshold, share in kept],
        "sizes": [
            (_from_to(size), f"{clusters:,}", f"{BAR * clusters / most:.0f}") for size, clusters in found.sizes if size > 1
        ],
        "threshold": f"{found.threshold:g}",
        "clusters": [(f"{one['pages']:,}", private_masked(one["line"], SHOWN) or "–") for one in found.clusters],
        "alarms": [plain(alarm, 300) for alarm in found.alarms],
    }


def _from_to(size: int) -> str:
    """The sizes from a power of two up to the next."""
    return f"{size:,}" if size == 1 else f"{size:,} to {2 * size - 1:,}"
