"""Exhibits' pixels as PNG data URIs, with zlib and struct alone: a report needs no image library to be drawn."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2  # PNG's colour types


def pixels(image: Sequence[Any]) -> NDArray:
    """Nested tuples as ``(H, W)`` or ``(H, W, 3)`` bytes.

    Raises `Refusal` where rows are ragged, numbers are outside 0–255 or the shape is another one.

    >>> pixels(((0, 255), (128, 7))).shape
    (2, 2)
    """
    try:
        array = np.asarray(image, dtype=float)
    except (TypeError, ValueError):
        raise refusal("bad-image", "an image of equally long rows of numbers", "a ragged or non-numeric one") from None
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] != 3):
        raise refusal("bad-image", "an image of shape (H, W) or (H, W, 3)", array.shape)
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 255):
        got = f"{array.min():g} to {array.max():g}"
        raise refusal("bad-image", "pixels from 0 to 255", got, "scaling the image to bytes")
    return array.round().astype(np.uint8)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(image: NDArray) -> bytes:
    r"""The bytes of a PNG file; ``image`` is ``(H, W)`` grey or ``(H, W, 3)`` RGB, uint8.

    >>> png(np.zeros((8, 8), np.uint8))[:8]
    b'\x89PNG\r\n\x1a\n'
    """
    height, width = image.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, _RGB if image.ndim == 3 else _GREY, 0, 0, 0)
    # Each row starts with its filter's number: 0, none. Exhibits are small, so filters would save nothing.
    rows = np.hstack([np.zeros((height, 1), np.uint8), image.reshape(height, -1)])
    return (
        _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + _chunk(b"IEND", b"")
    )


def data_uri(image: Sequence[Any]) -> str:
    """What an ``<img src>`` takes. Raises `Refusal` as `pixels` does.

    >>> data_uri(((0,),))[:32]
    'data:image/png;base64,iVBORw0KGg'
    """
    return "data:image/png;base64," + base64.b64encode(png(pixels(image))).decode("ascii")


def shown_size(image: Sequence[Any], wanted: int = 112) -> tuple[int, int]:
    """(width, height) in CSS pixels: a whole multiple of the image near ``wanted``, so that pixels stay squares.

    >>> shown_size(tuple((0,) * 28 for _ in range(28)))
    (112, 112)
    >>> shown_size(tuple((0,) * 8 for _ in range(8)))
    (112, 112)
    """
    height, width = len(image), len(image[0])
    times = max(1, wanted // max(height, width))
    return width * times, height * times
