"""The first sentence of the report: what to do, and what that rests on.

Over-filtering is spoken of only where a filter helped at all and the levels lead from mild to hard: what never helped cannot
be overdone, and the cells of a grid have no order. Every interval quoted here stands in the table of levels too.
"""

from eval.report.facts import Facts, Subset
from eval.report.safe_text import plain
from eval.report.standing import Standings
from eval.report.story import Story
from eval.report.wording import byte_size, listed, percent, plural, signed
from eval.statistics import Interval, Verdict

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
    unfiltered = story.unfiltered
    if unfiltered and not _beats(held_out, unfiltered):
        return _nothing_helped(story, held_out, unfiltered)
    if not unfiltered and not _worse(held_out):
        return (
            "No level stood out",
            f"{_named(held_out.best)} needs the fewest bits per byte, but no other level can be told from it.",
        )
    return _use(story, held_out, held_out.verdict)


def _too_little(held_out: Standings) -> tuple[str, str]:
    """What to train or hold out before any choice; the lowest value all the same."""
    one_replicate = held_out.by_name[str(held_out.best)].asked < 2
    claim, why = (
        ("Train a second replicate before you choose", "one replicate does not show how much chance does")
        if one_replicate
        else ("Hold out pages of more sites before you choose", "all held-out pages are of one site")
    )
    return claim, f"{_named(held_out.best)} needs the fewest bits per byte so far, but {why}."


def _beats(held_out: Standings, unfiltered: str) -> bool:
    """Whether the best level needs fewer bits per byte than the unfiltered pages, beyond chance."""
    over = _over_best(held_out, unfiltered)
    return over is not None and over.positive


def _nothing_helped(story: Story, held_out: Standings, unfiltered: str) -> tuple[str, str]:
    """No level is better than the unfiltered pages beyond chance; some may be worse."""
    best, worse = _named(held_out.best), [name for name in _worse(held_out) if name != unfiltered]
    hurts = (
        f"{_some(worse)} {'is' if len(worse) == 1 else 'are'} worse than {best}."
        if worse
        else f"No level is worse than {best} beyond chance."
    )
    return f"No filter beat {_named(unfiltered)}", f"{_minus_best(story, held_out)}{hurts}"


def _use(story: Story, held_out: Standings, verdict: Verdict) -> tuple[str, str]:
    """The best level, and where the levels lead from mild to hard, whether the hardest ones hurt."""
    level = next(level for level in story.facts.levels if level.name == verdict.best)
    best, differences = _named(verdict.best), f"{_keeps(level)}{_minus_best(story, held_out)}"
    if level.unswept:
        return f"Use {best}: no swept filter beat it", differences.strip()
    if not story.facts.ordered:
        return f"Use {best}", f"{differences}{_others(held_out)}"
    if verdict.begins_at:
        return f"Use {best}: over-filtering begins at {_named(verdict.begins_at)}", differences.strip()
    if verdict.best == verdict.hardest:
        return f"Use {best}, the hardest level tried", f"{differences}Still harder ones may be better."
    return f"Use {best}", f"{differences}Whether harder filtering hurts cannot be told from this."


def _keeps(level: Subset) -> str:
    """How much a level keeps."""
    return f"It keeps {level.kept.pages:,} of {level.pool.pages:,} pages, {percent(level.share)} of the bytes. "


def _minus_best(story: Story, held_out: Standings) -> str:
    """How the unfiltered pages and the hardest level differ from the best one."""
    asked = [(story.unfiltered, "")] + ([(held_out.levels[-1], ", the hardest level,")] if story.facts.ordered else [])
    says = [
        f"{_named(name)}{what} {signed(held_out.by_name[name].difference)}"
        for name, what in asked
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
    """What stands behind the advice: the least difference that could have been seen, and whether the curve is a U."""
    verdict = story.held_out.verdict if story.held_out else None
    if verdict is None or not story.sure:
        return []
    if not story.facts.ordered:
        widest = max(over.half_width for over in verdict.over_best.values())
        return [f"Resolution: between the best level and another, less than {widest:.4f} bits per byte may go unseen."]
    says = [
        f"Resolution: between the hardest and the best level, a difference of less than {verdict.resolution:.4f} bits per "
        "byte could not have been told from chance."
    ]
    if lines := verdict.two_lines:
        says.append(
            f"Two-lines test (Simonsohn 2018), with the break at {_named(lines.break_at)}: "
            f"{signed(lines.falling)} bits per byte per level before it, {signed(lines.rising)} after it. "
            + ("The curve is a U." if lines.u_shaped else "Whether the curve is a U stays open.")
        )
    return says


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
