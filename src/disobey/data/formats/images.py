"""Encoded pictures (PNG, JPEG, ...) to one uint8 array, with bounds: a small file may claim a huge picture."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import read_bounded
from disobey.data.formats.columns import MAX_BYTES, refused

MAX_PICTURE = 1 << 28  # bytes of one picture as it is stored
MAX_PIXELS = 1 << 24  # of one picture, 4096 x 4096: known from its header, before it is decoded
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
GREY = ("1", "L", "LA")


def pillow():
    """PIL.Image, or a sentence that says how to get it."""
    try:
        from PIL import Image
    except ImportError:
        raise refused("pictures", "the package pillow", "none", "pip install 'disobey[hub]'") from None
    return Image


def decoded(pictures: Iterable[tuple[str, bytes | Path]], count: int, size: int = 0) -> NDArray:
    """(N, H, W, channels) uint8 out of (name for errors, bytes or file) pairs.

    One channel where the first picture is grey, else three. ``size``: scaled so that the shorter side has it, and cut
    out of the middle; without it all pictures must be of one size. An unreadable, huge or 16-bit picture is refused.
    """
    result = np.empty(0, np.uint8)
    mode, first = "", ""
    for row, (where, content) in enumerate(pictures):
        image = _opened(where, content)
        if not mode:
            mode, first = ("L" if image.mode in GREY else "RGB"), where
        array = np.asarray(_fitted(_converted(where, image, mode), size))
        array = array[:, :, None] if array.ndim == 2 else array
        if row == 0:
            if array.nbytes * count > MAX_BYTES:
                came = f"{count} of {array.shape}"
                raise refused(where, f"pictures of {MAX_BYTES >> 30} GiB together", came, "#size=32 behind the name")
            result = np.empty((count, *array.shape), np.uint8)
        if array.shape != result.shape[1:]:
            came = f"{array.shape[:2]} after {result.shape[1:3]} in {first}"
            raise refused(where, "pictures of one size", came, "#size=32 behind the name")
        result[row] = array
    return result


def _opened(where: str, content: bytes | Path):
    Image = pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own bound is below the one PIL warns about
            content = content if isinstance(content, bytes) else read_bounded(content, MAX_PICTURE)
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        if image.size[0] * image.size[1] <= MAX_PIXELS:
            image.load()
            return image
        came = f"{image.size[0]} x {image.size[1]}"
    except Exception as error:  # PIL raises whatever its decoders do: struct.error, SyntaxError, zlib.error, ...
        raise refused(
            where, f"a picture ({', '.join(FORMATS)})", f"{type(error).__name__}: {error}", "another file"
        ) from None
    raise refused(where, f"a picture of at most {MAX_PIXELS:,} pixels", came, "scaling it down")


def _converted(where: str, image, mode: str):
    if image.mode.startswith(("I", "F")):
        raise refused(where, "8 bits a channel", f"mode {image.mode}", "converting it to 8 bits")
    if mode == "L" and image.mode not in GREY:
        raise refused(where, "grey pictures, as the first one is", f"mode {image.mode}", "converting all to RGB")
    return image.convert(mode)


def _fitted(image, size: int):
    if not size or image.size == (size, size):
        return image
    width, height = image.size
    scale = size / min(width, height)
    wide, tall = max(round(width * scale), size), max(round(height * scale), size)
    left, top = (wide - size) // 2, (tall - size) // 2
    return image.resize((wide, tall), pillow().Resampling.BILINEAR).crop((left, top, left + size, top + size))
