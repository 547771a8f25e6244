"""The report's section on duplicates: what thresholds keep, clusters, alarms; nothing of strangers' text gets loose."""

import json

from eval.report.duplicates import duplicates, read_duplicates
from eval.report.facts import Facts
from eval.report.page import html, markdown
from eval.report.wording import percent

FACTS = {
    "threshold": 0.8,
    "pages": 200,
    "exact": 10,
    "removed": [[0.5, 100], [0.8, 50], [1.0, 20]],
    "sizes": [[1, 120], [2, 10], [16, 1]],
    "clusters": [{"id": "a", "pages": 30, "line": "<script>alert(1)</script> call +49 170 1234567 `x` | y"}],
    "alarms": ["at 0.8 19 of the 20 pages of <b>.org would be removed"],
}


def read(tmp_path, facts):
    (tmp_path / "facts.json").write_text(facts if isinstance(facts, str) else json.dumps(facts))
    missing = []
    return read_duplicates(tmp_path / "facts.json", missing), missing


def test_every_threshold_says_what_it_keeps(tmp_path):
    section = duplicates(read(tmp_path, FACTS)[0])
    assert [row[:2] for row in section["kept"]] == [("0.50", percent(0.5)), ("0.80", percent(0.75)), ("1.00", percent(0.9))]
    assert [row[:2] for row in section["sizes"]] == [("2 to 3", "10"), ("16 to 31", "1")]


def test_lines_of_pages_and_names_of_domains_are_escaped_and_masked(tmp_path):
    facts = Facts("made up", duplicates=read(tmp_path, FACTS)[0])
    page, text = html(facts), markdown(facts)
    assert "1234567" not in page + text
    assert "<script>alert" not in page and "&lt;b&gt;.org" in page
    assert "- 30 pages: `<script>alert(1)</script> call [number] 'x' ¦ y`" in text


def test_without_duplicates_there_is_no_section(tmp_path):
    assert duplicates(None) is None
    assert read_duplicates(tmp_path / "none.json", []) is None
    assert "Duplicates" not in html(Facts("made up"))


def test_a_damaged_file_is_one_sentence(tmp_path):
    for facts in ("{", {"threshold": 0.8}, FACTS | {"removed": 3}):
        found, missing = read(tmp_path, facts)
        assert found is None and len(missing) == 1 and "jobs.dedup" in missing[0]
