# `make help` lists the targets. A fresh machine needs Python 3.10+, a Rust toolchain and make; the rest is fetched.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TOOLS := .tools
UV := $(shell command -v uv 2>/dev/null || echo $(TOOLS)/bin/uv)
UV_VERSION := 0.13.9
RUN := $(UV) run --no-sync

.PHONY: help setup demo test check soak fuzz memcheck format bench bench-compare clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(TOOLS)/bin/uv:
	python3 -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

setup: $(filter $(TOOLS)/%,$(UV)) ## build the core and install everything into .venv
	$(UV) sync --locked --all-extras

demo: setup ## start a server, register examples/, run them on real data, show the results
	$(RUN) python examples/demo.py

test: setup ## every test of the project
	cargo test --workspace --exclude flyte-kernel-py --locked --release
	UV=$(UV) $(RUN) pytest

check: setup ## format, lints and types of Rust and Python, the stub, the import contracts
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --release -- -D warnings
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) pyright
	$(RUN) stubtest flyte_kernel._core
	$(RUN) lint-imports

SEED ?= 1000000
SEEDS ?= 1000000
EXAMPLES ?= 100000

soak: setup ## a million seeded lives of a server; SEED is the first, SEEDS how many
	FLYTE_KERNEL_SEED=$(SEED) FLYTE_KERNEL_SEEDS=$(SEEDS) $(RUN) pytest -q --timeout=0 tests/simulation

fuzz: setup ## damaged bytes for every decoder; EXAMPLES is how many for each
	FLYTE_KERNEL_EXAMPLES=$(EXAMPLES) $(RUN) pytest -q --timeout=0 tests/property/test_decoders.py

memcheck: setup ## views of the core's memory under valgrind, which must be installed
	$(RUN) python -m tests.memcheck

format: ## rewrite the code in the project's format
	cargo fmt --all
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

bench-compare: bench ## fail if a row is farther from its limit than in bench/baseline.json
	$(RUN) python -m bench.compare

bench: setup ## measure against rivals and limits, print the table
	UV=$(UV) $(RUN) python -m bench $(WHAT)
	FLYTE_KERNEL_BENCH=real $(RUN) pytest bench -q --benchmark-enable --benchmark-sort=mean --timeout=0

clean: ## remove everything that was built
	rm -rf target .venv .tools dist flyte_kernel/_core*.so
