"""get_lists: a list of one's own in one command, and a sentence for what cannot be built."""

import gzip

import pyarrow as pa

from filters.heuristics import url as _  # noqa: F401 - registers the group
from filters.kernels.lists import entries, open_list
from filters.pages import PageBatch
from filters.signals import GROUPS, configure
from jobs.get_lists import main


def test_ones_own_lists_are_built_by_category(tmp_path, capsys):
    (tmp_path / "domains").write_text("bad.example\n")
    (tmp_path / "more.gz").write_bytes(gzip.compress(b"ads.example\nbad.example\n"))
    assert main([str(tmp_path / "mine.list"), f"adult={tmp_path / 'domains'}", f"ads={tmp_path / 'more.gz'}"]) == 0
    assert "2 entries" in capsys.readouterr().out
    made = open_list(str(tmp_path / "mine.list"))
    found = made.find(entries(b"bad.example\nads.example\nother.example")[0])
    assert [made.names[place] if place >= 0 else None for place in found] == ["adult", "ads", None]


def test_a_hosts_file_and_a_filter_list_are_built_and_block(tmp_path, capsys):
    (tmp_path / "hosts").write_text("# a hosts file\n127.0.0.1 localhost\n0.0.0.0 bad.example www.worse.example # both\n")
    (tmp_path / "filters").write_text("[Adblock Plus 2.0]\n! a filter list\n||ads.example^\n*.more.example\n.most.example\n")
    assert main([str(tmp_path / "x.list"), f"adult={tmp_path / 'hosts'}", f"ads={tmp_path / 'filters'}"]) == 0
    assert "5 entries" in capsys.readouterr().out
    group = configure("url", {"blocked": str(tmp_path / "x.list"), "url_words": str(tmp_path / "hosts")}, GROUPS)
    sites = ["bad", "www.worse", "worse", "ads", "a.more", "most", "localhost"]
    urls = pa.array([f"https://{site}.example/page" for site in sites])
    batch = group.measure(pa.array(sites), PageBatch(urls, urls))
    assert batch["url_blocked"].to_pylist() == ["adult", "adult", None, "ads", "ads", "ads", None]


def test_a_line_that_is_no_entry_is_named_with_its_file(tmp_path, capsys):
    (tmp_path / "mixed").write_text("bad.example\n\n||ads.example^$third-party\n")
    assert main([str(tmp_path / "mine.list"), f"a={tmp_path / 'mixed'}"]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / 'mixed'}, line 3: '||ads.example^$third-party' is no entry: expected a site" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "mine.list").exists()


def test_what_cannot_be_built_is_a_sentence_and_exit_code_2(tmp_path, capsys):
    for arguments, sentence in (
        ([], "nothing to build"),
        (["adult"], "is not CATEGORY=FILE"),
        (["a=/none/such"], "cannot be read"),
    ):
        assert main([str(tmp_path / "mine.list"), *arguments]) == 2
        assert sentence in capsys.readouterr().err
