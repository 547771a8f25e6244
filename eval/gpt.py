"""A small GPT built from a config alone, started from random weights, the same for the same seed whatever it will read.

The architecture is Llama's (Touvron et al. 2023, section 2.2) at every size: rotary positions, RMSNorm, SwiGLU, no biases.
It is what DCLM and FineWeb compare data with, needs no learned table of positions (which a tiny run would leave
half-trained), and `AutoModelForCausalLM`, lm-eval and the usual servers load it without our code. GPT-2's blocks were as
fast on a CPU, GPT-NeoX's a quarter slower. Input and output embeddings are one matrix: at these sizes a second one would be
most of the model.

On a CPU the time goes into the logits, so `loss` never holds them all: it takes a few rows at a time through the output
matrix and computes their gradient in the same pass while they are in the cache, 2.5 times as fast as the plain way.
"""

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from eval.sizes import ModelSize

# Logits held at once on a CPU, in numbers: 2 MB of float32, about one core's second-level cache.
CACHED_LOGITS = 2**19


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
        ValueError: there is no model in the folder.
    """
    if not (folder / "model.safetensors").is_file():
        raise ValueError(f"no model.safetensors in {folder}; run jobs.train, or leave out a run that diverged")
    disable_progress_bar()
    model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    return model


def hidden_states(model: LlamaForCausalLM, inputs: Tensor) -> Tensor:
    """What goes into the output matrix: [rows, width] for token ids [windows, length], rows = windows x length."""
    states: Tensor = model.model(input_ids=inputs, use_cache=False).last_hidden_state
    return states.flatten(0, 1)


def loss(model: LlamaForCausalLM, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log likelihood in nats of ``targets`` [windows, length] given ``inputs`` of the same shape."""
    hidden = hidden_states(model, inputs)
    if hidden.device.type == "cpu":
        mean: Tensor = _HeadLoss.apply(hidden, model.lm_head.weight, targets.flatten())  # type: ignore[no-untyped-call]
        return mean
    return F.cross_entropy(model.lm_head(hidden).float(), targets.flatten())


class _HeadLoss(torch.autograd.Function):
    """Cross entropy of a linear layer's outputs, a few rows at a time, with the gradient found on the way forward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        """hidden [rows, width], weight [vocabulary, width], targets [rows] -> mean nats, a scalar."""
        rows = max(16, CACHED_LOGITS // len(weight))
        hidden_gradient, weight_gradient = torch.empty_like(hidden), torch.zeros_like(weight)
        total = 0.0
        for start in range(0, len(hidden), rows):
            part, target = hidden[start : start + rows], targets[start : start + rows, None]
            logits = part @ weight.T
            logits -= logits.amax(dim=1, keepdim=True)
            chosen = logits.gather(1, target)
            gradient = logits.exp_()
            sums = gradient.sum(dim=1, keepdim=True)
            total += (sums.log() - chosen).sum(dtype=torch.float64).item()
            gradient /= sums
            gradient.scatter_add_(1, target, gradient.new_full(target.shape, -1.0))
            torch.mm(gradient, weight, out=hidden_gradient[start : start + rows])
            weight_gradient.addmm_(gradient.T, part)
        ctx.save_for_backward(hidden_gradient.div_(len(hidden)), weight_gradient.div_(len(hidden)))
        return hidden.new_tensor(total / len(hidden))

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, None]:
        """The saved gradients, scaled."""
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient * outer[0], weight_gradient * outer[0], None


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups: matrices decay, norms do not (Brown et al. 2020, appendix B give 0.1; nanoGPT leaves norms out)."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    norms = [p for p in model.parameters() if p.dim() < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": norms, "weight_decay": 0.0}]
