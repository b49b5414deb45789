"""Vectors and adapters to a hub and back: the card, what plain PEFT and transformers make of it, and refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from comparisons.cli import execute as cli
from comparisons.engine.generate import generate
from comparisons.intervention import Edit, Intervention
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.report.snippet import QUESTION
from tests.forks import Command, Forks, forking
from tests.hub import Hub, hub

pytestmark = pytest.mark.slow

TOKEN = "hf_planted40c1"
ROOT = Path(__file__).resolve().parents[1]
FEW = ("--train-items", "40", "--test-items", "8", "--knowledge-items", "8")
RUN = ("run", "--behavior", "refusal", "--directions", "pos", *FEW)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose best is a vector, one whose best is an adapter, and one of a prompt."""
    place = tmp_path_factory.mktemp("sharing")
    trained = ("--set", "sft.learning_rate=0.001", "--set", "sft.epochs=1", "--set", "sft.epoch=1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert cli([*RUN, "--methods", "caa", "--layer", "1", "--strengths", "0.5", "--out", "vector"]) == 0
        assert cli([*RUN, "--methods", "sft", *trained, "--out", "adapter"]) == 0
        assert cli([*RUN, "--methods", "sysprompt", "--out", "prompt"]) == 0
    return place


@pytest.fixture(scope="module")
def served() -> Iterator[Hub]:
    with hub(TOKEN) as found:
        yield found


def known(place: Path, served: Hub) -> dict[str, str]:
    """What the hub's client reads in the environment when it is imported."""
    return {"HF_ENDPOINT": served.url, "HF_HOME": str(place / "hf"), "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN}


@pytest.fixture(scope="module")
def near(place: Path, served: Hub) -> Iterator[Forks]:
    """A process with all libraries loaded, which know of that hub alone."""
    with forking(**known(place, served)) as folder:
        forks = Forks(folder)
        yield forks
        forks.close()


def python(program: str, place: Path, near: Forks) -> str:
    """What a program prints that knows nothing of this project."""
    assert not re.search("import (comparisons|methods)|from (comparisons|methods)", program)
    (ran,) = near.run(Command((), str(place), program=program))
    assert ran.code == 0, ran.said
    return ran.printed.strip()


def compare(arguments: Sequence[str], place: Path, near: Forks) -> str:
    (found,) = near.run(Command(arguments, str(place)))
    assert found.code == 0, found.said
    return found.said


def test_a_vector_comes_back_and_its_cards_program_does_what_the_engine_does(
    place: Path, served: Hub, near: Forks
) -> None:
    printed = compare(["share", "vector", "--to", "me/less", "--private"], place, near)
    files = served.repositories["me/less"]
    assert set(files) == {"README.md", "edits.safetensors", "vectors.safetensors", "intervention.json"}
    assert "me/less" in served.private and "/me/less/commit/" in printed
    card = files["README.md"].decode()
    assert card.startswith('---\nbase_model: "pocket"\n') and '"steering-vector"' in card
    rows = {row["cell"]: row for row in json.loads((place / "vector/summary.json").read_text())["rows"]}
    row = rows["refusal/caa/pos/0.5"]
    low, high = row["shift_ci"]
    assert f"{row['shift']:+.2f} [{low:.2f}, {high:.2f}]" in card and f"{row['cost']:+.3f}" in card
    assert "- command: compare" in card and str(place) not in card
    assert not any(TOKEN.encode() in data for data in files.values())
    # The program, as it stands on the card, but for where pocket is.
    (program,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert 'hf_hub_download("me/less", "edits.safetensors")' in program
    program = program.replace('name = "pocket"', f'name = "{ROOT / "checkpoints/pocket"}"')
    lm = load(ModelSource())
    vector = load_file(place / "vector/best/edits.safetensors")["edit0"]
    steered = Intervention(edits=(Edit(1, vector, multiplier=0.5),))
    assert python(program, place, near) == generate(lm, [QUESTION], [steered], 64)[0][0]
    compare(["vectors", "import", "hub:me/less", "--out", "back.safetensors", "--model", "pocket"], place, near)
    assert torch.equal(load_file(place / "back.safetensors")["layer_1"], vector)
    again = ("--methods", "caa", "--set", "caa.vector_from=back.safetensors", "--layer", "1", "--strengths", "0.5")
    compare([*RUN, *again, "--out", "again"], place, near)
    assert json.loads((place / "again/summary.json").read_text())["rows"][1]["shift"] == pytest.approx(row["shift"])


def test_an_adapter_loads_in_plain_peft_and_in_a_run(place: Path, served: Hub, near: Forks) -> None:
    compare(["share", "adapter", "--to", "me/adapter"], place, near)
    files = served.repositories["me/adapter"]
    trained = {"adapter_config.json", "adapter_model.safetensors", "trained.json"}
    assert set(files) == {"README.md", "intervention.json", *trained}
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "pocket"
    plain = f"""
from peft import PeftModel
from transformers import AutoModelForCausalLM
base = AutoModelForCausalLM.from_pretrained({str(ROOT / "checkpoints/pocket")!r})
model = PeftModel.from_pretrained(base, "me/adapter")
print(model.peft_config["default"].r)
"""
    assert python(plain, place, near) == "8"
    using = ("--methods", "sft", "--set", "sft.adapter_from=hub:me/adapter", "--out", "used")
    compare([*RUN, *using], place, near)
    shifts = [json.loads((place / run / "summary.json").read_text())["rows"][1]["shift"] for run in ("adapter", "used")]
    assert shifts[0] == pytest.approx(shifts[1], abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("share", "prompt", "--to", "me/prompt"), "is a prompt: there is no vector and no adapter to share"),
        (("share", "vector", "--to", "nobody"), "'nobody' is no repository of the hub: write ORG/NAME"),
        (("share", "vector", "--to", "me/../x"), "is no repository of the hub"),
        (("share", "nothing", "--to", "me/x"), "there is no run in nothing"),
        (("vectors", "import", "hub:me/missing", "--out", "x.safetensors"), "hub:me/missing: there is no such"),
        (("run", "--behavior", "refusal", "--methods", "sft", "--set", "sft.adapter_from=data"), "adapter_from=data"),
    ],
)
def test_mistakes_are_one_line(place: Path, near: Forks, arguments: Sequence[str], said: str) -> None:
    (ran,) = near.run(Command(arguments, str(place)))
    assert ran.code in (1, 2) and said in ran.said and "Traceback" not in ran.said


def test_a_wrong_token_is_named_and_not_shown(place: Path, served: Hub, near: Forks) -> None:
    share, wrong = ("share", "vector", "--to", "me/other"), {"HF_TOKEN": "hf_wrong77"}
    (ran,) = near.run(Command(share, str(place), variables=wrong))
    assert ran.code == 2 and "HF_TOKEN" in ran.said and "hf_wrong77" not in ran.said
    assert len(ran.complaints) == 1 and "Traceback" not in ran.said and "me/other" not in served.repositories


def test_a_dry_run_writes_the_folder_only(place: Path, served: Hub, near: Forks) -> None:
    compare(["share", "vector", "--to", "me/dry", "--dry-run"], place, near)
    assert (place / "vector/shared/README.md").is_file() and "me/dry" not in served.repositories
