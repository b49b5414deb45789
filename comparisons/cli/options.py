"""The options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from comparisons.cli.completion import behaviors, judges, lists, methods

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Any], Any]


def methods_option(text: str, default: str | None = None) -> Option:
    """Which stacks; required unless there is a default."""
    return click.option(
        "--methods",
        required=default is None,
        default=default,
        callback=names,
        metavar="STACK[,STACK…]",
        help=text,
        shell_complete=lists(methods, ",+"),
    )


def names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Reads NAME,NAME."""
    if value is None:
        raise click.MissingParameter(ctx=ctx, param=param)
    return tuple(part.strip() for part in value.split(",") if part.strip())


def some_names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Reads NAME,NAME, at least one."""
    from comparisons.util.errors import CompareError

    found = names(ctx, param, value)
    if not found:
        raise CompareError(f"{param.opts[0]} names nothing: it takes {param.metavar}.")
    if twice := next((name for name in found if found.count(name) > 1), None):
        raise CompareError(f"{param.opts[0]}: {twice} is named twice: name it once.")
    return found


def numbers(ctx: click.Context, param: click.Parameter, value: str) -> tuple[float, ...]:
    """Reads S,S, at least one."""
    from comparisons.util.errors import CompareError

    try:
        found = tuple(float(part) for part in value.split(",") if part.strip())
    except ValueError:
        raise CompareError(f"{param.opts[0]} takes numbers such as 0.5,1,2, not '{value}'.") from None
    if not found:
        raise CompareError(f"{param.opts[0]} takes numbers such as 0.5,1,2, and holds none.")
    return found


def folder_path(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
    """Reads a path; an empty one, as an unset variable of a shell leaves, is no folder and not the current one."""
    from comparisons.util.errors import CompareError

    if value is not None and not value.strip():
        raise CompareError(f"{param.opts[0]} is empty: name a folder, or . for this one.")
    return None if value is None else Path(value)


SEED = click.IntRange(0, 2**32 - 1)
"""What every library takes as a seed."""


def options(*found: Option) -> Callable[[Command], Command]:
    """Decorates a command with options that its help shows in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(found):
            command = option(command)
        return command

    return decorate


def subject_options() -> Callable[[Command], Command]:
    """On which behavior, model and data."""
    return options(
        click.option(
            "--behavior",
            required=True,
            callback=some_names,
            metavar="NAME[,NAME…]|all",
            help="What to change.",
            shell_complete=lists(behaviors),
        ),
        click.option(
            "--model",
            default="pocket",
            show_default=True,
            metavar="pocket|PATH|HUB_ID[,…]",
            help="On which model, or on which models.",
        ),
        click.option("--data", type=click.Path(path_type=Path), help="Folder in the paper's layout, or one file."),
    )


def grid_options(strengths: str) -> Callable[[Command], Command]:
    """Directions, doses and settings.

    Args:
        strengths: the default.
    """
    return options(
        click.option(
            "--directions",
            default="pos,neg",
            show_default=True,
            callback=some_names,
            metavar="pos|neg|pos,neg",
            help="More, less, or both.",
        ),
        click.option(
            "--strengths",
            default=strengths,
            show_default=True,
            callback=numbers,
            metavar="S[,S…]",
            help="Doses, at least 0.",
        ),
        click.option(
            "--set", "settings", multiple=True, metavar="METHOD.FIELD=VALUE[,VALUE…]", help="A list multiplies cells."
        ),
    )


class KnowledgeSets(click.Choice):  # type: ignore[type-arg]
    """A set by its name, or tasks of lm-evaluation-harness."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What doesn't begin as tasks do must be a name."""
        return value if str(value).startswith("lm_eval:") else super().convert(value, param, ctx)


def prompt_option() -> Option:
    """In which format the model is asked."""
    return click.option(
        "--prompt-format",
        type=click.Choice(["chat", "base", "llama2-paper"]),
        help="By default the tokenizer's chat template, or base where it has none.",
    )


def measuring_options(knowledge: str) -> Callable[[Command], Command]:
    """How to ask, and on what.

    Args:
        knowledge: the default.
    """
    return options(
        click.option(
            "--orders",
            type=click.Choice(["both", "given"]),
            default="both",
            show_default=True,
            help="Ask with the two choices as given and exchanged, or as given only (the paper's way).",
        ),
        prompt_option(),
        click.option(
            "--knowledge",
            type=KnowledgeSets(["auto", "mmlu", "mmlu4", "truthfulqa", "none"]),
            default=knowledge,
            show_default=True,
            metavar="auto|mmlu|mmlu4|truthfulqa|none|lm_eval:TASK[,TASK]",
            help="Questions on which the cost is measured, or tasks of lm-evaluation-harness.",
        ),
        click.option("--train-items", type=int, metavar="N", help="Contrast pairs to use; all by default."),
        click.option("--test-items", type=int, metavar="N", help="Questions to evaluate on; all by default."),
    )


def control_options() -> Callable[[Command], Command]:
    """What else to measure, so that the numbers can be trusted."""
    return options(
        click.option(
            "--select",
            metavar='"cost<=C"',
            help="Of each stack only the settings and strength with the largest shift on dev at this knowledge cost.",
        ),
        click.option(
            "--controls", is_flag=True, help="Add every control, and rank each vector among random directions."
        ),
        click.option("--side-effects", is_flag=True, help="Evaluate each cell on all other behaviors of the data too."),
        click.option(
            "--robustness",
            is_flag=True,
            help="Evaluate each cell again under other system prompts, a user-turn prefix and another prompt format.",
        ),
        click.option(
            "--generated-choices",
            is_flag=True,
            help="Let each cell write an answer to every question too, and find the choice in it.",
        ),
    )


def open_ended_options() -> Callable[[Command], Command]:
    """Whether and how free answers are drawn and judged."""
    return options(
        click.option(
            "--open-ended/--no-open-ended",
            default=None,
            help="Let each cell answer the open-ended prompts freely, and score the answers; --judge turns it on too.",
        ),
        click.option("--tokens", type=int, help="Of a free answer, at most; 60 by default."),
        judge_option("By default rules."),
        *price_options(),
    )


def judge_option(text: str, required: bool = False) -> Option:
    """Which judges score answers."""
    return click.option(
        "--judge",
        "judges",
        default="",
        required=required,
        callback=names,
        metavar="JUDGE[,JUDGE…]",
        shell_complete=lists(judges),
        help=f"rules, local, local:PATH, openai:MODEL, embedding:MODEL, pairwise:JUDGE, … {text}",
    )


def price_options() -> tuple[Option, ...]:
    """Where a judges' server is, and what it may cost."""
    return (
        click.option("--judge-url", metavar="URL", help="An OpenAI-compatible server, as http://127.0.0.1:8000/v1."),
        click.option("--judge-price", metavar="IN/OUT", help="Dollars a million tokens of prompt and of reply."),
        click.option("--judge-budget", type=float, metavar="DOLLARS", help="After which judges are asked no more."),
    )


def read_price(text: str | None) -> tuple[float, float] | None:
    """Reads IN/OUT."""
    from comparisons.util.errors import CompareError

    if text is None:
        return None
    try:
        prompt, reply = (float(part) for part in text.split("/"))
    except ValueError:
        raise CompareError(f"--judge-price takes two prices such as 0.15/0.60, not '{text}'.") from None
    return prompt, reply


def machine_options() -> Callable[[Command], Command]:
    """How to load the model."""
    return options(
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda", "mps"]),
            default="auto",
            show_default=True,
            help="Where to run; auto takes a GPU.",
        ),
        click.option(
            "--dtype",
            type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
            default="auto",
            show_default=True,
            help="Auto: float32 on a CPU, else the checkpoint's.",
        ),
        click.option("--quantize", type=click.Choice(["4bit", "8bit"]), help="Load through bitsandbytes."),
        click.option(
            "--offload",
            type=click.Path(),
            callback=folder_path,
            metavar="DIR",
            help="Keep blocks here that fit neither GPUs nor memory.",
        ),
        click.option("--blocks", metavar="PATH", help="Dotted path of the decoder blocks, where it can't be found."),
        click.option("--trust-remote-code", is_flag=True, help="Let code that comes with a hub model run."),
    )


EXECUTOR = ("executor", "workers", "gpus_per_cell", "address")
"""The names of `executor_options`."""


def executor_options() -> Callable[[Command], Command]:
    """Where cells are evaluated."""
    return options(
        click.option(
            "--executor",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="In this process, or by workers on a Ray cluster: here, or at --address.",
        ),
        click.option("--workers", type=click.IntRange(min=1), help="Of Ray: as many as GPUs, or cores, by default."),
        click.option("--gpus-per-cell", type=click.FloatRange(min=0), metavar="G", help="Of a Ray worker; may be 0.5."),
        click.option("--address", metavar="HOST:PORT|auto", help="Of a Ray cluster; by default one is started here."),
    )


def running_options() -> Callable[[Command], Command]:
    """Where and how to run, and what to print."""
    return options(
        click.option(
            "--out",
            type=click.Path(),
            callback=folder_path,
            help="The run's folder; by default one under reports/.",
        ),
        click.option("--fresh", is_flag=True, help="Discard what the folder holds and begin anew."),
        click.option("--dry-run", is_flag=True, help="Show cells, forward passes and time, and stop."),
        click.option("--seed", type=SEED, default=0, show_default=True, help="Of splits, fits and intervals."),
        machine_options(),
        executor_options(),
        click.option("--plugins", type=click.Path(path_type=Path), help="Folder of further methods, one file each."),
        click.option("--json", "as_json", is_flag=True, help="Print the summary rows as JSON."),
    )
