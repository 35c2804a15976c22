"""`refuses`: a refusal is compared by its id, so that its words may be mended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from disobey.errors import Refusal


@contextmanager
def refuses(id: str, *parts: str) -> Iterator[None]:
    """Expects a `Refusal` with this id whose sentence names every one of ``parts`` (values, not English)."""
    with pytest.raises(Refusal) as caught:
        yield
    assert caught.value.id == id, f"{caught.value.id}: {caught.value}"
    for part in parts:
        assert part in str(caught.value)
