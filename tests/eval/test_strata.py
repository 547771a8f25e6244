"""Pages are drawn together with what is like them, and one large site is neither one cluster nor all of the verdict."""

from hypothesis import given
from hypothesis import strategies as st

from eval.strata import LEAST_CLUSTERS, OTHER, clusters, section, strata


def test_a_site_is_a_cluster_and_a_page_without_one_is_its_own():
    sites = ["a.org", "a.org", None, *(f"{at}.org" for at in range(20))]
    found = clusters(sites, [None] * len(sites), [f"page-{at}" for at in range(len(sites))], None)
    assert found[:3] == ["a.org", "a.org", "page-2"] and len(set(found)) == 22


def test_a_site_with_more_than_a_fifth_of_the_pages_is_cut_by_its_sections():
    urls = ["https://big.org/de/a", "https://big.org/fr/b", "https://big.org/fr/c", "https://small.org/x/y"]
    sites = ["big.org"] * 3 + ["small.org"]
    pages = list("abcd") + [f"p{at}" for at in range(2)]
    found = clusters([*sites, "t.org", "u.org"], [*urls, None, None], pages, None)
    assert found == ["big.org/de", "big.org/fr", "big.org/fr", "small.org", "t.org", "u.org"]
    assert clusters(sites, urls, pages[:4], "site") == sites
    assert clusters(sites, urls, pages[:4], "path")[-1] == "small.org/x"
    assert clusters(sites, urls, pages[:4], "page") == list("abcd")


def test_sections_are_as_deep_as_it_takes_to_tell_some_apart():
    urls = [
        f"https://book.org/read/{locale}/stable/page-{at}.html"
        for locale in ("de", "fr", "it", "ja", "pt")
        for at in range(3)
    ]
    found = clusters(["book.org"] * 15, urls, [str(at) for at in range(15)], None)
    assert set(found) == {f"book.org/read/{locale}" for locale in ("de", "fr", "it", "ja", "pt")}


def test_a_section_is_the_first_segments_before_the_page():
    addresses = ["https://a.org/de/x.html", "https://a.org/x.html", "https://a.org/", "", None, "http://[broken"]
    assert [section(url, 1) for url in addresses] == ["de", "", "", "", "", ""]
    assert section("https://a.org/b/c/d/e.html", 2) == "b/c"


def test_a_part_with_few_clusters_is_no_stratum():
    values = ["eng"] * 10 + ["deu"] * 10 + [None]
    cluster = [f"site-{at}" for at in range(10)] + ["one-site"] * 10 + ["x"]
    assert strata(values, cluster) == ["eng"] * 10 + [OTHER] * 11
    assert strata(values, cluster, ["deu"]) == [OTHER] * 10 + ["deu"] * 10 + [OTHER]


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 9)), min_size=1))
def test_every_stratum_but_the_rest_has_clusters_enough(pages):
    values, cluster = [value for value, _ in pages], [str(one) for _, one in pages]
    found = strata(values, cluster)
    for name in set(found) - {OTHER}:
        assert len({one for one, of in zip(cluster, found, strict=True) if of == name}) >= LEAST_CLUSTERS
