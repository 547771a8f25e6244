"""A small GPT built from a config alone, started from random weights, the same for the same seed whatever it will read.

The architecture is Llama's (Touvron et al. 2023, section 2.2) at every size: rotary positions, RMSNorm, SwiGLU, no biases.
It is what DCLM and FineWeb compare data with, needs no learned table of positions (which a tiny run would leave
half-trained), and `AutoModelForCausalLM`, lm-eval and the usual servers load it without our code. GPT-2's blocks were as
fast on a CPU, GPT-NeoX's a quarter slower. Input and output embeddings are one matrix: at these sizes a second one would be
most of the model.

No loss holds all logits (105 GB for a step of 124m): it takes a few rows at a time through the output matrix and computes
their gradient in the same pass, on a CPU while they are in the cache, which is 2.5 times as fast as the plain way.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from eval.sizes import ModelSize

# Logits held at once, in numbers: on a CPU 2 MB of float32, about one core's second-level cache; elsewhere half a gigabyte.
CACHED_LOGITS, DEVICE_LOGITS = 2**19, 2**27


def build_model(size: ModelSize, vocabulary: int, end_of_text: int, seed: int) -> LlamaForCausalLM:
    """A model with random weights in float32 on the CPU, decided by (size, vocabulary, seed) alone.

    Matrices are normal with deviation sqrt(2 / (5 width)) (Nguyen and Salazar 2019, section 2.2), which suits narrow models
    better than GPT-2's fixed 0.02 and equals it at width 1000.
    """
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=size.width,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        max_position_embeddings=size.context,
        initializer_range=math.sqrt(2 / (5 * size.width)),
        tie_word_embeddings=True,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
        pad_token_id=None,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def load_model(folder: Path) -> LlamaForCausalLM:
    """A finished run's model, from its folder alone.

    Raises:
        ValueError: there is no model in the folder, or it is damaged, or of another shape than its configuration says.
    """
    if not (folder / "model.safetensors").is_file():
        raise ValueError(
            f"no model.safetensors in {folder}; bring it from where it was trained, or delete that folder and run jobs.train"
        )
    disable_progress_bar()
    try:
        _check_shapes(folder)
        model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ValueError(f"the model in {folder} does not load ({reason[0]}): add --redo train to train it again") from error
    return model


def _check_shapes(folder: Path) -> None:
    """Raise ValueError where the weights are not those that the configuration names.

    The library draws weights by lot that are missing, and takes memory for what the configuration says; without one it
    takes that for 7 billion weights.
    """
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        found = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
    config = LlamaConfig.from_pretrained(folder, local_files_only=True)
    if not 0 < config.num_hidden_layers <= len(found):
        raise ValueError(f"its configuration says {config.num_hidden_layers} layers, its weights are {len(found)} tensors")
    with torch.device("meta"):
        expected = {name: list(one.shape) for name, one in LlamaForCausalLM(config).named_parameters()}
    if unlike := sorted({name for name in {**found, **expected} if found.get(name) != expected.get(name)}):
        raise ValueError(f"its weights have another {unlike[0]} than its configuration says")


def hidden_states(model: LlamaForCausalLM, inputs: Tensor) -> Tensor:
    """What goes into the output matrix: [rows, width] for token ids [windows, length], rows = windows x length.

    The layers are called one by one: `LlamaModel` itself looks for packed sequences, which under a compiler ends in a mask
    that keeps attention from its fast kernel.
    """
    trunk = model.model
    states: Tensor = trunk.embed_tokens(inputs)
    positions = torch.arange(inputs.shape[1], device=inputs.device)[None]
    turned = trunk.rotary_emb(states, positions)
    for layer in trunk.layers:
        states = layer(states, attention_mask=None, position_ids=positions, position_embeddings=turned)
    last: Tensor = trunk.norm(states)
    return last.flatten(0, 1)


Piece = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(states [rows, width], matrix [vocabulary, width], targets [rows, 1]) -> sum of nats, its gradient by the logits."""


def piece_in_place(part: Tensor, matrix: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """For a CPU: the logits become the gradient where they lie, in the cache."""
    logits = part @ matrix.T
    logits -= logits.amax(dim=1, keepdim=True)
    chosen = logits.gather(1, target)
    gradient = logits.exp_()
    sums = gradient.sum(dim=1, keepdim=True)
    nats = (sums.log() - chosen).sum(dtype=torch.float64)
    gradient /= sums
    return nats, gradient.scatter_add_(1, target, gradient.new_full(target.shape, -1.0))


def piece_for_compiler(part: Tensor, matrix: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """For a compiler, which makes one pass over the logits of it: all in float32, the gradient in the matrix's type."""
    logits = (part @ matrix.T).float()
    scale = logits.logsumexp(1, keepdim=True)
    nats = (scale - logits.gather(1, target)).sum(dtype=torch.float64)
    hit = torch.arange(logits.shape[1], device=logits.device) == target
    return nats, ((logits - scale).exp() - hit.float()).to(matrix.dtype)


@dataclass(frozen=True)
class Loss:
    """Mean negative log likelihood in nats: trunk and head as they are called on a device."""

    trunk: Callable[[LlamaForCausalLM, Tensor], Tensor] = hidden_states
    piece: Piece = piece_in_place
    logits: int = CACHED_LOGITS
    """Logits held at once."""

    @classmethod
    def on(cls, device: str) -> "Loss":
        """The fastest for a device. Functions are compiled and not the model, whose parameters keep their names."""
        if device == "cpu":
            return cls()
        return cls(
            torch.compile(hidden_states, dynamic=False), torch.compile(piece_for_compiler, dynamic=False), DEVICE_LOGITS
        )

    def __call__(self, model: LlamaForCausalLM, inputs: Tensor, targets: Tensor) -> Tensor:
        """Of ``targets`` [windows, length] given ``inputs`` of the same shape, a scalar with gradients."""
        hidden, weight = self.trunk(model, inputs), model.lm_head.weight
        rows = max(16, self.logits // len(weight))
        if self.piece is not piece_in_place:
            rows = 1 << (
                rows.bit_length() - 1
            )  # pieces of one shape where the windows allow it: a compiler takes each by itself
        mean: Tensor = _HeadLoss.apply(hidden, weight, targets.flatten(), self.piece, rows)  # type: ignore[no-untyped-call]
        return mean


class _HeadLoss(torch.autograd.Function):
    """Cross entropy of a linear layer's outputs, a few rows at a time, with the gradient found on the way forward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, piece: Piece, rows: int) -> Tensor:
        """hidden [rows, width], weight [vocabulary, width], targets [rows] -> mean nats, a scalar."""
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        states, matrix = hidden.to(dtype), weight.to(dtype)
        hidden_gradient, weight_gradient = torch.empty_like(hidden), torch.zeros_like(weight)
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        for start in range(0, len(hidden), rows):
            part = states[start : start + rows]
            nats, gradient = piece(part, matrix, targets[start : start + rows, None])
            total += nats
            hidden_gradient[start : start + rows] = gradient @ matrix
            if dtype == weight.dtype:
                weight_gradient.addmm_(gradient.T, part)
            else:
                weight_gradient += gradient.T @ part
        ctx.save_for_backward(hidden_gradient.div_(len(hidden)), weight_gradient.div_(len(hidden)))
        return (total / len(hidden)).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """The saved gradients, scaled."""
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient * outer[0], weight_gradient * outer[0], None, None, None


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups: matrices decay, norms do not (Brown et al. 2020, appendix B give 0.1; nanoGPT leaves norms out)."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    norms = [p for p in model.parameters() if p.dim() < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": norms, "weight_decay": 0.0}]
