"""Click's options, made of what is declared once (`comparisons.util.options`), and what a shell offers behind them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from click.shell_completion import CompletionItem

from comparisons.api.arguments import run_options
from comparisons.model.source import ModelSource, data_for
from comparisons.util.options import Declared, Reader, declared, names, text, values_of

Command = TypeVar("Command", bound=Callable[..., Any])
Option = Callable[[Any], Any]
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

SUBJECT = ("behavior", "model", "data")
"""On which behavior, model and data."""

GRID = ("directions", "strengths", "settings")
"""Directions, doses and settings."""

MEASURING = ("measure", "orders", "knowledge", "margin", "train_items", "test_items", "knowledge_items", "allow_leaks")
"""How to ask, and on what."""

CONTROLS = ("select", "match", "controls", *(name for name, each in run_options().items() if each.option.asks))
"""What else to measure, so that the numbers can be trusted."""

JUDGING = ("judge", "judge_url", "judge_price", "judge_budget")
"""Who scores free answers, and what that may cost."""

LOADING: tuple[str, ...] = tuple(name for name in declared(ModelSource) if name != "model")
"""How to load a model: on every command that loads one, or is asked about one."""

RUN_BY = "Where and how it runs"

GROUPS: Mapping[str, Sequence[str]] = {
    "What is compared": ("methods", "behavior", "data", *GRID, "layer", "layers", "split"),
    "On which model": ("model", *LOADING),
    "How it is measured": MEASURING,
    "Checks beside it": CONTROLS,
    "Free answers and their judges": ("open_ended", "tokens", "thought_tokens", *JUDGING),
}
"""Titles of `--help` and the options under each; what is left stands under `RUN_BY`."""

EXECUTOR = ("executor", "workers", "gpus_per_cell", "address")
"""Where cells are evaluated."""


def lists(names: Callable[[click.Context], Iterable[str]], signs: str = ",") -> Complete:
    """Completes the last name of a list.

    Args:
        signs: what separates them.
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        head = re.match(rf".*[{signs}]|", incomplete)
        written = head[0] if head else ""
        try:
            return [CompletionItem(written + n) for n in names(ctx) if n.startswith(incomplete[len(written) :])]
        except Exception:  # what is wrong with the data is said when the command runs
            return []

    return complete


def method_names(ctx: click.Context) -> Iterable[str]:
    """The registered methods, those of --plugins too."""
    from comparisons.method.registry import Registry

    return [info.name for info in Registry(_path(ctx, "plugins")).describe() if info.error is None]


def _behaviors(ctx: click.Context) -> Iterable[str]:
    """The behaviors of --data, or of what fits --model, and the word for all of them."""
    from comparisons.dataset.behaviors import Library

    models = names(ctx.params.get("model") or ModelSource.name, "model")
    return [*Library.open(data_for(_path(ctx, "data"), map(ModelSource, models))).names, "all"]


def _judges(ctx: click.Context) -> Iterable[str]:
    from comparisons.judges.registry import names

    return names()


def _path(ctx: click.Context, name: str) -> Path | None:
    value: Any = ctx.params.get(name)
    return Path(value) if value else None


COMPLETIONS = {"behavior": lists(_behaviors), "methods": lists(method_names, ",+"), "judge": lists(_judges)}


class Grouped(click.Command):
    """A command whose help has its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        params = {str(param.name): param for param in self.get_params(ctx)}
        named = {name for group in GROUPS.values() for name in group}
        groups = {**GROUPS, RUN_BY: tuple(name for name in params if name not in named)}
        for title, group in groups.items():
            found = (params[name].get_help_record(ctx) for name in group if name in params)
            if records := [record for record in found if record is not None]:
                with formatter.section(title):
                    formatter.write_dl(records)


def options(*wanted: str | Option, **defaults: Any) -> Callable[[Command], Command]:
    """Decorates a command with options that its help shows in this order.

    Args:
        wanted: declared ones by name, and others.
        defaults: of declared ones, where they differ on this command.
    """

    def option(name: str) -> Option:
        return declared_option(name, **({"default": defaults[name]} if name in defaults else {}))

    def decorate(command: Command) -> Command:
        for each in reversed(wanted):
            command = (option(each) if isinstance(each, str) else each)(command)
        return command

    return decorate


def declared_option(name: str, **changes: Any) -> Option:
    """A declared option, whose parameter has its name.

    Args:
        name: of the option.
        changes: what differs on this command: `help`, `metavar`, `required`, `default`, `type`, `read`.
    """
    known = run_options()[name]
    option, read = known.option, changes.pop("read", known.read)
    traits = {"metavar": option.metavar, "help": option.help, "required": option.required, "default": known.default}
    traits |= {"shell_complete": COMPLETIONS.get(name), **_typed(known), **changes}
    if traits["required"]:
        del traits["default"]
    else:
        traits["default"] = _default_text(traits["default"])
        traits["show_default"] = traits["default"] not in (None, "") and traits["default"] is not False
    flags = f"{known.flag}/--no-{known.flag[2:]}" if is_dataclass(known.type) else known.flag
    return click.option(flags, name, callback=reading(read), **traits)


def reading(read: Reader) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """The callback that reads an option's value."""
    return lambda ctx, param, value: None if value is None else read(value, param.opts[0])


def _typed(known: Declared) -> dict[str, Any]:
    """What click has to know of an option's type."""
    option = known.option
    if known.type is bool:
        return {"is_flag": True}
    if get_origin(known.type) is Literal:
        return {"type": click.Choice(get_args(known.type))}
    if option.choices:
        return {"type": Words(option.choices)}
    if known.type is Path:
        return {"type": click.Path()}
    if known.type in (int, float):
        ranges = click.IntRange if known.type is int else click.FloatRange
        return {"type": known.type if option.least is None else ranges(option.least, option.most)}
    return {"multiple": True} if get_origin(known.type) is Mapping else {}


def _default_text(value: Any) -> Any:
    """A default as a user would type it."""
    if isinstance(value, tuple):
        return ",".join(f"{each:g}" if isinstance(each, float) else each for each in value)
    return None if value == {} else value


class Words(click.Choice):  # type: ignore[type-arg]
    """Some words, and what begins with one that ends in a colon."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__([word for word in words if not word.endswith(":")])
        self.heads = tuple(word for word in words if word.endswith(":"))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if str(value).startswith(self.heads) else super().convert(value, param, ctx)


def model_source(given: Mapping[str, Any]) -> ModelSource:
    """The model that a command's options name, and how it is loaded."""
    return ModelSource(**values_of(ModelSource, given))


def without_model(given: Mapping[str, Any]) -> None:
    """Raises UsageError where one of these options was given, though no --model is."""
    usual = {field.name: field.default for field in fields(ModelSource)}
    named = [name for name, value in given.items() if value not in (None, False, "auto", usual.get(name))]
    if named:
        raise click.UsageError(f"--{named[0].replace('_', '-')} goes with --model.")


def one_model(help: str, **changes: Any) -> Option:
    """--model of a command for one; a comma is a part of its name."""
    metavar = str(run_options()["model"].option.metavar).removesuffix("[,…]")
    return declared_option("model", metavar=metavar, read=text, help=help, **changes)


DRY_RUN = click.option("--dry-run", is_flag=True, help="Show cells, forward passes and time, and stop.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
READ = click.option(
    "--read",
    type=click.Choice(["auto", "letter", "answer", "prompt_end"]),
    default="auto",
    show_default=True,
    help="Where pairs are read; auto: at the letter, or over the answers of items without letters.",
)
LAYERS = click.option("--layers", default="all", show_default=True, metavar="all|A-B|N[,…]", help="Counted from 0.")

RUNNING: tuple[str | Option, ...] = (
    *("out", "fresh"),
    DRY_RUN,
    *("seed", "seeds", "resample", *LOADING, *EXECUTOR, "plugins", "evaluations"),
    click.option("--json", "as_json", is_flag=True, help="Print the summary rows as JSON."),
)
"""Where and how to run, and what to print."""
