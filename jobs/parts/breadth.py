"""The breadth of levels over the niches of quotas, beside that of flat cuts of equal size, from passes over all parts."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from filters.breadth import Breadth, Niches, among_of, archives
from filters.quantiles import RANKS, Column, Found, Targets, floats, ranked
from filters.rules import Pool, Ranking, Resolved
from filters.slicing import Kept
from filters.verdicts import failing, passing
from jobs.parts.pool import Columns, Over, cuts_of
from jobs.parts.table import Part

FLAT = "flat cut"
"""The purpose of the draws by which ties of a flat cut are split, so that it is of equal size."""
Rows = list[dict[str, Any]]
Levels = Mapping[str, tuple[int, ...]]
"""Levels by name, each with its rules by number."""
Among = tuple[int, ...]
"""The rules by number that a flat cut stands beside."""


def breadths(rules: Sequence[Resolved], levels: Levels, columns: Columns, over: Over) -> Rows:
    """A row for each level and each set of niches that a quota declares.

    The flat cut takes the best pages that pass the level's other rules, up to the level's weight; a level without a rule on
    the quota's signal has none beside it.
    """
    return [row for ranking in archives(rules) for row in _of_niches(ranking, rules, levels, columns, over)]


def _of_niches(ranking: Ranking, rules: Sequence[Resolved], levels: Levels, columns: Columns, over: Over) -> Rows:
    found = cuts_of({ranking.signal: RANKS}, lambda name, pool: _ascending(pool, name), columns, over)
    quantiles = floats(found[ranking.signal].places[:, 0], lowest=True)

    def counted(kept_of: Callable[[Pool], Kept]) -> Niches:
        def of_part(part: Part) -> Niches:
            pool = columns.of(part).chosen_from()
            return Niches.of(ranking, pool, kept_of(pool), quantiles)

        niches: Niches = over(of_part, lambda some: reduce(add, some))
        return niches

    def kept(pool: Pool) -> Kept:
        bits = failing([rule.passes(pool) for rule in rules], len(pool))
        return np.stack([passing(bits, numbers) for numbers in levels.values()], axis=1).astype(np.uint8)

    niches = counted(kept)
    sizes = dict(zip(levels, niches.weights, strict=True))
    cuts, cut_of = _flat(ranking, rules, levels, sizes, columns, over)

    def flat(pool: Pool) -> Kept:
        ordered = {among: _column(ranking, pool, rules, among) for among in cuts}
        masks = [cuts[among].keeps(ordered[among], at) for among, at in cut_of.values()]
        return np.array(masks, np.uint8).reshape(len(masks), len(pool)).T

    beside = counted(flat) if cut_of else None
    flats = {name: beside.breadth(at) for at, name in enumerate(cut_of)} if beside else {}
    within = " × ".join(map(str, ranking.within))
    return [
        {"niches": within, "signal": ranking.signal, "level": name, "all_niches": len(niches.names)}
        | _columns(niches.breadth(at), "")
        | _columns(flats.get(name), "flat_")
        for at, name in enumerate(levels)
    ]


def _ascending(pool: Pool, signal: str) -> Column:
    return ranked(pool.numbers(signal), pool.weight("pages"), lowest=True)


def _columns(breadth: Breadth | None, prefix: str) -> dict[str, float | int | None]:
    names = [field.name for field in dataclasses.fields(Breadth)]
    return {f"{prefix}{name}": None if breadth is None else getattr(breadth, name) for name in names}


def _column(ranking: Ranking, pool: Pool, rules: Sequence[Resolved], among: Among) -> Column:
    """A part's pages that pass those rules, as the flat cut takes them."""
    return ranked(
        pool.numbers(ranking.signal),
        pool.weight(ranking.weight),
        lowest=ranking.lowest,
        draws=pool.draw(FLAT),
        among=np.logical_and.reduce([np.ones(len(pool), bool), *(rules[number].passes(pool) for number in among)]),
    )


def _flat(
    ranking: Ranking,
    rules: Sequence[Resolved],
    levels: Levels,
    sizes: Mapping[str, int],
    columns: Columns,
    over: Over,
) -> tuple[dict[Among, Found], dict[str, tuple[Among, int]]]:
    """The flat cuts, and which is that of each level: the rules it stands beside, and the place among its targets."""
    among: dict[str, Among] = {}
    for name, numbers in levels.items():
        beside = among_of(ranking, [rules[number] for number in numbers])
        if beside is not None:
            among[name] = tuple(number for number, stays in zip(numbers, beside, strict=True) if stays)
    targets = {
        one: Targets("at most", tuple(sorted({sizes[name] for name in among if among[name] == one})))
        for one in dict.fromkeys(among.values())
    }
    cuts = cuts_of(targets, lambda one, pool: _column(ranking, pool, rules, one), columns, over)
    return cuts, {name: (one, targets[one].amounts.index(sizes[name])) for name, one in among.items()}
