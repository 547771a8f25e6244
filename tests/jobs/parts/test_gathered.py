"""What a report takes from runs' folders."""

import pyarrow as pa
import pyarrow.parquet as pq

from eval.report.facts import Run
from jobs.parts.gathered import scores_of


def run(folder, subset, replicate, epochs):
    out = folder / subset / str(replicate)
    out.mkdir(parents=True)
    columns = {
        "set": ["held_out"] * 2,
        "passes": [True] * 2,
        "in_pool": [True] * 2,
        "cluster": ["a", "b"],
        "stratum": [None] * 2,
    }
    rows = {"id": ["one", "two"], **columns, "bytes": [10, 20], "nll": [float(replicate), 2.0]}
    pq.write_table(pa.table(rows), out / "evaluation.parquet")
    return Run(subset, replicate, "finished", out, {"epochs": epochs})


def test_a_subset_of_which_any_run_read_its_pages_again_is_said_to_repeat(tmp_path):
    """A run that reads all of its pages exactly once repeats nothing."""
    runs = [run(tmp_path, name, at, epochs[at]) for name, epochs in EPOCHS.items() for at in (0, 1)]
    missing = []
    scores = scores_of("held_out", list(EPOCHS), runs, missing)
    assert not missing and scores.subsets == tuple(EPOCHS) and scores.nll[:, :, 0].tolist() == [[0.0, 1.0]] * 3
    assert scores.repeated == {"some"}


EPOCHS = {"none": (0.3, 1.0), "some": (0.9, 1.1), "few": (1.0, 1.0)}
