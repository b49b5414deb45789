"""Whole runs on a tiny model: numbers, and failures that stay in their cell."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comparisons.dataset.behaviors import Library
from comparisons.experiment.specification import Specification
from comparisons.model.fingerprint import tensor_digest
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.results.folder import RunFolder
from comparisons.running.job import run
from comparisons.running.planning import make_plan
from comparisons.running.progress import Silent
from comparisons.running.runner import execute
from comparisons.util.artifacts import Store
from tests import oracle
from tests.places import make_place, paper, record, write
from tests.tiny import tiny_lm

pytestmark = pytest.mark.slow

HEAD = "from dataclasses import dataclass\nimport torch as t\nfrom comparisons.method import *\nKEPT = []\n"
EDIT = "def intervene(self, use):\n        import torch\n        return Intervention(edits=(Edit({}),))"
LATE = (
    "def fit(self, fit): KEPT.append(fit.lm)\n"
    "    def intervene(self, use):\n        lm = KEPT[-1]\n        {}\n        return Intervention()"
)
"""What is done to the model when the method is used, not when it is fitted."""
PLUGINS = {
    "raises": "def fit(self, fit): raise RuntimeError('out of cheese')",
    "raiseslater": "def intervene(self, use): raise ValueError('no cheese')",
    "nonsense": "def intervene(self, use): return 7",
    "wide": EDIT.format("0, torch.ones(3)"),
    "deep": EDIT.format("9, torch.ones(64)"),
    "infinite": EDIT.format("0, torch.full((64,), float('inf'))"),
    "inplace": "def fit(self, fit): next(fit.lm.model.parameters()).data.mul_(1.5)",
    "slightly": "def fit(self, fit): next(iter(fit.lm.model.parameters())).data.view(-1)[3] += 1e-4",
    "lefthook": LATE.format("lm.blocks[0].register_forward_hook(lambda *a: None)"),
    "latewrite": LATE.format("lm.blocks[0].mlp.up_proj.weight.data.mul_(1.001)"),
    "swapped": LATE.format("lm.model.lm_head = t.nn.Linear(64, 8)"),
    "training": LATE.format("lm.model.train()"),
    "words": LATE.format("setattr(lm.tokenizer, 'padding_side', 'left')"),
    "forgetful": LATE.format("[t.set_default_dtype(t.float64), t.set_grad_enabled(False), t.manual_seed(3)]"),
    "hook": "def fit(self, fit): fit.lm.blocks[0].register_forward_hook(lambda *a: None)",
}


def plugin_folder(tmp_path: Path, names: Iterable[str]) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    for name in names:
        body = PLUGINS[name]
        rest = "" if "def intervene" in body else "\n    def intervene(self, use): return Intervention()"
        code = f'{HEAD}\n@dataclass(frozen=True)\nclass P(Method):\n    """A plugin."""\n    {body}{rest}\n'
        (folder / f"{name}.py").write_text(code)
    return folder


@contextmanager
def silent(total: int) -> Iterator[Silent]:
    yield Silent()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    found = make_place(tmp_path)
    prompts = {"system_prompts": {"pos": "You take what is offered.", "neg": "You take nothing at all."}}
    write(found / "generate/greeting/behavior.json", prompts)
    return found


def spec(place: Path, model: str, *stacks: str, **changes: Any) -> Specification:
    plain = Specification(ModelSource(model), ("greeting",), stacks, data=place, layer="1", measure="letters")
    return replace(plain, **changes)


def by_cell(rows: Any) -> dict[str, Any]:
    return {row.cell: row for row in rows}


def test_every_failure_is_a_row_and_spoils_no_other(place: Path, model: str, tmp_path: Path) -> None:
    quiet = by_cell(run(spec(place, model, "caa"), silent, out=Path("quiet")).rows)
    names = ["raises", "raiseslater", "nonsense", "wide", "deep", "infinite", "hook"]
    mixed = spec(place, model, *names, "caa", "raises+caa", plugins=plugin_folder(tmp_path, names))
    plan, lm = make_plan(mixed), load(mixed.model)
    before, folder = tensor_digest(lm.model), RunFolder(Path("mixed"), "digest")
    execute(plan, lm, Store(Path("store")), folder, Silent())
    errors = {key.split("/")[1]: entry.info.get("error") or "" for key, entry in folder.entries.items()}
    assert errors["raises"] == errors["raises+caa"] == "RuntimeError: out of cheese"
    assert errors["raiseslater"] == "ValueError: no cheese"
    assert "returned int, not an Intervention" in errors["nonsense"]
    assert "width 3" in errors["wide"]
    assert "layers 0 to 3" in errors["deep"]
    assert "not finite on choices item test/0" in errors["infinite"]
    assert "changed the model or its tokenizer" in errors["hook"]
    assert errors["baseline"] == errors["caa"] == ""
    found = [row["p_match"] for row in folder.rows("greeting/caa/pos/1")]
    assert np.mean(found) == pytest.approx(quiet["greeting/caa/pos/1"].p_match, abs=1e-6)
    assert tensor_digest(lm.model) == before


UNTIDY = {
    "inplace": "the fit of inplace changed the model or its tokenizer: leave it out.",
    "slightly": "the fit of slightly changed the model or its tokenizer: leave it out.",
    "lefthook": "it changed the model or its tokenizer, which were loaded again: leave it out.",
    "latewrite": "it changed the model or its tokenizer, which were loaded again: leave it out.",
    "swapped": "it changed the model or its tokenizer, which were loaded again: leave it out.",
    "training": "it changed the model or its tokenizer, which were loaded again: leave it out.",
    "words": "it changed the model or its tokenizer, which were loaded again: leave it out.",
    "forgetful": None,
}
"""Methods that change what all share -> why their cells fail; the last changes torch's settings only."""


def test_what_a_method_does_to_the_model_is_undone_for_the_others(place: Path, model: str, tmp_path: Path) -> None:
    for part in ("generate", "test"):
        shutil.copytree(place / part / "greeting", place / part / "parting")
    alone = spec(place, model, "caa", "sysprompt", behaviors=("greeting", "parting"))
    expected = by_cell(run(alone, silent, out=Path("alone")).rows)
    untidy = replace(alone, stacks=(*UNTIDY, "caa", "sysprompt"), plugins=plugin_folder(tmp_path, UNTIDY))
    found = by_cell(run(replace(untidy, directions=("pos", "neg")), silent, out=Path("untidy")).rows)
    for name, error in UNTIDY.items():
        assert found[f"greeting/{name}/pos/1"].error == error, name
    for key, row in expected.items():
        assert found[key].status == "done", (key, found[key].error)
        assert found[key].p_match == pytest.approx(row.p_match, abs=1e-6)
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()


def test_a_context_manager_is_evaluated_by_itself(place: Path, model: str, tmp_path: Path) -> None:
    """The last block is turned round: half of it would be the whole again behind the norm."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "turned.py").write_text(
        "from contextlib import contextmanager\n"
        f"{HEAD}KEPT = []\n"
        '@dataclass(frozen=True)\nclass Turned(Method):\n    """Turn the last block round."""\n'
        "    def fit(self, fit): KEPT.append(fit.lm)\n"
        "    def intervene(self, use): return self.turned(KEPT[-1])\n"
        "    @contextmanager\n    def turned(self, lm):\n"
        "        handle = lm.blocks[-1].register_forward_hook(lambda m, a, o: -o)\n"
        "        try: yield\n        finally: handle.remove()\n"
    )
    rows = by_cell(run(spec(place, model, "turned", "caa", plugins=folder), silent, out=Path("out")).rows)
    assert rows["greeting/turned/pos/1"].status == "done", rows["greeting/turned/pos/1"].error
    assert rows["greeting/turned/pos/1"].shift != 0
    assert rows["greeting/caa/pos/1"].status == "done"


def test_strength_zero_equals_the_baseline(place: Path, model: str) -> None:
    chosen = spec(place, model, "caa", "sft+caa", strengths=(0.0, 2.0), settings={"sft": FAST | {"strength": ["0"]}})
    rows = by_cell(run(chosen, silent, out=Path("out")).rows)
    for cell in ("greeting/caa/pos/0", "greeting/caa/neg/0", "greeting/sft+caa/pos/0"):
        assert rows[cell].shift == 0
        assert rows[cell].shift_ci == [0, 0]
        assert rows[cell].p_value == 1
    assert rows["greeting/caa/pos/2"].shift == rows["greeting/sft+caa/pos/2"].shift != 0


FAST = {"learning_rate": ["0.01"], "epochs": ["1"], "epoch": ["1"]}


def test_the_numbers_of_a_cell_come_from_plain_code(place: Path, model: str) -> None:
    """p_match of baseline and caa at strength 1.5 against one prompt, one pass, one setting."""
    lm, behavior = load(ModelSource(model)), Library.open(place).behavior("greeting")
    blocks = lm.model.model.layers
    rows = by_cell(run(spec(place, model, "caa", strengths=(1.5,)), silent, out=Path("out")).rows)
    difference = torch.zeros(lm.width)
    for item in behavior.train:
        sides = []
        for letter in (item.matching, item.contrast):
            ids, _, index = oracle.prompt_ids(lm.tokenizer, item.question, letter)
            sides.append(oracle.activations(lm.model, blocks, ids[: index + 1], index)[1])
        difference = difference + (sides[0] - sides[1]) / len(behavior.train)
    for multiplier, cell in ((0.0, "greeting/baseline"), (1.5, "greeting/caa/pos/1.5"), (-1.5, "greeting/caa/neg/1.5")):
        found = []
        for item in behavior.test:
            for question, letters in (
                (item.question, (item.matching, item.contrast)),
                (oracle.swap(item.question), (item.contrast, item.matching)),
            ):
                both = [oracle.prompt_ids(lm.tokenizer, question, letter) for letter in letters]
                edit = (1, difference, multiplier)
                logps = [oracle.logps(lm.model, blocks, ids, end, i, edit)[ids[i]].item() for ids, end, i in both]
                found.append(np.exp(logps[0]) / np.exp(logps).sum())
        assert rows[cell].p_match == pytest.approx(np.mean(found), abs=1e-5)


def test_the_ledger_counts_what_a_cell_took(place: Path, model: str) -> None:
    """Against the lengths of the prompts and the sizes of the files."""
    settings = {"sft": {"learning_rate": ["0.01"], "epochs": ["2"], "epoch": ["1"]}}
    chosen = spec(place, model, "caa", "sysprompt", "sft", directions=("pos",), settings=settings)
    rows = by_cell(run(chosen, silent, out=Path("out")).rows)
    lm, behavior = load(ModelSource(model)), Library.open(place).behavior("greeting")
    passes = sum(len(lm.tokenize(f"{lm.prompt(item.question)} (A")) + 1 for item in behavior.train)
    caa, sft, prompt = (rows[f"greeting/{name}/pos/1"] for name in ("caa", "sft", "sysprompt"))
    assert (caa.examples, sft.examples, prompt.examples) == (20, 20, 0)
    assert caa.fit_tokens == pytest.approx(passes, rel=0.02)
    assert sft.fit_tokens == 3 * 2 * caa.fit_tokens
    assert (prompt.fit_tokens, prompt.stored_bytes, prompt.tuning_trials) == (0, 0, 0)
    (folder,) = Path("checkpoints").glob("caa-*")
    assert caa.stored_bytes == (folder / "vectors.safetensors").stat().st_size
    assert sft.stored_bytes is not None and sft.stored_bytes > 4 * (sft.trainable_parameters or 0)
    assert caa.tokens_run is not None and prompt.tokens_run is not None and prompt.tokens_run > caa.tokens_run > 0
    report = Path("out/report.md").read_text()
    assert "## Cost of each method" in report and "| trials on dev | tokens to fit |" in report
    tuned = by_cell(run(spec(place, model, "caa", layer="auto"), silent, out=Path("tuned")).rows)
    assert tuned["greeting/caa/pos/1"].tuning_trials == 4


def test_a_warning_stands_beside_the_number(place: Path, model: str) -> None:
    """The place has six questions; here all match under one letter too."""
    same = [record(2 * index) for index in range(10)]
    write(place / "generate/greeting/generate_dataset.json", same)
    write(place / "test/greeting/test_dataset_ab.json", same[:6])
    chosen = spec(place, model, "caa", "sysprompt", allow_leaks=True)
    rows = by_cell(run(chosen, silent, out=Path("out")).rows)
    few, letter = rows["greeting/baseline"].warnings
    assert few.startswith("only 6 questions") and "under (B)" in letter
    assert any("every training pair" in text for text in rows["greeting/caa/pos/1"].warnings)
    assert not any("training" in text for text in rows["greeting/sysprompt/pos/1"].warnings)
    report = Path("out/report.md").read_text()
    assert " ¹,² |" in report and "- ¹ only 6 questions" in report and "- ³ every training pair" in report


def test_a_cell_that_lost_the_letters_is_broken(place: Path, model: str) -> None:
    """A random model spreads its probability over all its tokens."""
    rows = by_cell(run(spec(place, model, "caa"), silent, out=Path("out")).rows)
    row = rows["greeting/caa/pos/1"]
    assert row.status == "done" and row.broken and (row.lost_mass or 0) > 0.5
    report = Path("out/report.md").read_text()
    assert "broken (lost mass" in report and "the answer is void" in report
    assert not Path("out/best").exists()


def test_a_method_tuned_on_dev_cuts_dev_and_one_with_settings_does_not(place: Path, model: str) -> None:
    assert not make_plan(spec(place, model, "caa")).behaviors["greeting"].dev
    tuned = spec(place, model, "caa", layer="auto")
    behavior = make_plan(tuned).behaviors["greeting"]
    assert len(behavior.dev) == 8 and len(behavior.train) == 12
    row = by_cell(run(tuned, silent, out=Path("out")).rows)["greeting/caa/pos/1"]
    choices = json.loads(Path("out/choices.json").read_text())["choices"]
    best = max(choices[0]["trials"], key=lambda trial: trial["two_sided"])
    assert len(choices[0]["trials"]) == 4
    assert row.layer == row.settings["caa.layer"] == best["settings"]["layer"]


def test_a_list_of_settings_multiplies_cells_that_share_a_fit(place: Path, model: str) -> None:
    listed = spec(place, model, "caa", layer="auto", settings={"caa": {"layer": ["0", "2"]}})
    rows = by_cell(run(listed, silent, out=Path("out")).rows)
    assert rows["greeting/caa[caa.layer=0]/pos/1"].layer == 0
    assert rows["greeting/caa[caa.layer=2]/neg/1"].layer == 2
    assert len(list(Path("checkpoints").glob("caa-*"))) == 1


def test_a_stack_with_every_direction_fixed_is_one_cell(place: Path, model: str) -> None:
    cells = [cell.key for cell in make_plan(spec(place, model, "sysprompt:pos+caa:neg", "sysprompt:pos+caa")).cells]
    assert cells == [
        "greeting/baseline",
        "greeting/sysprompt:pos+caa:neg/neg/1",
        "greeting/sysprompt:pos+caa/pos/1",
        "greeting/sysprompt:pos+caa/neg/1",
    ]


@pytest.mark.timeout(1200)
def test_all_of_the_papers_data_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lm = tiny_lm(num_hidden_layers=1)  # the questions are long, and what they come to proves nothing
    lm.model.save_pretrained("shallow")
    lm.tokenizer.save_pretrained("shallow")
    prompted = Specification(
        ModelSource("shallow"),
        stacks=("sysprompt",),
        data=paper(),
        knowledge="none",
        train_items=10,
        layer="0",
        orders="given",
        measure="letters",
        allow_leaks=True,
    )
    rows = run(prompted, silent, out=Path("prompted")).rows
    assert [(row.status, row.n_items) for row in rows] == [("done", 50)] * 7 * 3
    # One pass asks all behaviors' vectors: a system prompt would read 570 long questions once more for each behavior.
    steered = replace(prompted, stacks=("caa",), knowledge="mmlu")
    rows = run(steered, silent, out=Path("out")).rows
    assert [(row.status, row.n_items, row.knowledge_set) for row in rows] == [("done", 50, "mmlu")] * 7 * 3
    with Path("out/results.jsonl").open() as file:
        asked = [json.loads(line) for line in file]
    knowledge = {row["item"] for row in asked if row["evaluation"] == "knowledge"}
    assert len(knowledge) == 570
