"""Figures as SVG text: the same bytes for the same numbers, readable at 350 and at 1,200 pixels and without colour.

The hard part is that the differences between levels are small beside what a bad control costs: axes are set by the levels,
and a control that leaves them is cut at the edge and named with its value. Lines are named at their ends, not in a legend.
"""

import io
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from eval.report.safe_text import plain

INK, SOFT, RULE, BAND = "#1a1a1a", "#5c5c5c", "#dcdcdc", "#ececec"
# Okabe and Ito (2008), "Color Universal Design": told apart with any colour vision; shapes differ as well.
COLOURS = {"level": "#0072b2", "random": "#6e6e6e", "inverted": "#d55e00", "reference": "#00795a"}
SHAPES = {"level": "o", "random": "s", "inverted": "^", "reference": "D"}
FONTS = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
MANY = 14  # points on a line: beyond, intervals become a ribbon and dots disappear
MARGIN = 0.5  # inches for the tick labels, left of every panel
DARK = 0.65  # a cell's opacity from which on its number is white
SMALLEST = 4.5  # points: smaller numbers in cells are left out
BESIDE = 0.06  # how far right of a bar its replicates' dots stand, on an axis of strengths
OVERSHOOT = 0.9  # share of the levels' own range that a control may add to the axis

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: every machine measures text alike; replaced by FONTS in the end
    "font.size": 8.5,
    "text.parse_math": False,  # level names are not formulas
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.labelcolor": SOFT,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.color": SOFT,
    "ytick.labelcolor": SOFT,
    "ytick.major.size": 0,
    "xtick.major.size": 3,
    "svg.fonttype": "none",
    "svg.hashsalt": "goodhart",
}


@dataclass(frozen=True)
class Point:
    """One measurement: where on the axis, its value, its 95 % interval (None where there is none) and each replicate's."""

    x: float
    value: float
    low: float | None = None
    high: float | None = None
    each: tuple[float, ...] = ()


@dataclass(frozen=True)
class Line:
    """Measurements that belong together; `role` is level, random, inverted or reference; not `joined` in a grid."""

    name: str
    role: str
    points: tuple[Point, ...]
    joined: bool = True


@dataclass(frozen=True)
class Panel:
    """One pair of axes. `ticks` are (x, label); `band` is a horizontal reference such as the unfiltered pool's model,
    `mark` a point with words under it. `share`: the horizontal axis is a share kept. `zero`: values are differences."""

    title: str
    across: str
    up: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...] = ()
    band: Line | None = None
    mark: tuple[Point, str] | None = None
    share: bool = False
    zero: bool = False


@dataclass(frozen=True)
class Grid:
    """A heat map: a value for each pair of two swept keys' values, [rows][columns], NaN where there is none.

    `across` and `down` are what varies along columns and rows; `best` is the row and column of the best cell.
    """

    title: str
    across: str
    down: str
    up: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    best: tuple[int, int] | None = None


def panel_svg(panel: Panel | Grid, width: float = 4.6, height: float = 3.35) -> str:
    """One panel as an SVG element; sizes in inches at 72 per inch, shown as wide as the page allows."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((width, height))
        axes = figure.add_axes((MARGIN / width, 0.5 / height, 1 - 1.62 / width, 1 - 0.82 / height))
        _draw(axes, panel)
        return _svg(figure, panel.title)


def panels_svg(panels: Sequence[Panel | Grid], title: str, note: str) -> str:
    """Panels side by side with a title and a note, as one SVG that stands alone (white ground)."""
    with matplotlib.rc_context(STYLE):
        width, height = (4.6 * len(panels) + 0.1, 4.2) if panels else (6.0, 0.8)
        figure = Figure((width, height), facecolor="white")
        figure.text(0.1 / width, 1 - 0.25 / height, plain(title, 110), size=11, weight="bold", va="center")
        figure.text(0.1 / width, 0.16 / height, plain(note, 190), size=8, color=SOFT, va="center")
        for at, panel in enumerate(panels):
            box = ((0.1 + MARGIN + 4.6 * at) / width, 0.75 / height, 2.98 / width, 1 - 1.5 / height)
            axes = figure.add_axes(box)
            _draw(axes, panel)
        return _svg(figure, title, alone=True)


def small_svg(panel: Panel, limits: tuple[float, float]) -> str:
    """One of many small panels on common limits: no names at the ends, few ticks."""
    with matplotlib.rc_context(STYLE | {"font.size": 8}):
        figure = Figure((2.5, 1.75))
        axes = figure.add_axes((0.17, 0.2, 0.8, 0.66))
        _lines(axes, panel, small=True)
        axes.set_ylim(*limits)
        axes.axhline(0, color=SOFT, linewidth=0.8)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(lambda value, _: _signed(value))
        axes.set_title(plain(panel.title, 34), loc="left", size=8.5, pad=5)
        _across(axes, panel)
        return _svg(figure, panel.title)


def task_svg(cost: Panel, accuracy: Panel, chance: float | None) -> str:
    """What the right answer costs, as differences, and how often it is found, with a broken line for who guesses."""
    with matplotlib.rc_context(STYLE | {"font.size": 8}):
        figure = Figure((5.2, 1.9))
        for panel, left in ((cost, 0.085), (accuracy, 0.6)):
            axes = figure.add_axes((left, 0.2, 0.39, 0.64))
            _across(axes, panel)
            _lines(axes, panel, small=True)
            low, high = limits(panel)
            if panel.zero:
                axes.axhline(0, color=SOFT, linewidth=0.8)
                axes.yaxis.set_major_formatter(lambda value, _: _signed(value))
            else:
                axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
                low, high = max(-0.002, low - 0.01), high + 0.01  # else what is the same everywhere has an axis of digits
                if chance:
                    axes.axhline(chance, color=SOFT, linewidth=0.9, dashes=(4, 3))
                    low, high = min(low, chance - 0.01), max(high, chance + 0.01)
            axes.set_ylim(low, high)
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            axes.set_title(plain(panel.title, 34), loc="left", size=8.5, pad=5, x=-0.17)
        return _svg(figure, cost.title)


def _draw(axes: Axes, panel: Panel | Grid) -> None:
    if isinstance(panel, Grid):
        _heat_map(axes, panel)
    else:
        _curves(axes, panel)


def _heat_map(axes: Axes, grid: Grid) -> None:
    """Cells darker where fewer bits are needed, each with its number; the best in a frame."""
    known = [value for row in grid.values for value in row if math.isfinite(value)]
    low, span = min(known, default=0.0), max(max(known, default=0.0) - min(known, default=0.0), 1e-9)
    size = min(8.5, 34 / max(len(grid.columns), 1), 60 / max(len(grid.rows), 1))
    for row, values in enumerate(grid.values):
        for column, value in enumerate(values):
            measured = math.isfinite(value)
            dark = 0.08 + 0.77 * (1 - (value - low) / span) if measured else 0.0
            best = grid.best == (row, column)
            axes.add_patch(
                Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=(*to_rgb(COLOURS["level"]), dark), edgecolor="white")
            )
            ink = "white" if dark > DARK else INK
            words = f"{value:.3f}" if measured else "–"
            if size >= SMALLEST:
                axes.text(
                    column, row, words, ha="center", va="center", size=size, color=ink, weight="bold" if best else None
                )
    if grid.best:
        row, column = grid.best
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1.6, zorder=5))
    axes.grid(visible=False)
    axes.set_xlim(-0.5, len(grid.columns) - 0.5)
    axes.set_ylim(len(grid.rows) - 0.5, -0.5)
    axes.tick_params(length=0)
    for axis, labels in ((axes.xaxis, grid.columns), (axes.yaxis, grid.rows)):
        shown = _apart(list(enumerate(labels)), 12)
        axis.set_major_locator(FixedLocator([at for at, _ in shown]))
        axis.set_major_formatter(FixedFormatter([plain(label, 10) for _, label in shown]))
    axes.set_title(plain(grid.up, 60), loc="left", size=8.5, color=SOFT, pad=8, x=_flush(axes))
    axes.set_xlabel(plain(f"↓ {grid.down}, {grid.across} →", 60), loc="left", labelpad=4)


def _curves(axes: Axes, panel: Panel) -> None:
    # The axis first: a logarithmic one changes how everything else is placed.
    _across(axes, panel)
    if panel.band and panel.band.points:
        _band(axes, panel.band.points[0])
    _lines(axes, panel)
    low, high = limits(panel)
    axes.set_ylim(low, high)
    _mark(axes, panel)
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    if panel.zero:
        axes.axhline(0, color=SOFT, linewidth=0.8)
        axes.yaxis.set_major_formatter(lambda value, _: _signed(value))
    axes.set_title(plain(panel.up, 60), loc="left", size=8.5, color=SOFT, pad=8, x=_flush(axes))
    axes.set_xlabel(plain(panel.across, 60), loc="left", labelpad=4)
    _names(axes, panel, low, high)


def limits(panel: Panel) -> tuple[float, float]:
    """Lower and upper end of the vertical axis: the levels', widened for the others as far as the levels stay readable."""
    own = [end for line in panel.lines if line.role in ("level", "reference") for end in _ends(line)]
    own += _ends(panel.band) if panel.band else []
    others = [end for line in panel.lines for end in _ends(line)]
    if not own:
        own = others or [0.0, 1.0]
    low, high = min(own), max(own)
    span = max(high - low, 1e-3)
    low = max(min([low, *others]), low - OVERSHOOT * span)
    high = min(max([high, *others]), high + OVERSHOOT * span)
    room = high - low + 1e-3
    return low - (0.15 if panel.mark else 0.08) * room, high + 0.08 * room


def _flush(axes: Axes) -> float:
    """Where the panel begins, left of its tick labels, in the axes' own coordinates."""
    inches = axes.bbox.width / axes.figure.dpi
    return float(-MARGIN / inches)


def _ends(line: Line) -> list[float]:
    return [
        end
        for point in line.points
        for end in (point.value, point.low, point.high, *point.each)
        if end is not None and math.isfinite(end)
    ]


def _band(axes: Axes, point: Point) -> None:
    if point.low is not None and point.high is not None:
        axes.axhspan(point.low, point.high, color=BAND, linewidth=0, zorder=0.5)
    axes.axhline(point.value, color="#9a9a9a", linewidth=0.9, zorder=0.6)


def _lines(axes: Axes, panel: Panel, small: bool = False) -> None:
    order = sorted(panel.lines, key=lambda line: line.role in ("level", "reference"))
    for line in order:
        main = line.role in ("level", "reference")
        colour = COLOURS[line.role]
        points = sorted((point for point in line.points if math.isfinite(point.value)), key=lambda point: point.x)
        x = [point.x for point in points]
        y = [point.value for point in points]
        if line.joined:
            axes.plot(x, y, color=colour, linewidth=1.8 if main else 1.0, alpha=1 if main else 0.8, zorder=3 if main else 2)
        if line.joined and len(points) > MANY:
            low = [point.value if point.low is None else point.low for point in points]
            high = [point.value if point.high is None else point.high for point in points]
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=1)
            continue
        axes.plot(x, y, SHAPES[line.role], color=colour, markersize=(4.6 if main else 3.4) - small, zorder=4)
        dots = [(point.x + (0 if panel.share else BESIDE), value) for point in points for value in point.each]
        if dots:
            axes.plot(*zip(*dots, strict=True), ".", color=colour, markersize=2.6, alpha=0.6, zorder=3.5)
        bars = [(point.x, point.low, point.high) for point in points if point.low is not None and point.high is not None]
        if bars:
            axes.vlines(*zip(*bars, strict=True), color=colour, linewidth=1.1, alpha=1 if main else 0.55)


def _mark(axes: Axes, panel: Panel) -> None:
    if panel.mark:
        point, words = panel.mark
        low = point.value if point.low is None else point.low
        axes.annotate(
            plain(words, 24),
            (point.x, low),
            xytext=(0, -4),
            textcoords="offset points",
            color=COLOURS["level"],
            ha="center",
            va="top",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
        )


def _across(axes: Axes, panel: Panel) -> None:
    x = [point.x for line in panel.lines for point in line.points] or [0.0, 1.0]
    if panel.share:
        _share_axis(axes, min(x), max(x))
    else:
        axes.set_xlim(min(x) - 0.25, max(x) + 0.25)
    if panel.ticks:
        shown = _apart(panel.ticks, 7 if len(panel.ticks) > 10 else 10)
        axes.xaxis.set_major_locator(FixedLocator([at for at, _ in shown]))
        axes.xaxis.set_major_formatter(FixedFormatter([plain(label, 12) for _, label in shown]))
    axes.xaxis.set_minor_locator(NullLocator())


def _share_axis(axes: Axes, low: float, high: float) -> None:
    """Share kept, the whole pool at the left and harder filtering to the right; logarithmic where it spans a lot."""
    marks = [1, 0.8, 0.6, 0.4, 0.2, 0]
    if low > 0 and high / low > 5:
        axes.set_xscale("log")
        marks = [mark * scale for scale in (1, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6) for mark in (1, 0.5, 0.2)]
        axes.set_xlim(high * 1.12, low / 1.12)
    else:
        axes.set_xlim(high + 0.04, max(low - 0.04, 0))
    left, right = axes.get_xlim()
    shown = [mark for mark in marks if right <= mark <= left]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{100 * mark:g} %" for mark in shown]))


def _apart(ticks: Sequence[tuple[float, str]], most: int) -> list[tuple[float, str]]:
    step = max(1, math.ceil(len(ticks) / most))
    return list(ticks)[::step]


def _names(axes: Axes, panel: Panel, low: float, high: float) -> None:
    """Each line's name at its right end, moved apart where they would touch; one that leaves the axis says where it goes."""
    ends: list[tuple[float, str, str]] = []
    for line in panel.lines:
        points = [point for point in line.points if math.isfinite(point.value)]
        if points:
            last = min(points, key=lambda point: point.x) if panel.share else max(points, key=lambda point: point.x)
            name = f"{line.name} {_past(last.value, low, high)}"
            ends.append((min(max(last.value, low), high), name, COLOURS[line.role]))
    if panel.band and panel.band.points:
        ends.append((panel.band.points[0].value, panel.band.name, SOFT))
    ends.sort()
    places = spread([end for end, _, _ in ends], 0.068 * (high - low), low, high)
    for (_, name, colour), y in zip(ends, places, strict=True):
        axes.annotate(
            plain(name, 22),
            (1.0, y),
            xycoords=("axes fraction", "data"),
            xytext=(7, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            weight="bold" if colour == COLOURS["level"] else "normal",
            annotation_clip=False,
        )


def _past(value: float, low: float, high: float) -> str:
    return f"↑ {value:.2f}" if value > high else f"↓ {value:.2f}" if value < low else ""


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Sorted places moved as little as needed to be a gap apart, within low and high where they fit."""
    moved = list(places)
    for at in range(1, len(moved)):
        moved[at] = max(moved[at], moved[at - 1] + gap)
    excess = moved[-1] - high if moved else 0.0
    if excess > 0:
        moved[-1] -= excess
        for at in range(len(moved) - 2, -1, -1):
            moved[at] = min(moved[at], moved[at + 1] - gap)
    return moved


def _signed(value: float) -> str:
    return "0" if abs(value) < 1e-9 else f"{value:+.3g}".replace("-", "−")


def _svg(figure: Figure, title: str, alone: bool = False) -> str:
    """The figure as one SVG element: no prolog, no date, text as text in the reader's own font, as wide as its place."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with warnings.catch_warnings():
        # Letters that matplotlib's own font lacks are drawn by the reader's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format="svg", metadata=nothing, transparent=not alone)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace("'DejaVu Sans'", FONTS)
    size = r'width="[\d.]+pt" height="[\d.]+pt"' if not alone else r"\A\Z.^"
    svg = re.sub(size, 'width="100%"', svg, count=1)
    name = escape(plain(title, 120), {'"': "&quot;"})
    return svg.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1).rstrip() + "\n"
