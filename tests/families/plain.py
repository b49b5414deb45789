"""Plain code for what the engine computes, of any family: one prompt, a hook, transformers' own answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from comparisons.model.lm import LM

Places = Callable[[int], slice]
"""Which tokens of a pass are edited, by how many it has."""


def whole(start: int) -> Places:
    """Those from a place on, where each pass reads the whole text."""
    return lambda tokens: slice(start, None)


def from_cache(start: int) -> Places:
    """Those from a place on, where the first pass reads the prompt and each other one more token."""
    return lambda tokens: slice(start if tokens > 1 else 0, None)


def stream(output: Any) -> torch.Tensor:
    """The residual stream in what a block returns, [batch, tokens, width]; of several copies (Gemma 3n) the active."""
    hidden: torch.Tensor = output if torch.is_tensor(output) else output[0]
    return hidden[0] if hidden.dim() == 4 else hidden


@contextmanager
def edited(lm: LM, layer: int, vector: torch.Tensor, places: Places) -> Iterator[None]:
    """Adds a vector to what a block returns while the context lasts."""

    def hook(module: Any, args: Any, output: Any) -> Any:
        given = output if torch.is_tensor(output) else output[0]
        changed = stream(output).clone()
        changed[:, places(changed.shape[1])] += vector
        changed = torch.cat([changed[None], given[1:]]) if given.dim() == 4 else changed
        return changed if torch.is_tensor(output) else type(output)((changed, *output[1:]))

    handle = lm.blocks[layer].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def logps(lm: LM, ids: Sequence[int]) -> torch.Tensor:
    """Log-probabilities after the last of some tokens, [vocabulary]."""
    with torch.no_grad():
        found: torch.Tensor = lm.model(torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
    return found


def activations(lm: LM, ids: Sequence[int]) -> torch.Tensor:
    """What every block returns at the last of some tokens, [layers, width]."""
    found: list[torch.Tensor] = []
    handles = [
        block.register_forward_hook(lambda module, args, output: found.append(stream(output)[0, -1].clone()))
        for block in lm.blocks
    ]
    with torch.no_grad():
        lm.model(torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return torch.stack(found)


def decoded(lm: LM, ids: Sequence[int], tokens: int) -> str:
    """Greedy decoding of one prompt, the whole text at every step."""
    answer: list[int] = []
    for _ in range(tokens):
        token = int(logps(lm, [*ids, *answer]).argmax())
        if token == lm.tokenizer.eos_token_id:
            break
        answer.append(token)
    return str(lm.tokenizer.decode(answer, skip_special_tokens=True)).strip()


def generated(lm: LM, ids: Sequence[int], tokens: int) -> str:
    """What `model.generate` answers, greedily."""
    given = torch.tensor([ids])
    with torch.no_grad():
        whole = lm.model.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=lm.tokenizer.eos_token_id,
        )
    return str(lm.tokenizer.decode(whole[0, len(ids) :], skip_special_tokens=True)).strip()
