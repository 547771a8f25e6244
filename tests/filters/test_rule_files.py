"""Named sets of rules: they build on each other, say what they need, and refuse what cannot be meant."""

import numpy as np
import pyarrow as pa
import pytest
import yaml

from filters.rule_files import FOLDER, rule_file
from filters.rules import Pool, RuleError, parse, resolve_in
from filters.signals import load_groups
from filters.strict_yaml import read_yaml


def files(folder, **trees):
    for name, tree in trees.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(tree))
    return lambda name: rule_file(str(folder / f"{name}.yaml"))


def test_rules_hold_with_those_they_extend_or_in_their_place(tmp_path):
    built = files(
        tmp_path,
        base={"rules": {"a": {"min": 1}, "b": {"min": 5}, "sample": 0.5}},
        own={"rules": {"extends": "base.yaml", "a": {"max": 9}, "b": {"replace": True, "min": 2}, "sample": 0.8}},
        last={"rules": {"extends": ["own.yaml", "gopher"], "word_count": {"min": 60}}},
    )
    assert built("own").rules == {"a": {"min": 1, "max": 9}, "b": {"min": 2}, "sample": 0.5}
    last = built("last").rules
    assert last["word_count"] == {"min": 60, "max": 100_000} and last["a"] == {"min": 1, "max": 9}


def test_groups_of_any_of_from_several_files_must_all_hold(tmp_path):
    one, two = [{"a": {"min": 1}}], [{"b": {"min": 1}}, {"sample": 0.1}]
    built = files(tmp_path, one={"rules": {"any_of": one}}, two={"rules": {"extends": "one.yaml", "any_of": two}})
    assert sorted(map(repr, built("two").rules["any_of"])) == sorted(map(repr, [one, two]))
    assert len(parse(built("two").rules)) == 2


def test_what_a_file_needs_is_told_by_those_that_extend_it(tmp_path):
    built = files(
        tmp_path,
        one={"needs": {"a": "write a"}, "rules": {"a": {"min": 1}}},
        two={"needs": {"b": "write b"}, "rules": {"extends": "one.yaml", "b": {"min": 1}}},
    )
    assert built("two").needs == {"a": "write a", "b": "write b"}


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"rules": {"extends": "own.yaml"}}, "own.yaml extends own.yaml"),
        ({"rules": {"extends": "gophr"}}, "unknown preset 'gophr': did you mean 'gopher"),
        ({"rules": {"extends": 3}}, "rules.extends must be the name or path"),
        ({"rules": {"extends": "gopher", "word_count": {"max": 3}}}, "no page can pass the rules on 'word_count'"),
        ({"rule": {}}, "must hold rules:"),
        ({"rules": {}, "sweep": {}}, "must hold rules:"),
        ({"rules": {"a": {"replace": 3}}}, "rules.a.replace must be true or false"),
        ({"needs": {"a": 3}, "rules": {}}, "a mapping of signal to a sentence"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_by_name(tmp_path, tree, says):
    with pytest.raises(RuleError) as refusal:
        files(tmp_path, own=tree)("own")
    assert says in str(refusal.value) and "own.yaml" in str(refusal.value)


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.yaml")))
def test_every_set_of_ours_is_a_set_of_rules_and_says_its_source(name):
    assert parse(rule_file(name).rules)
    assert (FOLDER / f"{name}.yaml").read_text().startswith("# ")


GROUPS = {signal for group in load_groups("filters", "classifiers").values() for signal in group}


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.yaml")))
def test_every_signal_of_a_set_of_ours_is_in_a_group_or_the_set_says_how_it_is_made(name):
    found = rule_file(name)
    signals = {column for rule in parse(found.rules) for column in rule.columns}
    assert signals <= GROUPS | set(found.needs)
    for way in found.needs.values():  # it can be pasted
        tree = read_yaml("\n".join(way.split(" after ")[0].split(" and ")))
        assert set(tree) == {"classifiers", "signals"}


def test_the_three_parts_of_ccnet_hold_all_pages_in_its_shares():
    pages = 1000
    scores = np.random.default_rng(0).permutation(pages) / pages
    pool = Pool(
        [str(at) for at in range(pages)],
        {"perplexity_wiki": pa.array(scores), "language": pa.array(["eng", "deu"] * (pages // 2))},
        {"pages": np.ones(pages, np.int64)},
    )

    def kept(part):
        return resolve_in(pool, parse(rule_file(f"ccnet_{part}").rules))[0].passes(pool)

    parts = [kept(part) for part in ("head", "middle", "tail")]
    assert (np.sum(parts, axis=0) >= 1).all()
    assert [part.sum() for part in parts] == pytest.approx([300, 300, 400], abs=4)
    assert (kept("head_middle") == parts[0] | parts[1]).mean() > 0.99
