"""A scikit-learn pair: gradient boosting teaches a logistic regression, on real data (8x8 digits, from scikit-learn).

    python examples/sklearn_pair.py && disobey diagnose sklearn-pair.npz

Logistic regression cannot take soft labels, so the student is fitted on every class of every example, weighted by the
teacher's probability of it. The twin is the same regression on labels. Three in ten training labels are redrawn at
random: something that a teacher can average out. Teacher and student see the training half, everything is judged on
the other.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split


def main(path: str = "sklearn-pair.npz") -> None:
    """Fits teacher, student and twin, and saves their predictions."""
    x, y = load_digits(return_X_y=True)
    x = x / 16
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.5, random_state=0, stratify=y)
    rng = np.random.default_rng(0)
    given = np.where(rng.random(len(y_train)) < 0.3, rng.integers(10, size=len(y_train)), y_train)

    teacher = HistGradientBoostingClassifier(max_iter=40, learning_rate=0.1, random_state=0).fit(x_train, given)
    soft = teacher.predict_proba(x_train)
    rows, classes = np.divmod(np.arange(soft.size), soft.shape[1])
    student = LogisticRegression(C=1.0, max_iter=300).fit(x_train[rows], classes, sample_weight=soft.ravel())
    twin = LogisticRegression(C=1.0, max_iter=300).fit(x_train, given)

    np.savez(
        path,
        teacher=teacher.predict_proba(x_test),
        student=student.predict_log_proba(x_test),
        twin=twin.predict_log_proba(x_test),
        labels=y_test,
        images=(255 * x_test.reshape(-1, 8, 8)).astype(np.uint8),
        class_names=np.array([str(i) for i in range(10)]),
    )
    print(f"wrote {path}; now: disobey diagnose {path}")


if __name__ == "__main__":
    main()
