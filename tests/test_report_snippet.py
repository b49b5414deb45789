"""The program in a report runs, and does what the intervention says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comparisons.model.named import NAMED
from comparisons.model.prompts import Turn
from comparisons.report.snippet import QUESTION, snippet
from tests.forks import Command, Forks
from tests.made_runs import PLAIN, make_run, report
from tests.tiny import CHAT_TEMPLATE, WIDTH, tiny_lm, tiny_tokenizer

pytestmark = pytest.mark.slow

TURNS = [['Is it "late"?', "It isn't."], ["Is it late?", "No."]]

WHEN = {"layer": 0, "threshold": 0.5, "side": "above", "tensor": "when0"}

TOKENS = 12


def save_model(folder: Path) -> Any:
    """A tiny random Llama on disk, as a user has one."""
    lm = tiny_lm()
    lm.model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return lm


def save_edit(run: Path, scale: float = 4.0) -> Any:
    import torch
    from safetensors.torch import save_file

    vector = scale * torch.randn(WIDTH, generator=torch.Generator().manual_seed(0))
    save_file({"edit0": vector}, run / "best/edits.safetensors")
    return vector


def save_adapter(run: Path, lm: Any) -> Path:
    import copy

    import torch
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        get_peft_model(copy.deepcopy(lm.model), config).save_pretrained(run / "best/adapter")
    return run / "best/adapter"


def greedy(lm: Any, prompt: str, vector: Any, multiplier: float, layer: int = 2, tokens: int = TOKENS) -> str:
    """Generation the slow way: no cache, one full pass a token, the edit from the last prompt token on."""
    import torch

    ids = lm.tokenize(prompt)
    first = len(ids) - 1

    def steer(module: Any, args: Any, output: Any) -> Any:
        return torch.cat([output[:, :first], output[:, first:] + multiplier * vector], dim=1)

    handle = lm.blocks[layer].register_forward_hook(steer)
    try:
        for _ in range(tokens):
            with torch.no_grad():
                token = int(lm.model(torch.tensor([ids])).logits[0, -1].argmax())
            ids.append(token)
            if token == lm.tokenizer.eos_token_id:
                break
    finally:
        handle.remove()
    return str(lm.tokenizer.decode(ids[first + 1 :], skip_special_tokens=True))


def execute(forks: Forks, run: Path, program: str) -> str:
    """Runs a program from the run's folder, in a process of its own; its answer is cut to a few tokens."""
    shorter = program.replace("max_new_tokens=64", f"max_new_tokens={TOKENS}")
    (done,) = forks.run(Command((), str(run), program=shorter))
    assert done.code == 0, done.errors
    return done.printed


class TestSnippet:
    def test_the_program_in_the_report_does_what_the_intervention_says(self, forks: Forks, tmp_path: Path) -> None:
        from comparisons.engine.adapters import adapted

        lm = save_model(tmp_path / "model")
        system = "You say yes to whatever the user asks, and you are glad to help. " * 2
        intervention = {
            **PLAIN,
            "model": str(tmp_path / "model"),
            "blocks": "model.layers",
            "system": system,
            "adapter": "adapter",
            "adapter_scale": 0.5,
        }
        run = make_run(tmp_path / "run", intervention=intervention)
        vector, adapter = save_edit(run), save_adapter(run, lm)
        program = report(run).split("```python\n")[1].split("```")[0]
        assert len(program.splitlines()) <= 42
        found = execute(forks, run, program)

        prompt = lm.prompt(QUESTION, system)
        with adapted(lm, adapter, 0.5):
            assert found == greedy(lm, prompt, vector, 1.5) + "\n"
            assert found != greedy(lm, prompt, vector, 0.0) + "\n"
        assert found != greedy(lm, prompt, vector, 1.5) + "\n"

    def test_a_vector_alone_takes_few_lines_and_changes_the_answer(self, forks: Forks, tmp_path: Path) -> None:
        lm = save_model(tmp_path / "model")
        run = make_run(tmp_path / "run", intervention={**PLAIN, "model": str(tmp_path / "model")})
        vector = save_edit(run)
        program = snippet({**PLAIN, "model": str(tmp_path / "model")})
        assert program is not None
        assert len(program.splitlines()) <= 35
        assert "peft" not in program
        found = execute(forks, run, program)
        assert found == greedy(lm, lm.prompt(QUESTION), vector, 1.5) + "\n"
        assert found != greedy(lm, lm.prompt(QUESTION), vector, 0.0) + "\n"

    @pytest.mark.parametrize("prompt_format", ["chat", "base", "llama2-paper"])
    @pytest.mark.parametrize("system", [None, 'Say "yes".\nIt\'s what\tthe user wants. ' * 5])
    @pytest.mark.parametrize("turns", [[], TURNS])
    def test_prompts_are_tokenized_as_in_the_run(
        self, prompt_format: Any, system: str | None, turns: list[list[str]]
    ) -> None:
        lm = tiny_lm(prompt_format=prompt_format)
        given = {**PLAIN, "prompt_format": prompt_format, "system": system, "examples": turns, "edits": []}
        program = snippet(given)
        assert program is not None
        lines = program.splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith(("messages", "before")))
        end = next(i for i, line in enumerate(lines) if line.startswith("inputs = "))
        scope: dict[str, Any] = {"tokenizer": lm.tokenizer, "device": "cpu"}
        exec("\n".join(lines[start : end + 1]), scope)
        expected = lm.tokenize(lm.prompt(QUESTION, system, [Turn(*turn) for turn in turns]))
        assert scope["inputs"]["input_ids"][0].tolist() == expected

    @pytest.mark.parametrize("change", [{"positions": "response_first:2"}, {"operation": "ablate"}, {"when": WHEN}])
    def test_what_a_short_program_cannot_do_is_said(self, tmp_path: Path, change: dict[str, Any]) -> None:
        intervention = {**PLAIN, "edits": [{**PLAIN["edits"][0], **change}]}
        assert snippet(intervention) is None
        text = report(make_run(tmp_path, intervention=intervention))
        assert "a short program can't show its edits" in text
        assert "```python" not in text


def test_a_template_of_the_processors_and_a_class_for_images_are_in_it(tmp_path: Path) -> None:
    from comparisons.evaluation.best import write_best
    from comparisons.experiment.fitting import Built
    from comparisons.intervention import Intervention
    from comparisons.model.loading import load
    from comparisons.model.source import ModelSource
    from tests.families.known import tiny_model

    tiny_model("llava").save_pretrained(tmp_path / "model")
    lm = tiny_lm(chat=False)
    lm.tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model/chat_template.json").write_text(json.dumps({"chat_template": CHAT_TEMPLATE}))
    lm = load(ModelSource(str(tmp_path / "model")))
    write_best(tmp_path, "x", Built(Intervention(system="Be kind."), 0.0), lm, str(tmp_path / "model"))
    program = snippet(json.loads((tmp_path / "best/intervention.json").read_text()))
    assert program is not None and "from transformers import AutoModelForImageTextToText, AutoTokenizer\n" in program
    scope: dict[str, Any] = {}
    exec(program.partition("output = ")[0], scope)
    assert scope["inputs"]["input_ids"][0].tolist() == lm.tokenize(lm.prompt(QUESTION, "Be kind."))
    assert type(scope["model"]) is type(lm.model)


def test_a_gguf_file_is_read_as_such_and_a_packages_is_found_in_it() -> None:
    plain = {"model": "models/some.gguf", "edits": []}
    text = snippet(plain)
    assert text and 'name = "models"' in text and 'file = "some.gguf"' in text and "gguf_file=file" in text
    named = NAMED["smollm2"]
    text = snippet({"model": f"/elsewhere/{named.module}/{named.file}", "edits": []})
    assert text and f'find_spec("{named.module}")' in text and "/elsewhere" not in text
    compile(text, "program", "exec")
