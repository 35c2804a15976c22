#!/usr/bin/env sh
# A user's way: the wheel in an empty environment, outside of the checkout, and a report from a pair of arrays.
# Usage: try_wheel.sh [PYTHON]
set -eu
python=${1:-python3}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
pip="$work/venv/bin/python -m pip --disable-pip-version-check -q"
$pip wheel --no-deps -w "$work" "$root"
$pip install -c "$root/constraints.txt" torch # first and alone, so that nothing asks for another version
$pip install -c "$root/constraints.txt" "$work"/disobey-*.whl
cd "$work"
unset PYTHONPATH
./venv/bin/disobey --help >help.txt
grep -q "disobey COMMAND" help.txt
./venv/bin/python - <<'PYTHON'
import numpy

rng = numpy.random.default_rng(0)
teacher = rng.normal(size=(400, 5))
student, twin = (teacher + rng.normal(scale=s, size=(400, 5)) for s in (0.5, 1.0))
numpy.savez("pair.npz", teacher=teacher, student=student, twin=twin, labels=teacher.argmax(1))
PYTHON
./venv/bin/disobey diagnose pair.npz --out runs >told.txt
report=$(sed -n 's/^report: //p' told.txt)
grep -q "Methods" "$report"
./venv/bin/python -c "
import json, pathlib, sys
result = json.loads(pathlib.Path(sys.argv[1]).with_name('result.json').read_text())
assert result['blocks'], 'an empty result'
" "$report"
echo "wheel: installed and used in an empty environment; report of $(wc -c <"$report") bytes"
