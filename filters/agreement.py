"""Where rule sets disagree: readings of one filter, or two presets, given every rule's verdict on every page.

Because every rule is evaluated on every page, "which rule decides" has an answer that no order of rules can change: of the
pages one set keeps and the other drops, a rule decides those that it is the only one to fail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from filters.draws import Hashes, draw, id_hashes

Truth = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RuleSet:
    """Rules by name, each with True where a page passes; every array of shape (pages,)."""

    name: str
    passes: Mapping[str, Truth]

    def __post_init__(self) -> None:
        sizes = {rule: len(passes) for rule, passes in self.passes.items()}
        if not sizes:
            raise ValueError(f"rule set {self.name!r} has no rules, so there is nothing to compare")
        if len(set(sizes.values())) > 1:
            raise ValueError(f"the rules of {self.name!r} were measured on different numbers of pages: {sizes}")

    @cached_property
    def failures(self) -> npt.NDArray[np.int64]:
        """Rules that each page fails; shape (pages,)."""
        failures: npt.NDArray[np.int64] = np.sum([~passes for passes in self.passes.values()], axis=0, dtype=np.int64)
        return failures

    @cached_property
    def kept(self) -> Truth:
        """True where a page passes every rule; shape (pages,)."""
        return np.asarray(self.failures == 0, bool)


@dataclass(frozen=True)
class Drops:
    """What one rule does to the pages of one group (None: all pages), in pages.

    alone: fail it, whatever else they fail. uniquely: fail nothing else. in_order: fail it and no rule before it.
    """

    rule_set: str
    rule: str
    group: str | None
    pages: int
    alone: int
    uniquely: int
    in_order: int


@dataclass(frozen=True)
class Decides:
    """Of the pages that one set keeps and this rule's set drops: those that fail the rule, and those that fail it only."""

    rule: str
    fails: int
    alone: int


@dataclass(frozen=True)
class Difference:
    """Pages that `keeps` keeps and `drops` drops: how many, for which rules (most decisive first), and some of them."""

    keeps: str
    drops: str
    pages: int
    rules: tuple[Decides, ...]
    sample: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Everything above for some rule sets on the same pages.

    `agreement[i, j]`: share of pages on which sets i and j agree; shape (sets, sets), NaN without pages. `unanimous`: share
    on which all do. `kept`: pages each set keeps.
    """

    names: tuple[str, ...]
    pages: int
    kept: tuple[int, ...]
    agreement: Floats
    unanimous: float
    differences: tuple[Difference, ...]
    drops: tuple[Drops, ...]


def drops(rules: RuleSet, groups: Sequence[str | None] | None = None) -> list[Drops]:
    """What each rule drops, over all pages and then, if `groups` names one per page, in each group in alphabetical order."""
    named = sorted({group for group in groups or () if group is not None})
    place: dict[str | None, int] = {group: k for k, group in enumerate(named)}
    places = np.array([place.get(group, len(named)) for group in groups or ()], np.int64)

    def count(pages: Truth) -> list[int]:
        """Pages in all, then in each named group."""
        in_groups = np.bincount(places[pages], minlength=len(named))[: len(named)].tolist() if named else []
        return [int(pages.sum()), *in_groups]

    pages = count(np.ones(len(rules.kept), bool))
    rows: list[Drops] = []
    passed_so_far = np.ones(len(rules.kept), bool)
    for rule, passes in rules.passes.items():
        counts = [count(~passes), count(~passes & (rules.failures == 1)), count(~passes & passed_so_far)]
        rows += [
            Drops(rules.name, rule, group, *of_group)
            for group, *of_group in zip((None, *named), pages, *counts, strict=True)
        ]
        passed_so_far &= passes
    return rows


SAMPLE = "sample of a difference"
Draws = list[tuple[int, str]]
"""(draw, page id), lowest draw first."""


@dataclass(frozen=True)
class Counted:
    """What a part of the pages says of rule sets; parts add up.

    kept (sets,), agreeing (sets, sets): pages. decides: (keeps, drops) -> rule -> pages that fail it, and it only.
    sample: the lowest draws of each pair. drops: (set, rule, group) -> pages, alone, uniquely, in order.
    """

    names: tuple[str, ...]
    rules: Mapping[str, tuple[str, ...]]
    pages: int
    unanimous: int
    kept: Counts
    agreeing: Counts
    differ: Mapping[tuple[str, str], int]
    decides: Mapping[tuple[str, str], Mapping[str, tuple[int, int]]]
    sample: Mapping[tuple[str, str], Draws]
    drops: Mapping[tuple[str, str, str | None], tuple[int, int, int, int]]


def count(
    sets: Sequence[RuleSet], ids: Sequence[str], groups: Sequence[str | None] | None, samples: int, draws: Hashes
) -> Counted:
    """Count rule sets whose arrays are in the order of `ids`; `groups` is one name per page, such as its language.

    draws (pages,): the pages of the lowest ones are the sample.

    Raises ValueError for fewer than two sets, two of one name, or sizes that differ.
    """
    names = tuple(rules.name for rules in sets)
    if len(sets) < 2 or len(set(names)) < len(names):
        raise ValueError(f"to compare takes two or more rule sets of different names, got {', '.join(names) or 'none'}")
    sizes = {rules.name: len(rules.kept) for rules in sets}
    if set(sizes.values()) != {len(ids)} or (groups is not None and len(groups) != len(ids)):
        raise ValueError(f"rule sets, ids and groups must be of the same pages: {sizes}, {len(ids)} ids")
    kept = np.array([rules.kept for rules in sets])
    pairs = [(a, b) for a in sets for b in sets if a is not b]
    differ = {(a.name, b.name): a.kept & ~b.kept for a, b in pairs}
    return Counted(
        names=names,
        rules={rules.name: tuple(rules.passes) for rules in sets},
        pages=len(ids),
        unanimous=int(np.all(kept == kept[0], axis=0).sum()),
        kept=kept.sum(axis=1),
        agreeing=np.array([[(one == other).sum() for other in kept] for one in kept], np.int64),
        differ={pair: int(pages.sum()) for pair, pages in differ.items()},
        decides={(a.name, b.name): _decides(differ[a.name, b.name], b) for a, b in pairs},
        sample={pair: _lowest(pages, ids, samples, draws) for pair, pages in differ.items()},
        drops={
            (row.rule_set, row.rule, row.group): (row.pages, row.alone, row.uniquely, row.in_order)
            for rules in sets
            for row in drops(rules, groups)
        },
    )


def _decides(pages: Truth, drops: RuleSet) -> dict[str, tuple[int, int]]:
    return {
        rule: (int((pages & ~passes).sum()), int((pages & ~passes & (drops.failures == 1)).sum()))
        for rule, passes in drops.passes.items()
    }


def _lowest(pages: Truth, ids: Sequence[str], samples: int, draws: Hashes) -> Draws:
    rows = np.flatnonzero(pages)
    rows = rows[np.argsort(draws[rows], kind="stable")[:samples]]
    return sorted((int(draws[row]), ids[int(row)]) for row in rows)


def summed(parts: Sequence[Counted], samples: int) -> Counted:
    """The counts of several parts, in any order."""
    first = parts[0]
    drops: dict[tuple[str, str, str | None], tuple[int, int, int, int]] = {}
    for key, counts in (item for part in parts for item in part.drops.items()):
        before = drops.get(key, (0, 0, 0, 0))
        drops[key] = (before[0] + counts[0], before[1] + counts[1], before[2] + counts[2], before[3] + counts[3])
    return Counted(
        names=first.names,
        rules=first.rules,
        pages=sum(part.pages for part in parts),
        unanimous=sum(part.unanimous for part in parts),
        kept=np.sum([part.kept for part in parts], axis=0),
        agreeing=np.sum([part.agreeing for part in parts], axis=0),
        differ={pair: sum(part.differ[pair] for part in parts) for pair in first.differ},
        decides={
            pair: {
                rule: (
                    sum(part.decides[pair][rule][0] for part in parts),
                    sum(part.decides[pair][rule][1] for part in parts),
                )
                for rule in rules
            }
            for pair, rules in first.decides.items()
        },
        sample={pair: sorted(one for part in parts for one in part.sample[pair])[:samples] for pair in first.sample},
        drops=drops,
    )


def _both(counts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(fails for fails, _ in counts), sum(alone for _, alone in counts)


def comparison(counted: Counted) -> Comparison:
    """What the counts of all pages say."""
    shares = counted.agreeing / counted.pages if counted.pages else np.full(counted.agreeing.shape, np.nan)
    groups = sorted({group for _, _, group in counted.drops if group is not None})
    rows = [(name, rule, group) for name in counted.names for rule in counted.rules[name] for group in (None, *groups)]
    return Comparison(
        names=counted.names,
        pages=counted.pages,
        kept=tuple(counted.kept.tolist()),
        agreement=np.asarray(shares, np.float64),
        unanimous=counted.unanimous / counted.pages if counted.pages else float("nan"),
        differences=tuple(_difference(pair, counted) for pair in counted.differ),
        drops=tuple(Drops(*row, *counted.drops[row]) for row in rows if row in counted.drops),
    )


def _difference(pair: tuple[str, str], counted: Counted) -> Difference:
    rules = [Decides(rule, fails, alone) for rule, (fails, alone) in counted.decides[pair].items() if fails]
    ranked = sorted(rules, key=lambda rule: (-rule.alone, -rule.fails, rule.rule))
    sample = tuple(page for _, page in counted.sample[pair])
    return Difference(*pair, counted.differ[pair], tuple(ranked), sample)


def compare(
    sets: Sequence[RuleSet], ids: Sequence[str], groups: Sequence[str | None] | None = None, samples: int = 5, seed: int = 0
) -> Comparison:
    """Rule sets compared on pages that are in memory as a whole; see `count`."""
    return comparison(count(sets, ids, groups, samples, draw(id_hashes(ids), seed, SAMPLE)))


def kept_by_both(kept: Truth) -> Counts:
    """How many pages two scorers both keep, at each level; parts add up.

    kept: (levels, scorers, pages). Result: (levels, scorers, scorers), on the diagonal what each one keeps.
    """
    exact = kept.astype(np.float64)  # whole numbers below 2^53, and a fast product
    return np.asarray((exact @ exact.transpose(0, 2, 1)).round(), np.int64)


def jaccard(both: Counts) -> Floats:
    """Of the pages that one of two scorers keeps, the share that both keep; NaN where neither keeps any. Shape of `both`."""
    own = np.diagonal(both, axis1=1, axis2=2)
    either = own[:, :, None] + own[:, None, :] - both
    return np.asarray(np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0), np.float64)
