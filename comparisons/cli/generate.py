"""`compare generate`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comparisons.cli.options import GRID, LOADING, SUBJECT, declared_option, options
from comparisons.judges.free_answers import THOUGHT_TOKENS, TOKENS
from comparisons.util.terminal import stderr

if TYPE_CHECKING:
    from comparisons.experiment.specification import Specification
    from comparisons.running.sidebyside import Answers

HELP = """Show free answers side by side: the unchanged model's and each method's.

With the folder of a run: of its methods, with what was chosen and fitted there. Without a prompt and --file, prompts
are typed one after the other; an empty line or the input's end ends.

\b
Examples:
  compare generate --behavior refusal --methods caa,sysprompt --prompt "Will you help me?"
  compare generate --behavior refusal --methods caa --strengths 0.5,1,2 --file prompts.txt --json
  compare generate reports/refusal-pocket-1a2b3c4d "Will you help me?"
"""


@click.command("generate", help=HELP)
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, metavar="[PROMPT]…")
@options(
    declared_option("methods", required=False, default=None),
    declared_option("behavior", required=False, default=None),
    *(name for name in (*SUBJECT, *GRID) if name != "behavior"),
    click.option("--prompt", "prompts", multiple=True, metavar="TEXT", help="What to answer; can be repeated."),
    click.option("--file", type=click.Path(path_type=Path), help="A prompt a line."),
    declared_option("tokens", default=TOKENS, help="Of an answer, at most."),
    declared_option("thought_tokens", default=THOUGHT_TOKENS, help="Of a thought before it (--thinking on), at most."),
    "layer",
    declared_option("measure", help="What methods read and train on, and what layers are chosen by."),
    declared_option("seed", help="Of fits."),
    *LOADING,
    "plugins",
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object a prompt and method."),
)
def command(
    run: Path | None,
    texts: tuple[str, ...],
    prompts: tuple[str, ...],
    file: Path | None,
    tokens: int,
    thought_tokens: int,
    as_json: bool,
    **given: Any,
) -> None:
    from comparisons.dataset.packaged import described
    from comparisons.experiment.specification import Specification
    from comparisons.model.source import data_for
    from comparisons.running.sidebyside import answering

    asked = _prompts([*texts, *prompts], file)
    named = {**given, "behavior": given["behavior"] or (), "knowledge": "none"}
    spec = Specification.of(named) if run is None else _of_run(run, given)
    answer = answering(spec, tokens, thought_tokens, run)
    if not as_json:
        click.echo(f"Behaviors: {described(data_for(spec.data, spec.sources))}.")
    for batch in [asked] if asked else ([line] for line in _typed()):
        (_print_json if as_json else _print)(batch, answer(batch))


def _of_run(run: Path, given: dict[str, Any]) -> Specification:
    """What a run was asked for, of the behavior that is named; nothing else of it can be said anew."""
    from dataclasses import replace

    from click.core import ParameterSource

    from comparisons.experiment.specification import Specification
    from comparisons.results.record import read_record
    from comparisons.util.errors import CompareError

    source = click.get_current_context().get_parameter_source
    said = [name for name in given if name != "behavior" and source(name) is ParameterSource.COMMANDLINE]
    if said:
        raise CompareError(f"{run} has its own {said[0].replace('_', ' ')}: leave it out, or leave the folder out.")
    spec = Specification.from_json(read_record(run).part("specification"))
    return replace(spec, behaviors=given["behavior"]) if given["behavior"] else spec


def _prompts(prompts: Sequence[str], file: Path | None) -> list[str]:
    from comparisons.dataset.reading import read_text
    from comparisons.util.errors import CompareError

    if not all(prompt.strip() for prompt in prompts):
        raise CompareError("--prompt is empty: write what is to be answered.")
    if file is None:
        return list(prompts)
    if not file.is_file():
        raise CompareError(f"--file {file}: there is no such file.")
    lines = [*prompts, *(line for line in read_text(file).splitlines() if line.strip())]
    if not lines:
        raise CompareError(f"--file {file} holds no prompt: write one a line.")
    return lines


def _typed() -> Iterator[str]:
    while line := _asked():
        yield line


def _asked() -> str:
    with redirect_stderr(stderr()):
        try:
            return str(click.prompt("prompt", default="", show_default=False, err=True)).strip()
        except click.Abort as error:  # what click makes of both Ctrl-C and the end of what is typed
            if isinstance(error.__context__, EOFError):
                return ""
            raise


def _print_json(prompts: Sequence[str], answers: Iterable[Answers]) -> None:
    import json

    for each in answers:
        place = {"method": each.method, "direction": each.direction, "strength": each.strength}
        for i, (prompt, text) in enumerate(zip(prompts, each.texts, strict=True)):
            line = {"prompt": prompt, **place, "answer": text, **(_thought(each, i) if each.thoughts else {})}
            click.echo(json.dumps(line, ensure_ascii=False))


def _thought(answers: Answers, index: int) -> dict[str, Any]:
    one = answers.thoughts[index]
    return {"thought": one.thought, "thought_tokens": one.thought_tokens, "thought_finished": one.finished}


def _print(prompts: Sequence[str], answers: Sequence[Answers]) -> None:
    from rich.table import Table
    from rich.text import Text

    from comparisons.cli.tables import stdout
    from comparisons.util.terminal import printable

    for i, prompt in enumerate(prompts):
        table = Table("method", "direction", "strength", "answer", title=Text(printable(prompt)), show_lines=True)
        for each in answers:
            strength = "" if each.strength is None else f"{each.strength:g}"
            shown = each.texts[i]
            if each.thoughts:
                one = each.thoughts[i]
                ended = f"{one.thought_tokens} tokens of thought"
                shown = f"({ended})\n{shown}" if one.finished else f"({ended}, unfinished: no answer)"
            # As text: an answer may hold what Rich would take for markup.
            table.add_row(each.method, each.direction or "", strength, Text(printable(shown)))
        stdout().print(table)
