"""What is known of an input file, whatever became of it since it was read."""

import hashlib
import os
import threading

import pytest

from disobey.records import provenance
from disobey.records.provenance import file_record


def test_a_file_is_named_measured_and_hashed(tmp_path):
    data = bytes(range(256)) * 4096  # several chunks
    (tmp_path / "pair.npz").write_bytes(data)
    expected = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert file_record(tmp_path / "pair.npz", "p") == {"name": "p", **expected}
    assert file_record(tmp_path / "pair.npz") == {"name": str(tmp_path / "pair.npz"), **expected}


def test_a_file_larger_than_a_gibibyte_is_not_read(tmp_path, monkeypatch):
    assert provenance.HASHED == 2**30
    with open(tmp_path / "large", "wb") as file:
        file.truncate(2**30 + 1)  # takes no room
    monkeypatch.setattr(hashlib, "file_digest", None)
    found = file_record(tmp_path / "large", "large")
    assert found == {"name": "large", "bytes": 2**30 + 1, "sha256": "not hashed: larger than 1 GiB"}


def test_a_file_of_just_the_limit_is_hashed(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "HASHED", 10)
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "b").write_bytes(b"x" * 11)
    assert file_record(tmp_path / "a")["sha256"] == hashlib.sha256(b"x" * 10).hexdigest()
    assert file_record(tmp_path / "b")["sha256"].startswith("not hashed")


def test_what_vanished_is_said_to_be_gone(tmp_path):
    gone = {"name": "x", "bytes": None, "sha256": "gone"}
    assert file_record(tmp_path / "none", "x") == gone
    (tmp_path / "file").touch()
    assert file_record(tmp_path / "file" / "below", "x") == gone
    assert file_record(tmp_path, "x") == gone  # a folder stands there now


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_its_place_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = []
    thread = threading.Thread(target=lambda: found.append(file_record(tmp_path / "pipe", "x")), daemon=True)
    thread.start()
    thread.join(5)
    assert found == [{"name": "x", "bytes": None, "sha256": "gone"}]


def test_a_file_that_cannot_be_read_any_more_says_why(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"1234")

    def failing(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", failing)
    found = file_record(tmp_path / "file", "x")
    assert found == {"name": "x", "bytes": 4, "sha256": "not hashed: Input/output error"}
