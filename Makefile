# Everything sets itself up: a virtual environment in .venv with the pinned versions of constraints.txt.
# Needs Python >= 3.11, git and make. PYTHON=python3.12 make test picks another interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= disobey-runs
# One thread a process: two OpenMP teams on few cores are many times slower than one each.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check check-all bench docs format clean

demo: $(VENV)/.installed  ## the main job: a report on where a student disobeys its teacher
	$(BIN)/disobey run deviation --out $(OUT)

test: $(VENV)/.installed-dev  ## all tests but the slow ones
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow"

check: test  ## format, lint, types, tests with doctests, import rule, smoke studies
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/pyright

check-all: check  ## and the slow suites: coverage tables, fuzzing, kills
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m slow

bench: $(VENV)/.installed-dev  ## speed, side by side; results go to the terminal
	for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

docs: $(VENV)/.installed  ## the command line's own pages, from the code
	$(BIN)/python docs/build.py

format: $(VENV)/.installed-dev
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

clean:
	rm -rf $(VENV) build src/*.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first and alone: the pinned version must be there before anything else may ask for a newer one.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@
