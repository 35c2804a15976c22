"""The pages on quantized models and on-policy distillation: their commands run, and say what the pages say."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from disobey.cli.main import main
from disobey.records.results import Finding, Result, Table
from tests.support import token_pairs as pairs
from tests.support.llama_cpp_file import write

GUIDES = Path(__file__).parents[2] / "docs" / "guides"


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (GUIDES / f"{page}.md").read_text(encoding="utf-8"), re.M | re.S)


def commands(page):
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [shlex.split(line.removeprefix("$ disobey ")) for line in lines if line.startswith("$ disobey")]


def saved_logits(path, noise):
    rng, context, v = np.random.default_rng(0), 20, 250
    z = 5 * rng.normal(size=(24, context, v))
    tokens = np.roll(z.argmax(axis=-1), 1, axis=1).ravel().tolist()  # each is the likeliest after the one before
    z += noise * np.random.default_rng(int(10 * noise)).normal(size=z.shape)
    write(path, tokens, context, lambda chunk, place: z[chunk, place].tolist())


def cubes():
    a = pairs.language(1, 200)
    shape = (10, 20)
    scores = {f"{side}_logits": a[side].reshape(*shape, -1) for side in ("teacher", "student", "twin")}
    return scores | {"next_tokens": a["labels"].reshape(shape)}


def results(argv, folder):
    assert main([*argv, "--out", str(folder), "--quiet"]) == 0
    return Result.from_json((folder / "result.json").read_text(encoding="utf-8"))


def titles(result):
    return {table.title: {row[0] for row in table.rows} for table in result.of(Table)}


def test_quantized(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, noise in (("f16", 0.0), ("q4", 0.5), ("q8", 0.2)):
        saved_logits(tmp_path / f"{name}.kld", noise)
    held = cubes()
    names = {"original_logits": held["teacher_logits"], "quantized_logits": held["student_logits"]}
    names |= {"next_tokens": held["next_tokens"], "vocabulary": 300}
    for block in blocks("quantized-against-original", "python"):
        exec(block, names)
    assert names["found"]["kl"].over == "clusters"
    asked = commands("quantized-against-original")
    assert len(asked) == 3
    found = titles(results(asked[1], tmp_path / "out"))
    assert {"kl", "agreement"} <= found["Agreement and divergence"]
    assert {"log_prob_gap", "acceptance"} <= found["Likely tokens"]
    assert {"forgotten", "gained"} == found["Tokens forgotten against the control"]
    assert "By position and entropy" in found


def test_on_policy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    held = cubes()
    names = dict(held) | {"control_logits": held["twin_logits"], "response_mask": np.ones((10, 20), bool)}
    for side in ("teacher", "student"):
        logs = special.log_softmax(held[f"{side}_logits"], axis=-1)
        ids = np.argsort(-logs, axis=-1)[..., :16]
        names |= {f"{side}_ids": ids, f"{side}_logprobs": np.take_along_axis(logs, ids, -1)}
    names["log_softmax"] = lambda z: special.log_softmax(z, axis=-1)
    for block in blocks("on-policy", "python"):
        exec(block, names)
    assert 0 < names["ratio"] < 1
    first, second = commands("on-policy")
    lists = titles(results(second, tmp_path / "lists"))
    assert {"overlap_ratio", "mass_on_list", "acceptance"} <= lists["Likely tokens"]
    whole = results(first, tmp_path / "whole")
    found = titles(whole)
    assert {
        f"{name}.k16" for name in ("overlap_ratio", "teacher_overlap_mass", "overlap_advantage", "mass_on_list")
    } <= (found["Likely tokens"])
    row = next(row for t in whole.of(Table) for row in t.rows if row[0] == "overlap_ratio.k16")
    assert row[1].value == pytest.approx(names["ratio"])
    assert {"tokenizers", "own-text", "clusters"} <= {f.id for f in whole.of(Finding)}
