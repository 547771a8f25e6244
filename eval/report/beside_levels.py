"""What is trained beside the levels: a ladder that must rise, bands between two levels, levels of a second scorer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.report.facts import Facts, Subset
from eval.report.heat import NAME_SHOWN, signed_number
from eval.report.safe_text import plain
from eval.report.story import Story
from eval.report.wording import bits, byte_size, percent, signed
from eval.statistics import Comparison, Interval, compare

Floats = npt.NDArray[np.float64]


def compared_beside(facts: Facts) -> Comparison | None:
    """The levels with all that was trained beside them, in the replicates that all of these have."""
    scores = facts.diagnosed.scores
    if scores is None:
        return None
    whole = np.asarray(~np.isnan(scores.nll).any(axis=(1, 2)), bool)
    if whole.sum() < 2:
        return None
    names = [name for name, there in zip(scores.subsets, whole, strict=True) if there]
    return compare(scores.nll[whole], scores.bytes, scores.cluster, names, scores.stratum)


def _each(comparison: Comparison, one: str, other: str) -> str:
    """A difference in each replicate."""
    rows = comparison.by_replicate
    each = rows[comparison.subsets.index(one)] - rows[comparison.subsets.index(other)]
    return ", ".join(signed_number(float(value)) for value in each)


def _said(comparison: Comparison, gap: Interval) -> str:
    return signed(gap) if comparison.unknown is None else signed_number(gap.value)


def ladder(story: Story, comparison: Comparison | None) -> dict[str, Any] | None:
    """Bits per byte as more tokens are out of order, and what of the levels' differences it tells."""
    facts = story.facts
    of = max(facts.levels, key=lambda level: level.kept.bytes, default=None)
    if comparison is None or of is None or of.name not in comparison.subsets:
        return None
    steps = {name: share for name, share in facts.diagnosed.permuted.items() if name in comparison.subsets}
    if not steps:
        return None
    over = dict(zip(steps, (-gap for gap in comparison.differences(of.name, list(steps))), strict=True))
    names = [of.name, *steps]
    rows = [{"share": "none", "value": bits(comparison.value(of.name)), "gap": "", "each": ""}] + [
        {
            "share": percent(share),
            "value": bits(comparison.value(name)),
            "gap": _said(comparison, over[name]),
            "each": _each(comparison, name, of.name),
        }
        for name, share in steps.items()
    ]
    table = comparison.by_replicate[[comparison.subsets.index(name) for name in names]]
    told = [_rises(table), _as_much_as(story, [over[name].value for name in steps], list(steps.values()))]
    return {"of": plain(of.name, NAME_SHOWN), "rows": rows, "sentence": " ".join(filter(None, told))}


def _rises(table: Floats) -> str:
    """table: [steps, replicates], the first in order."""
    rising = np.diff(table, axis=0) > 0
    every, on_average = bool(rising.all()), bool((np.diff(table.mean(axis=1)) > 0).all())
    if every:
        return "The loss rises at every step and in every replicate, as it must."
    if on_average:
        whole = int(rising.all(axis=0).sum())
        return f"The loss rises at every step, as it must, though at all of them in {whole} of {table.shape[1]} replicates."
    return "The loss does not rise at every step: so little is not seen at this size, and what differs less is chance."


def _as_much_as(story: Story, rises: Sequence[float], shares: Sequence[float]) -> str:
    """Which step the widest difference between levels is worth."""
    verdict = story.held_out.verdict if story.held_out else None
    gap = verdict.hardest_minus_best if verdict else None
    if gap is None:
        return ""
    size = abs(gap.value)
    told = f"The hardest level and the best differ by {size:.4f} bits per byte, "
    below = [share for rise, share in zip(rises, shares, strict=True) if rise <= size]
    if len(below) == len(shares):
        return f"{told}more than all steps cost."
    return told + (
        f"more than {percent(max(below))} of tokens out of order cost." if below else "less than the first step costs."
    )


def bands(story: Story, comparison: Comparison | None) -> list[dict[str, str]]:
    """What lies between two levels, to train on instead of either."""
    found = []
    for band in story.facts.diagnosed.subsets:
        if band.control != "band" or not band.between:
            continue
        row = {
            "name": plain(band.name, NAME_SHOWN),
            "between": f"kept by {plain(band.between[0], NAME_SHOWN)}, dropped by {plain(band.between[1], NAME_SHOWN)}",
            "pages": f"{band.kept.pages:,}",
            "bytes": byte_size(band.kept.bytes),
            "value": "–",
            "milder": "",
            "harder": "",
            "sentence": "",
        }
        if comparison and band.name in comparison.subsets:
            over = [comparison.difference(band.name, one) if one in comparison.subsets else None for one in band.between]
            row["value"] = bits(comparison.value(band.name))
            row["milder"], row["harder"] = (_said(comparison, gap) if gap else "" for gap in over)
            row["sentence"] = _band_sentence(band, over[1]) if comparison.unknown is None else ""
        found.append(row)
    return found


def _band_sentence(band: Subset, over_harder: Interval | None) -> str:
    """Whether what a level drops is better to train on than what it keeps."""
    if over_harder is None:
        return ""
    names = plain(band.name, NAME_SHOWN), plain(band.between[1], NAME_SHOWN)
    if over_harder.positive:
        return f"{names[0]}, which {names[1]} drops, is worse to train on than what it keeps."
    if over_harder.negative:
        return f"{names[0]}, which {names[1]} drops, is better to train on than what it keeps."
    return f"{names[0]} is not told apart from what {names[1]} keeps."


def second(facts: Facts, comparison: Comparison | None) -> dict[str, Any] | None:
    """Two levels of another scorer beside those of the sweep that keep about as much: bad proxy, or too hard?"""
    levels = [one for one in facts.diagnosed.subsets if one.control == "second"]
    there = [one for one in levels if comparison and one.name in comparison.subsets and one.share]
    if comparison is None or not there:
        return None
    sweep = [level for level in facts.levels if level.name in comparison.subsets and level.share and not level.unswept]
    rows = []
    for one in there:
        near = _nearest(one, sweep)
        rows.append(
            {
                "name": plain(one.name, NAME_SHOWN),
                "share": percent(one.share),
                "value": bits(comparison.value(one.name)),
                "near": plain(near.name, NAME_SHOWN) if near else "–",
                "near_share": percent(near.share) if near else "",
                "gap": _said(comparison, comparison.difference(one.name, near.name)) if near else "",
            }
        )
    return {"rows": rows, "sentence": _proxy_or_too_hard(there, sweep, comparison)}


def _nearest(one: Subset, sweep: Sequence[Subset]) -> Subset | None:
    """The level of the sweep that keeps a share most like a level's."""
    return min(sweep, key=lambda level: abs(np.log((level.share or 1) / (one.share or 1))), default=None)


def _proxy_or_too_hard(levels: Sequence[Subset], sweep: Sequence[Subset], comparison: Comparison) -> str:
    """Where the sweep's harder level is worse: is the second scorer's too?"""
    ends = [max(levels, key=lambda one: one.share or 0), min(levels, key=lambda one: one.share or 0)]
    near = [_nearest(one, sweep) for one in ends]
    if comparison.unknown is not None:
        return f"Nothing can be said: {comparison.unknown}."
    if near[0] is None or near[1] is None or near[0] == near[1] or ends[0] == ends[1]:
        return (
            "No two levels of the sweep keep about as much as the second scorer's, so there is nothing to set beside them."
        )
    first = comparison.difference(near[1].name, near[0].name)
    other = comparison.difference(ends[1].name, ends[0].name)
    across = comparison.difference(ends[1].name, near[1].name)
    told = f"From milder to harder the sweep changes by {signed(first)}, the second scorer by {signed(other)}."
    return f"{outcome_of_second(first, other, across)} {told}"


def outcome_of_second(first: Interval, other: Interval, across: Interval) -> str:
    """What two scorers' steps from a milder to a harder level tell; `across`: the second's harder minus the first's."""
    if first.positive and other.positive:
        return "Too hard: pushed so far, both scorers make it worse."
    if first.positive and (other.negative or across.negative):
        return "A bad proxy: kept by the second scorer, as little text is not worse."
    if first.positive:
        return "It cannot be told whether the sweep's scorer is a bad proxy or pushed too hard."
    if other.positive:
        return "Only the second scorer makes it worse when it is pushed: of the two it is the worse proxy."
    return "Neither scorer is seen to make it worse when it is pushed, so there is nothing to explain."
