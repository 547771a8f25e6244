"""One run: one model size on one subset in one replicate, the same bits every time on a CPU, killed on the way or not.

Runs are compared in pairs, so all that is not the subset is shared: the replicate decides the first weights, the fold of
pages and the order of their slices (`eval.slices`), the same for every subset. A run owns its folder and a lock on it; the
folder's ``config.yaml`` has the run's key, a hash of all that decides its weights, and a run with another key is refused
rather than mixed in.

The learning rate rises over the first steps, then falls along a cosine to a tenth (Hoffmann et al. 2022, section 3.1: the
decay must be as long as the run). A trapezoid would let one run serve several budgets, but here a budget is fixed by the
experiment and the cosine has one number less to choose. For tiny models one torch thread is the fastest; several runs go
side by side, each in a process of its own.

The key says nothing of the device: runs that a GPU made count at home. Checkpoints do not change devices, and
`jobs.evaluate` refuses to set runs of two kinds of device side by side.
"""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
import yaml
from transformers import LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from eval.checkpoints import canonical, restore_checkpoint, save_checkpoint
from eval.gpt import build_model
from eval.packed import Batches, Packed, Regime, read_header
from eval.plan import RunConfig
from eval.tokenizer import tokenizer_digest
from eval.trainer import RECENT_STEPS, DeviceLost, Steps, ahead, free_windows, in_rounds, judged, learning_rate, peak_flops
from filters.differences import differences, told
from filters.files import sha256_of, sync_file, write_whole
from filters.stores import address_of

LATE = (0.85, 0.9, 0.95)
"""Shares of the steps after which weights are kept for evaluation, beside the last: how much a run moves at its end."""

Report = Callable[[int, int, float], None]
"""Called now and then with (steps done, steps in all, recent loss in nats)."""


class RunMismatch(ValueError):
    """The run's folder holds a run made by another config."""


class RunBusy(RuntimeError):
    """Another process is training this run."""


@dataclass(frozen=True)
class RunSummary:
    """summary.json, written last: what a run was and how it ended."""

    subset: str
    replicate: int
    status: Literal["finished", "diverged"]
    """A diverged run has no model and must not be ranked."""
    reason: str | None
    """Why it counts as diverged."""
    key: str
    parameters: int
    vocabulary: int
    steps: int
    tokens: int
    """Targets trained on."""
    regime: Regime
    epochs: float
    """Times the run went through the subset's tokens, of its fold where it has one."""
    loss: float
    """Mean training loss of the last steps, in nats per token; NaN is written as null and read as NaN."""
    seconds: float
    tokens_per_second: float
    micro_batch: int
    """Windows that went through the model together; fewer than the batch when the GPU's memory was short."""
    device: str
    versions: dict[str, str]
    packed_sha256: str
    tokenizer_sha256: str
    model_sha256: str | None

    @property
    def kind_of_device(self) -> str:
        """cpu or cuda."""
        return re.split("[ :]", self.device)[0]


def run_key(config: RunConfig) -> str:
    """SHA-256 of all that decides the weights. Raises ValueError as `run_identity` does."""
    return hashlib.sha256(canonical(run_identity(config))).hexdigest()


def run_identity(config: RunConfig) -> dict[str, Any]:
    """All that decides the weights but the device: tokens and tokenizer by content, size, budget, replicate.

    Raises:
        ValueError: the packed tokens are missing, unfinished or damaged in length, or were made by another tokenizer or for
            another context or replicate.
    """
    header = read_header(config.packed)
    tokenizer = tokenizer_digest(config.tokenizer)
    if header.tokenizer != tokenizer:
        raise ValueError(
            f"{config.packed} was made with tokenizer {header.tokenizer[:12]}, {config.tokenizer} is {tokenizer[:12]}; "
            "run jobs.pack again"
        )
    if (header.context, header.replicate) != (config.size.context, config.replicate):
        raise ValueError(
            f"{config.packed} is for context {header.context} and replicate {header.replicate}, the run has context "
            f"{config.size.context} and replicate {config.replicate}; run jobs.pack again"
        )
    return {
        "size": asdict(config.size),
        "tokens": config.tokens,
        "replicate": config.replicate,
        "packed": header.sha256,
        "vocabulary": header.vocabulary,
        "tokenizer": tokenizer,
    }


def finished_run(config: RunConfig) -> RunSummary | None:
    """The summary of this run if it is done and its model is whole; None if there is training left to do.

    Raises:
        RunMismatch: the folder holds a run with another key.
    """
    summary = trained_run(config)
    model = config.out / "model.safetensors"
    whole = summary and (summary.model_sha256 is None or (model.is_file() and sha256_of(model) == summary.model_sha256))
    return summary if whole else None


def trained_run(config: RunConfig) -> RunSummary | None:
    """The summary of this run if it is done, wherever its weights are. Raises as `finished_run` does."""
    key = run_key(config)
    _refuse_other(config, key)
    try:
        found: dict[str, Any] = json.loads((config.out / "summary.json").read_text(encoding="utf-8"))
        summary = RunSummary(**{**found, "loss": math.nan if found["loss"] is None else found["loss"]})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return summary if summary.key == key else None


def train_run(config: RunConfig, progress: Report | None = None) -> RunSummary:
    """Train one run to its end, from its last checkpoint if it has one; a finished run is returned as it is.

    Leaves config.yaml, metrics.jsonl (one row every ``log_every`` steps), model.safetensors with Hugging Face's config and
    tokenizer files, late/<step>/ with the weights of late steps, and summary.json. The checkpoints go once the summary is
    written. Call it in a process of its own: on a CPU it sets torch to one thread.

    Raises:
        RunMismatch: the folder holds a run made by another config.
        RunBusy: another process is training this run.
        DeviceLost: the GPU failed; the run goes on from its last checkpoint in another process.
        ValueError: the tokens are missing, damaged or too few for the budget, or the GPU too small for one window.
    """
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"train.device is {config.device!r} and torch finds no GPU; use device: cpu")
    done = finished_run(config)
    if done:
        return done
    packed = Packed.open(config.packed)
    packed.verify()
    batches = Batches(packed, config.size.batch, config.tokens)
    with _lock(config.out):
        key = run_key(config)
        _write_config(config, key, packed)
        if config.device == "cpu":
            torch.set_num_threads(1)
        return _trained(config, key, batches, progress)


def _trained(config: RunConfig, key: str, batches: Batches, progress: Report | None) -> RunSummary:
    """The run at its end. What ails a GPU becomes a sentence."""
    try:
        trainer = _Trainer(config, key, batches)
        return trainer.finish(trainer.train(progress))
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"the GPU's memory is too small for one window of {config.size.context} tokens of the model {config.model}: "
            "take a smaller model, or end what else is on that GPU"
        ) from error
    except torch.AcceleratorError as error:
        what = str(error).splitlines()[0]
        raise DeviceLost(
            f"the GPU failed ({what}); the run goes on from its last checkpoint when it is started again"
        ) from error


class _Trainer:
    """The state of a run while it trains: model, optimizer, progress."""

    def __init__(self, config: RunConfig, key: str, batches: Batches) -> None:
        self.config, self.key, self.batches = config, key, batches
        header = batches.packed.header
        model = build_model(config.size, header.vocabulary, header.end_of_text, config.replicate).to(config.device)
        self.steps = Steps(model, config.size, config.device)
        # A run does not change devices: it could not go on exactly.
        self.checkpoint_key = f"{key} on {config.device.split(':')[0]}"
        self.state = restore_checkpoint(self.checkpoints, self.checkpoint_key, model, self.steps.optimizer)
        self.steps.micro = self.state.micro or free_windows(config.size, header.vocabulary, config.device)
        _keep_rows(config.out / "metrics.jsonl", self.state.step)

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.config.out / "checkpoints"

    def train(self, progress: Report | None) -> str | None:
        """Run the remaining steps; the reason if the run diverged."""
        state, last = self.state, self.batches.steps
        batches = ahead(self.batches.from_step(state.step), self.config.device)
        begun = saved = time.perf_counter()
        with contextlib.closing(batches):
            for numbers in in_rounds(state.step, last, self.config.log_every):
                for step, windows in zip(numbers, batches, strict=False):
                    self.steps.step(windows, learning_rate(step, last, self.config.size))
                    self.keep_late(step + 1)
                reason = judged(state, self.steps.read())
                state.micro = self.steps.micro
                lap = time.perf_counter() - begun
                state.seconds += lap
                self.write_row(len(numbers) * self.config.size.batch_tokens / lap)
                if progress:
                    progress(state.step, last, self.recent_loss())
                if reason:
                    return reason
                if time.perf_counter() - saved >= self.config.checkpoint_seconds and state.step < last:
                    save_checkpoint(self.checkpoints, self.checkpoint_key, state, self.steps.model, self.steps.optimizer)
                    saved = time.perf_counter()
                begun = time.perf_counter()
        guessing = math.log(self.batches.packed.header.vocabulary)
        if self.recent_loss() > guessing + 1:
            return f"the last losses ({self.recent_loss():.2f} nats) are a nat worse than guessing ({guessing:.2f})"
        return None

    def keep_late(self, step: int) -> None:
        """Keep the weights after a late step."""
        if step in {round(share * self.batches.steps) for share in LATE}:
            _write_weights(self.steps.model, self.config.out / "late" / str(step))

    def recent_loss(self) -> float:
        """Mean loss of the steps since about the last row of metrics."""
        recent = self.state.recent[-min(self.config.log_every, RECENT_STEPS) :]
        return sum(recent) / len(recent) if recent else math.nan

    def write_row(self, tokens_per_second: float) -> None:
        """Append a row to metrics.jsonl."""
        state, size = self.state, self.config.size
        values = {
            "loss": self.recent_loss(),
            "gradient_norm": state.norm,
            "learning_rate": learning_rate(state.step - 1, self.batches.steps, size),
            "tokens_per_second": tokens_per_second,
        }
        if self.config.device.startswith("cuda"):
            peak = peak_flops(torch.cuda.get_device_name(self.config.device))
            flops = size.flops(self.batches.packed.header.vocabulary)
            values["flop_utilisation"] = tokens_per_second * flops / peak if peak else math.nan
        row = {"step": state.step, "tokens": state.step * size.batch_tokens, **_finite(values)}
        with (self.config.out / "metrics.jsonl").open("ab") as file:
            file.write(canonical(row) + b"\n")

    def finish(self, reason: str | None) -> RunSummary:
        """Write the model unless the run diverged, then the summary; drop the checkpoints."""
        config, header, steps = self.config, self.batches.packed.header, self.state.step
        if reason:
            shutil.rmtree(config.out / "late", ignore_errors=True)
        summary = RunSummary(
            subset=config.subset,
            replicate=config.replicate,
            status="diverged" if reason else "finished",
            reason=reason,
            key=self.key,
            parameters=config.size.parameters(header.vocabulary),
            vocabulary=header.vocabulary,
            steps=steps,
            tokens=steps * config.size.batch_tokens,
            regime=header.regime,
            epochs=steps * config.size.batch_tokens / header.pool,
            loss=self.recent_loss(),
            seconds=self.state.seconds,
            tokens_per_second=steps * config.size.batch_tokens / max(self.state.seconds, 1e-9),
            micro_batch=self.steps.micro,
            device=_device_name(config.device),
            versions=_versions(),
            packed_sha256=header.sha256,
            tokenizer_sha256=header.tokenizer,
            model_sha256=None if reason else _write_model(self.steps.model, config),
        )
        content = {**asdict(summary), **_finite({"loss": summary.loss})}
        write_whole(config.out / "summary.json", json.dumps(content, indent=2, allow_nan=False).encode())
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        return summary


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN and no infinity: they become null."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _keep_rows(path: Path, step: int) -> None:
    """Drop the rows that a killed run wrote after its last checkpoint, and the line it was writing."""
    kept = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if json.loads(line)["step"] <= step:
                kept.append(line + b"\n")
    write_whole(path, b"".join(kept))


def _refuse_other(config: RunConfig, key: str) -> None:
    path = config.out / "config.yaml"
    if not path.is_file():
        return
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        same = found["key"] == key
        changed = told(differences(found["identity"], run_identity(config)))
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise RunMismatch(f"{path} cannot be read ({why}); delete {config.out} and train again") from error
    if not same:
        raise RunMismatch(f"{config.out} holds a run of another configuration: {changed}; delete that folder to train again")


def _write_config(config: RunConfig, key: str, packed: Packed) -> None:
    content = {
        "key": key,
        "identity": run_identity(config),
        "subset": config.subset,
        "replicate": config.replicate,
        "model": asdict(config.size),
        "tokens": config.tokens,
        "device": config.device,
        "packed": {"path": address_of(str(config.packed)), **asdict(packed.header)},
        "versions": _versions(),
    }
    write_whole(config.out / "config.yaml", yaml.safe_dump(content, sort_keys=False).encode())


def _write_model(model: LlamaForCausalLM, config: RunConfig) -> str:
    """Weights, config and tokenizer as Hugging Face loads them; SHA-256 of the weights."""
    _write_weights(model, config.out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        write_whole(config.out / name, (config.tokenizer / name).read_bytes())
    return sha256_of(config.out / "model.safetensors")


def _write_weights(model: LlamaForCausalLM, folder: Path) -> None:
    """Weights and config as Hugging Face loads them."""
    aside = folder / ".tmp-model"
    disable_progress_bar()
    model.save_pretrained(aside)
    # safetensors lets nobody else read its file; the others have what the umask allows
    (aside / "model.safetensors").chmod((aside / "config.json").stat().st_mode & 0o777)
    for file in sorted(aside.iterdir()):
        sync_file(file)
        file.replace(folder / file.name)
    aside.rmdir()


def _versions() -> dict[str, str]:
    return {"torch": str(torch.__version__), "transformers": str(transformers.__version__)}


def _device_name(device: str) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


@contextlib.contextmanager
def _lock(out: Path) -> Iterator[None]:
    """Hold the run's folder; the system lets go when the process ends, however it ends."""
    out.mkdir(parents=True, exist_ok=True)
    handle = os.open(out / ".lock", os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise RunBusy(f"another process is training {out}; wait for it, or stop it first") from error
    try:
        yield
    finally:
        os.close(handle)
