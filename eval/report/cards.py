"""The scorers: what each learned from, how it treats pages that it was not trained on, how far they keep the same ones."""

from collections.abc import Iterable, Sequence
from typing import Any

from eval.report.removal import NAME_SHOWN, shade
from eval.report.safe_text import plain, private_masked
from eval.report.scorers import Bars, Card, Column, Overlap, Scorers
from eval.report.wording import percent

LABEL_SHOWN, WORD_SHOWN, TITLE_SHOWN, SOURCES_SHOWN = 28, 24, 60, 120
WIDTH, HALF = 240.0, 40.0  # of a histogram, in its own units; one side up, the other down


def scorers(found: Scorers) -> dict[str, Any] | None:
    """What the report says of the scorers; None where there are none."""
    if not found.cards and not found.overlap:
        return None
    styles = list(dict.fromkeys(style for card in found.cards for column in card.columns for style in column.styles))
    return {
        "styles": [plain(style, LABEL_SHOWN) for style in styles],
        "cards": [_told(card, styles) for card in found.cards],
        "overlap": _tables(found.overlap) if found.overlap else None,
    }


def _told(card: Card, styles: Sequence[str]) -> dict[str, Any]:
    return {
        "name": plain(card.name, NAME_SHOWN),
        "kind": plain(card.kind, LABEL_SHOWN),
        "warning": plain(card.warning, 300),
        "precision": percent(card.precision),
        "recall": percent(card.recall),
        "sides": [
            {
                "name": plain(side.name, LABEL_SHOWN),
                "pages": f"{side.pages:,}",
                "sources": plain(", ".join(side.sources), SOURCES_SHOWN),
                "files": "" if side.files is None else f"{side.files:,}",
                "hash": plain(side.hash, 12),
            }
            for side in card.sides
        ],
        "columns": [_column_told(column, styles) for column in card.columns],
        "calibration": [{"score": f"{score:.2f}", "share": percent(share)} for score, share in card.calibration],
        "criteria": [
            {
                "side": plain(one.side, LABEL_SHOWN),
                "sentence": plain(one.sentence, SOURCES_SHOWN),
                "mean": f"{one.mean:+.2f}".replace("-", "−"),
                "titles": [private_masked(title, TITLE_SHOWN) for title in one.titles],
            }
            for one in card.criteria
        ],
        "preferred": [(plain(kind, LABEL_SHOWN), percent(share)) for kind, share in card.preferred.items()],
        "topics": [
            {
                "pages": f"{topic.pages:,}",
                "words": [private_masked(word, WORD_SHOWN) for word in topic.words],
                "titles": [private_masked(title, TITLE_SHOWN) for title in topic.titles],
            }
            for topic in card.topics
        ],
    }


def _column_told(column: Column, styles: Sequence[str]) -> dict[str, Any]:
    return {
        "name": plain(column.name, NAME_SHOWN),
        "better": "lower" if column.lower else "higher",
        "area": "–" if column.area is None else f"{column.area:.3f}",
        "length": "–" if column.length is None else f"{column.length:+.2f}".replace("-", "−"),
        "pages": f"{column.pages:,}",
        "styles": [percent(column.styles.get(style)) for style in styles],
        "medians": [(plain(side, LABEL_SHOWN), _short(value)) for side, value in column.medians.items()],
        "highest": _words(column.highest),
        "lowest": _words(column.lowest),
        "bars": _drawn(column.bars) if column.bars else None,
    }


def _words(words: Iterable[tuple[str, float]]) -> list[dict[str, str]]:
    return [{"word": private_masked(word, WORD_SHOWN), "value": _short(value)} for word, value in words]


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}".replace("-", "−")


def _drawn(bars: Bars) -> dict[str, Any]:
    """Places of the bars, as text: the share of one side's pages upward, of the other's downward, on one scale."""
    sides = {"positives": bars.positives, "negatives": bars.negatives}
    shares = {side: [count / max(sum(counts), 1) for count in counts] for side, counts in sides.items()}
    tallest = max(max(some) for some in shares.values()) or 1.0
    width = WIDTH / len(bars.positives)
    drawn = []
    for side, some in shares.items():
        for at, share in enumerate(some):
            height = HALF * share / tallest
            y = HALF - height if side == "positives" else HALF + 1
            drawn.append({"side": side, "x": f"{at * width:.1f}", "y": f"{y:.1f}", "height": f"{height:.1f}"})
    return {
        "bars": [one for one in drawn if float(one["height"]) > 0],
        "width": f"{width - 1:.1f}",
        "from": _short(bars.edges[0]),
        "to": _short(bars.edges[-1]),
        "positives": f"{sum(bars.positives):,}",
        "negatives": f"{sum(bars.negatives):,}",
    }


def _tables(found: Overlap) -> dict[str, Any]:
    """One matrix for each share."""
    return {
        "labels": [plain(name, LABEL_SHOWN) for name in found.columns],
        "tables": [
            {
                "share": percent(share),
                "rows": [
                    {
                        "name": plain(name, NAME_SHOWN),
                        "kept": f"{found.kept[level][at]:,}",
                        "cells": [
                            None if other == at else {"share": percent(value), "shade": shade(value or 0.0)}
                            for other, value in enumerate(found.jaccard[level][at])
                        ],
                    }
                    for at, name in enumerate(found.columns)
                ],
            }
            for level, share in enumerate(found.shares)
        ],
    }
