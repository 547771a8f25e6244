import sys
import unicodedata

import numpy as np

from filters.kernels import unicode_tables as tables

EVERY = [chr(code) for code in range(sys.maxunicode + 1)]


def flagged(flag):
    return set(np.flatnonzero(tables.CLASSES & flag).tolist())


def those(condition):
    return {code for code, character in enumerate(EVERY) if condition(character)}


def test_the_classes_are_those_of_python_strings_for_every_code_point():
    assert flagged(tables.SPACE) == those(str.isspace)
    assert flagged(tables.LETTER) == those(str.isalpha)
    assert flagged(tables.DIGIT) == those(lambda character: unicodedata.category(character) == "Nd")
    assert flagged(tables.NUMERIC) == those(lambda character: character.isalnum() and not character.isalpha())
    assert flagged(tables.UPPER) == those(str.isupper)
    assert flagged(tables.MARK) == those(lambda character: unicodedata.category(character)[0] == "M")


def test_line_breaks_are_those_of_splitlines():
    assert flagged(tables.LINE_BREAK) == those(lambda character: len(f"a{character}b".splitlines()) == 2)


def test_scripts_without_spaces_are_named_as_such():
    spaceless = flagged(tables.SPACELESS)
    assert {ord(character) for character in "字かカｶไກကཀㄅꀀក"} <= spaceless
    assert not {ord(character) for character in "a1é한яאعक。"} & spaceless
    assert spaceless <= flagged(tables.LETTER)


def test_marks_that_end_sentences_come_from_many_scripts_and_do_not_open_any():
    ends = {chr(code) for code in np.flatnonzero(tables.MARKS & tables.TERMINAL)}
    assert set(".?!…。！？｡؟۔।॥።။‽") <= ends
    assert not set("¿¡,;:-'\"·・、") & ends


def test_quotes_and_brackets_close_and_letters_do_not():
    closing = {chr(code) for code in np.flatnonzero(tables.MARKS & tables.CLOSING)}
    assert set("\"')]}”’»«」』）") <= closing
    assert not set("([{a.") & closing


def test_the_tables_cannot_be_changed():
    assert not tables.CLASSES.flags.writeable
    assert not tables.MARKS.flags.writeable
