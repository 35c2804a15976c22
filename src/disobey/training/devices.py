"""Where a network lives, and how its kernels are made to repeat themselves."""

from __future__ import annotations

import torch
from torch import nn

from disobey.data.dataset import Kind
from disobey.errors import refusal
from disobey.training.specs import Precision


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


def check_precision(precision: Precision, kind: str) -> None:
    """Refuses (``tf32-without-gpu``) what this kind of device, ``cpu`` or ``cuda``, cannot compute with.

    bfloat16 is computed everywhere, slowly on processors without units for it.
    """
    if precision == "tf32" and kind != "cuda":
        expected = "a GPU for precision 'tf32', which processors do not have"
        raise refusal("tf32-without-gpu", expected, kind, "precision 'float32', which is another recipe")


class deterministic:
    """Deterministic cuDNN inside the block, and TF32 there only where the recipe says so.

    On a CPU with one thread everything is deterministic already. PyTorch's own default for convolutions on a GPU is
    TF32: float32 would mean two things.
    """

    def __init__(self, device: torch.device, precision: Precision = "float32"):
        self.cuda, self.precision = device.type == "cuda", precision

    def __enter__(self):
        cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
        self.before = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, bool(products.allow_tf32))
        if self.cuda:
            self._set(True, False, self.precision == "tf32", self.precision == "tf32")

    def __exit__(self, *error):
        if self.cuda:
            self._set(*self.before)

    @staticmethod
    def _set(deterministic: bool, benchmark: bool, convolutions: bool, products: bool) -> None:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, benchmark
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products
