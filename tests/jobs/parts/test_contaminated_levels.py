import pyarrow as pa
import pytest

from jobs.parts import contaminated_levels, passes, session
from jobs.parts.contaminated_levels import contaminated
from jobs.parts.experiment_file import Experiment

PARTS = {
    "first": {
        "verdicts": {"subset all": [True, True, True], "subset few": [True, False, False], "subset none": [False] * 3},
        "contamination": {"contamination_a": [0.5, None, 0.0], "contamination_b": [0.0, 0.0, 0.1]},
    },
    "second": {
        "verdicts": {"subset all": [True], "subset few": [True], "subset none": [False]},
        "contamination": {"contamination_a": [0.0], "contamination_b": [1.0]},
    },
}


@pytest.fixture
def experiment(monkeypatch):
    monkeypatch.setattr(contaminated_levels, "parts_of", lambda _: list(PARTS))
    monkeypatch.setattr(
        contaminated_levels, "sidecar", lambda table, part, columns: pa.table(PARTS[part][table.name]).select(columns)
    )
    monkeypatch.setattr(session, "session", lambda _: None)
    monkeypatch.setattr(passes, "merged", lambda spark, stage, parts, of, merge: merge([*map(of, parts)]))
    return Experiment.model_validate({"pages": {"from": ["a"]}})


def test_a_subsets_share_of_pages_with_text_of_a_benchmark(experiment):
    """Of the four pages one has text of a, and two have text of b; of the two of `few` one each."""
    found = contaminated(experiment, ["contamination_a", "contamination_b"], ["all", "few", "none"])
    assert found == {
        "contamination_a": {"all": 0.25, "few": 0.5, "none": None},
        "contamination_b": {"all": 0.5, "few": 0.5, "none": None},
    }


def test_without_columns_nothing_is_read():
    assert contaminated(Experiment.model_validate({"pages": {"from": ["a"]}}), [], ["all"]) == {}
