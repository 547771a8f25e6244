"""Lists: the file finds what was put in and nothing else, in any order, and says so when it is not whole."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.kernels.lists import ListFileError, build, hash_lines, open_list

ENTRIES = st.lists(
    st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1, max_size=12), max_size=40
)


def slow_hash(entry: str) -> int:
    state = 0xCBF29CE484222325
    for byte in entry.encode():
        state = ((state ^ (byte + 32 if 65 <= byte <= 90 else byte)) * 0x100000001B3) % 2**64
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        state = ((state ^ state >> 33) * factor) % 2**64
    return state ^ state >> 33


def slow_entry(line: bytes) -> bytes:
    low = bytes(range(33))
    line = line.strip(low)
    scheme, mark, rest = line.partition(b"//")
    if mark and (scheme == b"" or (scheme[:-1].isalpha() and scheme[-1:] == b":")):
        line = rest
    line = line[:-1] if line.endswith(b"/") else line
    return b"" if line.startswith(b"#") else line


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(
        st.sampled_from(["a", "Zé", "#", "/", ":", "//", "http://", " ", "\t", "\r", "\n", "日", "\0"]), max_size=40
    ).map("".join)
)
def test_lines_are_read_as_the_slow_twin_reads_them(text):
    data = np.frombuffer(text.encode(), np.uint8)
    entries = [slow_entry(line) for line in text.encode().split(b"\n")]
    assert hash_lines(data).tolist() == [slow_hash(entry.decode()) for entry in entries if entry]


@settings(deadline=None)
@given(first=ENTRIES, second=ENTRIES, others=ENTRIES)
def test_a_list_finds_its_entries_in_their_category_and_no_others(first, second, others, tmp_path_factory):
    folder = tmp_path_factory.mktemp("list")
    (folder / "a.txt").write_text("\n".join(["sure", *first]))
    (folder / "b.gz").write_bytes(gzip.compress("\n".join(["safe", *second]).encode()))
    build(folder / "both.list", {"a": [folder / "a.txt"], "b": [folder / "b.gz"]})
    made = open_list(str(folder / "both.list"))
    everything = {
        name: {slow_hash(slow_entry(e.encode()).decode()) for e in of}
        for name, of in (("a", ["sure", *first]), ("b", ["safe", *second]))
    }
    asked = [slow_hash(entry) for entry in ["sure", "SAFE", *first, *second, *others]]
    expected = [0 if h in everything["a"] else 1 if h in everything["b"] else -1 for h in asked]
    assert made.find(np.array(asked, np.uint64)).tolist() == expected


def test_the_bytes_depend_on_the_set_alone(tmp_path):
    entries = [f"site{k}.example" for k in range(500)]
    (tmp_path / "one").write_text("\n".join(entries))
    (tmp_path / "two").write_text("\r\n".join(entries[::-1] + entries[:9]))
    assert (
        build(tmp_path / "1.list", {"x": [tmp_path / "one"]}) == build(tmp_path / "2.list", {"x": [tmp_path / "two"]}) == 500
    )
    assert (tmp_path / "1.list").read_bytes() == (tmp_path / "2.list").read_bytes()


def test_every_lookup_looks_at_a_few_neighbours_only(tmp_path):
    (tmp_path / "many").write_text("\n".join(f"{k}.example" for k in range(100_000)))
    build(tmp_path / "many.list", {"x": [tmp_path / "many"]})
    made = open_list(str(tmp_path / "many.list"))
    assert np.diff(made.first.astype(int)).max() < 30
    assert (tmp_path / "many.list").stat().st_size < 11 * 100_000
    assert not isinstance(made.hashes.base, bytes) and not made.hashes.flags.owndata  # mapped, not read


@pytest.mark.parametrize(("content", "sentence"), [(b"", "no entries"), (b"\n# only this\n \n", "no entries")])
def test_a_source_without_entries_is_an_error(tmp_path, content, sentence):
    (tmp_path / "empty").write_bytes(content)
    with pytest.raises(ListFileError, match=sentence):
        build(tmp_path / "x.list", {"x": [tmp_path / "empty"]})
    assert not (tmp_path / "x.list").exists()


def test_a_truncated_source_is_an_error_and_not_a_short_list(tmp_path):
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"one.example\n" * 9)[:-9])
    with pytest.raises(ListFileError, match="cannot be read"):
        build(tmp_path / "x.list", {"x": [tmp_path / "cut.gz"]})


def test_what_is_no_whole_list_is_refused(tmp_path):
    (tmp_path / "plain").write_text("one.example\n" * 9)
    build(tmp_path / "good.list", {"x": [tmp_path / "plain"]})
    (tmp_path / "cut.list").write_bytes((tmp_path / "good.list").read_bytes()[:-1])
    (tmp_path / "empty.list").write_bytes(b"")
    for name, sentence in (
        ("plain", "is not a list"),
        ("cut.list", "truncated"),
        ("empty.list", "cannot be read"),
        ("none.list", "no list"),
    ):
        with pytest.raises(ListFileError, match=sentence):
            open_list(str(tmp_path / name))
