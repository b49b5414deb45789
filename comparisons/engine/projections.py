"""Projections of the residual stream on vectors, at every token and layer: the states themselves are never kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from comparisons.engine.generate import GREEDY, generate_tokens
from comparisons.engine.hooks import EPSILON, captured, stopping_after
from comparisons.engine.memory import halving
from comparisons.engine.plan import batches, group_by_prefix
from comparisons.engine.prefix import keep_logits
from comparisons.intervention import Intervention
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError

Tokens = Sequence[int]


def projections(
    lm: LM, sequences: Sequence[Tokens], vectors: Mapping[int, torch.Tensor], cosine: bool = False
) -> list[np.ndarray]:
    """The component of each block's output along its layer's vector, at every token of every sequence.

    With h the residual stream after block L and v that layer's vector it is h·v / |v|, in the units of the residual
    stream; as a cosine h·v / (|h| |v|).

    Args:
        lm: the model.
        sequences: token ids.
        vectors: layer -> [width].
        cosine: whether to divide by the norm of h too.

    Returns:
        For each sequence [layers, tokens] float32, layers in ascending order.

    Raises:
        CompareError: a layer is out of range, a vector is of another width or has no direction, or a sequence is
            empty or exceeds the model's context.
    """
    units = {layer: _unit(lm, layer, vectors[layer]) for layer in sorted(vectors)}
    for tokens in sequences:
        check_length(lm, tokens)
    rows_of: dict[int, np.ndarray] = {}
    while len(rows_of) < len(sequences):
        rest = [i for i in range(len(sequences)) if i not in rows_of]
        with halving(lm), torch.no_grad():
            for batch in batches([len(sequences[i]) for i in rest], 0, lm.token_budget):
                chosen = [rest[i] for i in batch]
                values = _projected(lm, [sequences[i] for i in chosen], units, cosine)
                for i, rows in zip(chosen, values, strict=True):
                    rows_of[i] = rows[:, : len(sequences[i])]
    return [rows_of[i] for i in range(len(sequences))]


def check_length(lm: LM, tokens: Tokens) -> None:
    """Raises CompareError where a sequence has no token, or more than the model's context."""
    if not tokens:
        raise CompareError("the text has no token: give some text.")
    if lm.context is not None and len(tokens) > lm.context:
        raise CompareError(f"the text has {len(tokens)} tokens, more than the {lm.context} of {lm.name}: shorten it.")


def _unit(lm: LM, layer: int, vector: torch.Tensor) -> torch.Tensor:
    lm.check_layer(layer)
    if tuple(vector.shape) != (lm.width,):
        raise CompareError(
            f"the vector of layer {layer} has the shape {list(vector.shape)}, "
            f"and the width of {lm.name} is {lm.width}: use one that was made on this model."
        )
    norm = float(vector.double().norm())
    if not np.isfinite(norm) or norm <= EPSILON:
        raise CompareError(f"the vector of layer {layer} has no direction: its norm is {norm:g}.")
    return (vector.double() / norm).float()


def _projected(lm: LM, sequences: Sequence[Tokens], units: Mapping[int, torch.Tensor], cosine: bool) -> np.ndarray:
    """[rows, layers, tokens], padded on the right, where causality hides the pads from every token."""
    longest = max(map(len, sequences))
    ids = torch.tensor([[*row, *[row[-1]] * (longest - len(row))] for row in sequences], device=lm.device)
    lengths = torch.tensor([len(row) for row in sequences], device=lm.device)[:, None]
    position = torch.arange(longest, device=lm.device).expand(len(sequences), -1)

    def read(hidden: torch.Tensor, layer: int) -> torch.Tensor:
        states = hidden.float()
        along = states @ units[layer].to(hidden.device)
        return (along / states.norm(dim=-1).clamp(min=EPSILON) if cosine else along).cpu()

    lm.meter.add(ids.numel())
    with captured(lm, list(units), read) as outputs, stopping_after(lm, max(units)):
        lm.model(
            input_ids=ids,
            attention_mask=(position < lengths).long(),
            position_ids=position,
            use_cache=False,
            **keep_logits(lm, torch.tensor([longest - 1], device=lm.device)),
        )
    return torch.stack([outputs[layer] for layer in units], dim=1).numpy()


def answered(
    lm: LM, questions: Sequence[str], intervention: Intervention, max_new_tokens: int
) -> list[tuple[list[int], int]]:
    """Each question's prompt and the model's greedy answer to it, as one sequence of tokens.

    Args:
        lm: the model.
        questions: user turns; the model's prompt format is put around them.
        intervention: what is in place; its edits act on the answer, and are not part of the sequence.
        max_new_tokens: an answer ends here, or before the model's end-of-sequence token; 0 for the prompt alone.

    Returns:
        For each question the tokens, and how many of them are the prompt.

    Raises:
        CompareError: a prompt exceeds the model's context.
    """
    (group,) = group_by_prefix([intervention])
    prompts = [lm.tokenize(lm.prompt(q, group.head.system, group.head.examples)) for q in questions]
    for prompt in prompts:
        check_length(lm, prompt)
    room = max_new_tokens if lm.context is None else min(max_new_tokens, lm.context - max(map(len, prompts)))
    answers: dict[tuple[int, int], list[int]] = {}
    if room > 0:
        with torch.no_grad():
            answers = generate_tokens(lm, questions, group, room, GREEDY)
    return [([*prompt, *answers.get((0, i), [])], len(prompt)) for i, prompt in enumerate(prompts)]
