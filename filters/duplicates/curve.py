"""How often two pages become candidates, by their similarity: the collision curve of bands × rows, drawn for any setting."""

from collections.abc import Sequence
from math import inf

SHOWN = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def collision(jaccard: float, bands: int, rows: int) -> float:
    """The probability that two pages of this similarity share at least one band: 1 - (1 - J^rows)^bands."""
    return 1.0 - (1.0 - jaccard**rows) ** bands


def solve(threshold: float, recall: float, hashes: int) -> tuple[int, int]:
    """Bands and rows, of at most so many hashes, that find pairs at the threshold with this probability or more.

    Of all that do, those that find the fewest pairs below the threshold: the mean of the curve there. Raises ValueError
    where none do.
    """
    if not (0 < threshold <= 1 and 0 < recall < 1 and hashes >= 1):
        raise ValueError(f"threshold and recall must lie between 0 and 1, got {threshold!r} and {recall!r}")
    least, best = inf, (hashes, 1)
    if collision(threshold, *best) < recall:
        raise ValueError(f"{hashes} hashes cannot find pairs of similarity {threshold} with a recall of {recall}: take more")
    for rows in range(1, hashes + 1):
        for bands in range(1, hashes // rows + 1):
            if collision(threshold, bands, rows) >= recall:
                below = sum(collision(threshold * at / 100, bands, rows) for at in range(100))
                if below < least:
                    least, best = below, (bands, rows)
                break  # more bands only find more below
    return best


def curve(bands: int, rows: int, similarities: Sequence[float] = SHOWN) -> str:
    """The curve as lines of text: similarity, probability, a bar; and where it crosses one half."""
    half = (1 - 0.5 ** (1 / bands)) ** (1 / rows)
    head = f"{bands} bands x {rows} rows: half of the pairs of similarity {half:.2f} become candidates"
    lines = [f"  {j:.2f}  {(p := collision(j, bands, rows)):7.4f}  {'#' * round(40 * p)}".rstrip() for j in similarities]
    return "\n".join([head, *lines])
