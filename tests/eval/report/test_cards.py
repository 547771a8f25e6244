"""The scorers' cards on the page: what training wrote is told, and a card that is damaged is one sentence."""

import json
import runpy
from pathlib import Path

import pytest

from eval.report.cards import scorers
from eval.report.facts import Facts
from eval.report.page import html, markdown
from eval.report.scorers import Bars, read_scorers

write_cards = runpy.run_path(str(Path(__file__).parents[1] / "made_up_out.py"))["write_cards"]


@pytest.fixture
def out(tmp_path):
    write_cards(tmp_path)
    return tmp_path


def read(out, missing=None):
    cards = {folder.name: folder / "model.json" for folder in sorted((out / "models").iterdir())}
    return read_scorers(cards, out / "overlap.json", [] if missing is None else missing)


def changed(out, **changes):
    file = out / "models" / "quality" / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_the_page_tells_what_the_cards_say(out):
    facts = Facts("made up", scorers=read(out), trains=False)
    for page in (html(facts), markdown(facts)):
        assert "99.5 %" in page and "The scorers" in page
        for told in ("0.910", "−0.25", "12 %", "harbour", "perplexity_prose", "precision 75 %, recall –", "25 %"):
            assert told in page, told


def test_the_page_tells_of_clusters_and_masks_what_is_private(out):
    changed(
        out, columns={}, topics=[{"pages": 1234, "words": ["whale", "ship"], "titles": ["Of a <b>whale</b>", "ann@sea.org"]}]
    )
    facts = Facts("made up", scorers=read(out), trains=False)
    for page in (html(facts), markdown(facts)):
        assert "1,234" in page and "whale" in page and "[e-mail]" in page
        assert "<b>whale" not in page.replace("`Of a <b>whale</b>`", "") and "ann@sea.org" not in page


def test_the_page_tells_how_often_pages_are_preferred_to_revisions(out):
    changed(out, pairs={"shuffled": {"preferred": 0.51}, "dropped": {"preferred": None}})
    page = html(Facts("made up", scorers=read(out), trains=False))
    assert "shuffled 51 %, dropped –. Chance is 50 %" in page.replace("\N{NO-BREAK SPACE}", " ")
    assert "`shuffled` in 51 %" in markdown(Facts("made up", scorers=read(out), trains=False)).replace(
        "\N{NO-BREAK SPACE}", " "
    )


def test_the_page_tells_of_criteria_and_the_pages_nearest_to_them(out):
    one = {
        "criterion": "Prose with <i>care</i>.",
        "side": "wanted",
        "mean_cosine": -0.125,
        "titles": ["Of whales", "ann@sea.org"],
    }
    changed(out, tried_criteria=[one])
    for page in (html(Facts("made up", scorers=read(out))), markdown(Facts("made up", scorers=read(out)))):
        assert "−0.12" in page and "Of whales" in page and "[e-mail]" in page and "ann@sea.org" not in page
        assert "Prose with <i>" not in page


def test_without_scorers_there_is_no_section():
    assert "The scorers" not in html(Facts("made up", trains=False))
    assert scorers(read_scorers({}, Path("nowhere"), [])) is None


def test_a_model_from_elsewhere_whose_description_is_no_card_is_passed_over(out):
    (out / "models" / "quality" / "model.json").write_text('{"sha256": "00", "label": "__label__hq"}')
    missing = []
    assert [card.name for card in read(out, missing).cards] == ["prose"] and missing == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ({"trained_on": {}}, "it lacks 'positives'"),
        ({"columns": {"quality": {"histogram": None}}}, "it lacks 'telling'"),
        ({"sources": ["a"]}, "has no attribute"),
        ({"held_out": {"precision": "high"}}, "could not convert"),
    ],
)
def test_a_damaged_card_is_a_sentence_and_the_others_are_told(out, damage, says):
    changed(out, **damage)
    missing = []
    assert [card.name for card in read(out, missing).cards] == ["prose"]
    [sentence] = missing
    assert sentence.startswith("model.json in quality/ cannot be read") and says in sentence


def test_bins_that_do_not_fit_their_edges_are_refused(out):
    card = json.loads((out / "models" / "quality" / "model.json").read_text())
    card["columns"]["quality"]["histogram"]["edges"].append(2.0)
    changed(out, **card)
    missing = []
    read(out, missing)
    assert "one more edge" in missing[0]


def test_an_overlap_of_the_wrong_shape_is_a_sentence(out):
    (out / "overlap.json").write_text(json.dumps({"columns": ["a"], "shares": [0.1], "kept": [[1, 2]], "jaccard": [[[1]]]}))
    missing = []
    assert read(out, missing).overlap is None and "1 tables of 1 rows" in missing[0]


def test_either_side_of_a_histogram_is_drawn_to_its_own_pages(out):
    [quality, _] = sorted(read(out).cards, key=lambda card: card.name, reverse=True)
    assert quality.columns[0].bars == Bars((0.0, 0.5, 1.0), (3, 9), (11, 2))
    drawn = scorers(read(out))["cards"][1]["columns"][0]["bars"]
    heights = {(one["side"], one["x"]): float(one["height"]) for one in drawn["bars"]}
    assert heights["negatives", "0.0"] == 40.0
    assert heights["positives", "120.0"] == pytest.approx(40 * (9 / 12) / (11 / 13), abs=0.1)
