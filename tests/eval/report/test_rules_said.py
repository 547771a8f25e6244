import pytest

from eval.report.rules_said import as_asked, as_resolved


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"min": 50, "max": 100_000}, "s ≥ 50 and ≤ 100,000"),
        ({"above": 0.5, "null": "keep"}, "s > 0.5 (null passes)"),
        ({"in": ["eng", "deu", "fra"]}, "s is eng, deu or fra"),
        ({"not_in": ["eng"], "max": 3}, "s ≤ 3; s is not eng"),
        ({"is": False}, "s is false"),
        ({"pareto": 9}, "s: noisy cut, pareto 9"),
        ({"pareto": {"keep_fraction": 0.1}, "weight": "tokens"}, "s: noisy cut that keeps 10 % of tokens"),
        ({"keep_fraction": 0.3, "weight": "bytes", "within": "language"}, "s: keep the best 30 % of bytes within language"),
        ({"keep_fraction": 0.005, "lowest": True}, "s: keep the lowest 0.5 % of pages"),
        ({"between": [0.3, 0.9]}, "s: keep the quantiles 0.3 to 0.9 of pages"),
        (
            {"quota": {"within": ["a", {"tenths": "b"}], "keep_fraction": 0.2, "floor": 0.05, "weight": "bytes"}},
            "s: keep the best 20 % of all bytes, 5.0 % to 100 % of each niche of a × tenths of b",
        ),
    ],
)
def test_what_was_asked_is_said_in_words(asked, says):
    assert as_asked("s", asked) == says


def test_a_rule_that_asked_for_numbers_has_nothing_to_resolve():
    assert as_resolved({"min": 50}, {"min": 50}) == ""
    assert as_resolved({"pareto": 9}, {"pareto": 9.0}) == ""


def test_a_share_comes_with_its_threshold():
    assert as_resolved({"keep_fraction": 0.3}, {"min": 0.71349}) == "≥ 0.713"
    assert as_resolved({"keep_fraction": 0.3}, {"min": float("inf")}) == "nothing passes"
    assert as_resolved({"pareto": {"keep_fraction": 0.1}}, {"pareto": 3.14159}) == "pareto 3.14"
    assert as_resolved({"between": [0.3, 0.9]}, {"min": 0.25, "max": 0.8}) == "≥ 0.25; ≤ 0.8"


def test_thresholds_of_many_groups_are_those_of_the_largest_and_a_count():
    bounds = {"min": {group: at / 10 for at, group in enumerate("abcdefg")}}
    assert as_resolved({"keep_fraction": 0.3}, bounds, "gfed") == "g ≥ 0.6, f ≥ 0.5, e ≥ 0.4, d ≥ 0.3 and 3 more"
    assert as_resolved({"keep_fraction": 0.3}, {"min": {"a": 1.0, "b": 2.0}}) == "a ≥ 1 and b ≥ 2"
    assert as_resolved({"quota": {"within": "x", "keep_fraction": 0.3}}, {"min": {"a": 1.0}}) == "a ≥ 1"
