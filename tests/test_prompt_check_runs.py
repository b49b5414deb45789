"""What a run, doctor, a report's program and generated answers make of a prompt that was mended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken

from comparisons.cli import cli as commands
from comparisons.cli import main
from comparisons.engine.decoding import Rows
from comparisons.engine.divergence import own_answers
from comparisons.engine.free_answers import free_answers
from comparisons.engine.generate import generate
from comparisons.intervention import Intervention
from comparisons.model.lm import LM
from comparisons.model.loading import load
from comparisons.model.prompts import PromptFormat
from comparisons.model.source import ModelSource
from comparisons.report.snippet import QUESTION as ASKED
from comparisons.report.snippet import snippet
from comparisons.util.errors import CompareError
from tests.made_runs import PLAIN
from tests.places import make_place
from tests.test_prompt_check import EACH, END, HARMONY, MENDED, PLAIN_CHATML, REFUSED, ROLES, writer
from tests.tiny import CHAT_TEMPLATE, tiny_lm, tiny_tokenizer

CHINESE = ROLES.replace("m.role | capitalize }}:", "'用户' if m.role == 'user' else '助手' }}：")
MARKS = EACH + "<|{{ m.role }}|> {{ m.content }}" + END + "{{ '<|assistant|>' if add_generation_prompt }}"


def saved(folder: Path, template: str) -> str:
    lm = tiny_lm()
    lm.tokenizer.chat_template = template
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_run_says_it_in_its_report_and_a_refusal_ends_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_place(tmp_path)
    model = saved(tmp_path / "model", HARMONY)
    asked = ["run", "--data", "place", "--behavior", "greeting", "--layer", "1", "--methods", "caa,sysprompt"]
    Path("place/generate/greeting/behavior.json").write_text('{"system_prompts": {"pos": "Say yes.", "neg": "No."}}')
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--model", model, "--out", "out", "--directions", "pos", "--knowledge", "none"])
    assert ended.value.code == 0
    line = f"the chat template of {model} ends before the answer begins: '<|channel|>final<|message|>' is added."
    assert caplog.messages.count(line) == 1 and line in json.loads(Path("out/run.json").read_text())["notes"]
    assert "ends before the answer begins" in Path("out/report.md").read_text()

    bad = saved(tmp_path / "bad", REFUSED["no question"][0])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--model", bad, "--out", "bad-out"])
    assert ended.value.code == 2 and not Path("bad-out").exists()
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.endswith("drops or changes the question: use --prompt-format base.")


def test_doctor_shows_the_prompt_as_the_model_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    model = saved(tmp_path / "model", HARMONY)
    shown = CliRunner().invoke(commands, ["doctor", "--model", model])
    assert shown.exit_code == 0, shown.output
    lm = load(ModelSource(model))
    text, ids = lm.prompts.probe()
    whole = shown.output.split("answer begins\n", 1)[1].split("letters:")[0].rstrip("\n")
    last = [lm.tokenizer.decode([token]) for token in ids[-5:]]
    assert whole.endswith("".join(f"«{piece}»" for piece in last))
    assert whole.replace("«", "").replace("»", "") == lm.tokenizer.decode(ids) == text
    assert "'<|channel|>final<|message|>' is added" in shown.output

    base = CliRunner().invoke(commands, ["doctor", "--model", model, "--prompt-format", "base", "--json"])
    prompt = json.loads(base.output)["prompt"]
    assert prompt["format"] == "base" and "".join(prompt["tokens"]).startswith("<s>Answer as")
    assert "".join(prompt["tokens"]).endswith("Response:") and prompt["notes"] == []

    refused = CliRunner().invoke(commands, ["doctor", "--model", saved(tmp_path / "bad", REFUSED["an error"][0])])
    assert "training in full" in refused.output
    assert isinstance(refused.exception, CompareError) and "use --prompt-format base" in str(refused.exception)


@pytest.mark.parametrize("case", MENDED)
def test_the_program_in_the_report_writes_the_same_prompt(case: str) -> None:
    from dataclasses import asdict

    found = writer(MENDED[case][0])
    program = snippet({**PLAIN, "system": "Be kind.", "edits": [], "reading": asdict(found.reading)})
    assert program is not None
    lines = program.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("messages"))
    end = next(i for i, line in enumerate(lines) if line.startswith("output = "))
    scope: dict[str, Any] = {"tokenizer": writer(MENDED[case][0]).tokenizer, "device": "cpu"}
    exec("\n".join(lines[start:end]), scope)
    assert scope["inputs"]["input_ids"][0].tolist() == found.tokenize(found.text(ASKED, "Be kind."))


@pytest.mark.parametrize(
    ("prompt_format", "written", "kept"),
    [
        ("base", "Yes, I would.\n\nInput: What is", "Yes, I would."),
        ("base", "Yes: Input: is", "Yes: Input: is"),
        ("llama2-paper", "Yes, I would. [INST] What", "Yes, I would."),
        ("chat", "Yes.\nInput: [INST] no", "Yes.\nInput: [INST] no"),
    ],
)
def test_an_answer_ends_where_the_next_turn_of_its_format_begins(
    prompt_format: PromptFormat, written: str, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the model writes is given, token by token, to the first of two questions; the other goes on."""
    lm = tiny_lm(prompt_format=prompt_format)
    steps: list[int] = []
    texts = [lm.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (written, "Because of the day " * 9)]

    def given(self: Any, logits: torch.Tensor, alive: Any) -> torch.Tensor:
        steps.append(len(alive))
        return torch.tensor([[texts[row][len(steps) - 1]] for row in alive])

    monkeypatch.setattr(Rows, "_next", given)
    tokens = len(texts[0])
    (answers,) = generate(lm, ["Why is that so?", "Why?"], [Intervention()], tokens)
    assert answers == [kept, lm.tokenizer.decode(texts[1][:tokens]).strip()]
    assert (steps[-1] == 1) == (kept != written)  # the row that has ended leaves the batch
    steps.clear()
    assert generate(lm, ["Why is that so?", "Why?"], [Intervention()], tokens, exact=True)[0][0] == written


@pytest.mark.parametrize(
    ("template", "written", "kept"),
    [
        (ROLES, "It is café.\n\nUser: Why?", "It is café."),
        (ROLES, "Une idée, un café\nUser: Why?", "Une idée, un café"),
        (CHINESE, "Yes.\n用户：Why", "Yes."),
        (MARKS, "Yes, I would.<|user|> Why?", "Yes, I would."),
        (MARKS, "Yes, I would <|user|> Why?", "Yes, I would"),
    ],
)
@pytest.mark.parametrize("thinking", ["off", "on"])
def test_an_answer_is_whole_up_to_the_next_turn_whatever_its_tokens_hold(
    template: str, written: str, kept: str, thinking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letters of several tokens before the next turn; tokens that hold the answer's end and the turn's beginning."""
    plain = tiny_lm()
    plain.tokenizer.chat_template = template + "{% if add_generation_prompt %}<think>{% endif %}"
    plain.tokenizer.add_tokens([AddedToken(each, normalized=False) for each in (".<", " <")])
    plain.model.resize_token_embeddings(len(plain.tokenizer))
    lm = LM(plain.model, plain.tokenizer, "tiny", thinking=thinking)
    assert lm.prompts.stops
    thought = "What did it say?\nUser: and <|user|> so\n用户： on.</think>" if thinking == "on" else ""
    ids = lm.tokenizer(thought + written + " No." * 9, add_special_tokens=False)["input_ids"]
    given = iter(ids)
    monkeypatch.setattr(Rows, "_next", lambda self, logits, alive: torch.tensor([[next(given)]]))
    ((answer,),) = free_answers(lm, ["Why?"], [Intervention()], 60, 60)
    assert answer.text == kept and (answer.thought or "") == thought.removesuffix("</think>")
    assert len(list(given)) > 9  # it writes no more

    given = iter(ids[-len(lm.tokenizer(written + " No." * 9, add_special_tokens=False)["input_ids"]) :])
    (tokens,) = own_answers(lm, ["Why?"], 60).tokens
    assert lm.tokenizer.decode(tokens) == kept


@pytest.mark.parametrize("place", ["generation config", "config", "tokenizer", "template", "nowhere"])
def test_an_answer_ends_at_a_token_that_any_of_the_files_names(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    (end,) = tokenizer("<|im_end|>", add_special_tokens=False)["input_ids"]
    tokenizer.chat_template = PLAIN_CHATML if place == "template" else CHAT_TEMPLATE
    model = tiny_lm(vocab_size=len(tokenizer)).model
    if place == "generation config":
        model.generation_config.eos_token_id = [1, end, "</s>"]  # one that is no id says nothing
    if place == "config":
        model.config.eos_token_id = end
    if place == "tokenizer":
        tokenizer.eos_token = "<|im_end|>"
    lm = LM(model, tokenizer, "tiny")
    if place == "nowhere":  # but by what its class names where its file names none, which is a word here
        model.config.eos_token_id = lm.tokenizer("No", add_special_tokens=False)["input_ids"][0]
    ids = lm.tokenizer("Yes.<|im_end|>No.", add_special_tokens=False)["input_ids"]
    written = iter(ids)
    monkeypatch.setattr(Rows, "_next", lambda self, logits, alive: torch.tensor([[next(written)]]))
    assert generate(lm, ["Why?"], [Intervention()], len(ids)) == [["Yes." if place != "nowhere" else "Yes.No."]]
