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


def test_a_name_that_cannot_be_true_is_not_believed():
    assert decode(page("plain words", "utf-16").encode(), "utf-16", html=True) == (page("plain words", "utf-16"), 0)


def test_bytes_that_are_no_text_are_undecodable():
    assert decode(random.Random(0).randbytes(20_000), None, html=True) is None


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
