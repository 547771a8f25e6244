"""A run gives the same bits however often it was killed, refuses what is not its own, and says when it diverged."""

import fcntl
import gc
import hashlib
import itertools
import json
import math
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import eval.training
from eval.checkpoints import canonical
from eval.gpt import Loss, build_model, load_model
from eval.packed import Batches, Packed, Stream, write_packed
from eval.plan import RunConfig
from eval.side_by_side import ProcessSpoilt
from eval.sizes import ModelSize
from eval.slices import EVERY, slices_under
from eval.tokenizer import encode_batch, end_of_text, load_tokenizer, tokenizer_digest, train_tokenizer
from eval.trainer import learning_rate
from eval.training import RunBusy, RunMismatch, finished_run, run_identity, run_key, train_run
from filters.files import sha256_of

SIZE = ModelSize(
    layers=2,
    width=16,
    heads=2,
    feed_forward=48,
    context=32,
    batch_tokens=128,
    learning_rate=1e-2,
    warmup=0.1,
    weight_decay=0.1,
)
STEPS = 24


class Killed(Exception):
    """Stands for a signal that ends the process."""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    texts = [f"Page {i} says that the {i % 7}th cat sat on the {i % 5}th mat." for i in range(200)]
    train_tokenizer(texts, 300, folder / "tokenizer")
    for name, part, replicate in [("all", texts, 0), ("odd", texts[1::2], 0), ("other", texts, 1)]:
        pack(part, replicate, folder / f"{name}.bin", folder / "tokenizer")
    return folder


def pack(texts, replicate, path, tokenizer_at, budget=STEPS * SIZE.batch_tokens):
    tokenizer = load_tokenizer(tokenizer_at)
    flat, offsets = encode_batch(tokenizer, texts)
    tokens = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(flat, pa.uint32()))
    pages = pa.table({"id": texts, "id_hash": pa.array(range(len(texts)), pa.uint64()), "tokens": tokens})
    slices = slices_under(pages, EVERY, SIZE.context, replicate)
    write_packed(
        [slices],
        path,
        Stream(SIZE.context, replicate, "fixed_pool", budget + 1, pool=len(flat) + len(slices)),
        vocabulary=tokenizer.get_vocab_size(),
        end_of_text=end_of_text(tokenizer),
        tokenizer=tokenizer_digest(tokenizer_at),
    )


@pytest.fixture
def config(data, tmp_path) -> RunConfig:
    return RunConfig(
        subset="all",
        packed=data / "all.bin",
        tokenizer=data / "tokenizer",
        model="tiny",
        size=SIZE,
        tokens=STEPS * SIZE.batch_tokens,
        replicate=0,
        out=tmp_path / "runs" / "all" / "0",
        checkpoint_seconds=0.0,
        log_every=3,
    )


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    config = RunConfig(
        "all", data / "all.bin", data / "tokenizer", "tiny", SIZE, STEPS * SIZE.batch_tokens, 0, out, log_every=3
    )
    return train_run(config), out


def stop_at(step):
    def progress(done, steps, loss):
        if done >= step:
            raise Killed

    return progress


def rows(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in lines]


def test_a_run_learns_and_leaves_what_it_promises(uninterrupted):
    summary, out = uninterrupted
    assert summary.status == "finished" and summary.steps == STEPS and summary.tokens == STEPS * 128
    assert summary.parameters == SIZE.parameters(300)
    assert summary.loss < math.log(300) - 0.3
    assert summary.model_sha256 == sha256_of(out / "model.safetensors")
    assert [row["step"] for row in rows(out)] == list(range(3, STEPS + 1, 3))
    assert [row["tokens"] for row in rows(out)] == [128 * step for step in range(3, STEPS + 1, 3)]
    assert [row["learning_rate"] for row in rows(out)] == [
        learning_rate(step - 1, STEPS, SIZE) for step in range(3, STEPS + 1, 3)
    ]
    names = (
        "config.yaml config.json generation_config.json tokenizer.json tokenizer_config.json metrics.jsonl model.safetensors"
    )
    assert {path.name for path in out.iterdir()} == {*names.split(), "summary.json", "late", ".lock"}


def test_a_run_says_what_it_was_made_from(uninterrupted, data):
    summary, out = uninterrupted
    config = RunConfig("all", data / "all.bin", data / "tokenizer", "tiny", SIZE, STEPS * SIZE.batch_tokens, 0, out)
    told = yaml.safe_load((out / "config.yaml").read_text())
    assert list(told) == ["key", "identity", "subset", "replicate", "model", "tokens", "device", "packed", "versions"]
    assert (told["key"], told["identity"]) == (run_key(config), run_identity(config)) and told["key"] == summary.key
    assert (told["subset"], told["device"], told["packed"]["tokenizer"]) == (
        "all",
        "cpu",
        tokenizer_digest(data / "tokenizer"),
    )
    assert json.loads((out / "summary.json").read_text()) == asdict(summary)
    assert summary.kind_of_device == "cpu" and replace(summary, device="cuda:1 (Tesla: A B)").kind_of_device == "cuda"


def test_a_run_is_as_fast_as_its_clock_says_and_saves_when_the_time_has_come(config, monkeypatch):
    """Each look at the clock takes two seconds: one before a round, one behind it, one to see whether it is time."""
    saved, losses, clock, plain = [], [], itertools.count(0.0, 2.0), eval.training.judged
    monkeypatch.setattr(eval.training, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(eval.training, "save_checkpoint", lambda _, key, state, *__: saved.append((key, state.step)))
    monkeypatch.setattr(
        eval.training, "judged", lambda state, values: (losses.extend(loss for loss, _ in values), plain(state, values))[1]
    )
    pushed, plain_fsync = set(), os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (pushed.add(os.fstat(handle).st_ino), plain_fsync(handle)))
    torch.set_num_threads(2)
    summary = train_run(replace(config, checkpoint_seconds=10.0))
    assert torch.get_num_threads() == 1
    assert saved == [(f"{summary.key} on cpu", step) for step in (6, 12, 18)]
    assert (summary.seconds, summary.tokens_per_second) == (2.0 * 8, STEPS * 128 / 16.0)
    told = [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]
    assert [row["tokens_per_second"] for row in told] == [3 * 128 / 2.0] * 8
    means = [sum(losses[end - 3 : end]) / 3 for end in range(3, STEPS + 1, 3)]
    assert [row["loss"] for row in told] == pytest.approx(means) and summary.loss == pytest.approx(means[-1])
    assert {path.stat().st_ino for path in config.out.glob("*.safetensors")} <= pushed


def test_a_run_that_ends_more_than_a_nat_worse_than_guessing_is_diverged(config, data):
    guessing = math.log(300)
    trainer = eval.training._Trainer(config, "key", Batches(Packed.open(data / "all.bin"), SIZE.batch, config.tokens))
    trainer.state.step = STEPS
    trainer.state.recent = [9.0, guessing + 0.9, guessing + 0.9, guessing + 0.9]
    assert trainer.train(None) is None
    trainer.state.recent = [0.0, guessing + 1.1, guessing + 1.1, guessing + 1.1]
    assert (
        trainer.train(None) == f"the last losses ({guessing + 1.1:.2f} nats) are a nat worse than guessing ({guessing:.2f})"
    )
    trainer.state.recent = []
    assert math.isnan(trainer.recent_loss())


@pytest.mark.parametrize(("card", "share"), [("NVIDIA H100 80GB HBM3", 1000 * SIZE.flops(300) / 989e12), ("another", None)])
def test_on_a_gpu_a_row_says_how_much_of_its_arithmetic_was_used(config, data, monkeypatch, card, share):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: card)
    trainer = eval.training._Trainer(config, "key", Batches(Packed.open(data / "all.bin"), SIZE.batch, config.tokens))
    trainer.config = replace(config, device="cuda:0")
    trainer.state.step = 3
    trainer.write_row(1000.0)
    assert rows(config.out)[-1]["flop_utilisation"] == (None if share is None else pytest.approx(share))
    assert eval.training._device_name("cuda:0") == f"cuda:0 ({card})" and eval.training._device_name("cpu") == "cpu"


def test_a_model_can_be_read_by_whom_the_umask_lets_read(config):
    before = os.umask(0o027)
    try:
        train_run(config)
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in config.out.iterdir() if file.is_file()} == {0o640}


def test_hugging_face_loads_a_finished_run(uninterrupted):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _, out = uninterrupted
    model = AutoModelForCausalLM.from_pretrained(out, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(out, local_files_only=True)
    ids = tokenizer("The cat sat", return_tensors="pt").input_ids
    assert model(input_ids=ids).logits.shape == (1, ids.shape[1], 300)
    assert torch.equal(load_model(out).lm_head.weight, model.lm_head.weight)
    trained, first = load_file(out / "model.safetensors"), build_model(SIZE, 300, 0, seed=0)
    assert not torch.equal(trained["model.norm.weight"], first.model.norm.weight)


@pytest.mark.parametrize("steps", [[3], [6], [12, 21], [24]])
def test_a_killed_and_resumed_run_has_the_same_bits(config, uninterrupted, steps):
    for step in steps:
        with pytest.raises(Killed):
            train_run(config, stop_at(step))
    assert (config.out / "checkpoints").exists() == (steps != [3])
    resumed = train_run(config)
    assert not (config.out / "checkpoints").exists()
    assert resumed.model_sha256 == uninterrupted[0].model_sha256
    assert rows(config.out) == rows(uninterrupted[1])


def test_a_run_of_a_thousand_steps_that_is_killed_between_checkpoints_has_the_same_bits(config, data, tmp_path):
    """Checkpoints by the clock: which steps they stand at is left to chance, and so is what the killed run loses."""
    size = replace(SIZE, layers=1, batch_tokens=SIZE.context)
    texts = [f"Page {i} says that the {i % 7}th cat sat on the {i % 5}th mat." for i in range(200)]
    pack(texts, 0, tmp_path / "long.bin", data / "tokenizer", budget=1000 * size.batch_tokens)
    config = replace(config, packed=tmp_path / "long.bin", size=size, tokens=1000 * size.batch_tokens, log_every=10)
    whole = train_run(replace(config, out=tmp_path / "whole"))
    killed = replace(config, checkpoint_seconds=0.3)
    for step in (470, 810):
        with pytest.raises(Killed):
            train_run(killed, stop_at(step))
    assert train_run(killed).model_sha256 == whole.model_sha256
    assert rows(killed.out) == rows(tmp_path / "whole")


def test_a_run_that_was_really_killed_has_the_same_bits(config, uninterrupted, tmp_path):
    script = tmp_path / "child.py"
    script.write_text(
        "import os, signal, sys\nfrom eval.training import train_run\nfrom pathlib import PosixPath\n"
        "from eval.plan import RunConfig\nfrom eval.sizes import ModelSize\n"
        f"train_run({config!r}, lambda done, steps, loss: os.kill(os.getpid(), signal.SIGKILL) if done == 12 else None)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, str(script)], env=environment).returncode == -signal.SIGKILL
    assert sorted(p.name for p in (config.out / "checkpoints").iterdir()) == ["step-00000006", "step-00000009"]
    assert train_run(config).model_sha256 == uninterrupted[0].model_sha256


def test_a_run_can_be_sent_to_a_process_of_its_own(config):
    assert pickle.loads(pickle.dumps((train_run, config))) == (train_run, config)  # noqa: S301


def damage(checkpoint: Path, how: str) -> None:
    weights = checkpoint / "weights.safetensors"
    if how == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    if how == "flipped":
        content = bytearray(weights.read_bytes())
        content[-5] ^= 64
        weights.write_bytes(content)
    if how == "no state":
        (checkpoint / "state.json").unlink()
    if how == "other step":
        state = checkpoint / "state.json"
        state.write_text(state.read_text().replace('"step": 9', '"step": 11'))


@pytest.mark.parametrize("how", ["cut", "flipped", "no state", "other step"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(config, uninterrupted, how, caplog):
    with pytest.raises(Killed):
        train_run(config, stop_at(12))
    damage(config.out / "checkpoints" / "step-00000009", how)
    assert train_run(config).model_sha256 == uninterrupted[0].model_sha256
    assert "step-00000009 is passed over" in caplog.text


def test_weights_that_are_no_numbers_are_passed_over_even_with_the_right_checksum(config, uninterrupted):
    with pytest.raises(Killed):
        train_run(config, stop_at(12))
    newest = config.out / "checkpoints" / "step-00000009"
    weights = load_file(newest / "weights.safetensors")
    weights["model.norm.weight"][0] = math.nan
    save_file(weights, newest / "weights.safetensors")
    state = json.loads((newest / "state.json").read_text())["state"]
    state["sha256"]["weights.safetensors"] = sha256_of(newest / "weights.safetensors")
    outer = {"state": state, "sha256": hashlib.sha256(canonical(state)).hexdigest()}
    (newest / "state.json").write_text(json.dumps(outer))
    assert train_run(config).model_sha256 == uninterrupted[0].model_sha256


def test_a_finished_run_is_not_trained_again(config, monkeypatch):
    first = train_run(config)
    monkeypatch.setattr(eval.training, "build_model", None)
    assert train_run(config) == finished_run(config) == first


def test_a_finished_run_whose_model_was_damaged_is_trained_again(config):
    first = train_run(config)
    model = config.out / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    assert finished_run(config) is None
    model.unlink()
    assert finished_run(config) is None
    assert train_run(config).model_sha256 == first.model_sha256
    (config.out / "config.yaml").unlink()
    assert finished_run(replace(config, tokens=config.tokens - SIZE.batch_tokens)) is None


@pytest.mark.parametrize("content", ["[1, 2", "{}", "key: 1", "- 1"])
def test_a_folder_whose_config_cannot_be_read_is_refused(config, content):
    config.out.mkdir(parents=True)
    (config.out / "config.yaml").write_text(content)
    with pytest.raises(RunMismatch, match=r"config.yaml cannot be read .*; delete .* and train again"):
        finished_run(config)


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_of_another_config_is_refused_with_the_keys_that_changed(config, finished):
    if finished:
        train_run(config)
    else:
        with pytest.raises(Killed):
            train_run(config, stop_at(6))
    other = replace(config, tokens=config.tokens - SIZE.batch_tokens)
    with pytest.raises(RunMismatch, match="tokens was 3,072 and is 2,944; delete that folder"):
        train_run(other)


def test_what_does_not_decide_the_weights_does_not_change_the_key(config, data):
    assert run_key(config) == run_key(replace(config, log_every=7, checkpoint_seconds=1, out=data, device="cuda"))
    changes = [{"tokens": 256}, {"size": replace(SIZE, learning_rate=1e-3)}]
    changes += [{"packed": data / "odd.bin"}, {"packed": data / "other.bin", "replicate": 1}]
    assert len({run_key(replace(config, **change)) for change in changes} | {run_key(config)}) == 5


def test_subsets_start_from_the_same_weights_and_replicates_do_not(config, data, monkeypatch):
    starts = []
    monkeypatch.setattr(
        eval.training._Trainer, "train", lambda self, _: starts.append(next(self.steps.model.parameters())[0, 0].item())
    )
    for i, change in enumerate([{}, {"packed": data / "odd.bin"}, {"packed": data / "other.bin", "replicate": 1}]):
        train_run(replace(config, out=config.out / str(i), tokens=1280, **change))
    assert starts[0] == starts[1] != starts[2]


@pytest.mark.parametrize("bad_step", [5, 24])
def test_a_loss_that_is_no_number_ends_the_run_as_diverged(config, monkeypatch, bad_step):
    calls = []

    def poisoned(self, model, inputs, targets):
        calls.append(1)
        return plain(self, model, inputs, targets) * (math.nan if len(calls) == bad_step else 1.0)

    plain = Loss.__call__
    monkeypatch.setattr(Loss, "__call__", poisoned)
    summary = train_run(config)
    assert summary.status == "diverged" and f"step {bad_step}: loss nan" in summary.reason
    assert summary.steps == bad_step and summary.model_sha256 is None
    assert not (config.out / "model.safetensors").exists() and not (config.out / "late").exists()
    again = finished_run(config)
    assert again.status == "diverged" and again.loss == pytest.approx(summary.loss, nan_ok=True)
    told = config.out / "summary.json"
    told.write_text(json.dumps(json.loads(told.read_text()) | {"loss": None}))
    assert math.isnan(finished_run(config).loss)


def test_a_mad_learning_rate_is_called_diverged(config):
    summary = train_run(replace(config, size=replace(SIZE, learning_rate=1e3, warmup=0.0)))
    assert summary.status == "diverged"


def test_a_second_process_on_the_same_run_is_turned_away(config):
    config.out.mkdir(parents=True)
    with (config.out / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        opened = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(RunBusy, match="another process is training"):
            train_run(config)
        gc.collect()
        assert len(list(Path("/proc/self/fd").iterdir())) <= opened


def test_tokens_of_another_tokenizer_are_refused(config, tmp_path):
    train_tokenizer(["other text"], 280, tmp_path / "other")
    with pytest.raises(ValueError, match=r"was made with tokenizer .* run jobs\.pack again"):
        train_run(replace(config, tokenizer=tmp_path / "other"))


def test_tokens_cut_for_another_context_or_replicate_are_refused(config):
    with pytest.raises(ValueError, match="for context 32 and replicate 0, the run has context 32 and replicate 1; run jobs"):
        train_run(replace(config, replicate=1))
    with pytest.raises(ValueError, match="the run has context 64 and replicate 0"):
        train_run(replace(config, size=replace(SIZE, context=64)))


def test_a_run_says_how_often_it_went_round(uninterrupted, data):
    header = Packed.open(data / "all.bin").header
    assert uninterrupted[0].epochs == STEPS * SIZE.batch_tokens / header.pool
    assert uninterrupted[0].regime == "fixed_pool"


def test_damaged_tokens_are_refused_before_training(config, data, tmp_path):
    for suffix in (".bin", ".json"):
        (tmp_path / f"all{suffix}").write_bytes((data / f"all{suffix}").read_bytes())
    content = bytearray((tmp_path / "all.bin").read_bytes())
    content[0] ^= 1
    (tmp_path / "all.bin").write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        train_run(replace(config, packed=tmp_path / "all.bin"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named(config):
    with pytest.raises(ValueError, match="torch finds no GPU"):
        train_run(replace(config, device="cuda"))


def test_short_gpu_memory_halves_the_pieces_and_keeps_the_batch(config, uninterrupted, monkeypatch):
    short_of_memory(monkeypatch, most=1)
    with pytest.raises(Killed):
        train_run(config, stop_at(12))
    monkeypatch.undo()
    summary = train_run(config)
    assert summary.micro_batch == 1, "a resumed run goes on with the pieces that it had"
    assert summary.loss == pytest.approx(uninterrupted[0].loss, abs=1e-3)


def short_of_memory(monkeypatch, most):
    def short(self, model, inputs, targets):
        if len(inputs) > most:
            raise torch.OutOfMemoryError
        return plain(self, model, inputs, targets)

    plain = Loss.__call__
    monkeypatch.setattr(Loss, "__call__", short)


def test_a_gpu_too_small_for_one_window_is_told_in_a_sentence(config, monkeypatch):
    short_of_memory(monkeypatch, most=0)
    with pytest.raises(ValueError, match="too small for one window of 32 tokens of the model tiny: take a smaller model"):
        train_run(config)


def test_a_gpu_that_is_lost_spoils_its_process_and_the_run_goes_on_in_another(config, uninterrupted, monkeypatch):
    calls = []

    def lost(self, model, inputs, targets):
        calls.append(1)
        if len(calls) == 14:
            raise torch.AcceleratorError("CUDA error: unspecified launch failure\nand advice on many lines")
        return plain(self, model, inputs, targets)

    plain = Loss.__call__
    monkeypatch.setattr(Loss, "__call__", lost)
    with pytest.raises(
        ProcessSpoilt, match=r"\(CUDA error: unspecified launch failure\); the run goes on from its last checkpoint"
    ):
        train_run(config)
    assert train_run(config).model_sha256 == uninterrupted[0].model_sha256
    assert len(calls) == 14 + STEPS - 12


def test_late_weights_are_kept_and_load_as_the_model_does(uninterrupted):
    _, out = uninterrupted
    late = {int(folder.name): load_model(folder).lm_head.weight for folder in (out / "late").iterdir()}
    assert sorted(late) == [round(share * STEPS) for share in eval.training.LATE]
    last = load_model(out).lm_head.weight
    assert len({weight.sum().item() for weight in [*late.values(), last]}) == 4


def test_the_learning_rate_rises_then_falls_to_a_tenth():
    rates = [learning_rate(step, 100, SIZE) for step in range(100)]
    assert rates[0] == pytest.approx(1e-3) and max(rates) == rates[9] == SIZE.learning_rate
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(SIZE.learning_rate / 10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_resumed_gpu_run_goes_on_as_the_one_that_was_not_killed(config):
    """On a GPU bits are not promised, 1e-3 is."""
    whole = train_run(replace(config, device="cuda", out=config.out / "whole"))
    with pytest.raises(Killed):
        train_run(replace(config, device="cuda"), stop_at(3))
    assert train_run(replace(config, device="cuda")).loss == pytest.approx(whole.loss, abs=1e-3)
