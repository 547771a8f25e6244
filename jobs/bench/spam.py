"""Which scorer sees spam that it was never shown: area under the curve of ham against spam, and what the rules let through.

Classifiers are trained as an experiment trains them, with good texts against crawl pages, then score SpamAssassin's ham and
spam (`../shared/data/text`). The good texts are speeches, a novel and web genres without e-mail. The mails are of 2002 and
2003 and nearly all in English: this is a trial of scorers on text unlike what they learned, and says little of web spam.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import filters
from classifiers.card import area_under_curve
from filters.files import write_whole
from filters.texts import measured
from jobs import read, split, train_classifier
from jobs.parts.experiment_file import Experiment
from jobs.parts.places import Places
from jobs.parts.session import HOME
from jobs.shards.extract_page import resiliparse_text

TEXTS = HOME.parent / "shared" / "data" / "text"
SPEECHES, GENRES, MAIL = (
    TEXTS / f"{name}.jsonl.gz" for name in ("public_domain_sotu_mobydick", "ud_english_ewt", "spamassassin")
)
KEEPS = 0.9
"""The level is put where it keeps so much of the ham."""
OUT = HOME / "out" / "spam"

Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]


def rows(shards: list[Path]) -> list[dict[str, Any]]:
    """The rows of `score.spam`, one a signal; none where the texts are not at hand."""
    if not MAIL.exists():
        return []
    good = good_texts(OUT)
    experiment = Experiment.model_validate(
        {"out": OUT, "pages": {"from": [str(one) for one in shards]}, "classifiers": scorers(good)}
    )
    for verb in (read, split, train_classifier):
        verb.main(experiment)
    texts, spam, plain = mails()
    passes = filters.keep(filters.measure(texts, ["gopher"]), "gopher").to_numpy(zero_copy_only=False)
    found = []
    for name, one in experiment.classifiers.items():
        table = measured(texts, [one.options.group(name, Places(OUT).classifier(name))])
        for column in table.column_names:
            values = table[column].to_numpy()
            better = -values if one.options.lower_is_better() else values
            found.append(_row(column, np.nan_to_num(better, nan=-np.inf), spam, passes, plain))
    return found


def good_texts(out: Path) -> list[str]:
    """The files of good texts; that of the genres without e-mail is written."""
    out.mkdir(parents=True, exist_ok=True)
    genres = out / "genres.jsonl"
    write_whole(genres, "".join(json.dumps(text) + "\n" for text in _lines(GENRES) if text["genre"] != "email").encode())
    return [str(SPEECHES), str(genres)]


def scorers(good: list[str]) -> dict[str, Any]:
    """The classifiers, each as the experiment file has it: all learn from the same texts."""
    return {
        "quality": {"fasttext": {"preset": "gao_small", "positives": good}},
        "gpt3": {"hashing_tf": {"positives": good}},
        "good": {"importance": {"target": good}},
        "prose": {"kenlm": {"text": good, "against": {"crawl": "pages"}}},
    }


def mails() -> tuple[pa.Array, Truth, Truth]:
    """The text of every mail that has any, which are spam, and which are plain text; of others it is taken out of HTML."""
    told = [(mail["text"].strip() or resiliparse_text(mail["html"])[0].strip(), mail) for mail in _lines(MAIL)]
    told = [(text, mail) for text, mail in told if text]
    spam, plain = ([mail["label"] == "spam" for _, mail in told], [bool(mail["text"].strip()) for _, mail in told])
    return pa.array([text for text, _ in told], pa.large_string()), np.array(spam), np.array(plain)


def _lines(file: Path) -> Iterator[Mapping[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as opened:
        yield from map(json.loads, opened)


def _row(name: str, better: Floats, spam: Truth, passes: Truth, plain: Truth) -> dict[str, Any]:
    """What one signal tells; `better` is higher for pages that it prefers, and lowest where it has no value.

    `plain`: the area over mails of plain text alone, of which ham and spam look more alike.
    """
    level = np.quantile(better[~spam], 1 - KEEPS, method="lower")
    through = spam & passes
    return {
        "bench": "score.spam",
        "what": name,
        "ours": round(area_under_curve(~spam, better), 3),
        "unit": "area, ham over spam",
        "against": f"the Gopher rules, which pass {passes[spam].mean():.1%} of spam, {passes[~spam].mean():.1%} of ham",
        "theirs": f"{(better[through] < level).mean():.1%} of that spam is below the level",
        "ratio": "",
        "plain": round(area_under_curve(~spam[plain], better[plain]), 3),
        "mails": {"ham": int((~spam).sum()), "spam": int(spam.sum()), "spam past the rules": int(through.sum())},
    }
