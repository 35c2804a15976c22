"""Tests over and over beside busy processes: what waits for a time and not for a state fails here.

python -m tests.support.under_load --rounds 50 --busy 2 -m browser tests/reports
"""

import argparse
import multiprocessing
import os
import sys
from typing import cast

import pytest


class Rounds:
    """A pytest plugin: every test that many times, one whole round after the other."""

    def __init__(self, rounds: int):
        self.rounds = rounds

    @pytest.fixture(autouse=True)
    def _round(self, request: pytest.FixtureRequest) -> int:
        return request.param

    @pytest.hookimpl(trylast=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.parametrize("_round", range(self.rounds), indirect=True)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=_round_of)


def _round_of(item: pytest.Item) -> int:
    return cast(int, item.callspec.params["_round"]) if isinstance(item, pytest.Function) else 0


def busy(parent: int) -> None:
    while os.getppid() == parent:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--busy", type=int, default=2, help="processes that do nothing but take time (2)")
    options, arguments = parser.parse_known_args()
    beside = [multiprocessing.Process(target=busy, args=(os.getpid(),), daemon=True) for _ in range(options.busy)]
    for process in beside:
        process.start()
    try:
        return pytest.main(["-q", *arguments], plugins=[Rounds(options.rounds)])
    finally:
        for process in beside:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
