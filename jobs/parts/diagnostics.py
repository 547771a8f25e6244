"""What is measured of runs beside bits per byte: on the pages that each level would keep, by exposure, and late in training.

Every measurement is a row of `results.jsonl` with a `set` of its own, so none is taken for one of the verdict's.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eval import exposure
from eval.bits_per_byte import bits_per_byte
from eval.evaluation import VARIETY
from filters.files import sha256_of
from filters.rules import SAMPLE
from jobs.parts import passes, session, storage
from jobs.parts.experiment_file import Experiment, config_hash
from jobs.parts.made_by import note, say_made
from jobs.parts.places import Places
from jobs.parts.presets import levels_of
from jobs.parts.table import Part, identity_of, parts_of, sidecar

Truth = npt.NDArray[np.bool_]
KEPT_BY = "kept by "
"""Begins the `set` of held-out pages that a level would keep."""
EXPOSURE, LEAST_SEEN, READ, LATE = "exposure", "least seen", "read", "late"
MOST_SITES = 5


def write_kept(experiment: Experiment) -> pa.Table:
    """What the rules of each level say of the held-out pages that runs are evaluated on: a flag a level, in their order.

    The pages were chosen for no level, so their verdicts were never used; a sample by hash says nothing of a page.
    """
    places = Places(experiment.out)
    levels = [level.name for level in levels_of(experiment) if level.control is None]
    dropped = {level: storage.read_json(places.subset_facts(level))["dropped"] for level in levels}
    rules = {level: [f"rule {one['rule']}" for one in some if one["signal"] != SAMPLE] for level, some in dropped.items()}
    file = places.held_out_kept
    config = {"rules": rules, "pages": sha256_of(places.evaluated), "verdicts": identity_of(places.verdicts)}
    if storage.exists(note(file)) and storage.read_json(note(file))["config_hash"] == config_hash(config):
        return storage.read_table(file)
    pages = storage.read_table(places.evaluated, ["id", "set"])
    ids = pages.filter(pc.equal(pages["set"], "held_out"))["id"].combine_chunks()
    needed = sorted({rule for some in rules.values() for rule in some})

    def of_part(part: Part) -> pa.Table:
        verdicts = sidecar(places.verdicts, part, ["id", *needed])
        return verdicts.filter(pc.is_in(verdicts["id"], value_set=ids))

    spark, parts = session.session("evaluate"), parts_of(places.pages)
    found = passes.merged(spark, "evaluate", parts, of_part, pa.concat_tables)
    verdicts = found.take(pc.index_in(ids, value_set=found["id"].combine_chunks()))
    kept = pa.table({"id": ids} | {level: passing(verdicts, some) for level, some in rules.items()})
    storage.write_table(file, kept)
    say_made(file, config)
    return kept


def passing(verdicts: pa.Table, rules: Sequence[str]) -> Truth:
    """Which pages pass all of some rules; bool (pages,)."""
    columns = [verdicts[rule].to_numpy() for rule in rules]
    return np.asarray(np.logical_and.reduce([np.ones(len(verdicts), bool), *columns]), bool)


def matrix(rows: pa.Table, kept: pa.Table) -> Iterator[dict[str, Any]]:
    """One run on the pages that each level would keep, of those that models are judged by: all together, and by stratum.

    `rows`: the run's evaluation; `kept`: what `write_kept` gives. A level that would keep none has no row.
    """
    rows = rows.filter(pc.equal(rows["set"], "held_out"))
    if not rows["id"].combine_chunks().equals(kept["id"].combine_chunks()):
        raise ValueError("the run was evaluated on other pages than the verdicts are of: run jobs.evaluate again")
    judged, strata = rows["passes"].to_numpy(), np.array(rows["stratum"].to_pylist(), object)
    nll, size = rows["nll"].to_numpy(), rows["bytes"].to_numpy()
    for level in kept.column_names[1:]:
        here = judged & kept[level].to_numpy()
        if size[here].sum():
            parts = [here & (strata == part) for part in sorted(set(strata[here]))]
            each = [bits_per_byte(nll[part], size[part]) for part in parts if size[part].sum()]
            values = {"all": bits_per_byte(nll[here], size[here]), "macro": float(np.mean(each))}
            for domain, value in values.items():
                about = {"value": value, "n": int(here.sum()), "bytes": int(size[here].sum())}
                yield {"metric": "bits_per_byte", "set": f"{KEPT_BY}{level}", "domain": domain, **about}


def by_exposure(found: pa.Table) -> Iterator[dict[str, Any]]:
    """What a run needs for each token of held-out pages, by how often it read the token's entry; and what it read.

    `found`: the run's exposure. Bins that double; one without held-out tokens has no bits.
    """
    seen, held_out, nats = (found[name].to_numpy() for name in exposure.SCHEMA.names)
    of_bin = exposure.bins(seen)
    for number in range(int(of_bin.max(initial=0)) + 1):
        here = of_bin == number
        tokens = int(held_out[here].sum())
        value = float(nats[here].sum() / np.log(2) / tokens) if tokens else None
        about = {"value": value, "n": tokens, "entries": int(here.sum())}
        yield {"metric": "bits_per_token", "set": EXPOSURE, "domain": exposure.bin_name(number), **about}
    told: Mapping[str, Any] = json.loads(found.schema.metadata[VARIETY])
    values = {
        "type_token_ratio": told["types"] / told["tokens"],
        "compression": told["compression"],
        "bytes_read": told["bytes"],
    }
    for metric, value in values.items():
        yield {"metric": metric, "set": READ, "domain": "all", "value": value, "n": told["tokens"]}


def least_seen(found: pa.Table, pages: pa.Table) -> Iterator[dict[str, Any]]:
    """The sites that hold most held-out tokens whose entries the run read fewer than eight times, and the share they are.

    `pages`: those that models are judged by, with `site` and `tokens`.
    """
    lists = pages["tokens"].combine_chunks()
    few = found["seen"].to_numpy()[lists.values.to_numpy()] < exposure.FEW
    sites, of_page = np.unique([site or "no domain" for site in pages["site"].to_pylist()], return_inverse=True)
    of_token = np.repeat(of_page, np.diff(lists.offsets.to_numpy()))
    held, of_few = np.bincount(of_token, minlength=len(sites)), np.bincount(of_token, few, len(sites))
    for at in sorted(range(len(sites)), key=lambda at: (-of_few[at], sites[at]))[:MOST_SITES]:
        if of_few[at]:
            about = {"value": float(of_few[at] / held[at]), "n": int(of_few[at])}
            yield {"metric": "share_of_tokens", "set": LEAST_SEEN, "domain": str(sites[at]), **about}


def judged_pages(experiment: Experiment) -> pa.Table:
    """Site and tokens of the held-out pages that models are judged by."""
    pages = storage.read_table(Places(experiment.out).evaluated, ["set", "passes", "site", "tokens"])
    pages = pages.filter(pc.and_(pc.equal(pages["set"], "held_out"), pages["passes"]))
    return pa.table({"site": pages["site"], "tokens": pa.concat_arrays(pages["tokens"].chunks)})
