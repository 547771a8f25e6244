"""What is done to the text of pages that are written or trained on: lines of many sites cut out, then transforms."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from filters.duplicates.lines import drop_lines
from filters.pages import PageBatch
from filters.signals import load_groups
from filters.transforms import apply_transforms
from jobs.parts.duplicate_options import DropLines
from jobs.parts.experiment_file import Experiment, as_tree
from jobs.parts.places import Places
from jobs.parts.repeated_lines import seen_on
from jobs.parts.table import Part, identity_of

Edit = Callable[[pa.Array, Counter[str]], pa.Array]
"""Texts of some of a part's pages -> as they are edited; adds up what was done."""


@dataclass(frozen=True)
class Edits:
    """The edits that an experiment asks for. It travels to the workers."""

    places: Places
    lines: DropLines | None
    transforms: tuple[str, ...]

    @classmethod
    def of(cls, experiment: Experiment) -> Self:
        """As the experiment asks."""
        return cls(Places(experiment.out), experiment.write.drop_lines, tuple(experiment.write.transforms))

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.lines or self.transforms)

    def config(self) -> dict[str, Any]:
        """What tells the edited text from that of other edits."""
        found: dict[str, Any] = {"transforms": list(self.transforms)}
        if self.lines:
            found |= {"drop_lines": as_tree(self.lines), "lines": identity_of(self.places.duplicates("lines"))}
        return found

    def of_part(self, part: Part) -> Edit:
        """What is done to the pages of a part. Lines are looked for in the text as it was read."""
        load_groups("filters", "classifiers")  # a worker process knows no transform before its module is imported
        asked, names = self.lines, list(self.transforms)
        if asked is None:
            return lambda text, _: apply_transforms(text, names)
        repeated, most = seen_on(self.places.duplicates("lines"), part, asked.seen_on_domains), asked.most

        def edit(text: pa.Array, counts: Counter[str]) -> pa.Array:
            cut = drop_lines(PageBatch(text), repeated, most)
            counts["pages_cut"] += cut.pages
            counts["pages_spared"] += cut.spared
            counts["lines_dropped"] += cut.lines
            counts["characters_dropped"] += cut.characters
            return apply_transforms(cut.text, names)

        return edit


def told_of(counts: Mapping[str, int]) -> str:
    """What the cutting of lines came to, as a line for the terminal; empty where none was asked for."""
    if "lines_dropped" not in counts:
        return ""
    return (
        f"{counts['lines_dropped']:,} lines with {counts['characters_dropped']:,} characters are dropped from "
        f"{counts['pages_cut']:,} pages; {counts['pages_spared']:,} pages would have lost too much and stay as they are"
    )
