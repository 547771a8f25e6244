"""Addresses: an entry blocks what lies beneath it and nothing beside it; words are pieces, in any case."""

import time

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.heuristics import url as _  # noqa: F401 - registers the group
from filters.kernels.lists import ListFileError, build
from filters.pages import PageBatch
from filters.signals import GROUPS, configure

ENTRIES = {
    "adult": ["bad.example", "sub.fine.example", "192.0.2.7", "top"],
    "ads": ["fine.example/ads", "fine.example/page?id=1", "fine.example/list?by", "co.uk/x"],
}


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    for name, entries in ENTRIES.items():
        (folder / name).write_text("\n".join(entries))
    (folder / "words.txt").write_text("casino\nxxx\n")
    build(folder / "urls.list", {name: [folder / name] for name in ENTRIES})
    return configure("url", {"blocked": str(folder / "urls.list"), "url_words": str(folder / "words.txt")}, GROUPS)


def measure(group, *urls):
    texts = pa.array(["text"] * len(urls))
    return group.measure(pa.array(map(str, range(len(urls)))), PageBatch(texts, pa.array(urls, pa.string())))


@pytest.mark.parametrize(
    ("url", "category"),
    [
        ("http://bad.example", "adult"),
        ("https://a.b.BAD.example:8080/some/page?q=1#top", "adult"),
        ("https://user:pass@bad.example./", "adult"),
        ("//bad.example/x", "adult"),
        ("bad.example/x", "adult"),
        ("https://notbad.example/", None),
        ("https://bad.example.org/", None),
        ("https://other.example/bad.example", None),
        ("https://other.example/?u=http://bad.example", None),
        ("https://sub.fine.example/", "adult"),
        ("https://fine.example/", None),
        ("https://fine.example/ads", "ads"),
        ("https://www.fine.example/ads/", "ads"),
        ("https://fine.example/ads/banner.html?x", "ads"),
        ("https://a.b.fine.example:80/ads/banner.html", "ads"),
        ("https://notfine.example/ads", None),
        ("https://fine.example/adsense", None),
        ("https://fine.example/page?id=1", "ads"),
        ("https://fine.example/page?id=12", None),
        ("https://fine.example/page?id=1&more=2", "ads"),
        ("https://fine.example/list?by", "ads"),
        ("https://fine.example/list?by=size", "ads"),
        ("https://fine.example/list?bytes", None),
        ("https://any.top/page", "adult"),
        ("https://top.example/", None),
        ("http://192.0.2.7/", "adult"),
        ("http://3.192.0.2.7/", None),
        ("http://[2001:db8::1]:80/x", None),
        ("http://a b.bad.example/with spaces", "adult"),
        ("urn:uuid:0000", None),
        ("http://", None),
        ("", None),
        (None, None),
    ],
)
def test_an_entry_blocks_all_beneath_it_and_nothing_else(group, url, category):
    assert measure(group, url)["url_blocked"].to_pylist() == [category]


def slow_blocked(url: str) -> str | None:
    places = {entry: name for name, entries in reversed(ENTRIES.items()) for entry in entries}
    url = "".join(c.lower() if c.isascii() else c for c in url)
    scheme, mark, rest = url.partition("//")
    if mark and (not scheme or (scheme[-1] == ":" and scheme[:-1].isascii() and scheme[:-1].isalpha())):
        url = rest
    cut = min((url.find(c) for c in "/?#" if c in url), default=len(url))
    host, path = url[:cut].rpartition("@")[2], url[cut:].partition("#")[0]
    host = (host if host.startswith("[") else host.partition(":")[0]).rstrip(".")
    if not host:
        return None
    labels = host.split(".")
    above = [".".join(labels[k:]) for k in range(len(labels))]
    above = above[:1] if "0" <= host[-1] <= "9" else above
    for name in above:
        if name in places:
            return places[name]
    for name in [host, *(name for name in above if "." in name)]:
        for end in [k for k in range(1, len(path)) if path[k] in "/?&="] + ([len(path)] if path else []):
            if name + path[:end] in places:
                return places[name + path[:end]]
    return None


PARTS = (
    "http: // / ? # @ : . www. & = list?by top .top bad.example fine .example /ads page?id=1 192.0.2.7 Ä [ 8 sub. co.uk/x"
)
PIECES = st.sampled_from(PARTS.split())


@settings(deadline=None)
@given(st.lists(PIECES, max_size=10).map("".join))
def test_the_kernel_finds_what_the_slow_twin_finds(group, url):
    assert measure(group, url)["url_blocked"].to_pylist() == [slow_blocked(url)]


def test_words_are_pieces_of_the_url_in_any_case(group):
    counts = measure(group, "https://best-CASINO.example/xxx_casino/casinos?xxx", "https://plain.example/", None)[
        "url_bad_word_count"
    ]
    assert counts.to_pylist() == [4, 0, None]


def test_a_page_without_an_address_is_told_from_one_on_no_list(group):
    batch = measure(group, "https://plain.example/", None, "https://bad.example/")
    assert batch["url_blocked"].to_pylist() == [None, None, "adult"]
    assert batch["has_url"].to_pylist() == [True, False, True]


def test_a_table_without_urls_has_no_url_signals(group):
    batch = group.measure(pa.array(["a"]), PageBatch(pa.array(["text"])))
    assert batch["url_blocked"].to_pylist() == batch["url_bad_word_count"].to_pylist() == [None]
    assert batch["has_url"].to_pylist() == [False]


WORST = ["http://" + "a." * 500_000, "http://a.example" + "/" * 1_000_000, "http://" + "@" * 1_000_000, "http:" * 200_000]
WORST += ["http://" + "a." * 126 + mark * 1_000_000 for mark in "/=?x"]


@pytest.mark.parametrize("url", WORST)
def test_a_megabyte_of_address_takes_under_a_second(group, url):
    measure(group, "http://a.example/")
    begin = time.process_time()
    measure(group, url)
    assert time.process_time() - begin < 1


def test_a_missing_list_is_a_sentence_even_for_no_pages(tmp_path):
    missing = configure("url", {"blocked": str(tmp_path / "none.list"), "url_words": str(tmp_path / "none.txt")}, GROUPS)
    with pytest.raises(ListFileError, match="no list"):
        missing.measure(pa.array([], pa.string()), PageBatch(pa.array([], pa.string())))
