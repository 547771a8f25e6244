"""The report of compared rule sets: its numbers are the comparison's, and neither crawl nor config writes any markup."""

import dataclasses
import json
import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from eval.report.compared import Compared, Page, read_compared
from eval.report.facts import Facts
from eval.report.page import html, markdown
from eval.report.rule_sets import rule_sets
from filters.agreement import RuleSet, compare
from jobs.parts.gathered import collect

page_tests = runpy.run_path(str(Path(__file__).with_name("test_page.py")))
HOSTILE, HARMLESS, Elements = (page_tests[name] for name in ("HOSTILE", "HARMLESS", "Elements"))


def a_comparison(sets=3, rules=2, pages=400, words=(), text="a quiet orchard"):
    """Sets whose rules pass pages by chance; `words` take the place of names, rules, languages, texts and addresses."""
    rng = np.random.default_rng(0)
    names = [*words[:sets]] or [f"reading {at}" for at in range(sets)]
    rule_names = [*words[:rules]] or [f"word_count_{at} min {at}" for at in range(rules)]
    verdicts = [
        RuleSet(name, {rule: rng.random(pages) < 0.75 + 0.2 * (at % 3) / 3 for rule in rule_names})
        for at, name in enumerate(names)
    ]
    ids = [f"page {at}" for at in range(pages)]
    found = compare(verdicts, ids, rng.choice([*words] or ["eng", "deu", "fra"], pages).tolist(), 3, 0)
    shown = [*words] or [text]
    return Compared(found, {page: Page(shown[at % len(shown)], shown[at % len(shown)]) for at, page in enumerate(ids)})


def written(compared):
    """`compare.json` of a comparison."""
    told = dataclasses.asdict(compared.comparison) | {"agreement": compared.comparison.agreement.tolist()}
    for one in told["differences"]:
        one["sample"] = [{"id": page, **dataclasses.asdict(compared.pages[page])} for page in one["sample"]]
    return told


def renders(compared):
    facts = Facts("sets", compared=compared)
    return html(facts), markdown(facts)


def test_every_pair_is_there_with_its_agreement_and_what_one_keeps_and_the_other_drops():
    compared = a_comparison()
    found, told = compared.comparison, rule_sets(compared)
    for i, row in enumerate(told["sets"]):
        assert row["keeps"]["pages"] == f"{found.kept[i]:,}"
        for j, other in enumerate(found.names):
            if i == j:
                assert row["agrees"][j] is None and row["keeps_more"][j] is None
                continue
            one = next(one for one in found.differences if (one.keeps, one.drops) == (found.names[i], other))
            assert row["keeps_more"][j]["pages"] == str(one.pages)
            assert row["agrees"][j]["share"] == f"{100 * found.agreement[i, j]:.0f} %"
    assert len(told["differences"]) == 6


def test_the_rules_that_decide_add_up_to_the_pages_that_differ():
    compared = a_comparison()
    by_pair = {(one.keeps, one.drops): one for one in compared.comparison.differences}
    for pair in rule_sets(compared)["pairs"]:
        for side in pair["sides"]:
            one = by_pair[side["keeps"], side["drops"]]
            decided = [int(rule["alone"]["pages"]) for rule in side["rules"]]
            assert decided == sorted(decided, reverse=True)
            assert sum(decided) + int(side["several"]["pages"]) == one.pages
            assert len(side["samples"]) == 3


def test_what_each_rule_removes_is_told_alone_uniquely_in_order_and_by_language():
    compared = a_comparison()
    for row in rule_sets(compared)["sets"]:
        own = [drops for drops in compared.comparison.drops if drops.rule_set == row["name"]]
        for drops, shown in zip([one for one in own if one.group is None], row["rules"], strict=True):
            cells = [shown[key]["pages"] for key in ("alone", "uniquely", "in_order")]
            assert cells == [str(drops.alone), str(drops.uniquely), str(drops.in_order)]
        german = next(one for one in own if one.group == "deu")
        cell = row["by_language"][0]["cells"][row["languages"].index("deu")]
        assert cell["share"] == f"{100 * german.alone / german.pages:.0f} %"


def test_a_dozen_sets_of_fifteen_rules_stay_readable():
    compared = a_comparison(sets=12, rules=15, pages=900)
    told = rule_sets(compared)
    in_pairs = Counter(name for pair in told["pairs"] for name in pair["names"])
    assert len(told["pairs"]) == 6 and max(in_pairs.values()) == 2
    page, text = renders(compared)
    for name in compared.comparison.names:
        assert f"{name}</b> <span" in page and f"removes\n\n{name}" not in text
    assert len(page) < 500_000
    assert page.count("<details open>") == 2, "one pair and one set are open, the others closed"


def test_sets_that_never_differ_have_no_pairs_to_tell():
    passes = {"word_count min 50": np.array([True, False, True])}
    found = compare([RuleSet("a", passes), RuleSet("b", passes)], ["1", "2", "3"])
    page, text = renders(Compared(found, {}))
    assert "agree on 100 %" in page and "agree on 100 %" in text
    assert "Which rule decides" not in page and "Every difference" not in page


def test_nothing_of_a_comparison_becomes_an_element_or_an_attribute():
    size = {"sets": 9, "rules": 9, "pages": 120}
    harmless = Elements(renders(a_comparison(words=HARMLESS, **size))[0])
    for at in range(0, len(HOSTILE), 9):
        hostile = Elements(renders(a_comparison(words=HOSTILE[at:] + HOSTILE[:at], **size))[0])
        assert Counter(hostile.tags) == Counter(harmless.tags)
        assert hostile.attributes == harmless.attributes
        assert any("alert(1)" in text for text in hostile.text), "hostile text is shown, as text"


def test_in_markdown_a_comparison_is_only_text_and_tables():
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark", {"html": True}).enable("table")
    for at in range(0, len(HOSTILE), 6):
        _, text = renders(a_comparison(sets=6, rules=6, pages=80, words=HOSTILE[at:] + HOSTILE[:at]))
        tokens = [token for block in parser.parse(text) for token in (block, *(block.children or ()))]
        assert not {"html_block", "html_inline", "link_open", "image", "fence"} & {token.type for token in tokens}
        assert sum(token.type == "table_open" for token in tokens) >= 2 + 2 * 6 + 1


def test_addresses_are_masked_even_where_the_text_was_cut_in_one():
    def shown(text):
        told = rule_sets(a_comparison(sets=2, pages=30, text=text))
        return " ".join(sample["text"] for pair in told["pairs"] for side in pair["sides"] for sample in side["samples"])

    address = "anna.somebody@mail.example.org"
    before = "word\n\n\n\n" * 35  # long enough to have been cut, short enough to be shown whole
    for cut in range(1, len(address) + 1):
        assert "ann" not in shown(before + address[:cut]) and shown(before + address[:cut]).startswith("word word")
    assert "[e-mail] now" in shown(f"write to {address} now")


def test_a_file_is_read_back_as_the_comparison_it_was_written_from(tmp_path):
    compared, missing = a_comparison(), []
    (tmp_path / "compare.json").write_text(json.dumps(written(compared)))
    again = read_compared(tmp_path / "compare.json", missing)
    assert not missing and renders(again) == renders(compared)
    assert again.comparison.drops == compared.comparison.drops


def test_without_a_comparison_there_is_no_section_and_nothing_missing(tmp_path):
    facts = collect(tmp_path, "", 0)
    assert facts.compared is None and not any("compare" in sentence for sentence in facts.missing)
    assert "side by side" not in html(facts) + markdown(facts)


def without(tree, key):
    return {name: value for name, value in tree.items() if name != key}


@pytest.mark.parametrize(
    "damage",
    [
        lambda tree: json.dumps(tree)[:-20],
        lambda tree: "",
        lambda tree: "null",
        lambda tree: "[]",
        lambda tree: "{}",
        lambda tree: "\udcff",
        lambda tree: json.dumps(without(tree, "drops")),
        lambda tree: json.dumps(tree | {"names": tree["names"][:1]}),
        lambda tree: json.dumps(tree | {"names": ["a", "a", "b"]}),
        lambda tree: json.dumps(tree | {"kept": tree["kept"][:2]}),
        lambda tree: json.dumps(tree | {"agreement": [[1.0], [1.0, 0.5]]}),
        lambda tree: json.dumps(tree | {"agreement": "high"}),
        lambda tree: json.dumps(tree | {"pages": float("inf")}),
        lambda tree: json.dumps(tree | {"drops": [{"rule": 1}]}),
        lambda tree: json.dumps(tree | {"differences": [{"sample": ["page"]}]}),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    (tmp_path / "compare.json").write_text(damage(written(a_comparison(pages=30))), errors="surrogateescape")
    facts = collect(tmp_path, "", 0)
    assert facts.compared is None
    assert len([sentence for sentence in facts.missing if sentence.startswith("compare.json cannot be read")]) == 1
    assert "side by side" not in html(facts) and "compare.json cannot be read" in html(facts)
