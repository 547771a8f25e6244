"""read, without Spark: what the experiment file says of pages reaches the reader."""

from jobs import read
from jobs.parts.experiment_file import Experiment
from jobs.shards.reader import read_shard
from jobs.shards.reasons import ShardReport


def options(**limits):
    return read._options(Experiment.model_validate({"pages": {"from": ["a.warc"], "limits": limits}}))


def test_a_bound_on_bytes_rejects_the_larger_pages_of_a_warc_and_no_others(made_crawl):
    shard = str(made_crawl / "made-0.warc.gz")
    counts = {}
    for most in (1, 1500, 10_000_000):
        report = ShardReport()
        pages = list(read_shard(shard, options(bytes=most), report))
        assert len(pages) == 120 and report.balanced()
        counts[most] = report.counts["too_large"]
    assert counts[1] == 120
    assert 0 < counts[1500] < 120
    assert counts[10_000_000] == 0


def test_limits_that_are_not_named_keep_their_defaults():
    assert options(characters=5).limits.bytes == 10_000_000
