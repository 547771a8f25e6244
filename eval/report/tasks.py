"""What levels do to tasks: what the right answer costs, how often it is found, which tasks tell levels apart, and why not.

Costs are compared as pages are: paired over items and replicates. Accuracy is told beside them: small models are at chance.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from eval.report import figures
from eval.report.facts import Subset
from eval.report.figures import Line, Panel, Point
from eval.report.safe_text import plain
from eval.report.story import Story
from eval.report.task_scores import Floats, TaskScores
from eval.report.wording import listed, percent, plural, signed
from eval.statistics import Comparison, Interval, compare
from eval.tasks.signal_to_noise import SignalToNoise, signal_to_noise

NAME_SHOWN = 60
ROLES = {"tasks": "Tasks to look at", "verdict_tasks": "Tasks that decide"}
LINES = ((None, "level", "filtered"), ("random", "random", "random"), ("inverted", "inverted", "inverted"))
BY_CHANCE = "By chance alone 7 % of tasks count at 4 levels and 3 replicates, 20 % at 4 and 2."


def tasks(story: Story) -> dict[str, Any] | None:
    """Figures, tables and sentences about all tasks, those that may be looked at apart from those that decide."""
    found = [_Task(story, scores) for scores in story.facts.tasks]
    if not found:
        return None
    return {
        "groups": [
            _group(title, some) for role, title in ROLES.items() if (some := [one for one in found if one.is_a(role)])
        ],
        "worth": _worth([one for one in found if one.is_a("tasks")]),
        "at_chance": _at_chance(found),
        "templates": any(len(one.scores.templates) > 1 for one in found),
        "subsets": [plain(name, NAME_SHOWN) for name in _levels_asked(found)],
        "files": [_file(one, _levels_asked(found)) for one in found],
        "base": plain(found[0].base, NAME_SHOWN),
        "random": any(name in one.random for one in found for name in one.scores.subsets),
        "best_by_pages": _best_by_pages(story, found),
    }


class _Task:
    """One task and its comparisons, made once."""

    def __init__(self, story: Story, scores: TaskScores) -> None:
        by_name = {subset.name: subset for subset in story.facts.subsets}
        self.scores = scores
        self.asked = [by_name[name] for name in scores.subsets if name in by_name]
        names = [subset.name for subset in self.asked]
        self.base = story.base if story.base in names else max(self.asked, key=lambda one: one.share or 0.0).name
        self.random = [subset.name for subset in self.asked if subset.control == "random"]
        self.levels = [subset.name for subset in self.asked if subset.control in (None, "unfiltered")]
        self.hardest = min((one for one in self.asked if one.name in self.levels), key=lambda one: one.share or 0.0).name
        self.bits = self._compared(scores.bits)
        self.correct = self._compared(scores.correct)

    def is_a(self, role: str) -> bool:
        return self.scores.role == role

    def _compared(self, values: Floats) -> Comparison:
        """Means over items, which count alike, of the mean over templates."""
        at = [self.scores.subsets.index(subset.name) for subset in self.asked]
        each = values.mean(axis=0)[at] * np.log(2)  # `compare` takes nats, and gives bits
        names = [subset.name for subset in self.asked]
        apart = [subset.name for subset in self.asked if subset.control == "inverted"]
        return compare(each, np.ones(each.shape[2]), self.scores.items, names, alike=self.random, apart=apart)

    def over_base(self, comparison: Comparison) -> dict[str, Interval]:
        """Every other subset minus the base, for all of them at once."""
        others = [subset.name for subset in self.asked if subset.name != self.base]
        gaps = comparison.differences(self.base, others) if others else []
        return {name: -gap for name, gap in zip(others, gaps, strict=True)}

    def worth(self, values: Floats) -> SignalToNoise | None:
        """How well levels are told apart."""
        at = [self.scores.subsets.index(name) for name in self.levels]
        return signal_to_noise(values[:, at].mean(axis=3))

    @property
    def counted(self) -> tuple[str, SignalToNoise | None]:
        """The metric by which the task counts, and its worth; costs per character are taken for those per byte."""
        by_accuracy = self.scores.counts_by.startswith("accuracy")
        return ("accuracy", self.worth(self.scores.correct)) if by_accuracy else ("bits", self.worth(self.scores.bits))

    @property
    def is_above_chance(self) -> bool:
        """Whether any level answers better than who guesses, or always says the same."""
        chance = self.scores.chance or 0.0
        return chance == 0.0 or any(self.correct.interval(name).low > chance for name in self.levels)

    @property
    def counts(self) -> bool:
        """Whether it tells levels apart; accuracies that are those of who guesses do not."""
        metric, worth = self.counted
        return bool(worth and worth.counts and (metric == "bits" or self.is_above_chance))


def _group(title: str, some: Sequence[_Task]) -> dict[str, Any]:
    return {"title": title, "figures": [Markup(_figure(one)) for one in some], "rows": [_row(one) for one in some]}


def _figure(one: _Task) -> str:
    """Cost and accuracy of one task against the share kept."""
    cost = one.over_base(one.bits) | {one.base: Interval(0.0, 0.0, 0.0)}
    correct = {name: one.correct.interval(name) for name in one.correct.subsets}
    name = plain(one.scores.name, NAME_SHOWN)
    panels = (
        Panel(f"{name}: bits per byte", "", "", tuple(_lines(one.asked, cost)), share=True, zero=True),
        Panel("accuracy", "", "", tuple(_lines(one.asked, correct)), share=True),
    )
    return figures.task_svg(*panels, one.scores.chance)


def _lines(asked: Sequence[Subset], values: dict[str, Interval]) -> Iterator[Line]:
    for control, role, name in LINES:
        points = tuple(
            Point(subset.share, found.value, found.low, found.high)
            for subset in asked
            if subset.share and (subset.control == control or (control is None and subset.control == "unfiltered"))
            for found in [values[subset.name]]
        )
        if points:
            yield Line(name, role, points)


def _row(one: _Task) -> dict[str, Any]:
    """A task in numbers."""
    costs = {name: one.bits.value(name) for name in one.levels}
    best = min(costs, key=lambda name: costs[name])
    gap = one.bits.difference(one.hardest, one.base) if one.hardest != one.base else None
    accuracies = [one.correct.value(name) for name in one.levels]
    metric, worth = one.counted
    return {
        "name": plain(one.scores.name, NAME_SHOWN),
        "items": f"{len(one.scores.items):,}",
        "base": f"{costs[one.base]:.3f}",
        "best": plain(best, NAME_SHOWN),
        "hardest": signed(gap),
        "worse": bool(gap and gap.positive and one.bits.unknown is None),
        "accuracy": " to ".join(dict.fromkeys(percent(end) for end in (min(accuracies), max(accuracies)))),
        "chance": percent(one.scores.chance),
        "by": "bits per byte" if metric == "bits" else "accuracy",
        "signal": _number(worth.signal if worth else None),
        "noise": _number(worth.replicates if worth else None),
        "templates": _number(worth.templates if worth and len(one.scores.templates) > 1 else None),
        "ratio": f"{worth.ratio:.1f}" if worth and worth.ratio is not None else "–",
        "counts": one.counts,
        "skipped": "; ".join(f"{count:,} questions skipped: {plain(why, 90)}" for why, count in one.scores.skipped.items()),
        "cut": f"{one.scores.cut:,} questions cut on the left" if one.scores.cut else "",
    }


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}" if value else "0"


def _worth(found: Sequence[_Task]) -> str:
    """Which tasks tell levels apart."""
    judged = [one for one in found if one.counted[1] is not None]
    if not judged:
        return "It takes two levels and two replicates to say which tasks tell levels apart." if found else ""
    told = [plain(one.scores.name, NAME_SHOWN) for one in judged if one.counts]
    others = len(judged) - len(told)
    if not told:
        return (
            "No task tells levels apart, by what it counts by, beyond what runs of one level differ by: read nothing into "
            f"its order of levels. {BY_CHANCE}"
        )
    rest = f" {others:,} {plural(others, 'other')} {'does' if others == 1 else 'do'} not: read nothing into the order there."
    verb = "tells" if len(told) == 1 else "tell"
    return f"{listed(told)} {verb} levels apart by more than runs of one level differ.{rest if others else ''} {BY_CHANCE}"


def _at_chance(found: Sequence[_Task]) -> str:
    """The tasks in which no level answers better than who guesses."""
    named = [
        f"{plain(one.scores.name, NAME_SHOWN)} ({percent(one.scores.chance)})" for one in found if not one.is_above_chance
    ]
    if not named:
        return ""
    return f"At chance at this size, at every level: {listed(named)}. Their accuracy says nothing of any filter."


def _levels_asked(found: Sequence[_Task]) -> list[str]:
    return list(dict.fromkeys(subset.name for one in found for subset in one.asked))


def _file(one: _Task, names: Sequence[str]) -> dict[str, Any]:
    """Where a task's items come from, and the share of each subset's pages that hold text of them."""
    held = one.scores.contaminated
    return {
        "name": plain(one.scores.name, NAME_SHOWN),
        "file": plain(one.scores.file, NAME_SHOWN),
        "sha256": plain(one.scores.sha256, 16),
        "held": [percent(held[name]) if name in held else "–" for name in names] if held else [],
    }


def _best_by_pages(story: Story, found: Sequence[_Task]) -> bool:
    """Whether only some levels were asked, and the best on held-out pages is one of them."""
    best = story.held_out.best if story.held_out else None
    asked = {subset.name for one in found for subset in one.asked}
    return best in asked and any(level.name not in asked for level in story.facts.levels)
