"""How far a page's hidden states lie along a direction from low to high pages, in a causal language model.

Representation engineering (Zou et al. 2023, arXiv 2310.01405): what a model makes of a text shows in its states long before
its words. The states of a layer are averaged over the page; the direction is the difference between the means of high and
low pages, or the first principal component of the differences of pairs. The projection on it becomes a score in [0, 1] by a
logistic curve through held-out pages (Platt 1999).

Directions of all layers are found at once, since a page costs the same. Half of the held-out pages choose the layer and
draw the curve; the card is made from the others.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save

from classifiers import card, kinds
from classifiers.causal import CausalScorer, load, mark, model_digest, positions, read, with_words
from classifiers.examples import Example, Sample, Sampling, Side, sample, write_held_out
from classifiers.hashing_tf import logistic
from classifiers.kinds import Floats, LocalPath, Pages, TrainingError
from classifiers.transformer import AT_ONCE, CARD_PAGES, Reading, Transformer, mean_state, one_thread, padded, page_texts
from filters.files import sha256_of, write_whole
from filters.pages import PageBatch
from filters.signals import Group, Signal

DIRECTIONS = "directions.safetensors"
FEWEST, HELD_OUT = 20, 0.3
"""Pages of a class that are no sample, and the share kept from the directions: half for the curve, half for the card."""
LAYERS_AT_ONCE = 4
"""The states of all layers are held: a batch has so many times fewer tokens than where only the last are."""
STEPS = 100

States = npt.NDArray[np.float32]
Truth = npt.NDArray[np.bool_]
By = Literal["mean_difference", "first_component"]
LEARNING = ("positives", "negatives", "seed", "by", "most_per_class")


class Options(CausalScorer):
    """A direction among a causal language model's states, from `positives` to `negatives`; or a `vector` that is there."""

    by: By = "mean_difference"
    """The direction: the difference of the means, or the first principal component of the differences of pairs."""
    layer: Annotated[int, Field(ge=0)] | None = Field(default=None, examples=["12"])
    """The layer whose states are read, 0 for the embeddings; the best of the sweep where it is not said."""
    most_per_class: Annotated[int, Field(ge=FEWEST)] = 200
    """Pages of each class that are drawn at most; as many of both."""
    vector: LocalPath | None = Field(default=None, examples=["out/other/models/good/directions.safetensors"])
    """The directions of another experiment, used as they are; also with another model whose states are as wide."""

    @model_validator(mode="after")
    def _found_or_given(self) -> Self:
        if (self.vector is None) != bool(self.positives):
            raise ValueError("name either positives to find a direction from, or a vector that is there, and not both")
        for key in LEARNING:
            if key in self.model_fields_set and self.vector is not None:
                raise ValueError(f"{key} belongs to a direction that is found here: vector names one")
        return self

    def good_key(self) -> str | None:
        """The positives."""
        return "positives" if self.trained else None

    def pool_pages(self) -> int:
        """As many as are drawn of a class, and some more for pages without words."""
        return int(1.1 * self.most_per_class)

    def look_into_models(self) -> None:
        """Whether the model can be loaded, and the vector fits it."""
        folder, _, found = self.loaded()
        _check_reading(found, self.tokens, self.layer, folder)
        if self.vector is not None:
            self._vector(self.vector, found, folder)

    def identity(self) -> Any:
        """The model by its content, what is read, and what decides the directions besides the pages."""
        settings = ("seed", "by", "layer", "most_per_class")
        return {"model": model_digest(self.model), **asdict(self.reading), **{key: getattr(self, key) for key in settings}}

    def train(self, texts: Mapping[str, Pages], folder: Path) -> str:
        """Write the directions, the card and some held-out pages. Raises TrainingError."""
        folder.mkdir(parents=True, exist_ok=True)
        classes = {True: ("positives", texts["positives"]), False: ("negatives", texts["negatives"])}
        how = Sampling(self.most_per_class, FEWEST, HELD_OUT)
        with tempfile.TemporaryFile(dir=folder) as spool:
            return self._learn(sample(classes, self._prepared, how, self.seed, spool), folder)

    def _prepared(self, pages: PageBatch) -> list[bytes]:
        """What is learned from each page; no bytes of one without words."""
        return [text.encode() if text.strip() else b"" for text in page_texts(pages, self.characters)]

    def _learn(self, drawn: Sample, folder: Path) -> str:
        _, sha256, found = self.loaded()
        halves = [[one for one in drawn.held_out if one.content % 2 == half] for half in (0, 1)]
        learned, curved, told = (self._shown(found, drawn, some) for some in (drawn.training, *halves))
        if curved.high.all() or not curved.high.any():
            raise TrainingError(f"the {len(curved.high)} pages held out for the curve are of one class: give more pages")
        directions = learned.directions(self.by)
        curves = np.array([curve(values, curved.high) for values in curved.along(directions)])
        swept = [[_area(some.high, values) for values in some.along(directions)] for some in (curved, told)]
        layer = int(np.argmax(np.array(swept[0], np.float64))) if self.layer is None else self.layer
        scores = logistic(told.along(directions)[layer] * curves[layer, 0] + curves[layer, 1])
        about = {
            "model": sha256,
            "sha256": write_vectors(folder / DIRECTIONS, directions, curves, layer),
            **self.identity(),
            **drawn.counts,
            "layer": layer,
            "layers": [
                {"layer": at, "area_under_curve": area, "held_out": other}
                for at, (area, other) in enumerate(zip(*swept, strict=True))
            ],
            "cosine_of_halves": learned.cosine_of_halves(layer, self.by),
            "held_out": card.probabilities(told.high, scores),
        }
        write_whole(folder / kinds.CARD, (json.dumps(about, indent=2) + "\n").encode())
        write_held_out(
            [Side(name, high, told.texts(high)) for high, name in ((True, "positives"), (False, "negatives"))], folder
        )
        return f"{card.sentence(about)}; layer {layer} of {len(curves) - 1}"

    def _shown(self, found: Transformer, drawn: Sample, examples: Sequence[Example]) -> "Shown":
        texts = [drawn.content(one).decode() for one in examples]
        ids, _ = read(found, texts, self.tokens)
        kept = [at for at, one in enumerate(ids) if one]
        with one_thread():
            states = page_states(found, [ids[at] for at in kept])
        return Shown([texts[at] for at in kept], np.array([examples[at].positive for at in kept], bool), states)

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """One score, called as the classifier is."""
        return {name: pa.float64()}

    def group(self, name: str, folder: Path) -> Group:
        """The score in [0, 1]. Loads the model once, here, to find what is wrong."""
        where, sha256, found = self.loaded()
        _check_reading(found, self.tokens, self.layer, where)
        file = self.vector or folder / DIRECTIONS
        if self.vector is None:
            _check_own(folder, sha256, where)
        score = Along(where, sha256, self.reading, self._vector(file, found, where))
        identity = {"model": sha256, **asdict(self.reading), "directions": sha256_of(file), "layer": score.vector.layer}
        return Group(name, (Signal(name, score, pa.float64()),), identity)

    def _vector(self, file: Path, found: Transformer, folder: Path) -> "Vector":
        directions, curves, chosen = read_vectors(file)
        layer, width = chosen if self.layer is None else self.layer, found.model.config.get_text_config().hidden_size
        if directions.shape[1] != width:
            raise ValueError(
                f"the directions in {file} are {directions.shape[1]} wide, the states of the model in {folder} {width}: "
                "name the model they were found in, or one as wide"
            )
        layers = min(len(directions) - 1, found.model.config.get_text_config().num_hidden_layers)
        if layer > layers:
            raise ValueError(f"layer is {layer}, but {file} and the model in {folder} share {layers} layers")
        slope, height = curves[layer].tolist()
        return Vector(layer, tuple(directions[layer].tolist()), (slope, height))


class Shown(NamedTuple):
    """Pages with what the model makes of them: their texts, which are high (pages,), and `page_states`."""

    all_texts: list[str]
    high: Truth
    states: States

    def texts(self, high: bool) -> list[str]:
        """Some texts of a class."""
        return [text for text, one in zip(self.all_texts, self.high.tolist(), strict=True) if one == high][:CARD_PAGES]

    def directions(self, by: By) -> Floats:
        """The direction at every layer; (layers + 1, width)."""
        return np.stack([direction(at, self.high, by) for at in self.states.transpose(1, 0, 2).astype(np.float64)])

    def along(self, directions: Floats) -> Floats:
        """The projection of every page at every layer; (layers + 1, pages)."""
        return np.asarray(np.einsum("plw,lw->lp", self.states.astype(np.float64), directions), np.float64)

    def cosine_of_halves(self, layer: int, by: By) -> float:
        """Between the directions that either half of the pages gives: near 0 it is chance."""
        one, other = (
            direction(self.states[half, layer].astype(np.float64), self.high[half], by) for half in _halves(self.high)
        )
        return float(one @ other)


def _halves(high: Truth) -> list[npt.NDArray[np.int64]]:
    """The rows of two halves, each with half of either class."""
    classes = [np.flatnonzero(high), np.flatnonzero(~high)]
    return [np.sort(np.concatenate([rows[half::2] for rows in classes])) for half in (0, 1)]


@dataclass(frozen=True)
class Vector:
    """A direction of length 1 in a layer's states, and the curve that makes a score of a projection: slope and height."""

    layer: int
    direction: tuple[float, ...]
    curve: tuple[float, float]


@dataclass(frozen=True)
class Along:
    """The function of the signal. It travels to workers as plain data; the model is loaded there, once."""

    folder: Path
    sha256: str
    reading: Reading
    vector: Vector

    def __call__(self, pages: PageBatch) -> Floats:
        """A number in [0, 1] for each page, NaN for a page without words; shape (pages,)."""
        scores = np.full(len(pages), np.nan)
        rows, texts = with_words(pages, self.reading.characters)
        if rows:
            found = load(self.folder, self.sha256)
            ids, _ = read(found, texts, self.reading.tokens)
            with one_thread():
                states = page_states(found, ids)[:, self.vector.layer].astype(np.float64)
            slope, height = self.vector.curve
            scores[rows] = logistic(states @ np.array(self.vector.direction) * slope + height)
        return scores


def page_states(found: Transformer, ids: Sequence[Sequence[int]]) -> States:
    """The mean state of each page at every layer, embeddings first, the mark left out; (pages, layers + 1, width).

    NaN for a page without a token.
    """
    import torch

    config = found.model.config.get_text_config()
    out = np.empty((len(ids), config.num_hidden_layers + 1, config.hidden_size), np.float32)
    for rows, tokens, attended in padded(
        found, [[mark(found), *one] for one in ids], AT_ONCE[found.device] // LAYERS_AT_ONCE
    ):
        with torch.inference_mode():
            said = found.model.base_model(input_ids=tokens, attention_mask=attended, output_hidden_states=True)
            attended[:, 0] = 0
            means = torch.stack([mean_state(states, attended) for states in said.hidden_states], 1)
        out[rows] = means.float().cpu().numpy()
    return out


def direction(states: Floats, high: Truth, by: By) -> Floats:
    """The direction of length 1 from low to high pages; states (pages, width), high (pages,)."""
    above, below = states[high], states[~high]
    found = above.mean(axis=0) - below.mean(axis=0)
    if by == "first_component":
        pairs = min(len(above), len(below))
        first = np.linalg.svd(above[:pairs] - below[:pairs], full_matrices=False)[2][0]
        found = first if first @ found >= 0 else -first
    return np.asarray(found / (np.linalg.norm(found) or 1.0), np.float64)


def curve(along: Floats, high: Truth) -> Floats:
    """Slope and height of the logistic curve that tells from a projection whether a page is high; (2,).

    Newton's method on targets a little inside of 0 and 1, as Platt (1999) has them, so that it ends where projections tell
    the classes apart without fault.
    """
    middle, scale = along.mean(), along.std() or 1.0
    given = np.stack([(along - middle) / scale, np.ones(len(along))], 1)
    counts = np.count_nonzero(high), np.count_nonzero(~high)
    aim = np.where(high, (counts[0] + 1) / (counts[0] + 2), 1 / (counts[1] + 2))

    def loss(weights: Floats) -> float:
        margin = given @ weights
        return float((np.logaddexp(0, margin) - aim * margin).sum())

    weights = np.zeros(2)
    for _ in range(STEPS):
        said = 1 / (1 + np.exp(-given @ weights))
        hessian = given.T @ (given * (said * (1 - said))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, given.T @ (said - aim))
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-12:
            step /= 2
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return np.array([weights[0] / scale, weights[1] - weights[0] * middle / scale])


def write_vectors(path: Path, directions: Floats, curves: Floats, layer: int) -> str:
    """Write the directions and curves of all layers, and which layer is read; gives the file's SHA-256."""
    data = save({"directions": directions, "curves": curves, "layer": np.array([layer])})
    write_whole(path, data)
    return hashlib.sha256(data).hexdigest()


def read_vectors(path: Path) -> tuple[Floats, Floats, int]:
    """Directions (layers + 1, width), curves (layers + 1, 2) and the layer of a file. Raises ValueError for no such file."""
    if not path.is_file():
        raise ValueError(f"{path} is missing: run jobs.train_classifier first, or name another vector")
    try:
        found = load_tensors(path.read_bytes())
        directions, curves, [layer] = (found[name] for name in ("directions", "curves", "layer"))
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} holds no directions of ours ({error}): name a {DIRECTIONS}") from None
    whole = directions.ndim == 2 and curves.shape == (len(directions), 2) and 0 <= layer < len(directions)
    if not whole or not (np.isfinite(directions).all() and np.isfinite(curves).all()):
        raise ValueError(f"{path} holds directions that do not fit each other: find them again")
    return directions.astype(np.float64), curves.astype(np.float64), int(layer)


def _area(high: Truth, values: Floats) -> float | None:
    area = card.area_under_curve(high, values)
    return None if np.isnan(area) else area


def _check_reading(found: Transformer, tokens: int, layer: int | None, folder: Path) -> None:
    most, layers = positions(found), found.model.config.get_text_config().num_hidden_layers
    if most is not None and tokens + 1 > most:
        raise ValueError(f"tokens is {tokens}, but the model in {folder} sees at most {most - 1} and the mark")
    if layer is not None and layer > layers:
        raise ValueError(f"layer is {layer}, but the model in {folder} has {layers}")


def _check_own(folder: Path, sha256: str, model: Path) -> None:
    """Whether the directions that training wrote are of this model."""
    if not (folder / kinds.CARD).is_file():
        raise ValueError(f"{folder / kinds.CARD} is missing: run jobs.train_classifier first")
    if json.loads((folder / kinds.CARD).read_text())["model"] != sha256:
        raise ValueError(f"{folder / DIRECTIONS} was found in another model than {model}: run jobs.train_classifier again")
