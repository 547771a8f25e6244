"""Two experiments side by side: each level of both, paired differences where the evaluation pages are the same, and what
differs in their files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from eval.report.facts import Facts, Floats, Scores, Subset
from eval.report.safe_text import code, inline, plain
from eval.report.standing import Standings, standings
from eval.report.wording import bits, bracketed, byte_size, percent, signed
from eval.statistics import Comparison, Interval, compare
from filters.differences import Difference, differences, shown

NAME_SHOWN = 60
MOST_SENTENCES = 20
NAMES = ("name", "out", "reuse")
"""Keys of an experiment file that say where it lies and not what it is."""


@dataclass(frozen=True, eq=False)
class Beside:
    """Two experiments and what they are called; `unpaired`: why their runs cannot be paired, or empty."""

    names: tuple[str, str]
    facts: tuple[Facts, Facts]
    unpaired: str
    comparison: Comparison | None
    standings: tuple[Standings | None, Standings | None]

    def difference(self, first: str, second: str) -> Interval | None:
        """Bits per byte of a subset of the second experiment minus those of one of the first; None where not paired."""
        one, other = _name(0, first), _name(1, second)
        if self.comparison is None or one not in self.comparison.subsets or other not in self.comparison.subsets:
            return None
        return self.comparison.difference(other, one)


def beside(names: tuple[str, str], facts: tuple[Facts, Facts], same_pages: bool) -> Beside:
    """Set two experiments side by side. `same_pages`: whether their held-out pages are the same, in the same order."""
    found = tuple(standings(one.held_out, one.subsets, one.ordered) if one.held_out else None for one in facts)
    unpaired, comparison = _paired(facts[0].held_out, facts[1].held_out, same_pages)
    return Beside(names, facts, unpaired, comparison, (found[0], found[1]))


def _paired(first: Scores | None, second: Scores | None, same_pages: bool) -> tuple[str, Comparison | None]:
    """All runs of both by the replicates that both have, or why that cannot be."""
    if first is None or second is None:
        return "At least one of the two has no model that was measured, so sizes alone are compared.", None
    if not same_pages:
        sizes = f"{len(first.bytes):,} and {len(second.bytes):,}"
        return f"They were measured on different held-out pages ({sizes}), so no difference between them is drawn.", None
    common = [replicate for replicate in first.replicates if replicate in second.replicates]
    if not common:
        return "They have no replicate in common, so no difference between them is drawn.", None
    runs: dict[str, Floats] = {}
    for at, scores in enumerate((first, second)):
        columns = [scores.replicates.index(replicate) for replicate in common]
        runs |= {_name(at, name): nll[columns] for name, nll in zip(scores.subsets, scores.nll, strict=True)}
    whole = {name: nll for name, nll in runs.items() if not np.isnan(nll).any()}
    if not whole:
        return "No subset has a run for every replicate that both have, so no difference between them is drawn.", None
    return "", compare(np.stack(list(whole.values())), first.bytes, first.cluster, list(whole), first.stratum)


def _name(side: int, subset: str) -> str:
    """A subset among those of both."""
    return f"{side} {subset}"


def html(two: Beside) -> str:
    """One self-contained HTML page."""
    return _templates().get_template("beside.html").render(page(two))


def markdown(two: Beside) -> str:
    """The same in Markdown."""
    return _templates().get_template("beside.md").render(page(two))


def terminal_text(two: Beside) -> str:
    """The claim, the levels and the keys that differ, for a terminal."""
    tree = page(two)
    lines = [f"{tree['claim']}.", *tree["grounds"], ""]
    for row in tree["rows"]:
        sides = "  ".join(f"{side['pages']:>9} pages {side['share']:>6} {side['value']:>7}" for side in row["sides"])
        lines.append(f"{row['name']:<34} {sides}  {row['difference']}".rstrip())
    changed = [f"{one['key']}: {one['values'][0]} | {one['values'][1]}" for one in tree["changed"]]
    return "\n".join([*lines, "", *(changed or ["the experiment files say the same"])])


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("eval.report", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["code"] = lambda text: Markup(code(str(text)))
    environment.filters["inline"] = lambda text: Markup(inline(str(text)))
    return environment


def page(two: Beside) -> dict[str, Any]:
    """The tree that both templates lay out: strings and lists of strings."""
    claim, grounds = _claim(two)
    names = [plain(name, NAME_SHOWN) for name in two.names]
    return {
        "names": names,
        "claim": claim,
        "grounds": grounds,
        "trains": any(facts.trains for facts in two.facts),
        "paired": two.comparison is not None,
        "rows": [_row(name, two) for name in dict.fromkeys(one.name for facts in two.facts for one in facts.subsets)],
        "changed": [_changed(one) for one in _files(two)],
        "tables": _tables(two),
        "missing": [
            f"{name}: {plain(sentence, 300)}"
            for name, facts in zip(names, two.facts, strict=True)
            for sentence in facts.missing[:MOST_SENTENCES]
        ],
    }


def _claim(two: Beside) -> tuple[str, list[str]]:
    """Which experiment's best level is better, or why that cannot be said."""
    best = [found.best if found else None for found in two.standings]
    gap = two.difference(best[0], best[1]) if best[0] and best[1] else None
    if two.comparison is None or gap is None:
        return _sizes(two), [two.unpaired or "The best level of one of the two lacks a run of a replicate that both have."]
    names = [plain(name, NAME_SHOWN) for name in two.names]
    levels = [plain(str(name), NAME_SHOWN) for name in best]
    grounds = [
        f"The best level of {names[1]}, {levels[1]}, minus the best of {names[0]}, {levels[0]}: {signed(gap)} bits per byte "
        f"(95 % interval, paired over the held-out pages and {two.comparison.replicates} replicates that both have).",
        "Both levels were picked as the best of the same numbers that are compared here.",
    ]
    if why := two.comparison.unknown:
        return "Which is better cannot be told", [f"{why[:1].upper()}{why[1:]}.", *grounds]
    if gap.low > 0 or gap.high < 0:
        better = names[0] if gap.low > 0 else names[1]
        return f"{better} is better by {abs(gap.value):.4f} bits per byte at its best level", grounds
    return "No difference between the two is established", grounds


def _sizes(two: Beside) -> str:
    """What the level that keeps least keeps, of each."""
    said = []
    for name, facts in zip(two.names, two.facts, strict=True):
        least = min(facts.levels, key=lambda level: level.kept.pages, default=None)
        kept = f"keeps {least.kept.pages:,} of {least.pool.pages:,} pages" if least else "has chosen nothing"
        said.append(f"{plain(name, NAME_SHOWN)} {kept}")
    return ", ".join(said)


def _row(name: str, two: Beside) -> dict[str, Any]:
    subsets = [next((one for one in facts.subsets if one.name == name), None) for facts in two.facts]
    difference = two.difference(name, name)
    return {
        "name": plain(name, NAME_SHOWN),
        "control": any(subset is not None and subset.control for subset in subsets),
        "sides": [_side(subset, found) for subset, found in zip(subsets, two.standings, strict=True)],
        "difference": signed(difference),
    }


def _side(subset: Subset | None, found: Standings | None) -> dict[str, Any]:
    standing = found.by_name.get(subset.name) if found and subset else None
    return {
        "pages": f"{subset.kept.pages:,}" if subset else "–",
        "bytes": byte_size(subset.kept.bytes) if subset else "",
        "share": percent(subset.share) if subset else "–",
        "value": bits(standing.level.value) if standing else "–",
        "interval": bracketed(standing.level) if standing else "",
        "best": bool(subset and found and found.best == subset.name),
    }


def _files(two: Beside) -> list[Difference]:
    """The keys in which the experiment files differ, as they were understood; what must not be shown is masked in both."""
    first, second = (_tree(facts.experiment) for facts in two.facts)
    return [one for one in differences(first, second) if one.key not in NAMES]


def _tree(text: str) -> Mapping[str, Any]:
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return tree if isinstance(tree, Mapping) else {}


def _changed(one: Difference) -> dict[str, Any]:
    return {"key": plain(one.key, 120), "values": [plain(shown(value), 200) for value in (one.old, one.new)]}


def _tables(two: Beside) -> list[dict[str, Any]]:
    """The tables that have other rows, or were made by another configuration."""
    sides: Sequence[Mapping[str, tuple[int, str]]] = [
        {table.name: (table.rows, table.config_hash) for table in facts.tables} for facts in two.facts
    ]
    names = dict.fromkeys(name for side in sides for name in side)
    return [
        {"name": plain(name, NAME_SHOWN), "rows": [f"{side[name][0]:,}" if name in side else "–" for side in sides]}
        for name in names
        if sides[0].get(name) != sides[1].get(name)
    ]
