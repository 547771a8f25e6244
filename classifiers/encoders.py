"""The mean of a frozen encoder's last states as a page's vector, for kinds that learn on top of it or measure along it.

What an encoder's folder is, how it is read and what is refused stands in `classifiers.transformer`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from classifiers import kinds
from classifiers.kinds import Floats, PagesOrFiles, TrainingError
from classifiers.transformer import Reading, check_tokens, embed, folder_digest, load, one_thread, page_texts
from filters.pages import PageBatch


@dataclass(frozen=True)
class Encoder:
    """An encoder and what it reads of a page. It travels to the workers as plain data; the model is loaded there, once."""

    folder: str
    sha256: str
    reading: Reading

    @classmethod
    def found(cls, folder: Path, reading: Reading) -> Self:
        """The encoder in a folder, loaded to find what is wrong with it. Raises ValueError."""
        sha256 = folder_digest(folder)
        check_tokens(load(folder.resolve(), sha256, False), reading.tokens, folder)
        return cls(str(folder.resolve()), sha256, reading)

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return int(load(Path(self.folder), self.sha256, False).model.config.hidden_size)

    def of_texts(self, texts: Sequence[str]) -> Floats:
        """The vector of each text; shape (texts, width)."""
        if not texts:
            return np.empty((0, self.width))
        return embed(load(Path(self.folder), self.sha256, False), texts, self.reading)

    def of_pages(self, pages: PageBatch) -> Floats:
        """The vector of each page, NaN for one without words; shape (pages, width)."""
        texts = page_texts(pages, self.reading.characters)
        rows = [row for row, text in enumerate(texts) if text.strip()]
        with one_thread():
            some = self.of_texts([texts[row] for row in rows])
        vectors = np.full((len(texts), some.shape[1]), np.nan)
        vectors[rows] = some
        return vectors

    @property
    def identity(self) -> Any:
        """What tells its vectors from those of others, wherever the folder lies."""
        return {"encoder": self.sha256, "tokens": self.reading.tokens, "characters": self.reading.characters}


def read_text(pages: PageBatch, characters: int) -> list[bytes]:
    """The beginning of each page as UTF-8; no bytes of one without words."""
    return [text.encode() if text.strip() else b"" for text in page_texts(pages, characters)]


def unit(vectors: Floats) -> Floats:
    """Vectors of length 1, NaN for one of length 0; shape (vectors, width)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, np.nan), np.float64)


class Options(kinds.Scorer):
    """What kinds say of the text they look at and the encoder they use."""

    tokens: int = Field(default=256, ge=8)
    """Tokens that the encoder reads from a page's beginning, special ones counted."""
    characters: int = Field(default=10_000, ge=1)
    """Code points that the encoder's tokenizer is given; bounds what a page costs."""

    text: PagesOrFiles = "pages"
    """What it is fitted to or tried on: `pages` (a sample of the pool, held-out pages apart) or files."""
    most_pages: int = 20_000
    """Pages of it at most."""

    def texts(self) -> dict[str, list[Any]]:
        """The text where it is files."""
        return {"text": self.text} if isinstance(self.text, list) else {}

    def pool_key(self) -> str | None:
        """The text is of the pool unless it is files."""
        return "text" if self.text == "pages" else None

    def pool_pages(self) -> int:
        """As many as are looked at, and some more for pages without words."""
        return int(1.1 * self.most_pages)

    @property
    def reading(self) -> Reading:
        """What the encoder reads of a page."""
        return Reading(self.tokens, self.characters)

    def encoder_in(self, folder: Path) -> Encoder:
        """The encoder in a folder. Raises TrainingError where there is none."""
        try:
            return Encoder.found(folder, self.reading)
        except ValueError as error:
            raise TrainingError(str(error)) from error
