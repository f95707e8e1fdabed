# One door for everybody: few words, and each brings what it needs.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test test-all lint check bench format lock clean

help:  ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Muster needs Python 3.11 or later; set PYTHON=python3.11 or the like")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@rm -rf *.egg-info  # an old one here would hide the entry points of the new
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## Start Muster with its local workspace and the simulated AI service
	@$(BIN)/muster demo

test: $(READY) lint  ## Everything that pip alone can bring
	$(BIN)/python -m pytest -q -n 4 --dist worksteal -m "not debian and not slow"

test-all: test debian  ## And what Debian's and npm's parts prove
	$(BIN)/python -m pytest -q -n 4 --dist worksteal -m "debian or slow"  # they wait more than they work

.PHONY: debian
debian: $(READY)
	@tests/debian.sh
	@tests/npm.sh

lint: $(READY)  ## ruff, mypy, the rooms' borders, the Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/Dockerfile

check: test  ## The same as test

bench: $(READY)  ## Measure against the limits of this machine, in one run
	$(BIN)/python -m tests.bench

format: $(READY)  ## Lay out the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

lock: $(READY)  ## Choose the newest versions that fit
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--group dev --extra postgres --extra aws pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--extra postgres --constraints requirements.lock pyproject.toml -o docker/requirements.lock
	printf 'setuptools\nwheel\n' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --constraints requirements.lock - -o docker/build.lock

clean:  ## Remove the environment and all state of the demo
	rm -rf $(VENV) .muster .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
