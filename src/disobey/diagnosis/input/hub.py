"""Models and data by name: `hf:NAME` from the Hugging Face hub, or a local folder. No code from a model is run.

Sequence and image classifiers predict classes; causal language models predict every next token, of which the teacher's
`TOP` most likely ones are kept. Tokenizers and label maps are compared by content, not by name.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disobey.bounds import LINE, bounded_table, text_file
from disobey.diagnosis.errors import nearest
from disobey.diagnosis.input.matrices import ArrayMatrix
from disobey.diagnosis.input.pair import Pair, pair_from
from disobey.diagnosis.input.predict import evaluating, refuse_random
from disobey.errors import Refusal, printable, refusal
from disobey.measures.inference.clusters import FEWEST

TOP = 64
BATCH = 16
TOKENS = 256  # of a text that a model reads
TEXTS = ("text", "sentence", "content", "review", "question", "utterance", "sms", "title")
IMAGES = ("image", "img", "pixel_values")
LABELS = ("label", "labels", "fine_label", "coarse_label", "intent", "target")


@dataclass(frozen=True)
class Rows:
    """Examples of a data set: texts or images, labels where there are any, names of the label's classes."""

    inputs: list
    labels: list[int] | None
    names: tuple[str, ...] | None
    images: bool
    by_text: bool = False  # labels were texts, numbered here in alphabetical order


@dataclass(frozen=True)
class Loaded:
    """A model with what turns examples into its inputs. task: sequence, image or causal."""

    name: str
    model: Any
    processor: Any
    task: str


def predict_named(
    teacher: str, student: str, data: str, *, twin: str | None = None, split: str = "test", limit: int = 2000
) -> Pair:
    """The pair of two named models on named data. Raises `Refusal` for anything that cannot be loaded or compared."""
    import torch

    names = {"teacher": teacher, "student": student} | ({} if twin is None else {"twin": twin})
    models = {role: load_model(name.removeprefix("hf:"), role) for role, name in names.items()}
    tasks = {model.task for model in models.values()}
    if len(tasks) > 1:
        raise refusal(
            "different-tasks", "teacher and student for the same task", " and ".join(sorted(tasks)), where="models"
        )
    task = tasks.pop()
    rows = load_rows(data, split, limit, task)
    with torch.inference_mode(), evaluating({role: m.model for role, m in models.items()}):
        pair = _tokens(models, rows) if task == "causal" else _classes(models, rows)
    name = "-".join(Path(n.removeprefix("hf:")).name for n in (teacher, student))
    return replace(pair, name=name, split=split, facts={**pair.facts, "compared": True})


def load_model(name: str, role: str) -> Loaded:
    """From a local folder or the hub, by its configuration's architecture. Remote code is never run."""
    try:
        import transformers
    except ImportError as error:
        raise refusal(
            "missing-package",
            "transformers for hf: models",
            "an environment without",
            'pip install "disobey[hub]"',
            where=role,
        ) from error
    folder = Path(name).expanduser()
    looks_local = name.startswith((".", "/", "~")) or folder.is_dir()
    source = str(folder) if looks_local else name
    if looks_local and not (folder / "config.json").is_file():
        raise refusal(
            "no-model-folder",
            "a model folder with config.json",
            "none there",
            "save_pretrained(folder)",
            where=f"{role} {name}",
        )
    try:
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
        task = _task(config, role)
        kind = {
            "sequence": "AutoModelForSequenceClassification",
            "image": "AutoModelForImageClassification",
            "causal": "AutoModelForCausalLM",
        }[task]
        model = getattr(transformers, kind).from_pretrained(source, trust_remote_code=False, use_safetensors=True)
        processor = transformers.AutoImageProcessor if task == "image" else transformers.AutoTokenizer
        return Loaded(name, model, processor.from_pretrained(source, trust_remote_code=False), task)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, TypeError) as error:
        if isinstance(error, Refusal):
            raise
        first = printable(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
        hint = "check the name and the network; models must be stored as safetensors and need no code of their own"
        raise refusal("unreadable-model", "a model that loads", first, hint, where=f"{role} {name}") from error


def _task(config: Any, role: str) -> str:
    architecture = (getattr(config, "architectures", None) or [""])[0]
    for ending, task in (
        ("ForSequenceClassification", "sequence"),
        ("ForImageClassification", "image"),
        ("ForCausalLM", "causal"),
        ("LMHeadModel", "causal"),
    ):
        if architecture.endswith(ending):
            return task
    expected = "a sequence classifier, an image classifier or a causal language model"
    raise refusal(
        "unknown-architecture", expected, printable(architecture) or "no architecture in config.json", where=role
    )


def load_rows(data: str, split: str, limit: int, task: str) -> Rows:
    """Examples from the hub or a local file (.csv, .tsv, .jsonl, .parquet, .txt)."""
    name = data.removeprefix("hf:")
    local = Path(name).expanduser()
    if not data.startswith("hf:") or local.is_file():
        return _rows_of(list(_local(local, limit)), None, task, name)
    try:
        import datasets
    except ImportError as error:
        raise refusal(
            "missing-package",
            "the package datasets",
            "an environment without",
            'pip install "disobey[hub]"',
            where=data,
        ) from error
    base, _, configuration = name.partition(":")
    try:
        known = inspect.signature(datasets.load_dataset).parameters  # before version 4 it ran scripts when told "y"
        no_code: dict[str, Any] = {"trust_remote_code": False} if "trust_remote_code" in known else {}
        found: Any = datasets.load_dataset(base, configuration or None, split=split, **no_code)
        found = found.select(range(min(limit, len(found))))
        features = found.features
        names = next((tuple(f.names) for k, f in features.items() if k in LABELS and hasattr(f, "names")), None)
        return _rows_of(list(found), names, task, name)
    except Exception as error:  # the loader's own errors are of a dozen kinds, and all mean this
        if isinstance(error, Refusal):
            raise
        first = printable(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
        raise refusal(
            "unreadable-data",
            f"a data set with a split {split!r}",
            first,
            "--split, hf:NAME:CONFIGURATION, the network",
            where=data,
        ) from error


def _local(path: Path, limit: int) -> Iterator[dict]:
    import csv
    import itertools
    import json

    if not path.is_file():
        raise refusal("no-file", "a file of examples, or hf:NAME", "nothing there", where=path)
    suffix = path.suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            with open(text_file(path), newline="", encoding="utf-8-sig") as file:
                yield from itertools.islice(csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ","), limit)
        elif suffix in (".jsonl", ".txt"):
            with open(text_file(path), encoding="utf-8") as file:
                short = iter(lambda: file.readline(LINE), "")
                lines = itertools.islice((line for line in short if line.strip()), limit)
                yield from ({"text": line.rstrip("\n")} if suffix == ".txt" else json.loads(line) for line in lines)
        elif suffix == ".parquet":
            import pyarrow.parquet as parquet

            with parquet.ParquetFile(path) as opened:
                yield from bounded_table(path, opened, opened.schema_arrow.names, path, limit).to_pylist()
        else:
            raise refusal("file-format", ".csv, .tsv, .jsonl, .parquet or .txt", suffix or "no extension", where=path)
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error, RecursionError, MemoryError) as error:
        raise refusal("unreadable-file", f"a readable {suffix} file", error, where=path) from error


def _rows_of(rows: list, names: tuple[str, ...] | None, task: str, where: str) -> Rows:
    if not rows or not isinstance(rows[0], dict):
        raise refusal("no-examples", "at least one example with named columns", f"{len(rows)} rows", where=where)
    wanted = IMAGES if task == "image" else TEXTS
    column = next((k for k in wanted if k in rows[0]), None)
    if column is None:
        got = ", ".join(printable(k, 30) for k in rows[0])
        raise refusal(
            "missing-column",
            f"a column out of {', '.join(wanted)}",
            got,
            nearest(wanted[0], rows[0]) or "rename it",
            where=where,
        )
    key = next((k for k in LABELS if k in rows[0]), None)
    labels, by_text = None, False
    if key is not None and task != "causal":
        values = [row[key] for row in rows]
        try:
            labels = [int(value) for value in values]
        except (TypeError, ValueError):
            by_text = names is None
            names = tuple(sorted({str(value) for value in values})) if names is None else names
            numbers = {name: i for i, name in enumerate(names)}
            labels = [numbers[str(value)] for value in values]
    inputs = [_image(row[column], where) if task == "image" else str(row[column]) for row in rows]
    return Rows(inputs, labels, names, task == "image", by_text)


def _image(value: Any, where: str) -> Any:
    import io

    from PIL import Image

    if isinstance(value, dict) and value.get("bytes"):
        with contextlib.suppress(OSError):
            return Image.open(io.BytesIO(value["bytes"])).convert("RGB")
    if isinstance(value, Image.Image):
        return value.convert("RGB")
    raise refusal("not-images", "images", type(value).__name__, "a parquet file with encoded images", where=where)


def _classes(models: dict[str, Loaded], rows: Rows) -> Pair:
    outputs: dict[str, list[NDArray]] = {role: [] for role in models}
    for start in range(0, len(rows.inputs), BATCH):
        part = rows.inputs[start : start + BATCH]
        for role, loaded in models.items():
            outputs[role].append(_logits(loaded, part, start == 0, role))
    arrays: dict[str, Any] = {role: np.concatenate(parts) for role, parts in outputs.items()}
    facts, order = _label_maps(models)
    for role, columns in order.items():
        arrays[role] = arrays[role][:, columns]
    names = _class_list(models["teacher"])
    if rows.labels is not None:
        arrays["labels"] = _mapped_labels(rows, names)
    if len(names) == arrays["teacher"].shape[1]:
        arrays["class_names"] = np.array(names)
    if not rows.images:
        arrays["texts"] = np.array([text[:1000] for text in rows.inputs])
    facts |= _tokenizers(models) if not rows.images else {}
    # Two tokenizers are no fault in classifiers: each reads the same text in its own way.
    facts.pop("tokenizers_differ", None)
    return pair_from(arrays, values="logits", facts=facts)


def _logits(loaded: Loaded, part: list, first: bool, role: str) -> NDArray:
    if loaded.task == "image":
        inputs = loaded.processor(images=part, return_tensors="pt")
    else:
        if loaded.processor.pad_token is None:
            loaded.processor.pad_token = loaded.processor.eos_token
            loaded.model.config.pad_token_id = loaded.processor.pad_token_id
        inputs = loaded.processor(part, return_tensors="pt", padding=True, truncation=True, max_length=TOKENS)
    logits = loaded.model(**inputs).logits
    if first:
        refuse_random(logits, loaded.model(**inputs).logits, role)
    return logits.float().cpu().numpy()


def _class_list(loaded: Loaded) -> list[str]:
    mapping = loaded.model.config.id2label or {}
    return [str(mapping[i]) for i in sorted(mapping)]


def _mapped_labels(rows: Rows, names: list[str]) -> NDArray:
    """The data's labels in the model's numbers: by name where the model knows the data's names.

    Raises `Refusal` where labels are texts and the model, whose classes are named, lacks some of them.
    """
    labels = np.array(rows.labels)
    if not rows.names:
        return labels
    numbers = {name.lower(): i for i, name in enumerate(names)}
    if len(numbers) == len(names) and all(name.lower() in numbers for name in rows.names):
        return np.array([numbers[rows.names[label].lower()] for label in labels])
    generic = all(name.startswith("LABEL_") for name in names)
    if rows.by_text and (len(rows.names) > len(names) or not generic):
        place, name = next((i, rows.names[c]) for i, c in enumerate(labels) if rows.names[c].lower() not in numbers)
        shown = ", ".join(printable(n, 30) for n in names[:8]) + (" …" if len(names) > 8 else "")
        raise refusal(
            "unknown-label",
            f"the model's classes ({shown})",
            f"{printable(name, 60)!r} in row {place}",
            nearest(name, names) or "drop those examples, or rename the label",
            where="labels",
        )
    return labels


def _label_maps(models: dict[str, Loaded]) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """(what differs, columns that put a student's classes into the teacher's order where the names allow it)."""
    names = {role: _class_list(loaded) for role, loaded in models.items()}
    facts, order = {}, {}
    for role in models:
        if role == "teacher" or names[role] == names["teacher"]:
            continue
        if sorted(names[role]) == sorted(names["teacher"]) and len(set(names[role])) == len(names[role]):
            order[role] = [names[role].index(name) for name in names["teacher"]]
        elif len(names[role]) == len(names["teacher"]) and not all(n.startswith("LABEL_") for n in names[role]):
            pairs = [f"{a} / {b}" for a, b in zip(names["teacher"], names[role], strict=True) if a != b][:5]
            facts["label_maps_differ"] = printable(", ".join(pairs))
    return facts, order


def _tokenizers(models: dict[str, Loaded]) -> dict[str, Any]:
    """Compared by content: the same token numbers for the same tokens."""
    vocabularies = {role: loaded.processor.get_vocab() for role, loaded in models.items()}
    teacher = vocabularies["teacher"]
    for role, other in vocabularies.items():
        if other != teacher:
            differing = sum(1 for token, number in teacher.items() if other.get(token) != number)
            return {
                "tokenizers_differ": f"{differing:,} of the teacher's {len(teacher):,} tokens have another number, "
                f"or none, among the {role}'s {len(other):,}"
            }
    return {}


def _tokens(models: dict[str, Loaded], rows: Rows) -> Pair:
    """Top-k of every next token of every text, with the student's log-probabilities at the teacher's tokens."""
    import torch

    facts = _tokenizers(models)
    if facts:
        raise refusal(
            "different-tokenizers",
            "one tokenizer for teacher and student",
            facts["tokenizers_differ"],
            "a student that was distilled with the teacher's tokenizer",
            where="models",
        )
    parts: dict[str, list[NDArray]] = {}
    sequences: list[NDArray] = []
    for number, text in enumerate(rows.inputs):
        ids = models["teacher"].processor(text, return_tensors="pt", truncation=True, max_length=TOKENS)["input_ids"]
        if ids.shape[1] < 2:
            continue
        logs = {}
        for role, loaded in models.items():
            logits = loaded.model(input_ids=ids).logits
            if number == 0:
                refuse_random(logits, loaded.model(input_ids=ids).logits, role)
            logs[role] = logits[0, :-1].float().log_softmax(-1)
        width = min(log.shape[-1] for log in logs.values())
        best = logs["teacher"][:, :width].topk(min(TOP, width), dim=-1)
        true = ids[0, 1:, None].clamp(max=width - 1)
        found = {"topk_ids": best.indices.to(torch.int32), "topk_teacher": best.values, "labels": true[:, 0]}
        for role, log in logs.items():
            found[f"label_{role}"] = log.gather(1, true)[:, 0]
            if role != "teacher":
                found |= {f"topk_{role}": log.gather(1, best.indices), f"topk_{role}_top": log.argmax(-1)}
        for name, tensor in found.items():
            parts.setdefault(name, []).append(tensor.cpu().numpy())
        sequences.append(np.full(len(true), number))
    if not parts:
        raise refusal("short-texts", "texts of at least two tokens", "none", where="data")
    if len(sequences) >= FEWEST:  # the tokens of a text are one cluster
        parts["cluster"] = sequences
    return pair_from({name: ArrayMatrix(np.concatenate(arrays), name) for name, arrays in parts.items()}, facts=facts)
