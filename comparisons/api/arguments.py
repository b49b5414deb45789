"""Arguments of `comparisons.run`: the options as Python has them, checked, read, and shown as a command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, Signature, getdoc, signature
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, TypeVar, get_type_hints

from comparisons.util.errors import CompareError, unknown
from comparisons.util.options import Declared, Option, declared

if TYPE_CHECKING:
    from pydantic import BaseModel

Call = TypeVar("Call", bound=Callable[..., Any])
Plain = str | int | float | bool | Path | None
Value = Plain | list[Plain] | tuple[Plain, ...]
"""What a setting can be; a list that stands in a list of values is one of them."""


@dataclass(frozen=True)
class Execution:
    """How a run is carried out, which changes none of its numbers."""

    out: Annotated[Path | None, Option("The run's folder; by default one under reports/.")] = None
    fresh: Annotated[bool, Option("Discard what the folder holds and begin anew.")] = False
    executor: Annotated[
        Literal["local", "ray"], Option("In this process, or by workers on a Ray cluster: here, or at --address.")
    ] = "local"
    workers: Annotated[int | None, Option("Of Ray: as many as GPUs, or cores, by default.", least=1)] = None
    gpus_per_cell: Annotated[float | None, Option("Of a Ray worker; may be 0.5.", metavar="G", least=0)] = None
    address: Annotated[
        str | None, Option("Of a Ray cluster; by default one is started here.", metavar="HOST:PORT|auto")
    ] = None


class RunOptions(TypedDict, total=False):
    """The options of `compare run` and `compare sweep` as arguments; `help(comparisons.run)` says what each is."""

    model: str | Path | Iterable[str | Path]
    data: str | Path | None
    directions: str | Iterable[str]
    strengths: float | Iterable[float] | None
    settings: Mapping[str, Plain | Iterable[Value]] | None
    layer: int | str
    layers: str | int | Iterable[int] | None
    split: Literal["dev", "test"] | None
    allow_leaks: bool
    measure: Literal["auto", "letters", "answers"]
    orders: Literal["both", "given"]
    prompt_format: Literal["chat", "base", "llama2-paper"] | None
    thinking: Literal["off", "on"]
    knowledge: str | None
    margin: float
    train_items: int | None
    test_items: int | None
    knowledge_items: int | None
    select: str | None
    match: str | None
    controls: bool
    side_effects: bool
    robustness: bool
    generated_choices: bool
    kl: bool
    perplexity: str | Path | None
    evaluate: str | Iterable[str]
    evaluations: str | Path | None
    open_ended: bool | None
    tokens: int | None
    thought_tokens: int | None
    judge: str | Iterable[str]
    judge_url: str | None
    judge_price: tuple[float, float] | None
    judge_budget: float | None
    out: str | Path | None
    fresh: bool
    seed: int
    seeds: int
    resample: Literal["none", "pairs"]
    device: Literal["auto", "cpu", "cuda", "mps"]
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    quantize: Literal["4bit", "8bit"] | None
    offload: str | Path | None
    blocks: str | None
    trust_remote_code: bool
    executor: Literal["local", "ray"]
    workers: int | None
    gpus_per_cell: float | None
    address: str | None
    plugins: str | Path | None


class _Arguments(RunOptions):
    """Those that have a place of their own in the call, too."""

    behavior: str | Iterable[str]
    methods: str | Iterable[str]


@cache
def run_options() -> dict[str, Declared]:
    """Every option of `compare run` and `compare sweep`, by name."""
    from comparisons.experiment.specification import Specification
    from comparisons.judges.free_answers import OpenEnded
    from comparisons.model.source import ModelSource

    return declared(ModelSource, Specification, OpenEnded, Execution)


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, tuples in place of their iterables, without those that are None.

    Raises:
        CompareError: one is unknown, or of another type than it takes.
    """
    from pydantic import ValidationError

    plain = {name: _plain(value) for name, value in given.items()}
    try:
        _model().model_validate(plain)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        if name not in _Arguments.__annotations__:
            raise unknown("argument", name, _Arguments.__annotations__) from None
        takes = _Arguments.__annotations__[name].__forward_arg__
        raise CompareError(f"{name} takes {takes}, not {given[name]!r}.") from None
    return {name: value for name, value in plain.items() if value is not None}


@cache
def _model() -> type[BaseModel]:
    from pydantic import ConfigDict, create_model

    # Of an Iterable pydantic looks at no value before it is gone through.
    hints = get_type_hints(_Arguments, localns={"Iterable": Sequence})
    fields: dict[str, Any] = {name: (hint, None) for name, hint in hints.items()}
    return create_model("Arguments", __config__=ConfigDict(strict=True, extra="forbid"), **fields)


def _plain(value: Any) -> Any:
    """Without the types of others, as numpy's."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return tuple(map(_plain, value))
    if isinstance(value, Integral):
        return value if isinstance(value, bool) else int(value)
    return float(value) if isinstance(value, Real) else value


def values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Checked arguments as options have them; raises CompareError where one can't be read."""
    return {name: run_options()[name].read(value, name) for name, value in given.items()}


def python_command(given: Mapping[str, Any]) -> str:
    """A shell's command that calls `run` again with checked arguments.

    What stands for a default is left out, and that a folder was to be discarded.
    """
    arguments = {name: value for name, value in given.items() if name != "fresh" and value is not False and value != ()}
    program = f"import comparisons; comparisons.run({', '.join(f'{k}={_literal(v)}' for k, v in arguments.items())})"
    return f"python -c {shlex.quote(program)}"


def _literal(value: Any) -> str:
    """A value as Python reads it; double quotes, since the whole stands in single ones."""
    if isinstance(value, (str, Path)):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(each)}' for key, each in value.items())}}}"
    return f"[{', '.join(map(_literal, value))}]" if isinstance(value, tuple) else repr(value)


def documented(call: Call) -> Call:
    """Gives a function of `**options: Unpack[RunOptions]` a signature that names them, and their help."""
    known, fixed = run_options(), dict(signature(call).parameters)
    del fixed["options"]
    further = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=known[name].default, annotation=hint.__forward_arg__)
        for name, hint in RunOptions.__annotations__.items()
    ]
    order = sorted([*fixed.values(), *further], key=lambda parameter: parameter.kind)
    vars(call)["__signature__"] = Signature(order, return_annotation=signature(call).return_annotation)
    lines = [f"    {name}: {known[name].option.help}" for name in RunOptions.__annotations__]
    call.__doc__ = (getdoc(call) or "").replace("\n\nReturns:", "\n" + "\n".join(lines) + "\n\nReturns:")
    return call
