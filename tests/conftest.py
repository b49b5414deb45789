"""Fixtures that several files share."""

from __future__ import annotations

import pytest

from tests.tiny import tiny_lm


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny random Llama."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    lm = tiny_lm()
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return str(folder)
