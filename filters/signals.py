"""What a signal is: a function of a page batch whose name is its column, and whose return type is the column's type.

`@signal(group=...)` puts a function into its group; a group is what the experiment file names under `signals:` and what one
table of signals holds. Keyword-only parameters of the function are its configuration. A signal that cannot be measured on a
page is null: NaN and infinities that a division left behind become null here, once, and so does every page without text.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.nearest import nearest
from filters.pages import PageBatch

Float = npt.NDArray[np.float64]
Count = npt.NDArray[np.int64]
Flag = npt.NDArray[np.bool_]
Text = pa.StringArray

COLUMN_TYPES: dict[Any, pa.DataType] = {Float: pa.float64(), Count: pa.int64(), Flag: pa.bool_(), Text: pa.string()}

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Signal:
    """One number about a page: `function(pages, **options)` gives one value per page."""

    name: str
    function: Callable[..., Any]
    type: pa.DataType

    @property
    def options(self) -> dict[str, inspect.Parameter]:
        """The configuration it takes, by name."""
        parameters = inspect.signature(self.function).parameters.values()
        return {parameter.name: parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}

    def measure(self, pages: PageBatch, options: Mapping[str, Any]) -> pa.Array:
        """The column for these pages: null where the page has no text or the value is not a number."""
        mine = {name: value for name, value in options.items() if name in self.options}
        with np.errstate(divide="ignore", invalid="ignore"):  # 0 words of 0 characters: null below, not a warning
            values = self.function(pages, **mine)
        if not isinstance(values, pa.Array):
            missing = ~pages.valid | np.ma.getmaskarray(values)
            values = np.ma.getdata(values)
            if self.type == pa.float64():
                missing = missing | ~np.isfinite(values)
            values = pa.array(values, type=self.type, mask=missing)
        elif not pages.valid.all():
            values = pa.compute.if_else(pa.array(pages.valid), values, pa.scalar(None, values.type))
        if len(values) != len(pages):
            raise ValueError(f"signal {self.name!r} gave {len(values)} values for {len(pages)} pages")
        return values.cast(self.type)


GROUPS: dict[str, dict[str, Signal]] = {}
"""Every group that has been imported: group -> signal name -> signal."""


def signal(*, group: str) -> Callable[[Function], Function]:
    """Make a function of a `PageBatch` a signal of `group`. Its annotation must be Float, Count, Flag or Text."""

    def register(function: Function) -> Function:
        name = function.__name__
        returns = inspect.get_annotations(function, eval_str=True).get("return")
        if returns not in COLUMN_TYPES:
            raise TypeError(f"signal {name!r} must be annotated -> Float, Count, Flag or Text, got {returns!r}")
        for other, signals in GROUPS.items():
            if name in signals and other != group:
                raise ValueError(f"signal {name!r} is in group {other!r} already")
        GROUPS.setdefault(group, {})[name] = Signal(name, function, COLUMN_TYPES[returns])
        return function

    return register


def load_groups(*packages: str) -> dict[str, dict[str, Signal]]:
    """Import every module of the packages, so that their signals are known; a new file needs no other edit."""
    for package in packages:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
            importlib.import_module(module.name)
    return GROUPS


@dataclass(frozen=True)
class Group:
    """A group with its configuration bound: what one `signals/<group>/` table is made by."""

    name: str
    signals: tuple[Signal, ...]
    options: Mapping[str, Any]

    @property
    def schema(self) -> pa.Schema:
        """`id` and one column per signal."""
        return pa.schema([("id", pa.string()), *((signal.name, signal.type) for signal in self.signals)])

    def measure(self, ids: pa.Array, pages: PageBatch) -> pa.RecordBatch:
        """One row per page in the order given."""
        columns = [signal.measure(pages, self.options) for signal in self.signals]
        return pa.record_batch([ids.cast(pa.string()), *columns], schema=self.schema)


def configure(name: str, options: Mapping[str, Any], groups: Mapping[str, Mapping[str, Signal]]) -> Group:
    """Bind one entry of `signals:` to its group. Raises ValueError for an unknown group, option or one that is missing."""
    if name not in groups:
        raise ValueError(f"unknown signal group {name!r}: {nearest(name, list(groups))}")
    signals = tuple(groups[name].values())
    known = {option: parameter for signal in signals for option, parameter in signal.options.items()}
    for option in options:
        if option not in known:
            what = nearest(option, known) if known else "it takes none"
            raise ValueError(f"signal group {name!r} has no option {option!r}: {what}")
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise ValueError(f"signal group {name!r} needs the option {option!r}")
    return Group(name, signals, dict(options))
