"""The steering-vectors library as a contender, where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comparisons.bench.contenders import Loop, greedy, plain_pass

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from comparisons.intervention import Edit
    from comparisons.model.lm import LM
    from comparisons.model.prompts import ChoicePrompt

NAME = "steering-vectors"


def library_loop() -> Loop | None:
    """The contender, or None where the library can't be imported."""
    try:
        import steering_vectors  # type: ignore[import-not-found,unused-ignore]  # noqa: F401 - only whether it is there
    except ImportError:
        return None
    return Loop(NAME, _pair, _choice, _answer)


def _pair(lm: LM, prompt: ChoicePrompt) -> torch.Tensor:
    import torch
    from steering_vectors import record_activations

    with record_activations(lm.model) as recorded:
        for letter in prompt.targets:
            plain_pass(lm, (*prompt.ids, letter))
    layers = [torch.stack([passed[0, -1] for passed in recorded[layer]]) for layer in sorted(recorded)]
    return torch.stack(layers, dim=1)


def _choice(lm: LM, prompt: ChoicePrompt, edit: Edit) -> torch.Tensor:
    vector = _vector(lm, edit)
    with vector.apply(lm.model, multiplier=edit.multiplier, min_token_index=prompt.prompt_end):
        return plain_pass(lm, prompt.ids).log_softmax(-1)[list(prompt.targets)]


def _answer(lm: LM, ids: Sequence[int], edit: Edit, new_tokens: int) -> tuple[list[int], int]:
    vector = _vector(lm, edit)
    # Its token index counts within a pass, so under a cache each step must be steered anew from its own token 0.
    return greedy(
        lm, ids, new_tokens, lambda start: vector.apply(lm.model, multiplier=edit.multiplier, min_token_index=start)
    )


def _vector(lm: LM, edit: Edit) -> Any:
    from steering_vectors import SteeringVector

    return SteeringVector({edit.layer: edit.vector.to(lm.device, lm.model.dtype)})
