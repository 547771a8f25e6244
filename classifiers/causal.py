"""Causal language models that score pages: read from a folder, asked for likelihoods, answers or states.

A model is a run of our own, a folder as Hugging Face's libraries write it, or a folder with one GGUF file, whose weights
become float32. Before every page stands the mark that begins a text (of models that have none, the one that ends a text):
the first token is predicted from it, and it takes the states of huge norm that these models have at their first token. What
looks like a mark in a page is text.
"""

import functools
import hashlib
import heapq
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from classifiers import kinds
from classifiers.card import ranking, sentence
from classifiers.examples import MOST_BYTES, Side, write_held_out
from classifiers.kinds import Floats, LocalPath, Page, Pages, PagesOrFiles, Seed, Several, Source, TrainingError
from classifiers.transformer import CARD_PAGES, Reading, Transformer, folder_digest, page_texts, read_model
from filters.files import sha256_of
from filters.pages import PageBatch


def model_digest(folder: Path) -> str:
    """The sha256 of what a model is loaded from. Raises ValueError for what is no model."""
    file = _gguf(folder)
    return folder_digest(folder) if file is None else sha256_of(file)


def _gguf(folder: Path) -> Path | None:
    """The GGUF file of a folder that has one and no configuration."""
    files = sorted(folder.glob("*.gguf")) if folder.is_dir() and not (folder / "config.json").exists() else []
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:20])
        raise ValueError(f"{folder} holds {len(files)} GGUF files ({names}), one was expected: a folder for each")
    return files[0] if files else None


@functools.cache
def load(folder: Path, sha256: str) -> Transformer:
    """The model in a folder of this `model_digest`, loaded once per process. Raises ValueError."""
    from transformers import AutoModelForCausalLM

    if model_digest(folder) != sha256:
        raise ValueError(f"the files of {folder} are not those that the job began with")
    file = _gguf(folder)
    how = {} if file is None else {"gguf_file": file.name}
    found = read_model(folder, AutoModelForCausalLM, "a causal language model", **how)
    if not found.tokenizer.is_fast:
        raise ValueError(f"the tokenizer in {folder} does not tell which letters a token stands for: add a tokenizer.json")
    if found.tokenizer.bos_token_id is None and found.tokenizer.eos_token_id is None:
        raise ValueError(f"the tokenizer in {folder} has no token that begins or ends a text, which stands before each page")
    return found


def mark(found: Transformer) -> int:
    """The token that stands before every page."""
    begins = found.tokenizer.bos_token_id
    return int(found.tokenizer.eos_token_id if begins is None else begins)


def positions(found: Transformer) -> int | None:
    """How many tokens the model sees at once; None where nothing bounds them."""
    most: int | None = getattr(found.model.config.get_text_config(), "max_position_embeddings", None)
    return most


def read(found: Transformer, texts: Sequence[str], tokens: int) -> tuple[list[list[int]], list[int]]:
    """The tokens of each text, cut to so many, without a mark; and the UTF-8 bytes of what they stand for.

    A letter that the cut goes through counts whole.
    """
    if not texts:
        return [], []
    how = {"return_attention_mask": False, "return_token_type_ids": False, "verbose": False}
    encoded = found.tokenizer(
        list(texts), add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True, **how
    )
    ids: list[list[int]] = []
    sizes: list[int] = []
    for text, one, places in zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        end = places[tokens - 1][1] if len(one) > tokens else len(text)
        ids.append(one[:tokens])
        sizes.append(len(text[:end].encode()))
    return ids, sizes


def with_words(pages: PageBatch, characters: int) -> tuple[list[int], list[str]]:
    """The rows of the pages with words, and the first `characters` code points of each."""
    told = [(row, text) for row, text in enumerate(page_texts(pages, characters)) if text.strip()]
    return [row for row, _ in told], [text for _, text in told]


class CausalScorer(kinds.Scorer):
    """What the kinds that read pages with a causal language model have in common."""

    model: LocalPath = Field(examples=["models/smollm2", "out/demo/runs/unfiltered/0.2m-300000-0.005/0"])
    """The folder of a causal language model: a run of our own, one as Hugging Face's libraries write it, or a GGUF file."""
    positives: Several[Source] = Field(default=[], examples=["[data/reference/*.jsonl.zst]"])
    """Files of good text, in any form that `pages.from` takes."""
    negatives: PagesOrFiles = "pages"
    """What they are set against: `pages` (a sample of the pool, held-out pages apart) or files."""
    seed: Seed = 0
    """Decides which pages of either are drawn."""
    tokens: int = Field(default=256, ge=8)
    """Tokens read from a page's beginning."""
    characters: int = Field(default=10_000, ge=1)
    """Code points that the tokenizer is given; bounds what a page costs."""

    @model_validator(mode="after")
    def _negatives_of_positives(self) -> Self:
        for key in ("negatives", "seed"):
            if key in self.model_fields_set and not self.positives:
                raise ValueError(f"{key} belongs to positives, which are missing")
        return self

    @property
    def trained(self) -> bool:
        """Whether there are pages to learn from or to be measured on."""
        return bool(self.positives)

    def texts(self) -> dict[str, list[Any]]:
        """Positives, and negatives where they are files."""
        if not self.positives:
            return {}
        return {"positives": self.positives, **({"negatives": self.negatives} if isinstance(self.negatives, list) else {})}

    def pool_key(self) -> str | None:
        """Negatives are pages of the pool unless they are files."""
        return "negatives" if self.positives and self.negatives == "pages" else None

    def pool_pages(self) -> int:
        """Some more than the card is made from: there are pages without words."""
        return 2 * CARD_PAGES

    @property
    def reading(self) -> Reading:
        """What is read of a page."""
        return Reading(self.tokens, self.characters)

    def loaded(self) -> tuple[Path, str, Transformer]:
        """The model's folder, its digest and the model. Raises ValueError."""
        folder = self.model.resolve()
        sha256 = model_digest(folder)
        return folder, sha256, load(folder, sha256)


def measured_sides(texts: Mapping[str, Pages], seed: int) -> list[Side]:
    """Some pages with words of either text, those with the lowest hashes of id and seed. Raises TrainingError."""
    sides = []
    for name in ("positives", "negatives"):
        drawn = heapq.nsmallest(CARD_PAGES, ((_order(page, seed), page.text) for page in texts[name] if page.text.strip()))
        if not drawn:
            raise TrainingError(f"there is no page with words among the {name}: name more files under {name}:")
        sides.append(Side(name, name == "positives", [text[:MOST_BYTES] for _, text in drawn]))
    return sides


def _order(page: Page, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\n{page.id}".encode("utf-8", "replace"), digest_size=16).digest()


def write_measured(
    folder: Path, sides: Sequence[Side], better: Floats, about: Mapping[str, Any], warning: str | None = None
) -> str:
    """Write the card of a scorer that learned nothing, and the pages it was measured on; a line for the terminal.

    better: a number for each page of the sides in their order, higher for pages that the scorer prefers; NaN is left out.
    warning: what the card and the terminal say before all else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    positive, known = np.array([side.positive for side in sides for _ in side.texts]), ~np.isnan(better)
    ranked = ranking(positive[known], better[known])
    ranked["spread"]["warning"] = warning or ranked["spread"]["warning"]
    card = {
        "trained_on": {side.name: 0 for side in sides},
        "trained_on_hash": {side.name: "" for side in sides},
        "held_out": {**ranked, **about},
    }
    (folder / kinds.CARD).write_text(json.dumps(card, indent=2) + "\n")
    write_held_out(sides, folder)
    return f"learned nothing; {sentence(card).partition('; ')[2]}"
