"""pack: subsets and encoded pages in, packed tokens to train on and the pages to evaluate on out.

    python -m jobs.pack CONF [--set key=value ...] [--dry-run]

Every subset's pages are taken in an order decided by their ids until there are several budgets of tokens: two subsets that
share pages share them in the same order, and each seed can draw other ones.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eval.gpt import read_size
from eval.packed import page_order, write_packed
from eval.tokenizer import encode_batch, end_of_text, load_tokenizer, tokenizer_digest
from filters.rules import uniforms
from jobs.parts import command, storage
from jobs.parts.experiment_file import Experiment, Train, as_tree, config_hash
from jobs.parts.made_by import is_made, say_made
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.parts.sample import is_reference
from jobs.parts.table import identity_of, parts_of
from jobs.shards.sources import texts_of

BUDGETS_PER_SEED = 4
"""Token budgets packed for every seed. With one for all, every seed would read the same tokens and the chance of which
tokens were drawn would be no part of the spread (docs/training.md)."""
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
        _pack_subset(experiment, train, name)
    _pack_evaluated(experiment)
    return command.OK


def trainable(experiment: Experiment) -> list[str]:
    """The subsets that hold enough to train on, in the order of the sweep."""
    return [name for name, facts in chosen_subsets(experiment).items() if facts["status"] == "ok"]


def chosen_subsets(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """What is known of every subset of the sweep, in its order."""
    places = Places(experiment.out)
    if not storage.exists(places.sweep):
        raise ExperimentError(f"{places.sweep} is missing: run jobs.choose first")
    return {name: storage.read_json(places.subset_facts(name)) for name in storage.read_json(places.sweep)["subsets"]}


def _pack_subset(experiment: Experiment, train: Train, name: str) -> None:
    places = Places(experiment.out)
    file, subset = places.packed(name), storage.read_json(places.subset_facts(name))
    encoded = identity_of(places.token_ids)
    most = BUDGETS_PER_SEED * train.tokens * max(1, len(train.seeds)) + read_size(train.model).context
    made_by = config_hash({"subset": subset["config_hash"], "most": most, "encoded": encoded})
    if is_made(file, made_by):
        return
    ids, counts = _kept(places, name)
    order = page_order(ids, experiment.seed)
    enough = int(np.searchsorted(np.cumsum(counts[order] + 1), most)) + 1  # an end-of-text stands after every page
    tokenizer = load_tokenizer(places.tokenizer)
    header = write_packed(
        _tokens_of(places, name, order[:enough]),
        file,
        vocabulary=tokenizer.get_vocab_size(),
        end_of_text=end_of_text(tokenizer),
        tokenizer=tokenizer_digest(places.tokenizer),
    )
    say_made(file, made_by)
    print(f"pack: {name:<34} {header.tokens:>12,} tokens of {header.pages:,} pages", flush=True)


def _kept(places: Places, name: str) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Ids and token counts of a subset's pages, in page order."""
    ids: list[str] = []
    counts = []
    for part in parts_of(places.verdicts):
        kept = storage.read_table(part.source, ["id", f"subset {name}"])
        tokens = storage.read_table(places.signals("tokens") / f"{part.name}.parquet", ["token_count"])
        mask = kept[f"subset {name}"]
        ids += kept["id"].filter(mask).to_pylist()
        counts.append(tokens["token_count"].filter(mask).to_numpy())
    return ids, np.concatenate(counts)


def _tokens_of(places: Places, name: str, order: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.uint32]]:
    """The tokens of some of a subset's pages, in the order given. Holds them all: four bytes per token of the budget."""
    wanted = np.sort(order)
    found: dict[int, npt.NDArray[np.uint32]] = {}
    at = 0
    for part in parts_of(places.verdicts):
        mask = storage.read_table(part.source, [f"subset {name}"])[f"subset {name}"]
        here = wanted[(wanted >= at) & (wanted < at + pc.sum(mask).as_py())] if len(mask) else wanted[:0]
        if len(here):
            rows = np.flatnonzero(mask.to_numpy())[here - at]
            tokens = storage.read_table(places.token_ids / f"{part.name}.parquet", ["tokens"])["tokens"]
            taken = tokens.take(pa.array(rows)).combine_chunks()
            flat, offsets = taken.values.to_numpy(), taken.offsets.to_numpy()
            found |= {int(page): flat[a:b] for page, a, b in zip(here, offsets, offsets[1:], strict=False)}
        at += pc.sum(mask).as_py() or 0
    for page in order:
        yield found[int(page)]


def _pack_evaluated(experiment: Experiment) -> None:
    """Held-out pages of the crawl, and the positives kept from the classifiers, encoded once for all runs."""
    places = Places(experiment.out)
    file = places.evaluated
    config = {
        "held_out": as_tree(experiment.evaluate.held_out),
        "seed": experiment.seed,
        "reference": {name: as_tree(files) for name, files in _good_texts(experiment).items()},
        "pages": identity_of(places.pages),
        "tokenizer": tokenizer_digest(places.tokenizer),
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
    tokenizer = load_tokenizer(places.tokenizer)
    flat, offsets = encode_batch(tokenizer, [page["text"] for page in pages])
    rows = [
        {**page, "bytes": len(page["text"].encode()), "tokens": flat[a:b]}
        for page, a, b in zip(pages, offsets, offsets[1:], strict=False)
    ]
    table = pa.table({name: [row[name] for row in rows] for name in EVALUATED.names}, schema=EVALUATED)
    storage.write_table(file, table)
    say_made(file, made_by)
    for name in ("held_out", "reference"):
        chosen = [row["bytes"] for row in rows if row["set"] == name]
        print(f"pack: evaluated on {len(chosen):,} pages of {name}, {sum(chosen):,} bytes", flush=True)


def _held_out_pages(experiment: Experiment) -> list[dict[str, Any]]:
    """Held-out pages up to `most_bytes`, in an order decided by their ids."""
    places = Places(experiment.out)
    pages: list[dict[str, Any]] = []
    for part in parts_of(places.verdicts):
        mask = storage.read_table(part.source, ["held_out"])["held_out"]
        rows = storage.read_table(places.pages / f"{part.name}.parquet", ["id", "domain", "text"]).filter(mask)
        language = places.signals("language") / f"{part.name}.parquet"
        if storage.exists(language):
            rows = rows.append_column("language", storage.read_table(language, ["language"])["language"].filter(mask))
        pages += rows.to_pylist()
    return _taken(pages, "held_out", experiment)


def _good_texts(experiment: Experiment) -> dict[str, list[Any]]:
    """The files of good text that each classifier is trained on."""
    kinds = {name: one.options for name, one in experiment.classifiers.items()}
    return {name: kind.texts()[key] for name, kind in kinds.items() if (key := kind.good_key())}


def _reference_pages(experiment: Experiment) -> list[dict[str, Any]]:
    """The good texts that no classifier was trained on."""
    good = [page for name, files in _good_texts(experiment).items() for page in texts_of(files, f"classifiers.{name}")]
    pages = [{"id": page, "text": text} for page, text in dict(good).items() if is_reference(page, experiment.seed)]
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
