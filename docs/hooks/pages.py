"""What mkdocs does beside the pages of docs/: files from elsewhere become pages, and links follow them.

A link in a page is right for who reads the repository: relative to the file, also out of docs/. On the site, what it
leads to has another place.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click import Command, Context
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

    from comparisons.method import Method
    from comparisons.method.registry import PluginInfo
    from comparisons.method.settings import Setting

ROOT = Path(__file__).resolve().parents[2]

ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CITATION.cff": "CITATION.cff",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "overview.md",
    "checkpoints/pocket/README.md": "pocket.md",
    "checkpoints/pocket/sweep.png": "sweep.png",
    "data/README.md": "data.md",
    "reports/example/report.html": "example/report.html",
    "reports/example/report.md": "example/report.md",
    "reports/example-pocket/report.html": "example-pocket/report.html",
    "reports/example-pocket/report.md": "example-pocket/report.md",
}
"""Files outside docs/ that the site has -> their places on it."""

WRITTEN = {
    "comparisons/api": "reference/arguments.md",
    "comparisons/cli": "reference/commands.md",
    "methods": "methods.md",
}
"""Folders -> the pages that are written from their own texts."""

LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)\s]*)?(?=\))")
ATTRIBUTE = re.compile(r"^    (\w+): ", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not written in docs/."""
    from mkdocs.structure.files import File

    for figure in sorted(ROOT.glob("reports/example*/figures/*.png")):
        path = str(figure.relative_to(ROOT / "reports"))
        files.append(File.generated(config, path, abs_src_path=str(figure)))
    for origin, place in ELSEWHERE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / origin)))
    files.append(File.generated(config, WRITTEN["methods"], content=method_notes()))
    files.append(File.generated(config, WRITTEN["comparisons/api"], content=argument_reference()))
    files.append(File.generated(config, WRITTEN["comparisons/cli"], content=command_reference()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leads a page's links to where their targets are on the site."""
    here = page.file.src_uri
    origin = next((origin for origin, place in ELSEWHERE.items() if place == here), f"docs/{here}")
    return LINK.sub(lambda link: link[1] + moved(link[2], origin, here) + (link[3] or ""), markdown)


def moved(target: str, origin: str, here: str) -> str:
    """A link's target on the site.

    Args:
        target: as written, relative to its file.
        origin: that file, from the repository's root.
        here: its place on the site.
    """
    if "://" in target or target.startswith("mailto:"):
        return target
    file = normpath(join(dirname(origin), target))
    if file.startswith("docs/"):
        place = file.removeprefix("docs/")
    elif file.startswith(("reports/example/", "reports/example-pocket/")):
        place = file.removeprefix("reports/")
    elif file in ELSEWHERE or file in WRITTEN:
        place = (ELSEWHERE | WRITTEN)[file]
    else:
        return target
    return relpath(place, dirname(here) or ".")


def argument_reference() -> str:
    """A table of what `comparisons.run` takes."""
    import comparisons
    from comparisons.api.arguments import run_options

    head = (
        "# Arguments\n\nWhat [`comparisons.run`](../python.md) takes, by name. `strengths`, `knowledge` and `split` "
        "have other defaults in a sweep: those of `compare sweep`."
    )
    lines = ["| argument | type | default | option | |", "|---|---|---|---|---|"]
    for name, parameter in inspect.signature(comparisons.run).parameters.items():
        if option := run_options().get(name):
            default = "" if parameter.default is parameter.empty else f"`{parameter.default!r}`"
            lines.append(
                f"| `{name}` | `{parameter.annotation}` | {default} | `{option.flag}` | {option.option.help} |"
            )
    return head + "\n\n" + "\n".join(lines) + "\n"


def command_reference() -> str:
    """What `--help` prints, for every command."""
    from comparisons.cli import cli

    head = (
        "# Command line\n\nWhat `compare COMMAND --help` prints. Results go to stdout and progress to stderr; "
        "[exit codes](../report.md#how-a-command-ends)."
    )
    return "\n\n".join([head, *helps(cli, None, "compare")]) + "\n"


def helps(command: Command, parent: Context | None, name: str) -> Iterator[str]:
    """The sections of a command and of those in it."""
    import click

    context = click.Context(command, parent, name, terminal_width=84, help_option_names=["-h", "--help"])
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from helps(found, context, inner)


def method_notes() -> str:
    """A section for each method that comes along: what it does, after whom, and its settings."""
    from comparisons.method.registry import Registry

    registry = Registry()
    found = [info for info in registry.describe() if info.error is None]
    head = (
        "# Methods\n\nWhat `compare methods` lists, from the methods' own texts. A *control* is meant to do nothing "
        "([why](checks.md)). A method with a strength has a dose; one without appears once in a grid. Stacks such as "
        "`sft+caa` are written with `+`; a setting is given by `--set METHOD.FIELD=VALUE`, and a list multiplies "
        "cells; a list that is one value is written `A+B`."
    )
    own = [note(info, registry.get(info.name)) for info in found if info.role == "method"]
    controls = [note(info, registry.get(info.name)) for info in found if info.role == "control"]
    return "\n\n".join([head, *own, "## Controls", *(text.replace("## ", "### ", 1) for text in controls)]) + "\n"


def note(info: PluginInfo, cls: type[Method]) -> str:
    """A method's section."""
    text, _, attributes = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    traits = ["has a strength" if info.dosed else "no strength", f"file `{Path(info.source).name}`"]
    parts = [f"## `{info.name}`", text.strip(), "*" + "; ".join(traits) + "*"]
    if info.settings:
        said = described(attributes)
        rows = [row(info.name, setting, said.get(setting.name, "")) for setting in info.settings]
        parts.append("\n".join(["| setting | values | default | |", "|---|---|---|---|", *rows]))
    return "\n\n".join(parts)


def row(method: str, setting: Setting, text: str) -> str:
    """A setting's row of the table."""
    default = setting.default or '""'
    return f"| `{method}.{setting.name}` | `{setting.type}` | `{default}` | {text} |"


def described(attributes: str) -> dict[str, str]:
    """The texts of a docstring's attributes, by name."""
    pieces = ATTRIBUTE.split("\n" + attributes)[1:]
    return {name: " ".join(text.split()) for name, text in zip(pieces[::2], pieces[1::2], strict=True)}
