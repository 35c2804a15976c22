"""A user's own teachers, each in one word: saved answers, a model of the hub, or a factory that loads its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from disobey.data.formats.answers import fingerprint, read_answers
from disobey.data.load import load
from disobey.errors import refusal
from disobey.models.build import resolve
from disobey.models.spec import HUGGING_FACE, TIMM, is_file, model_spec
from disobey.studies.kit.setup import Setup
from disobey.studies.teacher_choice.teachers import Teacher
from disobey.training.recipe import Recipe
from disobey.training.specs import Teaching


def given_teachers(words: Sequence[str], setup: Setup) -> dict[str, Teacher]:
    """The teachers by a short name, the first of them the default.

    Args:
        words: each a path to saved answers (see `data.formats.answers`), ``hf:NAME``, ``timm:NAME``, or
            ``FILE.py:FACTORY``; none of them is trained, however many steps students have.
        setup: data and budget.

    Raises:
        Refusal: ``same-teacher`` for a word given twice, and those of answers and models that cannot be used.
    """
    if len(set(words)) != len(words):
        raise refusal("same-teacher", "every teacher once", " ".join(words))
    names, whole = _names(words), load(replace(setup.spec, train=None), 0)
    found = {}
    for name, word in zip(names, words, strict=True):
        if word.startswith((HUGGING_FACE, TIMM)) or is_file(word):
            model = resolve(model_spec(word))
            recipe = Recipe(setup.spec, model, replace(setup.optim, stop=0), name=f"teacher {name}, as it is")
            found[name] = Teacher(name, recipe, cost=0.0)
        else:
            read_answers(word, whole)  # refused before anything is trained
            found[name] = Teacher(name, None, Teaching(saved=word, saved_content=fingerprint(word)), 0.0)
    return found


def _names(words: Sequence[str]) -> list[str]:
    """The last part of each path, where these tell them apart; else the words themselves.

    >>> _names(["runs/a.npz", "runs/b.npz"]), _names(["a/x", "b/x"])
    (['a', 'b'], ['a/x', 'b/x'])
    """
    short = [Path(word).stem if "/" in word and not is_file(word) else word for word in words]
    return short if len(set(short)) == len(short) else list(words)
