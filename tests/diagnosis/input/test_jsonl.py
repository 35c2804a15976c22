"""Lists of tokens as servers write them: every layout gives the same arrays, everything else is refused."""

import json
import math

import numpy as np
import pytest

from disobey.diagnosis.input.join import read_pair
from disobey.diagnosis.input.matrices import whole
from disobey.diagnosis.input.readers.folder import read_arrays
from tests.support.refusals import refuses


def test_scores_of_the_teachers_tokens_do_not_give_the_students_own_best_one(tmp_path):
    line = {"teacher": [{"5": -0.1, "7": -3.0}, {"7": -0.3, "8": -1.9}]}
    asked = [{"7": -2.0, "5": -1.5}, {"7": -0.2, "8": -2.5}]  # in the first, 0.64 of the student is elsewhere
    for student, known in ((asked, False), ([{**asked[0], "9": -0.9}, asked[1]], True)):
        path = tmp_path / "pair.jsonl"
        path.write_text(json.dumps(line | {"student": student}))
        assert ("topk_student_top" in read_arrays(path)) is known


PLAIN = {
    "teacher": [{"5": -0.1, "7": -2.5}, {"7": -0.2, "9": -1.9}],
    "student": [{"5": -0.3, "7": -1.6}, {"7": -0.9}],
    "labels": [5, 9],
}


def _like(form, more=None):
    return {s: form(PLAIN[s]) for s in ("teacher", "student")} | (more or {"labels": [5, 9]})


LAYOUTS = {
    "plain": PLAIN,
    "by id": _like(
        lambda side: (
            [None] + [{k: {"logprob": v, "rank": 1, "decoded_token": "x"} for k, v in t.items()} for t in side]
        ),
        {"labels": [0, 5, 9]},
    ),
    "chat": _like(
        lambda side: {
            "content": [
                {
                    "token": "t",
                    "logprob": 0,
                    "top_logprobs": [{"token": f"token_id:{k}", "logprob": v} for k, v in t.items()],
                }
                for t in side
            ]
        }
    ),
    "completions": _like(
        lambda side: {
            "tokens": ["a", "b"],
            "top_logprobs": [{f"token_id:{k}": v for k, v in t.items()} for t in side],
        }
    ),
    "ids": _like(lambda side: [[{"id": int(k), "logprob": v, "text": "x"} for k, v in t.items()] for t in side]),
    "triples": _like(
        lambda side: [None] + [[[v, int(k), None] for k, v in t.items()] for t in side], {"labels": [None, 5, 9]}
    ),
    "unknown": _like(lambda side: [t | ({"9": -9999.0} if t == {"7": -0.9} else {}) for t in side]),
    "drawn first": _like(
        lambda side: [
            [{"id": int(k), "logprob": v, "text": "x"} for k, v in [*t.items(), *[("7", -99.0)][: len(t) - 1]]]
            for t in side
        ]
    ),
    "vLLM's answer": _like(
        lambda side: {
            "object": "text_completion",
            "choices": [
                {
                    "index": 0,
                    "text": "a",
                    "logprobs": None,
                    "prompt_logprobs": [None]
                    + [{k: {"logprob": v, "rank": 1, "decoded_token": "x"} for k, v in t.items()} for t in side],
                }
            ],
        },
        {"labels": [None, 5, 9]},
    ),
    "a choice": _like(
        lambda side: {
            "text": "ab",
            "prompt_logprobs": None,
            "logprobs": {
                "tokens": ["a", "b"],
                "text_offset": [0, 1],
                "top_logprobs": [{f"token_id:{k}": v for k, v in t.items()} for t in side],
            },
        }
    ),
    "SGLang's answer": _like(
        lambda side: {
            "text": "",
            "meta_info": {
                "input_token_logprobs": [[None, 1, None], [-0.1, 5, None]],
                "input_top_logprobs": [None] + [[[v, int(k), None] for k, v in t.items()] for t in side],
                "output_token_logprobs": [],
                "output_top_logprobs": [],
            },
        },
        {"labels": [None, 5, 9]},
    ),
    "TRL's client": _like(
        lambda side: {
            "logprobs": [[*t.values(), -math.inf] for t in side],
            "logprob_token_ids": [[*map(int, t), 0] for t in side],
        }
    ),
    "llama.cpp's answer": _like(
        lambda side: {
            "content": "ab",
            "completion_probabilities": [
                {
                    "id": 5,
                    "token": "a",
                    "logprob": -1,
                    "top_logprobs": [{"id": int(k), "token": "x", "logprob": v} for k, v in t.items()],
                }
                for t in side
            ],
        }
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_serving_layouts_of_top_k(tmp_path, name):
    """Prompt log-probabilities by id, chat and completion lists, triples, plain numbers, and whole answers."""
    path = tmp_path / "pair.jsonl"
    path.write_text(json.dumps(LAYOUTS[name]) + "\n")
    found = {key: whole(matrix) for key, matrix in read_arrays(path).items()}
    assert found["topk_ids"].tolist() == [[5, 7], [7, 9]]
    assert found["labels"].tolist() == [5, 9]
    np.testing.assert_allclose(found["topk_teacher"], [[-0.1, -2.5], [-0.2, -1.9]])
    np.testing.assert_allclose(found["topk_student"], [[-0.3, -1.6], [-0.9, np.nan]])
    assert found["topk_student_top"].tolist() == [5, 7]


def test_a_twin_in_json_lines(tmp_path):
    line = {"teacher": {"5": -0.1, "7": -2.5}, "student": {"5": -0.3, "7": -1.6}, "twin": {"7": -0.2, "5": -1.9}}
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([json.dumps(line)] * 3))
    pair = read_pair(path)
    assert whole(pair.topk.twin).tolist() == [[-1.9, -0.2]] * 3
    assert pair.topk.twin_top.tolist() == [7] * 3
    path.write_text(json.dumps(line) + "\n" + json.dumps({k: line[k] for k in ("teacher", "student")}))
    with refuses("some-twins"):
        read_pair(path)


def test_texts_of_digits_stay_apart(tmp_path):
    """ "0" and "00" are two tokens; only the first is a number."""
    side = {"content": [{"top_logprobs": [{"token": "0", "logprob": -0.5}, {"token": "00", "logprob": -1.5}]}]}
    (tmp_path / "a.jsonl").write_text(json.dumps({"teacher": side, "student": side}))
    pair = read_pair(tmp_path / "a.jsonl")
    assert whole(pair.topk.ids)[0, 0] == 0
    assert whole(pair.topk.ids)[0, 1] >= 2**30
    assert whole(pair.topk.student).tolist() == [[-0.5, -1.5]]


def _drawn(position):
    return {side: {"content": [position]} for side in ("teacher", "student")}


@pytest.mark.parametrize(
    ("line", "id", "part"),
    [
        ({"teacher": [{"5": "x"}], "student": [{"5": -1}]}, "not-a-number", "line 1"),
        ({"teacher": [{"5": -1, "6": -2}], "student": []}, "token-counts", "0"),
        ({"teacher": [["a"]], "student": [["a"]]}, "token-item", "line 1"),
        ({"teacher": [{"5": -1}]}, "missing-model", "teacher"),
        ({"teacher": 3, "student": 3}, "token-list", "int"),
        ({"teacher": [{"5": -1}], "student": [{"5": -1}]}, "top-k-size", "1"),
        (_drawn({"token": "a", "logprob": -1, "top_logprobs": []}), "top-k-size", "top_logprobs"),
        (_drawn({"token": "a", "logprob": -1}), "top-k-size", "top_logprobs"),
        (
            {
                s: {"input_top_logprobs": [[[-1, 5]]], "output_top_logprobs": [[[-1, 6]]]}
                for s in ("teacher", "student")
            },
            "several-lists",
            "input_top_logprobs and output_top_logprobs",
        ),
        (
            {s: {"logprobs": [[-1, -2]], "logprob_token_ids": [[5]]} for s in ("teacher", "student")},
            "list-shapes",
            "line 1",
        ),
    ],
)
def test_bad_json_lines_are_refused_in_words(tmp_path, line, id, part):
    (tmp_path / "bad.jsonl").write_text(json.dumps(line) + "\n")
    with refuses(id, part):
        read_pair(tmp_path / "bad.jsonl")
