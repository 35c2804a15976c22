"""A diagnosis in Python: printed, as a data frame, as a section of a model card, as a report.

python examples/results_in_python.py
"""

from __future__ import annotations

import numpy as np

from disobey import diagnose


def main(folder: str = "results-in-python") -> None:
    """Diagnoses a made-up pair and shows the result in every form."""
    rng = np.random.default_rng(0)
    teacher = 2 * rng.normal(size=(300, 5))
    student, twin = (teacher + rng.normal(scale=s, size=teacher.shape) for s in (0.5, 1.0))
    result = diagnose(teacher, student, teacher.argmax(1), twin=twin)
    print(result)  # one line; in a notebook, the answer, the warnings and the claims
    print(result.model_card())
    print(result.report(folder))  # report.html, result.json, figures/
    try:
        print(result.to_frame().head())
    except ValueError as missing:
        print(missing)


if __name__ == "__main__":
    main()
