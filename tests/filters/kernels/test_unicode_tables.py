import sys
import unicodedata

import numpy as np
import regex

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


def marked(flag):
    return {chr(code) for code in np.flatnonzero(tables.MARKS & flag)}


def test_marks_that_end_sentences_are_unicodes_and_a_few_more():
    ends = marked(tables.TERMINAL)
    assert ends - {character for character in EVERY if regex.match(r"\p{Sentence_Terminal}", character)} == set(
        "…\u037e།༎\U00011c71෴⳾"
    )
    assert set(".?!…。！？｡؟۔।॥።။‽។៕꯫᱾᭞꧉܀෴།") <= ends
    assert not set("¿¡,;:-'\"·・、") & ends


def test_marks_with_another_use_end_no_sentence_by_themselves():
    anywhere = marked(tables.ANYWHERE)
    assert anywhere < marked(tables.TERMINAL)
    assert not set(".?!…‽․\u037e") & anywhere
    assert set("。！？｡؟۔।።။។꯫᱾᭞꧉܀෴།") <= anywhere


def test_the_quotes_that_close_speech_are_marks_that_close():
    assert set('"”」』') <= marked(tables.LAST_QUOTE)
    assert marked(tables.LAST_QUOTE) - marked(tables.CLOSING) == set("＂")


def test_quotes_and_brackets_close_and_letters_do_not():
    closing = {chr(code) for code in np.flatnonzero(tables.MARKS & tables.CLOSING)}
    assert set("\"')]}”’»«」』）") <= closing
    assert not set("([{a.") & closing


def test_the_tables_cannot_be_changed():
    assert not tables.CLASSES.flags.writeable
    assert not tables.MARKS.flags.writeable
