"""Keeps measured nulls with the package: ``python scripts/store_null.py STUDY FILE 'disobey run STUDY --null ...'``.

The file is what ``disobey run STUDY --null --planted 2 --json`` printed; the command is shown below the table.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TABLES = Path(__file__).resolve().parents[1] / "src/disobey/studies/null_tables.json"


def keep(study: str, measured: Path, command: str) -> None:
    """Puts one study's table into the file of all, studies in alphabetical order."""
    tables = json.loads(TABLES.read_text("utf-8"))
    tables[study] = json.loads(measured.read_text("utf-8")) | {"command": command}
    TABLES.write_text(json.dumps(dict(sorted(tables.items())), indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    keep(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
