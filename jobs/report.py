"""report: an experiment's folder in, one page out.

    python -m jobs.report CONF [--set key=value ...] [--dry-run]

Writes `report.html` (self-contained), `report.md` with `report.svg` (the main figure alone), and prints the levels as a
table. Whatever the earlier verbs have not done yet is said on the page.
"""

from dataclasses import replace

from eval.gpt import read_size
from eval.report.page import figure_svg, html, markdown, terminal_table
from filters.files import write_whole
from jobs.parts import command, storage
from jobs.parts.experiment_file import Experiment
from jobs.parts.gathered import collect
from jobs.parts.places import Places
from jobs.parts.refusals import ExperimentError
from jobs.train import trained


def main(experiment: Experiment, dry_run: bool = False) -> int:
    """Write the report of what lies under `out` now; the same folder gives the same bytes."""
    places = Places(experiment.out)
    page = places.report("html")
    if dry_run:
        print(f"report: {page}{' is there and would be written again' if storage.exists(page) else ' would be written'}")
        return command.OK
    try:
        train = experiment.train
        facts = collect(experiment.out, trained(train) if train else None, read_size(train.model).context if train else 0)
        facts = replace(facts, name=experiment.name)
    except ValueError as error:
        raise ExperimentError(str(error)) from error
    for ending, text in (("html", html(facts)), ("md", markdown(facts)), ("svg", figure_svg(facts))):
        write_whole(places.report(ending), text.encode())
    print(terminal_table(facts))
    print(f"report: {page}")
    return command.OK


if __name__ == "__main__":
    command.main(main, __doc__)
