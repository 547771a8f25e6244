"""The scorers' cards as they were written by training, and the overlap of what scorers keep.

Cards outlive the code that wrote them, as `compare.json` does: one that does not fit is one sentence, the others are told.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

Told = TypeVar("Told")


@dataclass(frozen=True)
class Side:
    """One of the texts that a scorer learned from; `files` is None for pages of the pool, `hash` that of the pages read."""

    name: str
    sources: tuple[str, ...]
    files: int | None
    pages: int
    hash: str


@dataclass(frozen=True)
class Bars:
    """A histogram: pages of either side in bins between edges."""

    edges: tuple[float, ...]
    positives: tuple[int, ...]
    negatives: tuple[int, ...]


@dataclass(frozen=True)
class Column:
    """What one signal of a scorer says of held-out pages. `styles`: share of pages that change sides, by change of style."""

    name: str
    lower: bool
    medians: Mapping[str, float | None]
    area: float | None
    bars: Bars | None
    pages: int
    length: float | None
    styles: Mapping[str, float | None]
    highest: tuple[tuple[str, float], ...]
    lowest: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Topic:
    """A cluster of pages: how many of those that it was found in, words that are its own, and titles of pages."""

    pages: int
    words: tuple[str, ...]
    titles: tuple[str, ...]


@dataclass(frozen=True)
class Criterion:
    """A sentence that pages are held against: whether it is wanted, their mean cosine to it, and titles of the nearest."""

    side: str
    sentence: str
    mean: float
    titles: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """A scorer. precision, recall: at one half. calibration: (mean score, share of positives) by tenth; empty for others.

    preferred: in which share of held-out pairs a page is preferred to its revision, by the revision.
    """

    name: str
    kind: str
    sides: tuple[Side, ...]
    columns: tuple[Column, ...]
    precision: float | None
    recall: float | None
    calibration: tuple[tuple[float, float], ...]
    warning: str
    topics: tuple[Topic, ...]
    preferred: Mapping[str, float | None]
    criteria: tuple[Criterion, ...]


@dataclass(frozen=True)
class Overlap:
    """Columns cut to shares of the pages: what each keeps, [shares][columns], and Jaccard's index of every two."""

    columns: tuple[str, ...]
    shares: tuple[float, ...]
    kept: tuple[tuple[int, ...], ...]
    jaccard: tuple[tuple[tuple[float | None, ...], ...], ...]


@dataclass(frozen=True)
class Scorers:
    """All that is known of the learned signals."""

    cards: tuple[Card, ...] = ()
    overlap: Overlap | None = None


def read_scorers(cards: Mapping[str, Path], overlap: Path, missing: list[str]) -> Scorers:
    """The cards in some files, by the name of the scorer, and the overlap; a file that does not fit adds to `missing`."""
    found = []
    for name, file in cards.items():
        card = _read(file, partial(_card, name), missing)
        found += [card] if card and (card.columns or card.topics) else []
    return Scorers(tuple(found), _read(overlap, _overlap, missing))


def _read(file: Path, told: Callable[[Any], Told], missing: list[str]) -> Told | None:
    try:
        return told(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except KeyError as error:
        reason = f"it lacks {error}"
    except (ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
        reason = str(error)
    missing.append(f"{file.name} in {file.parent.name}/ cannot be read, so it is not told of: {reason}")
    return None


def _card(name: str, tree: Any) -> Card:
    measured = tree.get("held_out") or {}
    sources = tree.get("sources") or {}
    return Card(
        name=name,
        kind=str(tree.get("kind") or ""),
        sides=tuple(
            Side(
                name=str(key),
                sources=tuple(map(str, one["from"])),
                files=None if one["files"] is None else int(one["files"]),
                pages=int(tree["trained_on"][key]),
                hash=str(tree["trained_on_hash"][key]),
            )
            for key, one in sources.items()
        ),
        columns=tuple(_column(str(key), one) for key, one in (tree.get("columns") or {}).items()),
        precision=_number(measured.get("precision")),
        recall=_number(measured.get("recall")),
        calibration=tuple((float(one["mean_score"]), float(one["positives"])) for one in measured.get("calibration") or ()),
        warning=str((measured.get("spread") or {}).get("warning") or ""),
        topics=tuple(
            Topic(int(one["pages"]), tuple(map(str, one["words"])), tuple(map(str, one["titles"])))
            for one in tree.get("topics") or ()
        ),
        criteria=tuple(
            Criterion(str(one["side"]), str(one["criterion"]), float(one["mean_cosine"]), tuple(map(str, one["titles"])))
            for one in tree.get("tried_criteria") or ()
        ),
        preferred={str(kind): _number(one["preferred"]) for kind, one in (tree.get("pairs") or {}).items()},
    )


def _column(name: str, tree: Any) -> Column:
    histogram, telling = tree["histogram"], tree["telling"]
    return Column(
        name=name,
        lower=bool(tree["lower_is_better"]),
        medians={str(side): _number(value) for side, value in tree["medians"].items()},
        area=_number(tree["area_under_curve"]),
        bars=None if histogram is None else _bars(histogram),
        pages=int(tree["judged_on"]),
        length=_number(tree["length_correlation"]),
        styles={str(style): _number(one["flipped"]) for style, one in tree["styles"].items()},
        highest=tuple((str(word), float(value)) for word, value in telling["highest"]),
        lowest=tuple((str(word), float(value)) for word, value in telling["lowest"]),
    )


def _bars(tree: Any) -> Bars:
    edges, up, down = (
        tuple(map(float, tree["edges"])),
        tuple(map(int, tree["positives"])),
        tuple(map(int, tree["negatives"])),
    )
    if not len(edges) - 1 == len(up) == len(down) > 0:
        raise ValueError("as many bins were expected on both sides, and one more edge")
    return Bars(edges, up, down)


def _overlap(tree: Any) -> Overlap:
    columns, shares = tuple(map(str, tree["columns"])), tuple(map(float, tree["shares"]))
    kept = tuple(tuple(map(int, level)) for level in tree["kept"])
    jaccard = tuple(tuple(tuple(map(_number, row)) for row in level) for level in tree["jaccard"])
    rows = [*kept, *(row for level in jaccard for row in level)]
    if not len(kept) == len(jaccard) == len(shares) or any(len(some) != len(columns) for some in (*rows, *jaccard)):
        raise ValueError(f"{len(shares)} tables of {len(columns)} rows and columns were expected")
    return Overlap(columns, shares, kept, jaccard)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
