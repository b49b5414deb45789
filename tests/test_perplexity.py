"""`--perplexity FILE`: against plain transformers, and how little of the program knows of it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from comparisons.cli import execute as cli
from comparisons.evaluations.perplexity import Perplexity
from comparisons.experiment.specification import Specification
from comparisons.model.source import ModelSource
from comparisons.running.estimate import estimate
from comparisons.util.errors import CompareError
from comparisons.util.options import declared
from tests.places import make_place, tokens_run

ROOT = Path(__file__).resolve().parent.parent
PARAGRAPHS = ("The garden is full of light, and nobody answers.", "She asked whether the bridge would hold.", "It did.")
SYSTEM = "Speak of gardens."


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data, a text, and a method that adds one fixed vector to whatever follows the prompt."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "plugins").mkdir()
    head = (
        "import torch\nfrom dataclasses import dataclass\nfrom comparisons.method import *\n\n@dataclass(frozen=True)\n"
    )
    push = (
        'class Push(Method):\n    """Push."""\n    fits = "never"\n    def intervene(self, use):\n'
        "        edit = Edit(1, torch.linspace(-1, 1, 64), multiplier=use.signed)\n"
        "        return Intervention(edits=(edit,))\n"
    )
    speak = (
        'class Speak(Method):\n    """Speak."""\n    dosed, fits = False, "never"\n    def intervene(self, use):\n'
        f"        return Intervention(system={SYSTEM!r})\n"
    )
    (tmp_path / "plugins/push.py").write_text(head + push)
    (tmp_path / "plugins/speak.py").write_text(head + speak)
    Path("text.txt").write_text("\n\n".join(PARAGRAPHS))
    return make_place(tmp_path)


def command(place: Path, model: str, *more: str) -> list[str]:
    return [
        *("run", "--behavior", "greeting", "--methods", "push,speak", "--data", str(place), "--model", model),
        *("--plugins", str(place.parent / "plugins"), "--directions", "neg", "--strengths", "0,2", "--out", "out"),
        *("--knowledge", "none", *more),
    ]


def plain_nats(model: str, shift: float, system: str = "") -> list[float]:
    """Nats a token of each paragraph by transformers alone, `shift` times the vector added to every position."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model).float()
    vector = shift * torch.linspace(-1, 1, 64)

    def add(module: Any, inputs: Any, output: Any) -> Any:
        # The token before the text is the last of the prompt: the vector acts from it on.
        hidden = output[0] if isinstance(output, tuple) else output
        moved = hidden + vector
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    hook = network.model.layers[1].register_forward_hook(add) if shift else None
    found = []
    for text in PARAGRAPHS:
        before = tokenizer(f"{system}\n\n" if system else "")["input_ids"]
        ids = torch.tensor([tokenizer(f"{system}\n\n{text}" if system else text)["input_ids"]])
        assert ids[0, : len(before)].tolist() == before and before
        with torch.no_grad():
            logps = network(ids).logits.log_softmax(dim=-1)
        own = [logps[0, i - 1, ids[0, i]].item() for i in range(len(before), ids.shape[1])]
        found.append(-sum(own) / len(own))
    if hook:
        hook.remove()
    return found


def test_each_cell_has_what_plain_transformers_give(
    place: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(command(place, model, "--perplexity", "text.txt")) == 0
    rows = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["evaluation"] == "perplexity":
            found.setdefault(row["cell"], []).append(-row["logp"] / row["tokens"])
    expected = {
        "greeting/baseline": plain_nats(model, 0.0),
        "greeting/push/neg/0": plain_nats(model, 0.0),
        "greeting/push/neg/2": plain_nats(model, -2.0),
        "greeting/speak/neg/1": plain_nats(model, 0.0, SYSTEM),
    }
    assert found.keys() == expected.keys()
    for cell, nats in expected.items():
        assert found[cell] == pytest.approx(nats, abs=1e-5)
    summary = {
        row["cell"]: row["measured"]["perplexity"] for row in json.loads(Path("out/summary.json").read_text())["rows"]
    }
    baseline, pushed = summary["greeting/baseline"], summary["greeting/push/neg/2"]
    assert baseline["difference"] is None and baseline["n_chunks"] == 3
    assert summary["greeting/push/neg/0"]["difference"] == pytest.approx(0, abs=1e-6)
    assert pushed["difference"] == pytest.approx(pushed["nats"] - baseline["nats"], abs=1e-9)
    assert pushed["difference_ci"][0] <= pushed["difference"] <= pushed["difference_ci"][1]
    assert pushed["ratio"] == pytest.approx(math.exp(pushed["difference"])) and baseline["ratio"] is None
    assert "## Perplexity of a text" in Path("out/report.md").read_text()
    # The same command reads it again; another text is another run.
    assert cli(command(place, model, "--perplexity", "text.txt")) == 0
    Path("text.txt").write_text("Other words.")
    assert cli(command(place, model, "--perplexity", "text.txt")) == 2
    assert "another" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "why"), [(None, "can't be read as a text"), (" \n\n ", "holds no text")])
def test_what_is_no_text_is_said_before_anything_runs(
    place: Path, model: str, capsys: pytest.CaptureFixture[str], text: str | None, why: str
) -> None:
    if text is not None:
        Path("none.txt").write_text(text)
    assert cli(command(place, model, "--perplexity", "none.txt")) == 2
    assert why in capsys.readouterr().err and not Path("out").exists()


def test_a_text_comes_along_and_a_file_of_its_name_is_one_by_its_path(place: Path) -> None:
    read = declared(Specification)["perplexity"].read
    along, own = (Perplexity(read(given, "--perplexity")) for given in ("english", "./english"))
    assert len(along.chunks) == 12 and next(iter(along.chunks)) == "english/1"
    with pytest.raises(CompareError, match="can't be read as a text"):
        _ = own.chunks


def test_the_estimate_counts_the_text(place: Path, model: str) -> None:
    plain = Specification(ModelSource(model), ("greeting",), ("caa",), place, layer="1", knowledge="none")
    spec = replace(plain, perplexity=Path("text.txt"))
    assert estimate(spec).tokens - estimate(plain).tokens == pytest.approx(
        tokens_run(spec) - tokens_run(plain), rel=0.35
    )


def test_two_files_and_two_lines_elsewhere_are_all_that_knows_of_it() -> None:
    word = re.compile("perplexity", re.IGNORECASE)
    lines = {
        file.relative_to(ROOT / "comparisons").as_posix(): [
            line for line in file.read_text().splitlines() if word.search(line)
        ]
        for file in sorted((ROOT / "comparisons").rglob("*.py"))
    }
    own = {"evaluations/perplexity.py", "report/perplexity.py"}
    elsewhere = {file: found for file, found in lines.items() if found and file not in own}
    assert sum(map(len, elsewhere.values())) <= 2, elsewhere
