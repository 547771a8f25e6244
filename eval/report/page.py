"""The report: one page that answers "how hard should this crawl be filtered?" and shows what the answer rests on.

The facts become one tree of finished strings, and two templates (HTML and Markdown) lay that tree out, so that both say the
same. Whatever came from the crawl or the config passes through autoescape; nothing on the page is code, and no link leads
beyond the experiment's own folder.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from eval.report import figures
from eval.report.advice import advice, kept, tests
from eval.report.breadth import breadth
from eval.report.cards import scorers
from eval.report.cost import cost
from eval.report.curves import NAME_SHOWN, domains, gap, main_panels
from eval.report.diagnostics import diagnostics
from eval.report.duplicates import duplicates
from eval.report.facts import Facts, Run, Sample, Subset, Table, evenly
from eval.report.figures import Grid, Panel
from eval.report.removal import removal, shown_address, shown_text, with_rules
from eval.report.rule_sets import rule_sets
from eval.report.safe_text import code, fenced, inline, plain
from eval.report.scale import scale
from eval.report.story import Story, tell
from eval.report.tasks import tasks
from eval.report.threats import threats
from eval.report.wording import bits, bracketed, byte_size, duration, from_to, listed, percent, plural, short_count, signed

BARS = "Bars: 95 % intervals of the difference to the best level"
MOST_ROWS = 60  # subsets in one table; of more some are shown, and results.jsonl has the rest
MOST_RULE_LEVELS = 12
MOST_SENTENCES = 30
TINY_PARAMETERS = 100_000_000  # assumption: below, language models say little about the ones people deploy
TINY_TOKENS = 1_000_000_000


def html(facts: Facts) -> str:
    """The report as one self-contained HTML page: no script, no address that a browser would open."""
    return _templates().get_template("report.html").render(page(tell(facts)))


def markdown(facts: Facts) -> str:
    """The report as Markdown; its figure is `report.svg` beside it."""
    return _templates().get_template("report.md").render(page(tell(facts)))


@dataclass(frozen=True)
class MainFigure:
    """All that the main figure shows; drawn again from it, it has the same bytes."""

    title: str
    note: str
    panels: tuple[Panel | Grid, ...]

    @property
    def svg(self) -> str:
        """The figure as one SVG that stands alone."""
        return figures.panels_svg(self.panels, self.title, self.note)


def main_figure(facts: Facts) -> MainFigure:
    """Bits per byte against filter strength and against the share kept."""
    story = tell(facts)
    panels = main_panels(story)
    unmeasured = "Nothing has been measured yet" if facts.trains else "No model is trained: pages are only filtered"
    drawn = f"as {facts.swept} filters harder" if facts.ordered else f"over {facts.swept}"
    title = f"Held-out bits per byte {drawn}" if panels else unmeasured
    return MainFigure(title, f"{_scale(facts)} {BARS}." if _intervals(story) else _scale(facts), tuple(panels))


def figure_svg(facts: Facts) -> str:
    """The main figure alone."""
    return main_figure(facts).svg


@dataclass(frozen=True)
class Answer:
    """What a sentence under the main figure is made of."""

    claim: str
    parameters: int
    pages: int
    resolution: float | None

    @property
    def sentence(self) -> str:
        """The answer, what it was found with, and what could have been seen."""
        seen = f", and sees {self.resolution:.3f} bits per byte in half of such experiments" if self.resolution else ""
        return (
            f"A sample of {self.pages:,} pages and models of {short_count(self.parameters)} parameters; the report says "
            f'"{self.claim}"{seen}. What it finds holds for this sample and this size.'
        )


def answer(facts: Facts) -> Answer:
    """The facts of that sentence."""
    story = tell(facts)
    claim, _ = advice(story) if facts.trains else kept(facts)
    verdict = story.held_out.verdict if story.held_out and story.sure else None
    parameters = max((int(run.facts.get("parameters") or 0) for run in facts.runs if run.finished), default=0)
    pages = next((table.rows for table in facts.tables if table.name == "pages"), 0)
    return Answer(claim, parameters, pages, verdict.resolution if verdict else None)


def terminal_table(facts: Facts) -> str:
    """Level, pages kept, bytes kept, bits per byte with interval, or the share kept: fixed width, one line per subset."""
    head = ("level", "pages kept", "bytes kept", "bits per byte (95 % interval)" if facts.trains else "share kept")
    rows = [
        (
            row["name"],
            row["pages"],
            row["bytes"],
            f"{row['value']} {row['interval']}".strip() + (" *" if row["best"] else "") if facts.trains else row["share"],
        )
        for row in _level_rows(tell(facts))
    ]
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(4)]
    lines = [
        "  ".join(
            cell.ljust(width) if at in (0, 3) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [head, *rows]
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    left = len(facts.subsets) - len(rows)
    notes = ["* best level"] if any(row[3].endswith("*") for row in rows) else []
    notes += [] if notes or not facts.trains else ["no level has been measured yet"]
    notes += [f"{left:,} further subsets are not shown"] if left else []
    return "\n".join(line.rstrip() for line in [*lines, *notes])


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("eval.report", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    for escape in (code, inline, fenced):  # Markdown's own escapes, which HTML's would spoil
        environment.filters[escape.__name__] = _marked(escape)
    return environment


def _marked(escape: Callable[[str], str]) -> Callable[[object], Markup]:
    return lambda text: Markup(escape(str(text)))


@lru_cache(maxsize=1)
def page(story: Story) -> dict[str, Any]:
    """The tree that both templates lay out: strings, lists of strings, and our own SVG."""
    facts = story.facts
    panels = main_panels(story)
    levels = _level_rows(story)
    claim, grounds = advice(story) if facts.trains else kept(facts)
    scaling = scale(story)
    return {
        "name": plain(facts.name, NAME_SHOWN),
        "trains": facts.trains,
        "swept": plain(facts.swept, NAME_SHOWN),
        "claim": claim,
        "grounds": grounds,
        "tests": [*tests(story), *filter(None, [scaling and scaling["judged"]])],
        "threats": threats(story),
        "scale": _scale(facts) if facts.trains else "",
        "tiny": _tiny(facts.runs),
        "ordered": facts.ordered,
        "drawn": _drawn(story),
        "intervals": _intervals(story),
        "replicates": _replicates(facts),
        "missing": _sentences(facts.missing),
        "panels": [Markup(figures.panel_svg(panel)) for panel in panels],
        "levels": levels,
        "levels_left_out": len(facts.subsets) - len(levels),
        "tokens": any(subset.kept.tokens is not None for subset in facts.subsets),
        "read": bool(facts.packed),
        "notes": any(row["note"] for row in levels),
        "domains": domains(story),
        "gap": gap(story),
        "diagnostics": diagnostics(story),
        "tasks": tasks(story),
        "scaling": scaling,
        "cost": cost(story),
        "explorer": facts.explorer,
        "removal": [removal(level, facts) for level in evenly(with_rules(facts), MOST_RULE_LEVELS)],
        "breadth": breadth(facts.subsets),
        "scorers": scorers(facts.scorers),
        "rule_sets": rule_sets(facts.compared),
        "duplicates": duplicates(facts.duplicates),
        "samples": _samples(facts),
        "reading": _reading(facts.tables),
        "damaged": [_damage(row) for table in facts.tables for row in table.damaged][:MOST_SENTENCES],
        "runs": _run_rows(facts.runs) if facts.trains else [],
        "versions": sorted({f"{name} {version}" for table in facts.tables for name, version in table.versions.items()}),
        "hashes": _hashes(facts.tables),
        "commits": sorted({str(row.get("commit")) for row in facts.results if row.get("commit")}),
        "experiment": "\n".join(plain_line(line) for line in facts.experiment.splitlines()[:500]),
    }


def plain_line(line: str) -> str:
    """A line of the config: indentation kept, hidden characters gone."""
    indent = len(line) - len(line.lstrip(" "))
    return " " * indent + plain(line, 300)


def _scale(facts: Facts) -> str:
    """How small this experiment is, in numbers."""
    runs = [run.facts for run in facts.runs if run.finished]
    parameters = from_to(sorted({int(run["parameters"]) for run in runs if run.get("parameters")}), short_count)
    tokens = from_to(sorted({int(run["tokens"]) for run in runs if run.get("tokens")}), short_count)
    if not runs:
        return "No model has been trained."
    replicates = len({run.replicate for run in facts.runs if run.finished})
    pages = len(facts.held_out.bytes) if facts.held_out else 0
    clusters = len(np.unique(facts.held_out.cluster)) if facts.held_out else 0
    of = f" of {clusters:,} {plural(clusters, 'cluster')}" if clusters < pages else ""
    return (
        f"{len(runs):,} {plural(len(runs), 'run')} of {parameters or 'unknown'} parameters "
        f"on {tokens or 'unknown'} tokens each, {replicates} {plural(replicates, 'replicate')}, "
        + (f"measured on {pages:,} held-out {plural(pages, 'page')}{of}." if pages else "not measured yet.")
    )


def _tiny(runs: Sequence[Run]) -> bool:
    sizes = [(run.facts.get("parameters") or 0, run.facts.get("tokens") or 0) for run in runs if run.finished]
    return bool(sizes) and (
        max(size for size, _ in sizes) < TINY_PARAMETERS or max(tokens for _, tokens in sizes) < TINY_TOKENS
    )


def _drawn(story: Story) -> str:
    """What the main figure has beside the levels, of what was trained."""
    rows = story.held_out.by_name if story.held_out else {}
    there = {subset.control for subset in story.facts.subsets if subset.name in rows}
    words = {
        "random": "on as much random text",
        "inverted": "on as much of the text that the filter likes least (inverted)",
        "unfiltered": "on the unfiltered pool",
    }
    return f"Models trained {listed(['on each level', *(say for control, say in words.items() if control in there)])}."


def _intervals(story: Story) -> str:
    """What the bars of the main figure show, which depends on the replicates and on how pages were held out."""
    facts = story.facts
    if not facts.held_out or not story.held_out or not any(row.difference for row in story.held_out.rows):
        return ""
    by = next((str(subset.held_out["by"]) for subset in facts.subsets if subset.held_out.get("by")), "page")
    several = len(facts.held_out.replicates) > 1
    one = "" if several else " One replicate was trained, so they leave out how much another replicate would differ."
    over = f"{'replicates and ' if several else ''}held-out {plural(2, by)}"
    return f"{BARS}, paired over {over}.{one}"


def _replicates(facts: Facts) -> str:
    """What a replicate is, and how far those of a subset read the same pages."""
    if not facts.packed:
        return ""
    what = (
        "A replicate is one draw of first weights, one fold of the pool and one order of reading, and all subsets share it."
    )
    short = [one for one in facts.packed if one.own < one.replicates]
    if not short:
        return f"{what} No two replicates of a subset read the same page."
    most = max(short, key=lambda one: (one.shared_pages, one.shared_tokens))
    return (
        f"{what} {len(short):,} of {len(facts.packed):,} subsets hold too little for folds of their own, so that replicates "
        f"draw from all of their pages: of what the replicates of {plain(most.subset, NAME_SHOWN)} read, the most alike, "
        f"{percent(most.shared_tokens)} of the tokens are read in another replicate too, and {percent(most.shared_pages)} "
        "are on pages of which another reads."
    )


def _level_rows(story: Story) -> list[dict[str, Any]]:
    """One row per subset: sizes, value, interval, difference to the best level, and how often it is the best.

    Of too many subsets some are shown, evenly spaced, and the best.
    """
    shown = {subset.name for subset in evenly(story.facts.subsets, MOST_ROWS)}
    best = story.held_out.best if story.held_out else None
    rows = [_level_row(subset, story) for subset in story.facts.subsets if subset.name in shown or subset.name == best]
    _place_whiskers(rows)
    return rows


def _level_row(subset: Subset, story: Story) -> dict[str, Any]:
    standing = story.held_out.by_name.get(subset.name) if story.held_out else None
    failed = sorted({run.status for run in story.facts.runs if run.subset == subset.name and not run.finished})
    note = subset.status if subset.status != "ok" else ", ".join(failed)
    if standing and standing.replicates < standing.asked:
        note = f"{standing.replicates} of {standing.asked} replicates; {note}".rstrip("; ")
    return {
        "name": plain(subset.name, NAME_SHOWN),
        "control": subset.control or "",
        "pages": f"{subset.kept.pages:,}",
        "bytes": byte_size(subset.kept.bytes),
        "share": percent(subset.share),
        "tokens": "–" if subset.kept.tokens is None else short_count(subset.kept.tokens),
        **_read(subset, story.facts),
        "value": bits(standing.level.value) if standing else "–",
        "interval": bracketed(standing.level) if standing else "",
        "difference": signed(standing.difference) if standing else "",
        "worse": bool(story.sure and standing and standing.difference and standing.difference.positive),
        "best_share": percent(standing.best_share) if standing and standing.best_share is not None else "",
        "best": bool(story.held_out and story.held_out.best == subset.name),
        "note": plain(note, NAME_SHOWN),
        "ends": (standing.level.low, standing.level.value, standing.level.high) if standing else None,
    }


def _read(subset: Subset, facts: Facts) -> dict[str, str]:
    """What a run of a subset reads: different pages, slices, about how many bytes, and epochs."""
    packed = next((one for one in facts.packed if one.subset == subset.name), None)
    if packed is None:
        return dict.fromkeys(("pages_read", "slices_read", "bytes_read", "epochs"), "–")
    of_tokens = subset.kept.bytes / subset.kept.tokens if subset.kept.tokens else 0.0
    return {
        "pages_read": f"{packed.pages:,.0f}",
        "slices_read": f"{packed.slices:,.0f}",
        "bytes_read": byte_size(round(packed.tokens * of_tokens)) if of_tokens else "–",
        "epochs": f"{packed.epochs:.2g}",
    }


def _place_whiskers(rows: Sequence[dict[str, Any]]) -> None:
    """Each row's interval as places from 0 to 100 on one axis."""
    ends = [end for row in rows if row["ends"] for end in row["ends"]]
    low, span = (min(ends), max(max(ends) - min(ends), 1e-9)) if ends else (0.0, 1.0)
    for row in rows:
        row["whisker"] = [f"{2 + 96 * (end - low) / span:.1f}" for end in row["ends"]] if row["ends"] else None


def _samples(facts: Facts) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(sample.subset for sample in facts.samples))
    asked = {(level.name, drop.rule): level.asked(drop) for level in facts.levels for drop in level.drops}
    return [
        {
            "name": plain(name, NAME_SHOWN),
            "kept": [_sample(one, asked) for one in facts.samples if one.subset == name and one.kept],
            "dropped": [_sample(one, asked) for one in facts.samples if one.subset == name and not one.kept],
        }
        for name in names
    ]


def _sample(sample: Sample, asked: Mapping[tuple[str, str], str]) -> dict[str, str]:
    about = [plain(sample.language, 16), plain(sample.value, 60)]
    return {
        "text": shown_text(sample.text),
        "url": shown_address(sample.url),
        "about": " · ".join(filter(None, about)),
        "failed": ", ".join(plain(asked.get((sample.subset, rule), rule), NAME_SHOWN) for rule in sample.failed[:6]),
    }


def _reading(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Rows of each table, sidecars of the same length together, and what was counted on the way."""
    names: dict[str, list[str]] = {}
    for table in tables:
        names.setdefault(f"{table.rows} {sorted(table.counts.items())}", []).append(table.name)
    first = {listed[0]: ", ".join(listed) for listed in names.values()}
    return [
        {
            "name": plain(first[table.name], 400),
            "rows": f"{table.rows:,}",
            "counts": [
                (plain(reason, 40).replace("_", " "), f"{count:,}")
                for reason, count in sorted(table.counts.items(), key=_by_size)
            ],
        }
        for table in tables
        if table.name in first
    ]


def _hashes(tables: Sequence[Table]) -> list[str]:
    """Each config hash once, with the tables made by it."""
    names: dict[str, list[str]] = {}
    for table in tables:
        names.setdefault(plain(table.config_hash, 64) or "none", []).append(plain(table.name, NAME_SHOWN))
    return [f"{digest} ({', '.join(made)})" for digest, made in names.items()]


def _by_size(item: tuple[str, int]) -> tuple[int, str]:
    return (-item[1], item[0])


def _damage(row: Mapping[str, Any]) -> str:
    part, offset, reason = (plain(str(row.get(key, "?")), 90) for key in ("part", "offset", "reason"))
    detail = plain(str(row.get("detail") or ""), 160)
    return f"{part}, at byte {offset}: {reason}" + (f" ({detail})" if detail else "")


def _run_rows(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Wall time and device, and what did not end well."""
    done = [run for run in runs if run.finished]
    seconds = [float(run.facts.get("seconds") or 0) for run in done]
    devices = ", ".join(sorted({plain(str(run.facts.get("device", "unknown")), 60) for run in done}))
    rows = [("runs that ended", f"{len(done):,} of {len(runs):,}")]
    if done:
        rows += [
            ("device", devices),
            ("training, all runs", duration(sum(seconds))),
            ("training, one run", from_to([min(seconds), max(seconds)], duration)),
        ]
    return rows


def _sentences(sentences: Sequence[str]) -> list[str]:
    shown = [plain(sentence, 300) for sentence in sentences[:MOST_SENTENCES]]
    left = len(sentences) - len(shown)
    return [*shown, f"and {left:,} more of the kind"] if left > 0 else shown
