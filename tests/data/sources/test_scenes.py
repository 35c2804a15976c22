"""Rendered scenes: the same whenever they are made, masks and boxes exact, dials that do what they say."""

import numpy as np

from disobey.data.boxes import packed, padded, present
from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.data.sources.scenes import from_name, rendered
from tests.support.refusals import refuses


def test_the_same_scenes_every_time_and_others_with_another_seed():
    first, again, other = (rendered(examples=20, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.masks, again.masks)
    assert not np.array_equal(first.masks, other.masks)
    assert from_name("scenes#examples=40").fingerprint == from_name("scenes#examples=40").fingerprint


def test_every_box_is_as_tight_as_its_mask_and_every_class_has_a_box():
    scenes = rendered(examples=40, occlusion=0.0)
    for scene in range(40):
        mine = scenes.box_scenes == scene
        assert set(scenes.box_classes[mine]) == set(np.unique(scenes.masks[scene])) - {0}
        covered = np.zeros((32, 32), bool)
        for (left, top, right, bottom), kind in zip(scenes.boxes[mine], scenes.box_classes[mine], strict=True):
            inside = scenes.masks[scene, top:bottom, left:right] == kind
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any()
            covered[top:bottom, left:right] = True
        assert not scenes.masks[scene][~covered].any()


def test_similar_classes_share_their_colour_and_noise_blurs_the_ground():
    def spread(**dials):
        found = rendered(examples=150, **dials)
        means = [found.images[found.masks == kind].mean(axis=0) for kind in range(1, 6)]
        return np.std(means, axis=0).mean()

    assert spread(similarity=1.0) < 0.3 * spread(similarity=0.0)
    quiet, loud = (rendered(examples=20, noise=noise).images.astype(float) for noise in (0.0, 0.3))
    assert np.abs(np.diff(loud, axis=2)).mean() > 2 * np.abs(np.diff(quiet, axis=2)).mean()


def test_occlusion_hides_more_of_the_objects():
    def hidden(occlusion):
        found = rendered(examples=300, occlusion=occlusion)
        return (found.masks > 0).mean()

    assert hidden(1.0) < 0.9 * hidden(0.0)


def test_subsets_are_nested_and_label_noise_gives_whole_regions_another_class():
    spec = DataSpec("scenes#examples=80", noise=0.25)
    data = load(spec, 0)
    assert data.dense
    regions = wrong = 0
    for true, seen in zip(data.train.labels, data.train.observed, strict=True):
        assert not seen[true == 0].any()
        for kind in set(np.unique(true)) - {0}:
            (found,) = np.unique(seen[true == kind])
            regions, wrong = regions + 1, wrong + (found != kind)
    assert wrong == round(0.25 * regions)
    few, more = (load(DataSpec("scenes#examples=80", train=n), 3).train.ids for n in (10, 20))
    assert set(few) < set(more)
    assert np.array_equal(load(spec, 0).test.labels, load(spec, 7).test.labels)


def test_nonsense_is_refused():
    with refuses("scenes-size"):
        rendered(examples=20, similarity=1.5)
    with refuses("scenes-size"):
        rendered(examples=10**6, size=256)
    with refuses("scenes-parameter"):
        load(DataSpec("scenes#colour=3"), 0)
    for spec in (DataSpec("scenes", augment="crop"), DataSpec("scenes", fold=(0, 2))):
        with refuses("dense-data"):
            load(spec, 0)


def test_boxes_are_those_of_the_same_scenes_and_noise_gives_a_share_of_them_another_class():
    spec = DataSpec("scenes-boxes#examples=80", noise=0.25)
    data, masks = load(spec, 0), load(DataSpec("scenes#examples=80"), 0)
    assert data.boxed
    assert not data.dense
    assert not masks.boxed
    assert data.classes == ("nothing", *masks.classes[1:])
    for name in ("train", "validation", "test"):
        split, other = data.split(name), masks.split(name)
        assert np.array_equal(split.inputs, other.inputs)
        seen = [set(row[present(row), 4]) for row in split.labels]
        assert all(set(np.unique(mask)) - {0} <= kinds for mask, kinds in zip(other.labels, seen, strict=True))
    true, observed = data.train.labels, data.train.observed
    assert np.array_equal(true[..., :4], observed[..., :4])
    wrong = (true != observed).any(axis=-1)
    assert wrong.sum() == round(0.25 * present(true).sum())
    assert observed[present(true)][:, 4].min() >= 1
    assert np.array_equal(present(true), present(observed))
    assert data.fingerprint != load(DataSpec("scenes-boxes#examples=80"), 0).fingerprint
    few, more = (load(DataSpec("scenes-boxes#examples=80", train=n), 3).train for n in (10, 20))
    assert set(few.ids) < set(more.ids)


def test_boxes_are_packed_in_their_order_and_padded():
    boxes, images = np.arange(12).reshape(3, 4), np.array([2, 0, 2])
    labels = packed(boxes, np.array([1, 2, 3]), images, 3)
    assert labels.shape == (3, 2, 5)
    assert labels[2, :, 4].tolist() == [1, 3]
    assert labels[2, 1, :4].tolist() == [8, 9, 10, 11]
    assert present(labels).sum(axis=1).tolist() == [1, 0, 2]
    assert (labels[1] == -1).all()
    assert padded(labels, 4).shape == (3, 4, 5)
    assert present(padded(labels, 4)).sum() == 3


def test_what_boxes_cannot_do_is_refused():
    for spec in (DataSpec("scenes-boxes", augment="crop"), DataSpec("scenes-boxes", noise=0.1, noise_kind="class")):
        with refuses("dense-data"):
            load(spec, 0)
    with refuses("change-boxes"):
        load(DataSpec("similar:scenes-boxes"), 0)
    with refuses("few-classes"):
        load(DataSpec("scenes-boxes#classes=1", noise=0.2), 0)
