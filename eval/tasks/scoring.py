"""What each answer costs a model, as the harness would find it, without reading a shared beginning twice.

The answers to one question begin alike, so a question goes through the model as one row: its shared beginning, then what is
left of each answer as a branch. A branch stands at the positions that follow the beginning and sees the beginning and itself
alone, so each answer costs what it costs by itself, to rounding. Where answers share too little for that to pay, since all
pairs of a row's tokens are looked at, each is a row of its own. Rows are sorted by length and padded to the longest of their
batch; only the positions whose next token is an answer's go through the output matrix.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from eval.bits_per_byte import BATCH_TOKENS
from eval.gpt import CACHED_LOGITS

Ids = npt.NDArray[np.int64]

MOST_PADDING = 0.1
"""A row is padded by at most this share of its batch's longest."""
PADDING = -1
"""The branch of what is no token: it sees itself alone, since a row of attention must see something."""


class Question(NamedTuple):
    """What is asked once: tokens before each answer, and tokens of each answer, one array of ids for each."""

    contexts: Sequence[Ids]
    answers: Sequence[Ids]


@dataclass(frozen=True)
class Answered:
    """One question's answers; each array has one value an answer."""

    nats: npt.NDArray[np.float64]
    """Negative log likelihood."""
    greedy: npt.NDArray[np.bool_]
    """Whether each of its tokens is the most likely one."""
    cut: npt.NDArray[np.int64]
    """Tokens that were cut off on the left because the context holds no more."""


class Scores(NamedTuple):
    """All questions in their order; tokens fed, and how many of them were padding."""

    answered: list[Answered]
    fed: int
    padding: int


class _Row(NamedTuple):
    """A question or one of its answers, as it is fed: ids, positions, branches [length]; where each scored token is
    predicted, and what it is.
    """

    tokens: Ids
    positions: Ids
    branches: Ids
    places: list[Ids]
    targets: list[Ids]


@torch.no_grad()
def score(model: LlamaForCausalLM, questions: Sequence[Question], context: int, device: str = "cpu") -> Scores:
    """Nats of every answer to every question, in float32; on a CPU one thread is used.

    ``context`` is how many tokens the model sees, at least as many as an answer has; of more the first are cut off, as the
    harness does. The model is moved to ``device`` and put into evaluation mode.

    Raises:
        ValueError: a number came out that is not finite: the model is broken.
    """
    if device == "cpu":
        torch.set_num_threads(1)
    model = model.to(device=device, dtype=torch.float32).eval()
    a_token = (4 * model.config.hidden_size + 3 * model.config.intermediate_size) / 2
    rows = [row for question in questions for row in _rows(question, context, a_token)]
    found: dict[int, tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]] = {}
    fed = padding = 0
    for batch in _batches(rows, BATCH_TOKENS["cpu" if device == "cpu" else "cuda"]):
        longest = len(rows[batch[0]].tokens)
        fed += longest * len(batch)
        padding += sum(longest - len(rows[at].tokens) for at in batch)
        found |= dict(zip(batch, _token_nats(model, [rows[at] for at in batch], device), strict=True))
    nats, greedy = (np.concatenate([found[at][kind] for at in range(len(rows))] or [np.empty(0)]) for kind in (0, 1))
    answered, begin = [], 0
    for at, question in enumerate(questions):
        here = slice(begin, begin + len(question.answers))
        if not np.isfinite(nats[here]).all():
            raise ValueError(f"the model gives no finite likelihood for question {at}")
        answered.append(Answered(nats[here], greedy[here], _cut(question, context)))
        begin = here.stop
    return Scores(answered, fed, padding)


def _cut(question: Question, context: int) -> Ids:
    lengths = [len(before) + len(answer) for before, answer in zip(question.contexts, question.answers, strict=True)]
    return np.maximum(np.array(lengths, dtype=np.int64) - (context + 1), 0)


def _rows(question: Question, context: int, a_token: float) -> list[_Row]:
    """All answers as one row, or each as its own, whichever is less work; the last token of an answer is never fed.

    ``a_token``: what a token costs in all matrices, in pairs of tokens that attention looks at. Of a row without branches it
    looks at the earlier tokens alone, which are half of the pairs.
    """
    pairs = zip(question.contexts, question.answers, strict=True)
    fed = [np.concatenate(pair)[-(context + 1) :][:-1] for pair in pairs]
    shared, lengths = _shared(fed), np.array([len(one) for one in fed])
    together = lengths.sum() - shared * (len(fed) - 1)
    if together * (a_token + together) <= np.sum(lengths * (a_token + lengths / 2)):
        return [_row(fed, question.answers, shared)]
    return [_row([one], [answer], len(one)) for one, answer in zip(fed, question.answers, strict=True)]


def _row(fed: Sequence[Ids], answers: Sequence[Ids], shared: int) -> _Row:
    """The shared beginning of all answers and a branch for the rest of each."""
    tokens, positions, branches = [fed[0][:shared]], [np.arange(shared)], [np.zeros(shared, np.int64)]
    places, end = [], shared
    for branch, (one, answer) in enumerate(zip(fed, answers, strict=True), 1):
        at = np.arange(len(one) - len(answer), len(one))
        places.append(np.where(at < shared, at, at - shared + end))
        tokens.append(one[shared:])
        positions.append(np.arange(shared, len(one)))
        branches.append(np.full(len(one) - shared, branch))
        end += len(one) - shared
    beginning, where, which = (np.concatenate(each) for each in (tokens, positions, branches))
    return _Row(beginning, where, which, places, list(answers))


def _shared(sequences: Sequence[Ids]) -> int:
    """How many tokens all sequences begin with."""
    shortest = min(map(len, sequences))
    same = np.logical_and.reduce([one[:shortest] == sequences[0][:shortest] for one in sequences])
    return shortest if same.all() else int(np.argmin(same))


def _batches(rows: Sequence[_Row], batch_tokens: int) -> Iterator[list[int]]:
    """Rows with and without branches apart, from long to short, in batches of about ``batch_tokens`` tokens of which less
    than a tenth is padding.
    """
    lengths = np.array([len(row.tokens) for row in rows], dtype=np.int64)
    branched = np.array([bool(row.branches[-1]) for row in rows], dtype=bool)
    for kind in (np.flatnonzero(branched), np.flatnonzero(~branched)):
        order = kind[np.argsort(-lengths[kind], kind="stable")]
        descending = -lengths[order]
        at = 0
        while at < len(order):
            alike = int(np.searchsorted(descending, (1 - MOST_PADDING) * descending[at], side="right"))
            end = min(at + max(1, batch_tokens // -int(descending[at])), alike)
            yield order[at:end].tolist()
            at = end


def _token_nats(
    model: LlamaForCausalLM, rows: Sequence[_Row], device: str
) -> list[tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]]:
    """Of each row the nats of each answer and whether it is the greedy one."""
    longest = max(len(row.tokens) for row in rows)
    tokens, positions = (_padded([row[kind] for row in rows], longest, 0) for kind in (0, 1))
    branches = _padded([row.branches for row in rows], longest, PADDING)
    states = _states(model, *(each.to(device) for each in (tokens, positions, branches))).flatten(0, 1)
    places = np.concatenate([at * longest + place for at, row in enumerate(rows) for place in row.places])
    targets = np.concatenate([target for row in rows for target in row.targets])
    where, which = np.unique(places, return_inverse=True)
    nats, greedy = _chosen(model, states[torch.from_numpy(where).to(device)], which, targets)
    answers = [len(target) for row in rows for target in row.targets]
    begins = np.concatenate([[0], np.cumsum(answers)[:-1]]).astype(np.int64)
    sums, all_greedy = np.add.reduceat(nats, begins), np.logical_and.reduceat(greedy, begins)
    ends = np.cumsum([len(row.targets) for row in rows])[:-1]
    return list(zip(np.split(sums, ends), np.split(all_greedy, ends), strict=True))


def _padded(rows: Sequence[Any], length: int, fill: int) -> Tensor:
    padded = np.full((len(rows), length), fill, dtype=np.int64)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    return torch.from_numpy(padded)


def _states(model: LlamaForCausalLM, tokens: Tensor, positions: Tensor, branches: Tensor) -> Tensor:
    """What goes into the output matrix, [rows, length, width].

    A token sees those before it in its row that are shared (branch 0) or of its own branch; where no row has branches that
    is what a causal model sees anyway, padding being on the right.
    """
    trunk = model.model
    mask = None
    if bool((branches > 0).any()):
        before = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=tokens.device).tril()
        seen = (branches[:, None, :] == 0) | (branches[:, None, :] == branches[:, :, None])
        # A mask of truths would be made one of numbers in every layer anew.
        mask = torch.zeros(seen.shape, device=seen.device).masked_fill_(~(seen & before), -torch.inf)[:, None]
    states = trunk.embed_tokens(tokens)
    turned = trunk.rotary_emb(states, positions)
    for layer in trunk.layers:
        states = layer(states, attention_mask=mask, position_ids=positions, position_embeddings=turned)
    last: Tensor = trunk.norm(states)
    return last


def _chosen(
    model: LlamaForCausalLM, states: Tensor, which: npt.NDArray[np.int64], targets: Ids
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Nats of each target, predicted at row ``which`` of ``states``, and whether it is the most likely token there.

    ``which`` may name a row twice, where answers part. Logits are held a few rows at a time.
    """
    order = np.argsort(which, kind="stable")
    at, wanted = (torch.from_numpy(each[order]).to(states.device) for each in (which, targets))
    rows = max(16, (CACHED_LOGITS if states.device.type == "cpu" else 2**27) // model.config.vocab_size)
    nats, greedy = torch.empty(len(at), dtype=torch.float64), torch.empty(len(at), dtype=torch.bool)
    bounds = np.searchsorted(which[order], np.arange(0, len(states) + rows, rows))
    for part, start in enumerate(range(0, len(states), rows)):
        logits = model.lm_head(states[start : start + rows])
        logits -= logits.amax(dim=1, keepdim=True)
        begin, end = int(bounds[part]), int(bounds[part + 1])
        row, target = at[begin:end] - start, wanted[begin:end]
        chosen = logits[row, target]
        nats[begin:end] = (logits.exp_().sum(dim=1).log()[row] - chosen).double().cpu()
        greedy[begin:end] = (chosen == 0).cpu()
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return nats.numpy()[back], greedy.numpy()[back]
