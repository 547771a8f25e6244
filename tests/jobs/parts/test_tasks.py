import gzip
import json
import random
from types import SimpleNamespace

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from eval.gpt import build_model
from eval.plan import RunConfig
from eval.sizes import ModelSize
from eval.tokenizer import copy_tokenizer, end_of_text, load_tokenizer, train_tokenizer
from filters.files import sha256_of
from jobs.parts import storage, tasks
from jobs.parts.experiment_file import Experiment
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.tasks import Run, evaluate_tasks

SIZE = ModelSize(2, 16, 2, 32, 32, 32, 0.01, 0.1, 0.1)
WORDS = "the old boat went over a cold river while two small birds sang about warm bread and rain".split()
ABOUT = {"size": "tiny"}


def sentence(rng, most):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(2, most)))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Benchmarks of our own in the shapes of the real ones; some items are longer than the model's context."""
    folder, rng = tmp_path_factory.mktemp("bench"), random.Random(0)
    piqa = [
        {"query": f"Question: {sentence(rng, 9)}\n", "choices": [sentence(rng, 8), sentence(rng, 8)], "gold": at % 2}
        for at in range(12)
    ]
    piqa.append({"query": f"Question: {' '.join(WORDS * 4)}\n", "choices": ["warm bread", "rain"], "gold": 0})
    piqa.append({"query": "Question: rain\n", "choices": [" ".join(WORDS * 3), "rain"], "gold": 1})
    lambada = [{"context": sentence(rng, 20), "continuation": rng.choice(WORDS)} for _ in range(9)]
    winogrande = [
        {
            "context_options": [f"{first} so the boat", f"{first} so the river"],
            "continuation": sentence(rng, 5),
            "gold": at % 2,
        }
        for at, first in enumerate(sentence(rng, 6) for _ in range(8))
    ]
    arc = [{"query": f"Question: {sentence(rng, 5)}", "choices": ["rain", "bread"], "gold": 1}]
    for name, rows in (("piqa", piqa), ("lambada_openai", lambada), ("winogrande", winogrande), ("arc_easy", arc)):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a tokenizer and random models of two levels and two replicates."""
    out = tmp_path_factory.mktemp("out")
    places = Places(out)
    train_tokenizer([" ".join(WORDS)] * 3, 320, places.tokenizer)
    mark, runs = end_of_text(load_tokenizer(places.tokenizer)), []
    for level, subset in enumerate(("unfiltered", "word_count-min-5")):
        for replicate in range(2):
            folder = places.run(subset, "tiny-64-0.01", replicate)
            build_model(SIZE, 320, mark, 10 * level + replicate).save_pretrained(folder)
            copy_tokenizer(places.tokenizer, folder)
            config = RunConfig(subset, out / "none", places.tokenizer, "tiny", SIZE, 64, replicate, folder)
            runs.append(Run(config, f"model {level} {replicate}", ABOUT))
    return out, runs


@pytest.fixture
def here(monkeypatch):
    """Runs answer in this process."""
    monkeypatch.setattr(tasks, "carry_out", lambda work, runs, _: [work.function(one, lambda _: None) for one in runs])


def experiment(out, bench, tasks=("piqa", "lambada", "winogrande"), **evaluate):
    tree = {
        "out": str(out),
        "pages": {"from": ["none.jsonl"]},
        "sweep": {"rules.word_count.min": ["none", 5]},
        "train": {"model": "0.2m"},
        "evaluate": {"tasks": list(tasks), "benchmarks": str(bench), **evaluate},
    }
    return Experiment.model_validate(tree)


@pytest.fixture(scope="module")
def answered(trained, bench):
    out, runs = trained
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "carry_out", lambda work, runs, _: [work.function(one, lambda _: None) for one in runs])
        state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
        rows = evaluate_tasks(experiment(out, bench), runs, 32)
        assert state == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    return out, runs, rows


def test_lm_eval_finds_the_same_scores(answered, monkeypatch):
    """`lm_eval --model hf --include_path OUT/tasks` is this call."""
    pytest.importorskip("accelerate", reason="lm_eval --model hf needs accelerate")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    out, runs, _ = answered
    run = runs[-1].config
    names = ["piqa_harness", "piqa_bare", "lambada_harness", "winogrande_harness"]
    model = HFLM(pretrained=str(run.out), device="cpu", batch_size=4, dtype="float32")
    manager = TaskManager(include_path=str(Places(out).tasks), include_defaults=False)
    found = simple_evaluate(model, tasks=names, task_manager=manager, bootstrap_iters=0, log_samples=True)
    for name in names:
        task, template = name.split("_")
        items = storage.read_table(Places(out).items(run.subset, "tiny-64-0.01", run.replicate, task))
        scored = (pc.field("template") == template) & pc.field("skipped").is_null()
        ours = items.filter(scored)["nats"].to_pylist()
        theirs = [[-float(answer[0][0]) for answer in sample["resps"]] for sample in found["samples"][name]]
        assert len(ours) == len(theirs) and ours
        for mine, their in zip(ours, theirs, strict=True):
            assert np.allclose(mine, their, rtol=0, atol=1e-4)


def test_a_row_stands_for_each_run_task_template_and_metric(answered):
    _, runs, rows = answered
    keys = {(row["subset"], row["replicate"], row["task"], row["template"], row["metric"]) for row in rows}
    assert len(keys) == len(rows) == len(runs) * (3 + 2 + 2) * 4  # piqa has two templates; their mean is a row too
    assert all(row["set"] == "tasks" and row["size"] == "tiny" for row in rows)
    both = {(row["template"]): row for row in rows if row["task"] == "piqa" and row["metric"] == "accuracy"}
    assert both["all"]["value"] == pytest.approx((both["harness"]["value"] + both["bare"]["value"]) / 2)
    assert both["all"]["templates_deviation"] is not None and both["bare"]["templates_deviation"] is None
    assert both["harness"]["n"] == 13 and both["harness"]["skipped"] == 1 and both["harness"]["cut"] >= 1


def test_what_is_kept_of_items_gives_every_row_again(answered):
    out, runs, rows = answered
    run = runs[0].config
    items = storage.read_table(Places(out).items(run.subset, "tiny-64-0.01", run.replicate, "lambada"))
    told = {
        row["metric"]: row["value"]
        for row in rows
        if row["task"] == "lambada"
        and row["subset"] == run.subset
        and row["replicate"] == run.replicate
        and row["template"] == "all"
    }
    nats = np.array([one[0] for one in items["nats"].to_pylist()])
    assert told["bits_per_byte"] == pytest.approx(np.mean(nats / np.log(2) / items["bytes"].to_numpy()))
    assert told["probability_per_character"] == pytest.approx(np.mean(np.exp(-nats / items["characters"].to_numpy())))


def test_the_benchmarks_hash_and_what_tells_levels_apart_are_kept(answered, bench):
    out, _, rows = answered
    facts = storage.read_json(Places(out).task_facts)
    digest = sha256_of(bench / "piqa.jsonl.gz")
    assert facts["piqa"]["sha256"] == digest and {row["benchmark_sha256"] for row in rows if row["task"] == "piqa"} == {
        digest
    }
    found = facts["piqa"]["by_model"]["tiny-64-0.01"]
    assert found["levels"] == ["unfiltered", "word_count-min-5"] and found["replicates"] == [0, 1]
    assert found["skipped"] == {"an answer is longer than the model's context": 2}  # of each template
    assert found["bits_per_byte"]["ratio"] == pytest.approx(
        found["bits_per_byte"]["signal"]
        / np.hypot(found["bits_per_byte"]["replicates"], found["bits_per_byte"]["templates"])
    )


def test_what_a_subset_holds_of_a_benchmark_stands_beside_its_score(trained, bench, here, monkeypatch):
    out, runs = trained
    asked = experiment(out, bench, ["lambada"])
    signals = {"contamination": {"benchmarks": [str(bench / "lambada_openai.jsonl.gz")]}}
    asked = Experiment.model_validate(asked.model_dump(by_alias=True, exclude_unset=True) | {"signals": signals})

    def held(_, columns, subsets):
        return {column: dict.fromkeys(subsets, 0.25) for column in columns}

    monkeypatch.setattr(tasks, "contaminated", held)
    assert {row["contaminated"] for row in evaluate_tasks(asked, runs[:1], 32)} == {0.25}
    assert storage.read_json(Places(out).task_facts)["lambada"]["contaminated"] == {"unfiltered": 0.25}


def test_a_task_that_is_added_asks_no_other_again(answered, bench, monkeypatch):
    out, runs, _ = answered
    begun = []
    monkeypatch.setattr(tasks, "carry_out", lambda work, runs, _: begun.extend(runs))
    evaluate_tasks(experiment(out, bench), runs, 32)
    assert begun == []
    with pytest.raises(FileNotFoundError):  # nobody answers here
        evaluate_tasks(experiment(out, bench, verdict_tasks=[{"arc_easy": "bare"}]), runs, 32)
    assert [[file.name for file, *_ in one.files] for one in begun] == [["arc_easy.parquet"]] * 4


def test_a_file_that_is_not_there_leaves_its_task_out_with_a_count_and_a_reason(trained, bench, here, capsys):
    out, runs = trained
    rows = evaluate_tasks(experiment(out, bench, ["boolq", "lambada"]), runs[:1], 32)
    assert {row["task"] for row in rows} == {"lambada"}
    why = f"there is no file {bench / 'boolq.jsonl.gz'}"
    assert f"evaluate: 1 of 2 tasks are left out: boolq: {why}\n" in capsys.readouterr().out
    assert storage.read_json(Places(out).task_facts)["boolq"] == {"role": "tasks", "missing": why}
    assert evaluate_tasks(experiment(out, bench / "none", ["copa"]), runs[:1], 32) == []
    assert list(storage.read_json(Places(out).task_facts)) == ["copa"]


def test_a_file_that_changed_is_refused_by_its_hash(trained, bench, here, tmp_path):
    out, runs = trained
    file = tmp_path / "copa.jsonl.gz"
    row = {"query": "It rained, because", "choices": ["warm bread", "rain"], "gold": 0}
    for gold in (0, 1):
        file.write_bytes(gzip.compress((json.dumps(row | {"gold": gold}) + "\n").encode()))
        if not gold:
            evaluate_tasks(experiment(out, tmp_path, ["copa"]), runs[:1], 32)
    with pytest.raises(ExperimentError, match=r"copa.parquet was made by another configuration: sha256 .* --redo evaluate"):
        evaluate_tasks(experiment(out, tmp_path, ["copa"]), runs[:1], 32)


def test_packed_tasks_need_their_files_no_more(trained, bench, here, tmp_path):
    out, runs = trained
    file = tmp_path / "openbook_qa.jsonl.gz"
    row = {"query": "Rain is", "choices": ["cold", "warm bread"], "gold": 0}
    file.write_bytes(gzip.compress((json.dumps(row) + "\n").encode()))
    before = evaluate_tasks(experiment(out, tmp_path, ["openbookqa"]), runs[:1], 32)
    file.unlink()
    assert evaluate_tasks(experiment(out, tmp_path, ["openbookqa"]), runs[:1], 32) == before


def test_a_task_of_the_hub_that_cannot_be_read_is_one_sentence(trained, bench, here, monkeypatch):
    out, runs = trained

    def load(names):
        raise ConnectionError("no network\nmore")

    monkeypatch.setattr("lm_eval.tasks.TaskManager", lambda: SimpleNamespace(load=load))
    sentence = r"^evaluate.tasks: lm-eval's task 'sciq' cannot be read from the hub: no network$"
    with pytest.raises(ExperimentError, match=sentence):
        evaluate_tasks(experiment(out, bench, [{"hub": "sciq"}]), runs[:1], 32)


def test_a_task_of_the_hub_is_asked_as_lm_eval_asks_it(trained, bench, here, monkeypatch):
    out, runs = trained
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    docs = [{"text": f"the old boat {word}", "options": ["rain", "bread"], "label": at % 2} for at, word in enumerate(WORDS)]
    config = {"task": "boats", "output_type": "multiple_choice", "test_split": "test", "doc_to_text": "text"}
    config |= {"doc_to_choice": "options", "doc_to_target": "label", "metric_list": [{"metric": "acc"}]}
    task = ConfigurableTask(config=config | {"custom_dataset": lambda **_: {"test": Dataset.from_list(docs)}})
    loaded = {"tasks": {"boats": task}}
    monkeypatch.setattr("lm_eval.tasks.TaskManager", lambda: SimpleNamespace(load=lambda names: loaded))
    rows = evaluate_tasks(experiment(out, bench, [{"hub": "boats"}], items=7), runs[:1], 32)
    assert {(row["task"], row["template"], row["n"], row["benchmark"]) for row in rows} == {
        ("boats", template, 7, "hub: boats") for template in ("harness", "all")
    }
