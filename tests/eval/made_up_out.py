"""A made-up experiment folder in the format the jobs write: texts drawn from a short word list, losses from a formula.

Held-out loss has its best level in the middle and the reference set only improves, so that the report has a shape to show.
"""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from filters.agreement import RuleSet, compare

WORDS = ["kettle", "harbour", "seven", "lanterns", "drift", "over", "a", "quiet", "orchard", "the", "and", "spoons", "hums"]
TRAINED = "0.2m-300000-0.005"
DOMAINS = ["orchard.example", "harbour.example", "lantern.example", "spoon.example"]
RULES = ["word_count min 20", "mean_word_length min 3 max 10", "stop_word_count min 2"]
RULES_ASKED = {
    "word_count": {"min": 20},
    "mean_word_length": {"min": 3, "max": 10},
    "stop_word_count": {"keep_fraction": 0.3, "within": "language", "weight": "bytes"},
}
RULES_RESOLVED = {**RULES_ASKED, "stop_word_count": {"min": {"deu": 0.65125, "eng": 0.7134, "jpn": 2.0}}}
HELP = {"none": 0.0, 1: -0.045, 2: -0.06, 3: -0.07, 5: -0.02, 9: 0.09}


def text_of(rng, words):
    return (
        " ".join(rng.choice(WORDS, words)) + f". Write to anna{rng.integers(99)}@orchard.example or call +44 20 7946 0958."
    )


def build(
    out,
    levels=("none", 1, 3, 9),
    replicates=(0, 1),
    pages=240,
    hostile=(),
    held_out_pages=180,
    controls=True,
    domains=4,
    seed=0,
    second=(),
):
    """Write a whole `out/` folder; `hostile` strings take the place of texts, addresses, languages and one rule.

    `second`: the values of a second key, `rules.url.max`, that changes nothing; the levels are then a grid.
    """
    rng = np.random.default_rng(seed)
    out = Path(out)
    rules = [*RULES[:2], *(hostile or RULES[2:])]
    subsets = plan(levels, controls, second)
    table = pages_table(rng, pages, hostile)
    keeps = verdicts_table(rng, table, rules, subsets)
    for name, columns in (
        ("pages", table),
        ("verdicts", keeps),
        ("signals/language", pa.table({"id": table["id"], "language": language_column(rng, pages, hostile)})),
        ("signals/quality", pa.table({"id": table["id"], "quality": rng.random(pages)})),
    ):
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(columns, folder / "part-0.parquet")
        manifest(folder, name, pages)
    write_subsets(out, subsets, table, keeps, rules, levels)
    write_comparison(out, table, keeps, rules)
    write_cards(out, hostile)
    write_packed_facts(out, subsets, replicates)
    write_runs(rng, out, subsets, replicates, held_out_pages, [*hostile, *DOMAINS][:domains])
    (out / "experiment.yaml").write_text(
        "out: out/made-up\npages:\n  from: [data/sample/*.warc.gz]\ntokenizer: {vocabulary: 4096}\n"
        "train: {model: 0.2m, tokens: 300000, regime: fresh, replicates: 2}\n"
        "storage:\n  fs.s3a.secret.key: canary-in-the-mine\n" + "".join(f"# {text}\n" for text in hostile)
    )
    return out


def plan(levels, controls, second=()):
    """Name, control, of, value, strength."""
    rows = [("unfiltered", "unfiltered", None, None, None)] if controls else []
    if second:
        cells = [(value, other) for value in levels for other in second]
        return rows + [(f"quality-pareto-{v}_url-max-{w}", None, None, v, at) for at, (v, w) in enumerate(cells)]
    rows += [(f"quality-pareto-{value}", None, None, value, at) for at, value in enumerate(levels)]
    for control in ("random", "inverted") if controls else ():
        of = [
            (f"{control}-quality-pareto-{value}", control, f"quality-pareto-{value}", value, at)
            for at, value in enumerate(levels)
        ]
        rows += of
    return rows


def levels_of(name, value):
    _, url, other = name.partition("_url-max-")
    return {"rules.quality.pareto": value} | ({"rules.url.max": other} if url else {})


def pages_table(rng, pages, hostile):
    texts = [text_of(rng, int(rng.integers(5, 90))) for _ in range(pages)]
    urls = [f"https://{DOMAINS[at % len(DOMAINS)]}/page/{at}" for at in range(pages)]
    for at, text in enumerate(hostile):
        for copy in range(at, pages, len(hostile)):
            texts[copy], urls[copy] = text, text
    ids = [f"urn:page:{at}" for at in range(pages)]
    return pa.table({"id": ids, "url": urls, "text": pa.array(texts, pa.large_string())})


def language_column(rng, pages, hostile):
    return (
        rng.choice([*hostile, "eng"], pages)
        if hostile
        else rng.choice(["eng", "deu", "fra", "jpn"], pages, p=[0.7, 0.15, 0.1, 0.05])
    )


def verdicts_table(rng, table, rules, subsets):
    n = table.num_rows
    columns = {"id": table["id"], "held_out": rng.random(n) < 0.1, "copy_of_held_out": np.zeros(n, bool)}
    base = np.ones(n, bool)
    for rule in rules:
        columns[f"rule {rule}"] = rng.random(n) > 0.5 / len(rules)
        base &= columns[f"rule {rule}"]
    draw = rng.random(n)
    for name, control, _, value, _ in subsets:
        keep = base & (draw < 1 / (1 + 0.8 * (0 if value in (None, "none") else float(value))))
        if control is None:
            columns[f"rule quality pareto {value}"] = draw < 1 / (1 + 0.8 * (0 if value == "none" else float(value)))
        if control == "unfiltered":
            keep = np.ones(n, bool)
        elif control in ("random", "inverted"):
            keep = rng.permutation(keep)
        columns[f"subset {name}"] = keep & ~columns["held_out"]
    return pa.table(columns)


def manifest(folder, name, rows):
    facts = {
        "stage": name,
        "config_hash": "0123456789abcdef",
        "versions": {"goodhart": "0.1.0", "pyarrow": "24.0.0", "python": "3.11.9"},
        "rows": rows,
        "counts": {"records": 900, "pages": rows, "record_request": 300, "mime_not_text": 41, "truncated": 1}
        if name == "pages"
        else {},
        "damaged": [
            {"part": "shard-3.warc.gz", "offset": 18230, "reason": "truncated", "detail": "the shard ends inside a record"}
        ]
        if name == "pages"
        else [],
    }
    (folder / "_manifest.json").write_text(json.dumps(facts))


def size(table, mask):
    texts = table["text"].filter(pa.array(mask)).to_pylist()
    total = sum(len(text.encode(errors="replace")) for text in texts)
    return {"pages": len(texts), "bytes": total, "tokens": total // 4}


def write_subsets(out, subsets, table, keeps, rules, levels):
    pool = ~keeps["held_out"].to_numpy()
    for name, control, of, value, strength in subsets:
        asked = [*rules] + ([f"quality pareto {value}"] if value not in (None, "none") else [])
        asked = [] if control in ("unfiltered", "random") else asked
        passes = {rule: keeps[f"rule {rule}"].to_numpy() for rule in asked}
        fails = sum((~mask).astype(int) for mask in passes.values()) if passes else np.zeros(table.num_rows, int)
        seen, dropped = np.zeros(table.num_rows, bool), []
        for rule, mask in passes.items():
            parts = {"alone": ~mask & pool, "uniquely": ~mask & (fails == 1) & pool, "in_order": ~mask & ~seen & pool}
            seen |= ~mask
            dropped.append({"rule": rule, "signal": rule.split()[0], **{key: size(table, at) for key, at in parts.items()}})
        facts = {
            "name": name,
            "control": control,
            "of": of,
            "levels": {} if control == "unfiltered" else levels_of(name, value),
            "strength": strength,
            "rules": RULES_ASKED | ({"quality": {"pareto": value}} if value not in (None, "none") else {}),
            "resolved": RULES_RESOLVED | ({"quality": {"pareto": value}} if value not in (None, "none") else {}),
            "in": size(table, pool),
            "kept": size(table, keeps[f"subset {name}"].to_numpy()),
            "dropped": dropped,
            "dropped_by_language": {
                row["rule"]: {"eng": row["alone"]["pages"] // 2, "deu": row["alone"]["pages"] // 4} for row in dropped
            },
            "held_out": {"by": "domain", "share": 0.1, "pages": int((~pool).sum()), "copies_dropped": 0},
            "status": "ok",
            "config_hash": "0123456789abcdef",
            "version": "0.1.0+unknown",
        }
        (out / "subsets").mkdir(parents=True, exist_ok=True)
        (out / "subsets" / f"{name}.json").write_text(json.dumps(facts))
    known = pq.read_table(out / "signals" / "language" / "part-0.parquet")["language"].filter(pa.array(pool)).to_pylist()
    names, languages = [row[0] for row in subsets], dict(Counter(known))
    sweep = {"sweep": {"rules.quality.pareto": list(levels)}, "subsets": names, "languages": languages}
    (out / "subsets" / "sweep.json").write_text(json.dumps(sweep))


def write_packed_facts(out, subsets, replicates):
    """What packing tells: the hardest level is too small for folds of its own."""
    for name, *_, strength in subsets:
        own = strength is None or strength < 3
        fold = {"fold": "own" if own else "whole pool", "pool": 900_000 if own else 500_000, "tokens": 300_001}
        fold |= {"slices": 2_400, "pages": 410 if own else 95}
        shared = {"tokens": 0.0, "pages": 0.0} if own else {"tokens": 0.61, "pages": 0.83}
        facts = {"status": "ok", "reason": "", "replicates": {str(one): fold for one in replicates}, "shared": shared}
        (out / "packed" / name).mkdir(parents=True)
        (out / "packed" / name / "128.json").write_text(json.dumps(facts))


def write_comparison(out, table, keeps, rules):
    """`compare.json`: the first two rules beside all of them."""
    passes = {rule: keeps[f"rule {rule}"].to_numpy() for rule in rules}
    sets = [RuleSet("two rules", {rule: passes[rule] for rule in rules[:2]}), RuleSet("all rules", passes)]
    languages = pq.read_table(out / "signals" / "language" / "part-0.parquet")["language"].to_pylist()
    found = compare(sets, table["id"].to_pylist(), languages, 3, 0)
    pages = {row["id"]: row for row in table.to_pylist()}
    told = asdict(found) | {"agreement": found.agreement.tolist()}
    for one in told["differences"]:
        one["sample"] = [{**pages[page], "text": pages[page]["text"][:300]} for page in one["sample"]]
    (out / "compare.json").write_text(json.dumps(told))


def write_cards(out, hostile=()):
    """Two scorers' cards, the second of perplexities, and what they share; hostile strings are words, sides and columns."""
    names = [*hostile, "quality", "perplexity_prose"][:2]
    for name, column, lower in (("quality", names[0], False), ("prose", names[1], True)):
        sides = dict(zip([*hostile[:2], "positives", "negatives"], (120, 130), strict=False))
        told = {
            "lower_is_better": lower,
            "medians": dict.fromkeys(sides, 0.5),
            "not_measured": 0,
            "area_under_curve": 0.91,
            "histogram": {"edges": [0.0, 0.5, 1.0], "positives": [3, 9], "negatives": [11, 2], "logarithmic": lower},
            "judged_on": 13,
            "length_correlation": -0.25,
            "styles": {"lower case": {"changed": 1.0, "flipped": 0.12}},
            "telling": {"highest": [[word, 2.5] for word in [*hostile, "harbour"]], "lowest": [["hums", -1.5]]},
        }
        card = {
            "kind": "fasttext",
            "trained_on": sides,
            "trained_on_hash": dict.fromkeys(sides, "ab" * 32),
            "sources": {side: {"from": [*hostile, "good.jsonl"], "files": 1, "hash": "00"} for side in sides},
            "columns": {column: told},
        }
        if not lower:
            tenths = [{"pages": 2, "mean_score": at / 10, "positives": at / 10} for at in range(10)]
            measured = {"precision": 0.75, "recall": None, "calibration": tenths, "spread": {"warning": None}}
            card["held_out"] = measured
        folder = out / "models" / name
        folder.mkdir(parents=True)
        (folder / "model.json").write_text(json.dumps(card))
    shares = [[[1.0, 0.25], [0.25, 1.0]]] * 3
    overlap = {"columns": names, "shares": [0.1, 0.3, 0.5], "kept": [[20, 20], [60, 61], [100, 100]], "jaccard": shares}
    (out / "overlap.json").write_text(json.dumps(overlap))


def write_runs(rng, out, subsets, replicates, pages, names):
    domains = np.array(names)[rng.integers(0, len(names), 2 * pages)]
    lengths = rng.integers(400, 6000, 2 * pages)
    sets = np.repeat(["held_out", "reference"], pages)
    page_level = 2.3 + 0.35 * rng.standard_normal(2 * pages) + 0.1 * (np.char.str_len(domains) % 5)
    rows = []
    for name, control, _, value, strength in subsets:
        help_ = help_of(control, value, strength)
        leans = 0 if control == "random" else 0.05 * (strength or 0)  # chance has no taste
        taste = rng.normal(0, 0.02, 2 * pages) + leans * (np.char.str_len(domains) % 3 - 1) * (sets == "held_out")
        for replicate in replicates:
            noise = rng.normal(0, 0.004)
            bits = (
                page_level + taste + noise + np.where(sets == "held_out", help_, -0.05 * (strength or 0) * (control is None))
            )
            table = pa.table(
                {
                    "id": [f"urn:evaluated:{at}" for at in range(2 * pages)],
                    "set": sets,
                    "passes": np.ones(2 * pages, bool),
                    "in_pool": sets == "held_out",
                    "site": domains,
                    "cluster": domains,
                    "stratum": np.repeat("all", 2 * pages),
                    "language": np.repeat("eng", 2 * pages),
                    "bytes": lengths,
                    "nll": bits * lengths * np.log(2),
                }
            )
            folder = out / "runs" / name / TRAINED / str(replicate)
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, folder / "evaluation.parquet")
            summary = {
                "status": "finished",
                "parameters": 171_264,
                "tokens": 300_000,
                "steps": 146,
                "seconds": 11.4,
                "device": "cpu",
                "epochs": 1.0,
            }
            (folder / "summary.json").write_text(json.dumps(summary))
            rows += result_rows(name, replicate, sets, domains, bits, lengths)
    (out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def help_of(control, value, strength):
    if control == "unfiltered":
        return 0.03
    helped = HELP.get(value, 0.0 if value == "none" else 0.004 * (float(value) - 40) ** 2 / 400)
    return {"random": 0.0, "inverted": 0.05 + 0.09 * (strength or 0)}.get(control, helped)


def result_rows(name, replicate, sets, domains, bits, lengths):
    rows = []
    for which in ("held_out", "reference"):
        values = {}
        for domain in ["all", *sorted(set(domains))]:
            at = (sets == which) & ((domains == domain) | (domain == "all"))
            if at.any():
                values[domain] = float((bits * lengths)[at].sum() / lengths[at].sum()), int(at.sum()), int(lengths[at].sum())
        mean = float(np.mean([value for domain, (value, _, _) in values.items() if domain != "all"]))
        values["macro"] = mean, *values["all"][1:]
        rows += [
            {
                "subset": name,
                "replicate": replicate,
                "metric": "bits_per_byte",
                "set": which,
                "domain": domain,
                "value": value,
                "n": pages,
                "bytes": total,
                "tokens_trained": 300_000,
                "parameters": 171_264,
                "device": "cpu",
                "commit": "unknown",
                "config_hash": "0123456789abcdef",
            }
            for domain, (value, pages, total) in values.items()
        ]
    return rows
