PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# locked, or newest or lowest: what setup.cfg allows. `make test VERSIONS=newest VENV=.venv-newest`
VERSIONS ?= locked
STAMP := $(VENV)/.ready-$(VERSIONS)
REAL := $(VENV)/.ready-real

.PHONY: setup lock run real smollm2 test quick soak families check docs dist clean

setup: $(STAMP)

$(STAMP): setup.cfg pyproject.toml requirements.lock constraints.txt .ci/install.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python .ci/install.py $(VERSIONS)
	touch $@

# Every package that `make setup` installs, pinned for all Pythons of setup.cfg; run it to take newer ones.
lock:
	test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet uv; }
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.11 --no-python-downloads --extra dev --extra docs \
		--constraint constraints.txt --custom-compile-command "make lock" --output-file requirements.lock setup.cfg

run: setup
	$(BIN)/compare run --behavior refusal --methods caa,sft,sysprompt,sft+caa

# The same of a real model, in English. Half of the pairs and one learning rate, the largest that auto would try: finetuning
# takes most of the time, and with all pairs and rates six times as much of it.
real: smollm2
	$(BIN)/compare run --model smollm2 --behavior formality,refusal --methods caa,sft,sysprompt,sft+caa \
		--train-items 48 --knowledge-items 150 --set sft.learning_rate=1e-3

smollm2: $(REAL)

$(REAL): $(STAMP) .ci/real.txt
	$(BIN)/python .ci/install.py real
	touch $@

# Modules that tests' processes import are compiled once, also where Python is told to write no bytecode.
PYTEST = VERSIONS=$(VERSIONS) OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

# Three at a time, of one thread each: on two cores, as some wait. A file's tests stay together and share what they make;
# tests/conftest.py says which files come first.
test: setup
	$(PYTEST) -n 3 --dist loadfile --no-loadscope-reorder

# What a contributor runs between edits: no training, no other process, no whole comparison.
quick: setup
	$(PYTEST) -n 2 --dist loadfile -m "not slow"

soak: setup
	$(PYTEST) -m soak -s

# The table of docs/models.md, from tiny random models of the transformers that is installed.
families: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.families --write

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy docs/hooks/pages.py

# Nothing is fetched: fonts, icons and scripts come with the packages.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# What an upload would hold: the wheel is built from the sdist, with the setuptools at hand.
dist: setup
	rm -rf dist build
	$(BIN)/python -m build --no-isolation --quiet
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) build dist site *.egg-info
