"""Letters: which tokens they are, and a vector's cosine with the direction between them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from comparisons.cli import execute as cli
from comparisons.dataset.behaviors import Behavior
from comparisons.evaluation.ledger import Letters
from comparisons.evaluations.choices import letter_caution
from comparisons.experiment.fitting import Fitter
from comparisons.intervention import Edit, Intervention
from comparisons.model.prompts import checked_writer
from comparisons.util.artifacts import Store
from comparisons.util.errors import CompareError
from tests import oracle
from tests.places import make_place
from tests.tiny import tiny_behavior, tiny_lm, tiny_tokenizer


def letters(behavior: Behavior) -> Letters:
    return Letters(Fitter(tiny_lm(), behavior, {}, Store(Path("unused")), 0))


def adding(vector: torch.Tensor, multiplier: float = 1.0, layer: int = 2, operation: str = "add") -> Intervention:
    return Intervention(edits=(Edit(layer, vector, operation, multiplier),))


def test_the_direction_is_that_of_the_plain_loop_without_the_content() -> None:
    """Pairs in unequal numbers: a plain mean would leave some of the content in it."""
    train = tuple(item for i, item in enumerate(tiny_behavior(12).train) if i % 2 == 0 or i < 6)
    found = letters(replace(tiny_behavior(), train=train))
    lm = found.fitter.lm
    sides: dict[str, list[torch.Tensor]] = {"A": [], "B": []}
    for item in train:
        read = []
        for letter in (item.matching, item.contrast):
            ids, _, index = oracle.prompt_ids(lm.tokenizer, item.question, letter)
            read.append(oracle.activations(lm.model, lm.model.model.layers, ids[: index + 1], index)[2])
        sides[item.matching].append(read[0] - read[1])
    assert len(sides["A"]) == 6 and len(sides["B"]) == 3
    expected = (torch.stack(sides["A"]).mean(dim=0) - torch.stack(sides["B"]).mean(dim=0)) / 2
    assert found.directions is not None
    torch.testing.assert_close(found.directions[2].float(), expected, atol=1e-5, rtol=1e-4)
    assert found.cosine(adding(expected)) == pytest.approx(1, abs=1e-5)
    assert found.cosine(adding(expected, -3.0)) == pytest.approx(-1, abs=1e-5)
    other = torch.randn(lm.width, generator=torch.Generator().manual_seed(0))
    aside = other - (other @ expected) / (expected @ expected) * expected
    assert found.cosine(adding(aside)) == pytest.approx(0, abs=1e-5)


def test_what_has_no_such_cosine_has_none() -> None:
    found, vector = letters(tiny_behavior(4)), torch.ones(64)
    assert found.cosine(Intervention(system="Say A.")) is None
    assert found.cosine(adding(vector, 0.0)) is None
    assert found.cosine(adding(vector, operation="ablate")) is None
    assert found.cosine(Intervention(edits=adding(vector).edits * 2)) is None
    one_letter = replace(tiny_behavior(), train=tiny_behavior(8).train[::2])
    assert letters(one_letter).cosine(adding(vector)) is None


def test_a_run_states_it_for_cells_with_a_vector(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make_place(tmp_path)
    monkeypatch.chdir(tmp_path)
    command = ["run", "--behavior", "greeting", "--methods", "caa", "--layer", "1", "--data", str(place)]
    command += ["--measure", "letters"]
    assert cli([*command, "--model", model, "--out", "out"]) == 0
    rows = json.loads(Path("out/summary.json").read_text())["rows"]
    base, pos, neg = (row["letter_cosine"] for row in rows)
    assert base is None
    assert pos == pytest.approx(-neg) and abs(pos) < 1
    assert "letter cosine" in Path("out/report.md").read_text()


def test_a_vector_that_is_mostly_a_letter_is_warned_of() -> None:
    assert letter_caution(None) == letter_caution(0.5) == letter_caution(-0.4) == []
    for cosine in (0.967, -0.6):
        (warning,) = letter_caution(cosine)
        assert f"{cosine:+.2f}" in warning and "--measure answers" in warning


def test_letters_that_are_one_token_are_refused_at_load() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    def words(*more: str) -> Any:
        vocabulary = {word: index for index, word in enumerate(["<unk>", "Input", ":", "Response", "(", ")", *more])}
        rules = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        rules.pre_tokenizer = pre_tokenizers.Whitespace()
        return PreTrainedTokenizerFast(tokenizer_object=rules, unk_token="<unk>")

    with pytest.raises(CompareError, match=r"can't tell \(A\) from \(B\): take the tokenizer's files that the model"):
        checked_writer(words(), "base", "tiny")
    found = checked_writer(words("A", "B"), "base", "tiny")
    assert found.choice("Why?", ("A", "B")).targets == (6, 7)
    with pytest.raises(CompareError, match=r"no token of \(C\)'s own where \(A\) and \(C\) differ: use --measure ans"):
        found.choice("Why?", ("A", "C"))  # it would be the token of all that is unknown


def test_a_bracket_alone_is_no_letters_token() -> None:
    tokenizer = tiny_tokenizer()
    merged = ["(A", "(B"]
    tokenizer.add_tokens(merged)
    found = checked_writer(tokenizer, "chat", "tiny")
    targets = found.choice("Why?", ("A", "B")).targets
    assert tokenizer.convert_ids_to_tokens(list(targets)) == merged
    with pytest.raises(CompareError, match=r"no token of \(B\)'s own where \(B\) and \(C\) differ: use --measure ans"):
        found.choice("Why?", ("B", "C"))
