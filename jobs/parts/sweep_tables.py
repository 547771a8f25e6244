"""The tables of a sweep and its alarms, from what was counted."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from filters.levels import Level
from filters.rules import leaves
from filters.slicing import NULL, OTHER, divergences
from filters.survey import UNIT, Asked, Survey, asked_share
from jobs.parts.experiment_file import Experiment, as_tree

ALARM_DROPS = 0.9
"""A rule that removes a larger share of the pages is told: no published filter's single rule does."""
ALARM_DOMAIN, DOMAIN_PAGES, DOMAIN_TIMES = 0.95, 100, 4
"""Domains of so many pages are told that lose a larger share, and at least so many times as often stay elsewhere. Marin's
deduplication took over 95 % of 15 of 113 sources (marin#6854) before anyone looked."""
ALARM_SHARE = 0.01
"""How far a share that is kept may miss the one that is asked."""
MOST_ALARMS = 50
"""Of one kind; the rest is counted."""
SOURCES = ("domain", "tld")


@dataclass(frozen=True)
class Counted:
    """A survey with what it is of."""

    experiment: Experiment
    levels: Sequence[Level]
    asked: Asked
    survey: Survey
    breadths: Sequence[Mapping[str, Any]] = ()

    @property
    def pages(self) -> int:
        """Pages that may be chosen."""
        return int(self.survey.tally.all_pages[0])

    def sizes(self, values: Any, prefix: str = "") -> dict[str, int | None]:
        """Pages, bytes and tokens; no tokens where they were not counted."""
        found: dict[str, int | None] = dict.fromkeys(("pages", "bytes", "tokens"))
        found |= dict(zip(self.asked.weights, values.tolist(), strict=True))
        return {f"{prefix}{name}": value for name, value in found.items()}


def tables(counted: Counted) -> dict[str, pa.Table]:
    """Every table by name; one without rows has its columns all the same."""
    rows: dict[str, list[dict[str, Any]]] = {
        "levels": list(_levels(counted)),
        "rules": list(_rules(counted)),
        "overlap": list(_overlap(counted)),
        "slices": list(_slices(counted)),
        "divergence": list(_divergence(counted)),
        "targets": list(_targets(counted)),
        "breadth": [dict(row) for row in counted.breadths],
        "alarms": [{"alarm": kind, "sentence": sentence} for kind, sentence in alarms(counted)],
    }
    return {name: pa.Table.from_pylist(some, SCHEMAS[name]) for name, some in rows.items()}


def _schema(**columns: str) -> pa.Schema:
    types = {"s": pa.string(), "i": pa.int64(), "f": pa.float64()}
    return pa.schema([(name, types[kind]) for name, kinds in columns.items() for kind in kinds])


def _sized(*prefixes: str) -> dict[str, str]:
    return {f"{prefix}{weight}": "i" for prefix in prefixes for weight in ("pages", "bytes", "tokens")}


SCHEMAS = {
    "levels": _schema(
        level="s", values="s", rules="s", **_sized("", "read_"), share_of_pages="f", share_of_bytes="f", share_of_tokens="f",
        epochs="f", target_epochs="f", sample_to_match="f",
    ),
    "rules": _schema(level="s", rule="s", signal="s", **_sized("alone_", "uniquely_", "in_order_")),
    "overlap": _schema(
        level="s", other="s", pages_in_both="i", share_of_level_in_other="f", share_of_other_in_level="f", jaccard="f"
    ),
    "slices": _schema(by="s", slice="s", up_to="f", level="s", **_sized("pool_", ""), kept_share="f"),
    "divergence": _schema(by="s", level="s", kl_bits="f", js_bits="f"),
    "targets": _schema(target="s", level="s", mean_nats="f", pool_mean_nats="f", closer_by_nats="f"),
    "breadth": _schema(
        niches="s", signal="s", level="s", all_niches="i", covered="i", effective="f", qd_score="f", flat_covered="i",
        flat_effective="f", flat_qd_score="f",
    ),
    "alarms": _schema(alarm="s", sentence="s"),
}  # fmt: skip
"""The columns of each table; docs/choosing.md says what they hold."""


def _ratio(part: int | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None


def _levels(counted: Counted) -> Iterator[dict[str, Any]]:
    tally = counted.survey.tally
    whole = counted.sizes(tally.all_pages)
    for at, level in enumerate(counted.levels):
        kept, read = counted.sizes(tally.kept[at]), counted.sizes(tally.read[at], "read_")
        yield {
            "level": level.name,
            "values": json.dumps(as_tree(level.levels)),
            "rules": json.dumps(as_tree(level.rules)),
            **kept,
            **read,
            **{f"share_of_{weight}": _ratio(kept[weight], whole[weight]) for weight in kept},
            **repetition(counted.experiment, read["read_tokens"], whole["tokens"]),
        }


def repetition(experiment: Experiment, read: int | None, pool: int | None) -> dict[str, float | None]:
    """How often a run goes over a level here and at the target scale, and the share of its pages that makes it the same.

    A level keeps the same share of the target's pool as of this one. With a share f of the pages, a run of T tokens goes
    T / (f read) times over them, and f is so chosen that the target's budget goes as often over the target's pages. It is
    the same for all levels; over 1 there are too few pages here, and fewer tokens must be trained on instead.
    """
    train, budget = experiment.train, experiment.budget
    here = max(train.tokens) if train else budget.tokens if budget else None
    epochs = _ratio(here, read)
    if budget is None or budget.pool is None or not read or not pool:
        return {"epochs": epochs, "target_epochs": None, "sample_to_match": None}
    there = budget.tokens / (budget.pool * read / pool)
    return {"epochs": epochs, "target_epochs": there, "sample_to_match": epochs / there if epochs else None}


def _rules(counted: Counted) -> Iterator[dict[str, Any]]:
    tally, rules = counted.survey.tally, counted.asked.rules
    for at, (level, numbers) in enumerate(zip(counted.levels, counted.asked.levels, strict=True)):
        for place, number in enumerate(numbers):
            yield {
                "level": level.name,
                "rule": rules[number].text,
                "signal": rules[number].rule.signal,
                **counted.sizes(tally.failed[number], "alone_"),
                **counted.sizes(tally.uniquely[at][place], "uniquely_"),
                **counted.sizes(tally.in_order[at][place], "in_order_"),
            }


def _overlap(counted: Counted) -> Iterator[dict[str, Any]]:
    both = counted.survey.both
    for one, other in itertools.combinations(range(len(counted.levels)), 2):
        shared, first, second = (int(both[pair]) for pair in ((one, other), (one, one), (other, other)))
        yield {
            "level": counted.levels[one].name,
            "other": counted.levels[other].name,
            "pages_in_both": shared,
            "share_of_level_in_other": _ratio(shared, first),
            "share_of_other_in_level": _ratio(shared, second),
            "jaccard": _ratio(shared, first + second - shared),
        }


def _slices(counted: Counted) -> Iterator[dict[str, Any]]:
    for slicing, counts in zip(counted.asked.slicings, counted.survey.by_slice, strict=True):
        for place, label in enumerate(slicing.labels):
            pool = counts[place, -1]
            if not pool[0]:
                continue
            up_to = slicing.bounds[place] if place < len(slicing.bounds) else None
            for at, level in enumerate(counted.levels):
                yield {
                    "by": slicing.column,
                    "slice": label,
                    "up_to": up_to,
                    "level": level.name,
                    **counted.sizes(pool, "pool_"),
                    **counted.sizes(counts[place, at]),
                    "kept_share": _ratio(int(counts[place, at, 0]), int(pool[0])),
                }


def _divergence(counted: Counted) -> Iterator[dict[str, Any]]:
    for slicing, counts in zip(counted.asked.slicings, counted.survey.by_slice, strict=True):
        for at, level in enumerate(counted.levels):
            kl, js = (None if math.isnan(value) else value for value in divergences(counts[:, at, 0], counts[:, -1, 0]))
            yield {"by": slicing.column, "level": level.name, "kl_bits": kl, "js_bits": js}


def _targets(counted: Counted) -> Iterator[dict[str, Any]]:
    for target, sums in counted.survey.targets.items():
        means = [total * UNIT / size if size else None for total, size in sums]
        for at, level in enumerate(counted.levels):
            mean, pool = means[at], means[-1]
            closer = None if mean is None or pool is None else mean - pool
            about = {"target": target, "level": level.name, "mean_nats": mean, "pool_mean_nats": pool}
            yield about | {"closer_by_nats": closer}


def alarms(counted: Counted) -> Iterator[tuple[str, str]]:
    """What looks wrong: its kind and one sentence."""
    for found in (_of_signals(counted), _of_rules(counted), _of_domains(counted), _of_shares(counted)):
        told = list(found)
        yield from told[:MOST_ALARMS]
        if len(told) > MOST_ALARMS:
            yield told[0][0], f"and {len(told) - MOST_ALARMS:,} more of this kind"


def _of_signals(counted: Counted) -> Iterator[tuple[str, str]]:
    for name, signal in counted.survey.signals.items():
        if not signal.measured:
            yield "signal", f"{name} is null on every page"
        elif signal.low == signal.high:
            yield "signal", f"{name} is {signal.low:g} on every page that it is measured on, so no bound tells pages apart"
    named = {leaf.signal for leaf in leaves(one.rule for one in counted.asked.rules)}
    for slicing, counts in zip(counted.asked.slicings, counted.survey.by_slice, strict=True):
        present = [label for label, some in zip(slicing.labels, counts[:, -1, 0], strict=True) if some]
        if slicing.column in named and not slicing.bounds and len(present) == 1 and present != [OTHER]:
            what = "null" if present == [NULL] else repr(present[0])
            yield "signal", f"{slicing.column} is {what} on every page"


def _of_rules(counted: Counted) -> Iterator[tuple[str, str]]:
    for one, failed in zip(counted.asked.rules, counted.survey.tally.failed[:, 0].tolist(), strict=True):
        if not failed:
            yield "rule", f"{one.text} removes nothing"
        elif failed == counted.pages:
            yield "rule", f"{one.text} removes every page"
        elif failed > ALARM_DROPS * counted.pages and asked_share(one.rule) is None:
            yield "rule", f"{one.text} removes {failed / counted.pages:.1%} of the pages"


def _of_domains(counted: Counted) -> Iterator[tuple[str, str]]:
    """A domain or the like that loses nearly all, where the level keeps much more of all pages."""
    for slicing, counts in zip(counted.asked.slicings, counted.survey.by_slice, strict=True):
        for place, label in enumerate(slicing.labels if slicing.column in SOURCES else ()):
            pool, kept = int(counts[place, -1, 0]), counts[place, :-1, 0]
            overall = counts[:, :-1, 0].sum(axis=0) / counted.pages
            lost = (kept < (1 - ALARM_DOMAIN) * pool) & (kept * DOMAIN_TIMES < overall * pool)
            if pool >= DOMAIN_PAGES and label not in (OTHER, NULL) and lost.any():
                first = counted.levels[int(lost.argmax())].name
                levels = f"at {int(lost.sum()):,} of {len(lost):,} levels, {first} among them"
                yield "domain", f"{slicing.column} {label} ({pool:,} pages) loses over {ALARM_DOMAIN:.0%} {levels}"


def _of_shares(counted: Counted) -> Iterator[tuple[str, str]]:
    for one, (kept, measured) in zip(counted.asked.rules, counted.survey.shares.tolist(), strict=True):
        asked = asked_share(one.rule)
        if asked and measured and abs(kept / measured - asked[0]) > ALARM_SHARE:
            of = f"{one.rule.signal} asks for {asked[0]:.1%} of the {asked[1]} and keeps {kept / measured:.1%}"
            yield "share", f"{of}: many pages have the same value, or there are few"
