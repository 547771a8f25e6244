"""Unicode's classes of characters as tables that a compiled kernel can index by code point.

The tables are made from the interpreter's own `unicodedata` when the module is imported (some 60 ms), so that they agree
with `str.isspace`, `str.isalpha`, `str.splitlines` and `str.lower` of the Python that runs them. `UNICODE_VERSION` says
which Unicode that is; it is stored with every table of signals. Which marks end sentences `unicodedata` does not know: that
is the property Sentence_Terminal as the package `regex` has it.
"""

import sys
import unicodedata

import numpy as np
import numpy.typing as npt
import regex

UNICODE_VERSION = unicodedata.unidata_version

SPACE = 1  # str.isspace: what str.split() and str.strip() take as white space
LETTER = 2  # str.isalpha: general category L*
DIGIT = 4  # general category Nd, what \d means in Python
NUMERIC = 8  # str.isalnum but not str.isalpha: digits and other numbers (Nd, Nl, No)
UPPER = 16  # str.isupper
LINE_BREAK = 32  # str.splitlines
MARK = 64  # general category Mn, Mc, Me
SPACELESS = 128  # letters of scripts that do not put spaces between words

LINE_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
SPACELESS_SCRIPTS = (
    "CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "BOPOMOFO", "YI", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN",
)  # fmt: skip

TERMINAL = 1  # ends a sentence in some script: full stops, question and exclamation marks, dandas
CLOSING = 2  # may stand between the end of a sentence and the end of its line: quotes and closing brackets
BULLET = 4  # stands for nothing but the start of an item of a list
ANYWHERE = 8  # ends a sentence whatever follows: it has no other use, as a full stop has in a number
LAST_QUOTE = 16  # a double quote that closes speech and with it a line, straight, curly or East Asian

# Ends of sentences that Unicode's property leaves out: the ellipsis, the question mark of Greek, the shads of Tibetan and
# Marchen, the kunddaliya of Sinhala, and a full stop of Coptic.
ALSO_TERMINAL = "…\u037e།༎\U00011c71෴⳾"
LAST_QUOTES = '"”＂」』'
BULLETS = "•‣◦⁃∙●○■□▪▫◆◇▶▷►▸◀◄➢➤✓✔❖·"


def _classes(character: str, category: str) -> int:
    if category == "Lo":
        return LETTER | SPACELESS * unicodedata.name(character, "").startswith(SPACELESS_SCRIPTS)
    flags = SPACE * character.isspace() | LETTER * character.isalpha() | DIGIT * (category == "Nd")
    flags |= NUMERIC * (character.isalnum() and not character.isalpha()) | UPPER * character.isupper()
    return flags | LINE_BREAK * (character in LINE_BREAKS) | MARK * (category[0] == "M")


def _marks(character: str, category: str) -> int:
    flags = BULLET * (character in BULLETS) | LAST_QUOTE * (character in LAST_QUOTES)
    return flags | CLOSING * (category in ("Pe", "Pf", "Pi") or character in "\"'")


def _terminal(code: int) -> int:
    """Marks of ASCII and of the blocks of general punctuation stand in numbers, addresses and code too, Greek's in lists."""
    shared = code < 0x80 or code == 0x37E or 0x2000 <= code < 0x2C00 or 0x2E00 <= code < 0x3000
    return TERMINAL if shared else TERMINAL | ANYWHERE


def _tables() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    classes, marks = np.zeros((2, sys.maxunicode + 1), dtype=np.uint8)
    # Planes 4 to 13 are unassigned, 15 and 16 are for private use: no class there.
    for code in (*range(0x40000), *range(0xE0000, 0xE0200)):
        character = chr(code)
        category = unicodedata.category(character)
        if category != "Cn":
            classes[code] = _classes(character, category)
            if category[0] in "PS":
                marks[code] = _marks(character, category)
    every = "".join(map(chr, range(0x20000)))  # the property has no marks beyond
    for mark in regex.findall(r"\p{Sentence_Terminal}", every) + list(ALSO_TERMINAL):
        marks[ord(mark)] |= _terminal(ord(mark))
    classes.flags.writeable = marks.flags.writeable = False
    return classes, marks


CLASSES, MARKS = _tables()
"""One byte of SPACE to SPACELESS, and one of TERMINAL to LAST_QUOTE, for every code point; shape (0x110000,) each."""
