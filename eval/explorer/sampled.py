"""What the explorer's page is made from: a sample of pages in strata, their signals, and the rules it starts with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Stratum:
    """Pages that were drawn from by themselves: how many there are, and how many of them are in the sample."""

    name: str
    pages: int
    sampled: int


@dataclass(frozen=True)
class NumberColumn:
    """A signal that is a number; `values` (pages,) are NaN where it is null."""

    name: str
    group: str
    about: str
    whole: bool
    values: Numbers


@dataclass(frozen=True)
class ChoiceColumn:
    """A column of text or flags; `codes` (pages,) index `values`, the last of which is null.

    A `slice` has more values than boxes could be ticked for: pages can be looked at by its most frequent ones, and all
    others are one more, before null.
    """

    name: str
    group: str
    about: str
    kind: Literal["flag", "text", "slice"]
    values: tuple[str, ...]
    codes: Codes


@dataclass(frozen=True)
class Switch:
    """A rule that a slider cannot say: its verdicts (pages,), true where a page fails, as the rule engine gives them.

    `asked` is what stands behind its name in a file: conditions of a signal, or whatever a rule on no signal says.
    """

    signal: str
    text: str
    asked: Any
    on: bool
    fails: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Excerpt:
    """The beginning of a page of the sample, with private data masked."""

    row: int
    address: str
    text: str


@dataclass(frozen=True)
class Sampled:
    """All of it. Rows are pages in the order of their draws; `strata_of` (pages,) index `strata`."""

    name: str
    strata: Sequence[Stratum]
    strata_of: Codes
    weights: Mapping[str, Numbers]
    numbers: Sequence[NumberColumn]
    choices: Sequence[ChoiceColumn]
    bounds: Mapping[str, Mapping[str, Any]]
    switches: Sequence[Switch]
    excerpts: Sequence[Excerpt]
    left_out: Sequence[str]
    """Signals for which the page has no room."""

    def __len__(self) -> int:
        return len(self.strata_of)
