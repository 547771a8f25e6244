"""The grid of `train:`: which runs there are, and what is packed for them."""

import json

import pytest

from eval.sizes import read_size
from jobs.experiment import _verbs
from jobs.parts.experiment_file import load
from jobs.parts.grid import asked_of, budgets, cells, may_be_asked, mildest, runs, subsets_of
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError

LEVELS = ["unfiltered", "word_count-min-none", "word_count-min-50", "word_count-min-90", "random-word_count-min-90"]


@pytest.fixture
def experiment(tmp_path):
    """A sweep that is chosen: the harder a level, the fewer bytes it keeps."""

    def with_train(train, evaluate="{}", more=""):
        (tmp_path / "conf.yaml").write_text(
            f"out: {tmp_path / 'out'}\npages: {{from: pages.jsonl}}\ntokenizer: {{vocabulary: 300}}\ntrain: {train}\n"
            f"evaluate: {evaluate}\n"
            "signals: {gopher: {}}\nsweep: {rules.word_count.min: [none, 50, 90]}\ncontrols: {random: hardest}\n" + more
        )
        return load(tmp_path / "conf.yaml")

    for at, name in enumerate(LEVELS):
        told = Places(tmp_path / "out").subset_facts(name)
        told.parent.mkdir(parents=True, exist_ok=True)
        told.write_text(json.dumps({"status": "ok", "kept": {"bytes": 100 - at}}))
    return with_train


def test_one_of_each_is_one_cell_named_as_ever(experiment):
    asked = experiment("{model: 0.2m, tokens: 300000, replicates: 3}")
    [cell] = cells(asked.train)
    rate = read_size("0.2m", 300_000).learning_rate
    assert (cell.folder, cell.first_rate) == (f"0.2m-300000-{rate:g}", True)
    assert subsets_of(asked, asked.train, cell, LEVELS) == LEVELS


def test_lists_make_a_grid_in_which_no_two_cells_have_the_same_folder(experiment):
    grid = cells(experiment("{model: [0.2m, 1m], tokens: [600_000, 900_000], learning_rate: [1, 0.5]}").train)
    assert len({cell.folder for cell in grid}) == len(grid) == 8
    assert [cell.first_rate for cell in grid] == [True, False] * 4
    assert grid[1].size.learning_rate == grid[0].size.learning_rate / 2


def test_one_stream_a_context_serves_all_budgets(experiment):
    train = experiment("{model: [0.2m, 1m], tokens: [300_000, 600_000]}").train
    assert budgets(train) == {128: 600_000 // 512 * 512 + 1, 256: 600_000 // 4096 * 4096 + 1}


def test_a_second_rate_goes_to_the_levels_that_are_named(experiment):
    asked = experiment("{learning_rate: [1, 0.5], at: [none, hardest]}")
    first, second = cells(asked.train)
    assert subsets_of(asked, asked.train, first, LEVELS) == LEVELS
    assert subsets_of(asked, asked.train, second, LEVELS) == ["unfiltered", "word_count-min-90"]
    assert subsets_of(asked, asked.train, second, LEVELS[:3]) == ["unfiltered", "word_count-min-50"]


BESIDE = "diagnostics: {permuted: [1.0, 0.1], bands: [margin], second: {rules.mean_word_length.min: [3, 4]}, late: true}\n"
"""What is trained beside the levels, the later it is named the harder."""


def test_what_is_beside_the_levels_is_trained_in_the_first_cell_and_so_many_replicates(experiment):
    asked = experiment("{model: [0.2m, 1m], learning_rate: [1, 0.5], replicates: [4, 7, 9]}", more=BESIDE)
    all_runs = runs(asked, dry_run=True)
    plain = runs(experiment("{model: [0.2m, 1m], learning_rate: [1, 0.5], replicates: [4, 7, 9]}"), dry_run=True)
    assert [run.out for run in all_runs[: len(plain)]] == [run.out for run in plain]
    first = cells(asked.train)[0].folder
    beside = ["second-mean_word_length-min-3", "second-mean_word_length-min-4", "band-margin", "permuted-0.1", "permuted-1"]
    assert [(run.subset, run.out.parent.name, run.replicate) for run in all_runs[len(plain) :]] == [
        (name, first, replicate) for name in beside for replicate in (4, 7)
    ]
    late = {(run.subset, run.out.parent.name) for run in all_runs if run.late}
    assert late == {(name, first) for name in LEVELS[:4]} and not any(run.late for run in plain)


def test_the_ladder_stands_on_the_level_that_keeps_most(experiment):
    asked = experiment("{model: 0.2m}", more=BESIDE)
    assert mildest(asked, 128, dry_run=True) == "word_count-min-none"
    told = Places(asked.out).subset_facts("word_count-min-50")
    told.write_text(json.dumps({"status": "ok", "kept": {"bytes": 1000}}))
    assert mildest(asked, 128, dry_run=True) == "word_count-min-50"


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        ("[]", LEVELS),
        ("[none]", LEVELS[:1]),
        ("[none, hardest]", [LEVELS[0], LEVELS[3]]),
        ("[hardest, random]", LEVELS[3:]),
        ("[none, random]", LEVELS[:1]),
        ("[best, none]", [LEVELS[0], LEVELS[2]]),
    ],
)
def test_tasks_are_put_to_the_levels_that_are_named(experiment, names, asked):
    one = experiment("{}", f"{{task_levels: {names}}}")
    [cell] = cells(one.train)
    told = {"trained": cell.folder, "subset": LEVELS[2], "set": "held_out", "domain": "macro", "value": 1.0}
    Places(one.out).results.write_text(json.dumps(told) + "\n")
    assert asked_of(one, one.train, cell, LEVELS) == asked
    assert set(asked) <= set(may_be_asked(one, LEVELS))  # what another machine answers, where the best is not known


def test_another_machine_asks_every_level_that_may_turn_out_best(experiment):
    assert may_be_asked(experiment("{}", "{task_levels: [best]}"), LEVELS) == LEVELS[:4]
    assert may_be_asked(experiment("{}", "{task_levels: [none, hardest]}"), LEVELS) == [LEVELS[0], LEVELS[3]]


def test_the_best_level_is_known_when_the_first_rate_is_measured(experiment):
    asked = experiment("{learning_rate: [1, 0.5], at: {best}}")
    first, second = cells(asked.train)
    assert subsets_of(asked, asked.train, second, LEVELS) == []
    values = {"unfiltered": [3.0, 3.2], "word_count-min-50": [3.3, 2.7], "random-word_count-min-90": [1.0, 1.0]}
    rows = [(first.folder, name, value) for name, some in values.items() for value in some]
    rows.append((second.folder, "word_count-min-90", 0.5))
    told = [
        {"trained": folder, "subset": name, "set": "held_out", "domain": "macro", "value": value}
        for folder, name, value in rows
    ]
    told.append({"trained": first.folder, "subset": "unfiltered", "set": "tasks", "task": "piqa", "value": 0.1})
    Places(asked.out).results.write_text("".join(json.dumps(row) + "\n" for row in told))
    assert subsets_of(asked, asked.train, second, LEVELS) == ["word_count-min-50"]


def test_an_experiment_comes_back_to_train_when_the_best_level_is_asked_for(experiment):
    def names(train):
        return [verb.__module__.removeprefix("jobs.") for verb in _verbs(experiment(train))]

    assert names("{learning_rate: [1, 0.5], at: best}").count("train") == 2
    assert names("{learning_rate: [1, 0.5], at: hardest}").count("train") == 1


@pytest.mark.parametrize(
    ("train", "says"),
    [
        ("{tokens: [300_000, 300]}", "train.tokens must be at least 512, one step of the model 0.2m, got 300"),
        ("{at: best}", "train.at says where the second learning rate is trained, and train.learning_rate has only one"),
        ("{learning_rate: [1, 0]}", "train.learning_rate[1] must be more than 0, got 0"),
        ("{model: [0.2m, 0.2m]}", "train.model: '0.2m' is there twice"),
        ("{learning_rate: [1, 2], at: [worst]}", "must be none, best or hardest, got 'worst'"),
    ],
)
def test_a_grid_that_cannot_be_trained_is_refused_in_one_sentence(experiment, train, says):
    with pytest.raises(ExperimentError) as refused:
        cells(experiment(train).train)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("{permuted: [0.1, 0]}", "diagnostics.permuted[1] must be more than 0, got 0"),
        ("{permuted: [0.1, 0.1]}", "diagnostics.permuted: 0.1 is there twice"),
        ("{bands: [margins]}", "diagnostics.bands[0] must be removed or margin, got 'margins'"),
        ("{band: [margin]}", "unknown key 'diagnostics.band': did you mean 'bands'?"),
        ("{replicates: 0}", "diagnostics.replicates must be at least 1, got 0"),
    ],
)
def test_diagnostics_that_cannot_be_meant_are_refused_in_one_sentence(experiment, asked, says):
    with pytest.raises(ExperimentError) as refused:
        experiment("{}", more=f"diagnostics: {asked}\n")
    assert str(refused.value) == says
