"""Strict YAML: what could be misread is refused, with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.strict_yaml import YamlError, read_yaml, read_yaml_file


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("1e-3", 0.001),
        ("0755", 755),
        ("12:30:00", "12:30:00"),
        ("2020-01-01", "2020-01-01"),
        ("true", True),
        ("~", None),
        ("300_000", 300000),
        ("1_", "1_"),
        ("1__0", "1__0"),
        ("-.inf", float("-inf")),
        ("none", "none"),
        ("'5'", "5"),
        ("<<: 1", {"<<": 1}),
    ],
)
def test_plain_scalars_are_read_as_yaml_1_2_says(text, value):
    assert read_yaml(text) == value


def test_a_key_called_null_or_no_stays_a_word():
    assert read_yaml("{null: keep, no: 1}") == {"null": "keep", "no": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\na: 2\n", "line 2: the key 'a' is there twice"),
        ("a: &x 1\nb: *x\n", "line 2: aliases"),
        ("a: [1\n", "not YAML"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("? [a]\n: 1\n", "a key must be a plain word"),
        ("a: !!python/object/apply:os.system [ls]\n", "line 1: tags .* are not allowed"),
        ("a:\n  !!timestamp 2020-01-01\n", "line 2: tags"),
        ("[" * 25 + "]" * 25, "deeper than 20"),
        ("[" * 100_000, "deeper than 20"),
        ("{a: " * 100_000, "deeper than 20"),
        ("x" * (1 << 21), "characters"),
        ("9" * 5000, "no number"),
        ("a: \x07", "not YAML"),
    ],
)
def test_yaml_that_is_not_meant_is_refused(text, says):
    with pytest.raises(YamlError, match=says):
        read_yaml(text, "file")


def test_twenty_levels_are_read():
    assert read_yaml("[" * 20 + "1" + "]" * 20)


@pytest.mark.parametrize("data", ["name: caf\u00e9\n".encode("latin-1"), "a: 1\n".encode("utf-16")])
def test_bytes_that_are_not_utf_8_are_named_with_their_line(tmp_path, data):
    file = tmp_path / "file.yaml"
    file.write_bytes(data)
    with pytest.raises(YamlError, match=r"file.yaml, line 1: byte 0x(e9|ff) is not UTF-8; save the file as UTF-8"):
        read_yaml_file(file)


def test_a_huge_file_is_refused_unread(tmp_path):
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(YamlError, match=r"huge.yaml has more than 1,048,576 characters"):
        read_yaml_file(tmp_path / "huge.yaml")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    try:
        read_yaml(text)
    except YamlError as error:
        assert str(error)
