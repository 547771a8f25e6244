"""How near a page is to what is wanted and how far from what is not, both written down in words: criteria, and no examples.

CARP (Matiana et al. 2021, arXiv 2110.03111) puts stories and critiques of them into one embedding space; Castricato et al.
(2022, arXiv 2210.07792) steer stories by criteria in it. Here the space is any encoder's as it stands: the mean of its last
states, by cosine. It was made for likeness of meaning: a page about writing is like a critique of writing, however written.
"""

import functools
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from classifiers import encoders, kinds
from classifiers.bags import read_weights, write_weights
from classifiers.encoders import Encoder, read_text, unit
from classifiers.examples import Example, Sampling, Side, sample, write_held_out
from classifiers.kinds import Floats, LocalPath, Pages, PagesOrFiles, Seed
from classifiers.topic import TITLES, title
from classifiers.transformer import folder_digest
from filters.files import write_whole
from filters.nearest import nearest
from filters.pages import PageBatch
from filters.signals import Group, Signal
from filters.strict_yaml import read_yaml_file

FOLDER = Path(__file__).resolve().parents[1] / "conf" / "criteria"
MODEL = "model.safetensors"
FEWEST, HELD_OUT = 20, 0.1
SIDES = ("wanted", "unwanted")


class Criteria(NamedTuple):
    """What a page should be like and what not, in sentences; one of each at the least."""

    wanted: list[str]
    unwanted: list[str]


def read_criteria(name: str) -> Criteria:
    """A file of conf/criteria/, by name or path. Raises ValueError for one that is not there or lacks criteria."""
    file = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not file.is_file():
        raise ValueError(f"unknown criteria {name!r}: {nearest(name, sorted(path.stem for path in FOLDER.glob('*.yaml')))}")
    tree = read_yaml_file(file)
    if not isinstance(tree, Mapping) or not set(tree) <= set(SIDES):
        raise ValueError(f"{file} must hold wanted: and unwanted:, each with a list of sentences")
    for side in SIDES:
        given = tree.get(side)
        if not isinstance(given, list) or not all(isinstance(one, str) and one.strip() for one in given or [None]):
            raise ValueError(f"{file}: {side} is {given!r}, expected a list of sentences, one at the least and none empty")
    return Criteria(*(tree[side] for side in SIDES))


class Options(encoders.Options):
    """How near a page is to written criteria, in the space of an encoder; nothing is learned."""

    encoder: LocalPath = Field(examples=["models/minilm"])
    """The folder of an encoder in whose space pages and criteria are compared."""
    criteria: str = "writing"
    """What is wanted and unwanted: conf/criteria/<name>.yaml, or the path of such a file."""
    text: PagesOrFiles = "pages"
    """What the card tries the criteria on: `pages` (a sample of the pool, held-out pages apart) or files."""
    most_pages: Annotated[int, Field(ge=FEWEST)] = 60
    """Pages for the card at most; a processor reads some ten a second, and the card reads each five times."""
    seed: Seed = 0
    """Decides which pages the card is made from."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        read_criteria(self.criteria)
        return self

    @property
    def trained(self) -> bool:
        """There is a direction to work out, and a card to make."""
        return True

    def look_into_models(self) -> None:
        """The encoder loads."""
        Encoder.found(self.encoder, self.reading)

    def identity(self) -> Any:
        """The encoder, what it reads, the criteria themselves, and what decides the card."""
        return {
            "encoder": folder_digest(self.encoder),
            "criteria": read_criteria(self.criteria)._asdict(),
            **self.model_dump(include={"tokens", "characters", "most_pages", "seed"}),
        }

    def train(self, texts: Mapping[str, Pages], folder: Path) -> str:
        """Write the direction that pages are measured along, and the card. Raises TrainingError."""
        folder.mkdir(parents=True, exist_ok=True)
        criteria, encoder = read_criteria(self.criteria), self.encoder_in(self.encoder)
        said = [unit(encoder.of_texts(side)) for side in criteria]
        direction = said[0].mean(axis=0) - said[1].mean(axis=0)
        read = functools.partial(read_text, characters=self.characters)
        with tempfile.TemporaryFile(dir=folder.parent) as spool:
            drawn = sample(
                {True: ("text", texts["text"])}, read, Sampling(self.most_pages, FEWEST, HELD_OUT), self.seed, spool
            )
            examples: list[Example] = [*drawn.training, *drawn.held_out]
            pages = [drawn.content(example).decode() for example in examples]
        found = unit(encoder.of_texts(pages))
        about = {
            "sha256": write_weights(folder / MODEL, direction, 0.0),
            **self.identity(),
            "trained_on": {"text": 0},
            "trained_on_hash": {"text": hashlib.sha256(json.dumps(pages).encode()).hexdigest()},
            "looked_at": len(pages),
            "tried_criteria": [
                _told(sentence, side, found @ vector, pages)
                for side, sentences, vectors in zip(SIDES, criteria, said, strict=True)
                for sentence, vector in zip(sentences, vectors, strict=True)
            ],
        }
        write_whole(folder / kinds.CARD, (json.dumps(about, indent=2) + "\n").encode())
        write_held_out([Side("text", False, pages)], folder)
        values = found @ direction
        return (
            f"{len(criteria.wanted)} wanted and {len(criteria.unwanted)} unwanted criteria; "
            f"{len(pages):,} pages lie between {values.min():+.3f} and {values.max():+.3f}"
        )

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """One number, `criteria_` before the classifier's name."""
        return {f"criteria_{name}": pa.float64()}

    def group(self, name: str, folder: Path) -> Group:
        """The mean cosine to what is wanted minus that to what is unwanted, in [-2, 2]."""
        path, encoder = (folder / MODEL).resolve(), self.encoder_in(self.encoder)
        direction, _, sha256 = read_weights(path, encoder.width)
        score = Score(tuple(direction.tolist()), encoder)
        return Group(name, (Signal(f"criteria_{name}", score, pa.float64()),), {"sha256": sha256, **encoder.identity})


@dataclass(frozen=True)
class Score:
    """The function of the signal. It travels to the workers as plain data; the encoder is loaded there, once."""

    direction: tuple[float, ...]
    encoder: Encoder

    def __call__(self, pages: PageBatch) -> Floats:
        """Each page's place along the direction, NaN for one without words; shape (pages,)."""
        return np.asarray(unit(self.encoder.of_pages(pages)) @ np.array(self.direction), np.float64)


def _told(sentence: str, side: str, cosines: Floats, pages: Sequence[str]) -> dict[str, Any]:
    """What the card says of a criterion: how near the pages are to it, and first lines of the nearest."""
    inmost = np.argsort(-cosines, kind="stable")[:TITLES]
    return {
        "criterion": sentence,
        "side": side,
        "mean_cosine": float(cosines.mean()),
        "standard_deviation": float(cosines.std()),
        "titles": [title(pages[row]) for row in inmost.tolist()],
    }
