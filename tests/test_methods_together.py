"""All methods in one table on the embedded model, and stacks of trained ones in both directions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comparisons.cli import execute

pytestmark = pytest.mark.slow

FAST = [f"{name}.{field}" for name in ("sft", "dpo") for field in ("learning_rate=0.001", "epochs=1", "epoch=1")]
STACKS = "cast,probe,pca,actadd,ablate,fewshot,prompt_tuning,learned_vector,dpo,sft:pos+caa,sft:neg+caa"


def test_every_cell_is_done(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    settings = [*FAST, "learned_vector.epochs=1", "prompt_tuning.epochs=1"]
    out = tmp_path / "run"
    arguments = ["run", "--behavior", "refusal", "--methods", STACKS, "--layer", "1", "--out", str(out), "--set"]
    arguments += ["ablate.positions=all", *(part for text in settings for part in ("--set", text))]
    arguments += ["--train-items", "16", "--test-items", "8", "--knowledge", "none", "--device", "cpu"]
    assert execute(arguments) == 0
    rows = json.loads((out / "summary.json").read_text(encoding="utf-8"))["rows"]
    assert {row["status"] for row in rows} == {"done"}
    assert {row["method"] for row in rows} == {"baseline", *STACKS.split(",")}
