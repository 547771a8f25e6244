"""Numbers as a person reads them: three digits, a unit, and the same minus sign everywhere."""

from collections.abc import Callable, Sequence
from typing import Any

from eval.statistics import Interval


def bits(value: float) -> str:
    """Bits per byte to four places."""
    return f"{value:.4f}"


def bracketed(interval: Interval) -> str:
    """The ends of an interval: `[2.3101, 2.3290]`."""
    return f"[{interval.low:.4f}, {interval.high:.4f}]"


def signed(interval: Interval | None) -> str:
    """A difference with its interval; empty where there is none."""
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]".replace("-", "−") if interval else ""


def percent(share: float | None) -> str:
    """A share from 0 to 1; `–` where it is unknown."""
    if share is None:
        return "–"
    digits = 0 if share >= 0.0995 or share == 0 else 1 if share >= 0.001 else 3
    return f"{100 * share:.{digits}f} %"


def byte_size(count: int) -> str:
    """Bytes in decimal units: `12.3 MB`."""
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{_three_digits(count / size)} {unit}"
    return f"{count} B"


def short_count(count: int) -> str:
    """A count in thousands, millions and so on: `171k`."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{_three_digits(count / size)}{unit}"
    return str(count)


def _three_digits(value: float) -> str:
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    return (
        f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
    )


def from_to(values: Sequence[Any], say: Callable[[Any], str]) -> str:
    """The first and the last of sorted values, once where they read the same."""
    if not values:
        return ""
    first, last = say(values[0]), say(values[-1])
    return first if first == last else f"{first} to {last}"


def plural(count: int, word: str) -> str:
    """The word as it stands after that count."""
    return word if count == 1 else word + "s"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
