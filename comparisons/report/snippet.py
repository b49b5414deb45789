"""A short program in plain transformers that applies a run's best intervention."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from comparisons.model.prompts import TEMPLATE_ARGUMENTS

QUESTION = "Could you help me with a plan for the day?"
STARTS = {"prompt_end": -1, "last": -1, "all": 0}
"""The first token of each call that an edit touches: with a cache the first call sees the prompt, each later one
token, so that -1 means the last prompt token and all that follows."""


def snippet(intervention: Mapping[str, Any], question: str = QUESTION, repository: str | None = None) -> str | None:
    """Writes the program; it runs from the run's folder.

    Args:
        intervention: best/intervention.json.
        question: what the program asks.
        repository: of the hub, where vectors and adapter are, to run from anywhere; None for the run's `best/`.

    Returns:
        The program, or None where an edit's operation or positions don't fit a short one.
    """
    edits = intervention.get("edits") or []
    if any(edit["operation"] != "add" or edit["positions"] not in STARTS for edit in edits):
        return None
    adapter = intervention.get("adapter")
    scaled = adapter is not None and intervention.get("adapter_scale", 1.0) != 1.0
    lines = ["import torch"]
    lines += ["from huggingface_hub import hf_hub_download"] if edits and repository else []
    lines += ["from peft import PeftModel"] if adapter is not None else []
    lines += ["from peft.tuners.lora import LoraLayer"] if scaled else []
    lines += ["from safetensors.torch import load_file"] if edits else []
    lines += ["from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
    lines += [
        'device = "cuda" if torch.cuda.is_available() else "cpu"',
        f"name = {_literal(intervention['model'])}",
        "tokenizer = AutoTokenizer.from_pretrained(name)",
        "model = AutoModelForCausalLM.from_pretrained(name).to(device).eval()",
    ]
    if edits:
        lines.append(f"blocks = model.get_submodule({_literal(intervention.get('blocks') or 'model.layers')})")
    if adapter is not None:
        lines.append(f"model = PeftModel.from_pretrained(model, {_literal(repository or f'best/{adapter}')})")
    if scaled:
        lines += [
            "for module in model.modules():",
            "    if isinstance(module, LoraLayer):",
            f'        module.scaling["default"] *= {float(intervention["adapter_scale"])!r}',
        ]
    lines += _hooks(edits, repository)
    lines += ["", *_prompt(intervention, question)]
    return "\n".join([*lines, *GENERATE]) + "\n"


HOOK = '''

def add(vector, start):
    """Adds a vector to a block's output; -1 is from the last prompt token on, 0 is every token."""
    def hook(module, args, output):
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[:, start:] += vector.to(hidden)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden
    return hook


'''.splitlines()

GENERATE = [
    "output = model.generate(**inputs, max_new_tokens=64, do_sample=False)",
    'print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))',
]


def _hooks(edits: Sequence[Mapping[str, Any]], repository: str | None) -> list[str]:
    if not edits:
        return []
    file = f'hf_hub_download({_literal(repository)}, "edits.safetensors")' if repository else '"best/edits.safetensors"'
    return [*HOOK, f"vectors = load_file({file})"] + [
        f"blocks[{int(edit['layer'])}].register_forward_hook("
        f"add({float(edit['multiplier'])!r} * vectors[{_literal(edit['tensor'])}], {STARTS[edit['positions']]}))"
        for edit in edits
    ]


def _prompt(intervention: Mapping[str, Any], question: str) -> list[str]:
    """The lines that render and tokenize the question, in the run's prompt format."""
    system, turns = intervention.get("system"), intervention.get("examples") or []
    if intervention.get("prompt_format", "chat") != "chat":
        before, after = _frame(intervention["prompt_format"], system, turns)
        return [
            *_assignment("before", before),
            f"question = {_literal(question)}",
            f'inputs = tokenizer(before + question + {_literal(after)}, return_tensors="pt").to(device)',
        ]
    messages = [("user", question)]
    if turns:
        answered = [("assistant", answer) for _, answer in turns]
        messages = [m for pair in zip([("user", q) for q, _ in turns], answered, strict=True) for m in pair] + messages
    if system:
        messages = [("system", system), *messages]
    arguments = "".join(f", {name}={_literal(value)}" for name, value in TEMPLATE_ARGUMENTS.items())
    lines = [line for role, content in messages for line in _message(role, content)]
    return [
        *([f"messages = [{lines[0].strip().rstrip(',')}]"] if len(lines) == 1 else ["messages = [", *lines, "]"]),
        "prompt = tokenizer.apply_chat_template(",
        f"    messages, tokenize=False, add_generation_prompt=True{arguments}",
        ")",
        'inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").to(device)',
    ]


def _frame(prompt_format: str, system: str | None, turns: Sequence[Sequence[str]]) -> tuple[str, str]:
    """What stands before and after the question in a prompt format without a chat template."""
    if prompt_format == "base":
        head = f"{system}\n\n" if system else ""
        shown = "".join(f"Input: {q.strip()}\nResponse: {a.strip()}\n\n" for q, a in turns)
        return f"{head}{shown}Input: ", "\nResponse:"
    head = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if system else ""
    shown = "".join(f"[INST] {q.strip()} [/INST] {a.strip()} " for q, a in turns)
    return f"{head}{shown}[INST] ", " [/INST]"


def _message(role: str, content: str) -> list[str]:
    parts = _pieces(content)
    if len(parts) == 1:
        return [f'    {{"role": "{role}", "content": {parts[0]}}},']
    return [f'    {{"role": "{role}", "content": (', *(f"        {part}" for part in parts), "    )},"]


def _assignment(name: str, text: str) -> list[str]:
    parts = _pieces(text)
    return [f"{name} = {parts[0]}"] if len(parts) == 1 else [f"{name} = (", *(f"    {p}" for p in parts), ")"]


def _pieces(text: str) -> list[str]:
    """String literals that together are the text, each short enough for a page."""
    words = textwrap.TextWrapper(84, expand_tabs=False, replace_whitespace=False, drop_whitespace=False)
    return [_literal(piece) for piece in words.wrap(text)] or ['""']


def _literal(value: Any) -> str:
    """A Python literal, in double quotes where that needs no more escapes."""
    text = repr(value)
    return f'"{text[1:-1]}"' if text[:1] == "'" and '"' not in text else text
