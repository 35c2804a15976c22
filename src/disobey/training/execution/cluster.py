# pyright: reportMissingImports=false
"""Runs on a Ray cluster: one task a run or stack, on whichever node has room. All nodes must share the store."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from disobey.errors import refusal
from disobey.training.execution.workers import THREADS, USUAL, Answer, Job, Pace, prepare_worker, work

REACH = 20.0  # seconds that a cluster has to answer
PROBE = 120.0  # seconds that a node has to start a worker and look for the store


class Ray:
    """A Ray cluster (its address from RAY_ADDRESS; without one, a local one that ends with this command).

    A session that the caller had opened is used and left open.
    """

    def __init__(self, device: str):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of its imports, about which users can do nothing
                import ray
        except ImportError as error:
            raise refusal(
                "no-ray", "Ray for --workers ray", "an environment without", "pip install 'disobey[ray]'"
            ) from error
        self._ray: Any = ray
        self._own = not ray.is_initialized()
        if self._own:
            address = os.environ.get("RAY_ADDRESS") or None
            _reachable(address)
            with _quiet():
                try:
                    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
                except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
                    raise _unreachable(address, error) from error
        if self._own:
            _mute()
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if device != "cpu" else 0
        self.size = max(gpus or int(resources.get("CPU", 1)), 1)
        self._flying: dict[int, Any] = {}
        self._options: dict[str, Any] = {
            "num_cpus": 1,
            "num_gpus": 1 if gpus else 0,
            "max_retries": 0,  # the engine tries again, and counts
            "runtime_env": {"env_vars": {**THREADS, "PYTHONPATH": os.pathsep.join(_paths())}},
        }
        self._task: Any = ray.remote(**self._options)(_work)

    def submit(
        self, slot: int, root: Path, jobs: Sequence[Job], device: str, pace: Pace = USUAL
    ) -> Future[list[Answer]]:
        """Sends a run or a stack to the cluster."""
        self._flying[slot] = self._task.remote(root, jobs, device, pace)
        return self._flying[slot].future()

    def died(self, error: BaseException) -> bool:
        """Whether a worker or its node ended, rather than a task that raised."""
        exceptions = self._ray.exceptions
        return isinstance(error, exceptions.RayError) and not isinstance(error, exceptions.RayTaskError)

    def replace(self, slot: int) -> None:
        """Ends what this slot was doing, where it still is; the cluster starts workers by itself."""
        task = self._flying.pop(slot, None)
        if task is not None:
            with contextlib.suppress(Exception):  # gone already
                self._ray.cancel(task, force=True)

    def check(self, root: Path) -> None:
        """A task on every node looks for a file of the store. Raises `Refusal` where a node does not see it."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as strategy

        ray = self._ray
        token = secrets.token_hex(8)
        probe = root / "tmp" / f".probe-{token}"
        probe.write_text(token)
        try:
            nodes = [node for node in ray.nodes() if node["Alive"]]
            env = self._options["runtime_env"]
            asked = {
                node["NodeID"]: ray.remote(num_cpus=0, max_retries=2, runtime_env=env)(_sees)
                .options(scheduling_strategy=strategy(node["NodeID"], soft=False))
                .remote(probe, token)
                for node in nodes
            }
            for node in nodes:
                try:
                    sees = ray.get(asked[node["NodeID"]], timeout=PROBE)
                except ray.exceptions.RayError as error:
                    first = str(error).strip().splitlines()[0]
                    raise refusal(
                        "node-unusable", "a node that runs tasks", first, "its logs", where=node["NodeManagerAddress"]
                    ) from error
                if not sees:
                    raise refusal(
                        "store-not-shared",
                        f"the folder {root} on every node of the cluster",
                        f"none on {node['NodeManagerAddress']}",
                        "--out on a file system that all nodes share",
                    )
        finally:
            probe.unlink(missing_ok=True)

    def close(self) -> None:
        """Ends the session, if this opened it."""
        if self._own:
            self._ray.shutdown()


def _work(root: Path, jobs: Sequence[Job], device: str, pace: Pace = USUAL) -> list[Answer]:
    prepare_worker()
    return work(root, jobs, device, pace)


def _sees(probe: Path, token: str) -> bool:
    try:
        return Path(probe).read_text() == token
    except OSError:
        return False


def _paths() -> list[str]:
    """Where this process found the package, for nodes that share the file system but not the environment."""
    own = str(Path(__file__).resolve().parents[3])
    return [own, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


def _reachable(address: str | None) -> None:
    """Refuses a cluster that does not answer within seconds: Ray itself tries for minutes."""
    if not address or address in ("auto", "local"):
        return
    place = address.removeprefix("ray://")
    host, _, port = place.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH):
            return
    except (OSError, ValueError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str | None, error: BaseException) -> Exception:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return refusal(
        "no-cluster",
        f"a Ray cluster at {address or 'this machine'}",
        first,
        "`ray status` there, RAY_ADDRESS=HOST:PORT, or --workers auto",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("ray").setLevel(logging.ERROR)
        yield


def _mute() -> None:
    """Silences what Ray prints of nodes that died (their last hundred lines of log): the engine says it in one line."""
    with contextlib.suppress(ImportError):
        import ray._private.worker as worker  # private: without it Ray is merely louder

        if hasattr(worker, "print_to_stdstream"):
            worker.print_to_stdstream = lambda *_args, **_kwargs: None  # type: ignore[assignment]
