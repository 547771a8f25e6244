"""One hypothesis stands alone; all else that was looked at is adjusted for its number.

The one is named in the experiment file before anything is measured. All others are the pairs of levels, and the same
difference on pages that do not decide.
"""

import itertools

from eval.report.safe_text import plain
from eval.report.story import Story
from eval.report.wording import plural, signed
from eval.statistics import CONFIDENCE, Comparison, holm
from eval.verdict import Primary

NAME_SHOWN = 60
MOST_NAMED = 3


def primary_hypothesis(story: Story) -> str:
    """What came of it, and whether it is the one that the verdict tells of."""
    named = story.facts.primary
    found = story.held_out.primary if story.held_out else None
    whose = "named in the experiment file" if named else "the default"
    if found is None:
        return f"Primary hypothesis ({whose}): one of its subsets has no complete runs, so it was not tested."
    same = named is None or set(named) == {"best", "hardest"}
    return (
        f"Primary hypothesis ({whose}): {_minus(found)}, {signed(found.gap)} bits per byte, p = {found.p_value:.3f}."
        f"{'' if same else ' The first sentence of this page is about another one: take it as a lead.'}"
    )


def all_others(story: Story) -> list[str]:
    """What all other differences come to, with p values that hold for all of them at once (Holm 1979)."""
    held_out = story.held_out
    if held_out is None or held_out.comparison is None:
        return []
    found = held_out.primary
    subsets = dict.fromkeys([*held_out.levels, held_out.unfiltered or held_out.levels[0]])
    pairs = [pair for pair in itertools.combinations(subsets, 2) if not found or set(pair) != {found.one, found.other}]
    there = _elsewhere(story, found) if found else {}
    adjusted = holm(
        {_pair(pair): held_out.comparison.p_value(*pair) for pair in pairs}
        | {name: other.p_value(found.one, found.other) for name, other in there.items() if found}
    )
    says = []
    if found and there:
        gaps = {name: signed(other.difference(found.one, found.other)) for name, other in there.items()}
        told = "; ".join(f"on {name} {gap}, p = {adjusted[name]:.3f}" for name, gap in gaps.items())
        says.append(f"{_minus(found)} elsewhere: {told}.")
    if pairs:
        says.append(_apart({_pair(pair): adjusted[_pair(pair)] for pair in pairs}))
    if len(adjusted) > 1:
        says.append(f"These {len(adjusted):,} p values are adjusted for their number by Holm's method.")
    return [" ".join(says)] if says else []


def _elsewhere(story: Story, found: Primary) -> dict[str, Comparison]:
    """The sets of pages that do not decide, where both subsets were compared."""
    sets = {"held-out pages before any rule": story.pool, "the classifiers' own kind of text": story.reference}
    return {
        name: other.comparison
        for name, other in sets.items()
        if other
        and other.comparison
        and other.comparison.unknown is None
        and {found.one, found.other} <= set(other.compared)
    }


def _apart(p_values: dict[str, float]) -> str:
    """Which pairs are told apart."""
    apart = [pair for pair, p_value in p_values.items() if p_value <= 1 - CONFIDENCE]
    which = "; ".join(f"{pair} (p = {p_values[pair]:.3f})" for pair in apart[:MOST_NAMED])
    more = f" and {len(apart) - MOST_NAMED:,} more" if len(apart) > MOST_NAMED else ""
    differ = "differs" if len(apart) == 1 else "differ"
    pairs = plural(len(p_values), "pair")
    return f"Of {len(p_values):,} other {pairs} of levels {len(apart):,} {differ}{f': {which}{more}' if apart else ''}."


def _pair(pair: tuple[str, str]) -> str:
    return " and ".join(plain(name, NAME_SHOWN) for name in pair)


def _minus(found: Primary) -> str:
    return f"{plain(found.one, NAME_SHOWN)} minus {plain(found.other, NAME_SHOWN)}"
