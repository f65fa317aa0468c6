# Two commands do everything: `make demo` and `make test`. Both build first; neither needs anything prepared.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := test,programs,check
PYTEST_ARGS ?=
# make test runs these many seconds at most before a hanging test suite is ended.
TEST_SECONDS ?= 3000
# And the RDMA tests, which run in a guest of their own (tests/rdma), these many.
RDMA_SECONDS ?= 900

.PHONY: help build demo test rdma-test check bench gpu-check wheel clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       see a CUDA program compute on a GPU that its process does not have"
	@echo "make test       build, check and run every test"
	@echo "make rdma-test  only the RDMA tests, in a guest kernel with RDMA devices (make test runs them too)"
	@echo "make build      make .venv and everything in it; leaves $(BIN)/remora"
	@echo "make check      linters, types, formatting, and whether generated code is up to date"
	@echo "make bench      measure; writes build/bench.json"
	@echo "make gpu-check  on a machine with an NVIDIA GPU: real programs, locally and remotely in turn"
	@echo "make wheel      build/wheels/remora-*.whl"
	@echo "make clean      remove what was built (.venv stays; remove it with rm -rf .venv)"

build: $(VENV)/.ready
	@echo "remora: building (only what changed)"
	$(BIN)/python setup.py -q build_ext --inplace
	[ -x $(BIN)/remora ] || PYTHONWARNINGS=ignore $(BIN)/python -m pip install -q --no-build-isolation --no-deps -e .
	$(BIN)/python -m tests.programs.toolchain
	echo "remora: built. Try: $(BIN)/remora --help"

$(VENV)/.ready: pyproject.toml .ci/prepare
	@PYTHON="$(PYTHON)" EXTRAS="$(EXTRAS)" .ci/prepare $(VENV)
	touch $@

demo: build
	@$(BIN)/python -m tests.programs.demo

# The guest that RDMA tests run in is made ready, at the lowest priority, while everything else runs.
test: $(VENV)/.ready
	@mkdir -p build
	$(BIN)/python -m tests.rdma --prepare >build/guest.log 2>&1 &
	guest=$$!
	trap 'kill $$guest 2>/dev/null || true' EXIT
	$(MAKE) --no-print-directory build check
	failed=0
	timeout --foreground --kill-after=20 $(TEST_SECONDS) $(BIN)/python -m pytest $(PYTEST_ARGS) || failed=1
	wait $$guest || cat build/guest.log
	timeout --foreground --kill-after=20 $(RDMA_SECONDS) $(BIN)/python -m tests.rdma || failed=1
	exit $$failed

rdma-test: build
	@$(BIN)/python -m tests.rdma

check: $(VENV)/.ready
	@PATH="$(CURDIR)/$(BIN):$$PATH" .ci/check

bench: build
	@mkdir -p build
	$(BIN)/python -m remora.bench --output build/bench.json

gpu-check:
	@PYTHON="$(PYTHON)" tests/gpu/check

wheel: $(VENV)/.ready
	@$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w build/wheels .
	ls build/wheels/*.whl

clean:
	@rm -rf build *.egg-info shim/lib engine/softgpu/lib
	find transport engine -name '*.so' -delete
