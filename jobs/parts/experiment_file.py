"""One experiment file for every verb: strict YAML in, frozen typed models out.

`--set key=value` is laid over the file, then each key is checked by the model that has a field of its name; what is wrong is
told in one sentence. What a key says about files, signals and rules is checked by `jobs.parts.checks`.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from classifiers import kinds
from classifiers.kinds import LocalPath, Options, Scorer, Seed, Several, Source, StoredPath
from filters.levels import RANDOM
from filters.niches import Within, are_columns, within_of
from filters.stores import address_of
from filters.strict_yaml import read_yaml, read_yaml_file
from jobs.parts.duplicate_options import SIGNALS, Contamination, DropLines, Duplicates, typed
from jobs.parts.refusals import ExperimentError
from jobs.shards.extraction import ReadLimits
from jobs.shards.locations import without_secrets

Value = TypeVar("Value")
Named = Annotated[dict[str, Value], BeforeValidator(lambda given: {} if given is None else given)]
"""A mapping whose keys the writer of the file chooses; nothing after the colon is an empty one."""
Count = Annotated[int, Field(ge=1)]
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
LEAST_VOCABULARY = 257
"""256 bytes and the end-of-text token."""


def _no_repeats(given: list[Value]) -> list[Value]:
    for value in given:
        if given.count(value) > 1:
            raise ValueError(f"{value!r} is there twice")
    return given


EachOnce = Annotated[Several[Value], AfterValidator(_no_repeats)]


def _set(given: Any) -> Any:
    """YAML writes a set as a mapping to nothing: `{none, best}`."""
    return list(given) if isinstance(given, Mapping) and not any(given.values()) else given


class Limits(Options):
    """Bounds on one page; a page over one is rejected and counted."""

    bytes: Count = ReadLimits.bytes
    """Of the record, and of its body once it is decompressed."""
    characters: Count = ReadLimits.characters
    """Of the page's text."""
    seconds: Annotated[float, Field(gt=0)] = ReadLimits.seconds
    """Processor time for taking the text out of the page."""
    memory: Count = ReadLimits.memory
    """Bytes of address space of the process that does so."""


class Pages(Options):
    """What is read, and how."""

    from_: Annotated[
        Several[Source], Field(alias="from", min_length=1, examples=["[crawl/*.warc.gz, s3://bucket/*.parquet]"])
    ]
    """Shards: paths, globs, s3://, https:// or hf:// addresses of WARC, WET, parquet, jsonl or txt files (.gz, .zst, .bz2,
    .xz); mappings for columns of other names and for lists of paths, below."""
    extract: Literal["resiliparse", "trafilatura", "justext"] = "resiliparse"
    """What takes the main text out of HTML; it decides more than most rules (docs/reading.md)."""
    limits: Limits = Field(default=Limits(), examples=["{bytes: 5_000_000, seconds: 10}"])


class Classifier(Options):
    """One entry of `classifiers:`, `{kind: options}`; its name is its signal group and its column."""

    kind: str
    options: SerializeAsAny[Scorer]

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        if isinstance(given, cls):
            return given
        if not isinstance(given, Mapping) or len(given) != 1:
            raise ValueError(
                f"expected one kind with its options, such as {{fasttext: {{positives: [...]}}}}, got {given!r}"
            )
        [kind] = given
        one_kind: Any = dict[str, kinds.options(kind)]  # type: ignore[misc]
        return {"kind": kind, "options": TypeAdapter(one_kind).validate_python(given)[kind]}

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        return {self.kind: self.options.model_dump(by_alias=True, exclude_unset=True)}


class Tokenizer(Options):
    """One byte-level BPE for every subset: trained here, or a folder that is used as it is."""

    vocabulary: Annotated[int, Field(ge=LEAST_VOCABULARY)] = 4096
    """Entries, the 256 bytes and the end-of-text token among them."""
    sample_bytes: Count = 20_000_000
    """Text it is trained on: a sample of all pages by id, held-out pages apart, whatever rules say."""
    path: LocalPath | None = Field(default=None, examples=["models/tokenizer"])
    """A folder with a `tokenizer.json` of ours, used as it is in place of training one."""

    @model_validator(mode="after")
    def _trained_or_frozen(self) -> Self:
        if self.path is None:
            return self
        for key in ("vocabulary", "sample_bytes"):
            if key in self.model_fields_set:
                raise ValueError(f"path: a tokenizer that is used as it is takes no {key}")
        if not (self.path / "tokenizer.json").is_file():
            raise ValueError(f"path: there is no tokenizer.json in {self.path}")
        return self

    @model_serializer(mode="wrap")
    def _what_counts(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if (key == "path") == (self.path is not None)}


At = Literal["none", "best", "hardest"]
AtOrRandom = Literal["none", "best", "hardest", "random"]


class Train(Options):
    """The runs, one for each subset, replicate, model, budget and learning rate."""

    model: EachOnce[str] = Field(min_length=1, default=["0.2m"], examples=["1m", "[0.2m, 1m]"])
    """Sizes: conf/models/<model>.yaml, or paths of such files."""
    tokens: EachOnce[Count] = Field(min_length=1, default=[300_000], examples=["3_000_000", "[300_000, 600_000]"])
    """Tokens every run is trained on; of several budgets the shorter run reads what the longer reads first."""
    learning_rate: EachOnce[Annotated[float, Field(gt=0)]] = Field(min_length=1, default=[1.0], examples=["[1, 0.5]"])
    """Factors of the rate that each size has by itself."""
    at: Annotated[EachOnce[At], BeforeValidator(_set)] = Field(default=[], examples=["[none, best, hardest]"])
    """The subsets that are trained at the second and later learning rates, all of them without this key: `none` is the
    unfiltered pool, `hardest` the level that keeps least, `best` the level that is best at the first rate."""
    regime: Literal["fresh", "fixed_pool"] = "fresh"
    """`fresh`: as many different tokens for every subset; `fixed_pool`: as many steps, repeated where a subset is small."""
    replicates: Annotated[
        Annotated[Count, Tag("how many")] | Annotated[EachOnce[Seed], Field(min_length=1), Tag("which")],
        Discriminator(lambda given: "which" if isinstance(given, list) else "how many"),
    ] = 2
    """Runs of each subset, each with first weights, a fold of the pages and draws of its own: how many, or their numbers."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` is cuda where there is one."""

    @property
    def numbers(self) -> list[int]:
        """The replicates by number."""
        return list(range(self.replicates)) if isinstance(self.replicates, int) else self.replicates


class Budget(Options):
    """The scale that small runs stand for: what is read how often there decides what they show (arXiv 2606.07597)."""

    tokens: Annotated[Count, Field(examples=["1_000_000_000_000"])]
    """Tokens that are trained on there."""
    pool: Count | None = Field(default=None, examples=["15_000_000_000_000"])
    """Tokens of the unfiltered pool there; levels keep the same share of it as of this one."""


class Controls(Options):
    """As many tokens as a level keeps (bytes, where there is no tokenizer), of the pages that its other rules keep."""

    random: Literal["all", "hardest"] | None = Field(default=None, examples=["all"])
    """By chance: at `all` levels or at the `hardest`."""
    inverted: Literal["all", "hardest"] | None = Field(default=None, examples=["hardest"])
    """The worst pages first: at `all` levels or at the `hardest`."""


class Diagnostics(Options):
    """What is trained and measured beside the levels, to tell why they differ; none of it is part of the verdict."""

    permuted: EachOnce[Annotated[float, Field(gt=0, le=1)]] = Field(default=[], examples=["[0.1, 0.3, 1.0]"])
    """A ladder that must rise: runs that read what the mildest level's read, with these shares of the tokens of each slice
    put out of their order. Where its steps are not told apart, neither are levels that differ less."""
    bands: EachOnce[Literal["removed", "margin"]] = Field(default=[], examples=["[removed, margin]"])
    """Subsets between two levels, by the bytes that they keep: `removed` is what the mildest keeps and the hardest drops,
    `margin` what the next-hardest keeps and the hardest drops. Their runs read as many tokens as all others."""
    second: Named[Several[Any]] = Field(default={}, examples=["{rules.books.pareto: [3, 9]}"])
    """Two levels or more by another scorer, such as one that learned from other good texts, with the swept keys off: is the
    scorer a bad proxy, or is any pushed too hard?"""
    late: bool = False
    """Whether the weights of three late steps of each level's runs are measured too (at 85, 90 and 95 % of the steps)."""
    replicates: Count = 2
    """So many replicates of permuted runs, bands and second levels, the first of `train.replicates`; they are trained for
    the first model, budget and learning rate alone."""


class HeldOut(Options):
    """Pages that no classifier, tokenizer or model is trained on."""

    by: Literal["domain", "page"] = "domain"
    """`domain` holds out whole registrable domains."""
    share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the domains or pages."""
    most_bytes: Count = 400_000
    """At most so much text of each set is evaluated; ids decide which pages."""
    page_characters: Count = 2000
    """Characters evaluated of each page, from its beginning: many pages tell more than long ones for the same work."""
    drop_copies: bool = True
    """Whether exact copies of held-out pages are taken out of the pool."""


def _task(given: Any) -> Any:
    if isinstance(given, str) and given:
        return given
    if isinstance(given, Mapping) and len(given) == 1:
        [(name, value)] = given.items()
        if name == "hub" and isinstance(value, str):
            return {name: value}
        templates = [value] if isinstance(value, str) else value
        if isinstance(templates, list) and templates and all(isinstance(one, str) for one in templates):
            return {name: _no_repeats(templates)}
    raise PydanticCustomError("task", "a task's name, {hub: NAME} or {NAME: [TEMPLATE, ...]}")


Task = Annotated[str | dict[str, Any], BeforeValidator(_task)]


def _strata(given: Any) -> Any:
    if given is None or are_columns(given):
        return given
    if isinstance(given, Mapping) and len(given) == 1:
        [(column, named)] = given.items()
        if column in NAMED_STRATA and isinstance(named, list) and named and all(isinstance(one, str) for one in named):
            return {column: _no_repeats(named)}
    raise PydanticCustomError(
        "strata", "a column, {tenths: number} or a list of such, or {domain: [NAME, ...]} or {language: [CODE, ...]}"
    )


Strata = Annotated[str | list[str | dict[str, str]] | dict[str, Any], BeforeValidator(_strata)]
NAMED_STRATA = ("domain", "language")
"""Columns whose strata may be named one by one."""


class Evaluate(Options):
    """What the models are measured on."""

    held_out: HeldOut = Field(default=HeldOut(), examples=["{by: page, share: 0.2}"])
    """Pages that no classifier, tokenizer or model is trained on; without `train:` none, unless this key is there."""
    strata: Strata | None = Field(
        default=None, examples=["domain", "{language: [eng, deu]}", "[topic, {tenths: text_characters}]"]
    )
    """Parts of the held-out pages whose mean decides, so that a large one does not: each domain, language or niche (the
    columns of a rule's `within`) that has five clusters or more, or those that are named; the others together are one.
    Without the key all pages are one part."""
    clusters: Literal["site", "path", "page"] | None = None
    """What is drawn together when it is asked how much pages differ: a registrable domain, or a section of it by the first
    segments of the address. By default sites, and sections of a site that holds more than a fifth of the pages."""
    tasks: EachOnce[Task] = Field(default=[], examples=["[lambada, blimp, {piqa: harness}, {hub: hellaswag}]"])
    """Benchmarks (docs/tasks.md), by all their templates or those named; `{hub: NAME}` is lm-eval's own task, read from the
    network. They may be looked at as often as one likes: which of them tell levels apart is measured and printed."""
    verdict_tasks: EachOnce[Task] = Field(default=[], examples=["[arc_easy, openbookqa]"])
    """The same for benchmarks that nothing is chosen by: they are named when all else is settled and scored once."""
    items: Count = 500
    """At most so many items of each, the same in every experiment."""
    task_levels: Annotated[EachOnce[AtOrRandom], BeforeValidator(_set)] = Field(
        default=[], examples=["[none, best, hardest, random]"]
    )
    """The subsets that are asked tasks, all of them without this key: `none`, `best` and `hardest` are those of `train.at`,
    `best` on held-out pages; `random` are the random controls of the levels among them."""
    benchmarks: LocalPath | None = Field(default=None, examples=["bench"])
    """The folder of the benchmarks' files, under the names in docs/tasks.md; a task whose file is not there is left out."""

    @property
    def niches(self) -> Within:
        """The columns whose cells are strata, where those are not domains or languages alone."""
        named = isinstance(self.strata, dict) and set(self.strata) <= set(NAMED_STRATA)
        return () if self.strata is None or self.strata in NAMED_STRATA or named else within_of(self.strata, {})


class Primary(Options):
    """The one hypothesis that the experiment is made to test; p values of all other differences are adjusted (Holm)."""

    metric: Literal["bits_per_byte"] = "bits_per_byte"
    """What is compared."""
    between: EachOnce[str] = Field(default=["best", "hardest"], examples=["[none, quality-pareto-9]"])
    """Two subsets, the second minus the first: `best`, `hardest`, `unfiltered` (all pages), `none` (the level whose swept
    keys all say so), or the name of a level."""

    @field_validator("between")
    @classmethod
    def _two(cls, given: list[str]) -> list[str]:
        if len(given) != 2:
            raise ValueError(f"it takes two subsets, such as [best, hardest], got {given!r}")
        return given


WhichSubsets = Annotated[
    Annotated[Literal["all", "none"], Tag("word")] | Annotated[EachOnce[str], Tag("names")],
    Discriminator(lambda given: "word" if given in ("all", "none") else "names"),
]


class Write(Options):
    """The text of subsets."""

    subsets: WhichSubsets = "all"
    """The subsets whose pages are written: names, `none`, or `all`, which leaves out `unfiltered`, a copy of the pages."""
    removed: bool = False
    """Whether the pages that a written level removes are written too, to `removed/`, with every rule they failed."""
    format: Literal["jsonl.zst", "parquet"] = "jsonl.zst"
    """The form of the files that are written."""
    shuffle: bool = False
    """Whether subsets are written in one random order over all shards, which a draw from each page's id decides."""
    shard_bytes: Count = 256_000_000
    """With `shuffle`: the most bytes of text in a file, on average."""
    drop_lines: DropLines | None = Field(default=None, examples=["{seen_on_domains: 10, most: 0.5}"])
    """Cuts lines that stand on many sites out of the text (docs/duplicates.md), before transforms."""
    transforms: Several[str] = Field(default=[], examples=["[mask_pii]"])
    """Edits of the text, by name, in order (filters/transforms.py)."""
    signals: EachOnce[str] = Field(default=[], examples=["[language, quality]"])
    """Signals written beside id, url and text."""


class Explore(Options):
    """The page with sliders."""

    pages: Annotated[int, Field(ge=1, le=100_000)] = 20_000
    """Pages in its sample; the file stays under 15 MB, so of more pages it has fewer signals."""


class Experiment(Options):
    """The whole file. Each verb uses the keys it needs."""

    out: StoredPath = Path("out/experiment")
    """Folder of all tables, models, runs and the report, or a prefix on s3://, gs:// or hdfs:// (docs/stores.md)."""
    reuse: StoredPath | None = Field(default=None, examples=["out/other"])
    """The `out` of another experiment: its finished tables and models are taken where the same configuration made them."""
    name: Annotated[str, Field(min_length=1, max_length=200, examples=["demo"])] = Field(
        default_factory=lambda data: str(data["out"].name or data["out"].resolve().name),
        description="What the report calls it.",
    )
    pages: Annotated[Pages, Field(examples=["{from: [crawl/*.warc.gz], extract: trafilatura}"])]
    classifiers: Named[Classifier] = Field(
        default={}, examples=["{quality: {fasttext: {positives: [data/reference/*.jsonl.zst]}}}"]
    )
    """Learned signals, `{name: {kind: options}}`; the name is a signal group, a column and a file."""
    signals: Named[Named[Any]] = Field(default={}, examples=["{language: {}, gopher: {}, quality: {}}"])
    """Groups to measure, each with its options; a column of a classifier stands for the classifier."""
    presets: EachOnce[str] = Field(default=[], examples=["[gopher, repetition]"])
    """Rule files: names in conf/rules/ or paths. Rules on one signal all hold, in whatever order the files are named."""
    rules: Named[Any] = Field(default={}, examples=["{word_count: {min: 50}, language: {in: [eng]}}"])
    """Conditions by signal (docs/choosing.md); they hold together with those of presets and of what they extend, or with
    `replace: true` among them in their place."""
    sweep: Named[Any] = Field(default={}, examples=["{rules.quality.pareto: [none, 1, 3, 9]}"])
    """Keys of `rules` with the values to try, mildest first; `none` takes the condition away. `random: 50` draws that many
    levels, each key from its list or from a range, `{from: 1, to: 9}`; `list:` has levels written out."""
    budget: Budget | None = Field(default=None, examples=["{tokens: 1_000_000_000_000, pool: 15_000_000_000_000}"])
    """The scale that runs stand for; jobs.sweep tells how often each level's pages are read there and here."""
    match: Literal["tokens", "repetition"] | None = None
    """Samples by hash that make levels alike: as many `tokens` as the smallest has (bytes, where there is no tokenizer),
    after which levels are no longer nested; or the `repetition` of `budget:`, one share of every level."""
    controls: Controls = Field(default=Controls(), examples=["{random: all, inverted: hardest}"])
    diagnostics: Diagnostics | None = Field(default=None, examples=["{permuted: [0.3, 1.0], bands: [removed, margin]}"])
    compare: Named[Several[str]] = Field(default={}, examples=["{gopher: [gopher], gopher dolma: [gopher_dolma]}"])
    """Rule sets whose verdicts jobs.compare sets side by side: name -> presets."""
    tokenizer: Tokenizer | None = Field(default=None, examples=["{vocabulary: 8192}"])
    train: Train | None = Field(default=None, examples=["{model: 1m, tokens: 3_000_000, replicates: 3}"])
    evaluate: Evaluate = Field(default=Evaluate(), validate_default=True, examples=["{held_out: {by: page}}"])
    primary: Primary | None = Field(default=None, examples=["{metric: bits_per_byte, between: [best, hardest]}"])
    """The hypothesis named before anything is measured; by default the hardest level minus the best, on a grid the best
    minus the unfiltered pages."""
    write: Write = Field(default=Write(), examples=["{subsets: [quality-pareto-3], format: parquet}"])
    explore: Explore = Field(default=Explore(), examples=["{pages: 100000}"])
    seed: Seed = 0
    """Decides noisy cuts, random subsets, samples and the held-out split."""

    @property
    def beside(self) -> Diagnostics:
        """What is trained beside the levels: nothing without its key."""
        return self.diagnostics or Diagnostics()

    @property
    def duplicates(self) -> Duplicates | None:
        """How copies are looked for; None where they are not."""
        return typed("duplicates", self.signals["duplicates"]) if "duplicates" in self.signals else None

    @property
    def contamination(self) -> Contamination | None:
        """Which benchmarks are looked for; None where there are none."""
        return typed("contamination", self.signals["contamination"]) if "contamination" in self.signals else None

    @field_validator("classifiers")
    @classmethod
    def _plain_names(cls, given: dict[str, Classifier]) -> dict[str, Classifier]:
        for name in given:
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"the name {name!r} must be a letter and then letters, digits or _, at most 100 in all: "
                    "it names a column and files"
                )
        return given

    @field_validator("signals")
    @classmethod
    def _columns_as_classifiers(cls, given: dict[str, dict[str, Any]], info: ValidationInfo) -> dict[str, dict[str, Any]]:
        known: Mapping[str, Classifier] = info.data.get("classifiers", {})
        of_column = {column: name for name, one in known.items() for column in one.options.columns(name)}
        found: dict[str, dict[str, Any]] = {}
        for name, options in given.items():
            group = name if name in known else of_column.get(name, name)
            found[group] = found.get(group, {}) | options
        return found

    @field_validator("sweep")
    @classmethod
    def _one_value_is_a_list(cls, given: dict[str, Any]) -> dict[str, Any]:
        mapped = {key: value for key, value in given.items() if isinstance(value, Mapping) or key == RANDOM}
        return {key: mapped.get(key, value if isinstance(value, list) else [value]) for key, value in given.items()}

    @field_validator("evaluate")
    @classmethod
    def _held_out_for_runs(cls, given: Evaluate, info: ValidationInfo) -> Evaluate:
        if info.data.get("train") is None and "held_out" not in given.model_fields_set:
            return Evaluate(held_out=HeldOut(share=0))
        return given

    @field_validator("compare")
    @classmethod
    def _two_or_more(cls, given: dict[str, list[str]]) -> dict[str, list[str]]:
        if len(given) == 1:
            raise ValueError(f"to compare takes two or more rule sets, got only {next(iter(given))!r}")
        for name, presets in given.items():
            if not presets:
                raise ValueError(f"the rule set {name!r} has no presets, so there is nothing to compare")
        return given


def load(path: Path, settings: Sequence[str] = ()) -> Experiment:
    """The experiment in a file with `--set key=value` laid over it. Raises ExperimentError for anything unusable."""
    if not path.is_file():
        raise ExperimentError(f"there is no experiment file {path}")
    tree = read_yaml_file(path)
    if not isinstance(tree, dict):
        raise ExperimentError(f"{path} must be a mapping with pages:, signals:, rules: and so on, got {tree!r}")
    for setting in settings:
        _lay_over(tree, setting)
    try:
        experiment = Experiment.model_validate(tree)
        for group in SIGNALS:
            if group in experiment.signals:
                typed(group, experiment.signals[group])
        return experiment
    except ValidationError as error:
        raise ExperimentError(_sentence(error, tree)) from error


def _lay_over(tree: dict[str, Any], setting: str) -> None:
    path, equals, value = setting.partition("=")
    if not equals or not path:
        raise ExperimentError(f"--set takes key=value, got {setting!r}")
    *above, last = path.split(".")
    if above[:1] == ["sweep"]:  # the keys of sweep: hold dots themselves
        above, last = ["sweep"], path.removeprefix("sweep.")
    for key in above:
        if tree.get(key) is None:
            tree[key] = {}
        tree = tree[key]
        if not isinstance(tree, dict):
            raise ExperimentError(f"--set {path}: {key!r} is not a mapping")
    tree[last] = read_yaml(value)


EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "literal_error": "{expected}",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "too_short": "a list with at least one value",
    "string_too_short": "text",
    "string_too_long": "at most {max_length} characters",
    "mapping": "a mapping with {keys}",
}
"""What was expected, by pydantic's type of error."""


def _sentence(error: ValidationError, tree: Any) -> str:
    """The first of pydantic's errors as we tell it; an unknown key comes before what it leaves missing."""
    errors = error.errors(include_url=False)
    first = next((one for one in errors if one["type"] == "unknown_key"), errors[0])
    kind, given, context = first["type"], first["input"], first.get("ctx", {})
    key = _key(first["loc"], tree, missing=kind == "missing")
    if kind == "unknown_key":
        unknown = f"{key}.{context['key']}".lstrip(".")
        return f"unknown key {unknown!r}: {context['nearest']}"
    if kind == "missing":
        return f"the key {key!r} is missing"
    if kind == "value_error":
        return f"{key}: {context['error']}".removeprefix(": ")
    expected = EXPECTED[kind].format(**context).replace("'", "") if kind in EXPECTED else first["msg"]
    shown = repr(given)
    return f"{key} must be {expected}, got {shown if len(shown) <= 100 else shown[:100] + '...'}"


def _key(location: Sequence[int | str], tree: Any, missing: bool) -> str:
    """A place as its writer knows it, such as `train.seeds[1]`: the steps of pydantic that are steps in the file."""
    key = ""
    for at, step in enumerate(location):
        if isinstance(tree, Mapping) and step in tree:
            key, tree = f"{key}.{step}", tree[step]
        elif isinstance(tree, list) and isinstance(step, int):
            key, tree = f"{key}[{step}]", tree[step]
        elif missing and at == len(location) - 1:
            key = f"{key}.{step}"
    return key.lstrip(".")


def as_tree(value: Any) -> Any:
    """Models, dataclasses and paths as plain mappings, lists and scalars, with the keys of the file.

    This is what is stored and hashed, so addresses are in it without logins and signatures.
    """
    if isinstance(value, BaseModel):
        return as_tree(value.model_dump(by_alias=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {known.name: as_tree(getattr(value, known.name)) for known in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {as_tree(str(key)): as_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_tree(item) for item in value]
    return without_secrets(address_of(str(value))) if isinstance(value, Path | str) else value


def config_hash(config: Any) -> str:
    """Sixteen hexadecimal digits that name a configuration: SHA-256 of its canonical JSON."""
    canonical = json.dumps(as_tree(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
