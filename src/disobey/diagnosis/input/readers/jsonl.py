"""Per-token lists of {token: log-probability}, as serving engines and offline distillation tools write them.

One JSON object a line, either one token or one sequence of tokens::

    {"teacher": [{"42": -0.1, "7": -2.4}, …], "student": [{"42": -0.3, "7": -1.9}, …], "labels": [42, …]}

A side may also be what a server returned, or the part of it that holds the lists: ``content`` (chat), ``top_logprobs``
(completions), ``prompt_logprobs`` (vLLM), ``input_top_logprobs`` or ``output_top_logprobs`` (SGLang's ``meta_info``),
``logprobs`` beside ``logprob_token_ids`` (TRL's client, one sequence). An answer that holds
two lists of tokens is refused, since nothing says which one is meant. A token's entry may be a mapping from token id
to a number or to ``{"logprob": number, …}`` (vLLM's prompt log-probabilities), a list of ``{"token": …, "logprob":
…}`` or ``{"id": …, "logprob": …}``, or a list of ``[logprob, id, text]`` (SGLang); empty entries (null: the first
token of a prompt) are skipped on all sides. Tokens may be ids, "token_id:42" or texts; texts are numbered here. A
``twin`` may stand beside the student. The tokens of a line are one cluster, or those of all lines with the same
``cluster`` (a prompt's id, say).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from disobey.bounds import BUDGET, LINE, OBJECT, Tally
from disobey.diagnosis.input.matrices import ArrayMatrix, Matrix
from disobey.diagnosis.input.readers.parquet import fixed_text
from disobey.errors import printable, refusal
from disobey.measures.inference.clusters import FEWEST

LIMIT = 2 * 2**30
MAX_K = 4096
NOT_LISTED = -9_000.0  # servers write −9999 for tokens whose probability they do not give
NAMES = ("token_id", "id", "token")  # of a token in a list
LISTS = (
    "content",
    "top_logprobs",
    "prompt_logprobs",
    "input_top_logprobs",
    "output_top_logprobs",
    "completion_probabilities",
)
AROUND = ("choices", "logprobs", "meta_info")  # where servers put those lists
CLUSTER = "cluster"
SIDES = ("teacher", "student", "twin")
Entry = dict[int, float]


def read_jsonl(path: Path) -> Mapping[str, Matrix]:
    """The arrays of a top-k pair.

    Those are ``topk_ids``, ``topk_teacher``, ``topk_student``, ``topk_twin``, each (N, k), and ``labels`` (N,). k is
    the longest of the teacher's lists; shorter ones are filled with id −1 and −inf. Where the student's list lacks one
    of the teacher's tokens its log-probability is NaN: unknown, counted, never guessed.
    """
    if path.stat().st_size > LIMIT:
        raise refusal(
            "too-large",
            "at most 2 GB of JSON lines",
            f"{path.stat().st_size / 1e9:.1f} GB",
            "parquet or npz",
            where=path,
        )
    numbers: dict[str, int] = {}
    tokens: list[tuple[list[Entry], int]] = []
    clusters: list[str] = []
    line_number, named = 0, False
    try:
        tally = Tally(path)
        with open(path, encoding="utf-8") as file:
            for line_number, line in enumerate(iter(lambda: file.readline(LINE + 1), ""), 1):
                if len(line) > LINE:
                    got, most = f"more in line {line_number}", f"lines of at most {LINE >> 20} million characters"
                    raise refusal("long-line", most, got, "a sequence a line", where=path)
                if line.strip():
                    tally.add(OBJECT * (2 * line.count(":") + line.count(",")))  # entries stay in memory as mappings
                    record = json.loads(line)
                    named |= isinstance(record, dict) and CLUSTER in record
                    tokens += _tokens(record, numbers, f"{path}, line {line_number}")
                    clusters += [_cluster(record, line_number)] * (len(tokens) - len(clusters))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, OSError) as error:
        got = f"{printable(error)} in line {line_number}"
        raise refusal(
            "not-json-lines", "one JSON object a line", got, "the layouts in docs/guides/diagnose.md", where=path
        ) from error
    if not tokens:
        raise refusal("no-tokens", "at least one token with log-probabilities", "none", where=path)
    arrays = _arrays(path, tokens)
    found = len(set(clusters))
    if named or FEWEST <= found < len(tokens):
        arrays["cluster"] = ArrayMatrix(fixed_text(clusters), f"{path}[cluster]")
    return arrays


def _cluster(record: dict, line_number: int) -> str:
    """What the line says, or else the line: a sequence of tokens."""
    return str(record[CLUSTER])[:200] if isinstance(record.get(CLUSTER), int | str) else f"line {line_number}"


def _tokens(record: Any, numbers: dict[str, int], where: str) -> list[tuple[list[Entry], int]]:
    """(entry of each side, label or −1) of every token of a line."""
    if not isinstance(record, dict) or "teacher" not in record or "student" not in record:
        keys = printable(list(record)) if isinstance(record, dict) else type(record).__name__
        raise refusal("missing-model", "an object with 'teacher' and 'student'", keys, "rename the keys", where=where)
    sides = [_positions(record[name], where) for name in SIDES if name in record]
    labels = record.get("labels", record.get("label"))
    labels = labels if isinstance(labels, list) else [labels] * (1 if len(sides[0]) == 1 else len(sides[0]))
    lengths = [len(side) for side in (*sides, labels)]
    if len(set(lengths)) > 1:
        got = ", ".join(map(str, lengths[:-1])) + f" and {lengths[-1]}"
        raise refusal(
            "token-counts",
            "equally many tokens on every side and labels",
            got,
            "cut all at the same place",
            where=where,
        )
    out = []
    for *entries, label in zip(*sides, labels, strict=True):
        if all(entries):
            parts = [_entry(entry, numbers, where) for entry in entries]
            out.append((parts, -1 if label is None else _number(label, numbers, where)))
    return out


def _positions(value: Any, where: str) -> list:
    """A list of per-token entries, also where the line holds a single token."""
    if isinstance(value, dict):
        lists = list(_lists_in(value, where))
        full = [(name, listed) for name, listed in lists if listed] or lists[:1]
        if len(full) > 1:
            got = " and ".join(name for name, _ in full)
            raise refusal(
                "several-lists",
                "one list of tokens a side",
                got,
                "keep the one that is meant, on every side",
                where=where,
            )
        if not full:
            return [value]
        name, value = full[0]
        if (
            name == "content"
        ):  # never a single position: without lists of its own it is a text with its log-probabilities
            return value
    if isinstance(value, list):
        return [value] if value and all(map(_is_item, value)) else value
    raise refusal("token-list", "a list of tokens", type(value).__name__, where=where)


def _lists_in(value: Any, where: str) -> Iterator[tuple[str, list]]:
    """The lists of tokens in a server's answer, with their names."""
    if isinstance(value, list):
        for part in value:
            yield from _lists_in(part, where)
    elif isinstance(value, dict) and isinstance(value.get("logprob_token_ids"), list):
        yield "logprobs", _pairs(value.get("logprobs"), value["logprob_token_ids"], where)
    elif isinstance(value, dict):
        yield from ((name, value[name]) for name in LISTS if isinstance(value.get(name), list))
        for name in AROUND:
            yield from _lists_in(value.get(name), where)


def _pairs(logs: Any, ids: list, where: str) -> list:
    """``[log-probability, id]`` of every token of every position, from one list of each."""
    try:
        return [
            [[log, token] for log, token in zip(*position, strict=True)] for position in zip(logs, ids, strict=True)
        ]
    except (TypeError, ValueError) as error:
        got = f"other shapes ({printable(error)})"
        raise refusal(
            "list-shapes", "'logprobs' and 'logprob_token_ids' of one shape", got, "one sequence a line", where=where
        ) from error


def _is_item(item: Any) -> bool:
    """One token with its log-probability, as part of a single position's list?"""
    if isinstance(item, dict):
        return "logprob" in item and "top_logprobs" not in item
    return _is_triple(item)


def _is_triple(item: Any) -> bool:
    """``[logprob, id]`` or ``[logprob, id, text]``?"""
    return (
        isinstance(item, list) and len(item) in (2, 3) and isinstance(item[0], int | float) and isinstance(item[1], int)
    )


def _entry(entry: Any, numbers: dict[str, int], where: str) -> Entry:
    """Log-probability by token; the larger where a list names a token twice (padding; texts that decode alike)."""
    if isinstance(entry, dict) and isinstance(entry.get("top_logprobs"), list):
        entry = entry["top_logprobs"]
    elif isinstance(entry, dict) and isinstance(entry.get("token"), str) and "logprob" in entry:
        entry = []  # a token that was drawn, without the list it was drawn from
    if isinstance(entry, list):
        if all(map(_is_triple, entry)):
            items = [(item[1], item[0]) for item in entry]
        elif all(isinstance(item, dict) and "logprob" in item and any(k in item for k in NAMES) for item in entry):
            items = [(next(item[k] for k in NAMES if k in item), item["logprob"]) for item in entry]
        else:
            raise refusal("token-item", "items with 'token' (or 'id') and 'logprob'", entry, where=where)
    elif isinstance(entry, dict):
        items = [(token, value.get("logprob") if isinstance(value, dict) else value) for token, value in entry.items()]
    else:
        raise refusal("token-mapping", f"a mapping of at most {MAX_K} tokens", type(entry).__name__, where=where)
    if not 0 < len(items) <= MAX_K:
        hint = "ask the server for top_logprobs" if not items else ""
        raise refusal("top-k-size", f"1 to {MAX_K} likely tokens at every position", len(items), hint, where=where)
    out: Entry = {}
    for token, value in items:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise refusal("not-a-number", "a log-probability (a number)", value, where=where)
        number = _number(token, numbers, where)
        out[number] = max(float(value), out.get(number, float(value)))
    return out


def _number(token: Any, numbers: dict[str, int], where: str) -> int:
    if isinstance(token, bool) or not isinstance(token, int | str):
        raise refusal("token-id-type", "a token id or text", token, where=where)
    token = token.removeprefix("token_id:") if isinstance(token, str) else token
    if isinstance(token, int) or (token.isascii() and token.isdigit() and len(token) < 10 and str(int(token)) == token):
        value = int(token)
        if not 0 <= value < 2**31:
            raise refusal("token-id-range", "token ids from 0 to 2³¹", token, where=where)
        return value
    return numbers.setdefault(token, 2**30 + len(numbers))


def _arrays(path: Path, tokens: list[tuple[list[Entry], int]]) -> dict[str, Matrix]:
    names = ["student", "twin"][: len(tokens[0][0]) - 1]
    if any(len(entries) != 1 + len(names) for entries, _ in tokens):
        raise refusal(
            "some-twins", "a twin in every line, or in none", "it in some", "leave it out, or add it", where=path
        )
    n, k = len(tokens), max(len(_listed(entries[0])) for entries, _ in tokens)
    if 8 * n * k * (2 + 2 * len(names)) > BUDGET:
        got = f"{n:,} tokens, the longest list with {k:,}"
        most = f"lists that fit in {BUDGET >> 30} GiB as a table"
        raise refusal("too-large", most, got, "lists of one length", where=path)
    if k < 2:
        raise refusal(
            "top-k-size", "at least 2 tokens in the teacher's lists", k, "ask for more log-probabilities", where=path
        )
    ids, teacher_logs = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf)
    logs = {name: np.full((n, k), -np.inf) for name in names}
    tops = {name: np.empty(n, np.int64) for name in names}
    own = dict.fromkeys(names, False)  # its lists are its own best tokens, not scores of its teacher's
    sure = dict.fromkeys(names, True)  # no token beyond its lists can be better than the best on them
    for row, (entries, _) in enumerate(tokens):
        listed = _listed(entries[0])
        for place, (token, value) in enumerate(sorted(listed.items(), key=lambda item: -item[1])):
            ids[row, place], teacher_logs[row, place] = token, value
        for name, entry in zip(names, entries[1:], strict=True):
            known = _listed(entry)
            for place in np.flatnonzero(ids[row] >= 0):
                logs[name][row, place] = known.get(int(ids[row, place]), np.nan)
            own[name] |= known.keys() != listed.keys()
            tops[name][row] = max(entry, key=lambda token, entry=entry: entry[token])
            shares = [math.exp(min(value, 0.0)) for value in entry.values()]  # checked to be logarithms later
            sure[name] &= max(shares) >= 1 - sum(shares)
    labels = np.array([label for _, label in tokens])
    arrays = {"topk_ids": ids, "topk_teacher": teacher_logs}
    arrays |= {f"topk_{name}": array for name, array in logs.items()}
    if all(own[name] or sure[name] for name in names):  # else agreement says where it is undecided
        arrays |= {f"topk_{name}_top": array for name, array in tops.items()}
    if (labels >= 0).all():
        arrays["labels"] = labels
    return {name: ArrayMatrix(array, f"{path}[{name}]") for name, array in arrays.items()}


def _listed(entry: Entry) -> Entry:
    """Without the tokens of which only the name is given."""
    return {token: value for token, value in entry.items() if value > NOT_LISTED}
