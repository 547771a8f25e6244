"""The first sentence of the report: what to do, and what that rests on.

What may be said is decided in `eval.verdict`; here are the words. Every interval quoted stands in the table of levels too.
"""

from eval.report.facts import Facts
from eval.report.hypotheses import all_others, primary_hypothesis
from eval.report.safe_text import plain
from eval.report.standing import Standings
from eval.report.story import Story
from eval.report.wording import byte_size, listed, percent, plural, signed
from eval.statistics import Interval
from eval.verdict import Verdict

NAME_SHOWN = 60
MOST_NAMED = 3


def advice(story: Story) -> tuple[str, str]:
    """What to do, as a headline, and what it rests on."""
    held_out = story.held_out
    if held_out is None or not held_out.levels:
        return "No verdict", "No level has been measured on held-out pages with every replicate."
    if held_out.verdict is None:
        return "No verdict", f"{_named(held_out.levels[0])} is the only level measured with every replicate."
    if not story.sure:
        return _too_little(held_out)
    claim, grounds = SAYS[held_out.verdict.outcome](story, held_out, held_out.verdict)
    return claim, f"{grounds}{_lost(held_out.verdict)}".strip()


def _too_little(held_out: Standings) -> tuple[str, str]:
    """What to train or hold out before any choice; the lowest value all the same."""
    one_replicate = held_out.by_name[str(held_out.best)].asked < 2
    claim = f"{'Train a second replicate' if one_replicate else 'Hold out pages of more sites'} before you choose"
    why = plain(held_out.comparison.unknown or "", 200) if held_out.comparison else ""
    return claim, f"{_named(held_out.best)} needs the fewest bits per byte so far, but {why}."


def _over_filtering(story: Story, held_out: Standings, verdict: Verdict) -> tuple[str, str]:
    """The filter helped, and then hurt."""
    claim = f"Use {_named(verdict.best)}: over-filtering has begun by {_named(verdict.begun_by)}"
    return claim, f"{_keeps(story, verdict)}{_minus_best(story, held_out)}"


def _none_found(story: Story, held_out: Standings, verdict: Verdict) -> tuple[str, str]:
    """The hardest level helped, and is not worse than milder ones beyond chance."""
    worse = f"at most {verdict.at_most:.4f} bits per byte worse" if verdict.at_most else "no worse"
    is_hardest = verdict.best == verdict.hardest
    grounds = f"No over-filtering found up to {_named(verdict.hardest)}: it is {worse} than any milder level."
    if is_hardest:
        grounds = "Still harder levels may be better."
    claim = f"Use {_named(verdict.best)}{', the hardest level tried' if is_hardest else ''}"
    return claim, f"{_keeps(story, verdict)}{_minus_best(story, held_out)}{grounds}"


def _never_helped(story: Story, held_out: Standings, verdict: Verdict) -> tuple[str, str]:
    """No level is better than the pool beyond chance, and some are worse."""
    worse = [name for name in _worse(held_out) if name not in (verdict.base, verdict.best)]
    hurts = f"{_some(worse)} {'is' if len(worse) == 1 else 'are'} worse than {_named(verdict.best)}." if worse else ""
    base = _named(verdict.base)
    claim = f"Use {base}: no swept filter beat it" if verdict.base == verdict.best else f"No filter beat {base}"
    return claim, f"{_minus_best(story, held_out)}{hurts}"


def _helped(story: Story, held_out: Standings, verdict: Verdict) -> tuple[str, str]:
    """The best cell of a grid."""
    return f"Use {_named(verdict.best)}", f"{_keeps(story, verdict)}{_minus_best(story, held_out)}{_others(held_out)}"


def _cannot_tell(story: Story, held_out: Standings, verdict: Verdict) -> tuple[str, str]:
    """What is left open, and what would decide it."""
    better = verdict.best_minus_base is not None and verdict.best_minus_base.negative
    if better:
        claim, left_open = f"Use {_named(verdict.best)}", "Whether harder filtering hurts cannot be told from this."
        return claim, f"{_keeps(story, verdict)}{_minus_best(story, held_out)}{left_open}{_price(verdict)}"
    claim = f"Cannot tell: no filter beat {_named(verdict.base)} beyond chance"
    if held_out.unfiltered is None:
        claim = "Cannot tell which level is best"
    return claim, f"{_minus_best(story, held_out)}{_price(verdict)}"


SAYS = {
    "over_filtering": _over_filtering,
    "none_found": _none_found,
    "never_helped": _never_helped,
    "helped": _helped,
    "cannot_tell": _cannot_tell,
}


def _price(verdict: Verdict) -> str:
    """What an experiment would take to tell differences of the size found."""
    needed = verdict.needed
    if needed is None:
        return " A difference as small as the one found is not worth telling."
    return (
        f" To tell a difference of the size found, train about {needed.replicates:,} replicates and hold out pages of about "
        f"{needed.clusters:,} sites: replicates make {percent(needed.runs)} of the variance, pages the rest."
    )


def _lost(verdict: Verdict) -> str:
    """Levels without complete runs: the verdict is silent on them."""
    if not verdict.lost:
        return ""
    have = "has" if len(verdict.lost) == 1 else "have"
    return f" {_some(list(verdict.lost))} {have} no complete runs, so nothing is said of it."


def _keeps(story: Story, verdict: Verdict) -> str:
    """How much the best level keeps."""
    level = next(level for level in story.facts.levels if level.name == verdict.best)
    return f"It keeps {level.kept.pages:,} of {level.pool.pages:,} pages, {percent(level.share)} of the bytes. "


def _minus_best(story: Story, held_out: Standings) -> str:
    """How the unfiltered pages and the hardest level differ from the best one."""
    hardest = held_out.verdict.hardest if held_out.verdict else None
    asked = dict([(hardest, ", the hardest level,"), (story.unfiltered, "")])
    says = [
        f"{_named(name)}{what} {signed(held_out.by_name[name].difference)}"
        for name, what in asked.items()
        if name is not None and name != held_out.best
    ]
    return f"Bits per byte minus those of the best level, {_named(held_out.best)}: {'; '.join(says)}. " if says else ""


def _others(held_out: Standings) -> str:
    """How many levels are worse than the best of a grid."""
    worse, others = len(_worse(held_out)), len(held_out.levels) - 1
    if worse == others:
        return f"All {others:,} other levels are worse." if others > 1 else "The other level is worse."
    return f"{worse:,} of {others:,} other levels {'is' if worse == 1 else 'are'} worse; the others cannot be told from it."


def _worse(held_out: Standings) -> list[str]:
    """The levels that need more bits per byte than the best, beyond chance."""
    return [name for name in held_out.levels if (over := _over_best(held_out, name)) and over.positive]


def _over_best(held_out: Standings, name: str) -> Interval | None:
    return held_out.by_name[name].difference


def _some(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    shown = [_named(name) for name in names[:MOST_NAMED]]
    return listed([*shown, f"{more:,} more {plural(more, 'level')}"] if more > 0 else shown)


def _named(name: str | None) -> str:
    return plain(name or "", NAME_SHOWN)


def tests(story: Story) -> list[str]:
    """What stands behind the advice: what could have been seen, what chance alone does, and what other sets say."""
    verdict = story.held_out.verdict if story.held_out else None
    if verdict is None or not story.sure:
        return []
    between = "the hardest and the best level" if verdict.hardest else "the best level and another"
    says = [
        f"Resolution: a true difference of {verdict.resolution:.4f} bits per byte between {between} is seen in half of such "
        f"experiments, one of {verdict.resolution_at_80:.4f} in four of five."
    ]
    says += [primary_hypothesis(story), *_placebo(story)]
    if lines := verdict.two_lines:
        says.append(
            f"Two-lines test (Simonsohn 2018), with the break at {_named(lines.break_at)}: "
            f"{signed(lines.falling)} bits per byte per level before it, {signed(lines.rising)} after it. "
            + ("The curve is a U." if lines.u_shaped else "Whether the curve is a U stays open.")
        )
    return [*says, *all_others(story)]


def _placebo(story: Story) -> list[str]:
    found = story.held_out.placebo if story.held_out else None
    if found is None:
        return []
    says = (
        f"Placebo: {len(found.subsets)} subsets that differ by chance alone scatter by {found.scatter:.4f} bits per byte "
        f"(standard deviation; the two furthest apart differ by {found.widest:.4f})"
    )
    if found.speaks is None:
        return [f"{says}; no two of them are told apart, as it should be."]
    one, other = (_named(name) for name in found.speaks)
    return [f"{says}; {one} and {other} are told apart, which they should not be: do not rely on differences of this size."]


def kept(facts: Facts) -> tuple[str, str]:
    """What is left where pages are only filtered, and which rule of the level that keeps least removes most."""
    if not facts.levels:
        return "Nothing has been chosen yet", "There are no subsets."
    least, most = (pick(facts.levels, key=lambda level: level.kept.pages) for pick in (min, max))
    pool = f"of {least.pool.pages:,} {plural(least.pool.pages, 'page')}"
    several = "" if least.kept.pages == most.kept.pages else f"{most.kept.pages:,} to "
    claim = f"{several}{least.kept.pages:,} {pool} {'is' if least.kept.pages == 1 and not several else 'are'} kept"
    sizes = f"{byte_size(least.kept.bytes)} of {byte_size(least.pool.bytes)}"
    says = f"{_named(least.name)} keeps least, {sizes}." if len(facts.levels) > 1 else f"That is {sizes} of text."
    drop = max(least.drops, key=lambda one: one.alone.pages, default=None)
    if drop is None or not drop.alone.pages:
        return claim, says
    rule = plain(least.asked(drop), 120)
    pages = f"{drop.alone.pages:,}, of which {drop.uniquely.pages:,} fail no other rule"
    return claim, f"{says} Most pages fail {rule} ({pages})."
