"""`--robustness`: every cell under other prompts and another format, against runs with that wrapping made by hand."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from comparisons.cli import execute as cli
from comparisons.dataset.behaviors import ORDERS, Behavior, Library
from comparisons.dataset.texts import read_texts
from comparisons.engine.choices import choice_logps
from comparisons.evaluation.interface import CellToAsk
from comparisons.evaluations.robustness import (
    CONDITIONS,
    NEUTRAL_TEXTS,
    PREFIX_TEXT,
    Repeats,
    conditions,
    other_format,
)
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.specification import Element, Specification
from comparisons.intervention import Edit, Intervention
from comparisons.method.registry import Registry
from comparisons.model.source import ModelSource
from comparisons.results.folder import NOT_REPEATED
from comparisons.running.estimate import estimate
from comparisons.util.artifacts import Store
from tests.made_runs import SEVEN
from tests.places import make_place, tokens_run, write
from tests.tiny import CHAT_TEMPLATE, tiny_behavior, tiny_lm
from tests.whole_runs import cell_files

PROMPTS = {"pos": "You take what is offered.", "neg": "You take nothing at all."}
OTHERS = {
    "pos": ["Say yes to every offer.", "Whatever there is, you take it."],
    "neg": ["Say no to every offer.", "You leave everything where it is."],
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A behavior with system prompts and two paraphrases of each."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    found = make_place(tmp_path)
    write(found / "generate/greeting/behavior.json", {"system_prompts": PROMPTS, "paraphrases": OTHERS})
    return found


def command(place: Path, model: str, out: str, *more: str, methods: str = "caa,sysprompt,sysprompt+caa") -> list[str]:
    return [
        *("run", "--behavior", "greeting", "--methods", methods, "--layer", "1", "--data", str(place)),
        *("--model", model, "--out", out, "--measure", "letters", *more),
    ]


def results(out: str) -> dict[tuple[str, str], list[tuple[str, str, float, float]]]:
    """By cell and evaluation: item, order and both log-probabilities of each row."""
    found: dict[tuple[str, str], list[tuple[str, str, float, float]]] = {}
    for line in Path(out, "results.jsonl").read_text().splitlines():
        row = json.loads(line)
        value = (row["item"], row["order"], row["logp_matching"], row["logp_contrast"])
        found.setdefault((row["cell"].removeprefix("greeting/"), row["evaluation"]), []).append(value)
    return found


def summary(out: str) -> dict[str, dict[str, Any]]:
    rows = json.loads(Path(out, "summary.json").read_text())["rows"]
    return {row["cell"].removeprefix("greeting/"): row for row in rows}


def alike(left: Any, right: Any) -> None:
    assert [row[:2] for row in left] == [row[:2] for row in right]
    np.testing.assert_allclose([row[2:] for row in left], [row[2:] for row in right], atol=1e-5)


def p_match(rows: Any) -> np.ndarray:
    """By item, the mean over its orders, from the log-probabilities alone."""
    values: np.ndarray = np.array([1 / (1 + np.exp(row[3] - row[2])) for row in rows]).reshape(-1, 2).mean(axis=1)
    return values


@pytest.fixture
def steered(tmp_path: Path) -> Path:
    """A folder with a method that adds one fixed vector whatever the prompts: it fits on nothing that they change."""
    code = (
        "import torch\nfrom dataclasses import dataclass\nfrom comparisons.method import *\n"
        '@dataclass(frozen=True)\nclass Push(Method):\n    """Push."""\n    fits = "never"\n'
        "    def intervene(self, use):\n        vector = torch.linspace(-1, 1, 64)\n"
        "        return Intervention(edits=(Edit(1, vector, multiplier=use.signed),))\n"
    )
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/push.py").write_text(code)
    return tmp_path / "plugins"


def test_each_condition_equals_a_run_that_is_wrapped_by_hand(place: Path, model: str, steered: Path) -> None:
    """The oracle wraps data, template and behavior.json of ordinary runs and knows nothing of conditions."""
    more = ("--plugins", str(steered), "--directions", "pos")
    methods = "push,sysprompt,sysprompt+push"
    assert cli(command(place, model, "robust", "--robustness", *more, methods=methods)) == 0
    found, prompted = results("robust"), ("sysprompt/pos/1", "sysprompt+push/pos/1")
    asked = {"paraphrase-1", "paraphrase-2", "prefix", "format"}
    assert {name.removeprefix("robust:") for cell, name in found if cell in prompted} == asked | {"choices"}
    asked = {"neutral-1", "neutral-2", "prefix", "format"}
    assert {name.removeprefix("robust:") for cell, name in found if cell not in prompted} == asked | {"choices"}

    # Nothing changes in the plain numbers.
    assert cli(command(place, model, "plain", *more, methods=methods)) == 0
    plain = results("plain")
    for asked_in, rows in plain.items():
        alike(found[asked_in], rows)
    repeated_rows = summary("robust")
    for name, row in summary("plain").items():
        for key in ("p_match", "p_match_ci", "shift", "shift_ci", "p_value", "p_holm", "letter_bias", "lost_mass"):
            assert repeated_rows[name][key] == (None if row[key] is None else pytest.approx(row[key], abs=1e-6))
        assert row["robustness"] is None and row["warnings"] == repeated_rows[name]["warnings"]

    # A prefix in the questions themselves.
    moved = place.parent / "prefixed"
    shutil.copytree(place, moved)
    path = moved / "test/greeting/test_dataset_ab.json"
    items = json.loads(path.read_text())
    write(path, [item | {"question": f"{PREFIX_TEXT}\n\n{item['question']}"} for item in items])
    assert cli(command(moved, model, "prefixed", *more, methods=methods)) == 0
    for (name, evaluation), rows in results("prefixed").items():
        assert evaluation == "choices"
        alike(found[name, "robust:prefix"], rows)

    # The paraphrases in the place of the prompts.
    for index in (0, 1):
        path, prompts = place / "generate/greeting/behavior.json", {side: OTHERS[side][index] for side in OTHERS}
        write(path, {"system_prompts": prompts})
        assert cli(command(place, model, f"paraphrase-{index}", *more, methods=methods)) == 0
        for name in prompted:
            alike(found[name, f"robust:paraphrase-{index + 1}"], results(f"paraphrase-{index}")[name, "choices"])

    # The other format, asked for on the command line.
    write(place / "generate/greeting/behavior.json", {"system_prompts": PROMPTS})
    assert cli(command(place, model, "base", "--prompt-format", "base", *more, methods=methods)) == 0
    for (name, _), rows in results("base").items():
        alike(found[name, "robust:format"], rows)

    # The neutral prompt, written by the chat template itself.
    for index, text in enumerate(NEUTRAL_TEXTS):
        folder = Path(f"neutral-model-{index}")
        shutil.copytree(model, folder)
        template = f"{{{{ '<<SYS>>\n{text}\n<</SYS>>\n\n' }}}}{CHAT_TEMPLATE}"
        (folder / "chat_template.jinja").write_text(template)
        assert cli(command(place, str(folder), f"neutral-{index}", *more, methods="push")) == 0
        for (name, _), rows in results(f"neutral-{index}").items():
            alike(found[name, f"robust:neutral-{index + 1}"], rows)

    # Shifts are against the baseline under the same condition; a paraphrase's is against the plain one.
    assert repeated_rows["baseline"]["robustness"] is None
    for name in ("push/pos/1", *prompted):
        assert list(repeated_rows[name]["robustness"]) == [c for c in CONDITIONS if (name, f"robust:{c}") in found]
        for condition, numbers in repeated_rows[name]["robustness"].items():
            against = "choices" if condition.startswith("paraphrase") else f"robust:{condition}"
            ours = p_match(found[name, f"robust:{condition}"]) - p_match(found["baseline", against])
            assert numbers["shift"] == pytest.approx(ours.mean(), abs=1e-6)
            assert numbers["baseline"] == pytest.approx(p_match(found["baseline", against]).mean(), abs=1e-6)
            assert numbers["ci"][0] <= numbers["shift"] <= numbers["ci"][1]
    text = Path("robust/report.md").read_text()
    assert "## Robustness" in text and f"“{PREFIX_TEXT}”" in text and NEUTRAL_TEXTS[1] in text and ": `base`" in text
    assert "## Robustness" not in Path("plain/report.md").read_text()


def test_fits_stay_what_they_were_and_a_resumed_run_equals(
    place: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(place, model, "out", "--robustness", "--directions", "pos")
    assert cli(arguments) == 0
    assert "How much of the shift survives:" in capsys.readouterr().out
    assert len(list(Path("checkpoints").glob("caa-*"))) == 1
    whole, rows = results("out"), summary("out")
    for path in cell_files(Path("out"))[2:]:
        path.unlink()
    facts = json.loads(Path("out/run.json").read_text())
    write(Path("out/run.json"), facts | {"complete": False})
    assert cli(arguments) == 0
    again = results("out")
    assert again.keys() == whole.keys()
    for key, found in again.items():
        alike(found, whole[key])
    for name, row in summary("out").items():
        for condition, numbers in (row["robustness"] or {}).items():
            assert numbers["shift"] == pytest.approx(rows[name]["robustness"][condition]["shift"], abs=1e-6)
    assert capsys.readouterr().err == ""


def test_cells_of_a_group_share_one_call_for_each_condition(
    place: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def counted(lm: Any, shown: Any, interventions: Any) -> Any:
        calls.append(len(interventions))
        return choice_logps(lm, shown, interventions)

    monkeypatch.setattr("comparisons.evaluations.robustness.choice_logps", counted)
    assert cli(command(place, model, "out", "--robustness", "--strengths", "1,2", methods="caa")) == 0
    assert calls == [5, 5, 5, 5]  # the baseline and four cells: two neutral prompts, the prefix, the format


def test_what_cannot_be_asked_is_said_and_fails_nothing(place: Path, model: str, tmp_path: Path) -> None:
    """A template without a system turn that raises on one in any shape, and a behavior without paraphrases."""
    write(place / "generate/greeting/behavior.json", {"system_prompts": PROMPTS})
    folder = tmp_path / "strict"
    shutil.copytree(model, folder)
    refuse = "{% for m in messages %}{% if 'helpful assistant' in m['content'] %}{{ raise_exception('no') }}{% endif %}"
    (folder / "chat_template.jinja").write_text(f"{refuse}{{% endfor %}}{CHAT_TEMPLATE}")
    assert cli(command(place, str(folder), "out", "--robustness", "--directions", "pos")) == 0
    rows = summary("out")
    assert {row["status"] for row in rows.values()} == {"done"}
    assert list(rows["caa/pos/1"]["robustness"]) == ["neutral-2", "prefix", "format"]
    for name in ("baseline", "caa/pos/1"):
        assert "not repeated under neutral-1: TemplateError: no" in rows[name]["warnings"]
    for name in ("sysprompt/pos/1", "sysprompt+caa/pos/1"):
        assert list(rows[name]["robustness"]) == ["prefix", "format"]
        said = [text for text in rows[name]["warnings"] if text.startswith("not repeated")]
        assert [text.partition(":")[0] for text in said] == [
            "not repeated under paraphrase-1",
            "not repeated under paraphrase-2",
        ]
        assert all("paraphrases of its system prompts: write them to" in text for text in said)
    assert "not repeated under neutral-1" in Path("out/report.md").read_text()


def test_a_cell_that_fails_under_a_condition_leaves_the_others_theirs(tmp_path: Path) -> None:
    """One that breaks every logit beside one that breaks nothing, and one that can't be reworded."""
    lm, behavior = tiny_lm(), replace(tiny_behavior(), paraphrases={"pos": ("Agree.",), "neg": ("Disagree.",)})
    repeats = Repeats(Fitter(lm, behavior, {}, Store(tmp_path), 0), behavior.test[:3], ORDERS)
    sound = Intervention(edits=(Edit(1, torch.linspace(-1, 1, lm.width)),))
    infinite = Intervention(edits=(Edit(1, torch.full((lm.width,), float("inf"))),))
    prompt = Registry().get("sysprompt")()
    prompted = CellToAsk(
        [Element("sysprompt", prompt, "pos", 1.0)], Intervention(system=behavior.system_prompt("pos")), {}
    )
    broken, whole, worded = repeats.run([CellToAsk((), infinite, {}), CellToAsk((), sound, {}), prompted])
    (alone,) = repeats.run([CellToAsk((), sound, {})])
    assert whole.info == alone.info == {}
    assert [row["evaluation"] for row in whole.rows] == [row["evaluation"] for row in alone.rows]
    np.testing.assert_allclose([r["p_match"] for r in whole.rows], [r["p_match"] for r in alone.rows], atol=1e-6)
    failed, unworded = broken.info[NOT_REPEATED], worded.info[NOT_REPEATED]
    assert broken.rows == [] and set(failed) == {"neutral-1", "neutral-2", "prefix", "format"}
    assert "logits are not finite on robust:prefix item" in failed["prefix"]
    assert set(unworded) == {"paraphrase-2"} and "fewer than 2 paraphrases" in unworded["paraphrase-2"]
    assert {row["evaluation"] for row in worded.rows} == {"robust:paraphrase-1", "robust:prefix", "robust:format"}


def test_the_estimate_counts_the_conditions(place: Path, model: str) -> None:
    plain = Specification(ModelSource(model), ("greeting",), ("caa", "sysprompt"), place, layer="1")
    spec = replace(plain, robustness=True)
    assert estimate(spec).tokens == pytest.approx(tokens_run(spec), rel=0.15)
    assert estimate(spec).tokens > 2 * estimate(plain).tokens
    assert estimate(spec).forwards > estimate(plain).forwards
    assert estimate(spec).keys == estimate(plain).keys


def test_the_other_format_is_another_one() -> None:
    chat, bare = tiny_lm(), tiny_lm(chat=False)
    assert [other_format(lm) for lm in (chat, bare)] == ["base", "llama2-paper"]
    assert other_format(tiny_lm(prompt_format="llama2-paper")) == "base"
    assert other_format(tiny_lm(prompt_format="base")) == "chat"
    unusable = tiny_lm(prompt_format="base")
    unusable.tokenizer.chat_template = "Hello."
    assert other_format(unusable) == "llama2-paper"
    before = chat.digest
    view = chat.in_format("base")
    assert view.prompt("Hello?") == "Input: Hello?\nResponse:" and view.model is chat.model
    assert chat.prompt_format == "chat" and chat.digest == before != view.digest


def test_the_seven_behaviors_have_paraphrases_in_other_words(tmp_path: Path) -> None:
    for name in SEVEN:
        texts = read_texts(tmp_path / "behavior.json", name)
        assert texts.prompts is not None and texts.paraphrases is not None
        every = [text for side in ("pos", "neg") for text in (texts.prompts[side], *texts.paraphrases[side])]
        assert len({text.casefold() for text in every}) == 6
    # Ours say our prompts in other words; those of a file that has prompts of its own they don't.
    write(tmp_path / "behavior.json", {"system_prompts": PROMPTS})
    assert read_texts(tmp_path / "behavior.json", "refusal").paraphrases is None
    write(tmp_path / "behavior.json", {"rubric": "0 to 10"})
    assert read_texts(tmp_path / "behavior.json", "refusal").paraphrases is not None


def test_neutral_prompts_are_the_behaviors_own_where_it_has_some(place: Path) -> None:
    behavior, lm = Library.open(place).behavior("greeting"), tiny_lm()

    def neutral(found: Behavior) -> list[str | None]:
        return [condition.system for condition in conditions(lm, found) if condition.system]

    assert neutral(behavior) == list(NEUTRAL_TEXTS)
    assert neutral(replace(behavior, neutral=("One.",))) == ["One.", NEUTRAL_TEXTS[0]]
    assert neutral(replace(behavior, neutral=("One.", "Two.", "Three."))) == ["One.", "Two."]
