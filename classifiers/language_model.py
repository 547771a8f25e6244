"""Bits per byte of a page under a causal language model, which may be a run of our own.

Ankner et al. 2024 (arXiv 2405.20541) prune by the perplexity of a small reference model and find that which end to keep
depends on the corpus, often neither: so `between` is as easy a rule as a cut. Bits per byte do not depend on the tokenizer.
A page longer than the model sees at once is read as `jobs.evaluate` reads it, by windows that overlap by half.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from classifiers.causal import (
    CausalScorer,
    load,
    mark,
    measured_sides,
    model_digest,
    positions,
    read,
    with_words,
    write_measured,
)
from classifiers.kinds import Floats, Pages
from classifiers.transformer import AT_ONCE, Reading, Transformer, one_thread, padded
from filters.pages import PageBatch
from filters.signals import Group, Signal
from filters.windows import scored_windows

LOGITS = {"cpu": 1 << 25, "cuda": 1 << 29}
"""Numbers that stand for tokens which might have come, held at once: 128 MB of float32 on a CPU, 2 GB elsewhere."""


class Options(CausalScorer):
    """Bits per byte under a causal language model, low for text like that it was trained on. `positives` make its card."""

    tokens: int = Field(default=1024, ge=8)
    """Tokens read from a page's beginning; more than the model sees at once are read by windows that overlap by half."""

    def lower_is_better(self) -> bool:
        """A model is the less surprised by a page the more it is like its text."""
        return True

    def look_into_models(self) -> None:
        """Whether the model can be loaded."""
        self.loaded()

    def identity(self) -> Any:
        """The model by its content, what is read, and which pages the card is made from."""
        return {"model": model_digest(self.model), **asdict(self.reading), "seed": self.seed}

    def train(self, texts: Mapping[str, Pages], folder: Path) -> str:
        """Measure some pages of either text, for the card."""
        sides = measured_sides(texts, self.seed)
        _, _, found = self.loaded()
        given = [text[: self.characters] for side in sides for text in side.texts]
        with one_thread():
            bits = bits_per_byte(found, given, self.tokens)
        return write_measured(folder, sides, -bits, {"bits_per_byte": float(np.nanmean(bits))})

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """One number, called as the classifier is."""
        return {name: pa.float64()}

    def group(self, name: str, folder: Path) -> Group:
        """Bits per byte. Loads the model once, here, to find what is wrong."""
        where, sha256, _ = self.loaded()
        return Group(
            name,
            (Signal(name, Surprise(where, sha256, self.reading), pa.float64()),),
            {"model": sha256, **asdict(self.reading)},
        )


@dataclass(frozen=True)
class Surprise:
    """The function of the signal. It travels to workers as plain data; the model is loaded there, once."""

    folder: Path
    sha256: str
    reading: Reading

    def __call__(self, pages: PageBatch) -> Floats:
        """Bits per byte of each page, NaN for a page without words; shape (pages,)."""
        bits = np.full(len(pages), np.nan)
        rows, texts = with_words(pages, self.reading.characters)
        if rows:
            with one_thread():
                bits[rows] = bits_per_byte(load(self.folder, self.sha256), texts, self.reading.tokens)
        return bits


def bits_per_byte(found: Transformer, texts: Sequence[str], tokens: int) -> Floats:
    """Bits per byte of the first `tokens` tokens of each text, NaN for one without a token; shape (texts,)."""
    ids, sizes = read(found, texts, tokens)
    nats = np.where([len(one) > 0 for one in ids], page_nats(found, ids), np.nan)
    return np.asarray(nats / (np.log(2) * np.maximum(sizes, 1)), np.float64)


def page_nats(found: Transformer, ids: Sequence[Sequence[int]]) -> Floats:
    """Negative log likelihood in nats of each text's tokens after the mark; shape (texts,)."""
    import torch
    from torch.nn.functional import cross_entropy

    context = positions(found) or max(map(len, ids), default=1)
    windows = [
        (text, start, first, end) for text, one in enumerate(ids) for start, first, end in scored_windows(len(one), context)
    ]
    inputs = [[mark(found), *ids[text]][start:end] for text, start, _, end in windows]
    at_once = min(AT_ONCE[found.device], LOGITS[found.device] // found.model.config.get_text_config().vocab_size)
    nats = np.zeros(len(ids))
    for rows, tokens, attended in padded(found, inputs, at_once):
        with torch.inference_mode():
            logits = found.model(input_ids=tokens, attention_mask=attended).logits.float()
            for at, row in enumerate(rows):
                text, start, first, end = windows[row]
                targets = torch.tensor(ids[text][first:end], device=logits.device)
                surprise = cross_entropy(logits[at, first - start : end - start], targets, reduction="none")
                nats[text] += float(surprise.double().sum())
    return nats
