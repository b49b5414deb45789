"""Plain code for what the engine computes: one prompt, one pass, one setting; it shares nothing with the engine."""

from __future__ import annotations

import re
from collections.abc import Callable
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


def edited(model: Any, blocks: Any, ids: list[int], end: int, edits: Any, last: int | None = None) -> torch.Tensor:
    """Log-probabilities after every token of one sequence, [tokens, vocabulary], with edits in place.

    Args:
        model: a causal language model.
        blocks: its decoder blocks.
        ids: the tokens.
        end: index of the last prompt token.
        edits: each with layer, vector, operation, multiplier, positions, site, and a condition or None.
        last: index of the token that "last" means; by default the last one.
    """
    handles, acts = [], dict[int, bool]()
    for edit in edits:
        if edit.when is not None:  # before any edit of its block

            def decide(module: Any, args: Any, output: Any, edit: Any = edit) -> None:
                hidden = output[0] if isinstance(output, tuple) else output
                beyond = cosine(hidden[0, end], edit.when.vector) - edit.when.threshold
                acts[id(edit)] = beyond > 0 if edit.when.side == "above" else beyond < 0

            handles.append(blocks[edit.when.layer].register_forward_hook(decide))
    for edit in edits:
        block, span = blocks[edit.layer], _span(edit.positions, len(ids), end, len(ids) - 1 if last is None else last)

        def change(hidden: torch.Tensor, edit: Any = edit, span: range = span) -> torch.Tensor:
            hidden = hidden.clone()
            for token in span if edit.when is None or acts[id(edit)] else ():
                vector = edit.vector[token] if edit.vector.dim() == 2 else edit.vector
                hidden[0, token] = _operated(
                    edit.operation, hidden[0, token].double(), vector.double(), edit.multiplier
                )
            return hidden

        def after(module: Any, args: Any, output: Any, change: Any = change) -> Any:
            return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

        def entering(module: Any, args: Any, change: Any = change) -> Any:
            return (change(args[0]), *args[1:])

        if edit.site == "block_input":
            handles.append(block.register_forward_pre_hook(entering))
        else:
            names = {"block": "", "attention": "self_attn attn attention", "mlp": "mlp block_sparse_moe"}[edit.site]
            module = next((m for name, m in block.named_children() if name in names.split()), block)
            assert (module is block) == (edit.site == "block")
            handles.append(module.register_forward_hook(after))
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    for handle in handles:
        handle.remove()
    return found


def cosine(left: torch.Tensor, right: torch.Tensor) -> float:
    """Between two vectors."""
    return float(torch.cosine_similarity(left.double(), right.double(), dim=0))


def _span(positions: str, tokens: int, end: int, last: int) -> range:
    kind, _, count = positions.partition(":")
    return {
        "all": range(tokens),
        "prompt_end": range(end, tokens),
        "last": range(last, last + 1),
        "prompt_first": range(int(count or 0)),
        "response_first": range(end + 1, min(tokens, end + 1 + int(count or 0))),
    }[kind]


def _operated(operation: str, h: torch.Tensor, v: torch.Tensor, m: float) -> torch.Tensor:
    along = (h @ v) / (v @ v)  # the component of h along v, in multiples of v
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "add": lambda: h + m * v,
        "ablate": lambda: h - m * along * v,
        "set": lambda: h - along * v + m * v,
        "add_keep_norm": lambda: (h + m * v) * h.norm() / (h + m * v).norm(),
    }
    return ways[operation]().float()


def activations(model: Any, blocks: Any, ids: list[int], index: int | slice) -> torch.Tensor:
    """The output of every block at one token, [layers, width], or at some, [layers, tokens, width]."""
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


def answer_ids(tokenizer: Any, stem: str, text: str, system: str | None = None) -> tuple[list[int], int]:
    """Tokens of a question by the chat template with an answer's text behind it, and how many are the prompt's."""
    turns = [{"role": "user", "content": stem}]
    turns = [{"role": "system", "content": system}, *turns] if system else turns
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    whole = prompt + ("" if prompt[-1].isspace() else " ") + text
    alone, ids = (tokenizer(each, add_special_tokens=False)["input_ids"] for each in (prompt, whole))
    shared = 0
    while shared < min(len(alone), len(ids)) and alone[shared] == ids[shared]:
        shared += 1
    return ids, shared


def answer_logps(model: Any, blocks: Any, ids: list[int], shared: int, edit: Any = None) -> list[float]:
    """Log-probabilities of the tokens from `shared` on, in one pass over the whole text.

    Args:
        model: a causal language model.
        blocks: its decoder blocks.
        ids: see `answer_ids`.
        shared: how many of them are the prompt's; the edit acts from the last of these on.
        edit: layer, vector and multiplier.
    """
    handles = []
    if edit is not None:
        layer, vector, multiplier = edit

        def hook(module: Any, args: Any, output: Any) -> Any:
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[:, shared - 1 :] += multiplier * vector
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handles.append(blocks[layer].register_forward_hook(hook))
    with torch.no_grad():
        logps = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    for handle in handles:
        handle.remove()
    return [float(logps[place - 1, ids[place]]) for place in range(shared, len(ids))]
