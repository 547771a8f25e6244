.DEFAULT_GOAL := help
.PHONY: help setup kenlm-tools check test demo bench planted mutate torture fuzz

PY := .venv/bin/python
READY := .venv/.ready
CLASSES := .venv/.classes
comma := ,
space := $(subst ,, )
crawl = [$(subst $(space),$(comma),$(foreach shard,$(CRAWL),"$(shard)"))]

help: ## List what make can do
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-11s  %s\n", $$1, $$2}'

setup: $(CLASSES) ## Make .venv with the pinned packages, a compiler and Java 17 (PYTHON=... picks the interpreter)

$(READY): requirements.txt pyproject.toml .ci/setup
	@PYTHON='$(PYTHON)' .ci/setup

$(CLASSES): $(READY)
	@$(PY) -m jobs.parts.java_start && touch $@ || echo "setup: goes on without an archive of Spark's classes"

kenlm-tools: $(READY) ## Build KenLM's programs into .venv/bin, where set-up could not for want of Boost
	@.ci/setup kenlm-tools

check: $(READY) ## Lint, formatting and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

test: $(CLASSES) ## The tests, in two processes: each file stays in one, which shares its Spark session
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

demo: $(READY) ## The experiment on the sample crawl, or on your own: make demo CRAWL='crawl/*.warc.gz s3://...'
	$(PY) -m jobs.sample_crawl
ifdef CRAWL
	$(PY) -m jobs.experiment conf/crawl.yaml --set 'pages.from=$(crawl)'
else
	$(PY) -m jobs.experiment conf/demo.yaml
endif

bench: $(READY) ## The benchmarks on the shards at hand, beside their peers
	$(PY) -m jobs.bench

planted: $(READY) ## What the verdict says in worlds whose answer is known (some minutes)
	$(PY) -m jobs.bench.planted

torture: $(READY) ## Shards cut at every byte, full disks (as root), flipped bits, every verb killed on its way (an hour in all)
	$(PY) tests/hostile/cuts.py
	$(PY) tests/hostile/full_disk.py
	$(PY) tests/hostile/flips.py --flips 120
	$(PY) tests/hostile/kills.py

fuzz: $(READY) ## 1.4 million mutations, then kernels with their bounds checked (some minutes); SHARE=20 makes one in 20
	$(PY) tests/hostile/fuzz.py --share $(or $(SHARE),1)
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(CURDIR)/out/bounds-checked $(PY) tests/hostile/fuzz.py --share $(or $(SHARE),1) kernels

mutate: $(READY) ## Which wrong lines the tests do not notice (half an hour)
	$(PY) -m jobs.bench.mutants
