"""Weights that accelerate keeps away from their modules, in main memory or on disk, until a forward pass needs them.

Such a module has a hook; its parameters are on the meta device, and are other objects after each forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Kept:
    """Where the values of an offloaded tensor are.

    Attributes:
        values: what accelerate reads them from.
        key: their name there.
    """

    values: Mapping[str, Any]
    key: str

    def read(self) -> torch.Tensor:
        """The tensor, on the CPU."""
        tensor: torch.Tensor = self.values[self.key]
        return tensor.cpu()

    def file(self) -> Path | None:
        """The file that holds it; None where it is in main memory."""
        # What is below the names of a module's own tensors: all offloaded ones, of which some are on disk.
        whole: Any = getattr(self.values, "dataset", self.values)
        key = getattr(self.values, "prefix", "") + self.key
        index = getattr(whole, "index", {})
        if key in getattr(whole, "state_dict", {}) or key not in index:
            return None
        return Path(index[key].get("safetensors_file") or Path(whole.save_folder) / f"{key}.dat")


def offloaded(model: torch.nn.Module) -> dict[str, Kept]:
    """The offloaded parameters and buffers of a model, by name."""
    return {
        f"{name}.{tensor}".lstrip("."): kept
        for name, module in model.named_modules()
        for tensor, kept in _kept(module).items()
    }


def is_offloaded(model: torch.nn.Module) -> bool:
    """Whether any weight of a model is kept away from its module."""
    return any(execution_device(module) is not None for module in model.modules())


def execution_device(module: torch.nn.Module) -> torch.device | None:
    """Where an offloaded module computes; None for one that has its weights."""
    import torch

    for hook in _hooks(module):
        if getattr(hook, "offload", False):
            return torch.device(hook.execution_device)
    return None


def weight_of(module: torch.nn.Module) -> torch.Tensor:
    """A module's weight, read from where it is kept."""
    weight: torch.Tensor = module.weight  # type: ignore[assignment]
    return _kept(module)["weight"].read() if weight.is_meta else weight


@contextmanager
def placing(model: torch.nn.Module) -> Iterator[None]:
    """Lets PEFT put layers beside offloaded ones while the context lasts: where those compute.

    PEFT would put them where the weights are, on the meta device, and would spread the whole model anew.
    """
    import torch

    mapped = vars(model).pop("hf_device_map", None)
    replaced = [(module, name) for module in model.modules() for name in _kept(module) if name in module._parameters]
    originals = [module._parameters[name] for module, name in replaced]
    try:
        for (module, name), tensor in zip(replaced, originals, strict=True):
            assert tensor is not None
            # One number stands in for all of a weight's.
            value = torch.zeros((), dtype=tensor.dtype, device=execution_device(module)).expand(tensor.shape)
            module._parameters[name] = torch.nn.Parameter(value, requires_grad=tensor.requires_grad)
        yield
    finally:
        for (module, name), tensor in zip(replaced, originals, strict=True):
            stand_in, module._parameters[name] = module._parameters[name], tensor
            if tensor is not None and stand_in is not None:
                tensor.requires_grad_(stand_in.requires_grad)
        if mapped is not None:
            model.hf_device_map = mapped


def _hooks(module: torch.nn.Module) -> Iterator[Any]:
    hook = getattr(module, "_hf_hook", None)
    yield from getattr(hook, "hooks", (hook,))


def _kept(module: torch.nn.Module) -> dict[str, Kept]:
    return {
        name: Kept(hook.weights_map, name)
        for hook in _hooks(module)
        if getattr(hook, "offload", False) and hook.weights_map is not None
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        if tensor.is_meta
    }
