"""Exact copies by 128-bit keys, and addresses that lead to one page."""

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filters.duplicates import urls
from filters.duplicates.exact import keys, text_keys
from filters.pages import PageBatch


def keys_of(texts):
    return [tuple(key) for key in text_keys(PageBatch(pa.array(texts, pa.large_string()))).tolist()]


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """The kernels compile before hypothesis looks at the clock."""
    keys_of([""])


@given(st.lists(st.text(alphabet=" \t\n\u00a0\u3000abÄ中"), max_size=8))
@settings(deadline=None)
def test_a_key_is_that_of_the_words_with_one_blank_between_them(texts):
    expected = [tuple(key) for key in keys([" ".join(text.split()).encode() for text in texts]).tolist()]
    assert keys_of(texts) == expected


def test_case_and_numbers_tell_copies_apart():
    assert len(set(keys_of(["Page 1", "page 1", "page 2", "page  2 "]))) == 3


def test_a_batch_that_is_a_slice_has_the_keys_of_the_whole():
    texts = ["one two", "three", "four  five", ""]
    array = pa.array(texts, pa.large_string()).slice(1, 2)
    assert text_keys(PageBatch(array)).tolist() == [list(key) for key in keys_of(texts)[1:3]]


@pytest.mark.parametrize(
    ("step", "given_", "expected"),
    [
        (urls.default_port, "http://a.org:80/x", "http://a.org/x"),
        (urls.default_port, "https://a.org:443/x", "https://a.org/x"),
        (urls.default_port, "https://a.org:80/x", "https://a.org:80/x"),
        (urls.host, "http://A.Org./X", "http://a.org/X"),
        (urls.host, "http://Bücher.example/ä", "http://xn--bcher-kva.example/ä"),
        (urls.host, "http://me@A.org:8080/", "http://me@a.org:8080/"),
        (urls.host, "http://-\u00fc\u2260.org/", "http://-\u00fc\u2260.org/"),
        (urls.www, "http://www.a.org/", "http://a.org/"),
        (urls.www, "http://www.org/", "http://www.org/"),
        (urls.www, "http://wwwa.org/", "http://wwwa.org/"),
        (urls.fragment, "http://a.org/x#part", "http://a.org/x"),
        (urls.tracking, "http://a.org/?utm_source=b&id=3&fbclid=c", "http://a.org/?id=3"),
        (urls.tracking, "http://a.org/?gclid=1", "http://a.org/"),
        (urls.tracking, "http://a.org/?utmost=1&b", "http://a.org/?utmost=1&b"),
        (urls.trailing_slash, "http://a.org/x/?q", "http://a.org/x?q"),
        (urls.trailing_slash, "http://a.org/", "http://a.org"),
        (urls.scheme, "http://a.org/", "https://a.org/"),
        (urls.scheme, "ftp://a.org/", "ftp://a.org/"),
    ],
)
def test_each_step_takes_one_thing_away(step, given_, expected):
    assert step(urls.urlsplit(given_)).geturl() == expected


def test_all_steps_together_make_addresses_of_one_page_equal():
    same = [
        "http://www.Bücher.example:80/a/?utm_medium=x#top",
        "https://xn--bcher-kva.example/a",
        " https://bücher.example/a/ ",
    ]
    assert {urls.normalised(url) for url in same} == {"https://xn--bcher-kva.example/a"}


def test_what_cannot_be_taken_apart_stays_as_it_is():
    assert urls.normalised(" http://[1:2/ ") == "http://[1:2/"


@given(st.text(max_size=40))
@example(" /")
@example("?a= &utm_source=x")
@settings(deadline=None)
def test_an_address_is_normalised_once_and_for_all(rest):
    once = urls.normalised("http://www.a.org/" + rest)
    assert urls.normalised(once) == once


def test_urls_of_one_page_share_a_key_and_others_do_not():
    found = urls.url_keys(["http://a.org/x/", "https://www.a.org/x", "http://a.org/y", None]).tolist()
    assert found[0] == found[1] and len({tuple(key) for key in found}) == 3
