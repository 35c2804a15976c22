"""One word for a model, to a specification and back; each kind of data by its shape."""

import pytest

from disobey.models.spec import ModelSpec, is_file, model_spec, spec_text


@pytest.mark.parametrize("text", ["cnn", "cnn:8", "mlp:128x2", "hf:some/name", "hf:name:4", "my/file.py:make"])
def test_words_survive_a_round_trip(text):
    assert spec_text(model_spec(text)) == text


def test_sizes_and_places_are_told_apart():
    assert model_spec("mlp:128x2") == ModelSpec("mlp", width=128, depth=2)
    assert model_spec("hf:name:4").width is None
    assert is_file("my/file.py:make")
    assert not is_file("cnn:8")
