"""What is visible is complete; locks are per run and let go when their holder dies."""

import errno
import json
import multiprocessing
import os

import numpy as np
import pytest

from disobey.records import files, locks
from disobey.records import store as store_module
from disobey.records.files import atomic, write_text
from disobey.records.store import Busy, Store
from tests.support.refusals import refuses


def fill(folder, recipe=None):
    (folder / "run.json").write_text(json.dumps({"recipe": recipe or {"a": 1}, "seed": 0}))


def test_a_run_appears_whole(tmp_path):
    store = Store(tmp_path)
    with store.writing("k-s0") as folder:
        fill(folder)
        assert store.find("k-s0") is None
    assert store.find("k-s0", {"a": 1}).seed == 0
    assert store.find("k-s0", {"a": 2}) is None
    with refuses("damaged-record", "k-s0", "edited"):
        store.found("k-s0", {"a": 2})


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


def test_locks_leave_no_file_behind(tmp_path):
    store = Store(tmp_path)
    with store.lock("k-s0"):
        assert list((tmp_path / "locks").iterdir())
    assert not list((tmp_path / "locks").iterdir())


def _count(root, times):
    store = Store(root)
    for _ in range(times):
        with store.lock("counter"):
            path = root / "number"
            path.write_text(str(int(path.read_text()) + 1))


def test_removing_locks_lets_no_two_processes_in_at_once(tmp_path):
    """Four processes count to 400 together through one lock, which is made and removed all the time."""
    (tmp_path / "number").write_text("0")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_count, args=(tmp_path, 100)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "number").read_text() == "400"


def test_a_file_system_without_locks_is_said_and_its_leftovers_are_let_be(tmp_path, monkeypatch):
    def missing(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    store = Store(tmp_path)
    assert store.prepare() == ""
    monkeypatch.setattr(locks.fcntl, "flock", missing)
    assert "has no locks" in store.prepare()
    (tmp_path / "tmp" / "k-s0.x1").mkdir()
    assert store.sweep() == 0
    assert (tmp_path / "tmp" / "k-s0.x1").is_dir()
    with store.lock("k-s0"), store.writing("k-s0") as folder:
        fill(folder)
    assert store.find("k-s0").seed == 0


@pytest.mark.parametrize("run_id", ["../k-s0", "k", "k-s-1", "k-s0/..", "/etc-s0", "K-s0", "k-s01", "", "k-s0\n"])
def test_an_id_is_no_path(tmp_path, run_id):
    store = Store(tmp_path)
    for use in (store.folder, store.find, store.clear_failure, lambda name: store.note_failure(name, {})):
        with refuses("bad-run-id"):
            use(run_id)
    with refuses("bad-run-id"), store.writing(run_id):
        pass


def test_what_lies_in_a_runs_place_is_moved_aside_not_deleted(tmp_path):
    """A folder without run.json failed its run for ever: "Directory not empty"."""
    store = Store(tmp_path)
    (store.folder("k-s0") / "weights").mkdir(parents=True)
    (store.folder("k-s0") / "weights" / "mine.bin").write_text("precious")
    assert store.find("k-s0") is None
    with store.writing("k-s0") as folder:
        fill(folder)
    assert store.find("k-s0").seed == 0
    (note,) = (tmp_path / "damaged").glob("*.json")
    assert "without run.json" in json.loads(note.read_text())["why"]
    assert (note.with_suffix("") / "weights" / "mine.bin").read_text() == "precious"


def test_a_sound_record_that_appeared_meanwhile_stays(tmp_path):
    store = Store(tmp_path)
    with store.writing("k-s0") as slow:
        fill(slow)
        with store.writing("k-s0") as quick:
            fill(quick)
            (quick / "history.safetensors").write_text("first")
    assert (store.folder("k-s0") / "history.safetensors").read_text() == "first"
    assert not (tmp_path / "damaged").exists()


def test_renames_are_made_to_last(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    monkeypatch.setattr(store_module, "sync_folder", synced.append)
    write_text(tmp_path / "a.txt", "x")
    assert synced == [tmp_path]
    with Store(tmp_path).writing("k-s0") as folder:
        fill(folder)
        (folder / "weights").mkdir()
    assert synced[1:] == [folder / "weights", folder, tmp_path / "runs"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EROFS, "Read-only file system"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError("18000 requested and 4096 written"),
    ],
)
def test_a_disk_that_is_full_is_known_by_whatever_library_says_so(error):
    assert files.no_space(error)
    outer = ValueError("something")
    outer.__cause__ = error
    assert files.no_space(outer)
    assert not files.no_space(OSError(errno.EACCES, "Permission denied"))
    assert not files.no_space(ValueError("no"))


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
