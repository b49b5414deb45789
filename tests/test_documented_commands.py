"""Every command that README.md and docs/ show runs on the embedded model, or at least has options that exist."""

from __future__ import annotations

import glob
import re
from dataclasses import replace
from pathlib import Path

import click
import pytest

from comparisons.cli import cli, execute
from tests.documented import PAGES, ROOT, Command, commands, inline
from tests.places import few_questions
from tests.test_walks import WALKED

pytestmark = pytest.mark.slow

REWRITTEN = {
    "--model /path/to/folder --behavior formality": "--behavior refusal",
    "--model /path/to/folder": "",
    "--model meta-llama/Llama-2-7b-chat-hf": "",
    "--model NAME": "",
    "--model …": "",
    "--data CAA/datasets": "",
    "--data DIR": "",
    "--data datasets --behavior agreeableness": "--behavior refusal",
    "--data sycophancy_on_nlp_survey.jsonl --behavior sycophancy_on_nlp_survey": "--behavior sycophancy",
    "--data evals/persona --behavior agreeableness,openness": "--behavior refusal,sycophancy",
    "--data evals/persona --behavior agreeableness": "--behavior refusal",
    "--knowledge mmlu4": "",
    "--knowledge mmlu": "",
    "--behavior all --save": "--behavior refusal,sycophancy --save",
    "--behavior all": "--behavior refusal",
    "--strengths 0.25,0.5,1,2 --select": "--strengths 0.5,1 --select",
    "cost<=0.05": "cost<=0.5",
    "cost<=0.06": "cost<=0.5",
    "--layers all --strengths 0.5,1,2": "--layers 1-2 --strengths 0.5,1",
    "--judge openai:gpt-4o-mini --judge-price 0.15/0.60 --judge-budget 5": "--judge rules",
    "similarity base/refusal.safetensors chat/": "similarity my_vectors/refusal.safetensors my_vectors/",
    "--items 50": "--items 4",
    "--controls --side-effects --robustness": "--controls --side-effects --robustness --dry-run",
    "--controls --side-effects --out": "--side-effects --out",
    "reports/refusal-pocket-1a2b3c4d": "reports/shared",
    "--layer 13": "--layer 1",
    "…": "--behavior refusal --methods caa",
}
"""What needs a hub's model, data that is not in the repository, or minutes -> what stands in its place."""

SMALLER = {"--data": "few", "--knowledge": "none", "--train-items": "16", "--test-items": "4", "--tokens": "8"}
"""Options that a command gets where it has them and the page doesn't give them."""

PARSED = {
    "--executor ray": "starts a cluster; tests/test_cluster.py does",
    "--thinking on": "needs a model that thinks; tests/test_thinking.py has its own",
    "--knowledge lm_eval:": "needs the hub's documents; tests/test_harness.py has its own",
    "--model pocket,/path": "needs a second model; tests/test_several_models.py makes one",
    "--model /path/to/base --out base": "needs another model; tests/test_several_models.py fits on one",
    "compare doctor --model": "asks the hub; tests/test_footprint.py has one of its own",
    "--offload": "needs a GPU; tests/test_offload.py offloads on a CPU",
    "--set caa.vector_from=base": "needs the file of the command before",
    "compare bench": "minutes, by design",
    "compare data fetch": "downloads; tests/test_fetch.py runs it",
    "compare replicate paper": "minutes; tests/test_paper.py runs it",
    "compare replicate import results/": "needs the paper's result files",
    "compare vectors import": "needs files from elsewhere; tests/test_vectors_exchange.py makes such",
    "--private": "uploads",
    "hub:": "downloads",
    "--methods caa,probe,pca,actadd": "half an hour",
}
"""Parts of commands that are only parsed, and why."""

MINIMAL = {
    "sft": ["--set", "sft.epochs=1", "--set", "sft.epoch=1", "--set", "sft.learning_rate=1e-3"],
}
"""Settings that spare trials, by method."""

STAND_INS = ("…", "COMMAND")
"""What sentences write in the place of a command."""

FEW = ["--data", "few", "--knowledge", "none", "--train-items", "16", "--test-items", "4"]

REFUSAL = ["--behavior", "refusal"]

GIVEN = pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all commands run, so that what one has fitted is there for the next; with the files that pages speak of."""
    folder = tmp_path_factory.mktemp("reader")
    few_questions(folder / "few")
    (folder / "results").mkdir()
    (folder / "prompts.txt").write_text("Will you help me?\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert execute(["run", *REFUSAL, "--methods", "caa", "--layer", "1", "--out", "reports/shared", *FEW]) == 0
        assert execute(["vectors", "fit", *REFUSAL, "--data", "few", "--train-items", "16", "--out", "."]) == 0
    return folder


@pytest.fixture(scope="module")
def done() -> set[str]:
    """What has run: two pages may show one command."""
    return set()


def parsed(command: Command) -> tuple[click.Command, list[str]]:
    """The command of the program's that is asked for, and its own words."""
    found: click.Command = cli
    rest = command.words[1:]
    while isinstance(found, click.Group) and rest and not rest[0].startswith("-") and rest[0] not in STAND_INS:
        inner = found.get_command(click.Context(found), rest[0])
        assert inner is not None, f"{command.page}:{command.line}: {command.text}"
        found, rest = inner, rest[1:]
    return found, rest


def options(command: click.Command) -> set[str]:
    """The long and short options of a command, help included."""
    known = {option for part in command.params for option in (*part.opts, *part.secondary_opts)}
    return known | {"--help", "--version"}


def smaller(command: Command) -> list[str]:
    """The command's words with what is at hand, few items and few trials."""
    text = command.text
    for old, new in REWRITTEN.items():
        text = text.replace(old, new)
    command = replace(command, text=text)
    words, known = command.words[1:], options(parsed(command)[0])
    free = known - set(words) - ({"--knowledge"} if "--select" in words else set())
    # Of doctor it goes with a model.
    free -= {"--tokens"} if words[0] == "doctor" else set()
    # A finished run has its own data.
    free &= {"--tokens"} if words[0] == "generate" and "--methods" not in words else free
    words += [part for option, value in SMALLER.items() if option in free for part in (option, value)]
    methods = re.split(r"[,+:]", words[words.index("--methods") + 1]) if "--methods" in words else []
    words += [part for method in MINIMAL if method in methods and "--set" in known for part in MINIMAL[method]]
    return words


def expanded(words: list[str]) -> list[str]:
    """The words with patterns of file names replaced, as a shell does."""
    return [name for word in words for name in (sorted(glob.glob(word)) if "*" in word else [word]) or [word]]


@GIVEN
def test_the_commands_in_a_pages_blocks_run(
    page: Path, place: Path, done: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    for command in commands(page, "compare"):
        # Walked pages run in tests/test_walks.py, with their files, in the order in which a reader goes.
        if page.name in WALKED or any(part in command.text for part in PARSED):
            found, rest = parsed(command)
            found.make_context(found.name, list(rest))
            continue
        words = expanded(smaller(command))
        if " ".join(words) in done:
            continue
        done.add(" ".join(words))
        code = execute(words)
        assert code == 0, f"{command.page}:{command.line}: compare {' '.join(words)}\n{capsys.readouterr().err}"


@GIVEN
def test_the_commands_in_a_pages_sentences_have_options_that_exist(page: Path) -> None:
    for command in inline(page):
        found, rest = parsed(command)
        named = {word.rstrip(",").partition("=")[0] for word in rest if word.startswith("--")}
        assert named <= options(found), f"{command.page}:{command.line}: {command.text}"


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in (*PAGES, ROOT / "CONTRIBUTING.md"):
        for command in commands(page, "make"):
            assert command.words[1] in targets, f"{command.page}:{command.line}: {command.text}"
