"""KenLM as a kind of classifier: language models trained from text or from elsewhere, and their perplexities as signals."""

import json
import re
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Self

import pyarrow as pa
from pydantic import BeforeValidator, Field, model_validator

from classifiers import kinds, language
from classifiers.examples import Side, write_held_out
from classifiers.fasttext.file import ModelFileError
from classifiers.fasttext.model import digest
from classifiers.kenlm.model import EVERY, Perplexity, Ratio, check, check_pieces, load
from classifiers.kenlm.text import File
from classifiers.kenlm.training import HELD_OUT_SHARE, missing_tools, train_model, train_pieces, write_lines
from classifiers.kinds import CARD, LocalPath, Pages, PagesOrFiles
from filters.nearest import nearest
from filters.signals import Group, Signal

NAME, CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]*"), re.compile(r"[a-z]{3}")
TRAINED = ("order", "pieces", "sample")
"""Keys that say how models are trained."""


def _text_alone(given: Any) -> Any:
    """Files or `pages` stand for a model that is trained from them."""
    return {"text": given} if isinstance(given, str | list) else given


class OneModel(kinds.Options):
    """A language model: trained from `text`, or a `model` from elsewhere."""

    text: PagesOrFiles = Field(default=[], examples=["[data/reference/*.jsonl.zst]"])
    """Files of text, or `pages` of the pool."""
    model: LocalPath | None = None
    """A file of `build_binary`, or an ARPA file."""
    sentencepiece: LocalPath | None = None
    """The SentencePiece model that its text is cut by."""


Models = dict[str, Annotated[OneModel, BeforeValidator(_text_alone)]]


class Options(kinds.Scorer):
    """Perplexity under an n-gram model: trained from `text`, a foreign `model`, or one for each of several `languages`."""

    text: PagesOrFiles = Field(default=[], examples=["[data/reference/*.jsonl.zst]"])
    """Files of text that pages should be like, in any form that `pages.from` takes, or `pages` of the pool."""
    order: Annotated[int, Field(ge=2, le=6)] = 5
    """Tokens that are looked at together; CCNet takes 5."""
    pieces: Annotated[int, Field(ge=16)] | None = 8000
    """Pieces of the SentencePiece model that is trained, one for all models of this entry; null for words between blanks."""
    sample: Annotated[int, Field(ge=1)] = 20_000
    """Pages of the pool that are taken at most, where a text is `pages`."""
    against: Models = Field(default={}, examples=["{crawl: pages}"])
    """Other models by name, of text that pages should not be like; each gives its perplexity and the ratio of the two."""
    languages: Models = Field(default={}, examples=["{eng: {model: en.arpa.bin, sentencepiece: en.sp.model}}"])
    """In place of `text` or `model`: one of either for each language; a page of another language has no perplexity."""
    model: LocalPath | None = Field(default=None, examples=["models/wiki.binary"])
    """A KenLM model from elsewhere, used as it is: of `build_binary`, which workers share, or ARPA, which each reads."""
    sentencepiece: LocalPath | None = Field(default=None, examples=["models/wiki.sp.model"])
    """A SentencePiece model that is there already; of a foreign `model` the one it was trained with (none: words)."""
    optional: bool = False
    """Whether to leave this entry out, and say so, where it is to be trained and KenLM's programs are missing."""

    @model_validator(mode="after")
    def _can_be_meant(self) -> Self:
        if [bool(self.text), self.model is not None, bool(self.languages)].count(True) != 1:
            raise ValueError("name one of text: to train from, model: to use as it is, languages: for either by language")
        if self.languages and (self.against or self.sentencepiece):
            raise ValueError("languages: takes no against and no sentencepiece beside it: each language has its own")
        for key, one in self.models().items():
            _check_model(key, one)
        if self.text and self.pieces and not self.sentencepiece and any(one.model for one in self.against.values()):
            raise ValueError(
                "against: perplexities over different pieces cannot be compared: name the sentencepiece of the model"
            )
        if sum(one.text == "pages" for one in self.models().values()) > 1:
            raise ValueError("text: pages can stand once, two models of the same pages say nothing")
        for key in TRAINED:
            if key in self.model_fields_set and not self.trained:
                raise ValueError(f"{key} belongs to a model that is trained: here all are from elsewhere")
        if "pieces" in self.model_fields_set and self.sentencepiece:
            raise ValueError("pieces belongs to a SentencePiece model that is trained: sentencepiece names one")
        return self

    def models(self) -> dict[str, OneModel]:
        """Every model by the key of its text."""
        main = (
            {} if self.languages else {"text": OneModel(text=self.text, model=self.model, sentencepiece=self.sentencepiece)}
        )
        against = {f"against.{name}": one for name, one in self.against.items()}
        return main | against | {f"languages.{code}": one for code, one in self.languages.items()}

    @property
    def trained(self) -> bool:
        """Whether one of the models has no file yet."""
        return any(one.model is None for one in self.models().values())

    def lacks(self) -> str | None:
        """KenLM's programs, where there is something to train and they cannot be found."""
        return missing_tools() if self.trained else None

    def left_out(self) -> str | None:
        """What is missing to train, if that is no error."""
        return self.lacks() if self.optional else None

    def texts(self) -> dict[str, list[Any]]:
        """The files of every model that is trained from files."""
        return {key: one.text for key, one in self.models().items() if isinstance(one.text, list) and one.text}

    def good_key(self) -> str | None:
        """The text that pages should be like."""
        return "text" if "text" in self.texts() else None

    def pool_key(self) -> str | None:
        """The model that is trained from pages of the pool."""
        return next((key for key, one in self.models().items() if one.text == "pages"), None)

    def pool_pages(self) -> int:
        """The sample."""
        return self.sample

    def lower_is_better(self) -> bool:
        """A model is the less surprised by a page the more it is like its text."""
        return True

    def identity(self) -> Any:
        """Options, and the content of files from elsewhere."""
        about = self.model_dump(include={*TRAINED}) | {"held_out": HELD_OUT_SHARE} if self.trained else {}
        files = {
            key: [one.text == "pages", *map(_digest, (one.model, one.sentencepiece))] for key, one in self.models().items()
        }
        return about | {"models": files}

    def pieces_key(self, key: str) -> str | None:
        """The file of our own with the pieces of a model; None for words and for pieces from elsewhere."""
        one = self.models()[key]
        if (one.sentencepiece or self.sentencepiece) or self.pieces is None or self._foreign_words(key):
            return None
        return f"pieces.{key.partition('.')[2]}" if self.languages else "pieces"

    def _foreign_words(self, key: str) -> bool:
        """Whether the model that decides the tokens is from elsewhere and has no pieces."""
        return self.models()[key if self.languages else "text"].model is not None

    def train(self, texts: Mapping[str, Pages], folder: Path) -> str:
        """Write the models as `KEY.binary`, their pieces as `pieces.model`, and a card."""
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".training.") as made:
            work = Path(made)
            return self._train(texts, folder, work)

    def _train(self, texts: Mapping[str, Pages], folder: Path, work: Path) -> str:
        keys = list(texts)
        written = {key: write_lines(texts[key], self._cut_by(key, folder) is None, work / key) for key in keys}
        pages = {key: count for key, (count, _) in written.items()}
        sides = [Side(key, not key.startswith("against."), held_out) for key, (_, held_out) in written.items()]
        write_held_out(sides, folder)
        pieces = {name: [work / key for key in keys if self.pieces_key(key) == name] for name in map(self.pieces_key, keys)}
        counts = {
            name: train_pieces(files, self.pieces or 0, folder / f"{name}.model") for name, files in pieces.items() if name
        }
        tokens = {
            key: train_model(work / key, self._cut_by(key, folder), self.order, folder / f"{key}.binary", work)
            for key in keys
        }
        files = [folder / f"{name}.model" for name in counts] + [folder / f"{key}.binary" for key in keys]
        about = {
            "sha256": {file.name: digest(file) for file in files},
            "order": self.order,
            "pieces": counts,
            "trained_on": pages,
            "trained_on_hash": {key: digest(work / key) for key in keys},
            "tokens": tokens,
            "kenlm": version("kenlm"),
            "sentencepiece": version("sentencepiece"),
        }
        (folder / CARD).write_text(json.dumps(about, indent=2) + "\n")
        seen = ", ".join(f"{key} from {tokens[key]:,} tokens of {pages[key]:,} pages" for key in keys)
        return f"learned {seen}" + "".join(f"; {count:,} {name}" for name, count in counts.items())

    def _cut_by(self, key: str, folder: Path) -> Path | None:
        """The SentencePiece file of a model; None for words."""
        name = self.pieces_key(key)
        return folder / f"{name}.model" if name else self.models()[key].sentencepiece or self.sentencepiece

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """A perplexity for the model and for each that it is set against, and their ratios."""
        ratios = [f"perplexity_ratio_{name}_{other}" for other in self.against]
        return dict.fromkeys([*(f"perplexity_{one}" for one in (name, *self.against)), *ratios], pa.float64())

    def group(self, name: str, folder: Path) -> Group:
        """The columns, computed from one cutting of each page."""
        found = {key: self._found(key, folder) for key in self.models()}
        sides = [("text", name), *((f"against.{other}", other) for other in self.against)]
        by = {of: self._perplexity(key, found) for key, of in sides}
        functions: dict[str, Perplexity | Ratio] = {f"perplexity_{of}": one for of, one in by.items()}
        functions |= {f"perplexity_ratio_{name}_{other}": Ratio(by[name], by[other]) for other in self.against}
        signals = tuple(Signal(column, function, pa.float64()) for column, function in functions.items())
        files = {key: [file.sha256 if file else None for file in of] for key, of in found.items()}
        return Group(name, signals, {"models": files})

    def _perplexity(self, key: str, found: Mapping[str, tuple[File, File | None]]) -> Perplexity:
        """The signal of a model, or of all languages' together."""
        if not self.languages:
            return Perplexity(((EVERY, *found[key]),))
        asked = language.resolve({})
        models = tuple((key.partition(".")[2], *files) for key, files in found.items())
        return Perplexity(models, (asked["model"], asked["sha256"], asked["characters"]))

    def look_into_models(self) -> None:
        """Whether models from elsewhere are whole, and know their pieces where those are from elsewhere too."""
        for key, one in self.models().items():
            if one.model is not None:
                _look_into(File.at(one.model), self._cut_by(key, one.model.parent))

    def _found(self, key: str, folder: Path) -> tuple[File, File | None]:
        """The files of a model, looked into. Raises ValueError."""
        if self.trained and not (folder / CARD).is_file():
            raise ModelFileError(f"{folder / CARD} is missing: run jobs.train_classifier first")
        foreign, cut = self.models()[key].model, self._cut_by(key, folder)
        model, pieces = File.at(foreign or folder / f"{key}.binary"), File.at(cut) if cut else None
        if foreign:
            _look_into(model, cut)
            return model, pieces
        card = json.loads((folder / CARD).read_text())
        for file in (model, pieces if self.pieces_key(key) else None):
            if file and file.sha256 != card["sha256"].get(Path(file.path).name):
                raise ModelFileError(f"{file.path} is not the file that was trained, by its sha256: train it again")
        load(model)
        return model, pieces


def _look_into(model: File, cut: Path | None) -> None:
    check(model)
    if cut is not None:
        check_pieces(model, File.at(cut))


def _check_model(key: str, one: OneModel) -> None:
    """What can be known of a model without reading it. Raises ValueError."""
    kind, _, name = key.partition(".")
    if kind == "against" and not NAME.fullmatch(name):
        raise ValueError(f"against: the name {name!r} must be a letter and then letters, digits or _: it names a column")
    if kind == "languages" and not CODE.fullmatch(name):
        raise ValueError(
            f"languages: the codes are ISO 639-3, such as eng or deu, got {name!r}"
            + (f": write {language.ISO_639_3[name]}" if name in language.ISO_639_3 else "")
        )
    if bool(one.text) == (one.model is not None):
        raise ValueError(f"{key}: name either text to train from or a model to use as it is")
    if kind == "against" and one.sentencepiece is not None:
        raise ValueError(f"{key}: perplexities over different pieces cannot be compared: name one sentencepiece for both")
    for file in (one.model, one.sentencepiece):
        if file is not None and not file.is_file():
            raise ValueError(f"there is no file {file}: {nearest(file.name, _beside(file))}")


def _beside(file: Path) -> list[str]:
    return [other.name for other in file.parent.iterdir() if other.is_file()][:200] if file.parent.is_dir() else []


def _digest(file: Path | None) -> str | None:
    return None if file is None else digest(file)
