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

# Two processors that this one can play: its kernels of torch, oneDNN, MKL, OpenBLAS, NumPy and the C library's functions.
NUMPY = $(shell $(BIN)/python -c "from numpy._core._multiarray_umath import __cpu_dispatch__ as names; print(*names)")
SSE = ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE OPENBLAS_CORETYPE=Prescott \
  NPY_DISABLE_CPU_FEATURES="$(NUMPY)" GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F
AVX2 = ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=AVX2 OPENBLAS_CORETYPE=Haswell \
  NPY_DISABLE_CPU_FEATURES="$(filter-out X86_V3 AVX2 FMA3,$(NUMPY))"

.PHONY: demo test test-portable test-browser-load check check-all bench docs format clean

demo: $(VENV)/.installed  ## the main job: a report on where a student disobeys its teacher
	$(BIN)/disobey run deviation --out $(OUT)

test: $(VENV)/.installed-dev  ## all tests but the slow ones
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow"

test-portable: $(VENV)/.installed-dev  ## the same tests with the rounding of two other processors (x86)
	$(SSE) $(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow and not browser"
	$(AVX2) $(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow and not browser"

test-browser-load: $(VENV)/.installed-dev  ## the browser tests 50 times beside two busy processes: an hour on two cores
	$(BIN)/python -m tests.support.under_load --rounds 50 --busy 2 -m browser tests/reports

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
