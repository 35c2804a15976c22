#!/usr/bin/env sh
# Other Pythons, as far as they can be had. Usage: test_versions.sh 3.12 3.13 ...
# Where .venv<version> has torch (make test PYTHON=python3.12 VENV=.venv3.12 installs it: several gigabytes where there is
# no build for the CPU alone), all tests run there. Elsewhere the parts that need no torch are installed and tested.
set -eu
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PIP_DISABLE_PIP_VERSION_CHECK=1
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT
export PYTHONPYCACHEPREFIX="$cache"
TORCH_FREE="tests/records tests/reports tests/theory tests/figures tests/test_layers.py"
LIGHT="numpy scipy scikit-learn safetensors altair vl-convert-python jinja2 tyro rich loky filelock pytest hypothesis mpmath sympy pillow"

for version in "$@"; do
  python=
  for candidate in "python$version" "$HOME"/.pyenv/versions/"$version".*/bin/python; do
    if "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
      python=$candidate
    fi
  done
  if [ -z "$python" ]; then
    echo "Python $version: skipped, no such interpreter here"
    continue
  fi
  "$python" -W error -m compileall -q -f src tests benchmarks examples scripts
  if ".venv$version/bin/python" -c "import torch" 2>/dev/null; then
    ".venv$version/bin/python" -m pytest -q -n auto --dist worksteal -m "not slow and not browser"
    echo "Python $version: all tests"
    continue
  fi
  work=$(mktemp -d)
  "$python" -m venv "$work"
  # shellcheck disable=SC2086
  if ! "$work/bin/python" -m pip install -q -c constraints.txt $LIGHT; then
    rm -rf "$work"
    echo "Python $version: compiled; tests skipped, a package is not to be had for it"
    continue
  fi
  # shellcheck disable=SC2086
  PYTHONPATH=src "$work/bin/python" -m pytest -q -m "not slow and not browser" $TORCH_FREE
  rm -rf "$work"
  echo "Python $version: compiled, tests of what needs no torch (torch is not in .venv$version)"
done
