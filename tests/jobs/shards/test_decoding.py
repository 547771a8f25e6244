"""Text comes out of bytes as it was written, whatever the headers say, or is known to be damaged."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.shards.decoding import clean, decode

RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 20
CHINESE = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。" * 20
JAPANESE = "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。" * 20
KOREAN = "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. " * 20
FRENCH = "Tous les êtres humains naissent libres et égaux en dignité, à l'été comme à Noël. " * 20
TAIWANESE = "人人生而自由,在尊嚴和權利上一律平等。他們賦有理性和良心,並應以兄弟關係的精神互相對待。" * 20
WRITTEN = {
    "gb18030": CHINESE, "big5": TAIWANESE, "shift_jis": JAPANESE, "euc_jp": JAPANESE, "iso2022_jp": JAPANESE,
    "euc_kr": KOREAN, "cp1251": RUSSIAN, "koi8-r": RUSSIAN, "cp1252": FRENCH, "utf-8": FRENCH,
}  # fmt: skip


def page(text, meta=""):
    head = f'<meta charset="{meta}">' if meta else ""
    return f"<html><head>{head}</head><body><p>{text}</p></body></html>"


@pytest.mark.parametrize("encoding", WRITTEN)
@pytest.mark.parametrize("told", ["http", "meta"])
def test_the_named_encoding_is_used(encoding, told):
    text = page(WRITTEN[encoding], encoding if told == "meta" else "")
    assert decode(text.encode(encoding), encoding if told == "http" else None, html=True) == (text, 0)


@pytest.mark.parametrize("encoding", ["gb18030", "big5", "shift_jis", "euc_jp", "cp1251", "cp1252"])
@pytest.mark.parametrize("lie", ["", "utf-8"])
def test_an_unnamed_or_misnamed_encoding_is_detected(encoding, lie):
    text = page(WRITTEN[encoding], lie)
    assert decode(text.encode(encoding), lie or None, html=True) == (text, 0)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_marks_and_wide_text_are_known_without_being_told(encoding):
    assert decode(page(FRENCH).encode(encoding), "iso-8859-1", html=True) == (page(FRENCH), 0)


@pytest.mark.parametrize("declared", [None, "utf-8", "iso-8859-1", "no-such-charset"])
@pytest.mark.parametrize("junk", [b"\xff", b"\xc3", b"\x80"])
def test_one_bad_byte_does_not_turn_a_utf8_page_into_another_alphabet(declared, junk):
    body = page(FRENCH).encode()
    text, bad = decode(body[:300] + junk + body[300:], declared, html=True)
    assert bad >= 1 and text.replace("\ufffd", "").count("é") >= page(FRENCH).count("é") - 1
    assert "Ã" not in text


def test_a_character_cut_at_the_end_is_counted():
    body = ("word " * 100 + "déjà été " * 3 + "é").encode()
    assert decode(body[:-1], None, html=False)[1] == 1


def test_a_lone_accent_in_an_ascii_page_is_read_as_latin():
    assert decode(b"A menu " * 300 + b"caf\xe9 creme", "windows-1252", html=True)[0].endswith("café creme")


@pytest.mark.parametrize("declared", ["utf-8", None])
@pytest.mark.parametrize("letters", [1, 2, 5])
def test_a_page_that_says_utf8_and_has_latin_letters_alone_is_read_as_latin(declared, letters):
    body = page("a menu of plain words " * 100, "utf-8" if declared else "").encode().replace(b"menu", b"caf\xe9", letters)
    text, bad = decode(body, declared, html=True)
    assert (text.count("café"), bad) == (letters, 0)


@pytest.mark.parametrize(("good", "bad", "is_utf8"), [(1, 1, False), (2, 1, True), (2, 2, False), (3, 2, True)])
def test_a_page_is_utf8_where_more_letters_are_good_than_bad_whatever_a_header_says(good, bad, is_utf8):
    body = ("plain words " * 300 + "é " * good).encode() + b"\xe9 and on " * bad
    text, replaced = decode(body, "windows-1252", html=False)
    assert replaced == (bad if is_utf8 else 0) and text.count("é") == (good if is_utf8 else bad)


def test_a_name_that_cannot_be_true_is_not_believed():
    assert decode(page("plain words", "utf-16").encode(), "utf-16", html=True) == (page("plain words", "utf-16"), 0)


NOISE = random.Random(0).randbytes(20_000)


@pytest.mark.parametrize("declared", [None, "utf-8", "iso-8859-1", "windows-1251", "koi8-r", "utf-16", "shift_jis"])
def test_bytes_that_are_no_text_are_undecodable(declared):
    assert decode(NOISE, declared, html=True) is None


@pytest.mark.parametrize(
    ("label", "bytes_of_it", "text"),
    [
        ("shift_jis", b"\x87\x8a\x8eR\x93c\x8f\xa4\x89\xef \x87@\x87A \xfb\xfc\x8b\xb4", "㈱山田商会 ①② 髙橋"),
        ("euc-jp", b"\xad\xea\xbb\xb3\xc5\xc4 \xad\xa1\xad\xa2", "㈱山田 ①②"),
        ("euc-kr", b"\x8cc\xb9\xe6\xb0\xa2\xc7\xcf \x94\xee", "똠방각하 뷁"),
        ("big5", b"\xad\xbb\xb4\xe4\x9d\xef", "香港嘅"),
        ("tis-620", b"\x93\xc3\xd2\xa4\xd2\x94 \x80", "“ราคา” €"),
        ("iso-8859-1", b"\x93caf\xe9\x94", "“café”"),
        ("iso-8859-9", b"\x93\xfei\xfeli\x94", "“şişli”"),
        ("x-mac-cyrillic", b"\x8c\xe0\xeb\xe5\xed\xfc\xea\xe8\xe9", "Маленький"),
        ("x-user-defined", b"caf\xe9", "caf\uf7e9"),
        ("cp949", b"\x8cc\xb9\xe6\xb0\xa2\xc7\xcf", "똠방각하"),
        ("hz-gb-2312", b"~{P!Ur~}", "小镇"),
        ("iso-2022-jp", b"\x1b$B-!\x1b(B", "①"),
        ("utf-7", b"Stra+AN8-e", "Straße"),
    ],
)
def test_a_few_letters_beyond_the_narrow_tables_are_read(label, bytes_of_it, text):
    body = page("@", label).encode().replace(b"@", bytes_of_it)
    assert decode(body, label, html=True) == (page(text, label), 0)
    assert decode(body, None, html=True) == (page(text, label), 0)


def test_what_browsers_refuse_and_nobody_reads_is_undecodable():
    assert decode(b"<p>\x1b$)A\x0e0!\x0f</p>", "iso-2022-cn", html=True) is None
    assert decode(b"<p>plain words</p>", "iso-2022-cn", html=True) == ("<p>plain words</p>", 0)


def test_iso_2022_jp_gives_itself_away():
    assert decode(JAPANESE.encode("iso2022_jp"), None, html=False) == (JAPANESE, 0)


def test_an_xml_declaration_declares():
    body = '<?xml version="1.0" encoding="iso-8859-2"?><p>gę'.encode("iso8859-2")
    assert decode(body, None, html=True)[0].endswith("gę")


@pytest.mark.parametrize("name", ["shift_jis", "euc-kr", "big5", "windows-1251", "windows-874", "iso-8859-7"])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_two_declarations_that_agree_are_believed_whatever_a_detector_says(name, data):
    letters = {
        "shift_jis": "あいう山田①㈱ｱ", "euc-kr": "가각뷁똠 힣", "big5": "香港嘅舊", "windows-1251": "Съешьтих",
        "windows-874": "กขคราคา“”", "iso-8859-7": "Ξεσκεπάζω",
    }[name]  # fmt: skip
    codec = {"shift_jis": "cp932", "euc-kr": "cp949", "big5": "big5hkscs", "windows-874": "cp874"}.get(name, name)
    text = data.draw(st.text(st.sampled_from(letters), max_size=8))
    assert decode(page(text, name).encode(codec), name, html=True) == (page(text, name), 0)


@pytest.mark.parametrize(("http", "meta"), [("windows-1251", "koi8-r"), ("koi8-r", "windows-1251")])
def test_where_declarations_differ_a_detector_decides(http, meta):
    assert decode(page(RUSSIAN, meta).encode("cp1251"), http, html=True) == (page(RUSSIAN, meta), 0)
    assert decode(page(RUSSIAN, meta).encode("koi8-r"), http, html=True) == (page(RUSSIAN, meta), 0)


def test_the_default_of_servers_gives_way_to_what_the_page_says():
    polish = page("Małe miasteczko portowe, gęś", "iso-8859-2")
    assert decode(polish.encode("iso8859-2"), "ISO-8859-1", html=True) == (polish, 0)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_read_where_http_says_so(encoding):
    label = encoding.replace("6-", "6")
    assert decode(CHINESE.encode(encoding), label, html=False) == (CHINESE, 0)
    assert decode(page(CHINESE).encode(encoding), label, html=True) == (page(CHINESE), 0)
    assert decode(page(CHINESE).encode(encoding)[:-1], label, html=True)[1] == 1


def test_utf8_with_comments_that_were_never_converted_stays_utf8():
    body = page("Zażółć gęślą jaźń. " * 20).encode() + "Więcej: żółw. ".encode("iso8859-2") * 5
    text, bad = decode(body, "utf-8", html=True)
    assert "Zażółć gęślą jaźń" in text and bad == text.count("\ufffd") == 15


@given(st.text(max_size=300), st.sampled_from([None, "utf-8", "latin-1", "shift_jis"]))
def test_utf8_is_read_back_exactly(text, declared):
    body = text.encode()
    if b"\0" not in body and b"\x1b" not in body and not text.startswith("\ufeff"):
        assert decode(body, declared, html=False) == (text, 0)


@given(st.binary(max_size=400), st.sampled_from([None, "utf-8", "gb18030", "utf-16", "iso-2022-jp", "x"]))
@settings(max_examples=200)
def test_no_bytes_make_decoding_raise(body, declared):
    decoded = decode(body, declared, html=True)
    assert decoded is None or isinstance(decoded[0], str)


@given(st.text(st.characters(codec=None), max_size=60))
def test_cleaned_text_can_be_written_and_loses_only_nuls_and_halves(text):
    cleaned, nul, surrogate = clean(text)
    assert "\0" not in list(cleaned) and cleaned.encode().decode() == cleaned
    assert nul == ("\0" in text)
    if not surrogate:
        assert cleaned == text.replace("\0", "")


def test_halves_of_a_pair_are_joined_and_lone_ones_replaced():
    assert clean("\ud83d\ude00 \ud800x") == ("😀 \ufffdx", False, True)
