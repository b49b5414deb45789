"""`compare trace` and `compare lens`: what they write, and a line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from comparisons.cli import execute as run
from comparisons.method.vector_files import Vectors, load_vectors, save_vectors
from tests.places import make_place
from tests.tiny import WIDTH


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    save_vectors(tmp_path / "wide.safetensors", Vectors({0: torch.ones(WIDTH + 1)}))
    save_vectors(tmp_path / "own.safetensors", Vectors({1: torch.ones(WIDTH)}))
    save_vectors(tmp_path / "zero.safetensors", Vectors({1: torch.zeros(WIDTH)}))
    return make_place(tmp_path)


MISTAKES: dict[str, tuple[str, str]] = {
    "nothing to read": ("trace --behavior greeting", "must be one of --text"),
    "two things to read": ("trace --behavior greeting --text x --item 0", "not --text and --item"),
    "no vectors": ("trace --text x", "no vectors"),
    "behavior": ("trace --behavior greting --text x", "Did you mean greeting"),
    "layer": ("trace --behavior greeting --text x --layer 4", "layer 4 is out of range"),
    "layer's form": ("trace --behavior greeting --text x --layer first", "all or a number"),
    "item": ("trace --behavior greeting --item 6", "test items 0 to 5"),
    "item of none": ("trace --vectors ../own.safetensors --item 0", "name it by --behavior"),
    "no item": ("trace --behavior greeting --items 0", "at least 1"),
    "split of one": ("trace --behavior greeting --text x --split label", "about a mean over items"),
    "no labels": ("trace --behavior greeting --items 2 --split label", "two labels"),
    "no system prompts": ("trace --behavior greeting --items 2 --split system", "no system prompts"),
    "generate": ("trace --behavior greeting --text x --generate 3", "--generate goes with"),
    "file": ("trace --behavior greeting --file ../none.txt", "there is no file"),
    "vectors' file": ("trace --vectors ../none.safetensors --text x", "no such file"),
    "vectors' width": ("trace --vectors ../wide.safetensors --text x", "width 65"),
    "vectors' layer": ("trace --vectors ../own.safetensors --text x --layer 2", "no vector of layer 2"),
    "no direction": ("trace --vectors ../zero.safetensors --text x", "no direction"),
    "png's folder": ("trace --behavior greeting --text x --png no/where.png", "there is no folder no"),
    "nothing to look at": ("lens", "nothing to read"),
    "two to look at": ("lens --behavior greeting --prompt x --item 1", "not both"),
    "token": ("lens --behavior greeting --token 999", "--token 999 is out of range"),
    "top": ("lens --behavior greeting --top 0", "at least 1"),
    "letters": ("lens --prompt x --letters A", "two different letters"),
    "multiplier alone": ("lens --behavior greeting --multiplier 2", "name it by --layer"),
    "lens's layer": ("lens --behavior greeting --layer 9", "layer 9 is out of range"),
    "multiplier": ("lens --behavior greeting --layer 1 --multiplier nan", "finite"),
    "too long": ("trace --behavior greeting --text " + "x" * 3000, "more than the 2048"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line(name: str, place: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, line = MISTAKES[name]
    assert run([*words.split(" "), "--data", str(place), "--model", model]) == 2
    captured = capsys.readouterr()
    assert line in captured.err and captured.err.count("\n") == 1 and captured.out == ""
    assert list(Path.cwd().iterdir()) == []


def test_the_commands_write_what_they_say(
    place: Path, model: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    common = ["--data", str(place), "--model", model]
    files = ["--png", "t.png", "--html", "t.html"]
    assert run(["trace", "--behavior", "greeting", "--item", "1", *files, "--json", *common]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["layers"] == [0, 1, 2, 3]
    assert np.shape(found["projections"]) == (4, len(found["tokens"]))
    assert Path("t.png").read_bytes().startswith(b"\x89PNG") and "<table>" in Path("t.html").read_text("utf-8")
    assert run(["trace", "--behavior", "greeting", "--items", "3", "--generate", "2", "--json", *common]) == 0
    means = json.loads(capsys.readouterr().out)
    assert means["groups"][0]["items"] == 3 and means["difference"] is None
    # The vectors are the same ones: kept, as a run keeps its fits.
    kept = sorted(Path("checkpoints").glob("mean-differences-greeting-*/*"))
    assert [path.name for path in kept] == ["letters.safetensors", "manifest.json", "vectors.safetensors"]
    before = kept[1].stat().st_mtime_ns
    caplog.clear()
    assert run(["trace", "--behavior", "greeting", "--item", "1", "--json", *common]) == 0
    assert json.loads(capsys.readouterr().out)["projections"] == found["projections"]
    assert kept[1].stat().st_mtime_ns == before
    assert caplog.messages == []
    steered = ["--vectors", "../own.safetensors", "--layer", "1", "--multiplier", "-2"]
    assert run(["lens", "--behavior", "greeting", "--png", "l.png", "--json", *steered, *common]) == 0
    lens = json.loads(capsys.readouterr().out)
    assert lens["layers"][-1]["block"]["letters"] == pytest.approx(lens["final"], abs=1e-5)
    assert lens["change"] == "-2 × the vectors of own.safetensors at layer 1"
    assert Path("l.png").read_bytes().startswith(b"\x89PNG")


def test_vectors_that_are_mostly_a_letter_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # fitted, and read again
        caplog.clear()
        assert run(["trace", "--behavior", "refusal", "--train-items", "3", "--item", "0", "--json"]) == 0
        (line,) = caplog.messages
        assert line.startswith("refusal: the vectors of layers 0 are largely a liking for a letter")
    (folder,) = Path("checkpoints").glob("mean-differences-*")
    vector, letter = (load_vectors(folder / f"{name}.safetensors").vector(0) for name in ("vectors", "letters"))
    assert f"up to {float(vector @ letter / vector.norm() / letter.norm()):+.2f})" in line
