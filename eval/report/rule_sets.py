"""Rule sets side by side: where readings of one filter, or presets, agree, which rule decides where not, and on what pages.

With a dozen sets there are 132 ways in which one keeps what another drops, and one odd set is in the largest of them all. So
every pair is in the matrices, and of the pairs told in full no set is in more than two.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, permutations
from typing import Any

from eval.report.compared import Compared, Page
from eval.report.facts import Drop, Size
from eval.report.removal import (
    MOST_LANGUAGES,
    NAME_SHOWN,
    SAMPLE_SHOWN,
    drop_row,
    shade,
    share_cell,
    shown_address,
    shown_text,
    size_cell,
)
from eval.report.safe_text import plain
from eval.report.wording import percent, plural
from filters.agreement import Comparison, Difference, Drops

MOST_SETS = 16
MOST_PAIRS = 6
PAIRS_OF_A_SET = 2
MOST_DECIDING = 6  # rules that decide one difference
SAMPLES = 3
LABEL_SHOWN = 24  # characters at the head of a narrow column


def rule_sets(compared: Compared | None) -> dict[str, Any] | None:
    """What the report says of the sets; None where none were compared."""
    if compared is None:
        return None
    found = compared.comparison
    names = found.names[:MOST_SETS]
    by_pair = {(one.keeps, one.drops): one for one in found.differences}
    differences = [one for pair in permutations(names, 2) if (one := by_pair.get(pair)) and one.pages]
    return {
        "pages": f"{found.pages:,}",
        "unanimous": percent(_known(found.unanimous)),
        "labels": [plain(name, LABEL_SHOWN) for name in names],
        "left_out": len(found.names) - len(names),
        "sets": [_rule_set(at, names, found, by_pair) for at in range(len(names))],
        "pairs": [_pair(*pair, compared) for pair in _most_different(names, by_pair)],
        "differences": [_decided(one, found.pages) for one in sorted(differences, key=lambda one: -one.pages)],
    }


def _known(share: float) -> float | None:
    """None for NaN: the share of no pages."""
    return share if share == share else None


def _rule_set(
    at: int, names: Sequence[str], found: Comparison, by_pair: Mapping[tuple[str, str], Difference]
) -> dict[str, Any]:
    """One row of both matrices, and what each rule of the set removes."""
    name = names[at]
    agreed = [_known(float(share)) for share in found.agreement[at, : len(names)]]
    return {
        "name": plain(name, NAME_SHOWN),
        "keeps": size_cell(Size(found.kept[at]), found.pages),
        "agrees": [
            None if other == name else {"share": percent(share), "shade": shade(1 - share if share is not None else 0.0)}
            for other, share in zip(names, agreed, strict=True)
        ],
        "keeps_more": [None if other == name else _keeps_more(by_pair.get((name, other)), found.pages) for other in names],
        **_removed(name, found.drops),
    }


def _keeps_more(one: Difference | None, pages: int) -> dict[str, str]:
    kept = one.pages if one else 0
    return {"pages": f"{kept:,}", "shade": share_cell(kept, pages)["shade"]}


def _removed(name: str, drops: Sequence[Drops]) -> dict[str, Any]:
    """Each rule's row, and its share of each language's pages, as for a level of the sweep."""
    own = [row for row in drops if row.rule_set == name]
    rules = [row for row in own if row.group is None]
    languages = {row.group: row.pages for row in own if row.group is not None}
    largest = sorted(languages, key=lambda language: (-languages[language], language))[:MOST_LANGUAGES]
    alone = {(row.rule, row.group): row.alone for row in own}
    return {
        "rules": [
            drop_row(Drop(row.rule, Size(row.alone), Size(row.uniquely), Size(row.in_order)), row.pages) for row in rules
        ],
        "languages": [plain(language, 12) for language in largest],
        "by_language": [
            {
                "rule": plain(row.rule, NAME_SHOWN),
                "cells": [share_cell(alone.get((row.rule, language), 0), languages[language]) for language in largest],
            }
            for row in rules
            if largest
        ],
    }


def _most_different(
    names: Sequence[str], by_pair: Mapping[tuple[str, str], Difference]
) -> list[tuple[list[Difference], int]]:
    """Both differences of the pairs that differ on most pages, and on how many; no set in more than two pairs."""
    pairs = []
    for a, b in combinations(names, 2):
        both = [by_pair[pair] for pair in ((a, b), (b, a)) if pair in by_pair]
        pairs.append((both, sum(one.pages for one in both)))
    shown: Counter[str] = Counter()
    chosen: list[tuple[list[Difference], int]] = []
    for both, pages in sorted(pairs, key=lambda pair: -pair[1]):
        if len(chosen) < MOST_PAIRS and pages and all(shown[one.keeps] < PAIRS_OF_A_SET for one in both):
            chosen.append((both, pages))
            shown.update(one.keeps for one in both)
    return chosen


def _pair(both: Sequence[Difference], pages: int, compared: Compared) -> dict[str, Any]:
    larger_first = sorted(both, key=lambda one: -one.pages)
    return {
        "names": [plain(larger_first[0].keeps, NAME_SHOWN), plain(larger_first[0].drops, NAME_SHOWN)],
        "differ": size_cell(Size(pages), compared.comparison.pages),
        "sides": [_side(one, compared.pages) for one in larger_first],
    }


def _side(one: Difference, pages: Mapping[str, Page]) -> dict[str, Any]:
    """The pages that one set keeps and the other drops: which rules fail them, and some of them."""
    several = one.pages - sum(rule.alone for rule in one.rules)
    return {
        "keeps": plain(one.keeps, NAME_SHOWN),
        "drops": plain(one.drops, NAME_SHOWN),
        "pages": f"{one.pages:,} {plural(one.pages, 'page')}",
        "rules": [
            {
                "rule": plain(rule.rule, NAME_SHOWN),
                "alone": size_cell(Size(rule.alone), one.pages),
                "fails": size_cell(Size(rule.fails), one.pages),
            }
            for rule in one.rules[:MOST_DECIDING]
        ],
        "rules_left_out": len(one.rules[MOST_DECIDING:]),
        "several": size_cell(Size(several), one.pages) if several > 0 else None,
        "samples": [_sample(pages[page]) for page in one.sample[:SAMPLES]],
    }


def _sample(page: Page) -> dict[str, str]:
    """Where compare.json may have cut the text, its last word is dropped: it could be half an address."""
    text = page.text
    if len(text) > SAMPLE_SHOWN and len(text.split(maxsplit=1)) > 1:
        text = text.rsplit(maxsplit=1)[0] + " …"
    return {"text": shown_text(text), "url": shown_address(page.url)}


def _decided(one: Difference, pages: int) -> dict[str, Any]:
    """A difference in one line, with the rule that decides most of it."""
    rule = one.rules[0] if one.rules else None
    return {
        "keeps": plain(one.keeps, NAME_SHOWN),
        "drops": plain(one.drops, NAME_SHOWN),
        "differ": size_cell(Size(one.pages), pages),
        "rule": plain(rule.rule, NAME_SHOWN) if rule else "",
        "alone": percent(rule.alone / one.pages) if rule else "",
    }
