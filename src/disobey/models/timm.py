# pyright: reportMissingImports=false
"""Image models of the `timm` library behind our own interface; the extra ``timm`` installs it.

Shapes: B batch, c channels, C classes.
"""

from __future__ import annotations

import difflib
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from disobey.errors import refusal
from disobey.packages import missing


class TimmImage(nn.Module):
    """An image classifier: ``(B, c, H, W)`` to logits ``(B, C)``; images are resized (bilinear) to a given size."""

    def __init__(self, model: nn.Module, size: tuple[int, int] | None):
        super().__init__()
        self.model, self.size = model, size
        stages: Any = getattr(model, "feature_info", [])
        modules = dict(model.named_modules())
        found = [s["module"] for s in stages if s.get("module") in modules]
        self.feature_names = {f"layer{i}": f"model.{name}" for i, name in enumerate(found, 1)}

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, C)``."""
        if self.size and self.size != tuple(x.shape[-2:]):
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        return self.model(x)


def timm_model(name: str, shape: tuple[int, ...], classes: int, *, weights: bool) -> nn.Module:
    """The model ``name`` of timm with a new last layer.

    Models of a fixed input size get it: their images are resized to it.

    Args:
        name: as in ``timm.list_models()``.
        shape: (c, H, W) of one image.
        classes: C.
        weights: start from the published weights, else from random ones.

    Returns:
        The network.

    Raises:
        Refusal: ``no-timm``, ``unknown-timm`` or ``timm-weights``.
    """
    timm = _timm()
    base = name.partition(".")[0]
    if not timm.is_model(base):
        near = difflib.get_close_matches(base, timm.list_models(), n=1)
        raise refusal(
            "unknown-timm", "a name of timm.list_models()", repr(name), repr(f"timm:{near[0]}") if near else ""
        )
    try:
        model = timm.create_model(name, pretrained=weights, num_classes=classes, in_chans=shape[0])
    except (OSError, RuntimeError, ValueError) as error:
        attempt = f"timm:{name}#random, which starts from random weights" if weights else "another model"
        raise refusal("timm-weights", "published weights", error, attempt, where=f"timm:{name}") from error
    about = getattr(model, "pretrained_cfg", None) or {}
    fixed = about.get("input_size") if about.get("fixed_input_size") else None
    return TimmImage(model, tuple(fixed[1:]) if fixed else None)


def timm_fingerprint(name: str) -> str:
    """What identifies a model beside its name: the release of timm, which fixes its layers and its weights' address."""
    del name
    return f"timm-{_timm().__version__}"


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise missing("timm", "models named timm:NAME") from error
    return timm
