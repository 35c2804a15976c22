"""Encoded pictures (PNG, JPEG, ...) to one uint8 array, within bounds: a small file may announce a huge picture."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import read_bounded
from disobey.data.formats.columns import MAX_BYTES
from disobey.errors import refusal

MAX_PICTURE = 1 << 28  # bytes of one picture as it is stored
MAX_PIXELS = 1 << 24  # of one picture, 4096 x 4096; read from its header, before it is decoded
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
GREY = ("1", "L", "LA")


def pillow() -> Any:
    """The module PIL.Image, or a refusal that says how to install it."""
    try:
        from PIL import Image
    except ImportError:
        raise refusal(
            "no-pillow", "the package pillow", "none", "pip install 'disobey[hub]'", where="pictures"
        ) from None
    return Image


def decoded(pictures: Iterable[tuple[str, bytes | Path]], count: int, size: int = 0) -> NDArray:
    """Decodes pictures into one array: one channel if the first picture is grey, else three.

    Args:
        pictures: pairs of a name for messages and the bytes or the file.
        count: number of pictures.
        size: the shorter side is scaled to it and the middle is cropped; 0 requires all pictures to have one size.

    Returns:
        (N, H, W, channels) uint8.

    Raises:
        Refusal: ``not-a-picture``, ``huge-picture``, ``picture-mode`` (more than 8 bits, or colour after grey),
            ``picture-sizes`` or ``too-large``.
    """
    result = np.empty(0, np.uint8)
    mode, first = "", ""
    for row, (where, content) in enumerate(pictures):
        image = opened(where, content)
        if not mode:
            mode, first = ("L" if image.mode in GREY else "RGB"), where
        array = np.asarray(fitted(_converted(where, image, mode), size))
        array = array[:, :, None] if array.ndim == 2 else array
        if row == 0:
            if array.nbytes * count > MAX_BYTES:
                got = f"{count} of {array.shape}"
                expected = f"pictures of {MAX_BYTES >> 30} GiB together"
                raise refusal("too-large", expected, got, "#size=32 after the name", where=where)
            result = np.empty((count, *array.shape), np.uint8)
        if array.shape != result.shape[1:]:
            got = f"{array.shape[:2]} after {result.shape[1:3]} in {first}"
            raise refusal("picture-sizes", "pictures of one size", got, "#size=32 after the name", where=where)
        result[row] = array
    return result


def opened(where: str, content: bytes | Path) -> Any:
    """A picture, decoded within bounds. Raises `Refusal`: ``not-a-picture`` or ``huge-picture``."""
    Image = pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own bound is lower than the one that PIL warns about
            content = content if isinstance(content, bytes) else read_bounded(content, MAX_PICTURE)
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.size[0] * image.size[1] <= MAX_PIXELS:
            image.load()
            return image
        got = f"{image.size[0]} x {image.size[1]}"
    except Exception as error:  # PIL raises whatever its decoders do: struct.error, SyntaxError, zlib.error, ...
        got = f"{type(error).__name__}: {error}"
        raise refusal("not-a-picture", f"a picture ({', '.join(FORMATS)})", got, "another file", where=where) from None
    raise refusal("huge-picture", f"a picture of at most {MAX_PIXELS:,} pixels", got, "scaling it down", where=where)


def _converted(where: str, image, mode: str):
    if image.mode.startswith(("I", "F")):
        raise refusal(
            "picture-mode", "8 bits per channel", f"mode {image.mode}", "converting it to 8 bits", where=where
        )
    if mode == "L" and image.mode not in GREY:
        expected = "grey pictures, as the first one is"
        raise refusal("picture-mode", expected, f"mode {image.mode}", "converting all pictures to RGB", where=where)
    return image.convert(mode)


def fitted(image: Any, size: int, resampling: Any = None) -> Any:
    """The shorter side scaled to ``size`` and the middle cropped; size 0: as it is. Bilinear, unless told otherwise."""
    if not size or image.size == (size, size):
        return image
    width, height = image.size
    scale = size / min(width, height)
    wide, tall = max(round(width * scale), size), max(round(height * scale), size)
    left, top = (wide - size) // 2, (tall - size) // 2
    how = pillow().Resampling.BILINEAR if resampling is None else resampling
    return image.resize((wide, tall), how).crop((left, top, left + size, top + size))
