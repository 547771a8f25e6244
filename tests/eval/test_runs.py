"""A plan is carried out on a machine without Spark, and what is no plan is refused in a sentence."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval import runs
from eval.checkpoints import canonical
from eval.evaluation import MADE_BY, measured_elsewhere
from eval.gpt import load_model
from eval.packed import Stream, write_packed
from eval.plan import EVALUATED, Plan, RunConfig, items, read_plan, requests, write_plan
from eval.sizes import ModelSize
from eval.slices import EVERY, slices_under
from eval.tasks.answers import OtherAnswers, unanswered
from eval.tasks.requests import Request, encoded
from eval.tokenizer import encode_batch, load_tokenizer, tokenizer_digest, train_tokenizer
from eval.training import finished_run
from filters.files import sha256_of
from jobs.train import finished

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = ModelSize(1, 16, 2, 32, 32, 128, 1e-2, 0.1, 0.1)
TOKENS = 12 * 128
ABSENT = ("pyspark", "py4j", "numba", "pydantic", "xxhash", "fasttext", "s3fs", "resiliparse", "fastwarc", "jobs")
"""What a machine for training need not have."""


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Path:
    """Two subsets in two replicates, and pages to measure them on."""
    folder = tmp_path_factory.mktemp("home") / "packed"
    texts = [f"Page {i} says that the {i % 7}th cat sat on the {i % 5}th mat." for i in range(120)]
    train_tokenizer(texts, 280, folder.parent / "tokenizer")
    tokenizer, digest = load_tokenizer(folder.parent / "tokenizer"), tokenizer_digest(folder.parent / "tokenizer")
    found = []
    for subset, part in {"all": texts, "odd": texts[1::2]}.items():
        for replicate in (0, 1):
            flat, ends = encode_batch(tokenizer, part)
            lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(flat, pa.uint32()))
            pages = pa.table({"id": part, "id_hash": pa.array(range(len(part)), pa.uint64()), "tokens": lists})
            slices = slices_under(pages, EVERY, SIZE.context, replicate)
            stream = Stream(SIZE.context, replicate, "fixed_pool", TOKENS + 1, pool=len(flat) + len(slices))
            packed = folder / subset / f"{SIZE.context}-{replicate}.bin"
            vocabulary = tokenizer.get_vocab_size()
            write_packed([slices], packed, stream, vocabulary=vocabulary, end_of_text=0, tokenizer=digest)
            out = folder.parent / "runs" / subset / "tiny-1536-0.01" / str(replicate)
            found.append(RunConfig(subset, packed, folder.parent / "tokenizer", "tiny", SIZE, TOKENS, replicate, out))
    flat, ends = encode_batch(tokenizer, texts[:9])
    lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(flat, pa.uint32()))
    sets = {"set": ["held_out"] * 6 + ["reference"] * 3, "passes": [True] * 5 + [False] + [True] * 3}
    pq.write_table(pa.table({"id": texts[:9], **sets, "tokens": lists}), folder / EVALUATED)
    asked = [Request(f"line {at}", None, choice, 0, "The cat sat", f" on {at}", 5) for at in range(5) for choice in (0, 1)]
    (folder / "tasks").mkdir()
    pq.write_table(encoded(tokenizer, "harness", asked, SIZE.context), requests(folder, "cats"))
    write_plan(folder, Plan(found, "cpu", ["cats"], ["odd"]), folder.parent / "tokenizer", {"goodhart": "0.1"})
    return folder


@pytest.fixture
def copy(plan, tmp_path) -> Path:
    return Path(shutil.copytree(plan, tmp_path / "elsewhere"))


def carried_out(copy, tmp_path, *options):
    """In a process, and its processes, that find none of what is absent."""
    (tmp_path / "bare").mkdir(exist_ok=True)
    absent = f"import os, sys\nsys.modules.update(dict.fromkeys({ABSENT}))\n"
    one_core = "os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])\n"  # each process costs seconds of imports
    (tmp_path / "bare" / "sitecustomize.py").write_text(absent + one_core)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "bare"), str(REPOSITORY)])}
    command = [sys.executable, "-m", "eval.runs", str(copy), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_machine_without_spark_trains_measures_and_asks_and_the_results_go_home_by_copying(plan, copy, tmp_path):
    said = carried_out(copy, tmp_path)
    assert said.returncode == 0, said.stderr
    assert "runs: 4 in all; 0 done, 4 to train and measure on cpu" in said.stdout
    assert f"all are done; copy {copy / 'runs'} and {copy / 'results'} into out:" in said.stdout
    home = plan.parent / "runs"
    shutil.copytree(copy / "runs", home)
    try:
        for away in read_plan(copy)[0]:
            run = replace(away, out=home / away.out.relative_to(copy / "runs"), packed=plan / away.packed.relative_to(copy))
            summary = finished_run(replace(run, tokenizer=plan.parent / "tokenizer"))
            assert summary.status == "finished" and summary.tokens == TOKENS
            rows = pq.read_table(run.out / "evaluation.parquet")
            assert rows.num_rows == 9 and min(rows["nll"].to_pylist()) > 0
            exposed = pq.read_table(run.out / "exposure.parquet")
            assert sum(exposed["seen"].to_pylist()) == TOKENS + 1 and exposed.num_rows == 280
            judged = sum(rows["nll"].to_pylist()[:5])  # the sixth does not pass, the others are of another set
            assert sum(exposed["nats"].to_pylist()) == pytest.approx(judged)
            answers = items(copy, away, "cats")
            assert answers.is_file() == (run.subset == "odd")
            assert run.subset != "odd" or min(pq.read_table(answers)["bits_per_byte"].to_pylist()) > 0
            _weights_may_stay(replace(run, tokenizer=plan.parent / "tokenizer"), summary)
    finally:
        shutil.rmtree(home)
    before = {file: file.stat().st_mtime_ns for file in copy.rglob("*") if file.is_file()}
    assert runs.main([str(copy)], say=lambda _: None) == 0
    assert {file: file.stat().st_mtime_ns for file in copy.rglob("*") if file.is_file()} == before


def _weights_may_stay(run, summary):
    """A run that was measured is done without its weights; damaged weights, or costs of other ones, are no such thing."""
    weights, costs = run.out / "model.safetensors", run.out / "evaluation.parquet"
    kept = weights.read_bytes()
    assert measured_elsewhere(run) is None and finished(run) == summary
    weights.write_bytes(kept[:-1])
    assert measured_elsewhere(run) is None and finished(run) is None
    weights.unlink()
    assert finished_run(run) is None and measured_elsewhere(run) == finished(run) == summary
    with pytest.raises(ValueError, match="bring it from where it was trained, or delete that folder"):
        load_model(run.out)
    rows = pq.read_table(costs)
    pq.write_table(rows.replace_schema_metadata({MADE_BY: canonical({"model": "another", "pages": ""})}), costs)
    assert measured_elsewhere(run) is None
    pq.write_table(rows.replace_schema_metadata({}), costs)
    assert measured_elsewhere(run) is None
    costs.unlink()
    assert measured_elsewhere(run) is None


def changed(copy, **changes):
    told = json.loads((copy / "plan.json").read_text())
    (copy / "plan.json").write_text(json.dumps(told | changes))


def refusal(copy, capsys):
    assert runs.main([str(copy)]) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    return sentence


def test_a_plan_of_another_version_is_refused_in_a_sentence(copy, capsys):
    changed(copy, version=1)
    said = refusal(copy, capsys)
    assert "is of version 1 (made with goodhart 0.1), and this code carries out version 3: take" in said


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": 3, "device": "cpu", "runs": [1]}', '{"version": 3, "runs": {}}']
)
def test_what_is_no_plan_is_refused_in_a_sentence(copy, capsys, content):
    (copy / "plan.json").write_text(content)
    assert "plan.json is no plan (" in refusal(copy, capsys)


def test_a_folder_without_a_plan_is_told_what_a_plan_is(tmp_path, capsys):
    assert "a plan is the folder packed/ that jobs.pack leaves" in refusal(tmp_path, capsys)


@pytest.mark.parametrize("name", ["/etc/x", "../x"])
def test_a_plan_names_no_file_outside_its_folder(copy, capsys, name):
    told = json.loads((copy / "plan.json").read_text())
    told["runs"][0]["out"] = name
    changed(copy, runs=told["runs"])
    assert f"names {name}, which is not in its folder" in refusal(copy, capsys)


@pytest.mark.parametrize("name", ["../cats", "deep/cats"])
def test_a_task_of_a_plan_has_a_plain_name(copy, capsys, name):
    changed(copy, tasks=[name])
    assert "run jobs.pack again" in refusal(copy, capsys)


def test_answers_of_another_model_are_refused_and_not_asked_again(copy):
    """What is asked once is not asked again: a task that decides would be looked at twice."""
    run = next(run for run in read_plan(copy).runs if run.subset == "odd")
    file, asked = items(copy, run, "cats"), {"cats": requests(copy, "cats")}
    file.parent.mkdir(parents=True)
    told = {b"made_by": canonical({"model": "another", "requests": sha256_of(asked["cats"])})}
    pq.write_table(pa.table({"item": ["line 1"]}).replace_schema_metadata(told), file)
    with pytest.raises(OtherAnswers, match=r"cats.parquet was made of another model: remove it to ask again"):
        unanswered(run, "this one", asked, lambda task: items(copy, run, task))
    assert unanswered(run, "another", asked, lambda task: items(copy, run, task)) is None
    file.write_bytes(b"cut short")
    assert unanswered(run, "another", asked, lambda task: items(copy, run, task)).files[0][1] == file


def test_a_stream_that_was_cut_on_the_way_is_refused_before_anything_runs(copy, capsys):
    stream = copy / "odd" / "32-1.bin"
    stream.write_bytes(stream.read_bytes()[:-2])
    assert "32-1.bin has " in (said := refusal(copy, capsys)) and "its header says" in said


def test_each_gpu_that_is_shown_has_a_process_and_the_bar_knows_their_peak(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(runs.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(runs.torch.cuda, "get_device_name", lambda at: ["NVIDIA H100 80GB HBM3", "NVIDIA A100"][at])
    found = runs.slots("cuda")
    assert found.environments == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    assert found.peak == 989e12 + 312e12
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-3")
    monkeypatch.setattr(runs.torch.cuda, "get_device_name", lambda at: ["NVIDIA H100 80GB HBM3", "another"][at])
    found = runs.slots("cuda")
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found.environments] == ["5", "GPU-3"] and found.peak is None


def test_small_models_share_a_gpu_and_large_ones_have_it_alone(copy, monkeypatch):
    """What one process cannot keep at work, several do: as many as fit into a step that does, never more than cores."""
    monkeypatch.setattr(runs.os, "sched_getaffinity", lambda _: range(16))
    plan = read_plan(copy).runs
    assert runs.a_gpu([], 1) == 1 and runs.a_gpu(plan, 1) == 8 and runs.a_gpu(plan, 4) == 4
    batch = plan[0].size.batch_tokens
    for operations, processes in [(runs.BUSY_STEP, 1), (runs.BUSY_STEP / 3, 3), (9 * runs.BUSY_STEP, 1)]:
        monkeypatch.setattr(runs, "flops", lambda _, operations=operations: operations / batch)
        assert runs.a_gpu(plan[:1], 1) == processes
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(runs.torch.cuda, "get_device_name", lambda at: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(runs, "flops", lambda _: runs.BUSY_STEP / 2 / batch)
    found = runs.slots("cuda", plan[:1])
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found.environments] == ["0", "1", "0", "1"] and found.peak == 2 * 989e12


def test_a_gpu_that_is_asked_for_and_not_there_is_refused_in_a_sentence(copy, capsys, monkeypatch):
    monkeypatch.setattr(runs.torch.cuda, "is_available", lambda: False)
    changed(copy, device="cuda")
    assert "train.device is cuda, but torch sees no GPU: use auto or cpu" in refusal(copy, capsys)
    assert [runs.device_here(asked) for asked in ("auto", "cpu")] == ["cpu", "cpu"]
    monkeypatch.setattr(runs.torch.cuda, "is_available", lambda: True)
    assert [runs.device_here(asked) for asked in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]
