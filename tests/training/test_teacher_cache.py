"""`TeacherCache`: what the teacher said, once; never an old answer for another teacher, other data or random data."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from disobey.training.teacher_cache import TeacherCache
from tests.support.refusals import refuses

INPUTS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
DATA = TensorDataset(INPUTS, torch.arange(40) % 5)


class Counting(nn.Module):
    """A linear teacher with dropout that counts what it is asked."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.net, self.asked = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 5)), 0

    def forward(self, x):
        self.asked += len(x)
        return self.net(x)


def answers(model, inputs=INPUTS):
    return model.net[1](inputs).detach()


def test_it_is_exact_and_asks_once(tmp_path):
    teacher = Counting()
    cache = TeacherCache(teacher, DATA, tmp_path, batch_size=7)
    rows = torch.tensor([39, 0, 0, 17])
    torch.testing.assert_close(cache[rows], answers(teacher)[rows], rtol=1e-6, atol=1e-6)
    assert teacher.asked == 40
    assert teacher.training
    assert cache.shape == (40, 5)
    assert len(repr(cache)) < 100
    again = TeacherCache(teacher, DATA, tmp_path, batch_size=9)  # another batch size is no other cache
    assert torch.equal(again.all(), cache.all())
    assert teacher.asked == 44  # a few, to see that it still answers the same
    assert [p.name for p in tmp_path.iterdir()] == [cache.key]


def test_other_weights_data_or_formats_have_other_keys(tmp_path):
    keys = [
        TeacherCache(Counting(0), DATA, tmp_path).key,
        TeacherCache(Counting(1), DATA, tmp_path).key,
        TeacherCache(Counting(0), INPUTS + 1, tmp_path).key,
        TeacherCache(Counting(0), INPUTS[:39], tmp_path).key,
        TeacherCache(Counting(0), DATA, tmp_path, kind="float16").key,
        TeacherCache(Counting(0), DATA, tmp_path, top_k=2).key,
        TeacherCache(Counting(0), DATA, tmp_path, views=[torch.neg]).key,
    ]
    assert len(set(keys)) == len(keys)
    assert TeacherCache(Counting(0), INPUTS, tmp_path).key == keys[0]  # the same inputs, otherwise wrapped


def test_half_precision_halves_the_bytes(tmp_path):
    full, half = (TeacherCache(Counting(), DATA, tmp_path, kind=kind) for kind in ("float32", "float16"))
    assert half.nbytes * 2 == full.nbytes
    torch.testing.assert_close(half.all(), full.all(), rtol=1e-3, atol=1e-3)
    teacher = Counting()
    teacher.net[1].weight.data *= 1e6
    with refuses("half-range"):
        TeacherCache(teacher, DATA, tmp_path, kind="float16")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".") and p.is_dir()]  # nothing half done is left


@pytest.mark.parametrize("k", [1, 3, 5])
def test_lists_keep_their_mass_and_the_tails(tmp_path, k):
    teacher = Counting()
    cache = TeacherCache(teacher, DATA, tmp_path, top_k=k)
    truth = torch.log_softmax(answers(teacher), -1)
    ids, listed, tail = cache.lists(np.arange(40))
    torch.testing.assert_close(listed, truth.gather(1, ids), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(listed.exp().sum(1) + tail.exp(), torch.ones(40))
    found = cache.all()
    torch.testing.assert_close(found.exp().sum(1), torch.ones(40))
    if k == 5:
        torch.testing.assert_close(found, truth, rtol=1e-5, atol=1e-5)
    with refuses("top-k-range"):
        TeacherCache(teacher, DATA, tmp_path, top_k=6)


def test_views_have_their_own_rows(tmp_path):
    teacher = Counting()
    cache = TeacherCache(teacher, DATA, tmp_path, views=[lambda x: x, torch.neg])
    torch.testing.assert_close(cache.at([3, 4], 1), answers(teacher, -INPUTS)[3:5])
    mixed = cache.at(torch.tensor([3, 3]), torch.tensor([0, 1]))
    torch.testing.assert_close(mixed, torch.stack([answers(teacher)[3], answers(teacher, -INPUTS)[3]]))
    with refuses("view-missing"):
        cache[3]
    with refuses("cache-row", "2"):
        cache.at([3], 2)


class Noisy(TensorDataset):
    """Data with random augmentation."""

    def __getitem__(self, index):
        return super().__getitem__(index)[0] + torch.randn(6), 0


def test_random_data_and_views_are_refused(tmp_path):
    with refuses("unstable-data"):
        TeacherCache(Counting(), Noisy(INPUTS), tmp_path)
    with refuses("unstable-data"):
        TeacherCache(Counting(), DATA, tmp_path, views=[lambda x: x + torch.randn_like(x)])
    assert list(tmp_path.iterdir()) == []


def test_changed_files_and_changed_code_are_refused(tmp_path):
    cache = TeacherCache(Counting(), DATA, tmp_path)
    file = tmp_path / cache.key / "logits.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-4] + b"\0\0\0\0")
    with refuses("cache-hash"):
        TeacherCache(Counting(), DATA, tmp_path)
    file.write_bytes(whole)
    teacher = Counting()
    teacher.forward = lambda x: -teacher.net(x)  # the hash of weights cannot see this
    with refuses("stale-cache"):
        TeacherCache(teacher, DATA, tmp_path)
    (tmp_path / cache.key / "cache.json").write_text("{")
    with refuses("cache-hash"):
        TeacherCache(Counting(), DATA, tmp_path)


def test_what_is_no_teacher_or_no_row_is_refused(tmp_path):
    with refuses("teacher-answer", "(40, 6, 1)"):
        TeacherCache(nn.Unflatten(1, (6, 1)), DATA, tmp_path)
    with refuses("cache-format", "bfloat16"):
        TeacherCache(Counting(), DATA, tmp_path, kind="bfloat16")  # type: ignore[arg-type]
    cache = TeacherCache(Counting(), DATA, tmp_path)
    for row in (-1, 40):
        with refuses("cache-row"):
            cache[row]
    with refuses("cache-format"):
        cache.lists([0])


def _open(folder: str, out: str) -> None:
    torch.set_num_threads(1)
    np.save(out, TeacherCache(Counting(), DATA, folder).all().numpy())


def test_two_processes_share_one(tmp_path):
    context = multiprocessing.get_context("spawn")
    outs = [str(tmp_path / f"{i}.npy") for i in range(2)]
    both = [context.Process(target=_open, args=(str(tmp_path / "cache"), out)) for out in outs]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert np.array_equal(*(np.load(out) for out in outs))
    assert len([p for p in Path(tmp_path / "cache").iterdir() if not p.name.endswith(".lock")]) == 1


def test_draws_are_the_teachers_and_belong_to_the_row(tmp_path):
    teacher = Counting()
    cache = TeacherCache(teacher, INPUTS[:20], tmp_path, draws=6, batch_size=7)
    assert cache.nbytes == 20 * 6 * 2
    assert "6 draws" in repr(cache)
    again = TeacherCache(teacher, INPUTS[:20], tmp_path / "other", draws=6, batch_size=20)
    assert torch.equal(cache.all(), again.all())  # whoever is asked at the same time
    torch.testing.assert_close(cache.all().exp().sum(-1), torch.ones(20))
    assert not torch.equal(cache.all(), TeacherCache(teacher, INPUTS[:20], tmp_path, draws=6, seed=1).all())
    many = TeacherCache(teacher, INPUTS[:3], tmp_path, draws=20_000).all().exp()
    torch.testing.assert_close(many, answers(teacher)[:3].softmax(-1), rtol=0, atol=0.02)


def test_draws_of_a_teacher_whose_code_changed_are_refused(tmp_path):
    teacher = Counting()
    TeacherCache(teacher, INPUTS, tmp_path, draws=8)
    teacher.net.forward = lambda x: 5 * torch.roll(answers(teacher, x), 2, -1)  # type: ignore[method-assign]
    with refuses("stale-cache"):
        TeacherCache(teacher, INPUTS, tmp_path, draws=8)
    with refuses("cache-format"):
        TeacherCache(teacher, INPUTS, tmp_path, draws=8, top_k=2)
