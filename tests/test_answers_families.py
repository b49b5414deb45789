"""Answers by their texts on every family: each row is what plain code gives, one prompt, one setting, one pass."""

from __future__ import annotations

import copy
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comparisons.engine.choices import choice_logps
from comparisons.evaluation.questions import questions, result_rows
from comparisons.intervention import Edit, Intervention
from comparisons.model.lm import LM
from tests import oracle
from tests.tiny import FAMILIES, tiny_item, tiny_lm

pytestmark = pytest.mark.slow

BLOCKS = {"gpt_neox": "gpt_neox.layers", "gpt2": "transformer.h"}
"""Where a family's blocks are; of all others in model.layers."""

MULTIPLIERS = (-2.0, 0.0, 1.5)
A_TOKEN, P_MATCH = 1e-4, 1e-5
"""Tolerances of a log-likelihood, a token, and of p_match."""

SYSTEM = "You help the user with a plan."


def adapter_of(model: Any, folder: Path) -> Any:
    """A copy of the model under a random LoRA, which is written to a folder too."""
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
        adapted = get_peft_model(copy.deepcopy(model), config).eval()
    adapted.save_pretrained(folder)
    return adapted


def vector_of(lm: LM, layer: int) -> torch.Tensor:
    return torch.randn(lm.width, generator=torch.Generator().manual_seed(layer))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_row_is_what_plain_code_gives(family: str, tmp_path: Path) -> None:
    lm = tiny_lm(family)
    plain = {None: lm.model, "adapter": adapter_of(lm.model, tmp_path)}
    heads = [Intervention(), Intervention(system=SYSTEM), Intervention(adapter=tmp_path)]
    settings = list(product(heads, range(len(lm.blocks)), MULTIPLIERS))
    interventions = [
        Intervention(head.system, adapter=head.adapter, edits=(Edit(layer, vector_of(lm, layer), multiplier=times),))
        for head, layer, times in settings
    ]
    items = [tiny_item(i, "test") for i in (0, 1)]
    asked = questions(items, ("answers",))
    expected_of: dict[tuple[int, str], list[float]] = {}
    for packing in ("", "rows"):
        lm.packing = packing or lm.packing  # type: ignore[assignment]
        found = choice_logps(lm, [question.shown for question in asked], [*heads, *interventions])
        for place, (head, layer, times) in enumerate(settings, start=len(heads)):
            if not times:  # bit for bit the baseline
                np.testing.assert_array_equal(found.logps[place], found.logps[heads.index(head)])
            model = plain["adapter" if head.adapter else None]
            blocks = model.get_submodule("base_model.model." * bool(head.adapter) + BLOCKS.get(family, "model.layers"))
            rows = result_rows(asked, found, place, "choices", {"cell": "x"})
            for item, row in zip(items, rows, strict=True):
                rates = []
                for side, text in zip(("matching", "contrast"), item.texts, strict=True):
                    if (place, text) not in expected_of:
                        ids, shared = oracle.answer_ids(lm.tokenizer, item.stem, text, head.system)
                        edit = (layer, vector_of(lm, layer), times)
                        expected_of[place, text] = oracle.answer_logps(model, blocks, ids, shared, edit)
                    expected = expected_of[place, text]
                    assert row[f"tokens_{side}"] == len(expected)
                    assert row[f"logp_{side}"] == pytest.approx(sum(expected), abs=A_TOKEN * len(expected))
                    rates.append(sum(expected) / len(expected))
                assert row["p_match"] == pytest.approx(1 / (1 + math.exp(rates[1] - rates[0])), abs=P_MATCH)
