"""What is drawn: the levels and controls of a sweep as lines, domain by domain, and beside the reference set.

Pages differ far more from one another than levels do, and every model reads the same pages. Bars that showed how far a value
might be off on other pages would hide every difference, so bars show how far its difference to the best level might be off,
as the table of levels says it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from markupsafe import Markup

from eval.report import figures
from eval.report.facts import Facts, Subset, key_text, level_text
from eval.report.figures import Grid, Line, Panel, Point
from eval.report.safe_text import plain
from eval.report.standing import Standing, Standings
from eval.report.story import Story
from eval.report.wording import bits, signed
from eval.statistics import Interval

NAME_SHOWN = 60


def main_panels(story: Story) -> list[Panel | Grid]:
    """Bits per byte against strength, or over the grid of two keys, and against the share of bytes kept."""
    if not story.held_out or not story.held_out.rows:
        return []
    panels: list[Panel | Grid] = [_panel(story, share=False)] if story.facts.ordered else []
    panels += [_grid(story)] if len(story.facts.axes) == 2 else []
    return [*panels, _panel(story, share=True)] if any(line.points for line in _lines(story, _share)) else panels


def _grid(story: Story) -> Grid:
    """Bits per byte of the levels of two keys: the first goes down, the second across."""
    (down, rows), (across, columns) = story.facts.axes.items()
    values = np.full((len(rows), len(columns)), np.nan)
    best = None
    for level in story.facts.levels:
        said = {key_text(key): level_text(value) for key, value in level.levels.items()}
        at = rows.index(said[down]), columns.index(said[across])
        row = story.held_out.by_name.get(level.name) if story.held_out else None
        values[at] = row.level.value if row else np.nan
        best = at if story.held_out and story.held_out.best == level.name else best
    return Grid(
        title=f"Bits per byte over {down} and {across}",
        across=across,
        down=down,
        up="bits per byte on held-out pages, lower is better",
        columns=tuple(columns),
        rows=tuple(rows),
        values=tuple(map(tuple, values.tolist())),
        best=best,
    )


def _panel(story: Story, share: bool) -> Panel:
    facts, standing = story.facts, story.held_out
    lines = _lines(story, _share if share else _position)
    unfiltered = [subset for subset in facts.subsets if subset.control == "unfiltered"]
    band = None
    if unfiltered and standing and (row := standing.by_name.get(unfiltered[0].name)):
        band = Line("unfiltered", "random", (_compared(row, 0.0),))
    best = next((point for line in lines if line.role == "level" for point in line.points if _is_best(point, story)), None)
    return Panel(
        title="Bits per byte against the share of bytes kept" if share else f"Bits per byte against {facts.swept}",
        across="share of bytes kept, filtered harder →" if share else f"{facts.swept}, filtered harder →",
        up="bits per byte on held-out pages, lower is better",
        lines=lines,
        ticks=() if share else _ticks(facts),
        band=band,
        mark=(best, f"best {bits(best.value)}") if best else None,
        share=share,
    )


def _is_best(point: Point, story: Story) -> bool:
    row = story.held_out.by_name.get(story.held_out.best) if story.held_out and story.held_out.best else None
    return bool(row and row.level.value == point.value)


ROLES = (
    (None, "level", "filtered", 0.0),
    ("random", "random", "random, same size", -0.07),
    ("inverted", "inverted", "inverted", 0.07),
)


def _lines(story: Story, place: Callable[[Subset], float | None]) -> tuple[Line, ...]:
    """Levels and controls as lines; on the axis of strengths the controls stand a little aside, so that none hides."""
    lines = []
    for control, role, name, aside in ROLES:
        points = []
        for subset in story.facts.subsets:
            row = story.held_out.by_name.get(subset.name) if story.held_out else None
            at = place(subset)
            if subset.control == control and row and at is not None:
                points.append(_compared(row, at + (aside if place is _position else 0.0), _each(story, subset.name)))
        if points:
            lines.append(Line(name, role, tuple(points), joined=story.facts.ordered))
    return tuple(lines)


def _compared(row: Standing, x: float, each: tuple[float, ...] = ()) -> Point:
    """The subset's value, its bar as wide as the interval of its difference to the best level; the best has none."""
    value, found = row.level.value, row.difference
    return Point(x, value, value - found.half_width, value + found.half_width, each) if found else Point(x, value)


def _each(story: Story, subset: str) -> tuple[float, ...]:
    """Each replicate's difference to the best level, from the best level's value: what the bar is made from."""
    comparison, best = (story.held_out.comparison, story.held_out.best) if story.held_out else (None, None)
    if comparison is None or best is None or subset not in comparison.subsets:
        return ()
    rows = comparison.by_replicate
    over = rows[comparison.subsets.index(subset)] - rows[comparison.subsets.index(best)]
    return tuple((comparison.value(best) + over).tolist())


def _position(subset: Subset) -> float | None:
    return None if subset.strength is None else float(subset.strength)


def _share(subset: Subset) -> float | None:
    return subset.share or None


def _ticks(facts: Facts) -> tuple[tuple[float, str], ...]:
    return tuple((float(level.strength), level.label) for level in facts.levels if level.strength is not None)


def _point(x: float, interval: Interval) -> Point:
    return Point(x, interval.value, interval.low, interval.high)


def domains(story: Story) -> dict[str, Any]:
    """Small panels, one a domain group: difference to the base, mean and range over replicates, on common axes.

    Where the levels have no order there are rows of a table alone.
    """
    panels = [panel for name in _domain_names(story.facts) if (panel := _domain_panel(story, name)).lines]
    ends = [
        end
        for panel in panels
        for line in panel.lines
        for point in line.points
        for end in (point.value, point.low, point.high)
    ]
    shown = [end for end in ends if end is not None and np.isfinite(end)]
    span = max(max(shown, default=0.0) - min(shown, default=0.0), 1e-3)
    limits = (min([*shown, 0.0]) - 0.08 * span, max([*shown, 0.0]) + 0.08 * span)
    return {
        "base": plain(story.base or "", NAME_SHOWN),
        "ordered": story.facts.ordered,
        "strata": story.facts.held_out is not None and len(np.unique(story.facts.held_out.stratum)) > 1,
        "random": any(line.role == "random" for panel in panels for line in panel.lines),
        "figures": [Markup(figures.small_svg(panel, limits)) for panel in panels] if story.facts.ordered else [],
        "rows": [_domain_row(panel) for panel in panels],
    }


def _domain_names(facts: Facts) -> list[str]:
    """Domain groups of the held-out set by bytes, largest first, then the macro mean."""
    sizes = {
        str(row.get("domain")): int(row.get("bytes") or 0)
        for row in facts.results
        if row.get("set") == "held_out" and row.get("domain") not in ("all", "macro", None)
    }
    rest = [name for name in ("other", "no domain") if name in sizes]
    named = sorted((name for name in sizes if name not in rest), key=lambda name: (-sizes[name], name))
    return [*named[:10], *rest, "macro"] if sizes else []


def _domain_panel(story: Story, domain: str) -> Panel:
    """Levels and random subsets on one domain group: differences to the base, mean and range over replicates."""
    values = _domain_values(story.facts, domain)
    base = values.get(story.base or "", {})
    lines = []
    for control, role, name, _ in ROLES[:2]:
        points = []
        for subset in story.facts.subsets:
            own = values.get(subset.name, {})
            gaps = [own[replicate] - base[replicate] for replicate in sorted(own) if replicate in base]
            if subset.control == control and subset.strength is not None and gaps:
                ends = (min(gaps), max(gaps)) if len(gaps) > 1 else (None, None)
                points.append(Point(float(subset.strength), float(np.mean(gaps)), *ends))
        if points:
            lines.append(Line(name, role, tuple(points)))
    title = "mean over domains" if domain == "macro" else domain
    return Panel(title, "", "", tuple(lines), ticks=_ticks(story.facts), zero=True)


def _domain_values(facts: Facts, domain: str) -> dict[str, dict[int, float]]:
    """Bits per byte on one domain group by subset and replicate; what is no number is left out."""
    values: dict[str, dict[int, float]] = {}
    for row in facts.results:
        number = row.get("value")
        wanted = row.get("set") == "held_out" and row.get("domain") == domain
        if wanted and isinstance(number, int | float) and np.isfinite(number):
            values.setdefault(str(row.get("subset")), {})[int(row.get("replicate") or 0)] = float(number)
    return values


def _domain_row(panel: Panel) -> dict[str, str]:
    """The same for Markdown: the level that does best and worst on this domain."""
    labels = dict(panel.ticks)
    points = next((line.points for line in panel.lines if line.role == "level"), ())
    best = min(points, key=lambda point: point.value, default=None)
    last = max(points, key=lambda point: point.x, default=None)
    if best is None or last is None:
        return {"name": plain(panel.title, NAME_SHOWN), "best": "–", "gain": "", "hardest": ""}
    return {
        "name": plain(panel.title, NAME_SHOWN),
        "best": plain(labels.get(best.x, ""), 20),
        "gain": f"{best.value:+.4f}".replace("-", "−"),
        "hardest": f"{last.value:+.4f}".replace("-", "−"),
    }


def gap(story: Story) -> dict[str, Any] | None:
    """Held-out and reference set side by side, as differences to the level that is best on held-out pages.

    Where they part, the filter serves its proxy. Levels without an order are told in a sentence alone.
    """
    if (
        not story.held_out
        or not story.reference
        or not story.held_out.best
        or story.held_out.best not in story.reference.compared
    ):
        return None
    if not story.facts.ordered:
        return {"figure": "", "sentence": _two_bests(story.held_out, story.reference)}
    lines = []
    sets = ((story.held_out, "level", "held-out", -0.03), (story.reference, "reference", "reference", 0.03))
    for standing, role, name, aside in sets:
        points = [
            _point(subset.strength + aside, moved)
            for subset in story.facts.levels
            if subset.strength is not None and (moved := _over(standing, subset.name, story.held_out.best))
        ]
        lines.append(Line(name, role, tuple(points)))
    if not all(line.points for line in lines):
        return None
    panel = Panel(
        title="Held-out and reference set",
        across=f"{story.facts.swept}, filtered harder →",
        up=f"bits per byte minus {story.held_out.best}",
        lines=tuple(lines),
        ticks=_ticks(story.facts),
        zero=True,
    )
    return {"figure": Markup(figures.panel_svg(panel, 5.4, 3.3)), "sentence": _gap_sentence(story)}


def _over(standing: Standings, name: str, best: str) -> Interval | None:
    """A level minus the one that is best on held-out pages; where that is this set's best too, as its table says it."""
    row = standing.by_name.get(name)
    return row.difference if row and row.difference and standing.best == best else standing.difference(name, best)


def _two_bests(held_out: Standings, reference: Standings) -> str:
    """Which level is best on each set."""
    if held_out.best == reference.best:
        return f"{held_out.best} is the best level on both."
    return f"{held_out.best} is the best level on held-out pages, {reference.best} on the reference set."


def _gap_sentence(story: Story) -> str:
    """From the level that is best on held-out pages to the hardest: what each set gains or loses."""
    held_out, reference = story.held_out, story.reference
    hardest = next(
        (level.name for level in reversed(story.facts.levels) if held_out and level.name in held_out.compared), None
    )
    if not held_out or not reference or not hardest or held_out.best in (None, hardest):
        return "The hardest level is also the best one on held-out pages: up to here the two do not part."
    one, other = (_over(standing, hardest, str(held_out.best)) for standing in (held_out, reference))
    if one is None or other is None:
        return ""
    says = (
        "The two part: the reference set improves while held-out pages get worse."
        if other.high < 0 < one.low
        else (
            "Both get worse."
            if one.low > 0 and other.low > 0
            else "This experiment is too small to say whether the two part."
        )
    )
    return (
        f"From {held_out.best} to {hardest}, held-out pages change by {signed(one)} bits per byte and the reference set by "
        f"{signed(other)}. {says}"
    )
