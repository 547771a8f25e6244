"""A page as a language model is given it: one line of tokens.

The text is normalised as CCNet does (Wenzek et al. 2020, arXiv 1911.00359; text_normalizer.py), because its models have seen
nothing else: no case, accents or values of digits, ASCII's punctuation. Then SentencePiece cuts it, or blanks do. CCNet
deletes line ends, so that the words on both sides grow together; so do we before SentencePiece. Where blanks cut, a line
end is one.
"""

import functools
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import sentencepiece

from classifiers.fasttext.file import ModelFileError
from classifiers.fasttext.model import digest

CHARACTERS = 1_000_000
"""Read of a page, from its beginning: ten million times one word would take SentencePiece 4 s and 1.3 GB."""

PUNCTUATION = {
    **dict.fromkeys("„”“«»」「《》", '"'),
    **dict.fromkeys("´’", "'"),
    **dict.fromkeys("∶：", ":"),
    **dict.fromkeys("–━►", "-"),
    **{"，": ",", "、": ",", "。": ".", "．": ". ", "…": "...", "—": " - ", "～": "~", "；": ";", "？": "?", "！": "!"},
    **{"（": "(", "）": ")", "〈": "<", "〉": ">", "【": "[", "】": "]", "％": "%"},
}
"""What CCNet writes for punctuation beyond ASCII. Its table has a fullwidth 1 too, which is a 0 before it is asked."""
CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]


class _Table(dict[int, str | int | None]):
    """What `str.translate` puts in a character's place; one that stays is noted when first seen, which spares an error."""

    def __missing__(self, code: int) -> int:
        self[code] = code
        return code


@functools.cache
def _table() -> _Table:
    """Accents and control characters go, digits become 0, punctuation becomes that of ASCII."""
    categories = {code: unicodedata.category(chr(code)) for code in range(sys.maxunicode + 1)}
    table = _Table({ord(mark): ascii_ for mark, ascii_ in PUNCTUATION.items()})
    table.update(dict.fromkeys([code for code, category in categories.items() if category == "Nd"], "0"))
    table.update(dict.fromkeys([*CONTROLS, *(code for code, category in categories.items() if category == "Mn")]))
    return table


def normalised(text: str) -> str:
    """A text as CCNet normalises it; its line ends are gone, and what was composed stays decomposed."""
    return unicodedata.normalize("NFD", text.strip().lower()).translate(_table())


@dataclass(frozen=True)
class File:
    """A file of a model; its sha256 tells it from one that lay there before."""

    path: str
    sha256: str

    @classmethod
    def at(cls, path: Path) -> Self:
        """The file that is there now. Raises ModelFileError where there is none."""
        return cls(str(path.resolve()), digest(path))


@functools.cache
def load_pieces(file: File) -> sentencepiece.SentencePieceProcessor:
    """The SentencePiece model in a file, loaded once per process. Raises ModelFileError."""
    pieces, path = sentencepiece.SentencePieceProcessor(), Path(file.path)
    try:
        written = path.read_bytes()
        sound = bool(written) and pieces.LoadFromSerializedProto(written)
    except OSError as error:
        raise ModelFileError(f"SentencePiece file {path} cannot be read: {error.strerror}") from None
    except RuntimeError:
        sound = False
    if not sound:
        raise ModelFileError(f"{path} is no whole SentencePiece model: it begins with {written[:16]!r}")
    return pieces


def tokens(text: str, pieces: sentencepiece.SentencePieceProcessor | None) -> list[str]:
    """The tokens of a page: pieces, or where there are none words between blanks."""
    text = text[:CHARACTERS]
    if pieces is None:
        return normalised(text.replace("\n", " ")).split()
    cut: list[str] = pieces.encode(normalised(text), out_type=str)
    return cut
