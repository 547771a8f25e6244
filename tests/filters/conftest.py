"""What the tests of the peers' readings share: the golden values, and how a preset's verdicts are read off a group."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from filters.pages import PageBatch
from filters.rules import Pool, parse, resolve_in
from filters.signals import configure, load_groups
from filters.strict_yaml import read_yaml

GOLDEN = Path(__file__).parent / "golden" / "cross.json"
PRESETS = Path(__file__).resolve().parents[2] / "conf" / "rules"


class Reading:
    """One peer's values and failing rules on the hand-made texts, beside ours."""

    def __init__(self, peer, groups):
        golden = json.loads(GOLDEN.read_text())
        self.golden, self.texts = golden[peer], golden["texts"]
        self.names = list(self.golden["pages"])
        pages = PageBatch(pa.array([self.texts[name] for name in self.names]))
        self.columns = {}
        for group in groups:
            batch = configure(group, {}, load_groups("filters")).measure(pa.array(self.names), pages)
            self.columns |= dict(zip(batch.schema.names, batch.columns, strict=True))

    def differing_values(self, names):
        """(text, column, theirs, ours) wherever ours is further than 1e-6 from theirs; `names`: golden -> our column."""
        for key, ours in names.items():
            at = self.golden["columns"].index(key)
            for name, value in zip(self.names, self.columns[ours].to_pylist(), strict=True):
                theirs = self.golden["pages"][name][0][at]
                if (theirs is None) != (value is None) or (value is not None and abs(value - theirs) > 1e-6):
                    yield name, key, theirs, value

    def differing_verdicts(self, presets, names, renamed=None):
        """(text, theirs, ours) wherever the preset's failing rules, each alone, are not the peer's."""
        rules = {}
        for preset in presets:
            rules |= read_yaml((PRESETS / f"{preset}.yaml").read_text())["rules"]
        rules = {(renamed or {}).get(signal, signal): rule for signal, rule in rules.items()}
        assert set(rules) == set(names)
        pool = Pool(self.names, self.columns, {"pages": None})
        failing = {names[one.rule.signal]: ~one.passes(pool) for one in resolve_in(pool, parse(rules))}
        for at, name in enumerate(self.names):
            ours = {rule for rule, fails in failing.items() if fails[at]}
            theirs = set(self.golden["pages"][name][1])
            if ours != theirs:
                yield name, theirs - ours, ours - theirs


@pytest.fixture(scope="session")
def reading():
    """`reading(peer, groups)`: the golden values of a peer and our columns for the same texts."""
    return Reading


@pytest.fixture(scope="session")
def crawl_texts(shared_data):
    """The first 50 pages of a real shard, 20,000 characters of each; in many languages."""
    with (shared_data / "crawl" / "sample-00000.warc.wet.gz").open("rb") as shard:
        records = ArchiveIterator(shard, record_types=WarcRecordType.conversion)
        return [
            record.reader.read().decode("utf-8", "replace")[:20_000] for record, _ in zip(records, range(50), strict=False)
        ]
