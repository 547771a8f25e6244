"""Pages of two classes: hashes draw and split them, whatever their order; what is held out is trained on nowhere."""

import io
import random

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.examples import HELD_OUT, Sampling, sample
from classifiers.kinds import Page, TrainingError

HOW = Sampling(most_per_class=100, fewest_per_class=2, held_out=0.2)


def prepare(batch):
    return [text.strip().encode() for text in batch.text.to_pylist()]


def pages(word, count, domain=None):
    return [Page(f"{word}-{k}", f"{word} {k}", domain and domain(k)) for k in range(count)]


def drawn(good, other, how=HOW, seed=0):
    return sample({True: ("good", good), False: ("other", other)}, prepare, how, seed, io.BytesIO())


def texts(found, which):
    return [found.content(example).decode() for example in getattr(found, which)]


def test_the_order_of_pages_does_not_matter():
    good, other = pages("whale", 60), pages("casino", 90)
    found, again = drawn(good, other), drawn(good[::-1], random.Random(1).sample(other, len(other)))
    for which in ("training", "held_out"):
        assert texts(found, which) == texts(again, which)
    assert found.counts == again.counts


def test_another_seed_draws_orders_and_splits_anew():
    """Where all pages are drawn the split is all that can differ, and where nothing else does, the order."""
    good, other, few = pages("whale", 60), pages("casino", 60), Sampling(10, 2, 0.2)
    one, another = drawn(good, other), drawn(good, other, seed=1)
    for which in ("training", "held_out"):
        assert set(texts(one, which)) != set(texts(another, which))
    both = set(texts(one, "training")) & set(texts(another, "training"))
    orders = [[text for text in texts(found, "training") if text in both] for found in (one, another)]
    assert orders[0] != orders[1]
    some = [
        set(texts(found, "training") + texts(found, "held_out")) for found in (drawn(good, other, few, at) for at in (0, 1))
    ]
    assert some[0] != some[1]


@pytest.mark.parametrize("made", [{"domain": "{}.org"}, {"domain": "a.org", "cluster": 0}])
def test_another_seed_holds_out_other_sites_and_other_clusters(made):
    def some(word):
        named = [
            {"domain": made["domain"].format(k // 3), "cluster": k // 3 if "cluster" in made else None} for k in range(60)
        ]
        return [Page(f"{word}-{k}", f"{word} {k}", **about) for k, about in enumerate(named)]

    one, another = (drawn(some("whale"), some("casino"), seed=seed) for seed in (0, 1))
    assert set(texts(one, "held_out")) != set(texts(another, "held_out"))


def test_classes_are_balanced_unless_told_otherwise():
    good, other = pages("whale", 60), pages("casino", 90)
    balanced = drawn(good, other)
    assert len(balanced.training) + len(balanced.held_out) == 120
    all_of_them = drawn(good, other, Sampling(100, 2, 0.2, balanced=False))
    assert len(all_of_them.training) + len(all_of_them.held_out) == 150


def test_the_text_of_held_out_pages_is_kept_for_the_card(tmp_path):
    good, other = pages("whale", 60, lambda k: f"{k % 20}.example"), pages("  casino", 60)
    found = drawn(good, other)
    found.keep_held_out({True: ("good", []), False: ("other", [])}, tmp_path)
    rows = pq.read_table(tmp_path / HELD_OUT).to_pylist()
    assert [row["text"].strip() for row in rows if row["side"] == "good"] == [
        found.content(one).decode() for one in found.held_out if one.positive
    ]
    assert {row["text"] for row in rows if not row["positive"]} < {page.text for page in other}
    assert len(rows) == len(found.held_out)


def test_a_site_is_held_out_as_a_whole():
    found = drawn(pages("whale", 80, lambda k: f"good{k % 20}.org"), pages("casino", 80, lambda k: f"other{k % 20}.org"))
    sides = [
        {int(text.split()[1]) % 20 for text in texts(found, which) if "whale" in text} for which in ("training", "held_out")
    ]
    assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 20
    assert found.held_out


def test_a_site_too_large_to_be_held_out_is_split_by_page():
    found = drawn(pages("whale", 80), pages("casino", 80, lambda k: "other.org"))
    for which in ("training", "held_out"):
        assert {text.split()[0] for text in texts(found, which)} == {"whale", "casino"}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8), st.sampled_from([None, "a.org", "b.org", "c.org", "d.org"]))))
def test_copies_never_stand_on_both_sides_and_every_page_is_counted(made):
    both = {True: pages("whale", 20), False: pages("casino", 20)}
    for at, (positive, text, domain) in enumerate(made):
        both[positive].append(Page(f"more-{at}", f"text {text}", domain))
    found = drawn(both[True], both[False], Sampling(100, 2, 0.3, balanced=False))
    assert not set(texts(found, "training")) & set(texts(found, "held_out"))
    assert len(found.training) + len(found.held_out) + found.counts["copies_of_held_out"] == 40 + len(made)


def clusters_of(found, which):
    return {example.cluster for example in getattr(found, which)} - {None}


SITES = st.sampled_from([None, "a.org", "b.org", "c.org", "d.org"])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.one_of(st.none(), st.integers(-3, 3)), SITES)))
def test_near_copies_never_stand_on_both_sides_and_every_page_is_counted(made):
    both = {True: pages("whale", 20), False: pages("casino", 20)}
    for at, (positive, cluster, domain) in enumerate(made):
        both[positive].append(Page(f"more-{at}", f"text {at}", domain, cluster))
    found = drawn(both[True], both[False], Sampling(100, 2, 0.3, balanced=False))
    assert not clusters_of(found, "training") & clusters_of(found, "held_out")
    left_out = found.counts["copies_of_held_out"] + found.counts["near_copies_of_trained_on"]
    assert len(found.training) + len(found.held_out) + left_out == 40 + len(made)
    for example in found.held_out:  # its text is there for the card
        assert example.text_end > example.end


def test_near_copies_on_one_large_site_are_held_out_together_and_none_is_lost():
    planted = [Page(f"other-{k}", f"casino {k}", "other.org", k // 4) for k in range(80)]
    found = drawn(pages("whale", 80), planted)
    assert found.counts["near_copies_of_trained_on"] == found.counts["copies_of_held_out"] == 0
    assert 0 < len(clusters_of(found, "held_out")) < 20
    assert not clusters_of(found, "training") & clusters_of(found, "held_out")


def test_a_cluster_that_is_most_of_a_class_is_trained_on():
    planted = [Page(f"other-{k}", f"casino {k}", "other.org", 1 if k < 40 else None) for k in range(80)]
    for seed in range(5):
        found = drawn(pages("whale", 80), planted, seed=seed)
        assert len(clusters_of(found, "training")) == 1 and not clusters_of(found, "held_out")
        assert found.held_out


def test_blank_pages_are_counted_and_not_drawn():
    found = drawn([*pages("whale", 10), Page("blank", "  ")], pages("casino", 10))
    assert found.counts["pages"]["good"] == {"read": 11, "blank": 1, "drawn": 10}


def test_too_few_pages_of_a_class_are_an_error_that_names_it():
    with pytest.raises(TrainingError, match="1 pages with words among the good, at least 2 are needed"):
        drawn(pages("whale", 1), pages("casino", 10))


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_share_that_holds_out_nothing_or_all_is_refused(share):
    with pytest.raises(ValueError, match="expected a share between 0 and 1"):
        Sampling(10, 2, share)
