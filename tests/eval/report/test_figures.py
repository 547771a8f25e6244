import itertools
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.report.figures import Grid, Line, Panel, Point, limits, panel_svg, panels_svg, small_svg, spread

SVG = "{http://www.w3.org/2000/svg}"


def line(name, role, values, half=0.01):
    return Line(name, role, tuple(Point(float(at), value, value - half, value + half) for at, value in enumerate(values)))


LEVELS = line("filtered", "level", [2.4, 2.35, 2.33, 2.38])
INVERTED = line("inverted", "inverted", [2.5, 2.9, 3.5, 4.5])
UNFILTERED = Line("unfiltered", "random", (Point(0.0, 2.42, 2.40, 2.44),))


def panel(**changes):
    ticks = tuple((float(at), label) for at, label in enumerate(["none", "1", "3", "9"]))
    given = {"title": "title", "across": "harder", "up": "bits per byte", "lines": (LEVELS, INVERTED), "ticks": ticks}
    return Panel(**({**given, "band": UNFILTERED} | changes))


def grid(values, **changes):
    rows, columns = (tuple(map(str, range(count))) for count in (len(values), len(values[0])))
    given = {"title": "title", "across": "one", "down": "other", "up": "bits", "rows": rows, "columns": columns}
    return Grid(**({**given, "values": tuple(map(tuple, values)), "best": (0, 0)} | changes))


def words(svg):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(SVG + "text")]


def test_the_same_numbers_give_the_same_bytes():
    assert panel_svg(panel()) == panel_svg(panel())
    assert "202" not in "".join(words(panel_svg(panel()))), "no date"


def test_lines_are_named_where_they_end_and_levels_are_on_the_axis():
    said = words(panel_svg(panel()))
    assert {"filtered", "unfiltered", "none", "9"} <= set(said)


def test_a_control_far_off_does_not_flatten_the_levels():
    low, high = limits(panel())
    assert low < 2.32 and high < 2.7
    assert any("4.50" in text for text in words(panel_svg(panel()))), "its value is named at the edge"


def test_a_figure_of_its_own_holds_every_panel():
    svg = panels_svg([panel(), panel(share=True, ticks=())], "Two panels", "a note")
    assert {"Two panels", "a note"} <= set(words(svg))
    assert 'width="100%"' not in svg


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "a\x00b", "$\\frac{", "\ud800", '" onload="x', "]]>", "\u202ex"]
)
def test_names_are_text_whatever_they_hold(text):
    changed = panel(lines=(line(text, "level", [1.0, 2.0]),), ticks=((0.0, text), (1.0, "b")), mark=(Point(0.0, 1.0), text))
    named = grid([[1.0, 2.0]], title=text, across=text, down=text, up=text, rows=(text,), columns=(text, "b"))
    small = small_svg(changed, (0.0, 2.0))
    for svg in (panel_svg(changed), panel_svg(named), panels_svg([changed, named], text, text), small):
        tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
        assert tags <= {"svg", "defs", "style", "g", "path", "text", "tspan", "use", "clipPath", "rect"}


@pytest.mark.filterwarnings("error")
def test_letters_of_any_script_are_kept_as_text():
    assert "日本語.example" in words(small_svg(panel(title="日本語.example", band=None), (0.0, 1.0)))


@pytest.mark.parametrize("values", [[], [2.0], [float("nan"), 2.0], [2.0] * 30, [1e-9, 1e9]])
def test_any_number_of_points_draws(values):
    for changes in ({}, {"band": None}, {"share": True, "ticks": ()}):
        ElementTree.fromstring(panel_svg(panel(lines=(line("filtered", "level", values),), **changes)))


@pytest.mark.parametrize("values", [[[2.0]], [[2.0] * 3] * 2, [[float("nan"), 2.0]], [[1e-9, 1e9]], [[0.5] * 40] * 40])
def test_any_grid_draws(values):
    ElementTree.fromstring(panel_svg(grid(values)))


def test_a_grid_says_every_value_and_where_there_is_none():
    said = words(panel_svg(grid([[2.0, 2.5], [float("nan"), 2.25]])))
    assert {"2.000", "2.500", "–", "2.250", "↓ other, one →"} <= set(said)


def test_points_without_intervals_draw():
    bare = Line("filtered", "level", (Point(0.0, 2.0), Point(1.0, 2.1)))
    ElementTree.fromstring(panel_svg(panel(lines=(bare,), mark=(bare.points[0], "best"))))


@given(st.lists(st.floats(0, 1), max_size=8).map(sorted), st.floats(0.001, 0.12))
def test_names_never_touch_and_keep_their_order(places, gap):
    moved = spread(places, gap, 0.0, 1.0)
    assert all(later - earlier >= gap - 1e-9 for earlier, later in itertools.pairwise(moved))
    assert not moved or moved[-1] <= 1.0 + 1e-9
