"""A model's size: its shape, and how it is trained on a budget of tokens.

What conf/models/ leaves out is derived. The ladder of DataDecide (Magnusson et al. 2025, arXiv 2504.11393; the formulas
stand in OLMo's scripts/ladder.py, after Porian et al. 2024, arXiv 2406.19146) gives a model of N parameters batches of
160 (N / 108e6)^(2/3) windows of 2,048 tokens and a peak learning rate of 0.0047 (N / 108e6)^(-1/3). N has the embedding of
that ladder's vocabulary in it once, whatever the experiment's own is. A batch here is the power of two of windows below
that, halved until the run has `LEAST_STEPS` steps; a batch other than the ladder's moves the rate by the root of their ratio
(Malladi et al. 2022, arXiv 2205.10287).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

MODELS = Path(__file__).resolve().parents[1] / "conf" / "models"
LADDER_PARAMETERS, LADDER_BATCH, LADDER_RATE = 108e6, 160 * 2048, 0.0047
LADDER_VOCABULARY = 50_304
LEAST_STEPS = 500
"""Of 0.2m with 300,000 tokens, 585 steps were far better than 292 (docs/training.md): short runs take small batches."""
DERIVED = ("batch_tokens", "learning_rate")
"""The keys that a size may leave out."""
TOKENS_PER_PARAMETER = 20
"""Hoffmann et al. 2022, for the table."""


@dataclass(frozen=True)
class ModelSize:
    """A model's shape and how it is trained on one budget."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    """Inner width of the SwiGLU block; 8/3 of the width has the parameters of a plain block of 4 times the width."""
    context: int
    """Tokens that the model sees at once."""
    batch_tokens: int
    """Targets per step, a multiple of the context."""
    learning_rate: float
    """The peak."""
    warmup: float
    """Share of the steps in which the learning rate rises; above 1 a number of steps, at most a tenth of them all."""
    weight_decay: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = (int,) if field.type is int else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or value < 0 or not math.isfinite(value):
                wanted = "a whole number" if field.type is int else "a number (YAML reads 1e-3 as text: write 1.0e-3)"
                raise ValueError(f"model size: {field.name} is {value!r}, expected {wanted} of 0 or more")
        if min(self.layers, self.width, self.heads, self.feed_forward, self.context, self.batch_tokens) < 1:
            raise ValueError(f"model size: layers, width, heads and the like must be at least 1, got {asdict(self)}")
        if self.width % self.heads or self.width // self.heads % 2:
            raise ValueError(f"model size: width {self.width} must be an even multiple of heads {self.heads}")
        if self.batch_tokens % self.context:
            raise ValueError(f"model size: batch_tokens {self.batch_tokens} is no multiple of context {self.context}")

    @property
    def batch(self) -> int:
        """Windows per step."""
        return self.batch_tokens // self.context

    def parameters(self, vocabulary: int) -> int:
        """Numbers that are trained: the shared embedding, the layers (4 + 3 matrices and 2 norms each), the last norm."""
        layer = 4 * self.width**2 + 3 * self.width * self.feed_forward + 2 * self.width
        return vocabulary * self.width + self.layers * layer + self.width

    def flops(self, vocabulary: int) -> int:
        """Floating-point operations of one target, forward and backward (Chowdhery et al. 2022, appendix B)."""
        return 6 * self.parameters(vocabulary) + 12 * self.layers * self.width * self.context

    def rising_steps(self, steps: int) -> int:
        """Steps in which the learning rate rises."""
        return max(1, round(self.warmup * steps if self.warmup <= 1 else min(self.warmup, steps / 10)))


def size_from(settings: Mapping[str, Any], name: str, tokens: int, factor: float = 1.0) -> ModelSize:
    """A size from a YAML mapping, for a run of ``tokens`` targets at ``factor`` times its learning rate.

    Raises:
        ValueError: a key is unknown or missing, or a value is out of range; the message has ``name``.
    """
    known = {field.name for field in fields(ModelSize)}
    missing, unknown = sorted(known - set(settings) - set(DERIVED)), sorted(set(settings) - known)
    if missing or unknown:
        raise ValueError(
            f"{name}: missing keys {missing}, unknown keys {unknown}; the keys are {sorted(known)}, "
            f"of which {' and '.join(DERIVED)} may be left out"
        )
    try:
        # What is given is checked before anything is derived from it.
        given = ModelSize(**{"batch_tokens": settings["context"], "learning_rate": LADDER_RATE, **settings})
        batch = given.batch_tokens if "batch_tokens" in settings else _batch(given, tokens)
        rate = given.learning_rate if "learning_rate" in settings else _rate(given, batch)
        return ModelSize(**{**asdict(given), "batch_tokens": batch, "learning_rate": float(f"{rate * factor:.6g}")})
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def read_size(name: str, tokens: int, factor: float = 1.0) -> ModelSize:
    """The size in conf/models/<name>.yaml, or in the YAML file ``name`` when that ends in ``.yaml``, for such a run.

    Raises:
        ValueError: there is no such size (the message has those there are), or the file is not one.
    """
    path = Path(name) if name.endswith(".yaml") else MODELS / f"{name}.yaml"
    if not path.is_file():
        raise ValueError(
            f"no model size {name!r}; have {', '.join(size_names())}, or the path of a .yaml file like those in conf/models"
        )
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise ValueError(f"{path} is no mapping of keys; see the files in conf/models")
    return size_from(settings, str(path), tokens, factor)


def size_names() -> list[str]:
    """The sizes of conf/models, small ones first."""
    return sorted((file.stem for file in MODELS.glob("*.yaml")), key=_parameters_in)


def _parameters_in(name: str) -> float:
    return float(name[:-1]) * {"m": 1e6, "b": 1e9}[name[-1]]


def _ladder_size(size: ModelSize) -> float:
    return size.parameters(LADDER_VOCABULARY) / LADDER_PARAMETERS


def _ladder_batch(size: ModelSize) -> float:
    return float(LADDER_BATCH * _ladder_size(size) ** (2 / 3))


def _batch(size: ModelSize, tokens: int) -> int:
    """Targets per step: the ladder's, or fewer where the run would have too few steps; at least one window."""
    most = min(_ladder_batch(size), tokens / LEAST_STEPS) / size.context
    windows: int = 1 << max(0, math.floor(math.log2(most))) if most >= 1 else 1
    return windows * size.context


def _rate(size: ModelSize, batch_tokens: int) -> float:
    """The peak learning rate for a batch, to two digits."""
    rate = LADDER_RATE * _ladder_size(size) ** (-1 / 3) * math.sqrt(batch_tokens / _ladder_batch(size))
    return float(f"{rate:.2g}")


def size_table() -> str:
    """The sizes as a Markdown table, each on 20 tokens a parameter."""
    names = "size | parameters | vocabulary | layers | width | heads | inner | context | tokens | a step | steps | peak rate"
    rows = [f"| {names} |", "|---|" + "---:|" * names.count("|")]
    for name in size_names():
        vocabulary = 4_096 if _parameters_in(name) < 1e8 else 50_257
        parameters = read_size(name, tokens=1).parameters(vocabulary)
        tokens = TOKENS_PER_PARAMETER * parameters
        size = read_size(name, tokens)
        shape = (parameters, vocabulary, size.layers, size.width, size.heads, size.feed_forward, size.context)
        told = [*shape, tokens, size.batch_tokens, tokens // size.batch_tokens]
        rows.append(f"| {name} | {' | '.join(f'{one:,}' for one in told)} | {size.learning_rate:g} |")
    return "\n".join(rows)
