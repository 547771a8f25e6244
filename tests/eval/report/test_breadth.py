"""The report's section on breadth."""

from eval.report.breadth import breadth
from eval.report.facts import Facts, Size, Subset
from eval.report.page import html, markdown

ROW = {"niches": "topic x tenths of <b>", "signal": "quality", "level": "kept", "all_niches": 40, "covered": 38}
ROW |= {"effective": 21.26, "qd_score": 30.0, "flat_covered": 12, "flat_effective": 5.0, "flat_qd_score": 11.44}
FLAT = {name: None for name in ROW if name.startswith("flat_")}


def subset(name, rows):
    size = Size(10, 100)
    return Subset(name, None, None, {}, 0, size, size, (), {}, "ok", "", breadth=tuple(rows))


def test_a_level_stands_beside_its_flat_cut_and_one_without_has_dashes():
    [table] = breadth([subset("unfiltered", [ROW | FLAT]), subset("harder", [ROW]), subset("random", [])])
    assert table["all"] == "40"
    (_, _, without), (name, level, flat) = table["levels"]
    assert (without.covered, without.effective, without.qd_score) == ("–", "–", "–")
    assert (name, level.covered, level.effective, level.qd_score) == ("harder", "38", "21.3", "30.0")
    assert (flat.covered, flat.effective, flat.qd_score) == ("12", "5.0", "11.4")
    assert breadth([subset("random", [])]) == []


def test_both_pages_show_it_and_names_are_escaped():
    facts = Facts("made up", subsets=(subset("harder", [ROW]),))
    page, text = html(facts), markdown(facts)
    assert "tenths of &lt;b&gt;" in page and '<td class="n">21.3</td>' in page
    assert "| `harder` | 38 | 12 | 21.3 | 5.0 | 30.0 | 11.4 |" in text
