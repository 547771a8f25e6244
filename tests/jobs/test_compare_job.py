"""compare, without Spark: presets over signal tables become compare.json."""

import json

import pyarrow as pa
import pytest

from filters.files import sha256_of
from filters.rules import RuleError
from jobs import compare
from jobs.parts import loop
from jobs.parts.experiment_file import Experiment
from jobs.parts.overlap import overlap
from jobs.parts.pool import Columns
from jobs.parts.presets import preset_rules
from jobs.parts.table import Part, Table, parts_of, publish
from jobs.read import PAGES
from jobs.split import SPLIT

TEXTS = ["one two three", "four", "five six"]


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """Three pages with a word count and their language, as read and score leave them, and two presets."""
    made = {
        "pages": ({"id": ["a", "b", "c"], "text": TEXTS}, PAGES),
        "signals/counts": (
            {"id": ["a", "b", "c"], "word_count": [3, 1, 2], "language": ["eng", "eng", "deu"]},
            pa.schema([("id", pa.string()), ("word_count", pa.int64()), ("language", pa.string())]),
        ),
        "signals/size": (
            {"id": ["a", "b", "c"], "text_bytes": [13, 4, 8], "text_hash": [1, 2, 3]},
            pa.schema([("id", pa.string()), ("text_bytes", pa.int64()), ("text_hash", pa.int64())]),
        ),
        "split": (
            {"id": ["a", "b", "c"], "id_hash": [1, 2, 3], "held_out": [False] * 3, "copy_of_held_out": [False] * 3},
            SPLIT,
        ),
    }
    identity = ""
    for name, (columns, schema) in made.items():
        table = Table(tmp_path / name, {}, schema)
        table.path.mkdir(parents=True)
        rows = pa.table(
            {field: pa.array(columns.get(field, [None] * 3), schema.field(field).type) for field in schema.names}
        )
        part = Part("shard", "", identity)
        written = loop.write_part(
            part, [table], lambda part, *_, rows=rows, name=table.name: ((name, batch) for batch in rows.to_batches())
        )
        publish("made up", table, [written.entries[table.name]])
        identity = sha256_of(tmp_path / "pages" / "shard.parquet")
    (tmp_path / "mild.yaml").write_text("rules: {word_count: {min: 2}}")
    (tmp_path / "hard.yaml").write_text("rules: {word_count: {min: 3}, language: {in: [eng]}}")
    monkeypatch.setattr(compare.session, "session", lambda name: None)
    monkeypatch.setattr(
        compare.passes, "merged", lambda spark, stage, parts, function, merge: merge([*map(function, parts)])
    )
    sets = {"mild": [str(tmp_path / "mild.yaml")], "hard": str(tmp_path / "hard.yaml")}
    return Experiment.model_validate({"pages": {"from": ["none"]}, "out": tmp_path, "compare": sets})


def test_rule_sets_are_compared_on_the_same_pages(scored, capsys):
    assert compare.main(scored) == 0
    told = json.loads((scored.out / "compare.json").read_text())
    assert told["kept"] == [2, 1]
    assert told["agreement"][0][1] == pytest.approx(2 / 3)
    [only] = [one for one in told["differences"] if one["keeps"] == "mild"]
    assert [page["id"] for page in only["sample"]] == ["c"]
    assert only["sample"][0]["text"] == "five six"
    assert {rule["rule"]: (rule["fails"], rule["alone"]) for rule in only["rules"]} == {
        "word_count min 3": (1, 0),
        "language in eng": (1, 0),
    }
    assert "hard  keeps  33.3%" in capsys.readouterr().out


def test_a_preset_file_without_rules_is_refused(tmp_path):
    (tmp_path / "none.yaml").write_text("word_count: {min: 2}")
    with pytest.raises(RuleError, match="must hold rules:"):
        preset_rules(str(tmp_path / "none.yaml"))


def test_scorers_that_keep_the_same_pages_are_seen_to(scored):
    columns = Columns.find(scored, ["word_count", "text_bytes"])

    def over(work, merge):
        return merge([work(part) for part in parts_of(scored.out / "pages")])

    same, turned = (overlap({"word_count": False, "text_bytes": lower}, columns, over) for lower in (False, True))
    assert same["shares"] == [0.1, 0.3, 0.5]
    assert same["kept"] == turned["kept"] == [[1, 1], [1, 1], [2, 2]]
    assert [level[0][1] for level in same["jaccard"]] == [1, 1, 1]
    assert [level[0][1] for level in turned["jaccard"]] == [0, 0, pytest.approx(1 / 3)]
