"""Labels before lines (TREC) and intents in JSON (CLINC150)."""

import json
from pathlib import Path

import pytest

from disobey.data.formats.files import from_path
from tests.support.refusals import refuses

SHARED = Path(__file__).parents[4] / "shared" / "data"
FINE = ("ABBR:exp", "DESC:manner", "DESC:def", "NUM:date")


def lines(n, start=0):
    return "".join(f"{FINE[i % 4]} what is number {i} ?\n" for i in range(start, start + n))


def test_lines_with_two_levels_of_labels(tmp_path):
    (tmp_path / "Q.train").write_bytes(lines(80).encode() + 30 * b"DESC:def is it M\xfcnchen ?\n")  # Latin-1
    (tmp_path / "Q.test").write_text(lines(20, 80))
    coarse, fine = from_path(str(tmp_path)), from_path(f"{tmp_path}#label=fine")
    assert coarse.classes == ("ABBR", "DESC", "NUM")
    assert fine.classes == tuple(sorted(FINE))
    assert len(coarse.test) == 20
    assert len(coarse.train) + len(coarse.validation) == 110
    assert "münchen" in coarse.vocabulary


def test_a_label_that_ends_with_its_colon(tmp_path):
    (tmp_path / "mail.label").write_text("".join(f"{('spam', 'ham')[i % 2]}: message {i}\n" for i in range(60)))
    for ending in ("", "#label=fine"):
        assert from_path(f"{tmp_path / 'mail.label'}{ending}").classes == ("ham", "spam")


@pytest.mark.parametrize("line", ["no label here", "DESC:manner", ":x text"])
def test_lines_without_a_label_are_refused(tmp_path, line):
    (tmp_path / "Q.train").write_text(lines(9) + line + "\n")
    with refuses("not-labelled-lines", "line 10"):
        from_path(str(tmp_path / "Q.train"))


def test_other_levels_and_empty_files_are_refused(tmp_path):
    (tmp_path / "Q.train").write_text("")
    with refuses("empty-file"):
        from_path(str(tmp_path / "Q.train"))
    with refuses("label-level", "finest"):
        from_path(f"{tmp_path / 'Q.train'}#label=finest")


def test_intents(tmp_path):
    pairs = [[f"{verb} item {i}", verb] for i in range(20) for verb in ("buy", "sell", "hold")]
    content = {"train": pairs, "val": pairs[:9], "test": pairs[9:30], "oos_test": [["what", "oos"]]}
    (tmp_path / "data.json").write_text(json.dumps(content))
    data = from_path(str(tmp_path / "data.json"))
    assert data.classes == ("buy", "hold", "sell")
    assert (len(data.train), len(data.validation), len(data.test)) == (60, 9, 21)


@pytest.mark.parametrize(
    "text", ["[]", "{", "{}", '{"train": 1}', '{"train": [["a"]]}', '{"train": [["a","b"]], "x": 1}']
)
def test_other_json_is_refused(tmp_path, text):
    (tmp_path / "data.json").write_text(text)
    with refuses("not-intents"):
        from_path(str(tmp_path / "data.json"))


@pytest.mark.real_data
@pytest.mark.skipif(not (SHARED / "trec").is_dir(), reason="the files of TREC are not here")
def test_the_real_trec():
    data = from_path(str(SHARED / "trec"))
    assert len(data.classes) == 6
    assert len(data.test) == 500
    assert len(data.train) + len(data.validation) == 5452


@pytest.mark.real_data
@pytest.mark.skipif(not (SHARED / "clinc150").is_dir(), reason="the file of CLINC150 is not here")
def test_the_real_clinc150():
    data = from_path(str(SHARED / "clinc150" / "data_full.json"))
    assert len(data.classes) == 150
    assert (len(data.train), len(data.validation), len(data.test)) == (15_000, 3_000, 4_500)
