"""get_lists: a list of one's own in one command, and a sentence for what cannot be built."""

import gzip

import numpy as np

from filters.kernels.lists import hash_lines, open_list
from jobs.get_lists import main


def test_ones_own_lists_are_built_by_category(tmp_path, capsys):
    (tmp_path / "domains").write_text("bad.example\n")
    (tmp_path / "more.gz").write_bytes(gzip.compress(b"ads.example\nbad.example\n"))
    assert main([str(tmp_path / "mine.list"), f"adult={tmp_path / 'domains'}", f"ads={tmp_path / 'more.gz'}"]) == 0
    assert "2 entries" in capsys.readouterr().out
    made = open_list(str(tmp_path / "mine.list"))
    found = made.find(hash_lines(np.frombuffer(b"bad.example\nads.example\nother.example", np.uint8)))
    assert [made.names[place] if place >= 0 else None for place in found] == ["adult", "ads", None]


def test_what_cannot_be_built_is_a_sentence_and_exit_code_2(tmp_path, capsys):
    for arguments, sentence in (
        ([], "nothing to build"),
        (["adult"], "is not CATEGORY=FILE"),
        (["a=/none/such"], "cannot be read"),
    ):
        assert main([str(tmp_path / "mine.list"), *arguments]) == 2
        assert sentence in capsys.readouterr().err
