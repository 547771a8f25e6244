"""pack: subsets and encoded pages in, packed tokens to train on and the pages to evaluate on out.

    python -m jobs.pack CONF [--set key=value ...] [--dry-run]

Every subset's slices are taken in an order decided by their page's id and the seed until there are tokens enough: subsets
that share pages share their slices in the same order, and each seed has an order of its own.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from eval.gpt import read_size
from eval.packed import Regime, Stream, stream_tokens, write_packed
from eval.slices import EVERY, Slices, slice_keys, slices_under, tokens_in_slices
from eval.tokenizer import encode_batch, end_of_text, load_tokenizer, tokenizer_digest
from filters.files import sha256_of
from filters.rules import uniforms
from jobs.parts import command, loop
from jobs.parts.experiment_file import Experiment, ExperimentError, Train, as_tree, config_hash
from jobs.parts.made_by import is_made, say_made
from jobs.parts.places import is_reference, tokenizer_folder
from jobs.shards.sources import texts_of

EVALUATED = pa.schema(
    [
        ("id", pa.string()),
        ("set", pa.string()),
        ("domain", pa.string()),
        ("language", pa.string()),
        ("bytes", pa.int64()),
        ("tokens", pa.list_(pa.uint32())),
    ]
)


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Pack what is not packed yet: one file per subset that can be trained on, and the pages every run is evaluated on."""
    train = experiment.train
    if train is None:
        raise ExperimentError("the experiment file has no train: section, so there is nothing to pack for")
    subsets = chosen_subsets(experiment)
    names = trainable(experiment)
    for name, facts in subsets.items():
        if name not in names:
            print(f"pack: {name} is {facts['status']}: {facts['reason']}")
    if dry_run:
        print(f"pack: {len(names)} subsets: {', '.join(names)}")
        return command.OK
    for name in names:
        for seed in train.seeds:
            _pack_stream(experiment, train, name, seed)
    _pack_evaluated(experiment)
    return command.OK


def trainable(experiment: Experiment) -> list[str]:
    """The subsets that hold enough to train on, in the order of the sweep."""
    return [name for name, facts in chosen_subsets(experiment).items() if facts["status"] == "ok"]


def chosen_subsets(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """What `subset.json` says of every subset of the sweep, in its order."""
    sweep = experiment.out / "subsets" / "sweep.json"
    if not sweep.is_file():
        raise ExperimentError(f"{sweep} is missing: run jobs.choose first")
    names = json.loads(sweep.read_text())["subsets"]
    return {name: json.loads((experiment.out / "subsets" / name / "subset.json").read_text()) for name in names}


def packed_file(out: Path, subset: str, seed: int) -> Path:
    """The tokens of a subset for one seed."""
    return out / "packed" / subset / f"{seed}.bin"


def evaluated_file(out: Path) -> Path:
    """The encoded pages that every run is evaluated on."""
    return out / "packed" / "evaluated.parquet"


def _pack_stream(experiment: Experiment, train: Train, name: str, seed: int) -> None:
    out, file, size = experiment.out, packed_file(experiment.out, name, seed), read_size(train.model)
    subset = json.loads((out / "subsets" / name / "subset.json").read_text())
    encoded = sha256_of(out / "token_ids" / loop.MANIFEST)
    budget = stream_tokens(train.tokens, size.batch, size.context)
    asked = {"budget": budget, "context": size.context, "seed": seed, "regime": train.regime}
    made_by = config_hash({"subset": subset["config_hash"], "encoded": encoded, **asked})
    if is_made(file, made_by):
        return
    slices = _slices(out, name, size.context, seed)
    order = np.argsort(slices.key)
    ends = np.cumsum(tokens_in_slices(slices.length[order]))
    cut = int(slices.key[order][np.searchsorted(ends, budget)]) + 1 if ends[-1] >= budget else EVERY
    regime: Regime = "fresh" if train.regime == "fresh" else "fixed_pool"
    tokenizer = load_tokenizer(tokenizer_folder(out))
    header = write_packed(
        (slices_under(pages, cut, size.context, seed) for pages in _kept(out, name)),
        file,
        Stream(size.context, seed, regime, budget, pool=int(ends[-1])),
        vocabulary=tokenizer.get_vocab_size(),
        end_of_text=end_of_text(tokenizer),
        tokenizer=tokenizer_digest(tokenizer_folder(out)),
    )
    say_made(file, made_by)
    print(f"pack: {name:<34} {header.tokens:>12,} tokens of {header.pages:,} pages", flush=True)


def _slices(out: Path, name: str, context: int, seed: int) -> Slices:
    """All slices of a subset, without their tokens."""
    kept = [(pages["id_hash"], pc.list_value_length(pages["tokens"])) for pages in _kept(out, name)]
    id_hash, tokens = (np.concatenate([column.to_numpy() for column in columns]) for columns in zip(*kept, strict=True))
    return slice_keys(id_hash, tokens.astype(np.int64), context, seed)


def _kept(out: Path, name: str) -> Iterator[pa.Table]:
    """Each part's pages of a subset: id, its hash, and tokens."""
    for part in loop.parts_of(out / "verdicts"):
        mask = pq.read_table(part.source, columns=[f"subset {name}"])[f"subset {name}"]
        pages = pq.read_table(out / "token_ids" / f"{part.name}.parquet", columns=["id", "tokens"]).filter(mask)
        hashes = (xxhash.xxh3_64_intdigest(page.encode()) for page in pages["id"].to_pylist())
        yield pages.append_column("id_hash", pa.array(hashes, pa.uint64(), size=len(pages)))


def _pack_evaluated(experiment: Experiment) -> None:
    """Held-out pages of the crawl, and the positives kept from the classifiers, encoded once for all runs."""
    out, file = experiment.out, evaluated_file(experiment.out)
    config = {
        "held_out": as_tree(experiment.evaluate.held_out),
        "seed": experiment.seed,
        "positives": [one.fasttext.positives for one in experiment.classifiers.values()],
        "pages": sha256_of(out / "pages" / loop.MANIFEST),
        "tokenizer": tokenizer_digest(tokenizer_folder(out)),
    }
    made_by = config_hash(config)
    if is_made(file, made_by):
        return
    held_out = _held_out_pages(experiment)
    if not held_out:
        how = experiment.evaluate.held_out
        raise ExperimentError(
            f"no page is held out (evaluate.held_out: by {how.by}, share {how.share}): take more, or hold out by page"
        )
    pages = held_out + _reference_pages(experiment)
    tokenizer = load_tokenizer(tokenizer_folder(out))
    flat, offsets = encode_batch(tokenizer, [page["text"] for page in pages])
    rows = [
        {**page, "bytes": len(page["text"].encode()), "tokens": flat[a:b]}
        for page, a, b in zip(pages, offsets, offsets[1:], strict=False)
    ]
    table = pa.table({name: [row[name] for row in rows] for name in EVALUATED.names}, schema=EVALUATED)
    pq.write_table(table, file, compression="zstd")
    say_made(file, made_by)
    for name in ("held_out", "reference"):
        chosen = [row["bytes"] for row in rows if row["set"] == name]
        print(f"pack: evaluated on {len(chosen):,} pages of {name}, {sum(chosen):,} bytes", flush=True)


def _held_out_pages(experiment: Experiment) -> list[dict[str, Any]]:
    """Held-out pages up to `most_bytes`, in an order decided by their ids."""
    pages: list[dict[str, Any]] = []
    for part in loop.parts_of(experiment.out / "verdicts"):
        mask = pq.read_table(part.source, columns=["held_out"])["held_out"]
        rows = pq.read_table(experiment.out / "pages" / f"{part.name}.parquet", columns=["id", "domain", "text"]).filter(
            mask
        )
        language = experiment.out / "signals" / "language" / f"{part.name}.parquet"
        if language.is_file():
            rows = rows.append_column("language", pq.read_table(language, columns=["language"])["language"].filter(mask))
        pages += rows.to_pylist()
    return _taken(pages, "held_out", experiment)


def _reference_pages(experiment: Experiment) -> list[dict[str, Any]]:
    """The positives that no classifier was trained on."""
    positives = [
        page
        for name, one in experiment.classifiers.items()
        for page in texts_of(one.fasttext.positives, f"classifiers.{name}.fasttext.positives")
    ]
    pages = [{"id": page, "text": text} for page, text in dict(positives).items() if is_reference(page, experiment.seed)]
    return _taken(pages, "reference", experiment)


def _taken(pages: Sequence[dict[str, Any]], name: str, experiment: Experiment) -> list[dict[str, Any]]:
    """The beginnings of the first pages by their draws that stay within `most_bytes`, as rows of the set."""
    draws = uniforms([page["id"] for page in pages], experiment.seed, f"evaluated {name}")
    taken: list[dict[str, Any]] = []
    size = 0
    for at in np.argsort(draws, kind="stable"):
        text = pages[at]["text"][: experiment.evaluate.held_out.page_characters]
        size += len(text.encode())
        if taken and size > experiment.evaluate.held_out.most_bytes:
            break
        taken.append({"domain": None, "language": None, **pages[at], "text": text, "set": name})
    return taken


if __name__ == "__main__":
    command.main(main, __doc__)
