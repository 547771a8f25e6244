"""What the answer does not show: the usual objections, each with the numbers of this very run."""

import numpy as np

from eval.report.facts import Scores
from eval.report.safe_text import plain
from eval.report.story import Story
from eval.report.wording import from_to, listed, percent, plural, short_count

NAME_SHOWN = 60


def threats(story: Story) -> list[str]:
    """One sentence for each that applies; none where nothing was measured."""
    scores = story.facts.held_out
    if scores is None or story.held_out is None or not story.held_out.compared:
        return []
    return [*_one_setting(story), *_judged_by(story, scores), *_parts(scores), *_read(story), *_lost(story)]


def _one_setting(story: Story) -> list[str]:
    """What was held fixed."""
    runs = [run.facts for run in story.facts.runs if run.finished]
    size = from_to(sorted({int(run.get("parameters") or 0) for run in runs}), short_count)
    tokens = from_to(sorted({int(run.get("tokens") or 0) for run in runs}), short_count)
    rates = sorted({float(row["learning_rate"]) for row in story.facts.results if row.get("learning_rate")})
    rate = f", one learning rate ({rates[0]:g})" if len(rates) == 1 else ""
    left = len(story.facts.cells) - 1
    others = f" {left:,} other {plural(left, 'cell')} of the grid: under Scale." if left > 0 else ""
    return [
        f"One size ({size} parameters), one budget ({tokens} tokens){rate}: the best level moves with each of them, and the "
        f"best share grows with compute (BETR, Mizrahi et al. 2025), so none is given for larger models.{others}",
        f"Only {plain(story.facts.swept, NAME_SHOWN)} was varied: another scorer, or other good texts, may do better.",
        "One crawl and one draw of every noisy cut: the intervals cover other first weights, other pages of this crawl to "
        "read and other held-out pages, not another crawl.",
    ]


def _judged_by(story: Story, scores: Scores) -> list[str]:
    """Which pages decide."""
    by = {str(subset.held_out.get("by")) for subset in story.facts.subsets if subset.held_out}
    which = "that pass the rules which all levels share" if story.pool else "as the pool has them"
    tasks = "" if story.facts.tasks else " No task was asked of the models."
    near = "; other pages of their sites are trained on, which flatters every level" if by == {"page"} else ""
    return [f"Judged by {len(scores.bytes):,} held-out pages {which}{near}.{tasks}"]


def _parts(scores: Scores) -> list[str]:
    """What the mean hangs on where there are strata."""
    names = list(np.unique(scores.stratum))
    if len(names) < 2:
        return []
    told = [
        f"{plain(str(name), NAME_SHOWN)} ({int((scores.stratum == name).sum()):,} pages, "
        f"{len(np.unique(scores.cluster[scores.stratum == name])):,} clusters)"
        for name in names[:4]
    ]
    more = [f"{len(names) - 4:,} more"] if len(names) > 4 else []
    return [f"The mean of {len(names):,} parts decides, each with the same weight: {listed([*told, *more])}."]


def _read(story: Story) -> list[str]:
    """How little a run reads, and how far replicates read the same."""
    packed = [one for one in story.facts.packed if one.pages]
    if not packed:
        return []
    least = min(packed, key=lambda one: one.pages)
    says = [f"A run reads {least.pages:,.0f} pages at {plain(least.subset, NAME_SHOWN)}, the fewest: which ones is chance."]
    shared = [one for one in packed if one.shared_pages > 0]
    if shared:
        most = max(shared, key=lambda one: one.shared_pages)
        says.append(
            f"Replicates of {len(shared):,} {plural(len(shared), 'subset')} read some of the same pages, at "
            f"{plain(most.subset, NAME_SHOWN)} {percent(most.shared_pages)} of their tokens: intervals may be too narrow."
        )
    return says


def _lost(story: Story) -> list[str]:
    """Levels of which nothing can be said."""
    verdict = story.held_out.verdict if story.held_out else None
    lost = list(verdict.lost) if verdict else []
    said = listed([plain(name, NAME_SHOWN) for name in lost[:4]])
    return [f"Without complete runs, and so in none of this: {said}."] if lost else []
