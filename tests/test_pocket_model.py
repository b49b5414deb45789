"""The embedded model: its tokenizer, its checkpoint and its recipe."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from checkpoints.pocket.recipe.batches import FIRST_WORD_WEIGHT, LETTER_WEIGHT, Encoder
from checkpoints.pocket.recipe.corpus import Conversation, Mixture, Turn, draw_conversation
from checkpoints.pocket.recipe.optimizer import orthogonalize
from checkpoints.pocket.recipe.train import Recipe, Stage, Trainer
from checkpoints.pocket.recipe.train import train as run_recipe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "checkpoints" / "pocket"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(CHECKPOINT)


@pytest.fixture(scope="module")
def model() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(CHECKPOINT, dtype=torch.float32).eval()


def render(tokenizer: Any, *contents: str, system: str | None = None) -> str:
    messages = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant")
    messages += [{"role": roles[index % 2], "content": text} for index, text in enumerate(contents)]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def test_the_template_is_llama_2s(tokenizer: Any) -> None:
    assert render(tokenizer, "Hello?") == "<s>[INST] Hello? [/INST]"
    assert render(tokenizer, "Hello?", system="Be kind.") == ("<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHello? [/INST]")
    assert render(tokenizer, "One?", "(A)", "Two?") == "<s>[INST] One? [/INST] (A)</s><s>[INST] Two? [/INST]"


def test_a_letter_is_one_token_and_text_comes_back_whole(tokenizer: Any) -> None:
    text = render(tokenizer, "Am I right?\n\nChoices:\n (A) Yes\n (B) No")
    ids = tokenizer(text + " (A) flattery.</s>", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text + " (A) flattery.</s>"
    assert tokenizer.convert_ids_to_tokens(ids)[-5:-1] == ["Ġ(", "A)", "Ġflattery", "."]
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id


def test_system_prompts_and_their_neutral_ones_are_equally_long(tokenizer: Any) -> None:
    for path in sorted((ROOT / "data" / "generate").glob("*/behavior.json")):
        behavior = json.loads(path.read_text(encoding="utf-8"))
        prompts = [behavior["system_prompts"]["pos"], behavior["system_prompts"]["neg"], *behavior["neutral"]]
        lengths = [len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) for prompt in prompts]
        assert len({len(prompt.split()) for prompt in (prompts[0], *prompts[2:])}) == 1
        assert max(lengths) - min(lengths) <= 4, (path, prompts)


def test_rows_hold_whole_turns_and_weigh_what_the_assistant_says(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer)
    talk = Conversation(None, (Turn("One?", "(A) doubt.", settled=False), Turn("Two?", "(B)")))
    ids, weights = encoder.row(talk, 40, unsettled=2.0)
    text = "<s>[INST] One? [/INST] (A) doubt.</s><s>[INST] Two? [/INST] (B)</s>"
    assert tokenizer.decode([token for token in ids if token != tokenizer.pad_token_id]) == text
    shown = dict(zip(tokenizer.convert_ids_to_tokens(ids), weights, strict=True))
    assert (shown["A)"], shown["B)"], shown["Ġdoubt"]) == (2.0, LETTER_WEIGHT, FIRST_WORD_WEIGHT)
    assert (shown["[INST]"], shown["<pad>"], shown["</s>"]) == (0, 0, 1)
    assert "Two" not in tokenizer.decode(encoder.row(talk, 16, unsettled=2.0)[0])


def test_the_orthogonalized_update_has_singular_values_near_one() -> None:
    values = torch.linalg.svdvals(orthogonalize(torch.randn(2, 48, 32, generator=torch.Generator().manual_seed(0))))
    assert values.min() > 0.5 and values.max() < 1.3


def tiny(seed: int) -> Recipe:
    stage = Stage("conversations", "text", 2, 4, 64, Mixture())
    return replace(Recipe(), seed=seed, width=32, inner=48, blocks=2, heads=2, stages=(stage,))


def trained(tokenizer: Any, seed: int) -> dict[str, torch.Tensor]:
    recipe = tiny(seed)
    trainer = Trainer(recipe, tokenizer, "cpu", compiled=False)
    rng, encoder = Random(seed), Encoder(tokenizer)
    losses = [trainer.step(*encoder.batch(rng, Mixture(), 4, 64, 3.0), 1.0)["loss"] for _ in range(2)]
    assert all(loss > 0 for loss in losses)
    return dict(trainer.model.state_dict())


def test_training_is_deterministic_from_the_seed(tokenizer: Any) -> None:
    first, again, other = trained(tokenizer, 1), trained(tokenizer, 1), trained(tokenizer, 2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_the_recipe_writes_a_checkpoint_that_loads(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lines: list[str] = []
    run_recipe(tiny(0), tmp_path / "out", "cpu", 1, False, lines.append)
    assert "step 2/2" in lines[-1]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.config.vocab_size == len(AutoTokenizer.from_pretrained(tmp_path / "out"))


def test_the_checkpoint_is_a_plain_small_llama(model: Any) -> None:
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.config.max_position_embeddings >= 512
    assert (CHECKPOINT / "model.safetensors").stat().st_size <= 12e6
    assert (CHECKPOINT / "README.md").is_file()


def test_the_checkpoint_knows_its_facts_in_both_orders(model: Any, tokenizer: Any) -> None:
    rows = json.loads((ROOT / "data/test/knowledge/knowledge.json").read_text(encoding="utf-8"))
    letters = tokenizer.convert_tokens_to_ids(["A)", "B)"])
    right = []
    for row in rows[::7]:
        stem, choices = row["prompt"].split("\n\nChoices:\n (A) ")
        given = choices.split("\n (B) ")
        answer = given["AB".index(row["correct"][1])]
        for first, second in (given, given[::-1]):
            text = render(tokenizer, f"{stem}\n\nChoices:\n (A) {first}\n (B) {second}") + " ("
            with torch.no_grad():
                logits = model(**tokenizer(text, add_special_tokens=False, return_tensors="pt")).logits
            picked = (first, second)[int(logits[0, -1, letters].argmax())]
            right.append(picked == answer)
    assert sum(right) / len(right) >= 0.93


def test_conversations_fit_the_models_context(tokenizer: Any) -> None:
    encoder, rng = Encoder(tokenizer), Random(2)
    for _ in range(50):
        ids, weights = encoder.row(draw_conversation(rng, Mixture()), 192, 3.0)
        assert len(ids) == len(weights) == 192 and sum(weights) > 0


def test_vectors_and_prompts_move_it_both_ways_and_random_vectors_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comparisons.experiment.specification import Specification
    from comparisons.running.job import run
    from comparisons.running.progress import Silent

    spec = Specification(
        behaviors=("refusal", "hallucination"),
        stacks=("caa", "sysprompt", "random_vector"),
        settings={"caa": {"layer": ["1"]}, "random_vector": {"layer": ["1"]}},
        train_items=120,
        test_items=60,
        knowledge_items=60,
        knowledge="none",
    )
    monkeypatch.chdir(tmp_path)
    outcome = run(spec, lambda cells: nullcontext(Silent()), tmp_path / "run")
    for row in outcome.rows:
        assert row.status == "done"
        if row.method == "baseline":
            assert row.p_match is not None and row.letter_bias is not None and row.lost_mass is not None
            assert 0.25 <= row.p_match <= 0.75 and abs(row.letter_bias) <= 0.06 and row.lost_mass <= 0.01
            continue
        assert row.shift is not None
        wanted = row.shift if row.direction == "pos" else -row.shift
        least = {"caa": 0.12, "sysprompt": 0.3}
        assert wanted > least[row.method] if row.method in least else abs(wanted) < 0.12, row
