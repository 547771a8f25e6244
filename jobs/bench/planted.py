"""What the verdict says in worlds whose answer is known, and where it must be caught when it is made carelessly.

    python -m jobs.bench.planted [TRIALS]

It takes some minutes; `make planted` runs it. docs/training.md has the table.
"""

import argparse
import sys
from collections.abc import Sequence

from eval.planted import WORLDS, Design, World, outcomes, truth

CARELESS: tuple[tuple[World, str, Design], ...] = (
    ("null", "replicates read the same pages", Design(folds=False, run_noise=0.003)),
    ("one_domain", "pages taken for clusters", Design(strata=False, clusters="page")),
)
"""Designs that no proof may pass."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the verdict says in every world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="?", type=int, default=400, metavar="TRIALS")
    trials = parser.parse_args(arguments).trials
    sound: list[tuple[World, str, Design]] = [
        (world, "", Design(strata=world not in ("dominant_site", "one_domain"))) for world in WORLDS
    ]
    for world, careless, design in (*sound, *CARELESS):
        known = truth(world, max(1, trials // 2), design)
        found = outcomes(world, trials, known, design)
        said = ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.said.items())
        curve = " ".join(f"{value - known.values[0]:+.4f}" for value in known.values)
        print(f"{world} {careless}: {said}; truth {curve}, best {', '.join(known.best)}, onset {known.onset}")
        print(
            f"  intervals hold {100 * found.covered:.1f} %, bound milder than the onset {100 * found.too_mild:.1f} %, "
            f"seen at 1.45 resolutions {100 * found.seen:.0f} %, resolution {found.resolution:.4f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
