"""Random crops with flips of resident images: overlapping line gathers compared with alternatives, interleaved.

    OMP_NUM_THREADS=1 python benchmarks/views.py

Measured on two shared AVX2 cores, one thread, torch 2.13, microseconds per batch of 128 (median of 30), twice:
28x28x1: lines 149 / 227, pixels 1074 / 1115, slicing 2852 / 2048.
32x32x3: lines 274 / 496, pixels 1613 / 1723, slicing 2994 / 2790.
Lines without the mirrored copy in memory, flipped afterwards: 276 and 770 the first time.
"""

from __future__ import annotations

import statistics
import time

import torch
import torch.nn.functional as F

from disobey.data.augment import PAD, Views


def candidates(images: torch.Tensor, rows: torch.Tensor, views: torch.Tensor) -> dict:
    """Name to a function that gathers one batch."""
    _, channels, height, width = images.shape
    tall, wide, offsets = height + 2 * PAD, width + 2 * PAD, 2 * PAD + 1
    ours = Views("crop-flip", images)
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, PAD, PAD, PAD, PAD)).contiguous()
    pixels = padded.view(-1, channels)
    y, x = torch.arange(height), torch.arange(width)
    table = torch.stack(
        [
            ((dy + y)[:, None] * wide + (2 * PAD - dx + x.flip(0) if flip else dx + x)).reshape(-1)
            for flip in (0, 1)
            for dy in range(offsets)
            for dx in range(offsets)
        ]
    )

    def by_pixels() -> torch.Tensor:
        places = (rows * (tall * wide))[:, None] + table[views]
        return F.embedding(places, pixels).view(len(rows), height, width, channels).permute(0, 3, 1, 2)

    def by_slicing() -> torch.Tensor:
        out = torch.empty(len(rows), height, width, channels)
        for place, (row, view) in enumerate(zip(rows.tolist(), views.tolist(), strict=True)):
            flip, offset = divmod(view, offsets**2)
            dy, dx = divmod(offset, offsets)
            left = 2 * PAD - dx if flip else dx  # a crop of the mirrored image
            window = padded[row, dy : dy + height, left : left + width]
            out[place] = window.flip(1) if flip else window
        return out.permute(0, 3, 1, 2)

    return {"lines": lambda: ours.take(rows, views), "pixels": by_pixels, "slicing": by_slicing}


def main() -> None:
    """Prints the median time of every way."""
    torch.set_num_threads(1)
    for n, channels, side in ((3500, 1, 28), (15000, 3, 32)):
        images = torch.randn(n, channels, side, side)
        rows, views = torch.randint(n, (128,)), torch.randint(162, (128,))
        ways = candidates(images, rows, views)
        times: dict[str, list[float]] = {name: [] for name in ways}
        expected = ways["slicing"]()
        for _ in range(30):
            for name, way in ways.items():
                start = time.perf_counter()
                result = way()
                times[name].append(time.perf_counter() - start)
                assert torch.equal(result, expected)
        medians = {name: statistics.median(values) * 1e6 for name, values in times.items()}
        line = ", ".join(f"{name} {value:.0f} us ({value / medians['lines']:.1f})" for name, value in medians.items())
        print(f"{n} images {side}x{side}x{channels}, batch 128: {line}")


if __name__ == "__main__":
    main()
