"""Per-token lists of {token: log-probability}, as serving engines and offline distillation tools write them.

One JSON object a line, either one token or one sequence of tokens::

    {"teacher": [{"42": -0.1, "7": -2.4}, …], "student": [{"42": -0.3, "7": -1.9}, …], "labels": [42, …]}

A token's entry may be a mapping from token id to a number or to ``{"logprob": number, …}`` (prompt log-probabilities
of serving engines), or a list of ``{"token": …, "logprob": …}`` (``top_logprobs`` of chat interfaces); empty entries
(null: the first token of a prompt) are skipped on both sides. Tokens may be ids or texts; texts are numbered here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from disobey.diagnosis.matrices import ArrayMatrix, Matrix
from disobey.diagnosis.problems import printable, problem

LIMIT = 2 * 2**30
MAX_K = 4096


def read_jsonl(path: Path) -> Mapping[str, Matrix]:
    """The arrays of a top-k pair: ``topk_ids`` (N, k), ``topk_teacher``, ``topk_student`` (N, k), ``labels`` (N,).

    k is the longest of the teacher's lists; shorter ones are filled with id −1 and −inf. Where the student's list
    lacks one of the teacher's tokens its log-probability is NaN: unknown, counted, never guessed.
    """
    if path.stat().st_size > LIMIT:
        raise problem(path, "at most 2 GB of JSON lines", f"{path.stat().st_size / 1e9:.1f} GB", "parquet or npz")
    numbers: dict[str, int] = {}
    tokens: list[tuple[dict[int, float], dict[int, float], int]] = []
    line_number = 0
    try:
        with open(path, encoding="utf-8") as file:
            for line_number, line in enumerate(file, 1):
                if line.strip():
                    tokens += _tokens(json.loads(line), numbers, f"{path}, line {line_number}")
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, OSError) as error:
        came = f"{printable(error)} in line {line_number}"
        raise problem(path, "one JSON object a line", came, "see docs/diagnose.md, top-k") from error
    if not tokens:
        raise problem(path, "at least one token with log-probabilities", "none")
    return _arrays(path, tokens, numbers)


def _tokens(record: Any, numbers: dict[str, int], where: str) -> list:
    if not isinstance(record, dict) or "teacher" not in record or "student" not in record:
        keys = printable(list(record)) if isinstance(record, dict) else type(record).__name__
        raise problem(where, "an object with 'teacher' and 'student'", keys, "rename the keys")
    sides = [_positions(record[name], where) for name in ("teacher", "student")]
    labels = record.get("labels", record.get("label"))
    labels = labels if isinstance(labels, list) else [labels] * (1 if len(sides[0]) == 1 else len(sides[0]))
    if not len(sides[0]) == len(sides[1]) == len(labels):
        came = f"{len(sides[0])}, {len(sides[1])} and {len(labels)}"
        raise problem(where, "equally many tokens for teacher, student and labels", came, "cut both at the same place")
    out = []
    for teacher, student, label in zip(*sides, labels, strict=True):
        if teacher and student:
            pair = [_entry(entry, numbers, where) for entry in (teacher, student)]
            out.append((*pair, -1 if label is None else _number(label, numbers, where)))
    return out


def _positions(value: Any, where: str) -> list:
    """A list of per-token entries, also where the line holds a single token."""
    if isinstance(value, dict):
        return _positions(value["content"], where) if isinstance(value.get("content"), list) else [value]
    if isinstance(value, list):
        single = value and all(isinstance(item, dict) and "logprob" in item and "top_logprobs" not in item
                               for item in value)  # fmt: skip
        return [value] if single else value
    raise problem(where, "a list of tokens", printable(type(value).__name__))


def _entry(entry: Any, numbers: dict[str, int], where: str) -> dict[int, float]:
    if isinstance(entry, dict) and isinstance(entry.get("top_logprobs"), list):
        entry = entry["top_logprobs"]
    if isinstance(entry, list):
        if not all(isinstance(item, dict) and "token" in item and "logprob" in item for item in entry):
            raise problem(where, "items with 'token' and 'logprob'", printable(entry))
        entry = {item.get("token_id", item["token"]): item["logprob"] for item in entry}
    if not isinstance(entry, dict) or len(entry) > MAX_K:
        raise problem(where, f"a mapping of at most {MAX_K} tokens", printable(type(entry).__name__))
    out = {}
    for token, value in entry.items():
        value = value.get("logprob") if isinstance(value, dict) else value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise problem(where, "a log-probability (a number)", printable(value))
        out[_number(token, numbers, where)] = float(value)
    return out


def _number(token: Any, numbers: dict[str, int], where: str) -> int:
    if isinstance(token, bool) or not isinstance(token, int | str):
        raise problem(where, "a token id or text", printable(token))
    if isinstance(token, int) or (token.isascii() and token.isdigit() and len(token) < 10):
        value = int(token)
        if not 0 <= value < 2**31:
            raise problem(where, "token ids from 0 to 2³¹", printable(token))
        return value
    return numbers.setdefault(token, 2**30 + len(numbers))


def _arrays(path: Path, tokens: list, numbers: dict[str, int]) -> dict[str, Matrix]:
    n, k = len(tokens), max(len(teacher) for teacher, _, _ in tokens)
    if k < 2:
        raise problem(path, "at least 2 tokens in the teacher's lists", f"{k}", "ask for more log-probabilities")
    ids, teacher_logs = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf)
    student_logs = np.full((n, k), -np.inf)
    for row, (teacher, student, _) in enumerate(tokens):
        best = sorted(teacher.items(), key=lambda item: -item[1])
        for place, (token, value) in enumerate(best):
            ids[row, place], teacher_logs[row, place] = token, value
            student_logs[row, place] = student.get(token, np.nan)
    labels = np.array([label for *_, label in tokens])
    top = np.array([max(student, key=lambda token: student[token]) for _, student, _ in tokens])
    arrays = {"topk_ids": ids, "topk_teacher": teacher_logs, "topk_student": student_logs, "topk_student_top": top}
    if (labels >= 0).all():
        arrays["labels"] = labels
    return {name: ArrayMatrix(array, f"{path}[{name}]") for name, array in arrays.items()}
