"""The pages evaluated are those that a look at all held-out pages would take, and no part gives more than it must."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.draws import draw, id_hashes
from filters.rules import parse
from jobs.parts import evaluated, loop, storage
from jobs.parts.evaluated import held_out_pages, least_bytes, niches_of, parts_of_pages, shared_rules, taken
from jobs.parts.experiment_file import Evaluate, Experiment
from jobs.parts.places import Places
from jobs.parts.presets import levels_of
from jobs.parts.refusals import ExperimentError
from jobs.parts.table import Part, Table, entry, parts_of, publish
from jobs.split import SPLIT

PAGES = pa.schema([("id", pa.string()), ("url", pa.string()), ("domain", pa.string()), ("text", pa.large_string())])
VERDICTS = pa.schema([("id", pa.string()), ("rule long", pa.bool_()), ("rule good", pa.bool_())])
SIZE = pa.schema([("id", pa.string()), ("text_bytes", pa.int64()), ("text_characters", pa.int64())])
LANGUAGE = pa.schema([("id", pa.string()), ("language", pa.string())])
CHARACTERS = 12


def made(folder, pages, parts):
    """pages/, split/ and the signals of size and language with these rows in each part; the pages' parts."""
    places = Places(folder)
    schemas = {
        places.pages: PAGES,
        places.split: SPLIT,
        places.signals("size"): SIZE,
        places.signals("language"): LANGUAGE,
        places.verdicts: VERDICTS,
    }
    tables = [Table(path, {"made": "up"}, schema) for path, schema in schemas.items()]
    lines = {table.path: [] for table in tables}
    for at, rows in enumerate(parts):
        identity = "shard"
        some = [pages[row] for row in rows]
        ids, texts, no = [page["id"] for page in some], [page["text"] for page in some], [False] * len(some)
        sizes = [[len(text.encode()) for text in texts], [len(text) for text in texts]]
        columns = {
            places.pages: [ids, [f"https://x/{name}" for name in ids], [page["site"] for page in some], texts],
            places.verdicts: [ids, [page["long"] for page in some], [page["good"] for page in some]],
            places.split: [ids, id_hashes(ids), [page["held_out"] for page in some], no, [0] * len(some)],
            places.signals("size"): [ids, *sizes],
            places.signals("language"): [ids, [page["language"] for page in some]],
        }
        for table in tables:
            batches = pa.table(columns[table.path], schema=table.schema).to_batches(max_chunksize=3)
            part = Part(f"part-{at}", "", identity)

            def work(*_, table=table, batches=batches):
                yield from ((table.name, batch) for batch in batches)

            assert loop.write_part(part, [table], work).failure is None
            lines[table.path].append(entry(table, part))
            identity = lines[places.pages][at]["sha256"]
    for table in tables:
        publish("made up", table, lines[table.path])
    return parts_of(places.pages)


def experiment(out, most_bytes):
    held_out = {"most_bytes": most_bytes, "page_characters": CHARACTERS}
    return Experiment.model_validate({"pages": {"from": ["none"]}, "out": out, "evaluate": {"held_out": held_out}})


texts = st.text(alphabet="ab é語𝄞", max_size=30)
page = st.fixed_dictionaries(
    {
        "text": texts,
        "held_out": st.booleans(),
        "site": st.sampled_from(["a.org", "b.org", None]),
        "language": st.sampled_from(["eng", None]),
        "long": st.booleans(),
        "good": st.booleans(),
    }
)


@settings(deadline=None, max_examples=40)
@given(
    pages=st.lists(page, min_size=1, max_size=40),
    most_bytes=st.integers(1, 300),
    bounds=st.lists(st.integers(0, 40), max_size=3),
    shared=st.sampled_from([[], ["long"], ["long", "good"]]),
)
def test_the_cut_takes_what_a_look_at_all_pages_would_take(tmp_path_factory, pages, most_bytes, bounds, shared):
    out = tmp_path_factory.mktemp("out")
    pages = [one | {"id": f"page-{at}"} for at, one in enumerate(pages)]
    ends = [0, *sorted(min(bound, len(pages)) for bound in bounds), len(pages)]
    parts = made(out, pages, [range(start, end) for start, end in itertools.pairwise(ends)])
    given_away = []

    def over(function, merge):
        values = [function(part) for part in parts]
        given_away.extend(len(value) for value in values if isinstance(value, pa.Table))
        return merge(values[::-1])

    found = held_out_pages(experiment(out, most_bytes), over, shared)
    everything = [
        {key: one[key] for key in ("id", "site", "language")}
        | {"url": f"https://x/{one['id']}", "passes": all(one[rule] for rule in shared)}
        | {"text": one["text"][:CHARACTERS], "draw": int(draw(id_hashes([one["id"]]), 0, "evaluated held_out")[0])}
        for one in pages
        if one["held_out"]
    ]
    of_pool, judged = taken(everything, most_bytes), taken([one for one in everything if one["passes"]], most_bytes)
    ids = {one["id"] for one in of_pool}
    assert [one for one in found if one["in_pool"]] == [one | {"in_pool": True} for one in of_pool]
    # A page of the pool that passes is evaluated anyway, so it counts, as the pages below its draw do.
    assert [one for one in found if one["passes"]] == [one | {"in_pool": one["id"] in ids} for one in judged]
    assert sum(given_away) <= len(everything)


def test_pages_beyond_the_cut_do_not_leave_their_part(tmp_path):
    page = {"text": "x" * 12, "held_out": True, "site": None, "language": None, "long": True, "good": True}
    pages = [page | {"id": str(at)} for at in range(500)]
    parts = made(tmp_path, pages, [range(250), range(250, 500)])
    given_away = []

    def over(function, merge):
        values = [function(part) for part in parts]
        given_away.extend(len(value) for value in values if isinstance(value, pa.Table))
        return merge(values)

    assert len(held_out_pages(experiment(tmp_path, 120), over)) == 10
    assert sum(given_away) == 11


@given(st.lists(texts, min_size=1))
def test_no_beginning_has_fewer_bytes_than_the_least(some):
    size = pa.table({"text_bytes": [len(text.encode()) for text in some], "text_characters": [len(text) for text in some]})
    assert (least_bytes(size, CHARACTERS) <= np.array([len(text[:CHARACTERS].encode()) for text in some])).all()


@pytest.mark.parametrize(("most_bytes", "ids"), [(3, ["b"]), (5, ["b"]), (8, ["b", "a"]), (100, ["b", "a", "c"])])
def test_pages_are_taken_by_draw_until_the_bytes_are_full(most_bytes, ids):
    pages = [{"id": name, "draw": drawn, "text": "four"} for name, drawn in (("a", 2), ("b", 1), ("c", 9))]
    assert [one["id"] for one in taken(pages, most_bytes)] == ids


@pytest.mark.parametrize(
    ("sweep", "shared"),
    [
        ({}, {}),
        ({"rules.quality.pareto": [3]}, {}),
        ({"rules.quality.pareto": ["none", 3]}, {"word_count": "word_count"}),
        ({"rules.quality.pareto": [3], "rules.word_count.max": [900, 9000]}, {}),
    ],
)
def test_a_filter_is_not_judged_by_the_pages_that_it_keeps(tmp_path, sweep, shared):
    asked = Experiment.model_validate(
        {
            "pages": {"from": ["none"]},
            "out": tmp_path,
            "signals": {"gopher": {}, "quality": {}},
            "classifiers": {"quality": {"fasttext": {"positives": ["good.jsonl"]}}},
            "rules": {"word_count": {"min": 50}},
            "sweep": sweep,
        }
    )
    for level in levels_of(asked):
        drops = [{"rule": rule.signal, "signal": rule.signal} for rule in parse(level.rules)]
        storage.write_json(Places(tmp_path).subset_facts(level.name), {"dropped": drops})
    assert shared_rules(asked) == shared


def test_a_stratum_without_pages_is_refused_with_those_that_there_are():
    asked = Experiment.model_validate(
        {"pages": {"from": ["none"]}, "train": {}, "evaluate": {"strata": {"language": ["eng", "deu"]}}}
    )
    rows = [{"id": str(at), "site": f"{at}.org", "set": "held_out", "passes": at < 9, "language": "eng"} for at in range(9)]
    rows.append({"id": "9", "site": "9.org", "set": "held_out", "passes": False, "language": "deu"})
    with pytest.raises(ExperimentError, match=r"is of the language 'deu' \(there are: eng\)"):
        parts_of_pages(asked, rows)
    rows[-1]["passes"] = True
    assert parts_of_pages(asked, rows)["stratum"] == ["eng"] * 9 + ["deu"]


def test_strata_may_be_the_niches_of_quotas(tmp_path):
    """The tenths are those of the pages that may be chosen, of one to ten characters."""
    page = {"long": True, "good": True, "site": "a.org"}
    pages = [
        page | {"id": f"{out}-{size}", "text": "a" * size, "held_out": out, "language": "eng" if size > 1 else None}
        for size in range(1, 11)
        for out in (True, False)
    ]
    parts = made(tmp_path, pages, [range(0, 9), range(9, 20)])
    asked = experiment(tmp_path, 300).model_copy(
        update={"evaluate": Evaluate(strata=["language", {"tenths": "text_characters"}])}
    )
    found = niches_of(
        asked, ["True-1", "True-7", "True-10"], lambda function, merge: merge([function(one) for one in parts])
    )
    assert found == {"True-1": "None / 01", "True-7": "eng / 07", "True-10": "eng / 10"}
    rows = [{"id": str(at), "site": f"{at}.org", "set": "held_out", "passes": True, "niche": "eng / 07"} for at in range(5)]
    assert parts_of_pages(asked, [*rows, rows[0] | {"niche": None}])["stratum"] == ["eng / 07"] * 5 + ["other"]


@pytest.mark.parametrize("wrong", [["a", "a"], {"site": ["a.org"]}, {"domain": []}, {"tenths": 3}, []])
def test_strata_that_cannot_be_meant_are_one_sentence(wrong):
    with pytest.raises(ValueError, match=r"a column, \{tenths: number\} or a list of such"):
        Evaluate.model_validate({"strata": wrong})


def test_a_rule_on_several_signals_is_told_by_the_tables_of_all(monkeypatch):
    monkeypatch.setattr(evaluated, "identity_of", lambda table: f"of {table}")
    tables = {"word_count": Path("gopher"), "quality": Path("quality"), "email_count": Path("pii")}
    rules = {"any_of": [{"word_count": {"min": 9}}, {"quality": {"min": 0.5}}], "word_count": {"max": 99}}
    asked = Experiment.model_validate({"pages": {"from": ["none"]}, "rules": rules})
    assert evaluated._decided_by("word_count", tables, asked) == "of gopher"
    assert evaluated._decided_by("any_of", tables, asked) == ["of gopher", "of quality"]
