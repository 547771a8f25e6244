"""YAML read strictly: what could be misread is an error.

Plain scalars are YAML 1.2's, so `no` is Norwegian; a repeated key, an alias, a tag, a file that is deep or large, or bytes
that are not UTF-8 are refused.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

MOST_CHARACTERS = 1 << 20
MOST_DEPTH = 20


class YamlError(ValueError):
    """A file that is no YAML, or could be misread: one sentence that names the place."""


def _place(mark: yaml.Mark) -> str:
    return f"{mark.name}, line {mark.line + 1}"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars, string keys, no aliases, no tags, no repeated keys, bounded depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        place = _place(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            raise YamlError(f"{place}: aliases (*name) are not allowed; write the value out")
        if getattr(event, "tag", None) is not None:
            raise YamlError(f"{place}: tags ({event.tag}) are not allowed; write the plain value")
        if self.depth > MOST_DEPTH:
            raise YamlError(f"{place}: nested deeper than {MOST_DEPTH}")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(f"{_place(key_node.start_mark)}: a key must be a plain word")
            if key_node.value in mapping:
                raise YamlError(f"{_place(key_node.start_mark)}: the key {key_node.value!r} is there twice")
            mapping[key_node.value] = self.construct_object(value_node, deep=True)
        return mapping


_PLAIN = {
    "bool": (r"(true|True|TRUE|false|False|FALSE)\Z", "tTfF"),
    "null": (r"(~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    "int": (r"[-+]?[0-9]+(_[0-9]+)*\Z", "-+0123456789"),
    "float": (
        r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z",
        "-+.0123456789",
    ),
}
_Loader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in _PLAIN.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(re.sub(r"\.(?=[iInN])", "", node.value))


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    try:
        return int(node.value)
    except ValueError as error:  # Python reads no more than 4,300 digits
        raise YamlError(f"{_place(node.start_mark)}: {node.value[:20]}... is no number anybody means") from error


_Loader.add_constructor("tag:yaml.org,2002:float", _float)  # PyYAML's own reads 1e-3 as text
_Loader.add_constructor("tag:yaml.org,2002:int", _int)  # and 0755 as octal


def read_yaml(text: str, name: str = "--set") -> Any:
    """YAML as described above. Raises YamlError with file, line and column."""
    if len(text) > MOST_CHARACTERS:
        raise _too_long(name)
    try:
        loader = _Loader(text)
        loader.name = name
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise YamlError(f"{name} is not YAML: {' '.join(str(error).split())}") from error


def _too_long(name: str) -> YamlError:
    return YamlError(f"{name} has more than {MOST_CHARACTERS:,} characters, the most that is read: is it another file?")


def read_yaml_file(file: Path) -> Any:
    """The YAML in a file. Raises YamlError, also where its bytes are not UTF-8."""
    if file.stat().st_size > 4 * MOST_CHARACTERS:  # a character has at most four bytes
        raise _too_long(str(file))
    data = file.read_bytes()
    try:
        return read_yaml(data.decode("utf-8"), str(file))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise YamlError(
            f"{file}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from error
