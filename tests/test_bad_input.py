"""Mistakes in commands and files: exit code 2, one line that names the thing and the mend, nothing written."""

from __future__ import annotations

import io
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from comparisons.cli import execute
from tests.bad_files import ITEMS, KNOWLEDGE, MANY, PROMPTS, RUN_FILES, TEXTS, VECTORS, text
from tests.forks import Ended
from tests.places import make_place

RUN = "run --behavior greeting --methods caa --model {model} --data {data} "
SWEEP = "sweep --behavior greeting --layers all --model {model} --data {data} "
FIT = "vectors fit --behavior greeting --model {model} --data {data} "
TRACE = "trace --behavior greeting --model {model} --data {data} --vectors {vectors} "
LENS = "lens --behavior greeting --model {model} --data {data} "
GENERATE = "generate --behavior greeting --methods caa --model {model} --data {data} --prompt hello "
EXPORT = "vectors export {vectors} --to gguf --out x.gguf "
BENCH = "bench --quick --model {model} "

OPTIONS: dict[str, str] = {
    # compare run
    "run": "--methods",
    "run --methods caa": "--behavior",
    "run --behavior greeting": "--methods",
    RUN + "extra": "extra",
    RUN + "--train-items many": "many",
    RUN + "--train-items -3": "at least 1",
    RUN + "--test-items 0": "at least 1",
    RUN + "--open-ended --tokens -1": "--tokens",
    RUN + "--seed x": "seed",
    RUN + "--seed -1": "seed",
    RUN + "--seed 99999999999999999999999": "seed",
    RUN + "--device gpu": "gpu",
    RUN + "--dtype int8": "int8",
    RUN + "--quantize 3bit": "3bit",
    RUN + "--device cuda": "cuda",
    RUN + "--blocks nowhere.at.all": "nowhere.at.all",
    RUN + "--judge nobody --open-ended": "nobody",
    RUN + "--judge openai: --open-ended": "openai",
    RUN + "--judge rules --judge-budget -1": "budget",
    RUN + "--judge rules --judge-budget nan": "budget",
    RUN + "--judge-price free --judge rules": "price",
    RUN + "--strengths 1e999": "finite",
    RUN + "--strengths ,": "strength",
    RUN + "--strengths ''": "strength",
    RUN + "--directions ''": "direction",
    RUN + "--directions pos,pos": "twice",
    RUN + "--set caa.layer=": "caa.layer",
    RUN + "--set =": "METHOD.FIELD=VALUE",
    RUN + "--set caa=1": "METHOD.FIELD=VALUE",
    RUN + "--set .layer=1": "METHOD.FIELD=VALUE",
    RUN + "--set caa.layer=1 --set caa.layer=2": "twice",
    RUN + "--set caa.strength=-1": "strength",
    RUN + "--layer 99999999999999999999": "out of range",
    RUN + "--select cost:0.1": "select",
    RUN + "--select nonsense": "select",
    RUN + "--out {file}": "folder",
    RUN + "--out ''": "--out",
    RUN + "--model {file}": "not a folder",
    RUN + "--model ''": "model",
    RUN + "--model {empty}": "has no config.json",
    RUN + "--data {empty}": "holds no behaviors",
    RUN + "--data {file}": "unknown kind of file",
    RUN + "--data ''": "--data is empty",
    RUN + "--plugins {file}": "no such folder",
    "run --behavior '' --methods caa --model {model} --data {data}": "behavior",
    "run --behavior ../greeting --methods caa --model {model} --data {data}": "unknown behavior",
    "run --behavior greeting --methods sft+dpo --model {model} --data {data}": "adapter",
    "run --behavior greeting --methods +caa --model {model} --data {data}": "empty element",
    "run --behavior greeting --methods caa:pos: --model {model} --data {data}": "caa:pos:",
    "run --behavior greeting --methods '../caa' --model {model} --data {data}": "../caa",
    "run --behavior greeting --methods baseline --model {model} --data {data}": "baseline",
    # compare sweep
    SWEEP.replace("--layers all", ""): "--layers",
    SWEEP.replace("all", "x"): "'x'",
    SWEEP.replace("all", "3-1"): "3-1",
    SWEEP.replace("all", "0-9"): "out of range",
    SWEEP.replace("all", "0-99999999999"): "--layers takes",
    SWEEP.replace("all", "-"): "'-'",
    SWEEP.replace("all", "''"): "layers",
    SWEEP + "--strengths -1": "at least 0",
    SWEEP + "--split train": "train",
    SWEEP + "--methods sysprompt": "sysprompt",
    SWEEP + "--methods nothing": "unknown method",
    SWEEP + "--set caa.layer=1": "layer",
    # compare report, diff, score, share
    "report": "RUN",
    "report {empty}": "is not a run",
    "report {nowhere}": "nowhere",
    "report {file}": "{file}",
    "report {run} --format pdf": "pdf",
    "report {run} --format ''": "format",
    "report {run} --figures mine": "mine",
    "report {run} {run}": "twice",
    "report {run} {empty} --out joined": "is not a run",
    "diff {run}": "missing argument",
    "diff {run} {empty}": "is not a run",
    "diff {nowhere} {run}": "nowhere",
    "score {run}": "--judge",
    "score {empty} --judge rules": "{empty}",
    "score {run} --judge rules": "--open-ended",
    "score {run} --judge openai:gpt --judge-budget -2": "budget",
    "share {run}": "--to",
    "share {empty} --to a/b --dry-run": "{empty}",
    "share {run} --to a --dry-run": "a",
    "share {run} --to hub:../../x --dry-run": "hub:",
    # compare methods, behaviors, data, doctor
    "methods --plugins {nowhere}": "no such folder",
    "methods extra": "extra",
    "behaviors --data {nowhere}": "nowhere",
    "behaviors --data {empty}": "holds no behaviors",
    "data": "data",
    "data mend": "mend",
    "data validate --data {nowhere}": "nowhere",
    "data stats --data {empty}": "holds no behaviors",
    "data split --out new": "FILE",
    "data split {nowhere} --out new": "nowhere",
    "data split {items}": "--out",
    "data split {items} --out new --test-items 0": "test-items",
    "data split {items} --out new --test-items 20": "20",
    "data split {items} --out new": "--test-items",
    "doctor --clean": "--artifacts",
    "doctor --prompt-format base": "--prompt-format goes with --model",
    "doctor --artifacts --reports {nowhere}": "nowhere",
    # compare vectors
    "vectors": "vectors",
    "vectors bend": "bend",
    "vectors fit": "--behavior",
    FIT + "--layers 9": "9",
    FIT + "--layers x": "'x'",
    FIT + "--train-items 0": "train-items",
    "vectors normalize {vectors}": "two",
    "vectors normalize {file} {vectors}": "{file}",
    "vectors similarity {nowhere}": "nowhere",
    "vectors similarity {vectors} --layers 7": "7",
    "vectors similarity {vectors} --by colour": "colour",
    "vectors pca {vectors}": "activations",
    "vectors diagnose {vectors}": "activations",
    EXPORT: "--layers",
    EXPORT + "--layers 0": "layer 0",
    EXPORT + "--layers 9": "9",
    EXPORT.replace("gguf", "onnx") + "--layers 1": "onnx",
    EXPORT + "--layers 1 --multiplier nan": "finite",
    EXPORT + "--layers 1 --multiplier inf": "finite",
    "vectors export {nowhere} --to gguf --layers 1 --out x.gguf": "no such file",
    "vectors import {vectors}": "--out",
    "vectors import {empty} --out x.safetensors": "holds no file",
    "vectors import {vectors} --out x.bin": ".safetensors",
    "vectors import {vectors} --out x.safetensors --layers 8": "8",
    "vectors import {vectors} --out x.safetensors --model {nowhere}": "nowhere",
    "vectors import {wide} --out x.safetensors --model {model}": "width",
    "vectors import {wide} --out x.safetensors --model {model} --blocks nowhere.at.all": "nowhere.at.all",
    "vectors import {wide} --out x.safetensors --trust-remote-code": "--trust-remote-code goes with --model",
    # compare trace, lens, generate, replicate, bench
    TRACE + "--text a --layer 9": "9",
    TRACE + "--text a --layer x": "x",
    TRACE: "--text",
    TRACE + "--item 99": "99",
    TRACE + "--item -1": "-1",
    TRACE + "--text a --prompt b": "--",
    TRACE + "--split colour": "colour",
    TRACE + "--file {nowhere}": "nowhere",
    TRACE.replace("{vectors}", "{wide}") + "--text hello": "width",
    LENS + "--layer 9": "9",
    LENS + "--item 99": "99",
    LENS + "--top 0": "top",
    LENS + "--letters AB": "letters",
    LENS + "--multiplier nan": "multiplier",
    LENS + "--token 99999 --prompt a": "99999",
    GENERATE + "--tokens 0": "tokens",
    GENERATE + "--file {nowhere}": "--",
    GENERATE + "--strengths x": "x",
    GENERATE + "--layer 9": "out of range",
    GENERATE.replace("hello", "''"): "prompt",
    GENERATE.replace("--behavior greeting ", "").replace("--data {data} ", ""): "name one by --behavior",
    "replicate": "replicate",
    "replicate book": "book",
    "replicate import {nowhere} --out new": "nowhere",
    "replicate import {empty} --out new": "{empty}",
    "replicate paper --behavior greeting --model {model} --data {data} --layer 9": "9",
    "replicate paper --behavior nothing --model {model} --data {data}": "unknown behavior",
    BENCH + "--repeats 0": "0",
    BENCH + "--blocks nowhere.at.all": "nowhere.at.all",
    BENCH + "--offload away": "--offload away is for",
    BENCH + "--threads 0": "0",
    BENCH + "--work walking": "walking",
    "bench --quick --model nothing": "nothing",
}
"""Arguments, and a word of the line that answers them."""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, model: str, whole_run: tuple[Path, Ended]) -> dict[str, str]:
    """The places that arguments name."""
    from safetensors.numpy import save_file

    folder = tmp_path_factory.mktemp("ground")
    (folder / "empty").mkdir()
    (folder / "file").write_bytes(b"nothing of use")
    (folder / "items.json").write_bytes(text(MANY))
    save_file({f"layer_{n}": np.ones(64, np.float32) for n in range(4)}, folder / "vectors.safetensors")
    save_file({f"layer_{n}": np.ones(48, np.float32) for n in range(4)}, folder / "wide.safetensors")
    (run,) = (path.parent for path in whole_run[0].rglob("summary.json"))
    return {
        "model": model,
        "data": str(make_place(folder)),
        "file": str(folder / "file"),
        "empty": str(folder / "empty"),
        "nowhere": str(folder / "nowhere"),
        "items": str(folder / "items.json"),
        "vectors": str(folder / "vectors.safetensors"),
        "wide": str(folder / "wide.safetensors"),
        "run": str(shutil.copytree(run, folder / "run")),
    }


def listing(*folders: Path | str) -> list[tuple[str, int, int]]:
    """Every file and folder in some places, with its size and time."""
    found = [path for folder in folders for path in [Path(folder), *Path(folder).rglob("*")]]
    return sorted((str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in found)


def complain(command: list[str], capsys: pytest.CaptureFixture[str], *watched: Path | str) -> str:
    """The line that a mistake gets: the only one, and nothing else happens."""
    before = listing(Path.cwd(), *watched)
    code = execute(command)
    captured = capsys.readouterr()
    assert code == 2, (code, captured)
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("compare: ") and len(captured.err) > 20, captured.err
    assert "Traceback" not in captured.err
    assert not any(ord(character) < 32 for character in captured.err[:-1]), captured.err
    assert captured.out == ""
    assert listing(Path.cwd(), *watched) == before
    return captured.err


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.mark.parametrize("command", OPTIONS)
def test_an_option_that_is_wrong(
    command: str, work: Path, ground: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = complain(shlex.split(command.format(**ground)), capsys, Path(ground["file"]).parent)
    assert OPTIONS[command].format(**ground).lower() in line.lower()


def test_typed_prompts_end_where_the_input_does(
    work: Path, ground: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hello there\n"))
    command = GENERATE.replace("--prompt hello", "--layer 1 --tokens 2 --json").format(**ground)
    assert execute(shlex.split(command)) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(answer["prompt"], answer["method"]) for answer in answers} == {
        ("hello there", "baseline"),
        ("hello there", "caa"),
    }


@pytest.mark.parametrize("name", ITEMS)
def test_a_file_of_items_that_is_wrong(name: str, work: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    file, content, words = ITEMS[name]
    (work / file).write_bytes(content)
    command = ["run", "--behavior", "x", "--methods", "caa", "--model", model, "--data", str(work / file)]
    line = complain(command, capsys, work)
    assert words in line
    assert file in line


@pytest.mark.parametrize(
    ("place", "content", "words"),
    [
        *(("generate/greeting/behavior.json", *case) for case in TEXTS.values()),
        *(("test/greeting/test_dataset_open_ended.json", *case) for case in PROMPTS.values()),
        *(("test/knowledge/knowledge.json", *case) for case in KNOWLEDGE.values()),
    ],
)
def test_a_file_beside_the_items_that_is_wrong(
    place: str, content: bytes, words: str, work: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_place(work)
    (data / place).parent.mkdir(parents=True, exist_ok=True)
    (data / place).write_bytes(content)
    command = ["run", "--behavior", "greeting", "--methods", "caa", "--model", model, "--data", str(data)]
    line = complain(command, capsys, work)
    assert words in line
    assert Path(place).name in line


@pytest.mark.parametrize("name", VECTORS)
def test_a_file_of_vectors_that_is_wrong(name: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, content, words = VECTORS[name]
    (work / file).write_bytes(content)
    line = complain(["vectors", "import", str(work / file), "--out", "new.safetensors"], capsys, work)
    assert words in line
    assert file in line


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_file_of_a_run_that_is_wrong(
    name: str, work: Path, ground: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    file, content, words = RUN_FILES[name]
    run = Path(shutil.copytree(ground["run"], work / "damaged"))
    (run / file).write_bytes(content)
    assert words in complain(["report", str(run)], capsys, work)
