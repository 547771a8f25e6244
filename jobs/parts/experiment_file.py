"""One experiment file for every verb: YAML in, frozen dataclasses out, and every mistake found before the first task.

The YAML is read strictly (1.2 booleans, so `no` is Norwegian; a repeated key, an alias or an unknown key is an error), then
`--set key=value` is laid over it, then each key is checked against the dataclass field of the same name.
"""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filters.signals import nearest
from jobs.parts.refusals import ExperimentError
from jobs.parts.strict_yaml import read_yaml


@dataclass(frozen=True)
class Pages:
    """`pages:` what is read, and how."""

    from_: list[Any]
    """Shards: paths, globs, s3:// or https:// addresses of WARC, WET, parquet, jsonl(.gz|.zst) files; for foreign columns
    `{parquet: PATTERN, text: COLUMN, id: COLUMN, url: COLUMN}` (or `jsonl:`)."""
    extract: str = "resiliparse"
    """What takes the main text out of HTML: resiliparse, trafilatura or justext."""
    limits: dict[str, float] = field(default_factory=dict)
    """Bounds on one page: see ReadLimits in jobs/shards/extraction.py for names, units and defaults."""


@dataclass(frozen=True)
class FastText:
    """A fastText classifier of good against other pages."""

    positives: list[Any]
    """Files of good text, in any form that `pages.from` takes."""
    negatives: str | list[Any] = "pages"
    """`pages` (a sample of the pool, held-out pages apart) or files."""
    preset: str = "gao"
    """Hyperparameters: conf/classifiers/<preset>.yaml."""
    seed: int = 0
    """Decides the sample of negatives and fastText's own draws."""


@dataclass(frozen=True)
class Classifier:
    """One entry of `classifiers:`; its name is its signal group and its column."""

    fasttext: FastText


@dataclass(frozen=True)
class Tokenizer:
    """`tokenizer:` one byte-level BPE for every subset."""

    vocabulary: int = 4096
    """Entries, the 256 bytes and the end-of-text token among them."""
    sample_bytes: int = 20_000_000
    """Text it is trained on: a sample of all pages by id, held-out pages apart, whatever rules say."""


@dataclass(frozen=True)
class Train:
    """`train:` the runs, one for each subset and seed."""

    model: str = "0.2m"
    """A size: conf/models/<model>.yaml."""
    tokens: int = 300_000
    """Tokens every run is trained on."""
    regime: str = "fresh"
    """`fresh`: as many different tokens for every subset; `fixed_pool`: as many steps, repeated where a subset is small."""
    seeds: list[int] = field(default_factory=lambda: [0, 1])
    """One run of each subset for each seed; a seed fixes the first weights and the order of pages."""
    device: str = "auto"
    """cpu, cuda, or auto: cuda where there is one."""


@dataclass(frozen=True)
class HeldOut:
    """`evaluate.held_out:` pages that no classifier, tokenizer or model is trained on."""

    by: str = "domain"
    """`domain` (whole registrable domains) or `page`."""
    share: float = 0.1
    """Share of the domains or pages."""
    most_bytes: int = 400_000
    """Text that is evaluated at most, in each set; which pages are taken is decided by their ids."""
    page_characters: int = 2000
    """Characters evaluated of each page, from its beginning: many pages tell more than long ones for the same work."""
    drop_copies: bool = True
    """Whether exact copies of held-out pages are taken out of the pool."""


@dataclass(frozen=True)
class Evaluate:
    """`evaluate:` what the models are measured on."""

    held_out: HeldOut = field(default_factory=HeldOut)
    tasks: list[str] = field(default_factory=list)
    """Task files; none yet."""


@dataclass(frozen=True)
class Write:
    """`write:` the text of subsets."""

    subsets: str | list[str] = "all"
    """`all`, or the names of the subsets whose pages are written."""
    format: str = "jsonl.zst"
    """jsonl.zst or parquet."""
    transforms: list[str] = field(default_factory=list)
    """Edits of the text, by name, in order (filters/transforms.py)."""
    signals: list[str] = field(default_factory=list)
    """Signals written beside id, url and text."""


@dataclass(frozen=True)
class Experiment:
    """The whole file. Each verb uses the keys it needs."""

    pages: Pages
    out: Path = Path("out/experiment")
    """Folder of all tables, models, runs and the report."""
    classifiers: dict[str, Classifier] = field(default_factory=dict)
    signals: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Groups to measure, each with its options."""
    presets: list[str] = field(default_factory=list)
    """Rule files whose rules come before `rules:`: names in conf/rules/ or paths."""
    rules: dict[str, Any] = field(default_factory=dict)
    """Conditions by signal; they replace a preset's rule on the same signal."""
    sweep: dict[str, list[Any]] = field(default_factory=dict)
    """Keys of `rules` with the values to try, mildest first."""
    controls: list[str] = field(default_factory=list)
    """random, inverted: the same size by chance, and worst pages first."""
    compare: dict[str, Any] = field(default_factory=dict)
    """Rule sets whose verdicts jobs.compare sets side by side: name -> list of presets."""
    tokenizer: Tokenizer | None = None
    train: Train | None = None
    evaluate: Evaluate = field(default_factory=Evaluate)
    write: Write = field(default_factory=Write)
    seed: int = 0
    """Decides noisy cuts, random subsets, samples and the held-out split."""


def load(path: Path, settings: Sequence[str] = ()) -> Experiment:
    """The experiment in a file with `--set key=value` laid over it. Raises ExperimentError for anything unusable."""
    if not path.is_file():
        raise ExperimentError(f"there is no experiment file {path}")
    tree = read_yaml(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(tree, dict):
        raise ExperimentError(f"{path} must be a mapping with pages:, signals:, rules: and so on, got {tree!r}")
    for setting in settings:
        _lay_over(tree, setting)
    experiment: Experiment = _build(Experiment, tree, "")
    return experiment


def _lay_over(tree: dict[str, Any], setting: str) -> None:
    path, equals, value = setting.partition("=")
    if not equals or not path:
        raise ExperimentError(f"--set takes key=value, got {setting!r}")
    *above, last = path.split(".")
    if above[:1] == ["sweep"]:  # the keys of sweep: hold dots themselves
        above, last = ["sweep"], path.removeprefix("sweep.")
    for key in above:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ExperimentError(f"--set {path}: {key!r} is not a mapping")
    tree[last] = read_yaml(value)


def _build(kind: Any, value: Any, path: str) -> Any:
    """A value as the annotated type says, with every dataclass key checked."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build_dataclass(kind, value, path)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _build_union(inner, value, path)
    if origin is list:
        # One value stands for a list of one, as in `from: crawl/*.warc.gz`.
        return [
            _build(inner[0], item, f"{path}[{at}]") for at, item in enumerate(value if isinstance(value, list) else [value])
        ]
    if origin is dict:
        if value is not None and not isinstance(value, dict):
            raise ExperimentError(f"{path} must be a mapping, got {value!r}")
        return {key: _build(inner[1], item, f"{path}.{key}") for key, item in (value or {}).items()}
    return _build_scalar(kind, value, path)


def _build_union(kinds: Sequence[Any], value: Any, path: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = [kind for kind in kinds if kind is not type(None)]
    fitting = [kind for kind in kinds if (typing.get_origin(kind) is list) == isinstance(value, list)]
    return _build((fitting or kinds)[0], value, path)


def _build_dataclass(kind: type[Any], value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        known = ", ".join(known_field.name.rstrip("_") for known_field in dataclasses.fields(kind))
        raise ExperimentError(f"{path or 'the file'} must be a mapping with {known}, got {value!r}")
    hints = typing.get_type_hints(kind)
    fields = {known_field.name.rstrip("_"): known_field for known_field in dataclasses.fields(kind)}
    for key in value:
        if key not in fields:
            raise ExperimentError(f"unknown key {f'{path}.{key}'.lstrip('.')!r}: {nearest(key, list(fields))}")
    given = {
        fields[key].name: _build(hints[fields[key].name], item, f"{path}.{key}".lstrip(".")) for key, item in value.items()
    }
    for key, known_field in fields.items():
        missing = known_field.default is dataclasses.MISSING and known_field.default_factory is dataclasses.MISSING
        if missing and known_field.name not in given:
            raise ExperimentError(f"the key {f'{path}.{key}'.lstrip('.')!r} is missing")
    return kind(**given)


def _build_scalar(kind: Any, value: Any, path: str) -> Any:
    if kind is Any:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}
        raise ExperimentError(f"{path} must be {names.get(kind, kind)}, got {value!r}")
    return value


def as_tree(value: Any) -> Any:
    """Dataclasses and paths as plain mappings, lists and scalars, with the keys of the file."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {known.name.rstrip("_"): as_tree(getattr(value, known.name)) for known in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_tree(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def config_hash(config: Any) -> str:
    """Sixteen hexadecimal digits that name a configuration: SHA-256 of its canonical JSON."""
    canonical = json.dumps(as_tree(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
