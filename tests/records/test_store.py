"""What is visible is complete; locks are per run and let go when their holder dies."""

import json
import multiprocessing
import os

import numpy as np
import pytest

from disobey.records.files import atomic, write_text
from disobey.records.store import Busy, Store


def fill(folder, recipe=None):
    (folder / "run.json").write_text(json.dumps({"recipe": recipe or {"a": 1}, "seed": 0}))


def test_a_run_appears_whole(tmp_path):
    store = Store(tmp_path)
    with store.writing("k-s0") as folder:
        fill(folder)
        assert store.find("k-s0") is None
    assert store.find("k-s0", {"a": 1}).seed == 0
    with pytest.raises(ValueError, match="edited or damaged"):
        store.find("k-s0", {"a": 2})


def test_a_failed_writing_leaves_nothing(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="halfway"), store.writing("k-s0") as folder:
        fill(folder)
        raise RuntimeError("halfway")
    assert store.find("k-s0") is None
    assert not list((tmp_path / "tmp").iterdir())


def test_sweep_removes_what_the_dead_left_and_spares_the_living(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    for name in ("dead-s0.x1", "alive-s0.x2"):
        (tmp_path / "tmp" / name).mkdir()
    (tmp_path / "tmp" / "dead-s0.step").write_text("3")
    with store.lock("alive-s0"):
        other = multiprocessing.get_context("spawn").Process(target=_sweep, args=(tmp_path,))
        other.start()
        other.join()
    assert [p.name for p in (tmp_path / "tmp").iterdir()] == ["alive-s0.x2"]


def _sweep(root):
    Store(root).sweep()


def _hold(root, ready, leave):
    with Store(root).lock("k-s0"):
        ready.set()
        leave.wait()


def test_a_lock_is_busy_while_held_and_free_when_its_holder_is_killed(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, ready, leave))
    holder.start()
    assert ready.wait(60)
    with pytest.raises(Busy), Store(tmp_path).lock("k-s0", wait=False):
        pass
    holder.kill()
    holder.join()
    with Store(tmp_path).lock("k-s0", wait=False):
        pass


def test_atomic_keeps_the_old_file_where_writing_fails(tmp_path):
    path = tmp_path / "result.json"
    write_text(path, "old")
    with pytest.raises(OSError, match="full"), atomic(path) as temporary:
        temporary.write_text("half")
        raise OSError("full")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
    assert os.stat(path).st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_tables_of_numbers_survive(tmp_path):
    with atomic(tmp_path / "a.npy") as temporary, open(temporary, "wb") as file:
        np.save(file, np.arange(3))
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
