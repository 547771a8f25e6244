"""explore: signals in, one page out that shows what any threshold keeps, without a server and without a network.

    python -m jobs.explore CONF [--set explore.pages=100000] [--dry-run]

Writes `explore.html` from a sample of the pages that may be chosen: sliders for every signal, what they keep, which rule
drops what, pages at the cut, and the rules as YAML for a sweep. Open it in a browser.
"""

from collections.abc import Callable, Sequence
from typing import Any

from eval.explorer.page import html
from filters.files import write_whole
from jobs.parts import command, passes, session, storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.explored import config_of, explored
from jobs.parts.made_by import note, say_made
from jobs.parts.places import Places
from jobs.parts.table import Part, parts_of


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Sample the pages and write the explorer; the same tables give the same bytes."""
    page = Places(experiment.out).explorer
    if dry_run:
        print(f"explore: {page}{' is there and would be written again' if storage.exists(page) else ' would be written'}")
        return command.OK
    made_by = config_of(experiment)
    if storage.exists(page) and storage.exists(note(page)) and storage.read_json(note(page))["config"] == made_by:
        print(f"explore: {page} is there")
        return command.OK
    parts, spark = parts_of(Places(experiment.out).pages), session.session("explore")

    def over(function: Callable[[Part], Any], merge: Callable[[Sequence[Any]], Any]) -> Any:
        return passes.merged(spark, "explore", parts, function, merge)

    sampled = explored(experiment, over)
    write_whole(page, html(sampled).encode())
    say_made(page, made_by)
    print(f"explore: {len(sampled):,} of {sum(one.pages for one in sampled.strata):,} pages, {page}")
    return command.OK


if __name__ == "__main__":
    command.main(main, __doc__)
