# Every target sets up what it needs in .venv; nothing has to be done by hand.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-slow test-matrix lint format bench notebooks results claims clean

demo: .venv/base                ## the main job: from a write current to an energy/accuracy curve, in demo/
	$(BIN)/mtj-bnn demo --out demo

test: .venv/dev                 ## the fast suite
	$(BIN)/python -m pytest -m "not slow" -n auto --dist worksteal

test-slow: .venv/dev            ## the minutes-long checks, and random examples for all properties
	$(BIN)/python -m pytest -m "slow or hypothesis" --hypothesis-profile=random -n auto --dist worksteal

test-matrix: .venv/dev          ## the fast suite on every Python, oldest and newest libraries (an hour, several GB)
	$(BIN)/python tests/matrix.py

lint: .venv/dev                 ## style, formatting, types of the public API
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/dev                ## every speed claim, measured; the ratios go to notebooks/results/bench
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable --benchmark-only --benchmark-columns=min,median,rounds \
		--benchmark-json=.benchmarks.json
	$(BIN)/python notebooks/bench.py .benchmarks.json

notebooks: .venv/notebooks      ## execute the notebooks in place, with texts for their figures
	$(BIN)/python notebooks/execute.py

results: .venv/base             ## which stored tables are out of date with the code that made them
	$(BIN)/python notebooks/stored_results.py

claims: .venv/base              ## CLAIMS.md, from the stored records
	$(BIN)/python notebooks/claims.py

.venv/base: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/dev: .venv/base
	$(PIP) --editable ".[dev]"
	touch $@

.venv/notebooks: .venv/base
	$(PIP) --editable ".[notebooks]"
	touch $@

clean:
	rm -rf .venv .matrix .benchmarks.json demo
