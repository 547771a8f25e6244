"""Every label of the web is read as browsers read it, to the last byte of the standard's tables."""

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.shards.charsets import known, read, standard

RUSSIAN, HEBREW, ARABIC = "Съешь ещё этих булок", "דג סקרן שט בים", "نص حكيم له سر"
LATIN = "Zażółć gęślą jaźń"
# One line for each of the standard's encodings, written so by hand or with a codec that agrees on these letters.
SAMPLES = {
    "utf-8": ("Ünï", "Ünï".encode()),
    "ibm866": (RUSSIAN, RUSSIAN.encode("cp866")),
    "iso-8859-2": (LATIN, LATIN.encode("iso8859-2")),
    "iso-8859-3": ("Ĉiuj ĝojas ŭ", "Ĉiuj ĝojas ŭ".encode("iso8859-3")),
    "iso-8859-4": ("Šķērsām ģimene", "Šķērsām ģimene".encode("iso8859-4")),
    "iso-8859-5": (RUSSIAN, RUSSIAN.encode("iso8859-5")),
    "iso-8859-6": (ARABIC, ARABIC.encode("iso8859-6")),
    "iso-8859-7": ("Ξεσκεπάζω τη", "Ξεσκεπάζω τη".encode("iso8859-7")),
    "iso-8859-8": (HEBREW, HEBREW.encode("iso8859-8")),
    "iso-8859-8-i": (HEBREW, HEBREW.encode("iso8859-8")),
    "iso-8859-10": ("Čáhppes īdā þ", "Čáhppes īdā þ".encode("iso8859-10")),
    "iso-8859-13": ("Įlinkdama fechtuotojo “", "Įlinkdama fechtuotojo “".encode("iso8859-13")),
    "iso-8859-14": ("Ŵyth ḋ Ẁ", "Ŵyth ḋ Ẁ".encode("iso8859-14")),
    "iso-8859-15": ("Œuvre à 5 €", "Œuvre à 5 €".encode("iso8859-15")),
    "iso-8859-16": ("Țară și €", "Țară și €".encode("iso8859-16")),
    "koi8-r": (RUSSIAN, RUSSIAN.encode("koi8-r")),
    "koi8-u": ("їжак ґаў Ў", "їжак ґа".encode("koi8-u") + b"\xae \xbe"),
    "macintosh": ("“Élan” ﬁ 5 €", "“Élan” ﬁ 5 €".encode("mac_roman")),
    "windows-874": ("“ราคา” 5 €…", b"\x93\xc3\xd2\xa4\xd2\x94 5 \x80\x85"),
    "windows-1250": (f"„{LATIN}“", f"„{LATIN}“".encode("cp1250")),
    "windows-1251": (f"«{RUSSIAN}» № 5 €", f"«{RUSSIAN}» № 5 €".encode("cp1251")),
    "windows-1252": ("“Café” – 5 € …", b"\x93Caf\xe9\x94 \x96 5 \x80 \x85"),
    "windows-1253": ("Ξεσκεπάζω “τη” €", "Ξεσκεπάζω “τη” €".encode("cp1253")),
    "windows-1254": ("“Şişli” ğ €", "“Şişli” ğ €".encode("cp1254")),
    "windows-1255": (f"{HEBREW} ₪\u05ba", f"{HEBREW} ₪".encode("cp1255") + b"\xca"),
    "windows-1256": (f"{ARABIC} پ €", f"{ARABIC} پ €".encode("cp1256")),
    "windows-1257": ("“Šķērsām” €", "“Šķērsām” €".encode("cp1257")),
    "windows-1258": ("“Đương” ₫", "“Đương” ₫".encode("cp1258")),
    "x-mac-cyrillic": ("Ґанок ґ є €", b"\xa2\xe0\xed\xee\xea \xb6 \xb9 \xff"),
    "gbk": ("人人生而自由 € 㐀", "人人生而自由 ".encode("gbk") + b"\x80 " + "㐀".encode("gb18030")),
    "gb18030": ("人人生而自由 𠀀 ḿ", "人人生而自由 𠀀 ".encode("gb18030") + b"\xa8\xbc"),
    "big5": ("香港嘅 € ∕ 仝", b"\xad\xbb\xb4\xe4\x9d\xef \xa3\xe1 \xa2\x41 \xc6\xdf"),
    "euc-jp": ("①㈱髙 \uff5e\uff0d", b"\xad\xa1\xad\xea\xfc\xe2 \xa1\xc1\xa1\xdd"),
    "shift_jis": ("①㈱髙№ ｱ", b"\x87@\x87\x8a\xfb\xfc\x87\x82 \xb1"),
    "euc-kr": ("뷁 똠방각하 펲", b"\x94\xee \x8cc\xb9\xe6\xb0\xa2\xc7\xcf \xbc\x84"),
    "iso-2022-jp": ("①は ｱ ¥", b"\x1b$B-!$O\x1b(B \x1b(I1\x1b(B \x1b(J\\\x1b(B"),
    "utf-16le": ("人人 and tags", "人人 and tags".encode("utf-16-le")),
    "utf-16be": ("人人 and tags", "人人 and tags".encode("utf-16-be")),
    "x-user-defined": ("a\uf780\uf7ff", b"a\x80\xff"),
}  # fmt: skip


REFUSED = {
    "csiso2022kr": ("작은 항구", b"\x1b$)C\x0e@[@:\x0f \x0eGW18\x0f"),
    "iso-2022-kr": ("작은 항구", b"\x1b$)C\x0e@[@:\x0f \x0eGW18\x0f"),
    "hz-gb-2312": ("小镇 ok", b"~{P!Ur~} ok"),
}
"""What browsers refuse for the sake of scripts, which we do not run."""


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_the_labels_are_those_of_the_standard():
    """The digest is that of its encodings.json: a line for each label in order, with the encoding in lower case."""
    assert len(standard()) == 228 and len(set(standard().values())) == 40
    assert digest("\n".join(f"{label} {name}" for label, name in sorted(standard().items()))) == "d9153e22e1ff5385"


@pytest.mark.parametrize("label", standard())
def test_every_label_reads_what_browsers_read_under_it(label):
    name = known(f" {label.upper()}\t")
    if standard()[label] == "replacement":
        text, written = REFUSED.get(label, ("\ufffd", b"x"))
    else:
        assert name == standard()[label]
        text, written = SAMPLES[name]
    assert read(written, name) == text


LEADS, HIGH = range(0x81, 0xFF), range(0xA1, 0xFF)
TABLES = {
    "big5": (LEADS, (*range(0x40, 0x7F), *HIGH), b"", "e7920b36af3300c6"),
    "euc-kr": (LEADS, range(0x41, 0xFF), b"", "f49bf642f090c1ce"),
    "shift_jis": (
        (*range(0x81, 0xA0), *range(0xE0, 0xFD)),
        (*range(0x40, 0x7F), *range(0x80, 0xFD)),
        b"",
        "13dfc48f55064d44",
    ),
    "euc-jp": (HIGH, HIGH, b"", "a217d8755e0832bc"),
    "euc-jp, JIS X 0212": (HIGH, HIGH, b"\x8f", "6ad3bfa0c33c357e"),
    "gb18030": (LEADS, (*range(0x40, 0x7F), *range(0x80, 0xFF)), b"", "85373408efe24c65"),
}


@pytest.mark.parametrize("table", TABLES)
def test_every_pair_of_bytes_is_the_character_of_the_standards_index(table):
    """The digests are those of the standard's own index files, their characters in order; gaps are empty."""
    leads, trails, before, expected = TABLES[table]
    name = table.partition(",")[0]
    pairs = (before + bytes(pair) for pair in itertools.product(leads, trails))
    characters = (read(pair, name) for pair in pairs)
    assert digest("".join(text for text in characters if "\ufffd" not in text)) == expected


def test_every_byte_of_the_single_byte_encodings_is_the_standards_character():
    names = [
        "ibm866", *(f"iso-8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)), "koi8-r", "koi8-u",
        "macintosh", "windows-874", *(f"windows-{page}" for page in range(1250, 1259)), "x-mac-cyrillic",
    ]  # fmt: skip
    assert digest("".join(read(bytes(range(0x80, 0x100)), name) for name in sorted(names))) == "71124440edd342e3"


def test_single_bytes_of_encodings_of_two():
    assert read(b"\x80", "gbk") == "€" and read(b"\x80", "shift_jis") == "\x80"
    for name, byte in itertools.product(("shift_jis", "big5", "euc-jp", "euc-kr", "gb18030"), (b"\xff", b"\xa0")):
        assert read(byte, name) == "\ufffd"
    for name in ("big5", "euc-jp", "euc-kr"):
        assert read(b"\x80<", name) == "\ufffd<"


@pytest.mark.parametrize("name", ["big5", "euc-jp", "shift_jis", "euc-kr", "gb18030"])
def test_a_bad_byte_does_not_swallow_the_tag_behind_it(name):
    assert read(b"\xfe<p>", name) == "\ufffd<p>"


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("cp949", "cp949"),
        ("latin-1", "windows-1252"),
        ("utf-7", "utf-7"),
        ("EUC_KR", "euc-kr"),
        ("johab", "johab"),
        ("mac-greek", "mac-greek"),
    ],
)
def test_labels_that_only_python_knows_are_tried(label, name):
    assert known(label) == name


@pytest.mark.parametrize(
    "label", ["none", "", "unicode-escape", "idna", "rot13", "zip", "cp037", "utf-32", "x\0y", "charset"]
)
def test_what_is_no_charset_of_the_web_is_not_known(label):
    assert known(label) is None


@given(st.text(max_size=30))
def test_no_label_makes_the_lookup_raise(label):
    name = known(label)
    assert name is None or isinstance(read(b"abc", name), str)


@given(st.binary(max_size=300), st.sampled_from(sorted(set(standard().values()))))
def test_every_byte_string_reads_as_something(body, name):
    assert isinstance(read(body, name), str)
