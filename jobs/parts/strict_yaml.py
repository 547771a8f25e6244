"""YAML read strictly: what could be misread is an error.

Plain scalars are YAML 1.2's, so `no` is Norwegian; a repeated key, an alias, a tag, a file that is deep or large is refused.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from jobs.parts.refusals import ExperimentError

MOST_BYTES = 1 << 20
MOST_DEPTH = 20


def _place(mark: yaml.Mark) -> str:
    return f"{mark.name}, line {mark.line + 1}"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain scalars, string keys, no aliases, no repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise ExperimentError(f"{self.name}: aliases (*name) are not allowed; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise ExperimentError(f"{_place(key_node.start_mark)}: a key must be a plain word")
            if key_node.value in mapping:
                raise ExperimentError(f"{_place(key_node.start_mark)}: the key {key_node.value!r} is there twice")
            mapping[key_node.value] = self.construct_object(value_node, deep=True)
        return mapping


_PLAIN = {
    "bool": (r"(true|True|TRUE|false|False|FALSE)\Z", "tTfF"),
    "null": (r"(~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    "int": (r"[-+]?[0-9][0-9_]*\Z", "-+0123456789"),
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
    return int(node.value)


_Loader.add_constructor("tag:yaml.org,2002:float", _float)  # PyYAML's own reads 1e-3 as text
_Loader.add_constructor("tag:yaml.org,2002:int", _int)  # and 0755 as octal


def read_yaml(text: str, name: str = "--set") -> Any:
    """YAML as described above. Raises ExperimentError with file, line and column."""
    if len(text) > MOST_BYTES:
        raise ExperimentError(f"{name}: {len(text):,} characters; an experiment file has at most {MOST_BYTES:,}")
    loader = _Loader(text)
    loader.name = name
    try:
        loaded = loader.get_single_data()
    except yaml.YAMLError as error:
        raise ExperimentError(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    if _depth(loaded) > MOST_DEPTH:
        raise ExperimentError(f"{name}: nested deeper than {MOST_DEPTH}")
    return loaded


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)
