"""Whether a loaded model can be read and edited as all that comes after takes for granted."""

from __future__ import annotations

from typing import Any

from comparisons.model.lm import LM
from comparisons.util.errors import CompareError


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
    own before the text's (CPM-Ant): nothing could be read or edited at the right place.
    """
    import torch

    class Seen(Exception):
        pass

    def see(module: Any, args: Any, output: Any) -> None:
        raise Seen(output)

    ids = torch.tensor([[0, 1, 2]], device=lm.device)
    handle = lm.blocks[0].register_forward_hook(see)
    try:
        with torch.no_grad():
            lm.model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except Seen as seen:
        (output,) = seen.args
    except Exception:  # of a model's own code, which wants to be called otherwise
        return
    finally:
        handle.remove()
    hidden = output[0] if type(output) in (tuple, list) else output
    shape = [*getattr(hidden, "shape", ())]
    copies = len(shape) == 4 and getattr(getattr(lm.blocks[0], "config", None), "altup_active_idx", None) is not None
    if shape[copies:] != [*ids.shape, lm.width]:
        found = shape or f"a {type(output).__name__}"
        raise CompareError(
            f"the blocks of {lm.name} hand on {found} for {ids.shape[1]} tokens of width {lm.width}: there is no one "
            "residual stream to read or edit; take another model."
        )
