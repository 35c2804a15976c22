# Everything sets itself up: a virtual environment in .venv with the pinned versions of constraints.txt.
# Needs Python >= 3.11, git and make. PYTHON=python3.12 make test picks another interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= disobey-runs
SOURCES := src tests benchmarks examples docs scripts
VERSIONS ?= 3.12 3.13
# Percent of lines and branches that make test must run at least.
COVERAGE := 93
# One thread a process: two OpenMP teams on few cores are many times slower than one each.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Two processors that this one can play: its kernels of torch, oneDNN, MKL, OpenBLAS, NumPy and the C library's functions.
NUMPY = $(shell $(BIN)/python -c "from numpy._core._multiarray_umath import __cpu_dispatch__ as names; print(*names)")
SSE = ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE OPENBLAS_CORETYPE=Prescott \
  NPY_DISABLE_CPU_FEATURES="$(NUMPY)" GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F
AVX2 = ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=AVX2 OPENBLAS_CORETYPE=Haswell \
  NPY_DISABLE_CPU_FEATURES="$(filter-out X86_V3 AVX2 FMA3,$(NUMPY))"

.PHONY: demo test test-portable test-browser-load test-coverage test-versions format-check lint types left check ci \
  check-all wheel bench docs docs-check gallery format clean

demo: $(VENV)/.installed  ## the main job: a report on where a student disobeys its teacher
	$(BIN)/disobey run deviation --out $(OUT)

test: $(VENV)/.installed-dev  ## all tests but the slow ones
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow"

test-portable: $(VENV)/.installed-dev  ## the same tests with the rounding of two other processors (x86)
	$(SSE) $(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow and not browser"
	$(AVX2) $(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow and not browser"

test-browser-load: $(VENV)/.installed-dev  ## the browser tests 50 times beside two busy processes: an hour on two cores
	$(BIN)/python -m tests.support.under_load --rounds 50 --busy 2 -m browser tests/reports

test-coverage: $(VENV)/.installed-dev  ## the same tests, and how much of the package they run
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow" --cov --cov-report= --no-cov-on-fail
	$(BIN)/coverage report --skip-covered --skip-empty --sort=cover --fail-under=$(COVERAGE)

test-versions: $(VENV)/.installed-dev  ## what each Python can run here; says why where one cannot
	sh scripts/test_versions.sh $(VERSIONS)

format-check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check $(SOURCES)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/python scripts/limits.py check

types: $(VENV)/.installed-dev
	$(BIN)/pyright

left: $(VENV)/.installed-dev  ## what rooms that are not clean yet still hide from the linter
	$(BIN)/python scripts/limits.py left

check: format-check lint types test  ## format, lint, types, tests with doctests, import rule, smoke studies

ci: format-check lint types docs-check test-coverage wheel test-versions  ## the gate: what .ci/run runs

check-all: check  ## and the slow suites: coverage tables, fuzzing, kills
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m slow

wheel: $(VENV)/.installed-dev  ## builds the wheel, installs it in an empty environment and uses it there
	sh scripts/try_wheel.sh "$(PYTHON)"

bench: $(VENV)/.installed-dev  ## speed, side by side; results go to the terminal
	for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

docs: $(VENV)/.installed-dev  ## the generated pages, then the site in docs/_build/html; needs no network
	$(BIN)/python docs/build.py
	$(BIN)/python docs/build.py --site docs/_build/html

docs-check: $(VENV)/.installed-dev  ## generated pages are current, the site builds without a warning
	$(BIN)/python docs/build.py --check
	$(BIN)/python docs/build.py --site docs/_build/html

gallery: $(VENV)/.installed-dev  ## repeats the runs of the gallery (some minutes) and takes their pictures (Chromium)
	$(BIN)/python docs/build.py --gallery $(OUT)

format: $(VENV)/.installed-dev
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean:
	rm -rf $(VENV) build dist docs/_build docs/reference/api src/*.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first and alone: the pinned version must be there before anything else may ask for a newer one.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[train,data]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@
