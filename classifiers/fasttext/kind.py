"""fastText as a kind of classifier: trained from good and other pages, or anyone's model as it is."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from classifiers import kinds
from classifiers.fasttext.text import Reading
from classifiers.kinds import LocalPath, Seed, Several, Source
from filters.signals import nearest

PRESETS = Path(__file__).resolve().parents[2] / "conf" / "classifiers"
TRAINED = ("preset", "positives", "negatives", "seed")
FOREIGN = ("label", "higher_is_better", "reading")


def preset_file(preset: str) -> Path:
    """A file of conf/classifiers/, by name or path. Raises ValueError where it is not there."""
    file = Path(preset) if preset.endswith(".yaml") else PRESETS / f"{preset}.yaml"
    if not file.is_file():
        known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
        raise ValueError(f"unknown classifier preset {preset!r}: {nearest(preset, known)}")
    return file


def _reading(given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    known = [field.name for field in fields(Reading)]
    for key in given:
        if key not in known:
            raise ValueError(f"unknown key {key!r}: {nearest(key, known)}")
    return Reading(**given)


PagesOrFiles = Annotated[
    Annotated[Literal["pages"], Tag("pages")] | Annotated[Several[Source], Tag("files")],
    Discriminator(lambda given: "pages" if given == "pages" else "files"),
]


class Options(kinds.Options):
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
    """What `model` reads of a page and where it sees words end: `characters`, `last`, `newline`, `white_space`."""

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

    def texts(self) -> dict[str, list[Any]]:
        """Positives, and negatives where they are files."""
        negatives = {"negatives": self.negatives} if isinstance(self.negatives, list) else {}
        return {"positives": self.positives, **negatives} if self.model is None else {}
