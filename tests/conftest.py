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
