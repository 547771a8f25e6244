"""What spaCy's blank English tokenizer knows, as facts: which characters split, and which strings are split by heart.

Source of every fact: spaCy 3.8.18 (`lang/char_classes`, `lang/punctuation`, `lang/en`, `pipeline/sentencizer`), restated as
ranges of code points and as stems with their endings. The two sets of marks that datatrove 0.10.1 adds (`utils/text`) share
the table, since a token is looked at once. Lower case, letters and symbols come from the interpreter's `unicodedata`.
"""

import sys
import unicodedata
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

ALPHA = 1  # what spaCy takes for a letter inside words
LOWER = 2  # such a letter in lower case, or of a script without case
UPPER = 4  # such a letter in upper case, or of a script without case
PREFIX = 8  # split off in front
SUFFIX = 16  # split off behind
ICON = 32  # symbols and emoji: split off anywhere
BEFORE_STOP = 64  # a full stop behind it is split off
QUOTE = 128  # quotation marks and CJK brackets
LETTER = 256  # str.isalpha
SYMBOL = 512  # datatrove's punctuation set
TERMINAL = 1024  # datatrove's terminal punctuation
SPACE = 2048  # str.isspace
SENTENCE_END = 4096  # the sentencizer's marks
PUNCTUATION = 8192  # general category P*
URL_WORD = 16384  # \w: str.isalnum or "_"
DIGIT = 32768  # \d: general category Nd

Ranges = tuple[tuple[int, int], ...]


def ranges(text: str) -> Ranges:
    """Inclusive ranges of code points from hexadecimal numbers: "41-5A 5F"."""
    bounds = (piece.split("-") for piece in text.split())
    return tuple((int(bound[0], 16), int(bound[-1], 16)) for bound in bounds)


CASED = ranges(
    "41-5A 61-7A C0-D6 D8-F6 F8-1BF 1C4-2AF 386 388-38A 38C 38E-38F 391-3A9 3AC-3AF 3B1-3C9 3CC-3CE 400-401 403-40A"
    " 40C-40D 410-451 453-45A 45C-45D 490-491 496-497 4A2-4A3 4AE-4AF 4BA-4BB 4D8-4D9 4E8-4E9 1D00-1D25 1D6B-1D77"
    " 1D79-1D9A 1E00-1EFF 2C60-2C7B 2C7E-2C7F A722-A76F A771-A787 A78B-A78E A790-A7B9 A7FA AB30-AB5A AB60-AB64"
    " FF21-FF3A FF41-FF5A"
)
UNCASED = ranges(
    "591-5F4 620-64A 66E-6D5 6E5-6FF 750-77F 8A0-8BD 900-9FF B80-CFF D80-DFF 1100-137F 2E80-2FDF 2FF0-30FF 31C0-31EF"
    " 3200-4DBF 4E00-9FFF AC00-D7AF F900-FAFF FB1D-FBB1 FBD3-FD3D FD50-FDC7 FDF0-FDFB FE30-FE4F FE70-FEFC 1EE00-1EEBB"
    " 1F200-1F2FF 20000-2A6DF 2A700-2EBEF 2F800-2FA1F"
)
ICONS = ranges(  # of general category So; the gaps are symbols that spaCy's list does not have
    "A6-1399 1940-2B95 2B98-2BC8 2BCA-2BFE 2CE5-2CEA 2E80-32FE 3300-AA79 FDFD FFE4-1019B 101A0-1173F 16B3C-1BC9C"
    " 1D000-1D1E8 1D200-1DA86 1ECAC 1F000-1F0F5 1F110-1F16B 1F170-1F1AC 1F1E6-1F6D4 1F6E0-1F6F9 1F700-1F7D8 1F800-1F8AD"
    " 1F900-1F90B 1F910-1F93E 1F940-1F970 1F973-1F976 1F97A 1F97C-1F9A2 1F9B0-1F9B9 1F9C0-1F9C2 1F9D0-1F9FF 1FA60-1FA6D"
)
QUOTES = ranges("22 27 2C 60 AB B4 BB 2018-201A 201C-201E 2329-232A 27E6-27E7 3008-3011 3014-3015 FF08-FF09")
MARKS = ranges(  # split off in front and behind, beside quotes and icons
    "21 23 26 28-2A 3A-3C 3E-3F 5B 5D 5F 7B 7D A1 B7 BF 60C 61B 61F 66A 6D4 964 2026 3001-3002 FF01 FF0C FF1A-FF1B FF1F FF5E"
)
DASHES = ranges("2013-2014")
ONLY_IN_FRONT = ranges("24-25 2B 3D A3 A5 A7 E3F 20A0-20BF FDFC")
BEFORE_STOP_TOO = ranges("25 2B 2D 30-39 7C B2")

TERMINAL_MARKS = ranges(
    "21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736 17D4-17D6"
    " 17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049"
    " 2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB"
    " FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1 11141-11143"
    " 111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642"
    " 1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38"
    " 16B44 16E98 1BC9F 1DA88"
)
OTHER_SYMBOLS = ranges(  # what datatrove's set holds beside the terminal marks
    "0-8 B-1F 22-2D 2F 3A-3E 40 5B-60 7B-9F AB B4 BB 2013-2014 2019 201C-201E 2026 2236 2501 25BA 3001 3008-300D"
    " 3010-3011 FF05 FF08-FF09 FF0C FF11 FF1A-FF1B FF5E"
)
NOT_SENTENCE_ENDS = ranges(  # terminal for datatrove, not for the sentencizer
    "61D-61E 837 839 83D-83E 17D4-17D6 17D9-17DA 1B7D-1B7E 2E53-2E54 10F55-10F59 10F86-10F89 11944 11946 11EF7-11EF8"
    " 11F43-11F44 16E98"
)
ODD_LOWER, ODD_UPPER = 0x294, 0x3A2  # a letter without case and an unassigned code point inside spaCy's ranges


def _category_flags(code: int) -> int:
    """The flags that Unicode's own tables decide."""
    character = chr(code)
    category = unicodedata.category(character)
    flags = LETTER * character.isalpha() | SPACE * character.isspace() | PUNCTUATION * (category[0] == "P")
    return flags | URL_WORD * (character.isalnum() or character == "_") | DIGIT * (category == "Nd")


def _paint(table: npt.NDArray[np.uint16], where: Ranges, flags: int) -> None:
    for first, last in where:
        table[first : last + 1] |= np.uint16(flags)


def _table() -> npt.NDArray[np.uint16]:
    table = np.zeros(sys.maxunicode + 1, np.uint16)
    # Planes 4 to 13 are unassigned, 15 and 16 are for private use: no class there.
    for block in (range(0x40000), range(0xE0000, 0xE0200)):
        table[block.start : block.stop] = [_category_flags(code) for code in block]
    for first, last in CASED:
        for code in range(first, last + 1):
            lower, upper = chr(code).islower() or code == ODD_LOWER, chr(code).isupper() or code == ODD_UPPER
            table[code] |= ALPHA | LOWER * lower | UPPER * upper
    _paint(table, UNCASED, ALPHA | LOWER | UPPER)
    for first, last in ICONS:
        for code in range(first, last + 1):
            if unicodedata.category(chr(code)) == "So":
                table[code] |= ICON | PREFIX | SUFFIX
    _paint(table, QUOTES, QUOTE | PREFIX | SUFFIX | BEFORE_STOP)
    _paint(table, MARKS, PREFIX | SUFFIX | BEFORE_STOP)
    _paint(table, DASHES, PREFIX | SUFFIX)
    _paint(table, ONLY_IN_FRONT, PREFIX)
    _paint(table, BEFORE_STOP_TOO, BEFORE_STOP)
    _paint(table, TERMINAL_MARKS, SYMBOL | TERMINAL | SENTENCE_END)
    _paint(table, OTHER_SYMBOLS, SYMBOL)
    for first, last in NOT_SENTENCE_ENDS:
        table[first : last + 1] &= np.uint16(0xFFFF - SENTENCE_END)
    return table


TABLE: npt.NDArray[np.uint16] = _table()
"""The flags above for every code point; shape (0x110000,)."""

_UNITS = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa Pa mbar"
    " mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с км/ч кПа Па мбар"
    " Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ тбكم كم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ غرام جرام جم كغ ملغ كوب اكواب"
    " + US$ C$ A$ $ £ ¥ ฿ ﷼"
)
AFTER_DIGITS = _UNITS.split() + [chr(code) for code in range(0x20A0, 0x20C0)]
"""What is split off behind a digit: units and currencies."""

_PRONOUNS = "i you he she it we they"
_ASKING = "who what when where why how there"
_ENDINGS = (  # stems: endings, "~" where the string is split once more; each with and without its apostrophes
    (_PRONOUNS + " " + _ASKING + " that this these those", "'ll 'll~'ve 'd 'd~'ve"),
    ("i", "'m 'm~a"),
    ("i you we they " + _ASKING + " these those could might must should would not", "'ve"),
    ("you we they " + _ASKING + " these those", "'re"),
    ("he she it " + _ASKING + " that this", "'s"),
    ("ca could do does did had may might must need ought sha should wo would", "n't n't~'ve"),
    ("ai are is was were have has dare", "n't"),
)
_EXCLUDED = "ill its hell shell shed were well whore"
_TITLED_SPLITS = "can~not gon~na got~ta"
_SPLITS = "y'~all y~all how~'d~'y How~'d~'y let~'s Let~'s c'm~on C'm~on"
_TITLED = "doin goin nothin nuthin ol somethin lovin havin doin' goin' nothin' nuthin' ol' somethin' lovin' havin'"
_WHOLE = (
    "em 'em ll 'll nuff 'nuff 's 'S 'd 're 'cause 'Cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout ' '' ma'am Ma'am o'clock"
    " O'clock ‘s ‘S and/or w/o a.m. p.m. e.g. E.g. E.G. i.e. I.e. I.E. vs. v.s. co. D.C. Ph.D. C++ <space> \\t \\n \\\")"
    " N.C. N.D. N.H. N.J. N.M. N.Y. S.C. — ä. ö. ü."
)
_ABBREVIATED = (
    "Adm Ak Ala Apr Ariz Ark Aug Bros Calif Co Colo Conn Corp Dec Del Dr Feb Fla Ga Gen Gov Ia Id Ill Inc Ind Jan Jr Jul Jun"
    " Kan Kans Ky La Ltd Mar Mass Md Messrs Mich Minn Miss Mo Mont Mr Mrs Ms Mt Neb Nebr Nev Nov Oct Okla Ore Pa Prof Rep"
    " Rev Sen Sep Sept St Tenn Va Wash Wis"
)
_FACES = (  # eyes, noses with "." for none, mouths
    (":", ". -", ") )) ))) ( (( ((( * 3 > X x P p O o 0 D / | ] }"),
    (":", ". '", ")"),
    (":", "' '-", ") ("),
    (":", ".", "1 () o)"),
    (";", ". -", ") D"),
    ("=", ".", ") ( / | 3 D [ ]"),
    ("8", ". -", ") D"),
    ("(", ".", ": ; = -: -; -8 o:"),
    ("[", ".", ": -: ="),
    (")", ".", ": -:"),
    (">", ".", ":( :o .< .>"),
    ("<", ".", "3 33 333 /3 .<"),
)
_OTHER_FACES = (
    "]= xD XD xDD XDD ^_^ ^__^ ^___^ ._. ;_; -_- -__- v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0"
    " 0.o @_@ (^_^) (-_-) (._.) (>_<) (*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>"
)


def _both_cases(word: str) -> tuple[str, str]:
    return word, word[0].upper() + word[1:]


def _contractions() -> Iterator[str]:
    for stems, endings in _ENDINGS:
        for stem in stems.split():
            for ending in endings.split():
                for word in _both_cases(stem):
                    yield f"{word}~{ending}"
                    yield f"{word}~{ending.replace(chr(39), '')}"


def _straight() -> Iterator[str]:
    yield from _contractions()
    for word in f"{_TITLED_SPLITS} {_TITLED}".split():
        yield from _both_cases(word)
    yield from f"{_SPLITS} {_WHOLE} {_OTHER_FACES}".split()
    yield from (word + "." for word in [*_ABBREVIATED.split(), *map(chr, range(ord("a"), ord("z") + 1))])
    yield from (f"{hour}~{half}" for hour in range(1, 13) for half in ("am", "a.m.", "pm", "p.m."))
    yield from (f"°~{unit}~." for unit in "cfkCFK")
    for eyes, noses, mouths in _FACES:
        yield from (f"{eyes}{nose.replace('.', '')}{mouth}" for nose in noses.split() for mouth in mouths.split())


def special_cases() -> dict[str, tuple[str, ...]]:
    """Every string that is split by heart, with its pieces. All its straight apostrophes may be curly."""
    cases = {case.replace("~", ""): tuple(case.split("~")) for case in _straight()}
    for word in _EXCLUDED.split():
        for spelling in _both_cases(word):
            cases.pop(spelling, None)
    curly = {text.replace("'", "’"): tuple(piece.replace("'", "’") for piece in case) for text, case in cases.items()}
    return cases | curly
