"""The balance of bytes: each byte of a shard is of a record that was read, or lost under a named reason.

The hard idea: what cannot be framed is no record, so no count of records can miss it. Bytes are counted where they lie:
`packed`, in the file, by compressed members, and `unpacked`, in what came out of these, by records or lines; parquet has
`rows`. The total of each is taken from elsewhere than its parts: the file's size, what the members gave, the footer.
"""

from collections import Counter
from collections.abc import Mapping

PACKED, UNPACKED, ROWS = "packed", "unpacked", "rows"
UNITS: Mapping[str, str] = {
    PACKED: "bytes of the file, by compressed members",
    UNPACKED: "bytes that came out of them, by records or lines",
    ROWS: "rows of a parquet file, by its footer",
}
READ, PADDING = "read", "padding"


class Account:
    """One stream of bytes from its beginning on, in order: each stretch is read, or lost for a reason."""

    def __init__(self, counts: Counter[str], unit: str, position: int = 0) -> None:
        self._counts = counts
        self._unit = unit
        self._position = position

    def read_to(self, position: int) -> None:
        """What lies between here and there was read."""
        self.lost_to(position, READ)

    def lost_to(self, position: int, reason: str) -> None:
        """What lies between here and there is no record, for this reason."""
        if position > self._position:
            self._counts[f"{self._unit}: {reason}"] += position - self._position
            self._position = position


def parts(counts: Mapping[str, int], unit: str) -> dict[str, int]:
    """What became of the bytes (or rows) of a unit: `read`, `padding`, or a reason."""
    return {key.removeprefix(f"{unit}: "): count for key, count in counts.items() if key.startswith(f"{unit}: ")}


def balanced(counts: Mapping[str, int]) -> bool:
    """Whether every byte and row is accounted for, and none twice."""
    return all(counts.get(unit, 0) == sum(parts(counts, unit).values()) for unit in UNITS)


def told(counts: Mapping[str, int]) -> list[str]:
    """A line for each unit of which something is lost."""
    lines = []
    for unit in UNITS:
        became = parts(counts, unit)
        if became.keys() - {READ, PADDING}:
            listed = ", ".join(f"{count:,} {reason}" for reason, count in sorted(became.items(), key=lambda one: -one[1]))
            lines.append(f"{counts[unit]:,} {'rows' if unit == ROWS else f'{unit} bytes'}: {listed}")
    return lines


def is_balance(key: str) -> bool:
    """Whether a count is one of these."""
    return key.partition(":")[0] in UNITS
