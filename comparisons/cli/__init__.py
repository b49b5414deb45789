"""The command line: each command parses, calls one library function, and prints."""

from __future__ import annotations

import signal
import sys

import click

from comparisons import __version__
from comparisons.errors import CompareError


class Commands(click.Group):
    """Loads a command's module when it is asked for, so that listing and help stay quick."""

    modules = (
        "run",
        "sweep",
        "report",
        "diff",
        "methods",
        "behaviors",
        "data",
        "vectors",
        "trace",
        "lens",
        "replicate",
        "doctor",
        "bench",
        "generate",
        "score",
        "share",
    )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.modules:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"comparisons.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from comparisons.errors import unknown

        if args and args[0] not in self.modules and not args[0].startswith("-"):
            raise unknown("command", args[0], self.modules)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="compare")
def cli() -> None:
    """Compare ways to change a language model's behavior: steering vectors, system prompts, finetuning, stacks.

    \b
    Examples:
      compare run --behavior refusal --methods caa,sft,sysprompt,sft+caa
      compare sweep --behavior refusal --layers all --strengths 0.5,1,2
      compare report reports/NAME
      compare methods
    """
    from dotenv import load_dotenv

    load_dotenv(".env")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 some cells failed, 2 wrong usage or data, 130 interrupted."""
    # A terminated run ends as an interrupted one does: what is half made is removed, what is done is kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(execute(arguments))


def execute(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    try:
        code = cli.main(arguments, prog_name="compare", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except CompareError as error:
        click.echo(f"compare: {error}", err=True)
        return 2
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        click.echo(f"compare: {' '.join(error.format_message().split())}", err=True)
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("compare: interrupted; what is done is kept, and the same command resumes.", err=True)
        return 130
    except BrokenPipeError:
        return 0
