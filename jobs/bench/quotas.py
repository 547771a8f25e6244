"""Resolving a hundred quotas beside a hundred shares within the same niches: processor seconds of one process, no Spark.

    python -m jobs.bench quotas

A million made-up pages in 20 parts; 20 topics by tenths of a length are 200 niches. Both find quantiles within the niches
first, quotas one more among the pages that floors and ceilings leave free. Both keep as much, to a page a niche.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from filters.draws import Hashes
from filters.quantiles import count, find, merged
from filters.rules import Pool, Resolved, parse, resolve_all

PAGES, PARTS, LEVELS = 1_000_000, 20, 100
SHARES = tuple((0.1 + np.arange(LEVELS) / 250).round(3).tolist())
WITHIN = ["topic", {"tenths": "length"}]


def rows() -> list[dict[str, Any]]:
    """A row: quotas against shares."""
    parts = [_part(at) for at in range(PARTS)]
    quotas = [{"quota": {"within": WITHIN, "keep_fraction": share, "floor": 0.05, "ceiling": 0.6}} for share in SHARES]
    ours, by_quota = _timed(parts, quotas)
    theirs, by_share = _timed(parts, [{"keep_fraction": share, "within": WITHIN} for share in SHARES])
    for level in (0, -1):
        for rule in (by_quota[level], by_share[level]):
            beyond = sum(int(rule.passes(part).sum()) for part in parts) - SHARES[level] * PAGES
            if not -1 < beyond <= 200:
                raise ValueError(f"{rule.text} keeps {beyond:,.0f} pages beyond its share")
    row = {
        "bench": "choose.quotas",
        "ours": round(ours, 1),
        "unit": "s for 100 quotas",
        "against": "100 shares within niches",
    }
    return [{**row, "theirs": round(theirs, 1), "ratio": round(ours / theirs, 2), "pages": PAGES}]


def _part(at: int) -> Pool:
    draw, pages = np.random.default_rng(at), PAGES // PARTS
    topics = pa.array([f"topic {topic:02}" for topic in range(20)])
    topic = draw.integers(0, 20, pages)
    columns = {
        "score": pa.array(draw.random(pages) ** (1 + topic / 10)),
        "topic": topics.take(pa.array(topic)),
        "length": pa.array(draw.lognormal(7, 1, pages).astype(np.int64)),
    }
    ids: Hashes = draw.integers(0, 2**64, pages, np.uint64)
    return Pool(ids, columns, {"pages": np.ones(pages, np.int64)}, 0, ids)


def _of_part(column: Callable[[Any, Pool], Any], part: Pool, key: Any) -> Any:
    return column(key, part)


def _timed(parts: Sequence[Pool], asked: Sequence[Mapping[str, Any]]) -> tuple[float, list[Resolved]]:
    def cuts(targets: Mapping[Any, Any], column: Callable[[Any, Pool], Any], _: Any) -> Any:
        def counted(wanted: Mapping[Any, Any]) -> Any:
            return merged([count(wanted, partial(_of_part, column, part)) for part in parts])

        return find(targets, counted)

    started = time.process_time()
    found = resolve_all([rule for one in asked for rule in parse({"score": one})], cuts, lambda _: {})
    return time.process_time() - started, found
