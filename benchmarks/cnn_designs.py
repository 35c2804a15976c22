"""Which three strided convolutions learn most in equal time: accuracy against CPU-seconds, one thread.

    python benchmarks/cnn_designs.py --mnist FOLDER [--seeds 3] [--width 16] [--scale 1.0]

Trains on 4,000 of the embedded MNIST digits (training and validation splits) with batch 128 and Adam with a cosine from
1e-2 after a tenth of warmup. The test set is every second image of MNIST's own test set, which is not part of the
embedded digits: FOLDER contains t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz. Designs take turns within a
seed, and their numbers of steps are chosen so that all take about the same time (multiplied by ``--scale``). Reported
are the means over seeds of the CPU-seconds of training and of both accuracies, and the worst seed.
"""

from __future__ import annotations

import argparse
import gzip
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from disobey.data.sources.embedded import mnist_5k
from disobey.models.convnet import conv_block

DESIGNS = {  # kernel and stride of the first layer, kernel of the second, steps that take equal time at width 16
    "3x3/2, 3x3": (3, 2, 3, 260),
    "5x5/2, 3x3 (cnn)": (5, 2, 3, 260),
    "5x5/3, 3x3": (5, 3, 3, 400),
    "5x5/3, 5x5": (5, 3, 5, 310),
}
BATCH, RATE = 128, 1e-2


def network(kernel: int, stride: int, second: int, width: int) -> nn.Module:
    """Three strided convolutions and a linear layer."""
    body = nn.Sequential(
        conv_block(1, width, kernel=kernel, stride=stride),
        conv_block(width, 2 * width, kernel=second),
        conv_block(2 * width, 2 * width),
        nn.Flatten(),
    )
    body.append(nn.Linear(body(torch.zeros(2, 1, 28, 28)).shape[1], 10))
    return body.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def scaled(images: np.ndarray) -> Tensor:
    """Images as normalized tensors in channels_last memory."""
    x = (torch.tensor(images.reshape(-1, 1, 28, 28)).float() / 255 - 0.1307) / 0.3081
    return x.contiguous(memory_format=torch.channels_last)


def trained(model: nn.Module, x: Tensor, y: Tensor, steps: int, seed: int) -> float:
    """Trains in place; returns CPU-seconds."""
    generator = torch.Generator().manual_seed(seed)
    rows = x.permute(0, 2, 3, 1).reshape(len(x), -1)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    start = time.process_time()
    order = torch.randperm(len(x), generator=generator)
    for step in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(len(x), generator=generator)
        batch, order = order[:BATCH], order[BATCH:]
        warm = min(1.0, (step + 1) / (0.1 * steps))
        optimizer.param_groups[0]["lr"] = RATE * warm * 0.5 * (1 + np.cos(np.pi * step / steps))
        logits = model(F.embedding(batch, rows).view(-1, 28, 28, 1).permute(0, 3, 1, 2))
        optimizer.zero_grad()
        F.cross_entropy(logits, y[batch]).backward()
        optimizer.step()
    return time.process_time() - start


@torch.inference_mode()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of the images that are classified correctly."""
    model.eval()
    answers = torch.cat([model(part).argmax(1) for part in x.split(256)])
    return float((answers == y).double().mean())


def main() -> None:
    """Parses the options and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = mnist_5k()
    x = scaled(np.concatenate([data.train.inputs, data.validation.inputs]))
    y = torch.tensor(np.concatenate([data.train.labels, data.validation.labels]))
    pixels = gzip.decompress((options.mnist / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((options.mnist / "t10k-labels-idx1-ubyte.gz").read_bytes())
    x_test = scaled(np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 28, 28)[::2].copy())
    y_test = torch.tensor(np.frombuffer(labels, np.uint8, offset=8)[::2].astype(np.int64))
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in DESIGNS}
    for seed in range(options.seeds):
        for name, (kernel, stride, second, steps) in DESIGNS.items():
            torch.manual_seed(seed)
            model = network(kernel, stride, second, options.width)
            seconds = trained(model, x, y, round(steps * options.scale), seed)
            found[name].append((seconds, accuracy(model, x, y), accuracy(model, x_test, y_test)))
    for name, values in found.items():
        seconds, train, test = np.mean(values, axis=0)
        worst = min(value[2] for value in values)
        print(f"{name:18} {seconds:5.2f} s  train {train:.4f}  test {test:.4f}  worst seed {worst:.4f}")


if __name__ == "__main__":
    main()
