"""A local language model as a judge: it reads a page and is asked a question whose answer is yes or no.

Quality-Diversity through AI Feedback (Bradley et al. 2023, arXiv 2310.13032) and Ask-LLM (Sachdeva et al. 2024, arXiv
2402.09668): the score is P(yes) / (P(yes) + P(no)) at the first token of the answer; nothing is generated. Several phrasings
of the question are asked and averaged. How far they lie apart is a signal of its own: a judge that goes by the phrasing is
none.

The page stands before the question, so it is read once and every phrasing goes on from there. Its text never becomes markup
of the chat.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, ValidationError, model_validator

from classifiers import kinds
from classifiers.card import Truth, area_under_curve, rank_correlation
from classifiers.causal import (
    CausalScorer,
    load,
    mark,
    measured_sides,
    model_digest,
    positions,
    read,
    with_words,
    write_measured,
)
from classifiers.kinds import Floats, Pages
from classifiers.transformer import AT_ONCE, Reading, Transformer, one_thread, padded
from filters.nearest import nearest
from filters.pages import PageBatch
from filters.signals import Group, Signal
from filters.strict_yaml import read_yaml_file

PROMPTS = Path(__file__).resolve().parents[1] / "conf" / "judges"
HOLE = "{page}"
STEADY = 1e-3
"""How far answers may move when pages are asked together; float32 moves them by a thousandth of that."""
ALIKE = 0.5
"""Where phrasings rank pages less alike than that, the card warns: they then share less than a quarter of the variance of
ranks. An assumption."""


class Prompt(kinds.Options):
    """What a judge is asked: a file of conf/judges/."""

    page: str
    """What stands before the question, with `{page}` where the page goes."""
    questions: Annotated[list[str], Field(min_length=2)]
    """Phrasings of one question."""
    yes: Annotated[list[str], Field(min_length=1)]
    """Words that answer it with yes; each is also looked for with a blank before it."""
    no: Annotated[list[str], Field(min_length=1)]
    """Words that answer it with no."""

    @model_validator(mode="after")
    def _one_hole(self) -> Self:
        if self.page.count(HOLE) != 1 or any(HOLE in question for question in self.questions):
            raise ValueError(f"{HOLE} must stand once under page:, and in no question")
        return self


def read_prompt(name: str) -> Prompt:
    """A prompt by its name in conf/judges/ or by a path. Raises ValueError for one that is not there or says it wrongly."""
    file = Path(name) if name.endswith(".yaml") else PROMPTS / f"{name}.yaml"
    if not file.is_file():
        raise ValueError(f"unknown prompt {name!r}: {nearest(name, [path.stem for path in PROMPTS.glob('*.yaml')])}")
    try:
        return Prompt.model_validate(read_yaml_file(file))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"prompt {file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


class Options(CausalScorer):
    """A causal language model that is asked about each page, used as it is. `positives` make its card."""

    prompt: str = Field(default="educational", examples=["informative"])
    """What it is asked: conf/judges/<prompt>.yaml, or the path of such a file."""

    @model_validator(mode="after")
    def _prompt_is_there(self) -> Self:
        read_prompt(self.prompt)
        return self

    def look_into_models(self) -> None:
        """Whether the model can be loaded, and asked."""
        self.group("", Path())

    def identity(self) -> Any:
        """The model and the prompt by their content, what is read, and which pages the card is made from."""
        prompt = read_prompt(self.prompt).model_dump()
        return {"model": model_digest(self.model), "prompt": prompt, **asdict(self.reading), "seed": self.seed}

    def train(self, texts: Mapping[str, Pages], folder: Path) -> str:
        """Ask it about some pages of either text, for the card: also each phrasing by itself, and whether they agree."""
        sides = measured_sides(texts, self.seed)
        judge = self._judge()
        said = judge.ask([text[: self.characters] for side in sides for text in side.texts])
        positive = np.array([side.positive for side in sides for _ in side.texts])
        told = _of_phrasings(positive, said)
        return write_measured(folder, sides, said.yes.mean(axis=1), {"prompt": self.prompt, **told}, _warning(told))

    def weigh_words(self, name: str, folder: Path, words: Sequence[str]) -> dict[str, Floats] | None:
        """Nothing: a page of one word is no page to ask about, and asking takes its time."""
        return {column: np.full(len(words), np.nan) for column in self.columns(name)}

    def columns(self, name: str) -> dict[str, pa.DataType]:
        """The score, and how far the phrasings lie apart."""
        return {name: pa.float64(), f"{name}_spread": pa.float64()}

    def group(self, name: str, folder: Path) -> Group:
        """The mean of the phrasings, and the largest less the smallest. Asks once, here, to find what is wrong."""
        judge = self._judge()
        score, spread = self.columns(name)
        signals = (Signal(score, Mean(judge), pa.float64()), Signal(spread, Spread(judge), pa.float64()))
        return Group(name, signals, {"model": judge.sha256, **asdict(self.reading), "asked": asdict(judge.asked)})

    def _judge(self) -> "Judge":
        folder, sha256, found = self.loaded()
        asked = put(found, read_prompt(self.prompt), folder)
        most, longest = positions(found), len(asked.before) + self.tokens + max(map(len, asked.after))
        if most is not None and longest > most:
            raise ValueError(
                f"tokens is {self.tokens}, with the question {longest}, but the model in {folder} sees at most {most}"
            )
        _check_steady(found, asked, folder)
        return Judge(folder, sha256, self.reading, asked)


@dataclass(frozen=True)
class Asked:
    """A prompt in a model's tokens: what stands before the page, what after it for each phrasing, and the answers."""

    before: tuple[int, ...]
    after: tuple[tuple[int, ...], ...]
    yes: tuple[int, ...]
    no: tuple[int, ...]


@dataclass(frozen=True)
class Said:
    """P(yes) / (P(yes) + P(no)), and P(yes) + P(no): how much of all probability the answers have; (pages, questions)."""

    yes: Floats
    answered: Floats


@dataclass(frozen=True)
class Judge:
    """A model and what it is asked, as plain data; the model is loaded by workers, once."""

    folder: Path
    sha256: str
    reading: Reading
    asked: Asked

    def ask(self, texts: Sequence[str]) -> Said:
        """What it says of each text; NaN of one without a token."""
        found = load(self.folder, self.sha256)
        ids, _ = read(found, texts, self.reading.tokens)
        with one_thread():
            said = answers(found, self.asked, ids)
        said.yes[[not one for one in ids]] = np.nan
        return said


def _yes(pages: PageBatch, judge: Judge) -> Floats:
    """The judge's answers, NaN for pages without words; (pages, questions)."""
    said = np.full((len(pages), len(judge.asked.after)), np.nan)
    rows, texts = with_words(pages, judge.reading.characters)
    if rows:
        said[rows] = judge.ask(texts).yes
    return said


@dataclass(frozen=True)
class Mean:
    """The function of the score."""

    judge: Judge

    def __call__(self, pages: PageBatch) -> Floats:
        """A number in [0, 1] for each page, NaN for a page without words; shape (pages,)."""
        return np.asarray(pages.once(_yes, self.judge).mean(axis=1), np.float64)


@dataclass(frozen=True)
class Spread:
    """The function of the second column: by how much phrasings differ."""

    judge: Judge

    def __call__(self, pages: PageBatch) -> Floats:
        """The largest less the smallest answer, in [0, 1], NaN for a page without words; shape (pages,)."""
        return np.asarray(np.ptp(pages.once(_yes, self.judge), axis=1), np.float64)


def put(found: Transformer, prompt: Prompt, folder: Path) -> Asked:
    """The prompt in the model's tokens, by its chat template where it has one. Raises ValueError."""
    rendered = [_rendered(found, f"{prompt.page}\n\n{question}", folder).split(HOLE) for question in prompt.questions]
    if any(len(one) != 2 or one[0] != rendered[0][0] for one in rendered):
        raise ValueError(f"the chat template in {folder} does not keep a message as it is: use another model")
    chat = found.tokenizer.chat_template is not None

    def encoded(text: str) -> tuple[int, ...]:
        return tuple(found.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not chat))

    before = encoded(rendered[0][0])
    yes, no = (_answer(found, key, words, folder) for key, words in (("yes", prompt.yes), ("no", prompt.no)))
    if set(yes) & set(no):
        raise ValueError(f"yes and no share an answer to the tokenizer in {folder}: name words that differ")
    return Asked(before if chat else (mark(found), *before), tuple(encoded(one[1]) for one in rendered), yes, no)


def _rendered(found: Transformer, message: str, folder: Path) -> str:
    from jinja2 import TemplateError

    if found.tokenizer.chat_template is None:
        return f"{message}\nAnswer:"
    said = [{"role": "user", "content": message}]
    try:
        return str(found.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))
    except (TemplateError, ValueError, TypeError) as error:
        raise ValueError(f"the chat template in {folder} cannot be used: {error}") from error


def _answer(found: Transformer, key: str, words: Sequence[str], folder: Path) -> tuple[int, ...]:
    """The tokens that are one of the words, with a blank before it or without."""
    forms = [blank + word for word in words for blank in ("", " ")]
    encoded = [found.tokenizer.encode(form, add_special_tokens=False) for form in forms]
    single = {one[0] for one in encoded if len(one) == 1} - {found.tokenizer.unk_token_id}
    if not single:
        raise ValueError(
            f"the tokenizer in {folder} has no single token for {key} ({', '.join(words)}), so the model cannot be asked: "
            "name another model, or a prompt with other answers"
        )
    return tuple(sorted(single))


def answers(found: Transformer, asked: Asked, ids: Sequence[Sequence[int]]) -> Said:
    """What the model says of pages that are given in tokens."""
    import torch

    yes, answered = (np.empty((len(ids), len(asked.after))) for _ in range(2))
    tokens_of = {"yes": list(asked.yes), "no": list(asked.no)}
    for rows, tokens, attended in padded(found, [[*asked.before, *one] for one in ids], AT_ONCE[found.device]):
        lengths = attended.sum(1, keepdim=True)
        with torch.inference_mode():
            page = found.model(input_ids=tokens, attention_mask=attended, use_cache=True, logits_to_keep=1).past_key_values
            for at, phrasing in enumerate(asked.after):
                more = torch.tensor([phrasing] * len(rows), device=tokens.device)
                logits = found.model(
                    input_ids=more,
                    attention_mask=torch.cat([attended, torch.ones_like(more)], 1),
                    position_ids=lengths + torch.arange(more.shape[1], device=tokens.device),
                    past_key_values=copy.deepcopy(page),
                    logits_to_keep=1,
                ).logits[:, -1]
                shares = logits.double().log_softmax(-1)
                said = {key: shares[:, some].logsumexp(-1) for key, some in tokens_of.items()}
                yes[rows, at] = (said["yes"] - said["no"]).sigmoid().cpu().numpy()
                answered[rows, at] = (said["yes"].exp() + said["no"].exp()).cpu().numpy()
    return Said(yes, answered)


def _check_steady(found: Transformer, asked: Asked, folder: Path) -> None:
    """Raise ValueError where a short page is answered otherwise beside a long one: the model heeds what pads it."""
    long, short = asked.after[0], asked.after[0][: len(asked.after[0]) // 2]
    with one_thread():
        together, alone = (answers(found, asked, some).yes[-1] for some in ([long, short], [short]))
    if not np.abs(together - alone).max() < STEADY:
        raise ValueError(f"the model in {folder} answers otherwise when it is asked about several pages: use another model")


def _of_phrasings(positive: Truth, said: Said) -> dict[str, Any]:
    """What each phrasing says by itself, on average how far they lie apart, and how alike they rank pages (Spearman)."""
    known = ~np.isnan(said.yes[:, 0])
    columns, answered = said.yes[known].T, said.answered[known].T
    alike = [rank_correlation(one, other) for at, one in enumerate(columns) for other in columns[at + 1 :]]
    told = [one for one in alike if one is not None]
    return {
        "phrasings": [
            {
                "area_under_curve": area_under_curve(positive[known], yes),
                "mean": float(yes.mean()),
                "answered": float(mass.mean()),
            }
            for yes, mass in zip(columns, answered, strict=True)
        ],
        "mean_spread": float(np.ptp(columns, axis=0).mean()),
        "correlation_of_phrasings": float(np.mean(told)) if told else None,
    }


def _warning(told: Mapping[str, Any]) -> str | None:
    alike = told["correlation_of_phrasings"]
    if alike is None or alike >= ALIKE:
        return None
    return f"phrasings rank the pages unlike each other (correlation {alike:.2f}): this judge goes by how it is asked"
