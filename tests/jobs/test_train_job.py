"""What is said of runs before they are trained, and which of them may stand side by side."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from eval.plan import RunConfig
from eval.side_by_side import Slots
from eval.sizes import read_size
from jobs import evaluate, train
from jobs.parts.experiment_file import Experiment
from jobs.parts.refusals import ExperimentError

SIZE = read_size("0.2m", 300_000)
RUN = RunConfig("all", Path("all.bin"), Path("tokenizer"), "0.2m", SIZE, 300_000, 0, Path("runs/all/0.2m-300000-0.005/0"))
RUNS = [replace(RUN, replicate=replicate, out=RUN.out.with_name(str(replicate))) for replicate in range(4)]


@dataclass
class Summary:
    """What is asked of a run's summary."""

    tokens_per_second: float = 20_000.0
    device: str = "cpu"
    model_sha256: str = "a"

    @property
    def kind_of_device(self):
        return self.device


def experiment(**changes):
    asked = {"pages": {"from": ["none"]}, "tokenizer": {"vocabulary": 4096}, "train": {"device": "cpu"}}
    return Experiment.model_validate(asked | changes)


def test_a_dry_run_says_tokens_operations_and_hours_by_the_speed_of_the_runs_that_are_done(monkeypatch):
    monkeypatch.setattr(train, "slots", lambda *_: Slots([{}, {}]))
    monkeypatch.setattr(train, "finished", lambda _: Summary())
    each = SIZE.flops(4096)
    assert each == 6 * 184_608 + 12 * 4 * 32 * 128
    hours = 3 * 300_000 / 20_000 / 2 / 3600
    said = train.estimate(experiment(), RUNS, RUNS[1:])
    assert f"(900,000 tokens, {900_000 * each:.2g} operations, about {hours:.2g} hours with 2 at a time" in said
    assert f"{20_000 * each / 1e9:,.0f} GFLOP/s each, as the 1 that are done" in said
    assert "30 GFLOP/s each, assumed" in train.estimate(experiment(), RUNS, RUNS)
    assert train.estimate(experiment(), RUNS, []) == ""


def test_runs_of_two_kinds_of_device_are_not_set_side_by_side(monkeypatch, tmp_path):
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "evaluated.parquet").touch()
    monkeypatch.setattr(evaluate, "finished", lambda run: Summary(device="cuda" if run.replicate else "cpu"))
    with pytest.raises(ExperimentError, match=r"do not compare: all, replicate 0, .* on cpu and all, "):
        evaluate._evaluations(experiment(out=tmp_path), RUNS)
