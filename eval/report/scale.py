"""What sizes, budgets and learning rates change: which share is best, the sign of hardest minus best, the levels' order.

Only directions are told. A best share of small models is not one for larger ones, so none is given.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from eval.report import figures
from eval.report.facts import Cell
from eval.report.figures import Line, Panel, Point
from eval.report.safe_text import plain
from eval.report.standing import Standings, standings
from eval.report.story import Story
from eval.report.wording import from_to, percent, plural, short_count, signed
from eval.statistics import Comparison, Interval

NAME_SHOWN = 60
REFUSAL = (
    "No best share is given for a larger model or a longer run, here or in any file of this report: the best share grows "
    "with compute (BETR, Mizrahi et al. 2025), so that of small models would filter too hard for large ones. What may be "
    "taken from here is a direction."
)
ONE_RATE = (
    "Every claim is made at one learning rate; learning_rate: [1, 0.5] with at: [none, best, hardest] under train: would "
    "show whether it hangs on it."
)
AS_NEW = 4
"""Readings of the same text that are nearly as good as new text: Muennighoff et al. 2023 (arXiv 2305.16264)."""
REPEATED = (
    f"Up to {AS_NEW} readings of the same pages are nearly as good as new ones (Muennighoff et al. 2023). Beyond that a "
    "hard filter pays for having few pages, whichever they are; as much random text, read as often, shows what is left to "
    "its choice."
)


@dataclass(frozen=True, eq=False)
class _Told:
    """A cell whose runs were measured."""

    cell: Cell
    found: Standings
    comparison: Comparison
    shares: dict[str, float]
    random: dict[str, str]
    """A level -> the control with as much random text."""

    @property
    def best(self) -> str:
        return str(self.found.best)

    @property
    def hardest(self) -> str:
        return min(self.found.levels, key=lambda name: self.shares[name])

    @property
    def times(self) -> float:
        """How often the hardest level's runs read its pages, the mean of them."""
        times = [
            float(run.facts.get("epochs") or 0) for run in self.cell.runs if run.subset == self.hardest and run.finished
        ]
        return sum(times) / max(1, len(times))

    @property
    def name(self) -> str:
        return f"{plain(self.cell.model, 30)} on {short_count(self.cell.tokens)} tokens"

    @property
    def sure(self) -> bool:
        return self.comparison.unknown is None

    @property
    def hardest_minus_best(self) -> Interval | None:
        """As the verdict has it, which picked the best by the same numbers; None where the hardest is the best."""
        if self.hardest == self.best:
            return None
        found = self.found.verdict.hardest_minus_best if self.found.verdict else None
        return found or self.gap(self.hardest, self.best)

    def gap(self, one: str, other: str) -> Interval | None:
        """One minus the other, a comparison that was planned; None unless both were trained here."""
        return self.found.difference(one, other) if one != other else None


def scale(story: Story) -> dict[str, Any] | None:
    """The tables, sentences and figures; None with fewer than two cells that were measured."""
    cells = [told for cell in story.facts.cells if (told := _told(story, cell))]
    if len(cells) < 2:
        return None
    whole = [one for one in cells if one.cell.first_rate]
    claims = [claim for some in _by_rates(cells) for claim in _claims(some)]
    return {
        "rows": [_row(one) for one in cells],
        "repeated": REPEATED if any(one.times > AS_NEW for one in cells) else "",
        "moves": _moves(whole),
        "decisions": _decisions(whole),
        "claims": claims,
        "judged": _judged(cells[0], claims) if cells[0].cell.scores is story.facts.held_out else "",
        "one_rate": "" if claims else ONE_RATE,
        "rates": [Markup(figures.panel_svg(panel, 4.0, 2.9)) for some in _by_rates(cells) if (panel := _rates(some))],
        "refusal": REFUSAL,
    }


def standings_of(story: Story, cell: Cell) -> Standings | None:
    """Where each subset stands in a cell; None where it was not measured."""
    if cell.scores is None:
        return None
    if story.held_out is not None and story.facts.held_out is cell.scores:
        return story.held_out
    return _standings(cell, story)


@lru_cache(maxsize=64)
def _standings(cell: Cell, story: Story) -> Standings | None:
    """Worked out once for the page and its table."""
    return standings(cell.scores, story.facts.subsets, story.facts.ordered) if cell.scores else None


def _told(story: Story, cell: Cell) -> _Told | None:
    found = standings_of(story, cell)
    if found is None or not found.levels or found.comparison is None:
        return None
    shares = {subset.name: subset.share or 0.0 for subset in story.facts.subsets}
    random = {str(subset.of): subset.name for subset in story.facts.subsets if subset.control == "random"}
    return _Told(cell, found, found.comparison, shares, random)


def _row(one: _Told) -> dict[str, Any]:
    gap = one.hardest_minus_best
    pairs = one.comparison.all_pairs(one.found.levels) if len(one.found.levels) > 1 and one.sure else {}
    alike = [name for name in one.found.levels if name == one.best or (pairs and not pairs[name, one.best].positive)]
    shares = sorted(one.shares[name] for name in alike)
    beside = one.gap(one.hardest, one.random.get(one.hardest, one.hardest))
    return {
        "size": plain(one.cell.model, 30),
        "tokens": short_count(one.cell.tokens),
        "rate": f"{one.cell.learning_rate:g}",
        "flops": f"{one.cell.flops:.2g}",
        "levels": f"{len(one.found.levels):,}",
        "best": plain(one.best, NAME_SHOWN),
        "share": percent(one.shares[one.best]),
        "alike": from_to(shares, percent) if pairs else "–",
        "gap": signed(gap) if gap else "the hardest is the best",
        "sign": _sign(one, gap),
        "times": f"{one.times:.2g}" if one.times else "–",
        "over_random": signed(beside) if beside else "–",
    }


def _sign(one: _Told, gap: Interval | None) -> str:
    if gap is None:
        return ""
    if not one.sure:
        return "one replicate"
    return "worse" if gap.positive else "better" if gap.negative else "cannot tell"


def _moves(cells: Sequence[_Told]) -> list[str]:
    """Of every two neighbours that differ in size alone or in budget alone: how the best share moves."""
    says = []
    for key in ("parameters", "tokens"):
        other = "tokens" if key == "parameters" else "model"
        ordered = sorted(cells, key=lambda one: (str(getattr(one.cell, other)), getattr(one.cell, key)))
        for _, some in itertools.groupby(ordered, key=lambda one: getattr(one.cell, other)):
            says += [_move(small, large) for small, large in itertools.pairwise(some)]
    return says


def _move(small: _Told, large: _Told) -> str:
    """Whether the best share moves, beyond chance only where each is told from the other's in both cells."""
    one, other = small.shares[small.best], large.shares[large.best]
    lead = f"From {small.name} to {large.name}"
    signs = f"hardest minus best goes from {_short(small)} to {_short(large)}"
    if one == other:
        return f"{lead} the best share stays at {percent(one)}; {signs}."
    gaps = (small.gap(large.best, small.best), large.gap(small.best, large.best))
    beyond = small.sure and large.sure and all(gap and gap.positive for gap in gaps)
    way = "grows" if other > one else "falls"
    chance = "beyond chance" if beyond else "which may be chance"
    return f"{lead} the best share {way} from {percent(one)} to {percent(other)}, {chance}; {signs}."


def _short(one: _Told) -> str:
    gap = one.hardest_minus_best
    return signed(gap) if gap else "none (the hardest is the best)"


def _decisions(cells: Sequence[_Told]) -> list[dict[str, str]]:
    """How many pairs of levels each cell orders as that with the most compute (DataDecide, Magnusson et al. 2025)."""
    if len(cells) < 2:
        return []
    target = max(cells, key=lambda one: one.cell.flops)
    pairs_there = target.comparison.all_pairs(target.found.levels) if target.sure and len(target.found.levels) > 1 else {}
    return [_decision(one, target, pairs_there) for one in cells if one is not target]


def _decision(one: _Told, target: _Told, there: Any) -> dict[str, str]:
    common = [name for name in target.found.levels if name in one.found.levels]
    pairs = list(itertools.combinations(common, 2))
    alike = [pair for pair in pairs if _order(one, pair) == _order(target, pair)]
    decided = [pair for pair in pairs if there and (there[pair].positive or there[pair].negative)]
    right = [pair for pair in decided if pair in alike]
    return {
        "from": one.name,
        "to": target.name,
        "pairs": f"{len(pairs):,}",
        "alike": f"{len(alike):,}",
        "accuracy": percent(len(alike) / len(pairs)) if pairs else "–",
        "decided": f"{len(decided):,}",
        "right": f"{len(right):,}",
    }


def _order(one: _Told, pair: tuple[str, str]) -> bool:
    return one.comparison.value(pair[0]) <= one.comparison.value(pair[1])


def _by_rates(cells: Sequence[_Told]) -> list[list[_Told]]:
    """Cells that differ in their rate alone, the first rate first; only where there are several."""
    found: dict[tuple[str, int], list[_Told]] = {}
    for one in cells:
        found.setdefault((one.cell.model, one.cell.tokens), []).append(one)
    ordered = [sorted(some, key=lambda one: not one.cell.first_rate) for some in found.values()]
    return [some for some in ordered if len(some) > 1 and some[0].cell.first_rate]


def _unfiltered(one: _Told) -> str | None:
    names = [name for name in one.comparison.subsets if name == "unfiltered"]
    return names[0] if names else None


def _claims(some: Sequence[_Told]) -> list[dict[str, Any]]:
    """What is claimed at the first rate, at every rate: the subsets are those of the first."""
    first, none = some[0], _unfiltered(some[0])
    asked = [(first.hardest, first.best)] + ([(first.best, none), (first.hardest, none)] if none else [])
    claims = []
    for one, other in asked:
        gaps = [(told, _picked(told, one, other) if told is first else told.gap(one, other)) for told in some]
        if gaps[0][1] is not None:
            each = [(f"{told.cell.learning_rate:g}", signed(gap) or "not measured") for told, gap in gaps]
            what = f"{plain(one, NAME_SHOWN)} minus {plain(other, NAME_SHOWN)}"
            claims.append({"where": first.name, "what": what, "each": each, "says": _holds([gap for _, gap in gaps])})
    return claims


def _judged(first: _Told, claims: Sequence[dict[str, Any]]) -> str:
    """Whether what the first sentence of the page rests on holds at another rate; empty where there is none."""
    told = [f"{claim['what']}, {claim['says']}" for claim in claims if claim["where"] == first.name]
    return f"At every learning rate of this size and budget (Scale, below): {'; '.join(told)}." if told else ""


def _picked(told: _Told, one: str, other: str) -> Interval | None:
    """One minus the other where their own numbers picked them: with an interval that holds for all that might have been."""
    if (one, other) == (told.hardest, told.best):
        return told.hardest_minus_best
    names = list(dict.fromkeys([*told.found.levels, one, other]))
    return told.comparison.all_pairs(names)[one, other] if one != other else None


def _holds(found: Sequence[Interval | None]) -> str:
    """What several rates say together."""
    gaps = [gap for gap in found if gap is not None]
    if len(gaps) < len(found):
        return "not measured at every rate"
    for sign in ("positive", "negative"):
        seen = sum(getattr(gap, sign) for gap in gaps)
        against = any(getattr(gap, "negative" if sign == "positive" else "positive") for gap in gaps)
        if seen and against:
            return "the rates contradict each other"
        if seen == len(gaps):
            return "holds at every rate"
        if seen:
            return f"beyond chance at {seen:,} of {len(gaps):,} {plural(len(gaps), 'rate')}"
    return "beyond chance at no rate"


def _rates(some: Sequence[_Told]) -> Panel | None:
    """Bits per byte against the learning rate, of the pool, the level that is best at the first rate, and the hardest."""
    first = some[0]
    named = {"none": (_unfiltered(first), "random"), "best": (first.best, "level"), "hardest": (first.hardest, "inverted")}
    ordered = sorted(some, key=lambda one: one.cell.learning_rate)
    lines = []
    for name, (subset, role) in named.items():
        points = tuple(
            Point(float(at), one.comparison.value(subset), each=_each(one, subset))
            for at, one in enumerate(ordered)
            if subset in one.comparison.subsets
        )
        if points and (name != "hardest" or subset != first.best):
            lines.append(Line(name, role, points))
    return Panel(
        title=f"Bits per byte against the learning rate, {first.name}",
        across=f"learning rate, {first.name}",
        up="bits per byte on held-out pages, lower is better",
        lines=tuple(lines),
        ticks=tuple((float(at), f"{one.cell.learning_rate:g}") for at, one in enumerate(ordered)),
    )


def _each(one: _Told, subset: str | None) -> tuple[float, ...]:
    return tuple(one.comparison.by_replicate[one.comparison.subsets.index(str(subset))].tolist())
