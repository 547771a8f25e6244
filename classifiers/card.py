"""What is known of a scorer from pages it was not trained on: how it ranks them, and what its probabilities are worth.

`tried` asks any scorer the same, through nothing but its signals, such as whether it goes by length or by style. A kind
itself measures what only it can, on all pages that it holds out (`ranking`, `probabilities`).
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from classifiers.kinds import Floats
from filters.signals import Group
from filters.texts import measured

Truth = npt.NDArray[np.bool_]

GROUPS = 10
"""Deciles of the scores."""
BINS = 20
MOST, NARROW = 0.8, 0.01
"""Where so much of the scores lies so close together, a noisy cut by them is nearly a random sample: the scores of `gao` on
392 positives, all within .001 of one half, were the case that this is drawn from. Both numbers are assumptions."""

KEEPS = 0.3
"""The level that pages may cross when their style changes keeps so many of them."""
FEWEST_PAGES, MOST_WORDS, TOLD_WORDS = 3, 20_000, 12
"""Words that are asked for are on so many held-out pages at least, the commonest first; so many are told at either end."""
FIRST_PERSON = re.compile(r"\b(?:I|[Mm](?:e|y|ine|yself)|[Ww]e|us|[Oo]ur(?:s|selves)?)(?:['’](?:m|ve|d|ll|re))?\b[ \t]?")


def as_bullets(text: str) -> str:
    """The first sentence or line as a heading, each of the others as a bullet, as in Markdown."""
    pieces = [piece for piece in re.split(r"(?<=[.!?])\s+|\n+", text.strip()) if piece.strip()]
    return "\n".join([f"# {pieces[0]}\n", *(f"- {piece}" for piece in pieces[1:])]) if pieces else text


def without_first_person(text: str) -> str:
    """The text without English words of the first person."""
    return FIRST_PERSON.sub("", text)


STYLES: Mapping[str, Callable[[str], str]] = {
    "heading and bullets": as_bullets,
    "lower case": str.lower,
    "no first person": without_first_person,
}
"""Ways to write the same, by name. The first is Markdown's, the last knows English alone."""


def tried(group: Group, sides: Sequence[str], positive: Truth, texts: Sequence[str], lowest: bool) -> dict[str, Any]:
    """What each signal of a scorer says of held-out pages, by column; `sides` names the text that each page is of.

    lowest: whether lower values are better. Length and style are tried on the pages that are no positives, as a crawl's
    are, where there are any: `judged_on` says how many. sides, positive, texts: one entry a page.
    """
    judged = np.flatnonzero(~positive) if not positive.all() else np.arange(len(texts))
    some = [texts[row] for row in judged.tolist()]
    edited = {name: [edit(text) for text in some] for name, edit in STYLES.items()}
    found = scores(group, texts)
    in_style = {name: scores(group, style) for name, style in edited.items()}
    changed = {name: _mean(np.array([a != b for a, b in zip(style, some, strict=True)])) for name, style in edited.items()}
    lengths = np.array([len(text) for text in some], np.float64)
    told = {}
    for column, values in found.items():
        better, before = -values if lowest else values, values[judged]
        told[column] = {
            "lower_is_better": lowest,
            "medians": {side: _median(values[np.array(sides) == side]) for side in dict.fromkeys(sides)},
            "not_measured": int(np.isnan(values).sum()),
            "area_under_curve": _known(area_under_curve(positive[~np.isnan(values)], better[~np.isnan(values)])),
            "histogram": _histogram(positive, values, logarithmic=lowest),
            "judged_on": len(judged),
            "length_correlation": rank_correlation(before, lengths),
            "styles": {
                style: {"changed": changed[style], "flipped": flipped(before, after[column][: len(judged)], lowest)}
                for style, after in in_style.items()
            },
        }
    return told


def flipped(before: Floats, after: Floats, lowest: bool) -> float | None:
    """The share of pages that change side at the level that keeps `KEEPS` of them; NaN is not kept. None without pages."""
    if np.isnan(before).all():
        return None
    level = np.nanquantile(before, KEEPS if lowest else 1 - KEEPS)
    kept = [values <= level if lowest else values >= level for values in (before, after)]
    return _mean(kept[0] != kept[1])


def common_words(texts: Sequence[str]) -> list[str]:
    """Words of letters and digits that stand on several of the texts, the commonest first."""
    pages = Counter(word for text in texts for word in dict.fromkeys(re.findall(r"\w+", text)))
    return [word for word, count in pages.most_common(MOST_WORDS) if count >= FEWEST_PAGES]


def telling(words: Sequence[str], values: Floats) -> dict[str, list[tuple[str, float]]]:
    """The words whose values are highest and lowest; of one that is written in two cases the one further out."""
    ends = {}
    for end, sign in (("highest", -1.0), ("lowest", 1.0)):
        order = np.argsort(sign * values, kind="stable")[: np.count_nonzero(~np.isnan(values))]
        first: dict[str, tuple[str, float]] = {}
        for row in order[: 2 * TOLD_WORDS]:
            first.setdefault(words[row].lower(), (words[row], float(values[row])))
        ends[end] = list(first.values())[:TOLD_WORDS]
    return ends


def rank_correlation(first: Floats, second: Floats) -> float | None:
    """Spearman's, over the pages where both are known; None where one of them is the same on all."""
    known = ~(np.isnan(first) | np.isnan(second))
    one, other = _ranks(first[known]), _ranks(second[known])
    if len(np.unique(one)) < 2 or len(np.unique(other)) < 2:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def scores(group: Group, texts: Sequence[str]) -> dict[str, Floats]:
    """Every signal of some texts by column, NaN where it is not measured; shape (texts,) each."""
    table = measured(list(texts), [group])
    return {name: table[name].cast(pa.float64()).to_numpy() for name in table.column_names}


def _histogram(positive: Truth, values: Floats, logarithmic: bool) -> dict[str, Any] | None:
    """`histogram` of what is measured; of perplexities, which lie orders of magnitude apart, in bins of equal ratio."""
    known = ~np.isnan(values)
    if not known.any():
        return None
    if not logarithmic:
        return histogram(positive[known], values[known]) | {"logarithmic": False}
    found = histogram(positive[known], np.log10(values[known]))
    return found | {"edges": [10**edge for edge in found["edges"]], "logarithmic": True}


def _median(values: Floats) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmedian(values))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def ranking(positive: Truth, scores: Floats) -> dict[str, Any]:
    """How held-out pages are ranked: sizes, area under the curve (null where a class is missing), histogram, spread."""
    area = area_under_curve(positive, scores)
    return {
        "positives": int(positive.sum()),
        "negatives": int((~positive).sum()),
        "area_under_curve": _known(area),
        "histogram": histogram(positive, scores),
        "spread": spread(scores),
    }


def probabilities(positive: Truth, scores: Floats) -> dict[str, Any]:
    """`ranking`, and what scores in [0, 1] are worth as probabilities of a positive; null where there is no page to tell."""
    chosen = scores > 0.5
    return {
        **ranking(positive, scores),
        "accuracy": _mean(chosen == positive),
        "precision": _mean(positive[chosen]),
        "recall": _mean(chosen[positive]),
        "calibration": calibration(positive, scores),
    }


def sentence(card: Mapping[str, Any]) -> str:
    """A card with `trained_on` and `held_out`, as one line for the terminal."""
    measured = card["held_out"]
    area = measured["area_under_curve"]
    told = "no area under the curve, as one class has no other page" if area is None else f"area under the curve {area:.4f}"
    learned = " + ".join(f"{pages:,}" for pages in card["trained_on"].values())
    line = f"learned from {learned} pages; {told} on {measured['positives']:,} + {measured['negatives']:,} others"
    return f"{line}. {measured['spread']['warning']}" if measured["spread"]["warning"] else line


def area_under_curve(positive: Truth, scores: Floats) -> float:
    """Probability that a positive scores above a negative, ties counted half (Mann-Whitney's U over its maximum)."""
    if positive.all() or not positive.any():
        return float("nan")
    positives = int(positive.sum())
    above = _ranks(scores)[positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(positive) - positives)))


def _ranks(values: Floats) -> Floats:
    """Ranks from 1, of equal values their mean."""
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(size) - (size - 1) / 2)[group], np.float64)


def calibration(positive: Truth, scores: Floats) -> list[dict[str, Any]]:
    """Of the pages in tenths by score, lowest first: how many, their mean score, and the share that is positive."""
    tenths = np.array_split(np.argsort(scores, kind="stable"), GROUPS)
    return [
        {"pages": len(rows), "mean_score": float(scores[rows].mean()), "positives": float(positive[rows].mean())}
        for rows in tenths
        if len(rows)
    ]


def histogram(positive: Truth, scores: Floats) -> dict[str, Any]:
    """Pages of each class in bins of equal width between the lowest and the highest score; bin k ends where k + 1 begins."""
    edges = np.histogram_bin_edges(scores, BINS)
    counts = {name: np.histogram(scores[which], edges)[0].tolist() for name, which in _classes(positive).items()}
    return {"edges": edges.tolist(), **counts}


def spread(scores: Floats) -> dict[str, Any]:
    """The width of the narrowest interval that holds `MOST` of the scores, and a warning where it is `NARROW` or less."""
    if not len(scores):
        return {"narrowest": None, "warning": None}
    ordered, held = np.sort(scores), int(np.ceil(MOST * len(scores)))
    width = float((ordered[held - 1 :] - ordered[: len(ordered) - held + 1]).min())
    warning = f"{MOST:.0%} of the scores lie within {width:.4f}: a noisy cut by them is nearly a random sample"
    return {"narrowest": width, "warning": warning if width <= NARROW else None}


def _classes(positive: Truth) -> dict[str, Truth]:
    return {"positives": positive, "negatives": ~positive}


def _mean(values: Truth) -> float | None:
    return float(values.mean()) if len(values) else None
