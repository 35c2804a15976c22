"""llama.cpp's saved logits, as an independent writer saves them by the documented format."""

import random
from contextlib import suppress

import numpy as np
import pytest
from scipy.special import log_softmax

from disobey.cli.main import main
from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.join import read_pair, read_two, with_twin
from disobey.diagnosis.input.matrices import whole
from disobey.diagnosis.input.readers.folder import read_arrays
from disobey.diagnosis.input.readers.llama_cpp import is_saved_logits
from disobey.errors import Refusal
from tests.support.llama_cpp_file import write
from tests.support.mutants import bytes_mutants
from tests.support.refusals import refuses

CONTEXT, CHUNKS, V = 16, 6, 31


def saved(path, noise=0.0, seed=0, chunks=CHUNKS, v=V):
    """Writes a model's file; gives its logits at the saved places, (chunks, places, V), and the tokens."""
    logits = 3 * np.random.default_rng(0).normal(size=(chunks, CONTEXT, v))
    logits += noise * np.random.default_rng(seed + 1).normal(size=logits.shape)
    tokens = np.random.default_rng(2).integers(v, size=chunks * CONTEXT)
    write(path, tokens.tolist(), CONTEXT, lambda chunk, place: logits[chunk, place].tolist())
    return logits[:, CONTEXT // 2 : CONTEXT - 1], tokens.reshape(chunks, CONTEXT)


@pytest.mark.parametrize("v", [30, 31])
def test_values_tokens_and_chunks(tmp_path, v):
    logits, tokens = saved(tmp_path / "base.kld", v=v)
    found = read_arrays(tmp_path / "base.kld")
    expected = log_softmax(logits.reshape(-1, v), axis=1)
    got = whole(found["logits"])
    near = expected > expected.max(axis=1, keepdims=True) - 15.9
    assert np.abs(got - expected)[near].max() < 3e-4
    assert np.allclose(np.exp(got.astype(float)).sum(1), 1, atol=1e-5)
    assert np.array_equal(whole(found["labels"]), tokens[:, CONTEXT // 2 + 1 :].ravel())
    assert np.array_equal(whole(found["cluster"]), np.repeat(np.arange(CHUNKS), CONTEXT // 2 - 1))
    small = np.concatenate(list(found["logits"].blocks(5)))
    assert np.array_equal(small, got)


def test_two_models_are_a_pair(tmp_path):
    a, b, c = (tmp_path / f"{name}.{end}" for name, end in (("f16", "kld"), ("q4", "bin"), ("q8", "dat")))
    base, _ = saved(a)
    four, _ = saved(b, 0.5, 1)
    saved(c, 0.2, 2)
    for pair in (read_pair(a, b, c), with_twin(read_two(a, b), c)):
        evidence = gather(pair)
        p, q = (log_softmax(x.reshape(-1, V), axis=1) for x in (base, four))
        kl = (np.exp(p) * (p - q)).sum(1).mean()
        measured = np.exp(evidence.sample.teacher) * (evidence.sample.teacher - evidence.sample.student)
        assert measured.sum(1).mean() == pytest.approx(kl, rel=2e-3)
        assert evidence.sample.twin is not None
        assert evidence.codes.max() + 1 == CHUNKS


def test_flat_and_few(tmp_path):
    path = tmp_path / "flat.kld"
    write(path, [0] * 2 * CONTEXT, CONTEXT, lambda chunk, place: [0.0] * V)
    found = read_arrays(path)
    assert np.allclose(whole(found["logits"]), -np.log(V), atol=1e-6)
    assert "cluster" not in found  # two chunks are too few


def test_refusals(tmp_path):
    path, other = tmp_path / "a.kld", tmp_path / "b.kld"
    saved(path)
    data = path.read_bytes()
    other.write_bytes(data[:-100])
    with refuses("cut-short", "interrupted"):
        read_arrays(other)
    other.write_bytes(data[:8] + bytes(12) + data[20:])
    with refuses("not-llama-cpp"):
        read_arrays(other)
    other.write_bytes(data[:15])
    with refuses("not-llama-cpp"):
        read_arrays(other)
    start = 20 + 4 * CONTEXT * CHUNKS
    other.write_bytes(data[:start] + np.float32(np.nan).tobytes() + data[start + 4 :])
    with refuses("damaged-file"):
        whole(read_arrays(other)["logits"])
    moved = bytearray(data)
    moved[20 + 4 * (CONTEXT - 1)] ^= 1  # another token in the text
    other.write_bytes(moved)
    with refuses("labels-differ"):
        read_two(path, other)
    assert not is_saved_logits(tmp_path / "none")


def test_hostile_files(tmp_path):
    path = tmp_path / "a.kld"
    saved(path)
    whole_file, opened = path.read_bytes(), 0
    for data in bytes_mutants(whole_file, random.Random(0), 150):
        (tmp_path / "b.kld").write_bytes(data)
        with suppress(Refusal):
            gather(read_two(path, tmp_path / "b.kld"))
            opened += 1
    assert 0 < opened < 150


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "f16.kld")
    saved(tmp_path / "q4.kld", 0.3)
    assert main(["diagnose", "--teacher", "f16.kld", "--student", "q4.kld", "--json"]) == 0
    assert '"clusters"' in capsys.readouterr().out
