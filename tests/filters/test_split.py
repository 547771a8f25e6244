"""The held-out split and the folds: decided by names alone, whole sites together."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.draws import id_hashes
from filters.split import copies_of, fold, held_out, site_hashes

IDS = [f"page-{at}" for at in range(2000)]
HASHES = id_hashes(IDS)
SITES = site_hashes(HASHES, pa.array([f"site-{at % 300}.org" if at % 7 else None for at in range(2000)]))


@given(st.lists(st.one_of(st.none(), st.sampled_from(["", "a.org", "b.org", "ç.org"])), max_size=30), st.integers(0, 30))
def test_a_site_is_its_domain_and_a_page_without_one_is_its_own(domains, cut):
    ids = [f"page-{at}" for at in range(len(domains))]
    expected = [id_hashes([domain or page])[0] for page, domain in zip(ids, domains, strict=True)]
    chunked = pa.chunked_array([pa.array(domains[:cut], pa.string()), pa.array(domains[cut:], pa.string())])
    for held in (pa.array(domains, pa.string()), chunked):
        assert site_hashes(id_hashes(ids), held).tolist() == expected


def test_a_site_is_held_out_as_a_whole():
    marked = held_out(HASHES, SITES, "domain", 0.2, seed=0)
    verdicts = {}
    for site, out in zip(SITES, marked, strict=True):
        assert verdicts.setdefault(site, out) == out
    assert abs(np.mean(list(verdicts.values())) - 0.2) < 5 * (0.2 * 0.8 / len(verdicts)) ** 0.5


def test_a_page_is_held_out_whatever_else_is_read():
    some = slice(100, 900)
    marked = held_out(HASHES, SITES, "page", 0.2, seed=0)
    assert (held_out(HASHES[some], SITES[some], "page", 0.2, seed=0) == marked[some]).all()
    assert abs(marked.mean() - 0.2) < 0.04


def test_another_seed_holds_out_other_pages():
    assert (held_out(HASHES, SITES, "page", 0.5, 0) != held_out(HASHES, SITES, "page", 0.5, 1)).any()


def test_a_site_stands_in_one_fold_and_the_folds_are_about_equal():
    replicas = (fold(SITES, seed=0) % np.uint64(3)).astype(int)
    assert all(len(set(replicas[site == SITES])) == 1 for site in np.unique(SITES))
    sites = np.bincount((fold(np.unique(SITES), seed=0) % np.uint64(3)).astype(int))
    assert (abs(sites - sites.sum() / 3) < 5 * (sites.sum() * 2 / 9) ** 0.5).all()


def test_what_is_held_out_says_nothing_of_the_fold():
    sites = id_hashes([f"site-{at}.org" for at in range(30_000)])
    marked = held_out(sites, sites, "domain", 0.5, seed=0)
    folds = (fold(sites, seed=0) % np.uint64(3)).astype(int)
    assert (abs(np.bincount(folds[marked]) / marked.sum() - 1 / 3) < 0.02).all()


def test_copies_are_the_unmarked_pages_with_a_marked_text():
    marked = np.array([True, False, False, True])
    assert copies_of(marked, np.array([7, 7, 8, 9])).tolist() == [False, True, False, False]


@pytest.mark.parametrize(("by", "share"), [("site", 0.1), ("page", 1.0), ("page", -0.1)])
def test_a_split_that_cannot_be_meant_is_refused(by, share):
    with pytest.raises(ValueError, match=r"evaluate\.held_out"):
        held_out(HASHES, SITES, by, share, 0)
