"""Where every table, model, packed file and run of an experiment lies: said here and nowhere else."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """The folder `out:` and what lies in it."""

    out: Path

    @property
    def pages(self) -> Path:
        """Table: id, url, domain, text."""
        return self.out / "pages"

    @property
    def selection(self) -> Path:
        """Which records an index selects, a file for each `index:` of `pages.from`."""
        return self.out / "selection"

    @property
    def split(self) -> Path:
        """Table: what is decided of each page before anything is trained."""
        return self.out / "split"

    @property
    def rejected(self) -> Path:
        """Table: records that are no page, with their reason."""
        return self.out / "rejected"

    @property
    def all_signals(self) -> Path:
        """The folder of the groups' tables."""
        return self.out / "signals"

    def signals(self, group: str) -> Path:
        """Table: one column per signal of a group."""
        return self.all_signals / group

    @property
    def token_ids(self) -> Path:
        """Table: every page encoded."""
        return self.out / "token_ids"

    def duplicates(self, name: str) -> Path:
        """Tables of dedup: `bands`, `edges`, `copies`."""
        return self.out / "duplicates" / name

    def contamination(self, name: str) -> Path:
        """Table `hits`: n-grams of benchmarks in pages; `BENCHMARK.jsonl`: what is said of every item."""
        return self.out / "contamination" / name

    @property
    def duplicate_facts(self) -> Path:
        """What duplicates amount to, for the report."""
        return self.duplicates("facts.json")

    @property
    def verdicts(self) -> Path:
        """Table: what every rule and subset says of every page."""
        return self.out / "verdicts"

    @property
    def sweep(self) -> Path:
        """The names of the subsets, in order."""
        return self.out / "subsets" / "sweep.json"

    @property
    def sweep_tables(self) -> Path:
        """The tables of a sweep: what every level would keep."""
        return self.out / "sweep"

    def subset(self, name: str) -> Path:
        """The kept pages of a subset: data alone, so that any loader takes the folder."""
        return self.out / "subsets" / name

    def subset_books(self, name: str) -> Path:
        """The manifest of a subset's pages, where no loader looks."""
        return self.out / "subsets" / "_books" / name

    def subset_facts(self, name: str) -> Path:
        """What is known of a subset: its rules as asked and as resolved, its sizes."""
        return self.out / "subsets" / f"{name}.json"

    @property
    def shuffled(self) -> Path:
        """While subsets are written in random order: the pages of each part by bucket."""
        return self.out / "subsets" / ".shuffled"

    @property
    def all_removed(self) -> Path:
        """The folder of what levels remove."""
        return self.out / "removed"

    def removed(self, name: str) -> Path:
        """The pages that a level removes: data alone, as for subsets."""
        return self.all_removed / name

    def removed_books(self, name: str) -> Path:
        """The manifest of the pages that a level removes."""
        return self.all_removed / "_books" / name

    @property
    def models(self) -> Path:
        """The tokenizer and the learned signals."""
        return self.out / "models"

    def classifier(self, name: str) -> Path:
        """The folder of a learned signal: its model and card."""
        return self.models / name

    @property
    def tokenizer(self) -> Path:
        """The tokenizer that every subset shares."""
        return self.models / "tokenizer"

    def packed(self, subset: str, context: int, replicate: int) -> Path:
        """The tokens of a subset that a replicate reads, for models of one context."""
        return self.packs / subset / f"{context}-{replicate}.bin"

    def packed_facts(self, subset: str, context: int) -> Path:
        """Which pages the replicates of a subset draw from, and how far they read the same."""
        return self.packs / subset / f"{context}.json"

    @property
    def slices(self) -> Path:
        """While packing: what each part gives to the streams."""
        return self.packs / ".slices"

    @property
    def edited(self) -> Path:
        """While packing: the folder of the tables `tokens` and `token_ids` of edited text."""
        return self.packs / ".edited"

    @property
    def evaluated(self) -> Path:
        """The encoded pages that every run is evaluated on."""
        return self.packs / "evaluated.parquet"

    @property
    def tasks(self) -> Path:
        """Items of benchmarks and lm-eval's task files that read them."""
        return self.out / "tasks"

    @property
    def all_requests(self) -> Path:
        """What every run is asked in tasks."""
        return self.packs / "tasks"

    def requests(self, task: str) -> Path:
        """What every run is asked in a task, encoded; facts about it beside it, as JSON."""
        return self.all_requests / f"{task}.parquet"

    @property
    def task_facts(self) -> Path:
        """Which tasks tell levels apart, and where their items come from."""
        return self.out / "results" / "tasks.json"

    @property
    def held_out_kept(self) -> Path:
        """Which of the held-out pages that runs are evaluated on each level would keep."""
        return self.out / "results" / "held_out_kept.parquet"

    @property
    def all_items(self) -> Path:
        """What runs answered: a folder for each run."""
        return self.out / "results" / "items"

    def items(self, subset: str, trained: str, replicate: int, task: str) -> Path:
        """One row an item: what one run answered in a task."""
        return self.all_items / subset / trained / str(replicate) / f"{task}.parquet"

    @property
    def packs(self) -> Path:
        """The folder of all that is packed."""
        return self.out / "packed"

    @property
    def runs(self) -> Path:
        """The folder of all models."""
        return self.out / "runs"

    def run(self, subset: str, trained: str, replicate: int) -> Path:
        """One model; `trained` names size, tokens and learning rate."""
        return self.runs / subset / trained / str(replicate)

    @property
    def experiment(self) -> Path:
        """The experiment file as it was understood."""
        return self.out / "experiment.yaml"

    @property
    def compared(self) -> Path:
        """Rule sets side by side."""
        return self.out / "compare.json"

    @property
    def overlap(self) -> Path:
        """How far scorers keep the same pages."""
        return self.out / "overlap.json"

    @property
    def results(self) -> Path:
        """One row a measurement."""
        return self.out / "results.jsonl"

    @property
    def explorer(self) -> Path:
        """The page with sliders."""
        return self.out / "explore.html"

    def report(self, ending: str) -> Path:
        """The report: html, md, its figure as svg and as json, its table as csv."""
        return self.out / f"report.{ending}"

    def beside(self, ending: str) -> Path:
        """This experiment beside another one: html or md."""
        return self.out / f"beside.{ending}"
