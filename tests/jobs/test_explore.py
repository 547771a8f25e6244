"""The explorer: its sample against counting, and its page in a browser against the rule engine."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from eval.explorer.page import html
from eval.explorer.sampled import ChoiceColumn, Excerpt, NumberColumn, Sampled, Stratum
from filters import keep
from jobs import explore, read, score, split
from jobs.parts import explored as gathered
from jobs.parts.experiment_file import Experiment
from jobs.parts.explored import explored
from jobs.parts.places import Places
from jobs.parts.presets import rules_of
from jobs.parts.table import parts_of

QUOTA = {"within": {"tenths": "mean_word_length"}, "keep_fraction": 0.9, "floor": 0.5}
RULES = {"word_count": {"min": 60}, "mean_word_length": {"below": 5.6}, "stop_word_count": {"quota": QUOTA}}


@pytest.fixture
def experiment(made_crawl, tmp_path, tasks):
    """480 made-up pages, read and measured here."""
    asked = {"pages": {"from": [str(made_crawl / "*.warc.gz")]}, "signals": {"gopher": {}}, "rules": RULES}
    one = Experiment.model_validate({**asked, "out": tmp_path / "out", "name": "made <b>up</b>"})
    assert [verb(one) for verb in (read.main, split.main, score.main)] == [0, 0, 0]
    return one


def over_of(parts):
    return lambda function, merge: merge([function(part) for part in parts])


def table(experiment):
    """The pages' signals in one table."""
    parts = sorted((experiment.out / "signals" / "gopher").glob("*.parquet"))
    return pa.concat_tables([pq.read_table(part) for part in parts])


def test_a_sample_as_large_as_the_pool_is_the_pool(experiment):
    sampled = explored(experiment, over_of(parts_of(Places(experiment.out).pages)))
    assert len(sampled) == 480 == sum(one.pages for one in sampled.strata)
    assert all(one.pages == one.sampled for one in sampled.strata)
    [words] = [one for one in sampled.numbers if one.name == "word_count"]
    assert sorted(words.values.tolist()) == sorted(table(experiment)["word_count"].to_pylist())


def test_every_stratum_is_in_a_small_sample_and_the_sample_is_no_larger_than_asked(experiment, monkeypatch):
    monkeypatch.setattr(gathered, "STRATA", "stop_word_count")
    small = experiment.model_copy(update={"explore": experiment.explore.model_copy(update={"pages": 100})})
    sampled = explored(small, over_of(parts_of(Places(experiment.out).pages)))
    of = np.array([str(value) for value in table(experiment)["stop_word_count"].to_pylist()])
    assert {one.name: one.pages for one in sampled.strata} == {name: int((of == name).sum()) for name in np.unique(of)}
    least = 25 // len(sampled.strata)
    assert all(one.sampled >= min(least, one.pages) for one in sampled.strata)
    assert 75 <= len(sampled) <= 100 + len(sampled.strata)  # a share may take a page more of each


def test_the_same_pages_give_the_same_bytes_in_any_order_of_the_parts(experiment):
    parts = parts_of(Places(experiment.out).pages)
    assert html(explored(experiment, over_of(parts))) == html(explored(experiment, over_of(parts[::-1])))


def test_signals_of_rules_come_first_where_there_is_room_for_few(experiment, monkeypatch):
    monkeypatch.setattr(gathered, "MOST_NUMBERS", 4 * 20_000 * 3)
    sampled = explored(experiment, over_of(parts_of(Places(experiment.out).pages)))
    assert {one.name for one in sampled.numbers} == set(RULES)
    assert "symbol_word_ratio" in sampled.left_out and "word_count" not in sampled.left_out


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as play:
        one = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield one
        one.close()


def opened(browser, path):
    """The page, and what it complained of."""
    tab, complaints = browser.new_page(viewport={"width": 1200, "height": 900}), []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("dialog", lambda dialog: (complaints.append("a dialog"), dialog.dismiss()))
    tab.goto(path.as_uri())
    tab.wait_for_selector("#of[data-kept]")
    return tab, complaints


def kept(tab):
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return int(tab.get_attribute("#of", "data-kept"))


def engine(experiment, rules):
    return keep(table(experiment), rules).true_count


def test_a_slider_keeps_what_the_rule_engine_keeps_and_its_yaml_says_so(experiment, browser):
    assert explore.main(experiment) == 0
    tab, complaints = opened(browser, Places(experiment.out).explorer)
    assert kept(tab) == engine(experiment, RULES)
    slider = tab.get_by_label("min word_count", exact=True)
    slider.focus()
    for _ in range(40):
        slider.press("ArrowRight")
    field = tab.get_by_label("max of mean_word_length as a number")
    field.fill("5.25")
    field.press("Enter")
    tab.select_option("#swept", "rules.word_count.min")
    count, said = kept(tab), yaml.safe_load(tab.input_value("#yaml"))
    assert said["rules"]["word_count"]["min"] > 60 and said["rules"]["mean_word_length"] == {"max": 5.25}
    assert said["rules"]["stop_word_count"] == RULES["stop_word_count"]
    assert 0 < count < engine(experiment, RULES) and count == engine(experiment, said["rules"])
    none, cut, half = said["sweep"]["rules.word_count.min"]
    assert none == "none" and cut == said["rules"]["word_count"]["min"] < half
    pasted = Experiment.model_validate({**experiment.model_dump(exclude={"rules"}, by_alias=True), **said})
    assert rules_of(pasted) == said["rules"]
    assert complaints == []


def test_a_rule_is_switched_off_and_the_page_starts_again(experiment, browser):
    explore.main(experiment)
    tab, _ = opened(browser, Places(experiment.out).explorer)
    tab.locator("#rules tr", has_text="stop_word_count").get_by_role("checkbox").uncheck()
    assert kept(tab) == engine(experiment, {name: rule for name, rule in RULES.items() if name != "stop_word_count"})
    tab.click("#reset")
    assert kept(tab) == engine(experiment, RULES)


HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror=alert(1)> {{ 7 * 7 }} ]]> <!-- "


def made_up(pages, sampled, draw):
    """Two strata, of which the smaller is drawn from more densely, and what is truly kept of all their pages."""
    languages = np.repeat([0, 1], [pages - pages // 10, pages // 10])
    scores = np.where(languages == 0, draw.normal(0.3, 0.2, pages), draw.normal(0.6, 0.2, pages)).astype(np.float32)
    taken = np.concatenate(
        [draw.choice(np.flatnonzero(languages == at), some, replace=False) for at, some in enumerate(sampled)]
    )
    strata = [Stratum(HOSTILE, int((languages == at).sum()), some) for at, some in enumerate(sampled)]
    of = languages[taken].astype(np.uint16)
    return scores, Sampled(
        name=HOSTILE,
        strata=strata,
        strata_of=of,
        weights={"bytes": draw.integers(1, 9, len(taken)).astype(np.float32)},
        numbers=[NumberColumn("score", HOSTILE, HOSTILE, False, scores[taken])],
        choices=[ChoiceColumn("language", "language", "", "text", (HOSTILE, "deu", "(null)"), of)],
        bounds={"score": {"min": 0.5}},
        switches=[],
        excerpts=[Excerpt(row, f"https://site.example/{HOSTILE}", HOSTILE) for row in range(40)],
        left_out=[HOSTILE],
    )


def test_a_page_made_of_markup_does_nothing(browser, tmp_path):
    _, sampled = made_up(400, (100, 40), np.random.default_rng(0))
    page = tmp_path / "explore.html"
    page.write_text(html(sampled), encoding="utf-8")
    assert "hacked" not in page.read_text().replace("&lt;script&gt;window.hacked", "")
    tab, complaints = opened(browser, page)
    tab.wait_for_selector("article")
    assert tab.evaluate("() => window.hacked") is None and complaints == []
    assert HOSTILE.strip() in tab.text_content("article .text")
    assert tab.locator("img").count() == 0


def test_the_share_of_a_sample_is_within_its_error_of_the_truth(browser, tmp_path):
    beyond = 0
    for seed in range(12):
        scores, sampled = made_up(5000, (300, 200), np.random.default_rng(seed))
        page = tmp_path / "explore.html"
        page.write_text(html(sampled), encoding="utf-8")
        tab, _ = opened(browser, page)
        share, error = (float(part.strip(" %")) / 100 for part in tab.text_content("#share").replace("%", "").split("±"))
        beyond += abs(share - (scores >= 0.5).mean()) > error
        variance = sum((1 - n / all_of) * (all_of / 5000) ** 2 * p * (1 - p) / (n - 1) for n, all_of, p in spread(sampled))
        assert error == pytest.approx(1.96 * np.sqrt(variance), abs=6e-4)  # as it is printed, in tenths of a per cent
        tab.close()
    assert beyond <= 3  # of twelve 95 % intervals: more has a probability of 2 in 1,000


def spread(sampled):
    """Pages in the sample, pages and share kept of each stratum."""
    [score] = sampled.numbers
    for at, stratum in enumerate(sampled.strata):
        yield stratum.sampled, stratum.pages, float((score.values[sampled.strata_of == at] >= 0.5).mean())


def test_rules_on_no_signal_are_copied_as_they_were_asked(experiment, browser):
    rules = {"sample": 0.5, "any_of": [{"word_count": {"min": 60}}, {"sample": 0.2, "mean_word_length": {"below": 5.6}}]}
    asked = experiment.model_copy(update={"rules": rules})
    assert explore.main(asked) == 0
    tab, complaints = opened(browser, Places(experiment.out).explorer)
    assert yaml.safe_load(tab.input_value("#yaml"))["rules"] == rules
    assert not complaints
