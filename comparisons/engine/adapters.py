"""PEFT adapters on a model, in place and for a while: never merged, nothing left behind."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import is_
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.intervention import Intervention
from comparisons.model.lm import LM
from comparisons.model.offload import is_offloaded, placing
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    import torch

NAME = "default"
CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


@contextmanager
def adapted(lm: LM, adapter: Path | None, scale: float = 1.0) -> Iterator[None]:
    """Puts an adapter on `lm.model` while the context is open.

    The adapter's layers are injected in place: `lm.model` and `lm.blocks` stay the same objects and are used
    directly. Afterwards, also after an exception, the model is what it was: modules, classes, hooks, attributes,
    parameters with their bits and flags.

    Args:
        lm: the model.
        adapter: folder in PEFT's format; None changes nothing.
        scale: factor on the adapter's own scale; 0 changes nothing.

    Raises:
        CompareError: the folder is missing, damaged or made for another model; the adapter can't be scaled; the
            model already carries one.
    """
    if not math.isfinite(scale):
        raise CompareError(f"the scale of an adapter must be finite, not {scale}.")
    if adapter is None or scale == 0.0:
        yield
        return
    if getattr(lm.model, "peft_config", None):
        raise CompareError(f"{lm.name} already carries an adapter: merge it into the weights before adding {adapter}.")
    config = _read(adapter)
    with preserved(lm.model):
        _place(lm, adapter, config)
        if scale != 1.0:
            _rescale(lm.model, adapter, config, scale)
        with lm.meter.adapted():
            yield


@contextmanager
def preserved(model: torch.nn.Module) -> Iterator[None]:
    """Puts a model back as it was when the context closes, also after an exception.

    Restores every module's class, attributes, children, hooks and mode, every configuration's fields, and every
    parameter's storage, gradient and `requires_grad`. Copies no weights, so what is written into a weight's own
    storage stays: replace tensors instead.
    """
    before = _State.of(model)
    try:
        yield
    finally:
        before.put_back()


@dataclass(frozen=True)
class _State:
    """What a model is, but for what its weights hold.

    Attributes:
        objects: each module and configuration, with its class and its attributes as `_contents` has them.
        parameters: each with its storage, `requires_grad` and gradient.
    """

    objects: list[tuple[Any, type, dict[str, tuple[Any, Any]]]]
    parameters: list[tuple[Any, Any, bool, Any]]

    @classmethod
    def of(cls, model: torch.nn.Module) -> _State:
        """The state of a model now."""
        modules = list(model.modules())
        objects: list[Any] = [*modules, *_configurations(modules)]
        parameters = [(p, p.data, p.requires_grad, p.grad) for p in model.parameters()]
        return cls([(owner, type(owner), _contents(owner)) for owner in objects], parameters)

    def put_back(self) -> None:
        """Gives the model this state again."""
        for owner, kind, contents in self.objects:
            _restore(owner, kind, contents)
        for parameter, data, requires_grad, gradient in self.parameters:
            if parameter.data_ptr() != data.data_ptr() or parameter.dtype != data.dtype:
                parameter.data = data
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient

    def equals(self, other: _State) -> bool:
        """Whether both hold the same objects, with the same attributes."""
        return (
            len(self.objects) == len(other.objects)
            and len(self.parameters) == len(other.parameters)
            and all(map(_same_object, self.objects, other.objects))
            and all(
                p is q and data.data_ptr() == its.data_ptr() and (flag, data.dtype) == (own, its.dtype) and grad is mine
                for (p, data, flag, grad), (q, its, own, mine) in zip(self.parameters, other.parameters, strict=True)
            )
        )


def _same_object(left: tuple[Any, type, Any], right: tuple[Any, type, Any]) -> bool:
    """Whether both are one object, whose attributes and what containers held are the same objects in the same order."""
    (owner, kind, mine), (other, its, theirs) = left, right
    if owner is not other or kind is not its or list(mine) != list(theirs):
        return False
    for (value, copy), (held, before) in zip(mine.values(), theirs.values(), strict=True):
        if value is not held and not (isinstance(value, (bool, int, float, str)) and value == held):
            return False
        if isinstance(copy, list) and not (len(copy) == len(before) and all(map(is_, copy, before))):
            return False
        if copy != before if isinstance(copy, set) else isinstance(copy, dict) and not _same(copy, before):
            return False
    return True


def _configurations(modules: list[torch.nn.Module]) -> list[Any]:
    """The distinct configuration objects that modules refer to."""
    configurations = [getattr(m, name, None) for m in modules for name in ("config", "generation_config")]
    return list({id(config): config for config in configurations if hasattr(config, "__dict__")}.values())


def _contents(owner: Any) -> dict[str, tuple[Any, Any]]:
    """Each attribute with a copy of its contents where it is a container."""
    containers = (dict, list, set)
    return {
        name: (value, value.copy() if isinstance(value, containers) else None) for name, value in vars(owner).items()
    }


def _restore(owner: Any, kind: type, contents: dict[str, tuple[Any, Any]]) -> None:
    if type(owner) is not kind:
        owner.__class__ = kind
    for value, copy in contents.values():
        # The same container must come back: handles of hooks refer to the dict that they are in.
        if isinstance(value, list):
            value[:] = copy
        elif copy is not None and (value != copy if isinstance(value, set) else not _same(value, copy)):
            value.clear()
            value.update(copy)
    vars(owner).clear()
    vars(owner).update({name: value for name, (value, _) in contents.items()})


def _same(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    """Whether two dicts hold the same objects in the same order (tensors can't be compared by ==)."""
    return list(left) == list(right) and all(left[key] is right[key] for key in right)


def _read(adapter: Path) -> Any:
    """An adapter's configuration."""
    from peft import PeftConfig

    # PEFT takes a folder without these files for an id of the hub.
    if not (adapter / CONFIG).is_file() or not any((adapter / name).is_file() for name in WEIGHTS):
        raise CompareError(f"the adapter folder '{adapter}' needs {CONFIG} and {WEIGHTS[0]}: fit it again.")
    try:
        config = PeftConfig.from_pretrained(str(adapter))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CompareError(f"can't read the adapter '{adapter}': {_line(error)}") from error
    if config.is_prompt_learning or getattr(config, "alora_invocation_tokens", None):
        raise CompareError(f"the adapter '{adapter}' ({config.peft_type}) changes the input, not weights: use LoRA.")
    if getattr(config, "layer_replication", None):
        raise CompareError(
            f"the adapter '{adapter}' repeats blocks (layer_replication): merge it into a model's files."
        )
    return config


def _place(lm: LM, adapter: Path, config: Any) -> None:
    """Injects an adapter, or does again what injecting the last one did, if it and the model are as they were.

    A cell is asked several things, each with its adapter, and PEFT takes ten times as long as this.
    """
    files = [(adapter / name).stat() for name in (CONFIG, *WEIGHTS) if (adapter / name).exists()]
    key = (str(adapter.resolve()), *((file.st_ino, file.st_size, file.st_mtime_ns) for file in files))
    before = _State.of(lm.model)
    if lm.injected is not None and lm.injected[0] == key and lm.injected[1].equals(before):
        lm.injected[2].put_back()
        return
    lm.injected = None
    _inject(lm, adapter, config)
    if not is_offloaded(lm.model):
        lm.injected = (key, before, _State.of(lm.model))


def _inject(lm: LM, adapter: Path, config: Any) -> None:
    """Lets PEFT put the adapter into `lm.model`; PEFT's own wrapper around it is not needed."""
    import torch
    from peft import PeftModel
    from safetensors import SafetensorError

    config.inference_mode = True
    devices = [lm.device] if lm.device.type == "cuda" else []
    try:
        # New layers draw initial values before they get the adapter's.
        with torch.random.fork_rng(devices=devices), placing(lm.model):
            result = PeftModel(lm.model, config, NAME).load_adapter(str(adapter), NAME, torch_device="cpu")
    except (OSError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise CompareError(f"can't read the adapter '{adapter}': {_line(error)}") from error
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        raise CompareError(f"the adapter '{adapter}' does not fit {lm.name}: {_line(error)}") from error
    if result.unexpected_keys or result.missing_keys:
        fault = f"no place for {result.unexpected_keys[0]}" if result.unexpected_keys else "weights are missing"
        raise CompareError(f"the adapter '{adapter}' does not fit {lm.name}: {fault}.")


def _rescale(model: torch.nn.Module, adapter: Path, config: Any, scale: float) -> None:
    """Multiplies the scale of every adapter layer; what else an adapter may replace has no scale."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    extras = ("modules_to_save", "trainable_token_indices", "use_dora")
    unscaled = [name for name in extras if getattr(config, name, None)]
    unscaled += ["bias"] if getattr(config, "bias", "none") != "none" else []
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    scales: list[Any] = [getattr(layer, "scaling", None) for layer in layers]
    if unscaled or not all(isinstance(scaling, dict) and NAME in scaling for scaling in scales):
        part = unscaled[0] if unscaled else config.peft_type
        raise CompareError(f"the adapter '{adapter}' can't be scaled because of its {part}: use strength 1.")
    for scaling in scales:
        scaling[NAME] *= scale


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


@contextmanager
def in_place(lm: LM, head: Intervention) -> Iterator[None]:
    """Puts the adapter of an intervention on the model, and opens the context that it brings."""
    with ExitStack() as stack:
        stack.enter_context(adapted(lm, head.adapter, head.adapter_scale))
        if head.context is not None:
            stack.enter_context(preserved(lm.model))
            stack.enter_context(head.context.open(lm))
        yield
