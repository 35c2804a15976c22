import io

import numpy as np
import pytest

from disobey.reports.images import data_uri, pixels, png, shown_size
from tests.support.refusals import refuses


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (28, 17), (32, 32, 3), (5, 2, 3)])
def test_another_reader_sees_the_same_pixels(shape):
    image_module = pytest.importorskip("PIL.Image")
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with image_module.open(io.BytesIO(png(image))) as read:
        assert (np.asarray(read) == image).all()


def test_a_last_axis_of_one_is_grey():
    assert pixels((((3,), (4,)),)).tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (((1, 2), (3,)), "ragged"),
        ((("a",),), "non-numeric"),
        (((-1,),), "0 to 255"),
        (((float("nan"),),), "0 to 255"),
        (((256,),), "0 to 255"),
        ((1, 2, 3), "shape"),
        (((),), "shape"),
        ((((1, 2),),), "shape"),
    ],
)
def test_what_is_no_image_is_refused(image, words):
    with refuses("bad-image", words):
        data_uri(image)


@pytest.mark.parametrize("side", [1, 8, 28, 100, 500])
def test_images_grow_by_whole_pixels_only(side):
    width, height = shown_size(tuple((0,) * side for _ in range(side)))
    assert width == height
    assert width % side == 0
    assert width <= max(112, side)
