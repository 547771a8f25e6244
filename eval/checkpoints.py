"""Checkpoints that resume a run exactly, or are not used.

A checkpoint is a folder: weights and optimizer state as safetensors, and ``state.json`` with the step, the losses that the
next decision needs, and the SHA-256 of everything, itself included. Safetensors has no checksum of its own: a flipped
weight loads. The folder is written aside and renamed when it is on the disk; the last two are kept, so that a damaged one
costs one interval. No random state is saved because none is used after the weights are drawn: a batch is a function of its
step, and there is no dropout.
"""

import hashlib
import json
import logging
import math
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from filters.files import sha256_of, sync_file, sync_folder, write_whole

KEPT = 2
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
WEIGHTS, OPTIMIZER, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """How far a run is: all that changes while it trains, besides weights and optimizer."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Time spent in steps, over all its lives."""
    norm: float = math.nan
    """Norm of the last step's gradient before clipping."""
    recent: list[float] = field(default_factory=list)
    """Losses of the last steps, newest last."""
    bad_steps: int = 0
    """Steps in a row whose loss was far above the recent ones."""
    micro: int = 0
    """Windows that go through the model together; 0 before the first step."""


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no spaces: the same value gives the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def save_checkpoint(folder: Path, key: str, progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write ``folder/step-<step>`` whole, then forget all but the last two."""
    name = f"step-{progress.step:08d}"
    aside = folder / f".tmp-{name}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    save_file({k: p.detach().contiguous() for k, p in model.named_parameters()}, aside / WEIGHTS)
    save_file(_optimizer_tensors(model, optimizer), aside / OPTIMIZER)
    for file in (WEIGHTS, OPTIMIZER):
        sync_file(aside / file)
    state = {"key": key, **asdict(progress), "sha256": {f: sha256_of(aside / f) for f in (WEIGHTS, OPTIMIZER)}}
    digest = hashlib.sha256(canonical(state)).hexdigest()
    write_whole(aside / STATE, json.dumps({"state": state, "sha256": digest}, indent=2).encode())
    shutil.rmtree(folder / name, ignore_errors=True)
    aside.rename(folder / name)
    sync_folder(folder)
    for old in _newest_first(folder)[KEPT:]:
        shutil.rmtree(old)


def restore_checkpoint(folder: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Fill model and optimizer from the newest sound checkpoint of this run; a fresh `Progress` when there is none.

    A damaged or foreign one is passed over with a warning. What a killed run left half-written is removed.
    """
    for half in folder.glob(".tmp-*"):
        shutil.rmtree(half)
    for checkpoint in _newest_first(folder):
        try:
            progress, weights, moments = _read(checkpoint, key)
            _check_shapes(model, weights, moments)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            log.warning("checkpoint %s is passed over: %s", checkpoint, error)
            continue
        _fill(model, optimizer, weights, moments)
        return progress
    return Progress()


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}.{kind}": tensor.contiguous()
        for name, parameter in model.named_parameters()
        for kind, tensor in optimizer.state[parameter].items()
    }


def _read(checkpoint: Path, key: str) -> tuple[Progress, dict[str, Tensor], dict[str, Tensor]]:
    outer: Any = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    state = outer["state"]
    if not isinstance(state, dict) or not isinstance(state["sha256"], dict) or {*state["sha256"]} != {WEIGHTS, OPTIMIZER}:
        raise ValueError(f"{STATE} holds no state")
    if hashlib.sha256(canonical(state)).hexdigest() != outer["sha256"]:
        raise ValueError(f"{STATE} does not match its SHA-256")
    if state.pop("key") != key:
        raise ValueError("it belongs to another run")
    for file, digest in state.pop("sha256").items():
        if sha256_of(checkpoint / file) != digest:
            raise ValueError(f"{file} does not match its SHA-256")
    weights, moments = load_file(checkpoint / WEIGHTS), load_file(checkpoint / OPTIMIZER)
    for name, tensor in [*weights.items(), *moments.items()]:
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} is not finite")
    return Progress(**state), weights, moments


def _check_shapes(model: nn.Module, weights: dict[str, Tensor], moments: dict[str, Tensor]) -> None:
    """Raise ValueError where tensors are not those of the model and its optimizer."""
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    wanted = {f"{name}.{kind}": [] if kind == "step" else shape for name, shape in shapes.items() for kind in MOMENTS}
    for told, found, expected in ((WEIGHTS, weights, shapes), (OPTIMIZER, moments, wanted)):
        if {name: list(tensor.shape) for name, tensor in found.items()} != expected:
            raise ValueError(f"{told} is of another model")


@torch.no_grad()
def _fill(
    model: nn.Module, optimizer: torch.optim.Optimizer, weights: dict[str, Tensor], moments: dict[str, Tensor]
) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])
        optimizer.state[parameter] = {kind: moments[f"{name}.{kind}"].to(parameter.device) for kind in MOMENTS}
