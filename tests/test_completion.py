"""What a shell offers, and that every command's help has an example."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from comparisons.api.arguments import RunOptions
from comparisons.cli import cli
from comparisons.cli.options import LOADING
from comparisons.model.source import ModelSource


def offered(words: str, folder: Path) -> list[str]:
    """What bash is told to offer for the last word."""
    given = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1), "_COMPARE_COMPLETE": "bash_complete"}
    command = [sys.executable, "-c", "from comparisons.cli import main; main()"]
    root = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, **given, "PYTHONPATH": root}
    found = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60)
    assert found.stderr == ""
    return [line.partition(",")[2] for line in found.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("compare ru", ["run"]),
        ("compare run --methods caa,sysp", ["caa,sysprompt"]),
        ("compare run --methods sft+learned", ["sft+learned_vector"]),
        ("compare run --behavior refusal,syc", ["refusal,sycophancy"]),
        ("compare run --judge rules,pair", ["rules,pairwise"]),
        ("compare run --data nothing --behavior re", []),
        ("compare run --knowl", ["--knowledge", "--knowledge-items"]),
    ],
)
def test_the_last_name_of_a_list_is_completed(words: str, expected: list[str], tmp_path: Path) -> None:
    assert offered(words, tmp_path) == expected


def commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        found = group.get_command(ctx, name)
        assert found is not None
        yield (*path, name), found
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))


def test_every_commands_help_has_an_example_of_itself() -> None:
    for path, command in commands(cli, ("compare",)):
        text = command.get_help(click.Context(command, info_name=" ".join(path)))
        examples = text.partition("Example")[2]
        assert " ".join(path) in examples, f"{' '.join(path)} has no example"


def test_a_command_that_takes_one_option_of_loading_takes_all_with_one_meaning() -> None:
    """Whatever a model needs to be loaded can be said wherever one is loaded."""
    every = {field.name for field in fields(ModelSource)} - {"name"}
    assert set(LOADING) == every
    taken = {" ".join(path): {p.name: p for p in command.params} for path, command in commands(cli, ())}
    loading = {name: found for name, found in taken.items() if found.keys() & {*every, "model"}}
    assert loading.keys() >= {"run", "sweep", "generate", "bench", "trace", "lens", "doctor", "score"}
    assert loading.keys() >= {"replicate paper", "vectors fit", "vectors import"}
    for name, found in loading.items():
        assert found.keys() >= every, name
        for option in every:
            assert (found[option].opts, found[option].type.to_info_dict()) == (
                taken["run"][option].opts,
                taken["run"][option].type.to_info_dict(),
            ), (name, option)
    assert set(RunOptions.__annotations__) >= every
