"""From two modules and batches to `Predictions`: in eval mode, refusing what would make the numbers meaningless."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from disobey.errors import refusal
from disobey.records.predictions import Predictions

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Forward = Callable[..., Any]
LABELS = ("labels", "label", "targets", "y")
MAX_NUMBERS = 2**28  # log-probabilities a model that are kept in memory: 1 GiB in float32


def predict_pair(
    teacher: nn.Module,
    student: nn.Module,
    batches: Iterable[Any],
    *,
    twin: nn.Module | None = None,
    forward: Forward | None = None,
    device: torch.device | str | None = None,
    limit: int | None = None,
    split: str = "test",
    class_names: tuple[str, ...] | None = None,
) -> Predictions:
    """Log-probabilities of teacher and student (and the control) on the same batches, ready for `diagnose`.

    Every model is put into eval mode, and back afterwards.

    Args:
        teacher: outputs (B, C), or (B, T, C) with labels (B, T), of which positions labelled −100 are left out. An
            output may be a tensor, a tuple whose first entry is the tensor, or an object or mapping with ``logits``.
        student: outputs of the teacher's shape.
        batches: tensors; ``(inputs, labels)``; or mappings with a key ``labels`` whose other entries are passed by
            name.
        twin: the control: the same student trained without the teacher.
        forward: ``forward(module, inputs) -> logits``, where calling the module is not enough.
        device: where the models run; where they are, by default.
        limit: stop after so many examples.
        split: which examples these are.
        class_names: C names.

    Raises:
        Refusal: models that give another output for the same batch, batch norm that uses the batch, outputs of
            different shapes, NaN, no batches at all.
    """
    import torch

    models = {"teacher": teacher, "student": student} | ({} if twin is None else {"twin": twin})
    logs: dict[str, list[NDArray]] = {name: [] for name in models}
    labels: list[NDArray] = []
    done = 0
    with evaluating(models), torch.no_grad():
        for number, batch in enumerate(batches):
            inputs, targets = parted(batch)
            outputs = {}
            for name, model in models.items():
                where = _device(model, device)
                call = forward or _call
                outputs[name] = logits_of(call(model, moved(inputs, where)), name)
                if number == 0:
                    again = logits_of(call(model, moved(inputs, where)), name)
                    refuse_random(outputs[name], again, name)
            rows, kept = _rows(outputs, targets)
            for name, value in rows.items():
                logs[name].append(value)
            if kept is not None:
                labels.append(kept)
            done += len(rows["teacher"])
            if done * rows["teacher"].shape[1] > MAX_NUMBERS:
                raise refusal(
                    "too-large",
                    f"at most {MAX_NUMBERS:,} scores a model",
                    "more",
                    "limit=, or save float16 arrays and diagnose the file",
                    where="predict_pair",
                )
            if limit is not None and done >= limit:
                break
    return _joined(logs, labels, limit, split, class_names)


def _joined(logs: dict[str, list[NDArray]], labels: list, limit: int | None, split: str, names) -> Predictions:
    if not logs["teacher"]:
        raise refusal(
            "no-batches",
            "at least one batch",
            "none",
            "an iterator that was read before is empty: pass a loader",
            where="batches",
        )
    if labels and len(labels) != len(logs["teacher"]):
        raise refusal(
            "some-labels",
            "labels in every batch, or in none",
            f"labels in {len(labels)} of {len(logs['teacher'])}",
            where="batches",
        )
    arrays = {name: np.concatenate(parts)[:limit] for name, parts in logs.items()}
    for name, array in arrays.items():
        bad = np.flatnonzero(~np.isfinite(array.max(axis=1)))
        if len(bad):
            raise refusal(
                "not-finite", "finite scores", f"NaN or infinity in row {bad[0]}", "run it in float32", where=name
            )
    return Predictions(
        arrays["teacher"],
        arrays["student"],
        np.concatenate(labels)[:limit] if labels else None,
        np.arange(len(arrays["teacher"])),
        split,
        arrays.get("twin"),
        class_names=names,
    )


@contextmanager
def evaluating(models: Mapping[str, nn.Module]) -> Iterator[None]:
    """Eval mode, and back; refuses batch norm that would use the batch even so."""
    from torch.nn.modules.batchnorm import _BatchNorm

    for name, model in models.items():
        if not hasattr(model, "named_modules"):
            raise refusal(
                "not-a-module",
                "a torch.nn.Module",
                type(model).__name__,
                "the loaded model, or disobey.diagnose(arrays)",
                where=name,
            )
    modes = [(m, m.training) for model in models.values() for m in model.modules()]
    try:
        for name, model in models.items():
            model.eval()
            for path, module in model.named_modules():
                if module.training:
                    raise refusal(
                        "training-mode",
                        "eval mode",
                        "a module that stays in train mode",
                        "its train() method",
                        where=f"{name}.{path}",
                    )
                if isinstance(module, _BatchNorm) and module.running_mean is None:
                    got = "batch norm without running statistics: an example's output depends on the rest of the batch"
                    raise refusal(
                        "batch-norm",
                        "batch norm with running statistics",
                        got,
                        "track_running_stats=True",
                        where=f"{name}.{path}",
                    )
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def parted(batch: Any) -> tuple[Any, Any]:
    """(inputs, labels or None) of a batch."""
    if isinstance(batch, Mapping):
        key = next((k for k in LABELS if k in batch), None)
        return {k: v for k, v in batch.items() if k != key}, None if key is None else batch[key]
    if isinstance(batch, tuple | list):
        if len(batch) == 1:
            return batch[0], None
        if len(batch) == 2:
            return batch[0], batch[1]
        raise refusal(
            "batch-form",
            "inputs, (inputs, labels) or a mapping",
            f"a {type(batch).__name__} of {len(batch)}",
            "map your loader to (inputs, labels)",
            where="batches",
        )
    return batch, None


def _call(model: nn.Module, inputs: Any) -> Any:
    return model(**inputs) if isinstance(inputs, Mapping) else model(inputs)


def moved(inputs: Any, device: Any) -> Any:
    """Inputs on a device, at any depth of mappings."""
    if isinstance(inputs, Mapping):
        return {key: moved(value, device) for key, value in inputs.items()}
    return inputs.to(device) if hasattr(inputs, "to") else inputs


def _device(model: nn.Module, device: Any) -> Any:
    if device is not None:
        model.to(device)
        return device
    first = next(model.parameters(), None)
    return "cpu" if first is None else first.device


def logits_of(returned: Any, name: str) -> Tensor:
    """The logits in whatever a model returned."""
    output: Any = returned
    if isinstance(returned, Mapping) and "logits" in returned:
        output = returned["logits"]
    elif hasattr(returned, "logits"):
        output = getattr(returned, "logits")  # noqa: B009 (any object may have it)
    elif isinstance(returned, tuple | list) and returned:
        output = returned[0]
    if not hasattr(output, "dim") or output.dim() not in (2, 3) or output.shape[-1] < 2:
        got = f"shape {tuple(output.shape)}" if hasattr(output, "shape") else type(output).__name__
        raise refusal(
            "logit-shape", "logits of shape (B, C) or (B, T, C)", got, "forward=lambda model, x: …", where=name
        )
    return output


def refuse_random(first: Tensor, second: Tensor, name: str) -> None:
    """The same batch twice must give the same output."""
    nan = bool(first.isnan().any())  # has a refusal of its own, and never equals itself
    if first.shape != second.shape or not (nan or bool((first == second).all())):
        gap = float((first.float() - second.float()).abs().max()) if first.shape == second.shape else float("inf")
        scale = float(first.float().abs().max())
        if not gap <= 1e-4 * (1 + scale):
            raise refusal(
                "random-output",
                "the same output for the same batch",
                f"differences up to {gap:.3g} in eval mode",
                "switch off dropout, noise and sampling inside forward()",
                where=name,
            )


def _rows(outputs: dict[str, Tensor], targets: Any) -> tuple[dict[str, NDArray], NDArray | None]:
    """Float32 log-probabilities (rows, C) of every model, and the labels of these rows."""
    import torch

    shape = outputs["teacher"].shape
    for name, output in outputs.items():
        if output.shape != shape:
            raise refusal(
                "other-shape",
                f"the teacher's shape {tuple(shape)}",
                tuple(output.shape),
                "the same classes in order",
                where=name,
            )
    labels = None if targets is None else torch.as_tensor(targets).cpu()
    if labels is not None and labels.is_floating_point():
        raise refusal(
            "label-type", "class numbers", f"type {labels.dtype}", "labels.argmax(1) for one-hot labels", where="labels"
        )
    keep = None
    if labels is not None and labels.shape != shape[:-1]:
        raise refusal(
            "label-shape",
            f"shape {tuple(shape[:-1])}",
            tuple(labels.shape),
            "one class number an example",
            where="labels",
        )
    if labels is not None:
        labels = labels.reshape(-1)
        keep = labels != -100
        labels = labels[keep]
        if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= shape[-1]):
            raise refusal(
                "label-range",
                f"0 to {shape[-1] - 1}",
                f"{int(labels.min())} to {int(labels.max())}",
                "count from 0",
                where="labels",
            )
    rows = {}
    for name, output in outputs.items():
        flat = output.reshape(-1, shape[-1]).float().log_softmax(-1).cpu()
        rows[name] = (flat if keep is None else flat[keep]).numpy()
    return rows, None if labels is None else labels.numpy().astype(np.int64)
