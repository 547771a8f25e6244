import dataclasses
import json
import re
import runpy
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.report.facts import Drop, Facts, Size, Subset
from eval.report.page import figure_svg, html, markdown, terminal_table
from eval.report.safe_text import plain, private_masked
from eval.report.story import tell
from jobs.parts.gathered import collect

made_up = runpy.run_path(str(Path(__file__).parents[1] / "made_up_out.py"))
build, TRAINED = made_up["build"], made_up["TRAINED"]
CONTEXT = 128


def gather(out):
    return collect(out, TRAINED, CONTEXT)


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    '"><script>alert(1)</script>',
    "'><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</pre><script>alert(1)</script>",
    "</svg><script>alert(1)</script>",
    "</text></g></svg><img src=x onerror=alert(1)>",
    "]]><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "<!--<img src='--><img src=x onerror=alert(1)>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<a href='javascript:alert(1)'>x</a>",
    "<form action=//evil.example><button>go</button></form>",
    "<base href='//evil.example'>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>@import '//evil.example'</style>",
    "<div style='background:url(//evil.example)'>",
    "<details open ontoggle=alert(1)>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "${alert(1)} #{alert(1)} <%= alert(1) %>",
    "\u202e<script>\u202calert(1)</script>",
    "<scr\x00ipt>alert(1)</scr\x00ipt>",
    "\ufeff<\u200bscript>alert(1)</script>",
    "＜script＞alert(1)＜/script＞",
    "`<script>alert(1)</script>`",
    "``` \n<script>alert(1)</script>\n```",
    "[x](javascript:alert(1)) ![y](//evil.example/z.png)",
    "| a | b |\n|---|---|\n<script>alert(1)</script>",
    'xss" style="x:expression(alert(1))',
    "$\\href{javascript:alert(1)}{x}$ $\\undefined",
    "<use href='data:image/svg+xml,<svg id=x onload=alert(1)>'>",
    "<p dir=rtl>\u2067\u2066" + "\u0300" * 50,
]
HARMLESS = [f"word {at}" for at in range(len(HOSTILE))]


class Elements(HTMLParser):
    """Elements and attributes that a reader of the page gets."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = [], set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {(tag, name) for name, _ in attrs}
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            assert name not in ("src", "srcdoc", "action", "formaction", "background"), (tag, name)
            assert "href" not in name or value.startswith("#") or value == "explore.html", (tag, value)

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return build(tmp_path_factory.mktemp("made-up") / "out", domains=3)


@pytest.fixture(scope="module")
def facts(out):
    return gather(out)


@pytest.fixture(scope="module")
def levels_alone(tmp_path_factory):
    return build(tmp_path_factory.mktemp("levels") / "out", controls=False, domains=1, pages=60, held_out_pages=40)


@pytest.fixture
def folder(levels_alone, tmp_path):
    return Path(shutil.copytree(levels_alone, tmp_path / "out"))


def renders(facts):
    page = html(facts)
    Elements(page)
    markdown(facts)
    assert figure_svg(facts).startswith("<svg")
    terminal_table(facts)
    return page


def test_nothing_from_the_crawl_becomes_an_element_or_an_attribute(tmp_path):
    harmless = Elements(html(gather(build(tmp_path / "a", levels=("none", 3), hostile=HARMLESS))))
    hostile = Elements(html(gather(build(tmp_path / "b", levels=("none", 3), hostile=HOSTILE))))
    assert set(hostile.tags) <= set(harmless.tags)
    assert hostile.attributes <= harmless.attributes
    outside_figures = {
        "script",
        "style",
        "meta",
        "section",
        "details",
        "blockquote",
        "table",
        "tr",
        "td",
        "th",
        "li",
        "i",
        "b",
    }
    for tag in outside_figures:
        assert hostile.tags.count(tag) == harmless.tags.count(tag), tag
    assert hostile.tags.count("script") == 0
    assert hostile.tags.count("style") == harmless.tags.count("style")
    assert any("<script>alert(1)</script>" in text for text in hostile.text), "hostile text is shown, as text"


def test_nothing_from_the_config_becomes_an_element(facts):
    named = [
        dataclasses.replace(subset, name=f"{at}{bad}", levels={f"rules.{bad}": bad}, status=bad, reason=bad)
        for at, (subset, bad) in enumerate(zip(facts.subsets * 5, HOSTILE, strict=False))
    ]
    broken = dataclasses.replace(
        facts, name=HOSTILE[4], subsets=tuple(named), missing=tuple(HOSTILE), experiment="\n".join(HOSTILE)
    )
    elements = Elements(html(broken))
    assert "script" not in elements.tags and "img" not in elements.tags and "a" not in elements.tags


def test_markdown_shows_hostile_text_as_text(tmp_path):
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark", {"html": True}).enable("table")
    page = markdown(gather(build(tmp_path, levels=("none", 3), hostile=HOSTILE)))
    tokens = [token for block in parser.parse(page) for token in (block, *(block.children or ()))]
    assert not [token.content for token in tokens if token.type in ("html_block", "html_inline")]
    assert not [token.attrs for token in tokens if token.type == "link_open"]
    assert [token.attrs["src"] for token in tokens if token.type == "image"] == ["report.svg"]


def test_the_page_asks_for_nothing_from_elsewhere(facts):
    page = html(facts)
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert not re.findall(r"url\((?!#)|@import|<link", page)


def test_the_same_folder_gives_the_same_bytes(out):
    forms = (html, markdown, figure_svg, terminal_table)
    one, two = ([make(facts) for make in forms] for facts in (gather(out), gather(out)))
    assert one == two


def test_samples_are_masked_cut_and_the_same_everywhere(out, facts):
    page = html(facts)
    assert facts.samples == gather(out).samples
    assert "orchard.example or call" not in page and "7946" not in page
    assert "[e-mail]" in page and "[number]" in page
    shown = re.findall(r'<p dir="auto">(.*?)</p>', page)
    assert shown and max(map(len, shown)) <= 240


def test_keys_and_passwords_of_the_config_are_not_shown(facts):
    assert "canary-in-the-mine" not in html(facts) + markdown(facts)
    assert "tokens: 300000" in html(facts)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mail anna.b+c@mail.example.org now", "mail [e-mail] now"),
        ("mail anna%40mail.example.org", "mail [e-mail]"),
        ("call +1 (555) 010-9999 or 0049 30 901820", "call [number] or [number]"),
        ("from 192.168.0.1.", "from [address]."),
        ("from 2001:db8::ff00:42:8329, at 12:30:45", "from [address], at 12:30:45"),
        ("https://me:secret@host.example/x", "https://[login]@host.example/x"),
        ("card 4111111111111111 in 1999", "card [number] in 1999"),
        ("version 1.10.2 costs 12.50", "version 1.10.2 costs 12.50"),
        ("a\u202eb\u2066c\x07d\u200be\ud800f", "abcdef"),
        ("one\n two\t\u2028three", "one two three"),
    ],
)
def test_private_details_and_hidden_characters_are_masked(text, shown):
    assert private_masked(text, 200) == shown


def test_half_an_address_is_not_shown_where_the_text_is_cut():
    text = "word " * 398 + "anna.somebody@mail.example.org and more"
    assert "anna" not in private_masked(text, 2_000)
    assert private_masked("x" * 50 + " anna@mail.example.org", 58).endswith("[e-mai…")


def test_a_page_of_a_megabyte_costs_no_more_than_a_short_one():
    for text in ("a" * 10**6, "1:" * 500_000, "a.b@" * 250_000, "+1(" * 300_000, "\u0300" * 10**6, "fffff" * 10**5):
        assert len(private_masked(text, 240)) <= 240
    assert len(plain("a" * 10**6, 60)) == 60


def test_the_terminal_table_names_every_subset_and_the_best(facts):
    table = terminal_table(facts)
    assert table.splitlines()[0].split("  ")[0] == "level"
    for subset in facts.subsets:
        assert subset.name in table
    best = next(line for line in table.splitlines() if line.endswith("*"))
    assert best.startswith("quality-pareto-3")
    assert f"{facts.levels[2].kept.pages:,}" in best


def test_the_planted_best_level_is_found_and_over_filtering_is_named(facts):
    story = tell(facts)
    assert story.held_out.best == "quality-pareto-3"
    page = html(facts)
    assert "quality-pareto-9" in page.split("</h1>")[0]
    assert "is seen in half of such experiments" in page and "Placebo: 5 subsets" in page


def test_values_agree_with_results_jsonl(facts):
    story = tell(facts)
    for row in story.held_out.rows:
        measured = [
            float(one["value"])
            for one in facts.results
            if (one["subset"], one["set"], one["domain"]) == (row.subset, "held_out", "all")
        ]
        assert row.level.value == pytest.approx(np.mean(measured), abs=1e-9)
        assert row.level.low <= row.level.value <= row.level.high


def test_tiny_models_are_labelled(facts):
    assert "Tiny models" in html(facts) and "Tiny models" in markdown(facts)


def test_an_empty_folder_says_what_is_missing(tmp_path):
    page = renders(gather(tmp_path))
    assert "no subsets" in page and "no runs" in page and "nothing has been evaluated" in page


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        gather(tmp_path / "nowhere")


def test_subsets_without_runs_are_reported(folder):
    shutil.rmtree(folder / "runs")
    (folder / "results.jsonl").unlink()
    page = renders(gather(folder))
    assert "no model has been trained" in page and "quality-pareto-9" in page


def test_one_run_is_enough_to_be_shown_and_too_little_for_a_verdict(folder):
    for run in folder.glob("runs/*/*/*"):
        if (run.parents[1].name, run.name) != ("quality-pareto-1", "0"):
            shutil.rmtree(run)
    page = renders(gather(folder))
    assert "No verdict" in page
    assert "3 runs are not trained" in page
    assert "1 replicate, " in page


def test_a_diverged_run_is_named_and_not_ranked(folder):
    run = folder / "runs" / "quality-pareto-3" / TRAINED / "1"
    (run / "summary.json").write_text(json.dumps({"status": "diverged", "reason": "loss nan"}))
    (run / "evaluation.parquet").unlink()
    facts = gather(folder)
    story = tell(facts)
    assert story.held_out.best != "quality-pareto-3"
    assert story.held_out.by_name["quality-pareto-3"].difference is None
    assert story.held_out.by_name["quality-pareto-3"].replicates == 1
    assert "diverged: loss nan" in renders(facts)


def test_a_value_that_is_no_number_is_left_out_and_named(folder):
    file = folder / "runs" / "quality-pareto-1" / TRAINED / "0" / "evaluation.parquet"
    table = pq.read_table(file)
    nll = table["nll"].to_numpy().copy()
    nll[3] = np.nan
    pq.write_table(table.set_column(table.column_names.index("nll"), "nll", pa.array(nll)), file)
    with (folder / "results.jsonl").open("a") as results:
        results.write(
            '{"subset": "quality-pareto-1", "replicate": 0, "set": "held_out", "domain": "all", "value": NaN}\nnot json\n'
        )
    page = renders(gather(folder))
    assert "values that are not numbers" in page
    assert "is not JSON" in page


def test_damaged_files_are_named(folder):
    (folder / "runs" / "quality-pareto-none" / TRAINED / "0" / "evaluation.parquet").write_bytes(b"PAR1 no more")
    (folder / "subsets" / "quality-pareto-1.json").write_text("{")
    (folder / "pages" / "_manifest.json").unlink()
    page = renders(gather(folder))
    assert "evaluation of quality-pareto-none, replicate 0, cannot be read" in page
    assert "quality-pareto-1.json in subsets/ cannot be read" in page
    assert "the table pages/ has no manifest" in page


def test_a_run_on_other_pages_is_not_compared(folder):
    file = folder / "runs" / "quality-pareto-9" / TRAINED / "1" / "evaluation.parquet"
    pq.write_table(pq.read_table(file).slice(1), file)
    facts = gather(folder)
    assert any("evaluated on other pages" in sentence for sentence in facts.missing)


def test_a_run_of_another_configuration_is_not_compared(folder):
    told = folder / "runs" / "quality-pareto-9" / TRAINED / "1" / "summary.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"vocabulary": 4096}))
    facts = gather(folder)
    assert "the run quality-pareto-9, replicate 1, was trained otherwise and was left out" in facts.missing
    assert np.isnan(facts.held_out.nll[facts.held_out.subsets.index("quality-pareto-9"), 1]).all()
    assert "quality-pareto-9" not in tell(facts).held_out.compared


def test_measurements_of_another_configuration_are_left_out(folder):
    rows = (folder / "results.jsonl").read_text().splitlines()
    other = json.dumps(json.loads(rows[0]) | {"config_hash": "another", "value": 99.0})
    (folder / "results.jsonl").write_text("\n".join([other, *rows]) + "\n")
    facts = gather(folder)
    assert "1 rows of results.jsonl are of another configuration and were left out" in facts.missing
    assert 99.0 not in [row["value"] for row in facts.results] and len(facts.results) == len(rows)


def test_an_empty_subset_is_named_with_its_reason(folder):
    told = folder / "subsets" / "quality-pareto-9.json"
    subset = json.loads(told.read_text()) | {"status": "too small", "reason": "it has 12 tokens, a run needs 300,000"}
    subset["kept"] = {"pages": 0, "bytes": 0, "tokens": 0}
    told.write_text(json.dumps(subset))
    page = renders(gather(folder))
    assert "quality-pareto-9 is too small: it has 12 tokens" in page


def test_one_replicate_says_what_its_interval_leaves_out(tmp_path):
    facts = gather(build(tmp_path, levels=("none", 3), replicates=(0,)))
    assert "leave out how much another replicate would differ" in renders(facts)


def test_the_page_says_what_a_replicate_is_and_how_far_they_overlap(tmp_path):
    page = renders(gather(build(tmp_path / "short")))
    assert "A replicate is one draw of first weights" in page
    assert "3 of 13 subsets hold too little for folds of their own" in page
    assert "61 % of the tokens are read in another replicate too, and 83 % are on pages" in page
    page = renders(gather(build(tmp_path / "enough", levels=("none", 1, 3))))
    assert "No two replicates of a subset read the same page" in page


def test_languages_are_those_that_choose_counted(tmp_path):
    folder = build(tmp_path)
    sweep = json.loads((folder / "subsets" / "sweep.json").read_text())
    (folder / "subsets" / "sweep.json").write_text(json.dumps(sweep | {"languages": {"jpn": 3, "eng": 9, "deu": 3}}))
    assert list(gather(folder).languages.items()) == [("eng", 9), ("deu", 3), ("jpn", 3)]


def test_more_levels_than_the_table_shows_fit(tmp_path):
    facts = gather(build(tmp_path, levels=tuple(range(1, 71)), replicates=(0,), pages=60, held_out_pages=40, controls=False))
    page = renders(facts)
    assert len(tell(facts).held_out.rows) == 70
    assert "further subsets are in results.jsonl" in page
    assert len(page) < 2_000_000


def test_ten_thousand_subsets_render():
    subsets = tuple(
        Subset(f"level-{at}", None, None, {"rules.a.min": at}, at, Size(9, 90), Size(1, 10), (), {}, "ok", "")
        for at in range(10_000)
    )
    page = renders(Facts("many", subsets=subsets, missing=tuple(f"run {at} is missing" for at in range(10_000))))
    assert "9,970 more of the kind" in page
    assert len(page) < 500_000


def filtered(name, kept, drops=()):
    return Subset(name, None, None, {}, None, Size(10, 100), Size(kept, 10 * kept), drops, {}, "ok", "")


def test_pages_that_are_only_filtered_are_told_without_a_word_of_models():
    drops = (
        Drop("word_count min 50", Size(4), Size(1), Size(4)),
        Drop("symbol_word_ratio max 0.1", Size(5), Size(2), Size(2)),
    )
    facts = Facts("made up", subsets=(filtered("mild", 8), filtered("hard", 4, drops)), trains=False)
    for text in (markdown(facts).replace("\\", ""), html(facts)):
        assert "8 to 4 of 10 pages are kept" in text
        assert re.search(
            r"hard keeps least, 40 B of 100 B\. Most pages fail symbol.* \(5, of which 2 fail no other rule\)", text
        )
        assert not re.search("bits per byte|no verdict|no model|held-out", text, re.IGNORECASE)
    assert "bits per byte" not in terminal_table(facts)


def test_what_keeps_everything_or_was_not_chosen_is_said():
    all_kept = Facts("made up", subsets=(filtered("rules", 10, (Drop("a", Size(), Size(), Size()),)),), trains=False)
    assert "10 of 10 pages are kept" in markdown(all_kept) and "Most pages fail" not in markdown(all_kept)
    assert "Nothing has been chosen yet" in markdown(Facts("made up", trains=False))
