"""One thread for every test: two OpenMP teams on two cores are many times slower than one each."""

import importlib.util
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    if importlib.util.find_spec("torch") is None:  # scripts/test_versions.sh: what needs no torch
        return
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def smoke_runs(tmp_path_factory):
    """Smoke runs of every study, trained once for all tests and all test processes."""
    from tests.support.smoke import SmokeRuns

    base = tmp_path_factory.getbasetemp()
    return SmokeRuns((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "smoke-runs")
