"""Lists: the file finds what was put in and nothing else, in any order, and says so when it is not whole."""

import gzip
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.kernels.lists import ListFileError, build, entries, open_list

ENTRIES = st.lists(st.from_regex(r"[a-zA-Zé日0-9]{1,6}(\.[a-z]{2})?(/[a-zA-Z?=é]{0,4})?", fullmatch=True), max_size=40)


def slow_hash(entry: bytes) -> int:
    state = 0xCBF29CE484222325
    for byte in entry:
        state = ((state ^ (byte + 32 if 65 <= byte <= 90 else byte)) * 0x100000001B3) % 2**64
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        state = ((state ^ state >> 33) * factor) % 2**64
    return state ^ state >> 33


LABEL = r"[A-Za-z0-9_\x80-\xff-]+"
HOST = rf"(?P<host>(?:{LABEL}(?:\.{LABEL})*)|\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\])"
ENTRY = re.compile(rf"(?:(?:[A-Za-z]+:)?//)?+{HOST}(?:(?<!\])\.)?(?::[0-9]*)?(?P<path>(?:[/?][^\0- #*^|]*)?)")
IPV4 = re.compile(r"[0-9]*(?:\.[0-9]*){3}")
IPV6 = re.compile(r"[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%.*)?")
BLANK = "".join(map(chr, range(33)))


def slow_entry(written: str) -> str | None:
    """The host and path of an entry, None for what is none; bytes are written as characters of Latin-1."""
    match = ENTRY.fullmatch(written)
    if match is None or (IPV4.fullmatch(match["host"]) and re.fullmatch("/[0-9]{1,2}", match["path"])):
        return None
    return match["host"] + match["path"].removesuffix("/")


def slow_line(line: str) -> list[str | None]:
    line = line.strip(BLANK)
    if line[:1] in ("", "#", "!") or line.lower().startswith("[adblock"):
        return []
    words = re.split(f"[{BLANK}]+", re.split(f"[{BLANK}]#", line)[0].strip(BLANK))
    if len(words) > 1:
        if not (IPV4.fullmatch(words[0]) or IPV6.fullmatch(words[0])):
            return [None]
        names = [word for word in words[1:] if "." in word and not (IPV4.fullmatch(word) or IPV6.fullmatch(word))]
        return [None if "/" in name else slow_entry(name) for name in names]
    (word,) = words
    if word.startswith("||") and word.endswith("^") and len(word) > 3:
        return [slow_entry(word[2:-1])]
    return [slow_entry(word[2:] if word.startswith("*.") and len(word) > 2 else word.removeprefix("."))]


PARTS = (
    "a bad.example Zé.example . .. *. || ^ ^$x 0.0.0.0 127.0.0.1 :: ::1 fe80::1%lo0 http:// // : :80 / ? # ! * | /24 /a [::"
    " [2001:db8::1] [Adblock] @@ , = - _ 1.2 localhost"
)
WRITTEN = st.lists(st.sampled_from([*PARTS.split(), " ", "\t", "\r\n", "\n", "\0"]) | st.text(max_size=2), max_size=12).map(
    "".join
)


@settings(deadline=None, max_examples=500)  # the first call compiles
@given(WRITTEN)
def test_lines_are_read_as_the_slow_twin_reads_them(text):
    content = text.encode()
    hashes, refused = entries(content)
    expected, at = [], 0
    for line in content.decode("latin-1").split("\n"):
        found = slow_line(line)
        if None in found:
            assert (refused, len(hashes)) == (at, 0)
            return
        expected += [slow_hash(entry.encode("latin-1")) for entry in found]
        at += len(line) + 1
    assert refused == -1
    assert hashes.tolist() == expected


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("bad.example", ["bad.example"]),
        ("HTTPS://Bad.example:8080/Path/ # why", ["bad.example/path"]),
        ("bad.example.", ["bad.example"]),
        ("0.0.0.0 bad.example", ["bad.example"]),
        ("127.0.0.1\tbad.example  www.bad.example # both", ["bad.example", "www.bad.example"]),
        ("::1 ip6-localhost ip6-loopback", []),
        ("fe80::1%lo0 localhost", []),
        ("0.0.0.0 0.0.0.0", []),
        ("||bad.example^", ["bad.example"]),
        ("||bad.example/ads^", ["bad.example/ads"]),
        ("*.bad.example", ["bad.example"]),
        (".bad.example", ["bad.example"]),
        (".xxx", ["xxx"]),
        ("! a comment", []),
        ("[Adblock Plus 2.0]", []),
        ("192.0.2.7", ["192.0.2.7"]),
        ("[2001:db8::1]/x", ["[2001:db8::1]/x"]),
        ("münchen.example", ["münchen.example"]),
    ],
)
def test_each_format_gives_the_entries_it_means(line, found):
    assert entries(line.encode())[0].tolist() == [slow_hash(entry.encode()) for entry in found]


NO_ENTRIES = [
    "||bad.example", "||bad.example^$third-party", "@@||good.example^", "bad.example##.banner", "|https://bad.example|",
    "/ads/*", "bad.*", "bad.example/*", "*", "*.", ".", "..bad.example", "bad..example", "bad example", "10.0.0.0/8",
    "bad.example 0.0.0.0", "bad.example,adult", "address=/bad.example/0.0.0.0", '{"site": "bad.example"}', "http://",
    "bad.example CNAME .", "0.0.0.0 bad.example/ads", "user@bad.example", "bad.example#top", "b\0a\0d\0.\0e\0x\0",
    "a.example/" + "x" * 2048,
]  # fmt: skip


@pytest.mark.parametrize("line", NO_ENTRIES)
def test_a_line_in_another_format_is_refused_with_its_number_and_what_was_expected(tmp_path, line):
    (tmp_path / "list").write_text(f"# comment\ngood.example\n{line}\nother.example\n")
    with pytest.raises(ListFileError, match=r"list, line 3: .* is no entry: expected a site or an address"):
        build(tmp_path / "x.list", {"x": [tmp_path / "list"]})
    assert not (tmp_path / "x.list").exists()


def test_a_mark_of_byte_order_is_no_part_of_the_first_entry(tmp_path):
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbfbad.example\r\n")
    build(tmp_path / "x.list", {"x": [tmp_path / "list"]})
    assert open_list(str(tmp_path / "x.list")).find(entries(b"bad.example")[0]).tolist() == [0]


@settings(deadline=None)
@given(first=ENTRIES, second=ENTRIES, others=ENTRIES)
def test_a_list_finds_its_entries_in_their_category_and_no_others(first, second, others, tmp_path_factory):
    folder = tmp_path_factory.mktemp("list")
    (folder / "a.txt").write_text("\n".join(["sure", *first]))
    (folder / "b.gz").write_bytes(gzip.compress("\n".join(["safe", *second]).encode()))
    build(folder / "both.list", {"a": [folder / "a.txt"], "b": [folder / "b.gz"]})
    made = open_list(str(folder / "both.list"))
    everything = {
        name: {slow_hash(e.removesuffix("/").encode()) for e in of}
        for name, of in (("a", ["sure", *first]), ("b", ["safe", *second]))
    }
    asked = [slow_hash(entry.encode()) for entry in ["sure", "SAFE", *first, *second, *others]]
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
