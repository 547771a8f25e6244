"""The script a page is written in: the one that most of its letters belong to, by Unicode's names of the letters."""

import functools
import sys
import unicodedata

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.kernels.text import Bytes, Offsets, decode, kernel
from filters.pages import PageBatch

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
