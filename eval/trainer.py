"""The steps of a run: what a device is given, what is read back from it and when, and when the run must stop.

A device works ahead of us: losses and gradient norms stay there and are read every few steps, and a step whose loss or norm
is not finite is left out by the device itself, so that no step waits for the one before. What is read late is judged step by
step all the same, so a run ends where it would have ended. Tokens come from a thread that reads one batch ahead.
"""

import itertools
import logging
import math
import statistics
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from eval.checkpoints import Progress
from eval.gpt import Loss, parameter_groups
from eval.side_by_side import ProcessSpoilt
from eval.sizes import ModelSize

CLIP = 1.0
RECENT_STEPS = 50
BAD_STEPS = 5
BAD_RATIO = 3.0
FLOOR = 0.1

CPU_ACTIVATIONS = 2**29
"""Bytes of activations at once on a CPU: the same everywhere, as the pieces decide the last bits."""
SHARE_OF_FREE = 0.7
"""Of a GPU's free memory, for activations: the rest is for the compiler's buffers and for what the formula leaves out."""
STATE_BYTES = 16
"""A parameter, its gradient and the optimizer's two moments, in float32."""

PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10": 125e12, "T4": 65e12}
"""Dense bfloat16 (T4: float16) operations a second, from NVIDIA's data sheets, by what a card's name has in it."""

log = logging.getLogger(__name__)


class DeviceLost(ProcessSpoilt):
    """The GPU failed, and with it all that this process has on it."""


def learning_rate(step: int, steps: int, size: ModelSize) -> float:
    """The rate of step 0, 1, ...: a straight rise to the peak, then a cosine to a tenth of it at the last step."""
    rise = size.rising_steps(steps)
    if step < rise:
        return size.learning_rate * (step + 1) / rise
    done = (step - rise) / max(1, steps - 1 - rise)
    return size.learning_rate * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def peak_flops(card: str) -> float | None:
    """What a card could do in a second; None for one that is not known."""
    return next((peak for name, peak in PEAK_FLOPS.items() if name in card), None)


def windows_at_once(size: ModelSize, bytes_free: float, bytes_each: int) -> int:
    """Windows whose activations fit, the batch halved until they do; at least one.

    A token keeps about 20 numbers of the model's width and 6 of the inner width in every layer for the way back:
    residual stream, norms, queries, keys, values and attention's output, and what the gated block multiplies.
    """
    token = size.layers * (20 * size.width + 6 * size.feed_forward) * bytes_each
    windows = size.batch
    while windows > 1 and windows * size.context * token > bytes_free:
        windows = -(-windows // 2)
    return windows


def free_windows(size: ModelSize, vocabulary: int, device: str) -> int:
    """`windows_at_once` for a device as it is now."""
    if device == "cpu":
        return windows_at_once(size, CPU_ACTIVATIONS, bytes_each=4)
    free, _ = torch.cuda.mem_get_info(device)
    return windows_at_once(size, SHARE_OF_FREE * (free - STATE_BYTES * size.parameters(vocabulary)), bytes_each=2)


def ahead(batches: Iterator[npt.NDArray[np.integer]], device: str) -> Generator[Tensor]:
    """Batches as int64 on a device. They travel as they lie in the file, from memory that the device reads by itself."""

    def read() -> Tensor | None:
        batch = next(batches, None)
        if batch is None:
            return None
        tokens = torch.from_numpy(batch.view(f"i{batch.itemsize}"))  # torch knows few operations on unsigned numbers
        return tokens if device == "cpu" else tokens.pin_memory()

    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(read)
        while (tokens := upcoming.result()) is not None:
            upcoming = reader.submit(read)
            mask = (1 << 8 * tokens.element_size()) - 1
            yield tokens.to(device, non_blocking=True).long() & mask


class Steps:
    """A model and its optimizer on a device, and the losses and norms that have not been read from it."""

    def __init__(self, model: LlamaForCausalLM, size: ModelSize, device: str, loss: Loss | None = None) -> None:
        self.model, self.device, self.loss = model, device, loss or Loss.on(device)
        # The kernel on a GPU reads the rate where it lies, in float32; a CPU takes it as it is.
        self.rate = torch.zeros((), dtype=torch.float64 if device == "cpu" else torch.float32, device=device)
        groups = parameter_groups(model, size.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=self.rate, betas=(0.9, 0.95), eps=1e-8, fused=True)
        self.micro = size.batch
        self.unread: list[Tensor] = []

    def step(self, windows: Tensor, rate: float) -> None:
        """One optimizer step on token ids [windows, context + 1]. A step that is not finite changes nothing."""
        value = self.gradients(windows)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.rate.fill_(rate)
        # Fused optimizers leave out a step for which this is 1: made for gradient scaling, and just what is needed here.
        self.optimizer.found_inf = (~torch.isfinite(value + norm)).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.unread.append(torch.stack([value, norm.double()]))

    def gradients(self, windows: Tensor) -> Tensor:
        """Fill the gradients with those of the mean loss, in smaller pieces if memory is short; the loss, float64.

        Raises torch.OutOfMemoryError where one window is too much.
        """
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                total = torch.zeros((), dtype=torch.float64, device=self.device)
                for part in torch.split(windows, self.micro):
                    with torch.autocast("cuda", torch.bfloat16, enabled=self.device.startswith("cuda")):
                        value = self.loss(self.model, part[:, :-1], part[:, 1:]) * (len(part) / len(windows))
                    value.backward()  # type: ignore[no-untyped-call]
                    total += value.detach()
                return total
            except torch.OutOfMemoryError:
                if self.micro == 1:
                    raise
                self.micro = -(-self.micro // 2)
                log.warning("GPU memory is short: %d windows at a time from here on", self.micro)
            self.optimizer.zero_grad(set_to_none=True)
            if self.device.startswith("cuda"):
                torch.cuda.empty_cache()  # what is cached has the shapes of the larger pieces

    def read(self) -> list[list[float]]:
        """[loss, gradient norm] of every step since the last reading; waits for the device."""
        values: list[list[float]] = torch.stack(self.unread).tolist() if self.unread else []
        self.unread = []
        return values


def judged(state: Progress, values: Sequence[Sequence[float]]) -> str | None:
    """Take steps into account, one after the other; the reason where the run must stop, with `state` at that step."""
    for value, norm in values:
        state.step, state.norm = state.step + 1, norm
        reason = _divergence(state, value, norm)
        if reason:
            return f"step {state.step}: {reason}"
    return None


def _divergence(state: Progress, value: float, norm: float) -> str | None:
    """Take the step's loss into account; the reason when the run must stop."""
    if not (math.isfinite(value) and math.isfinite(norm)):
        return f"loss {value}, gradient norm {norm}"
    usual = statistics.median(state.recent) if state.recent else value
    state.bad_steps = state.bad_steps + 1 if value > BAD_RATIO * usual else 0
    state.recent = [*state.recent, value][-RECENT_STEPS:]
    if state.bad_steps >= BAD_STEPS:
        return f"loss {value:.2f}, {BAD_STEPS} steps in a row above {BAD_RATIO:g} times the usual {usual:.2f}"
    return None


def in_rounds(first: int, steps: int, every: int) -> Iterator[range]:
    """The steps from `first` on, in rounds that end at multiples of `every` and at the last step."""
    ends = [*range((first // every + 1) * every, steps, every), steps]
    return itertools.starmap(range, itertools.pairwise([first, *ends])) if first < steps else iter(())
