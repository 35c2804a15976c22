"""Caches of trainers: verl's and axolotl's names, sequences and masks, each model's own list, parquet of sequences."""

import random

import numpy as np
import pytest

from disobey.diagnosis.evidence.evidence import gather
from disobey.diagnosis.input.join import read_pair
from disobey.diagnosis.input.pair import pair_from
from disobey.diagnosis.report.language import overlap
from disobey.errors import Refusal
from tests.support.mutants import bytes_mutants
from tests.support.refusals import refuses

B, T, V, K = 8, 10, 40, 6


def models():
    rng = np.random.default_rng(0)
    z = 2 * rng.normal(size=(B, T, V))
    out = {}
    for name, noise in (("teacher", 0.0), ("student", 0.7), ("twin", 1.5)):
        logits = z + noise * rng.normal(size=z.shape)
        out[name] = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return out


def cached(names=("teacher_ids", "teacher_logprobs", "student_ids", "student_logprobs", "twin_ids", "twin_logprobs")):
    held, out = models(), {}
    for i, model in enumerate(held.values()):
        ids = np.argsort(-model, axis=-1)[..., :K]
        out[names[2 * i]], out[names[2 * i + 1]] = ids, np.take_along_axis(model, ids, -1)
    return held, out


def test_own_lists_are_aligned_and_their_overlap_is_known():
    held, arrays = cached()
    mask = np.ones((B, T), bool)
    mask[:, -3:] = False
    pair = pair_from(arrays | {"response_mask": mask})
    evidence = gather(pair)
    assert pair.shape[0] == B * (T - 3)
    assert len(np.unique(pair.cluster)) == B
    ids = np.argsort(-held["teacher"], axis=-1)[..., :K][mask]
    own = np.argsort(-held["student"], axis=-1)[..., :K][mask]
    shared = np.array([len(set(a) & set(b)) / K for a, b in zip(ids, own, strict=True)])
    row = next(row for row in overlap(evidence).rows if row[0] == "overlap_ratio")
    assert row[1].value == pytest.approx(shared.mean())
    assert row[3].value == pytest.approx(row[1].value - row[2].value)
    assert row[1].over == "clusters"
    student = pair.topk.student.array
    for n in range(len(ids)):
        for place, token in enumerate(ids[n]):
            known = held["student"][mask][n, token] if token in own[n] else np.nan
            assert student[n, place] == pytest.approx(known, nan_ok=True)
    assert np.array_equal(pair.topk.student_top, held["student"][mask].argmax(-1))


def test_scores_at_the_teachers_tokens():
    held, arrays = cached()
    at = np.take_along_axis(held["student"], arrays["teacher_ids"], -1)
    pair = pair_from({k: arrays[k] for k in ("teacher_ids", "teacher_logprobs")} | {"student_logprobs": at})
    assert np.allclose(pair.topk.student.array, at.reshape(-1, K))
    axolotl = {"target_token_ids": arrays["teacher_ids"], "target_logprobs": arrays["teacher_logprobs"]}
    again = pair_from(axolotl | {"student_logprobs": at, "labels": held["teacher"].argmax(-1)})
    assert np.array_equal(again.topk.ids.array, pair.topk.ids.array)
    assert again.labels.shape == (B * T,)


def test_parquet_of_sequences(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    _, arrays = cached()
    lengths = [T - i for i in range(B)]
    columns = {name: [a[i, :n].tolist() for i, n in enumerate(lengths)] for name, a in arrays.items()}
    path = tmp_path / "cache.parquet"
    pq.write_table(pa.table(columns | {"labels": [[1] * n for n in lengths]}), path)
    pair = read_pair(path)
    assert pair.shape[0] == sum(lengths)
    assert np.bincount(np.unique(pair.cluster, return_inverse=True)[1]).tolist() == lengths
    whole_file = path.read_bytes()
    for data in bytes_mutants(whole_file, random.Random(1), 40):
        (tmp_path / "b.parquet").write_bytes(data)
        try:
            gather(read_pair(tmp_path / "b.parquet"))
        except Refusal as error:
            said = str(error)
            assert "\n" not in said
    pq.write_table(pa.table(columns | {"labels": [[1] * (n + 1) for n in lengths]}), path)
    with refuses("token-counts"):
        read_pair(path)


def test_refusals():
    _, arrays = cached()
    with refuses("missing-top-k"):
        pair_from({"teacher_ids": arrays["teacher_ids"]})
    with refuses("top-k-shape"):
        pair_from(arrays | {"response_mask": np.ones((B, T - 1))})
    with refuses("no-tokens"):
        pair_from(arrays | {"response_mask": np.zeros((B, T))})
    with refuses("top-k-shape"):
        pair_from(arrays | {"student_ids": arrays["student_ids"][:-1]})
