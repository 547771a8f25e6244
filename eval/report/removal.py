"""What rules remove, as rows of a table: at a level of the sweep, or in a rule set."""

from collections.abc import Mapping
from typing import Any

from eval.report.facts import Drop, Facts, Size, Subset
from eval.report.safe_text import plain, private_masked
from eval.report.wording import byte_size, percent

NAME_SHOWN = 60
RULE_SHOWN = 160
SAMPLE_SHOWN = 240  # characters of a sample page
URL_SHOWN = 110
MOST_LANGUAGES = 8


def with_rules(facts: Facts) -> list[Subset]:
    """The levels that have rules, mildest first."""
    return [subset for subset in facts.levels if subset.drops]


def removal(subset: Subset, facts: Facts) -> dict[str, Any]:
    """What each rule of a level removes, and from which languages."""
    languages = list(facts.languages)[:MOST_LANGUAGES] if any(drop.by_language for drop in subset.drops) else []
    return {
        "name": plain(subset.name, NAME_SHOWN),
        "kept": f"{subset.kept.pages:,} of {subset.pool.pages:,} pages kept, "
        f"{byte_size(subset.kept.bytes)} of {byte_size(subset.pool.bytes)}",
        "rules": [
            drop_row(drop, subset.pool.pages)
            | {
                "rule": plain(subset.asked(drop), RULE_SHOWN),
                "resolved": plain(subset.came_to(drop, list(facts.languages)), RULE_SHOWN),
            }
            for drop in subset.drops
        ],
        "languages": [plain(language, 12) for language in languages],
        "by_language": [
            {
                "rule": plain(subset.asked(drop), NAME_SHOWN),
                "cells": [_language_cell(drop, name, facts.languages) for name in languages],
            }
            for drop in subset.drops
            if drop.by_language and languages
        ],
    }


def drop_row(drop: Drop, pages: int) -> dict[str, Any]:
    """A rule's name and its three counts, each of so many pages."""
    return {
        "rule": plain(drop.rule, NAME_SHOWN),
        "alone": size_cell(drop.alone, pages),
        "uniquely": size_cell(drop.uniquely, pages),
        "in_order": size_cell(drop.in_order, pages),
    }


def size_cell(size: Size, pages: int) -> dict[str, str]:
    """Pages as a count, as a share of so many, and as a bar from 0 to 100; bytes where they are known."""
    share = size.pages / pages if pages else 0.0
    return {
        "pages": f"{size.pages:,}",
        "share": percent(share),
        "width": f"{100 * min(share, 1.0):.1f}",
        "bytes": byte_size(size.bytes) if size.bytes else "",
    }


def _language_cell(drop: Drop, language: str, pool: Mapping[str, int]) -> dict[str, str]:
    return share_cell(drop.by_language.get(language, 0), pool.get(language, 0))


def share_cell(dropped: int, pages: int) -> dict[str, str]:
    """A share of pages, and how dark it is shown."""
    share = min(1.0, dropped / pages) if pages else 0.0
    return {"share": percent(share), "shade": shade(share)}


def shade(share: float) -> str:
    """Opacity of a cell's colour: text stays readable on the darkest."""
    return f"{0.55 * share:.2f}"


def shown_text(text: str) -> str:
    """The start of a page's text, masked."""
    return private_masked(text, SAMPLE_SHOWN) or "(no text)"


def shown_address(url: str) -> str:
    """A page's address as text, masked."""
    return private_masked(url, URL_SHOWN) or "no address"
