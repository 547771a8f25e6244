"""Charset labels and what browsers read under them.

The hard idea: the Encoding Standard (https://encoding.spec.whatwg.org) gives every label of the web the widest encoding
that pages ever meant by it. Shift_JIS there has NEC's and IBM's rows, EUC-KR all of cp949, Latin-1 the quotes of
windows-1252, and windows encodings have no holes below A0. Python's codecs of the same names are narrower. So each
encoding here is a codec of Python's and the facts in which the standard goes beyond it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from functools import cache, partial

LABELS = """
    utf-16be: unicodefffe
    utf-16le: csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16
    utf-8: unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf8 x-unicode20utf8
    big5: big5-hkscs cn-big5 csbig5 x-x-big5
    euc-jp: cseucpkdfmtjapanese x-euc-jp
    euc-kr: cseuckr csksc56011987 iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 windows-949
    gb18030:
    gbk: chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 iso-ir-58 x-gbk
    ibm866: 866 cp866 csibm866
    iso-2022-jp: csiso2022jp
    iso-8859-10: csisolatin6 iso-ir-157 iso8859-10 iso885910 l6 latin6
    iso-8859-13: iso8859-13 iso885913
    iso-8859-14: iso8859-14 iso885914
    iso-8859-15: csisolatin9 iso8859-15 iso885915 iso_8859-15 l9
    iso-8859-16:
    iso-8859-2: csisolatin2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2
    iso-8859-3: csisolatin3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3
    iso-8859-4: csisolatin4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4
    iso-8859-5: csisolatincyrillic cyrillic iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988
    iso-8859-6: arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6-e iso-8859-6-i iso-ir-127
        iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987
    iso-8859-7: csisolatingreek ecma-118 elot_928 greek greek8 iso-ir-126 iso8859-7 iso88597 iso_8859-7 iso_8859-7:1987
        sun_eu_greek
    iso-8859-8: csiso88598e csisolatinhebrew hebrew iso-8859-8-e iso-ir-138 iso8859-8 iso88598 iso_8859-8
        iso_8859-8:1988 visual
    iso-8859-8-i: csiso88598i logical
    koi8-r: cskoi8r koi koi8 koi8_r
    koi8-u: koi8-ru
    macintosh: csmacintosh mac x-mac-roman
    replacement: csiso2022kr hz-gb-2312 iso-2022-cn iso-2022-cn-ext iso-2022-kr
    shift_jis: csshiftjis ms932 ms_kanji shift-jis sjis windows-31j x-sjis
    windows-1250: cp1250 x-cp1250
    windows-1251: cp1251 x-cp1251
    windows-1252: ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591
        iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii x-cp1252
    windows-1253: cp1253 x-cp1253
    windows-1254: cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5
        x-cp1254
    windows-1255: cp1255 x-cp1255
    windows-1256: cp1256 x-cp1256
    windows-1257: cp1257 x-cp1257
    windows-1258: cp1258 x-cp1258
    windows-874: dos-874 iso-8859-11 iso8859-11 iso885911 tis-620
    x-mac-cyrillic: x-mac-ukrainian
    x-user-defined:
"""
"""The standard's 40 encodings, and behind each name the other labels that mean it: 228 in all (its section 4.2)."""

REPLACEMENT = "replacement"
"""What the standard calls encodings that browsers refuse; Python reads two of them."""
REFUSED_BUT_READ = {"csiso2022kr": "iso2022_kr", "iso-2022-kr": "iso2022_kr", "hz-gb-2312": "hz"}
SEVEN_BIT = {"iso-2022-jp": b"\x1b", "iso2022_kr": b"\x0e", "hz": b"~{", "utf-7": b"+"}
"""Encodings whose bytes are all ASCII, and the bytes without which a body is not in them."""
PAIRED = frozenset({"big5", "euc-jp", "euc-kr", "gb18030", "gbk", "shift_jis", "cp949", "windows-874"})
"""Encodings in which a few letters of ordinary text can be well-formed UTF-8 by chance."""
NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "raw-unicode-escape", "unicode-escape", "charmap"})

PYTHON = {
    "ibm866": "cp866", "macintosh": "mac_roman", "x-mac-cyrillic": "mac_cyrillic", "iso-8859-8-i": "iso8859_8",
    "windows-874": "cp874", "euc-kr": "cp949", "shift_jis": "cp932", "gbk": "gb18030", "utf-16le": "utf_16_le",
    "utf-16be": "utf_16_be",
}  # fmt: skip
"""Python's codecs for encodings that it knows by another name, or only a wider one of."""
ABOVE = {"koi8-u": {0xAE: "ў", 0xBE: "Ў"}, "windows-1255": {0xCA: "\u05ba"}}
"""Bytes that Python's codec of one byte a character reads otherwise."""
GB18030_2022 = {
    0xE5E5: 0x3000, 0xE78D: 0xFE10, 0xE78E: 0xFE12, 0xE78F: 0xFE11, 0xE790: 0xFE13, 0xE791: 0xFE14, 0xE792: 0xFE15,
    0xE793: 0xFE16, 0xE794: 0xFE17, 0xE795: 0xFE18, 0xE796: 0xFE19, 0xE7C7: 0x1E3F, 0xE81E: 0x9FB4, 0xE826: 0x9FB5,
    0xE82B: 0x9FB6, 0xE82C: 0x9FB7, 0xE832: 0x9FB8, 0xE843: 0x9FB9, 0xE854: 0x9FBA, 0xE864: 0x9FBB,
}  # fmt: skip
"""Characters for which Python's gb18030, of the year 2000, has private ones."""
CP932_OUTSIDE = dict.fromkeys(range(0xF8F0, 0xF8F4), 0xFFFD)
"""What Microsoft's Shift_JIS makes of the bytes A0, FD, FE and FF, which are nothing."""
BIG5_BEYOND = """
    877a㡵𡵓𣚞𦀡㻬𥣞㫵竼龗𤅡𨤍𣇪𠪊𣉞䌊蒄龖鐯䤰蘓墖靊鈘秐 87b4稲晠権袝瑌篅枂稬剏遆㓦珄𥶹瓆鿇垳䤯呌䄱𣚎堘穲𧭥讏
    87cc䚮𦺈䆁𥶙箮𢒼鿈𢓁𢓉𢓌鿉蔄𣖻䂴鿊䓡𪷿拁灮鿋 8e69箸 8e6f簆 8e7e糎 8eab緒 8eb4縝 8ecd者 8ed0耨 8f57菁 8f69蒨 8f6e萏
    8fcb覦覩 8ffe起 906d都 907a銹 90dc靜 90f1響 91bf鼖 9244蔃 92af兙兛兝兞 92c8鍮 92d1瑹 9447浧 94ca禛 95d9邗 9644靝
    96ed瀞 96fc嬨 9b76爁 9b78矗 9b7b纇 9bc6駖 9bde釔 9bec惞 9bf6澶 9c42輶 9c53侻 9c62營 9c68鄄 9c6b鷰 9c77菏 9cbc尐秣
    9cd0婧 9d57輋 9d5a筑 9dc4拐 9ea9恢 9eef痹 9efd汊 9f60鬮 9f66鼗 9fcb僭 9fd8弌 a063蠏 a077拎 a0d5瑨 a0df煢 a0e4牐 a145‧
    a14e﹑ a1c2¯ a1e3～ a1f2⊕ a1f3⊙ a241∕ a242﹨ a244￥ a246￠ a247￡ a3c0␀␁␂␃␄␅␆␇␈␉␊␋␌␍␎␏␐␑␒␓␔␕␖␗ a3d8␘␙␚␛␜␝␞␟␡€
    c6cf廴 c6d3无 c6d5癶 c6d7隶 c6de〃仝 fa5f倩 fa66偽 fabd包 fac5卄 fad5卿 fb48嘅 fbb8婷 fbf3幵 fbf9廐 fc4f彘 fc6c悤
    fcb9撐 fce2晴 fcf1杞 fdb7沜渝 fdbb港 fdf1煮 fe52猪 fe6f瑜 feaa瓩 fedd砉
"""
"""Where the standard's Big5 goes beyond Python's big5hkscs: the bytes of a character, it, and those that follow it."""


def known(label: str) -> str | None:
    """The encoding that a label means: the standard's name or, for labels that only Python knows, Python's; else None."""
    label = label.strip(" \t\r\n\f\"'").lower()
    if label in REFUSED_BUT_READ:
        return REFUSED_BUT_READ[label]
    return standard().get(label) or _python(label)


@cache
def standard() -> dict[str, str]:
    """Every label of the standard, with its encoding."""
    found: dict[str, str] = {}
    for line in LABELS.replace("\n        ", " ").split("\n"):
        name, colon, labels = line.strip().partition(":")
        if colon:
            found |= dict.fromkeys([name, *labels.split()], name)
    return found


@cache
def _python(label: str) -> str | None:
    """A codec of Python's that reads ASCII as ASCII, by the standard's name where that has one."""
    try:
        name = codecs.lookup(label).name
        if name in NO_CHARSETS or (name not in SEVEN_BIT and b"charset".decode(name) != "charset"):
            return None
    except (LookupError, UnicodeError, ValueError):  # ValueError: a NUL in the label
        return None
    return standard().get(name) or standard().get(name.replace("_", "-")) or name


def read(body: bytes, name: str) -> str:
    """Text of a body in an encoding that `known` has named; what is no character of it becomes U+FFFD."""
    return _reader(name)(body)


@cache
def _reader(name: str) -> Callable[[bytes], str]:
    own: dict[str, Callable[[bytes], str]] = {
        REPLACEMENT: lambda body: "\ufffd" * len(body),
        "x-user-defined": _user_defined,
        "shift_jis": lambda body: _corrected(body.decode("cp932", "replace"), CP932_OUTSIDE),
        "big5": partial(_by_table, re.compile("[\x81-\xfe][\x40-\x7e\xa1-\xfe]|[\x80-\xff]"), _big5),
        "euc-jp": _euc_jp,
        "iso-2022-jp": _iso_2022_jp,
        "gbk": _gb18030,
        "gb18030": _gb18030,
    }
    if name in own:
        return own[name]
    if name.startswith(("windows-", "koi8-u")):
        return partial(_by_byte, _byte_table(name))
    return lambda body: body.decode(PYTHON.get(name, name), "replace")


def _byte_table(name: str) -> str:
    """What each byte is: Python's table, with control characters where that has holes below A0."""
    table = [bytes([byte]).decode(PYTHON.get(name, name), "replace") for byte in range(256)]
    for byte in range(0x80, 0xA0):
        if table[byte] == "\ufffd":
            table[byte] = chr(byte)
    for byte, character in ABOVE.get(name, {}).items():
        table[byte] = character
    return "".join(table)


def _by_byte(table: str, body: bytes) -> str:
    return codecs.charmap_decode(body, "replace", table)[0]


def _user_defined(body: bytes) -> str:
    return _by_byte("".join(map(chr, [*range(0x80), *range(0xF780, 0xF800)])), body)


def _by_table(characters: re.Pattern[str], table: Callable[[], dict[str, str]], body: bytes) -> str:
    """Text of an encoding in which ASCII is ASCII and `characters` finds the rest, bytes being taken for Latin-1."""
    known_characters = table()

    def character(found: re.Match[str]) -> str:
        # An ASCII byte behind a bad one is itself: it may be the < of a tag.
        last = found[0][-1]
        return known_characters.get(found[0]) or "\ufffd" + (last if last < "\x80" else "")

    return characters.sub(character, body.decode("latin-1"))


@cache
def _big5() -> dict[str, str]:
    table = {}
    for lead in range(0x81, 0xFF):
        for trail in (*range(0x40, 0x7F), *range(0xA1, 0xFF)):
            table[chr(lead) + chr(trail)] = _character(bytes((lead, trail)), "big5hkscs")
    pairs = list(table)
    for run in BIG5_BEYOND.split():
        first = pairs.index(bytes.fromhex(run[:4]).decode("latin-1"))
        table |= zip(pairs[first:], run[4:], strict=False)
    return table


_EUC_JP = re.compile("\x8e[\xa1-\xdf]|\x8f[\xa1-\xfe]{2}|[\xa1-\xfe]{2}|[\x80-\xff]")


def _euc_jp(body: bytes) -> str:
    return _by_table(_EUC_JP, _euc_jp_table, body)


@cache
def _euc_jp_table() -> dict[str, str]:
    """JIS X 0208 with NEC's and IBM's rows, which is what cp932 has in other places, half-width kana and JIS X 0212."""
    table = dict(_jis_rows())
    table |= {"\x8e" + chr(byte): chr(0xFF61 - 0xA1 + byte) for byte in range(0xA1, 0xE0)}
    for row in range(0xA1, 0xFF):
        for cell in range(0xA1, 0xFF):
            table["\x8f" + chr(row) + chr(cell)] = _character(bytes((0x8F, row, cell)), "euc_jp")
    table["\x8f\xa2\xb7"] = "\uff5e"
    return table


def _jis_rows() -> Iterator[tuple[str, str]]:
    for row in range(94):
        lead = row // 2 + (0x81 if row < 62 else 0xC1)
        for cell in range(94):
            trail = cell + (0x9F if row % 2 else 0x40 if cell < 63 else 0x41)
            yield chr(0xA1 + row) + chr(0xA1 + cell), _character(bytes((lead, trail)), "cp932")


def _character(written: bytes, codec: str) -> str:
    """The character that some bytes are, empty if they are none."""
    try:
        return written.decode(codec)
    except UnicodeDecodeError:
        return ""


_ESCAPE = re.compile(rb"\x1b(\([BIJ]|\$[@B])")
_HIGH = bytes(byte | 0x80 if 0x21 <= byte <= 0x7E else byte for byte in range(256))


def _iso_2022_jp(body: bytes) -> str:
    """ASCII until an escape sequence says otherwise; two bytes a character are those of EUC-JP without their top bits."""
    start, *pieces = _ESCAPE.split(body)
    text = [start.decode("ascii", "replace")]
    for escape, piece in zip(pieces[::2], pieces[1::2], strict=True):
        if escape.startswith(b"$"):
            text.append(_euc_jp(piece.translate(_HIGH)))
        elif escape == b"(I":
            text.append(_euc_jp(re.sub(b"([\xa1-\xdf])", b"\x8e\\1", piece.translate(_HIGH))))
        elif escape == b"(J":
            text.append(piece.decode("ascii", "replace").replace("\\", "¥").replace("~", "‾"))
        else:
            text.append(piece.decode("ascii", "replace"))
    return "".join(text)


def _gb18030(body: bytes) -> str:
    return _corrected(body.decode("gb18030", "goodhart-gb18030"), GB18030_2022)


_PRIVATE = re.compile("[\ue000-\uf8ff]")


def _corrected(text: str, private: dict[int, int]) -> str:
    """Put right what a codec has private characters for; most texts have none, and finding that out is cheap."""
    return text.translate(private) if _PRIVATE.search(text) else text


def _euro_at_80(error: UnicodeError) -> tuple[str, int]:
    """The single byte 80 is the euro sign of Microsoft's GBK; Python's codec has nothing there."""
    assert isinstance(error, UnicodeDecodeError)
    if error.object[error.start] == 0x80:
        return "€", error.start + 1
    return "\ufffd", error.end


codecs.register_error("goodhart-gb18030", _euro_at_80)
