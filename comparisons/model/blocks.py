"""Where a model's decoder blocks are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    import torch


def blocks_at(model: Any, path: str) -> list[torch.nn.Module]:
    """The decoder blocks at a dotted path; raises CompareError where there is no list of modules."""
    from torch.nn import ModuleList, Sequential

    try:
        found = model.get_submodule(path)
    except AttributeError:
        found = None
    if not isinstance(found, (ModuleList, Sequential)) or not len(found):
        raise CompareError(
            f"--blocks {path}: {type(model).__name__} has no list of blocks there: name them, as in model.layers."
        )
    return list(found)


def find_blocks(model: Any) -> str:
    """The dotted path of the list of decoder blocks: the outermost list with one module a layer.

    Raises:
        CompareError: there is none; `--blocks` names it.
    """
    import torch

    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    lists = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == count
    ]
    if not lists:
        kind = type(model).__name__
        raise CompareError(f"no list of {count} decoder blocks in {kind}: name it by --blocks path.to.layers.")
    return str(min(lists, key=lambda name: name.count(".")))
