"""Bits per byte: what a model needs to write a page down, whatever tokenizer it speaks.

Every token of a page is scored exactly once, the first after an end-of-text mark, each with as much of the page before it
as the window allows. A page longer than the window is read by windows that overlap by half; each scores only what the one
before did not reach, and the last ends with the page. So every token but those of the first window has at least half a
window of context. The functions give nats per page or token, so that any grouping (domain, length, entry of the vocabulary)
can be formed afterwards; bytes are counted on the text itself.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from transformers import LlamaForCausalLM

from eval.gpt import CACHED_LOGITS, hidden_states
from eval.slices import ranges
from filters.windows import scored_windows

# Tokens that go through the model together; small enough that attention stays in a few MB on a CPU.
BATCH_TOKENS = {"cpu": 4096, "cuda": 65_536}


def utf8_bytes(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """UTF-8 bytes of each text."""
    return np.array([len(text.encode()) for text in texts], dtype=np.int64)


def bits_per_byte(nats: npt.ArrayLike, byte_counts: npt.ArrayLike) -> float:
    """Sum of nats / (ln 2 x sum of bytes): the pages taken together, long ones weighing more."""
    return float(np.sum(np.asarray(nats, dtype=np.float64)) / (np.log(2) * np.sum(np.asarray(byte_counts))))


def page_nats(
    model: LlamaForCausalLM,
    tokens: npt.NDArray[np.unsignedinteger],
    offsets: npt.NDArray[np.int64],
    context: int,
    end_of_text: int,
    device: str = "cpu",
) -> npt.NDArray[np.float64]:
    """Negative log likelihood of each page in nats, float64 [pages]; 0 for a page without tokens. As `token_nats`."""
    return summed(token_nats(model, tokens, offsets, context, end_of_text, device), offsets)


def summed(nats: npt.NDArray[np.float64], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The sum over the tokens of each page; float64 [pages]."""
    page = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets).astype(np.int64))
    return np.asarray(np.bincount(page, nats, len(offsets) - 1), np.float64)


@torch.no_grad()
def token_nats(
    model: LlamaForCausalLM,
    tokens: npt.NDArray[np.unsignedinteger],
    offsets: npt.NDArray[np.int64],
    context: int,
    end_of_text: int,
    device: str = "cpu",
) -> npt.NDArray[np.float64]:
    """Negative log likelihood of each token in nats, float64 [tokens].

    ``tokens`` is flat, page i owns ``tokens[offsets[i]:offsets[i + 1]]`` (`eval.tokenizer.encode_batch`), without
    end-of-text. The model is moved to ``device``, put into evaluation mode and run in float32. On a CPU one thread is used
    and the same input gives the same bits.

    Raises:
        ValueError: a number came out that is not finite: the model is broken.
    """
    if device == "cpu":
        torch.set_num_threads(1)
    model = model.to(device=device, dtype=torch.float32).eval()
    windows = np.array(
        [
            (page, start, first, end)
            for page, (a, b) in enumerate(pairwise(offsets))
            for start, first, end in scored_windows(int(b - a), context)
        ],
        dtype=np.int64,
    ).reshape(-1, 4)
    nats = np.zeros(len(tokens), dtype=np.float64)
    for batch in _by_length(windows, BATCH_TOKENS["cpu" if device == "cpu" else "cuda"]):
        inputs, targets, scored = _window_batch(tokens, offsets, batch, end_of_text)
        losses = _nats_of(model, *(torch.from_numpy(each).to(device) for each in (inputs, targets, scored)))
        nats[ranges(offsets[batch[:, 0]] + batch[:, 2], batch[:, 3] - batch[:, 2])] = losses
    if not np.isfinite(nats).all():
        page = int(np.searchsorted(offsets, np.argmin(np.isfinite(nats)), side="right")) - 1
        raise ValueError(f"the model gives no finite likelihood for page {page}")
    return nats


def _by_length(windows: npt.NDArray[np.int64], batch_tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """The windows from long to short, in batches that hold about ``batch_tokens`` tokens with their padding."""
    lengths = windows[:, 3] - windows[:, 1]
    order = np.argsort(-lengths, kind="stable")
    at = 0
    while at < len(order):
        count = max(1, batch_tokens // int(lengths[order[at]]))
        yield windows[order[at : at + count]]
        at += count


def _window_batch(
    tokens: npt.NDArray[np.unsignedinteger],
    offsets: npt.NDArray[np.int64],
    windows: npt.NDArray[np.int64],
    end_of_text: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Inputs, targets and which targets to count, each [windows, longest], padded on the right, where nothing looks."""
    longest = int((windows[:, 3] - windows[:, 1]).max())
    inputs = np.full((len(windows), longest), end_of_text, dtype=np.int64)
    targets = np.full((len(windows), longest), end_of_text, dtype=np.int64)
    scored = np.zeros((len(windows), longest), dtype=bool)
    for row, (page, start, first, end) in enumerate(windows):
        mine = tokens[offsets[page] + start : offsets[page] + end]
        targets[row, : end - start] = mine
        inputs[row, 1 : end - start] = mine[:-1]
        if start > 0:
            inputs[row, 0] = tokens[offsets[page] + start - 1]
        scored[row, first - start : end - start] = True
    return inputs, targets, scored


def _nats_of(
    model: LlamaForCausalLM, inputs: torch.Tensor, targets: torch.Tensor, scored: torch.Tensor
) -> npt.NDArray[np.float64]:
    """Nats of each target that is scored, float64, row by row; logits are held a few rows at a time, of no other."""
    hidden, flat = hidden_states(model, inputs)[scored.flatten()], targets[scored][:, None]
    rows = max(16, (CACHED_LOGITS if hidden.device.type == "cpu" else 2**27) // model.config.vocab_size)
    parts = []
    for start in range(0, len(hidden), rows):
        logits = model.lm_head(hidden[start : start + rows])
        chosen = logits.gather(1, flat[start : start + rows])
        parts.append((logits.logsumexp(dim=1, keepdim=True) - chosen).double())
    return torch.cat(parts).flatten().cpu().numpy().astype(np.float64)
