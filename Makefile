PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup run test soak check docs dist clean

setup: $(STAMP)

$(STAMP): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,docs]"
	touch $@

run: setup
	$(BIN)/compare run --behavior refusal --methods caa,sft,sysprompt,sft+caa

# Two at a time, of one thread each. A file's tests stay together, as they share what was made for them.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

soak: setup
	$(BIN)/python -m pytest -m soak -s

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
