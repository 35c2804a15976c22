#!/usr/bin/env sh
# A user's way: the wheel in an empty environment, outside of the checkout. First alone: a report from a pair of arrays,
# and a refusal where PyTorch is needed. Then with the extra `train`: a study's smoke test.
# Usage: try_wheel.sh [PYTHON]
set -eu
python=${1:-python3}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
pip="$work/venv/bin/python -m pip --disable-pip-version-check -q"
$pip wheel --no-deps -w "$work" "$root"
wheel=$(echo "$work"/disobey-*.whl)
$pip install -c "$root/constraints.txt" "$wheel"
cd "$work"
unset PYTHONPATH
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
./venv/bin/disobey --help >help.txt
grep -q "disobey COMMAND" help.txt
./venv/bin/python - <<'PYTHON'
import sys

import numpy

import disobey

rng = numpy.random.default_rng(0)
teacher = rng.normal(size=(400, 5))
student, twin = (teacher + rng.normal(scale=s, size=(400, 5)) for s in (0.5, 1.0))
labels = teacher.argmax(1)
numpy.savez("pair.npz", teacher=teacher, student=student, twin=twin, labels=labels)
assert disobey.diagnose(teacher, student, labels, twin=twin).summary
try:
    disobey.KDLoss  # noqa: B018
except ImportError as error:
    assert "disobey[train]" in str(error), error
else:
    sys.exit("torch is in the light installation")
PYTHON
./venv/bin/disobey diagnose pair.npz --out runs >told.txt
report=$(sed -n 's/^report: //p' told.txt)
grep -q "Methods" "$report"
./venv/bin/python -c "
import json, pathlib, sys
result = json.loads(pathlib.Path(sys.argv[1]).with_name('result.json').read_text())
assert result['blocks'], 'an empty result'
" "$report"
./venv/bin/disobey run deviation --help >help.txt
status=0
./venv/bin/disobey run deviation --smoke 2>refused.txt || status=$?
test "$status" = 2
grep -q "disobey\[train\]" refused.txt
light=$(du -sm venv | cut -f1)
$pip install -c "$root/constraints.txt" torch # first and alone, so that nothing asks for another version
$pip install -c "$root/constraints.txt" "$wheel[train]"
./venv/bin/disobey run deviation --smoke --data digits-8x8 --workers 0 --quiet --out runs
test -s runs/reports/deviation-*/report.html
train=$(du -sm venv | cut -f1)
echo "wheel: used in an empty environment, alone ($light MB) and with the extra train ($train MB)"
