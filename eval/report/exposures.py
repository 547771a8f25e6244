"""What runs read, and what held-out tokens cost them by how often they read the tokens' entries."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.exposure import FEW, bin_name, bins
from eval.report.facts import Exposures, Facts
from eval.report.heat import NAME_SHOWN, cells, measured, names_of_levels
from eval.report.safe_text import plain
from eval.report.story import Story
from eval.report.wording import byte_size, percent

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MOST_BINS = 10
SITES = 5


def exposure(story: Story) -> dict[str, Any] | None:
    """What runs read, and what held-out tokens cost by how often their entries were read."""
    facts, every = story.facts, story.facts.diagnosed.exposures
    found = _only(every, names_of_levels(facts)) if every else None
    if every is None or found is None or story.base not in found.subsets:
        return None
    at = found.subsets.index(story.base)
    # Bins by what the base read would hold what it missed by chance, and all others would look better on them.
    usual = bins(found.seen.mean(axis=0).astype(np.int64))
    edges = _edges(int(bins(found.seen).max()))
    own = _by_bin(found, [bins(found.seen[row]) for row in range(len(found.subsets))], edges)
    same = _by_bin(found, [usual] * len(found.subsets), edges)
    tokens = _tokens_by_bin(found, usual, edges)
    shown = [number for number in range(len(edges) - 1) if tokens[number] >= 1]
    return {
        "base": plain(story.base, NAME_SHOWN),
        "few": FEW,
        "read": _read(facts, every),
        "bins": [(_bin_text(edges[number], edges[number + 1]), f"{tokens[number]:,.0f}") for number in shown],
        "own": [
            {"name": plain(name, NAME_SHOWN), "cells": [_bits_text(own[row][:, number]) for number in shown]}
            for row, name in enumerate(found.subsets)
        ],
        "same": [
            {"name": plain(name, NAME_SHOWN), "cells": row}
            for name, row in zip(found.subsets, _over(same, at, shown), strict=True)
        ],
        "hardest": plain(found.subsets[-1], NAME_SHOWN),
        "sites": _sites(facts, found.subsets[-1]),
    }


def _only(found: Exposures, names: Sequence[str]) -> Exposures:
    """Those of some subsets."""
    rows = [row for row, name in enumerate(found.subsets) if name in names]
    return replace(found, subsets=tuple(found.subsets[row] for row in rows), seen=found.seen[rows], nats=found.nats[rows])


def _over(same: Sequence[Floats], at: int, shown: Sequence[int]) -> list[list[dict[str, Any] | None]]:
    """Cells of each subset minus one, bin by bin."""
    return cells([[_finite(row[:, number] - same[at][:, number]) for number in shown] for row in same], places=2)


def _edges(highest: int) -> list[int]:
    """Bins put together so that they are few, the lowest (never read) alone: the first of each, and one past the last."""
    width = max(1, -(-highest // MOST_BINS))
    return [0, *range(1, highest + 1, width), highest + 1]


def _bin_text(first: int, beyond: int) -> str:
    low, high = bin_name(first).partition("-")[0], bin_name(beyond - 1).rpartition("-")[2]
    return low if low == high else f"{low}–{high}"


def _by_bin(found: Exposures, of_entry: Sequence[Integers], edges: Sequence[int]) -> list[Floats]:
    """Bits per held-out token of each subset, [replicates, bins]; `of_entry`: each subset's bins, [replicates, entries].

    NaN where no held-out token is of the bin.
    """
    every = []
    for nats, numbers in zip(found.nats, of_entry, strict=True):
        rows = []
        for costs, mine in zip(nats, numbers, strict=True):
            place = np.searchsorted(edges, mine, side="right") - 1
            tokens = np.bincount(place, found.held_out, len(edges) - 1)
            spent = np.bincount(place, costs, len(edges) - 1) / np.log(2)
            rows.append(np.divide(spent, tokens, out=np.full(len(tokens), np.nan), where=tokens > 0))
        every.append(np.stack(rows))
    return every


def _tokens_by_bin(found: Exposures, of_entry: Integers, edges: Sequence[int]) -> Floats:
    """Held-out tokens of each bin, the mean over replicates; `of_entry`: [replicates, entries]."""
    places = np.searchsorted(edges, of_entry, side="right") - 1
    counts = np.stack([np.bincount(one, found.held_out, len(edges) - 1) for one in places])
    means: Floats = counts.mean(axis=0)
    return means


def _finite(values: Floats) -> list[float]:
    return [float(value) for value in values if np.isfinite(value)]


def _bits_text(values: Floats) -> str:
    known = _finite(values)
    return f"{np.mean(known):.2f}" if known else "–"


def _read(facts: Facts, found: Exposures) -> list[dict[str, str]]:
    """What one run of each subset reads, the mean over replicates."""
    read = {metric: measured(facts, "read", "all", metric) for metric in ("type_token_ratio", "compression", "bytes_read")}
    packed = {one.subset: one for one in facts.packed}
    rows = []
    for subset in facts.subsets:
        if subset.name not in read["compression"]:
            continue
        say = partial(_mean_of, {metric: values.get(subset.name, {}) for metric, values in read.items()})
        row = {
            "name": plain(subset.name, NAME_SHOWN),
            "pages": f"{packed[subset.name].pages:,.0f}" if subset.name in packed else "–",
            "epochs": f"{packed[subset.name].epochs:.2g}" if subset.name in packed else "–",
            "bytes": say("bytes_read", lambda value: byte_size(round(value))),
            "types": say("type_token_ratio", lambda value: f"{value:.4f}"),
            "compression": say("compression", lambda value: f"{value:.2f}"),
            "never": "–",
            "few": "–",
        }
        if subset.name in found.subsets:
            seen = found.seen[found.subsets.index(subset.name)]
            row["never"] = f"{(seen == 0).sum(axis=1).mean():,.0f}"
            row["few"] = percent(float((found.held_out * (seen < FEW)).sum(axis=1).mean() / max(found.held_out.sum(), 1)))
        rows.append(row)
    return rows


def _mean_of(values: Mapping[str, Mapping[int, float]], metric: str, say: Callable[[float], str]) -> str:
    known = list(values[metric].values())
    return say(float(np.mean(known))) if known else "–"


def _sites(facts: Facts, subset: str) -> list[tuple[str, str, str]]:
    """Sites by how many of their held-out tokens are of entries that a subset's runs read least: name, tokens, share."""
    rows = [row for row in facts.results if row.get("set") == "least seen" and row.get("subset") == subset]
    runs = len({row.get("replicate") for row in rows}) or 1
    tokens: dict[str, float] = {}
    shares: dict[str, list[float]] = {}
    for row in rows:
        site = str(row.get("domain"))
        tokens[site] = tokens.get(site, 0.0) + float(row.get("n") or 0) / runs
        shares.setdefault(site, []).append(float(row.get("value") or 0))
    first = sorted(tokens, key=lambda site: (-tokens[site], site))[:SITES]
    return [(plain(site, NAME_SHOWN), f"{tokens[site]:,.0f}", percent(float(np.mean(shares[site])))) for site in first]
