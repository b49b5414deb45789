"""Whether a loaded model can be read and edited as all that comes after takes for granted."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from comparisons.model.lm import LM
from comparisons.util.errors import CompareError

TELLING = 0.05
"""Of a block's output, what a token behind changes at least; rounding in 16 bits is less."""


def check_positions(lm: LM) -> None:
    """Raises CompareError where a model counts a text's positions from another number than 0 on."""
    roberta = ("create_position_ids_from_input_ids", "token_type_embeddings")
    if any(all(hasattr(module, name) for name in roberta) for module in lm.model.modules()):
        raise CompareError(
            f"{lm.name} counts a text's positions from its padding token's id on, as RoBERTa does, and would be asked "
            "from 0 on: take another model."
        )


def check_stream(lm: LM) -> None:
    """Raises CompareError where a model's block hands on anything but a vector of the stream's width for each token.

    Those of some families hand on several copies of it (hyper-connections), two streams (Reformer), or tokens of their
    own before the text's (CPM-Ant): nothing could be read or edited at the right place. Those of others read a token
    with those behind it: no next token can be asked for.
    """
    output = _first_output(lm, [0, 1, 2])
    if output is None:
        return
    hidden = _hidden(output)
    shape = [*getattr(hidden, "shape", ())]
    copies = len(shape) == 4 and getattr(getattr(lm.blocks[0], "config", None), "altup_active_idx", None) is not None
    if shape[copies:] != [1, 3, lm.width]:
        found = shape or f"a {type(output).__name__}"
        raise CompareError(
            f"the blocks of {lm.name} hand on {found} for 3 tokens of width {lm.width}: there is no one "
            "residual stream to read or edit; take another model."
        )
    _check_causal(lm, hidden)


def _check_causal(lm: LM, hidden: Any) -> None:
    """Raises CompareError where what a model makes of a token depends on those behind it.

    Families that are told which tokens they read so (PaliGemma's prompts, by token_type_ids) are left to that.

    Args:
        lm: the model.
        hidden: what its first block hands on for tokens that differ in the last one from those that are tried.
    """
    if "token_type_ids" in inspect.signature(type(lm.model).forward).parameters:
        return
    one, other = (each[..., :-1, :].float() for each in (hidden, _hidden(_first_output(lm, [0, 1, 3]))))
    if (one - other).abs().max() > TELLING * one.std():
        raise CompareError(
            f"{lm.name} reads each token with those behind it, and its next tokens can't be asked for: take another "
            "model."
        )


def _hidden(output: Any) -> Any:
    return output[0] if type(output) in (tuple, list) else output


def _first_output(lm: LM, ids: Sequence[int]) -> Any:
    """What the first block hands on for these tokens; None where the model's own code wants to be called otherwise."""
    import torch

    class Seen(Exception):
        pass

    def see(module: Any, args: Any, output: Any) -> None:
        raise Seen(output)

    tokens = torch.tensor([ids], device=lm.device)
    handle = lm.blocks[0].register_forward_hook(see)
    try:
        with torch.no_grad():
            lm.model(input_ids=tokens, attention_mask=torch.ones_like(tokens))
    except Seen as seen:
        return seen.args[0]
    except Exception:
        return None
    finally:
        handle.remove()
    return None
