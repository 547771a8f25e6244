"""Benchmarks: ours beside the peers and beside the limit, in one run."""
