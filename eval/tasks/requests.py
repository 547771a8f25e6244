"""What models are asked: requests as lm-eval's own code makes them from a task's configuration, encoded once for all models.

lm-eval renders the prompts, so they are the harness's to the letter; a model never meets lm-eval. How a text before an
answer and the answer become tokens follows its rule too: spaces that end the text go to the answer, both are encoded
together, and the answer's tokens are those beyond as many as the text has by itself. Before an answer without a text stands
the end-of-text mark.
"""

import contextlib
import functools
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from eval.tokenizer import encode_batch, end_of_text
from filters.draws import draw, id_hashes

Doc = Mapping[str, Any]
"""One item of a benchmark: its fields by name, among them `item`, its id, and `group`, what it is a kind of."""

NO_RIGHT_ANSWER = "none of its answers is the right one, or several are"
TOO_LONG = "an answer is longer than the model's context"
NO_TOKEN = "an answer has no token of its own"
SPLIT = "test"

REQUESTS = pa.schema(
    [
        ("template", pa.string()),
        ("item", pa.string()),
        ("group", pa.string()),
        ("choice", pa.int64()),
        ("right", pa.int64()),
        ("length", pa.int64()),
        ("characters", pa.int64()),
        ("bytes", pa.int64()),
        ("context", pa.list_(pa.uint32())),
        ("answer", pa.list_(pa.uint32())),
        ("skipped", pa.string()),
    ]
)
"""One row an answer, those of a template's item one after the other. `right`: which choice is; `length`: characters of the
choice, by which the harness divides; `characters` and `bytes`: of the answer as it is scored, with the space before it;
`skipped`: why the item is not asked, or null."""


class Request(NamedTuple):
    """One answer to one item, as text."""

    item: str
    group: str | None
    choice: int
    right: int | None
    """Which choice is right; None where that is not one of them."""
    context: str
    answer: str
    length: int


def drawn(docs: Sequence[Doc], most: int, name: str) -> list[Doc]:
    """At most so many items, as even over groups as can be, decided by hashes of their ids and in the order they came."""
    draws = draw(id_hashes([doc["item"] for doc in docs]), 0, f"items of {name}")
    turns: Counter[str | None] = Counter()
    turn = np.zeros(len(docs), dtype=np.int64)
    for at in np.argsort(draws, kind="stable"):
        group = docs[at]["group"]
        turn[at] = turns[group]
        turns[group] += 1
    chosen = np.lexsort((draws, turn))[:most]
    return [docs[at] for at in np.sort(chosen)]


class TaskError(ValueError):
    """A task that cannot be asked; the message says which and why."""


def lm_eval_config(name: str, output_type: str, template: Mapping[str, Any]) -> dict[str, Any]:
    """A task of lm-eval, without its data."""
    metrics = ["perplexity", "acc"] if output_type == "loglikelihood" else ["acc", "acc_norm"]
    means = [{"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in metrics]
    if output_type == "loglikelihood":
        means[0] |= {"aggregation": "perplexity", "higher_is_better": False}
    return {"task": name, "output_type": output_type, "test_split": SPLIT, **template, "metric_list": means}


def requests_of(config: Mapping[str, Any], docs: Sequence[Doc]) -> list[Request]:
    """Every answer to every item, as lm-eval asks for it. Raises TaskError where its templates do not fit the items."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    def data(**_: Any) -> dict[str, Any]:
        return {SPLIT: Dataset.from_list([dict(doc) for doc in docs])}

    try:
        with _quiet():
            task = ConfigurableTask(config={**config, "custom_dataset": data})
            return list(_requests(task, task.test_docs(), docs))
    except Exception as error:  # templates are programs: whatever they raise is about the task's file
        raise TaskError(f"{config['task']}: its template does not fit its items: {error}") from error


def hub_requests(name: str, most: int) -> tuple[list[Request], str]:
    """At most so many items of a task of lm-eval's own, read from the hub, and the SHA-256 of all that is asked.

    Raises TaskError where lm-eval has no such task, it cannot be read, or it is not one of answers to choose from.
    """
    from lm_eval.tasks import TaskManager

    try:
        with _quiet():
            tasks: Mapping[str, Any] = TaskManager().load([name])["tasks"]
    except Exception as error:  # what the hub, its files and lm-eval's index raise has no common base
        raise TaskError(f"lm-eval's task {name!r} cannot be read from the hub: {_first_line(error)}") from error
    requests: list[Request] = []
    for called, task in tasks.items():
        if task.OUTPUT_TYPE not in ("multiple_choice", "loglikelihood"):
            raise TaskError(f"lm-eval's task {called!r} is {task.OUTPUT_TYPE}, and only answers that are given are scored")
        docs = task.eval_docs
        named = [{"item": f"{called}, {at}", "group": called, "at": at} for at in range(len(docs))]
        chosen = drawn(named, max(1, most // len(tasks)), called)
        with _quiet():
            requests += _requests(task, [docs[one["at"]] for one in chosen], chosen)
    asked = "\n".join(json.dumps(request) for request in requests)
    return requests, hashlib.sha256(asked.encode()).hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval warns of what is meant, and compiles a template anew for every item."""
    from lm_eval.utils import env

    log = logging.getLogger("lm_eval")
    before, compiled = log.level, env.from_string
    log.setLevel(logging.ERROR)
    env.from_string = functools.lru_cache(compiled)
    try:
        yield
    finally:
        log.setLevel(before)
        env.from_string = compiled


def _requests(task: Any, docs: Iterable[Mapping[str, Any]], named: Iterable[Doc]) -> Iterator[Request]:
    """What lm-eval makes of each item, named by `named`; where answers share an end, the beginnings are the choices."""
    for doc, name in zip(docs, named, strict=True):
        made = task.construct_requests(doc, task.fewshot_context(doc, num_fewshot=task.config.num_fewshot or 0))
        made = made if isinstance(made, list) else [made]
        right, lengths = (0, [0]) if task.OUTPUT_TYPE == "loglikelihood" else _choices(task, doc)
        for at, (one, length) in enumerate(zip(made, lengths, strict=False)):
            context, answer = one.arguments[:2]
            yield Request(name["item"], name["group"], at, right, context, answer, length or len(answer))


def _choices(task: Any, doc: Mapping[str, Any]) -> tuple[int | None, list[int]]:
    """Which choice is right, and the characters of each, or of the end that they share."""
    choices: list[str] = task.doc_to_choice(doc)
    if task.multiple_input:
        return _right(task.doc_to_text(doc), choices), [len(task.doc_to_target(doc))] * len(choices)
    return _right(task.doc_to_target(doc), choices), [len(choice) for choice in choices]


def _right(said: Any, choices: Sequence[str]) -> int | None:
    if isinstance(said, str):
        said = choices.index(said) if choices.count(said) == 1 else None
    return said if isinstance(said, int) and 0 <= said < len(choices) else None


def encoded(tokenizer: Tokenizer, template: str, requests: Sequence[Request], context: int) -> pa.Table:
    """The requests of a template as rows of REQUESTS; an item with an answer longer than ``context`` tokens is skipped."""
    pairs = [_spaces_moved(one.context, one.answer) for one in requests]
    whole, offsets = encode_batch(tokenizer, [before + answer for before, answer in pairs])
    known = list(dict.fromkeys(before for before, _ in pairs))
    lone, bounds = encode_batch(tokenizer, known)
    own = {before: lone[begin:end] for before, (begin, end) in zip(known, pairwise(bounds.tolist()), strict=True)}
    mark = end_of_text(tokenizer)
    contexts, answers = [], []
    for (before, _), (begin, end) in zip(pairs, pairwise(offsets.tolist()), strict=True):
        contexts.append(own[before] if before else [mark])
        answers.append(whole[begin + len(own[before]) : end])
    why = {one.item: NO_RIGHT_ANSWER for one in requests if one.right is None}
    for one, answer in zip(requests, answers, strict=True):
        if not 0 < len(answer) <= context:
            why.setdefault(one.item, TOO_LONG if len(answer) else NO_TOKEN)
    kept = ("item", "group", "choice", "right", "length")
    columns: dict[str, Any] = {name: [getattr(one, name) for one in requests] for name in kept}
    columns |= {"template": [template] * len(requests), "context": contexts, "answer": answers}
    columns |= {"characters": [len(one.answer) for one in requests]}
    columns |= {"bytes": [len(one.answer.encode()) for one in requests]}
    columns |= {"skipped": [why.get(one.item) for one in requests]}
    return pa.table(columns, schema=REQUESTS)


def _spaces_moved(context: str, answer: str) -> tuple[str, str]:
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + answer
