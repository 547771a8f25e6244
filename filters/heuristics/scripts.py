"""What a page's letters tell: which script most of them belong to, if it marks the ends of sentences, how many there are."""

import functools
import sys
import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.kernels.text import Bytes, Offsets, decode, kernel
from filters.kernels.unicode_tables import CLASSES, LETTER, MARK, SPACE
from filters.pages import PageBatch
from filters.signals import Flag, Float

# First word of a letter's Unicode name -> ISO 15924. Han is named CJK; what is missing here counts for no script.
PAIRS = """
LATIN:Latn CYRILLIC:Cyrl GREEK:Grek ARABIC:Arab HEBREW:Hebr CJK:Hani HIRAGANA:Hira KATAKANA:Kana HANGUL:Hang
DEVANAGARI:Deva BENGALI:Beng GURMUKHI:Guru GUJARATI:Gujr ORIYA:Orya TAMIL:Taml TELUGU:Telu KANNADA:Knda
MALAYALAM:Mlym SINHALA:Sinh THAI:Thai LAO:Laoo TIBETAN:Tibt MYANMAR:Mymr GEORGIAN:Geor ARMENIAN:Armn
ETHIOPIC:Ethi KHMER:Khmr MONGOLIAN:Mong SYRIAC:Syrc THAANA:Thaa CHEROKEE:Cher CANADIAN:Cans BOPOMOFO:Bopo
YI:Yiii TIFINAGH:Tfng NKO:Nkoo JAVANESE:Java BALINESE:Bali SUNDANESE:Sund MEETEI:Mtei OL:Olck VAI:Vaii
COPTIC:Copt GOTHIC:Goth RUNIC:Runr OGHAM:Ogam TAGALOG:Tglg LISU:Lisu CHAKMA:Cakm
"""
SCRIPTS = dict(pair.split(":") for pair in PAIRS.split())
CODES = (None, *SCRIPTS.values())


@functools.cache
def script_table() -> npt.NDArray[np.uint8]:
    """For every code point the place of its script in CODES, 0 for what is no letter; shape (0x110000,)."""
    table = np.zeros(sys.maxunicode + 1, np.uint8)
    place = {name: index for index, name in enumerate(SCRIPTS, start=1)}
    for code in range(0x40000):
        character = chr(code)
        if character.isalpha():
            table[code] = place.get(unicodedata.name(character, "").partition(" ")[0], 0)
    return table


@kernel
def count_scripts(data: Bytes, offsets: Offsets, table: Bytes, characters: int, scripts: int) -> npt.NDArray[np.int64]:
    """Letters of each script among the first `characters` code points of each page; shape (pages, scripts)."""
    counts = np.zeros((len(offsets) - 1, scripts), np.int64)
    for page in range(len(offsets) - 1):
        at, end = offsets[page], offsets[page + 1]
        left = characters
        while at < end and left > 0:
            code, size = decode(data, at, end)
            counts[page, table[code]] += 1
            at += size
            left -= 1
    return counts


def script(pages: PageBatch, characters: int) -> pa.Array:
    """ISO 15924 code of the script with most letters among the first `characters` code points (ties: CODES' order).

    Han, Hiragana and Katakana count together as Jpan where there is more than one kana for ten Han (assumption: Japanese
    prose has more kana than Han, Chinese with a Japanese name has next to none), as Hani otherwise. Null without letters.
    """
    counts = count_scripts(pages.data, pages.offsets, script_table(), characters, len(CODES))
    counts[:, 0] = 0
    han, kana = CODES.index("Hani"), [CODES.index("Hira"), CODES.index("Kana")]
    kana_count = counts[:, kana].sum(axis=1)
    japanese = kana_count * 10 > counts[:, han]
    counts[:, han] += kana_count
    counts[:, kana] = 0
    best = counts.argmax(axis=1)
    names = np.array([code or "" for code in CODES], object)[best]
    names[(best == han) & japanese] = "Jpan"
    return pa.array(names, pa.string(), mask=(counts.max(axis=1) == 0) | ~pages.valid)


@kernel
def count_unmarked(data: Bytes, offsets: Offsets, wanted: npt.NDArray[np.bool_], classes: Bytes) -> Offsets:
    """Letters of Thai and Lao (U+0E00 to U+0EFF) on each wanted page, 0 on the others."""
    counts = np.zeros(len(wanted), np.int64)
    for page in range(len(wanted)):
        at, end = offsets[page], offsets[page + 1]
        while wanted[page] and at < end:
            code, size = decode(data, at, end)
            counts[page] += int(0x0E00 <= code < 0x0F00 and classes[code] & LETTER != 0)
            at += size
    return counts


def unmarked(pages: PageBatch) -> Flag:
    """Pages whose letters are mostly Thai or Lao: a blank or the line ends a sentence, no mark does; shape (pages,)."""
    found: Flag = count_unmarked(pages.data, pages.offsets, pages.spaceless, CLASSES) * 2 > pages.words.letters
    return found


def by_marks(pages: PageBatch, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`values`, one per page, masked (null in the column) where no mark ends a sentence."""
    return np.ma.masked_array(values, pages.once(unmarked))


@kernel
def count_letters(data: Bytes, offsets: Offsets, classes: Bytes, characters: int) -> tuple[Offsets, Offsets]:
    """Letters with their combining marks, and all that is no white space, among the first `characters` of each page."""
    letters = np.zeros(len(offsets) - 1, np.int64)
    others = np.zeros(len(offsets) - 1, np.int64)
    for page in range(len(offsets) - 1):
        at, end = offsets[page], offsets[page + 1]
        left = characters
        while at < end and left > 0:
            code, size = decode(data, at, end)
            letters[page] += int(classes[code] & (LETTER | MARK) != 0)
            others[page] += int(classes[code] & SPACE == 0)
            at += size
            left -= 1
    return letters, others


def letter_share(pages: PageBatch, characters: int) -> Float:
    """Letters and combining marks, of all that is no white space among the first `characters` code points; 0 of nothing."""
    letters, others = count_letters(pages.data, pages.offsets, CLASSES, characters)
    share: Float = letters / np.maximum(others, 1)
    return share
