"""A page's score by a transformer: anyone's sequence classifier, or an encoder under one layer that is fitted here.

The second is FineWeb-Edu's way (Penedo et al. 2024, arXiv 2406.17557): pages graded by a large model, an encoder that stays
as it is, a linear layer that learns the grades. Here it sees the mean of the encoder's last states and is fitted in closed
form (ridge regression), so that the same grades give the same layer.

A model is a folder as Hugging Face's libraries write it. Nothing in it is run: weights come from safetensors, code in the
folder is refused. torch and transformers take seconds and 200 MB to import, so only what needs them does, when it does.
"""

import functools
import glob
import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from classifiers import kinds
from classifiers.card import ranking
from classifiers.examples import Side, write_held_out
from classifiers.kinds import Floats, LocalPath, Pages, Seed, Several, TrainingError
from filters.files import sha256_of
from filters.nearest import nearest
from filters.pages import PageBatch
from filters.signals import Group, Signal

Vectors = npt.NDArray[np.float32]

HEAD = "head.json"
AT_ONCE = {"cpu": 4096, "cuda": 131_072}
"""Tokens in a batch, padding counted; on a CPU few enough for the caches."""
RIDGES = tuple(10.0**power for power in range(-4, 5))
"""Strengths of which generalised cross-validation chooses one; in units of the mean squared length of a vector."""
FEWEST = 20
HELD_OUT = 0.1
PAGES_AT_A_TIME = 1024
CARD_PAGES = 30
"""Held-out pages on either side that the card is made from: a processor reads some ten pages a second."""


@dataclass(frozen=True)
class Reading:
    """What a model reads of a page: the first `tokens` tokens, special ones counted, of the first `characters` code points.

    The latter bounds what the tokenizer takes; it should be no fewer than the tokens have.
    """

    tokens: int
    characters: int


@dataclass(frozen=True)
class Transformer:
    """A loaded model: `labels` are the names of a classifier's outputs, none for an encoder."""

    tokenizer: Any
    model: Any
    labels: tuple[str, ...]
    device: str


def folder_digest(folder: Path) -> str:
    """The sha256 over names and contents of what a model is loaded from. Raises ValueError for what is no model."""
    _check_folder(folder)
    files = sorted(file for file in folder.iterdir() if file.suffix in (".json", ".txt", ".model", ".safetensors"))
    told = [f"{file.name} {sha256_of(file)}" for file in files]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {folder}: name one with config.json, model.safetensors and a tokenizer's files"
        )
    held = sorted(file.name for file in folder.iterdir())
    missing = [name for name in ("config.json", "tokenizer_config.json") if name not in held]
    if not {"model.safetensors", "model.safetensors.index.json"} & set(held):
        missing.append("model.safetensors (weights of another form are not read: they can hold code)")
    if missing:
        raise ValueError(f"{folder} is no model's folder, it lacks {', '.join(missing)}; it holds {', '.join(held[:20])}")
    if "auto_map" in _config(folder):
        raise ValueError(f"{folder / 'config.json'} names code of its own (auto_map), which is never run: use another model")


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text())
    except ValueError as error:
        raise ValueError(f"{folder / 'config.json'} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{folder / 'config.json'} holds no mapping")
    return found


@functools.cache
def load(folder: Path, sha256: str, classifier: bool) -> Transformer:
    """The model in a folder of this `folder_digest`, loaded once per process. Raises ValueError."""
    from transformers import AutoModel, AutoModelForSequenceClassification

    if folder_digest(folder) != sha256:
        raise ValueError(f"the files of {folder} are not those that the job began with")
    if not classifier:
        return read_model(folder, AutoModel, "an encoder", unused="pooler.")
    found = read_model(folder, AutoModelForSequenceClassification, "a sequence classifier")
    config = found.model.config
    return replace(found, labels=tuple(config.id2label[at] for at in range(config.num_labels)))


def read_model(folder: Path, kind: Any, wanted: str, unused: str | None = None, **how: Any) -> Transformer:
    """The model in a folder as a class of transformers reads it, and its tokenizer; nothing in the folder is run.

    wanted: what the class is, in words. unused: the beginning of names of weights that may be missing. how: what else both
    are read with. Raises ValueError.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    how |= {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **how)
        model, found = kind.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **how
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, struct.error) as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ValueError(f"{folder} does not load as a model: {reason[0]}") from error
    missing = sorted(name for name in found["missing_keys"] if not (unused and name.startswith(unused)))
    if missing or found["mismatched_keys"]:
        held = ", ".join(getattr(model.config, "architectures", None) or ["no named architecture"])
        raise ValueError(f"{folder} holds {held}, not the weights of {wanted}: it lacks {', '.join(missing[:3]) or 'some'}")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    model.config.pad_token_id = tokenizer.pad_token_id
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Transformer(tokenizer, model.to(device).eval(), (), device)


def check_tokens(found: Transformer, tokens: int, folder: Path) -> None:
    """Raise ValueError where the model has no positions for so many tokens."""
    most = getattr(found.model.config, "max_position_embeddings", None)
    if most is not None and tokens > most:
        raise ValueError(f"tokens is {tokens}, but the model in {folder} sees at most {most}")


def page_texts(pages: PageBatch, characters: int) -> list[str]:
    """The first `characters` code points of each page; what is no UTF-8 becomes U+FFFD. Empty for a page without text."""
    texts = []
    for start, end, valid in zip(pages.offsets.tolist(), pages.offsets[1:].tolist(), pages.valid, strict=False):
        whole = pages.data[start : min(end, start + 4 * characters)] if valid else pages.data[:0]
        texts.append(whole.tobytes().decode("utf-8", "replace")[:characters])
    return texts


def tokenize(found: Transformer, texts: Sequence[str], tokens: int) -> list[list[int]]:
    """The token ids of each text, cut to `tokens`."""
    if not texts:
        return []
    encoded = found.tokenizer(
        list(texts), truncation=True, max_length=tokens, return_attention_mask=False, return_token_type_ids=False
    )
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def batches(lengths: Sequence[int], at_once: int) -> Iterator[list[int]]:
    """Rows in batches of like length, longest first: at most `at_once` tokens with padding, but one row at the least."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > at_once:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def forward(found: Transformer, ids: Sequence[Sequence[int]]) -> Vectors:
    """What the model says of each text: logits (texts, labels), or the mean of the last states (texts, width)."""
    import torch

    out: Vectors | None = None
    for rows, inputs, attended in padded(found, ids, AT_ONCE[found.device]):
        with torch.inference_mode():
            said = found.model(input_ids=inputs, attention_mask=attended)
            values = said.logits if found.labels else mean_state(said.last_hidden_state, attended)
        part = values.float().cpu().numpy()
        if out is None:
            out = np.empty((len(ids), part.shape[1]), np.float32)
        out[rows] = part
    return np.empty((0, max(len(found.labels), 1)), np.float32) if out is None else out


def padded(found: Transformer, ids: Sequence[Sequence[int]], at_once: int) -> Iterator[tuple[list[int], Any, Any]]:
    """Texts in `batches`: their rows, and on the model's device the tokens padded on the right and which are no padding."""
    import torch

    for rows in batches([len(one) for one in ids], at_once):
        longest = len(ids[rows[0]])
        tokens = np.full((len(rows), longest), found.tokenizer.pad_token_id or 0, np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for at, row in enumerate(rows):
            tokens[at, : len(ids[row])] = ids[row]
            mask[at, : len(ids[row])] = 1
        yield rows, torch.from_numpy(tokens).to(found.device), torch.from_numpy(mask).to(found.device)


def mean_state(states: Any, mask: Any) -> Any:
    """The mean of each text's states where the mask is not 0: (texts, tokens, width) to (texts, width)."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch: a worker has one core, and its neighbours have the others."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Head:
    """The fitted layer: a grade is `weights` times the mean state, and `bias`. The grades in `scale` score 0 and 1."""

    weights: tuple[float, ...]
    bias: float
    scale: tuple[float, float]


@dataclass(frozen=True)
class Score:
    """The function of the signal. It travels to workers as plain data; the model is loaded there, once."""

    folder: str
    sha256: str
    reading: Reading
    head: Head | None
    label: str | None
    scale: tuple[float, float] | None
    higher_is_better: bool

    def __call__(self, pages: PageBatch) -> pa.Array:
        """A number in [0, 1] for each page, null for a page without words; float64."""
        texts = page_texts(pages, self.reading.characters)
        rows = [row for row, text in enumerate(texts) if text.strip()]
        scores = np.full(len(pages), np.nan)
        if rows:
            found = load(Path(self.folder), self.sha256, self.head is None)
            with one_thread():
                said = forward(found, tokenize(found, [texts[row] for row in rows], self.reading.tokens))
            scores[rows] = self._score(found, said.astype(np.float64))
        column = pa.array(scores, mask=~np.isfinite(scores))
        return column if self.higher_is_better else pc.subtract(1.0, column)

    def _score(self, found: Transformer, said: Floats) -> Floats:
        if self.head is not None:
            return _scaled(said @ np.array(self.head.weights) + self.head.bias, self.head.scale)
        if self.scale is not None:
            return _scaled(said[:, 0], self.scale)
        if found.model.config.problem_type == "multi_label_classification":
            several: Floats = 1 / (1 + np.exp(-said))
        else:
            odds = np.exp(said - said.max(axis=1, keepdims=True))
            several = odds / odds.sum(axis=1, keepdims=True)
        one: Floats = several[:, found.labels.index(str(self.label))]
        return one


def _scaled(grades: Floats, scale: tuple[float, float]) -> Floats:
    scores: Floats = np.clip((grades - scale[0]) / (scale[1] - scale[0]), 0.0, 1.0)
    return scores


def read_grades(patterns: Sequence[Path]) -> tuple[list[str], Floats]:
    """The columns `text` and `grade` of parquet or JSON lines (.gz, .bz2, .zst too); rows that lack one are left out.

    Raises ValueError for a file that does not have them.
    """
    texts: list[str] = []
    grades: list[float] = []
    for file, table in tables(patterns, "grades", ("text", "grade")):
        if not (pa.types.is_integer(table["grade"].type) or pa.types.is_floating(table["grade"].type)):
            raise ValueError(f"grade in {file} is {table['grade'].type}, expected numbers")
        both = table.filter(pc.and_(pc.is_valid(table["text"]), pc.is_finite(table["grade"].cast(pa.float64()))))
        texts += both["text"].to_pylist()
        grades += both["grade"].to_pylist()
    return texts, np.array(grades, np.float64)


def tables(patterns: Sequence[Path], key: str, columns: Sequence[str]) -> Iterator[tuple[Path, pa.Table]]:
    """Files of parquet or JSON lines that the option `key` names, with what they hold.

    Raises ValueError where there is none, and for one that cannot be read or lacks one of the columns.
    """
    for file in _files(patterns, key):
        table = _read_table(file, key)
        for column in columns:
            if column not in table.column_names:
                raise ValueError(f"{file} has no column {column!r}: it holds {', '.join(table.column_names)}")
        yield file, table


def _files(patterns: Sequence[Path], key: str) -> list[Path]:
    files: list[Path] = []
    for pattern in patterns:
        found = sorted(glob.glob(str(pattern)))  # noqa: PTH207 - patterns may be absolute
        if not found:
            raise ValueError(f"{key}: there is no file {pattern}")
        files += [Path(name) for name in found]
    return files


def _read_table(file: Path, key: str) -> pa.Table:
    try:
        if file.suffix == ".parquet":
            return pq.read_table(file)
        with pa.input_stream(str(file), compression="detect") as stream:
            return pyarrow.json.read_json(stream)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{key}: {file} cannot be read as parquet or JSON lines: {str(error).splitlines()[0]}") from None


def fit(vectors: Floats, grades: Floats) -> tuple[Floats, float, float]:
    """Weights and bias of ridge regression, and the strength that generalised cross-validation chose.

    vectors (pages, width), grades (pages). With the eigenvectors of the covariance every strength costs one line.
    """
    middle, mean = vectors.mean(axis=0), grades.mean()
    centred, aim = vectors - middle, grades - mean
    values, directions = np.linalg.eigh(centred.T @ centred)
    values = np.maximum(values, 0.0)
    along = directions.T @ (centred.T @ aim)
    unit = float(values.sum()) or 1.0

    def criterion(strength: float) -> float:
        shrunk = along / (values + strength * unit)
        errors = aim @ aim - 2 * (along @ shrunk) + values @ shrunk**2
        freedom = 1 + float((values / (values + strength * unit)).sum())
        return float(errors / max(len(grades) - freedom, 1e-9) ** 2)

    strength = min(RIDGES, key=criterion)
    weights: Floats = directions @ (along / (values + strength * unit))
    return weights, float(mean - middle @ weights), strength


def is_held_out(text: str, seed: int) -> bool:
    """Whether a text is kept from training: by its hash, so that copies stand on one side."""
    eight = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8, key=str(seed).encode()).digest()
    return int.from_bytes(eight, "big") < HELD_OUT * 2**64


def embed(found: Transformer, texts: Sequence[str], reading: Reading) -> Floats:
    """The mean of the last states of each text, (texts, width); there is one text at the least."""
    parts = []
    for start in range(0, len(texts), PAGES_AT_A_TIME):
        some = [text[: reading.characters] for text in texts[start : start + PAGES_AT_A_TIME]]
        parts.append(forward(found, tokenize(found, some, reading.tokens)))
    return np.concatenate(parts).astype(np.float64)


def _measured(grades: Floats, said: Floats, mean: float) -> dict[str, Any]:
    """How well the held-out grades are told; null where there are none, or all are one."""
    if len(grades) == 0:
        return {"pages": 0, "mean_absolute_error": None, "error_of_the_mean": None, "correlation": None}
    varied = grades.std() > 0 and said.std() > 0
    return {
        "pages": len(grades),
        "mean_absolute_error": float(np.abs(grades - said).mean()),
        "error_of_the_mean": float(np.abs(grades - mean).mean()),
        "correlation": float(np.corrcoef(grades, said)[0, 1]) if varied else None,
    }


class Trained(NamedTuple):
    """What is known of a layer, plain data with the `head` itself; its card; some held-out pages for the card's columns."""

    about: dict[str, Any]
    card: dict[str, Any]
    sides: list[Side]


def train_head(encoder: Path, grades: Sequence[Path], reading: Reading, seed: int) -> Trained:
    """Fit the layer. Raises TrainingError."""
    texts, numbers = read_grades(grades)
    rows = [row for row, text in enumerate(texts) if text.strip()]
    texts, numbers = [texts[row] for row in rows], numbers[rows]
    apart = np.array([is_held_out(text, seed) for text in texts], bool)
    if np.count_nonzero(~apart) < FEWEST:
        raise TrainingError(
            f"{len(texts)} graded pages with words, some held out, at least {FEWEST} to learn from are needed"
        )
    lowest, highest = float(numbers.min()), float(numbers.max())
    if lowest == highest:
        raise TrainingError(f"all {len(texts)} pages have the grade {lowest:g}: grades that differ are needed")
    sha256 = folder_digest(encoder)
    found = load(encoder, sha256, False)
    check_tokens(found, reading.tokens, encoder)
    vectors = embed(found, texts, reading)
    weights, bias, strength = fit(vectors[~apart], numbers[~apart])
    said = vectors[apart] @ weights + bias
    mean = float(numbers[~apart].mean())
    measured, learned = _measured(numbers[apart], said, mean), hashlib.sha256()
    for row in np.flatnonzero(~apart):
        learned.update(texts[row].encode("utf-8", "replace"))
    about = {
        "head": asdict(Head(tuple(weights.tolist()), bias, (lowest, highest))),
        "encoder": sha256,
        "reading": asdict(reading),
        "seed": seed,
        "ridge": strength,
        "grades": {f"{grade:g}": int(count) for grade, count in zip(*np.unique(numbers, return_counts=True), strict=True)},
        "trained_on": int(np.count_nonzero(~apart)),
        "held_out": measured,
    }
    high = numbers[apart] > mean
    card = {
        "trained_on": {"grades": about["trained_on"]},
        "trained_on_hash": {"grades": learned.hexdigest()},
        "held_out": {**ranking(high, said), **measured},
    }
    held = [texts[row] for row in np.flatnonzero(apart)]
    sides = [
        Side(name, positive, [text for text, side in zip(held, high, strict=True) if side == positive][:CARD_PAGES])
        for name, positive in (("above the mean grade", True), ("below it", False))
    ]
    return Trained(about, card, sides)


class Options(kinds.Scorer):
    """A transformer: an `encoder` with `grades` to learn, or a `model` that is a sequence classifier already."""

    encoder: LocalPath | None = Field(default=None, examples=["models/minilm"])
    """The folder of an encoder that stays as it is; a linear layer on the mean of its last states learns `grades`."""
    grades: Several[LocalPath] = Field(default=[], examples=["graded.jsonl.zst"])
    """Files of graded pages, parquet or JSON lines with the columns `text` and `grade`, a number; may be patterns."""
    seed: Seed = 0
    """Decides which graded pages are held out."""
    model: LocalPath | None = Field(default=None, examples=["models/edu-classifier"])
    """The folder of a sequence classifier, used as it is."""
    label: str | None = Field(default=None, examples=["LABEL_1"])
    """The label of `model` whose probability is the score."""
    scale: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(default=None, examples=["[0.0, 5.0]"])
    """Of a `model` with one output, a grade: which become the scores 0 and 1; beyond them scores are cut."""
    higher_is_better: bool = True
    """Whether pages with a higher score of `model` are the better ones."""
    tokens: int = Field(default=512, ge=8)
    """Tokens read from a page's beginning, special ones counted."""
    characters: int = Field(default=10_000, ge=1)
    """Code points that the tokenizer is given; bounds what a page costs."""

    @model_validator(mode="after")
    def _encoder_or_model(self) -> Self:
        if (self.encoder is None) == (self.model is None):
            raise ValueError("name either an encoder with grades, or a model, and not both")
        of_model, of_encoder = ("label", "scale", "higher_is_better"), ("grades", "seed")
        wrong, whose = (of_model, "a model") if self.model is None else (of_encoder, "an encoder")
        for key in wrong:
            if key in self.model_fields_set:
                raise ValueError(f"{key} belongs to {whose}")
        if self.encoder is not None and not self.grades:
            raise ValueError("grades are missing: name files of pages with a text and a grade")
        if self.label is not None and self.scale is not None:
            raise ValueError("name either a label or, for a model of one output, a scale")
        if self.scale is not None and self.scale[0] == self.scale[1]:
            raise ValueError(f"scale is {self.scale}, expected two different grades")
        return self

    @property
    def trained(self) -> bool:
        """Whether there is a layer to fit."""
        return self.encoder is not None

    def texts(self) -> dict[str, list[Any]]:
        """The graded pages, so that they are checked and known by their content; `train` reads the grades with the texts."""
        return {"grades": [str(pattern) for pattern in self.grades]} if self.trained else {}

    @property
    def _reading(self) -> Reading:
        return Reading(self.tokens, self.characters)

    def identity(self) -> Any:
        """The model's files, and what is read and made of them."""
        about = self.model_dump(exclude={"encoder", "model", "grades"})
        folder = self.encoder or self.model
        assert folder is not None
        return {**about, "folder": folder_digest(folder)}

    def train(self, texts: Mapping[str, Pages], folder: Path) -> str:
        """Write `head.json`, the layer, and its card."""
        assert self.encoder is not None
        try:
            trained = train_head(self.encoder, self.grades, self._reading, self.seed)
        except TrainingError:
            raise
        except ValueError as error:
            raise TrainingError(str(error)) from error
        folder.mkdir(parents=True, exist_ok=True)
        (folder / HEAD).write_text(json.dumps(trained.about, indent=2) + "\n")
        held = trained.about["held_out"]
        if held["pages"]:
            (folder / kinds.CARD).write_text(json.dumps(trained.card, indent=2) + "\n")
            write_held_out(trained.sides, folder)
        return (
            f"learned from {trained.about['trained_on']:,} graded pages; mean absolute error "
            f"{held['mean_absolute_error']} on {held['pages']:,} others ({held['error_of_the_mean']} for the mean grade), "
            f"correlation {held['correlation']}"
        )

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """One score, called as the classifier is."""
        return {name: pa.float64()}

    def group(self, name: str, folder: Path) -> Group:
        """The score in [0, 1]. Loads the model once, here, to find what is wrong."""
        given = self.encoder or self.model
        assert given is not None
        given = given.resolve()
        head = _head(folder / HEAD, given) if self.trained else None
        sha256 = folder_digest(given)
        found = load(given, sha256, head is None)
        check_tokens(found, self.tokens, given)
        if head is None:
            self._check_output(found, given)
        scale = (self.scale[0], self.scale[1]) if self.scale else None
        score = Score(str(given), sha256, self._reading, head, self.label, scale, self.higher_is_better)
        layer = hashlib.sha256(json.dumps(asdict(head)).encode()).hexdigest() if head else None
        identity = {key: value for key, value in asdict(score).items() if key != "folder"} | {"head": layer}
        return Group(name, (Signal(name, score, pa.float64()),), identity)

    def _check_output(self, found: Transformer, folder: Path) -> None:
        held = list(found.labels)
        if len(held) == 1 and self.scale is None:
            raise ValueError(
                f"the model in {folder} has one output: say which grades are the scores 0 and 1, as scale: [0, 5]"
            )
        if len(held) > 1 and self.label is None:
            raise ValueError(f"label is missing: the model in {folder} has {', '.join(held[:20])}")
        if len(held) > 1 and self.label not in held:
            raise ValueError(f"the model in {folder} has no label {self.label!r}: {nearest(str(self.label), held)}")


def _head(file: Path, encoder: Path) -> Head:
    """The layer that training wrote. Raises ValueError where there is none, or it belongs to another encoder."""
    if not file.is_file():
        raise ValueError(f"{file} is missing: run jobs.train_classifier first")
    card = json.loads(file.read_text())
    if card["encoder"] != folder_digest(encoder):
        raise ValueError(f"{file} was fitted on another encoder than {encoder}: run jobs.train_classifier again")
    lowest, highest = card["head"]["scale"]
    return Head(tuple(card["head"]["weights"]), card["head"]["bias"], (lowest, highest))
