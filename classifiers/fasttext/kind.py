"""fastText as a kind of classifier: trained from good and other pages, or anyone's model as it is."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Self

import pyarrow as pa
import yaml
from pydantic import BeforeValidator, Field, model_validator

from classifiers import card, kinds
from classifiers.fasttext.model import classifier_group, digest, word_margins
from classifiers.fasttext.text import Reading
from classifiers.fasttext.training import LABELS, Recipe, recipe, train
from classifiers.kinds import Floats, LocalPath, Pages, PagesOrFiles, Seed, Several, Source
from filters.nearest import nearest
from filters.signals import Group

PRESETS = Path(__file__).resolve().parents[2] / "conf" / "classifiers"
MODEL = "model.bin"
TRAINED = ("preset", "positives", "negatives", "seed")
FOREIGN = ("label", "higher_is_better", "reading")


def preset_file(preset: str) -> Path:
    """A file of conf/classifiers/, by name or path. Raises ValueError where it is not there."""
    file = Path(preset) if preset.endswith(".yaml") else PRESETS / f"{preset}.yaml"
    if not file.is_file():
        known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
        raise ValueError(f"unknown classifier preset {preset!r}: {nearest(preset, known)}")
    return file


def read_preset(preset: str) -> Recipe:
    """How a classifier reads, draws and learns. Raises ValueError for a preset that says it wrongly."""
    file = preset_file(preset)
    try:
        return recipe(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"classifier preset {file}: {error}") from error


def _reading(given: Any) -> Any:
    if isinstance(given, str):
        return read_preset(given).reading
    if not isinstance(given, Mapping):
        return given
    known = [field.name for field in fields(Reading)]
    for key in given:
        if key not in known:
            raise ValueError(f"unknown key {key!r}: {nearest(key, known)}")
    return Reading(**given)


class Options(kinds.Scorer):
    """A fastText classifier: trained (`positives` and what belongs to them), or a foreign `model`."""

    preset: str = "gao"
    """How it reads, draws and learns: conf/classifiers/<preset>.yaml, or the path of such a file."""
    positives: Several[Source] = Field(default=[], examples=["[data/reference/*.jsonl.zst]"])
    """Files of good text, in any form that `pages.from` takes; needed unless there is a `model`."""
    negatives: PagesOrFiles = "pages"
    """`pages` (a sample of the pool, held-out pages apart) or files."""
    seed: Seed = 0
    """Decides the sample of negatives and fastText's own draws."""
    model: LocalPath | None = Field(default=None, examples=["models/edu.bin"])
    """A fastText file from elsewhere, used as it is instead of training one."""
    label: str | None = Field(default=None, examples=["__label__hq"])
    """The label of `model` whose probability is the score; needed unless a description of ours lies beside the file."""
    higher_is_better: bool = True
    """Whether pages with a higher score of `model` are the better ones."""
    reading: Annotated[Reading | None, BeforeValidator(_reading)] = Field(
        default=None, examples=["{characters: 4000, last: 1500, newline: blank, white_space: fasttext}"]
    )
    """What `model` reads of a page and where it sees words end: `characters`, `last`, `newline`, `white_space`; or a preset
    that says it."""

    @model_validator(mode="after")
    def _trained_or_foreign(self) -> Self:
        wrong, whose = (FOREIGN, "a model") if self.model is None else (TRAINED, "a classifier that is trained")
        for key in wrong:
            if key in self.model_fields_set:
                raise ValueError(f"{key} belongs to {whose}: name either positives or a model, not both")
        if self.model is not None:
            self._check_model(self.model)
        elif not self.positives:
            raise ValueError("positives are missing: name files of good text, or a model: that is used as it is")
        else:
            preset_file(self.preset)
        return self

    def _check_model(self, model: Path) -> None:
        if not model.is_file():
            raise ValueError(f"there is no model file {model}")
        if self.label is None and not model.with_suffix(".json").is_file():
            raise ValueError("label is missing: say which label's probability is the score, such as __label__hq")

    @property
    def trained(self) -> bool:
        """Whether there is no model from elsewhere."""
        return self.model is None

    def texts(self) -> dict[str, list[Any]]:
        """Positives, and negatives where they are files."""
        negatives = {"negatives": self.negatives} if isinstance(self.negatives, list) else {}
        return {"positives": self.positives, **negatives} if self.trained else {}

    def good_key(self) -> str | None:
        """The positives."""
        return "positives" if self.trained else None

    def pool_key(self) -> str | None:
        """Negatives are pages of the pool unless they are files."""
        return "negatives" if self.trained and self.negatives == "pages" else None

    def pool_pages(self) -> int:
        """As many as the recipe draws of a class, and some more for pages without words."""
        return int(1.1 * read_preset(self.preset).sampling.most_per_class)

    def identity(self) -> Any:
        """Recipe and seed; of a model from elsewhere its content and what is made of it."""
        if self.model is None:
            return {"recipe": dataclasses.asdict(read_preset(self.preset)), "seed": self.seed}
        reading = dataclasses.asdict(self.reading) if self.reading else None
        about = {"label": self.label, "higher_is_better": self.higher_is_better, "reading": reading}
        return {"model": digest(self.model), **about}

    def train(self, texts: Mapping[str, Pages], folder: Path) -> str:
        """Write `model.bin` and its card `model.json`."""
        how = read_preset(self.preset)
        return card.sentence(train(texts["positives"], texts["negatives"], folder / MODEL, self.seed, how))

    def weigh_words(self, name: str, folder: Path, words: Sequence[str]) -> dict[str, Floats] | None:
        """By their vectors, where the loss is a softmax."""
        if read_preset(self.preset).hyperparameters["loss"] != "softmax":
            return None
        return {name: word_margins(folder / MODEL, LABELS[True], words)}

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """One score, called as the classifier is."""
        return {name: pa.float64()}

    def group(self, name: str, folder: Path) -> Group:
        """The probability of the label."""
        if self.model is not None:
            return classifier_group(name, self.model, None, self.label, self.reading, self.higher_is_better)
        if not (folder / MODEL).is_file():
            raise ValueError(f"{folder / MODEL} is missing: run jobs.train_classifier first")
        return classifier_group(name, folder / MODEL, digest(folder / MODEL))
