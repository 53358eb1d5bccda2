# Needs git, make and Python 3.11 or later; everything else goes into .venv.
PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# A stamp for every set of requirements, so that each is installed once and the demo does not wait
# for the tools of the tests.
STAMP := $(VENV)/.installed
# A process a core; more than eight would wait for memory rather than for each other. Each goes through
# tests that stand together, which share compiled programs.
PYTEST := -q -n auto --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all lint format generate docs site bench clean

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("fnopt needs Python 3.11 or later: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# The interpreter's own date is that of the system's, hence order-only (|).
$(STAMP)-demo: EXTRAS := train,lab
$(STAMP)-all: EXTRAS := all
$(STAMP)-docs: EXTRAS := docs
$(STAMP)-demo $(STAMP)-all $(STAMP)-docs: pyproject.toml | $(BIN)/python
	@$(BIN)/python tools/install.py '$(EXTRAS)'
	@touch $@

demo: $(STAMP)-demo  ## train a small network; a picture and a log of it are left in out/
	$(BIN)/fnopt train --out out $(ARGS)

test: $(STAMP)-all  ## the tests, and every example in the documentation
	$(BIN)/python -m pytest $(PYTEST) $(ARGS)

test-all: $(STAMP)-all  ## the slow tests too
	$(BIN)/python -m pytest $(PYTEST) -m '' $(ARGS)

lint: $(STAMP)-all  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(STAMP)-all  ## put the style right where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(STAMP)-all  ## write what is drawn from the methods: fnopt/__init__.py, docs/reference
	$(BIN)/python tools/face.py
	$(BIN)/python -m tools.pages

docs: $(STAMP)-docs  ## the pages of docs/ as HTML under build/docs; they run the cells that they show
	@rm -rf build/docs build/docs.sources
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --doctree-dir build/doctrees \
		$(ARGS) docs build/docs
	@# For tests/test_built_site.py: the sources of the whole site, built without other arguments.
	@$(if $(ARGS),,$(BIN)/python docs/_ext/sources.py >build/docs.sources)
	@echo build/docs/index.html

site: docs  ## the same, packed for any static host, as dist/fnopt-docs.tar.gz
	@mkdir -p dist
	tar -czf dist/fnopt-docs.tar.gz --exclude .buildinfo -C build docs

bench: $(STAMP)-all  ## time a step beside optax's (see benchmarks/README.md)
	$(BIN)/python benchmarks/step.py $(ARGS)

clean:  ## remove what make has made
	rm -rf $(VENV) build dist out .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
