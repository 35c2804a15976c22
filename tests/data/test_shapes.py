"""Rendered shapes: the same whenever they are made, balanced, and told apart by shape and not by colour."""

import numpy as np

from disobey.data.dataset import DataSpec
from disobey.data.load import load
from disobey.data.sources.shapes import SHAPES, colour_shapes
from tests.support.refusals import refuses


def test_the_same_pictures_every_time_and_all_classes_equally_often():
    first, again, other = colour_shapes(examples=400), colour_shapes(examples=400), colour_shapes(examples=400, seed=1)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    labels = np.concatenate([first.split(name).labels for name in ("train", "validation", "test")])
    assert np.ptp(np.bincount(labels, minlength=len(SHAPES))) == 0
    assert first.train.inputs.shape[1:] == (16, 16, 3)
    assert first.train.inputs.dtype == np.uint8


def test_every_shape_is_lighter_than_its_ground_and_fully_in_the_picture():
    data = colour_shapes(examples=800, noise=0.0)
    images = data.train.inputs.astype(float).mean(axis=-1)
    span = images.max(axis=(1, 2)) - images.min(axis=(1, 2))
    assert (span > 0).all()
    inside = (images - images.min(axis=(1, 2), keepdims=True)) / span[:, None, None]
    area = inside.sum(axis=(1, 2))
    assert area.min() > 8  # pixels
    for place, name in enumerate(SHAPES):
        assert np.std(area[data.train.labels == place]) > 0, name


def test_mean_colours_say_little_about_the_class():
    data = load(DataSpec("colour-shapes"), 0)
    colour = data.train.inputs.astype(float).mean(axis=(1, 2))
    total = colour.var(axis=0).sum()
    between = np.var([colour[data.train.labels == c].mean(axis=0) for c in range(8)], axis=0).sum()
    assert between < 0.2 * total


def test_nonsense_is_refused():
    with refuses("shapes-size"):
        colour_shapes(examples=20)
    with refuses("shapes-size"):
        colour_shapes(noise=2.0)
