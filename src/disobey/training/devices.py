"""Where a network lives, and how its kernels are made to repeat themselves."""

from __future__ import annotations

import torch
from torch import nn

from disobey.data.dataset import Kind
from disobey.errors import refusal


def pick_device(name: str = "auto") -> torch.device:
    """``auto``: the first GPU where there is one.

    Raises:
        Refusal: ``no-gpu``, for a GPU that torch does not see.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise refusal("no-gpu", "a device that torch sees", f"{name!r} without a GPU", "--device cpu")
    return torch.device(name)


def device_type(name: str = "auto") -> str:
    """``cpu`` or ``cuda``; for ``auto`` what `pick_device` picks."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name).type


def on_device(model: nn.Module, kind: Kind, device: torch.device) -> nn.Module:
    """The model on a device, in the memory format in which its convolutions are fastest."""
    if kind == "image":
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return model.to(device)


class deterministic:
    """Deterministic cuDNN inside the block; on CPU with one thread everything is deterministic already."""

    def __init__(self, device: torch.device):
        self.cuda = device.type == "cuda"

    def __enter__(self):
        self.before = (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)
        if self.cuda:
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False

    def __exit__(self, *error):
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = self.before
