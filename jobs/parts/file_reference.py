"""Every key of the experiment file with its type, default, meaning and an example, as Markdown, from the models alone.

python -m jobs.parts.file_reference > docs/experiment.md
"""

from collections.abc import Iterator
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from classifiers import kinds
from jobs.parts.duplicate_options import BenchmarkFile, Contamination, Duplicates, Near
from jobs.parts.experiment_file import Classifier, Experiment, as_tree

HEAD = """\
# The experiment file

One YAML file describes an experiment; every verb reads it and uses the keys it needs. Each table lists the keys of
one mapping. A key that is not listed is an error, and so is a value of another type; every verb checks the whole file first,
and so does `--dry-run`. `--set train.tokens=500000` overrides a key. A single value may stand for a list.

YAML is read strictly: version 1.2's plain words (`no` is Norwegian, not false), no key twice, no aliases, no tags, UTF-8, at
most a million characters and 20 levels deep. What rules say is in the [README](../README.md#one-idea-measure-decide-train),
the options of signal groups are in [signals.md](signals.md).

This page is what `python -m jobs.parts.file_reference` prints.
"""
COLUMNS = """\
A mapping stands in place of a pattern where columns have other names, as in `{parquet: data/*.parquet, text: content}`;
exactly one of `parquet`, `jsonl`, `warc`, `txt` and `paths` is named.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, *_section("", Experiment)]
    parts.append(f"## `pages.from[]`\n\n{COLUMNS}\n{_table(kinds.Columns)}")
    for model, where in (
        (Duplicates, "signals.duplicates"),
        (Near, "signals.duplicates.near"),
        (Contamination, "signals.contamination"),
        (BenchmarkFile, "signals.contamination.benchmarks[]"),
    ):
        parts.append(f"## `{where}`\n\n{model.__doc__}\n\n{_table(model)}")
    for kind in kinds.KINDS:
        options = kinds.options(kind)
        parts.append(f"## `classifiers.NAME.{kind}`\n\n{options.__doc__}\n\n{_table(options)}")
    return "\n".join(parts)


def examples(model: type[BaseModel] = Experiment, above: str = "") -> Iterator[tuple[str, str]]:
    """(key, example) of every key, as `--set` takes them."""
    for name, field in model.model_fields.items():
        key = f"{above}{field.alias or name}"
        yield key, _example(field)
        if inner := _model(field):
            yield from examples(inner, f"{key}.")


def _section(path: str, model: type[BaseModel]) -> Iterator[str]:
    yield (f"## `{path}`\n\n{model.__doc__}\n\n" if path else "") + _table(model)
    for name, field in model.model_fields.items():
        if inner := _model(field):
            yield from _section(f"{path}.{field.alias or name}".lstrip("."), inner)


def _model(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a key that has keys of its own."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Classifier:
            return kind
    return None


def _table(model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    rows = ["| key | type | default | meaning | example |", "|---|---|---|---|---|"]
    for name, field in model.model_fields.items():
        key = field.alias or name
        kind = "a mapping, below" if _model(field) else _type(schema["properties"][key])
        inner = _model(field)
        meaning = " ".join((field.description or (inner and inner.__doc__) or "").split())
        cells = [f"`{key}`", kind, _default(field), meaning, f"`{key}: {_example(field)}`"]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
}
WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "object": "mapping"}


def _type(schema: dict[str, Any]) -> str:
    """A type of JSON schema in words."""
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    for several in ("anyOf", "oneOf"):
        if several in schema:
            words = [_type(one) for one in schema[several] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(words))
    if schema.get("type") == "array":
        return f"list of: {_type(schema['items'])}"
    if schema.get("format") == "path":
        return "path"
    bounds = [text.format(f"{schema[bound]:,.12g}") for bound, text in BOUNDS.items() if bound in schema]
    return ", ".join([WORDS.get(schema.get("type", "object"), "any value"), *bounds])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    if field.default_factory is not None:
        return "the name of `out`"
    if field.default is None:
        return "none"
    return "as below" if isinstance(field.default, BaseModel) else f"`{_flow(field.default)}`"


def _example(field: FieldInfo) -> str:
    return str(field.examples[0]) if field.examples else _flow(field.default)


def _flow(value: Any) -> str:
    """A value on one line of YAML."""
    return yaml.safe_dump(as_tree(value), default_flow_style=True, width=1000).removesuffix("...\n").strip()


if __name__ == "__main__":
    print(page(), end="")
