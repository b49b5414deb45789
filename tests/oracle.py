"""Plain code for what the engine computes: one prompt, one pass, one setting; it shares nothing with the engine."""

from __future__ import annotations

import re
from typing import Any

import torch


def prompt_ids(tokenizer: Any, question: str, letter: str) -> tuple[list[int], int, int]:
    """Tokens of the prompt and the answer "(X)", the last prompt token's index, and the letter token's index."""
    text = f"<s>[INST] {question.strip()} [/INST]"
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    answer = tokenizer(f"{text} ({letter})", add_special_tokens=False)["input_ids"]
    index = next(i for i in range(len(prompt), len(answer)) if letter in tokenizer.decode(answer[len(prompt) : i + 1]))
    return answer, len(prompt) - 1, index


def logps(model: Any, blocks: Any, ids: list[int], end: int, index: int, edit: Any = None) -> torch.Tensor:
    """Log-probabilities of the token at `index`, with `edit` = (layer, vector, multiplier) from `end` on."""
    handle = None
    if edit is not None:
        layer, vector, multiplier = edit

        def hook(module: Any, args: Any, output: Any) -> Any:
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[:, end:] += multiplier * vector
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handle = blocks[layer].register_forward_hook(hook)
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([ids[:index]])).logits[0, -1].log_softmax(-1)
    if handle is not None:
        handle.remove()
    return found


def activations(model: Any, blocks: Any, ids: list[int], index: int) -> torch.Tensor:
    """The output of every block at one token, [layers, width]."""
    found: list[torch.Tensor] = []

    def hook(module: Any, args: Any, output: Any) -> None:
        found.append((output[0] if isinstance(output, tuple) else output)[0, index].clone())

    handles = [block.register_forward_hook(hook) for block in blocks]
    with torch.no_grad():
        model(torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return torch.stack(found)


def swap(question: str) -> str:
    """A two-choice question with its choices' texts exchanged."""
    match = re.fullmatch(r"(.*\n ?\(A\) )(.*?)(\n ?\(B\) )(.*)", question, re.DOTALL)
    assert match is not None
    return match[1] + match[4] + match[3] + match[2]
