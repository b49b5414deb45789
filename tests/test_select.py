"""`--select`: settings and strengths at a matched knowledge cost, chosen on dev alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comparisons import stats
from comparisons.cli import execute as cli
from comparisons.dataset.behaviors import Library
from comparisons.dataset.splits import draw
from comparisons.engine.choices import choice_logps
from comparisons.engine.generate import generate
from comparisons.evaluation.questions import questions
from comparisons.experiment.fitting import Fitter
from comparisons.experiment.limits import parse_limits
from comparisons.experiment.specification import Specification
from comparisons.intervention import Edit, Intervention
from comparisons.judges.coherence import coherence
from comparisons.method import read_vectors
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.results.folder import RunFolder
from comparisons.running.choosing import candidates_each
from comparisons.running.estimate import estimate
from comparisons.running.planning import make_plan
from comparisons.running.ray_executor import RayExecutor
from comparisons.running.ray_pool import ClusterOptions
from comparisons.running.trials import element_trials, stacks_of
from comparisons.util.artifacts import Store
from comparisons.util.errors import CompareError
from tests.places import few_questions, tokens_run
from tests.whole_runs import cell_files

pytestmark = pytest.mark.slow

CHOOSING = (
    "--train-items 16 --test-items 2 --knowledge none --measure letters --open-ended --tokens 12 "
    "--set sft.epochs=2 --set sft.learning_rate=3e-3 --set sft.target_modules=q_proj"
)
STRENGTHS = ("0.25", "0.5", "1", "2")


def command(out: str, limit: str, *more: str, methods: str = "caa") -> list[str]:
    return [
        *("run", "--behavior", "refusal", "--methods", methods, "--strengths", ",".join(STRENGTHS), "--select", limit),
        *("--train-items", "80", "--test-items", "12", "--knowledge-items", "12", "--layer", "1", "--out", out, *more),
    ]  # fmt: skip


def found(out: str) -> dict[str, dict[str, Any]]:
    return {row["cell"]: row for row in json.loads(Path(out, "summary.json").read_text())["rows"]}


def choices(out: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(Path(out, "choices.json").read_text())["choices"]
    return records


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The place of a run, "tight", of one fit."""
    folder = tmp_path_factory.mktemp("select")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli(command("tight", "cost<=0.05")) == 0
    return folder


def test_a_tight_limit_takes_a_lower_strength_than_a_loose_one(tight: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tight)
    assert cli(command("loose", "cost<=0.5")) == 0
    loose, cells = found("loose"), found("tight")
    assert set(loose) == {"refusal/baseline", "refusal/caa/pos/1", "refusal/caa/neg/1"}
    assert set(cells) == {"refusal/baseline", "refusal/caa/pos/0.5", "refusal/caa/neg/0.5"}
    assert cells["refusal/caa/pos/0.5"]["tuning_trials"] == 4
    report = Path("tight/report.md").read_text()
    assert "has an upper bound (in brackets) of at most 0.05 on 80 questions" in report
    assert "strength=0.5 | +0." in report
    assert "(chosen)" in report
    test = cells["refusal/caa/pos/0.5"]["cost_test"]
    assert (test["verdict"], test["limit"], cells["refusal/caa/pos/0.5"]["n_knowledge"]) == ("not testable", 0.05, 12)
    assert "on test not shown to be within the limit of 0.05 (at most 0." in report


def test_the_trials_are_those_of_a_hand_made_loop_and_no_test_question_is_among_them(
    tight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tight)
    (record,) = choices("tight")
    plan = make_plan(
        Specification(
            ModelSource(),
            ("refusal",),
            ("caa",),
            strengths=(0.25, 0.5, 1.0, 2.0),
            layer="1",
            select="cost<=0.05",
            train_items=80,
            test_items=12,
            knowledge_items=12,
        )
    )
    dev, facts, lm = plan.behaviors["refusal"].dev, plan.knowledge_dev, load(ModelSource())
    vectors = [read_vectors(path.parent) for path in Path("checkpoints").rglob("vectors.safetensors")]
    assert len(vectors) == 1
    tried = [Intervention()]
    for strength in (0.25, 0.5, 1.0, 2.0):
        tried += [Intervention(edits=(Edit(1, vectors[0][1], multiplier=sign * strength),)) for sign in (1.0, -1.0)]
    for items, kind in ((dev, "shift"), (facts, "cost")):
        asked = questions(items)
        logps = choice_logps(lm, [q.shown for q in asked], tried).logps.astype(float)
        p = 1 / (1 + np.exp(logps[..., 1] - logps[..., 0]))
        each = np.stack(
            [p[:, [i for i, q in enumerate(asked) if q.item is item]].mean(axis=1) for item in items], axis=1
        )
        for i, trial in enumerate(record["trials"]):
            pos, neg = each[1 + 2 * i] - each[0], each[2 + 2 * i] - each[0]
            if kind == "shift":
                assert trial["two_sided"] == pytest.approx((pos.mean() - neg.mean()) / 2, abs=1e-5)
            else:
                assert (trial["cost_pos"], trial["cost_neg"]) == pytest.approx((-pos.mean(), -neg.mean()), abs=1e-5)
                labels = [item.template or item.id for item in facts]
                bounds = [stats.cost_bounds(-one, clusters=labels, seed=0).largest for one in (pos, neg)]
                assert trial["cost_bound"] == pytest.approx(max(bound or 0 for bound in bounds), abs=1e-5)
    within = [i for i, t in enumerate(record["trials"]) if t["cost_bound"] <= 0.05 and not t["broken"]]
    assert record["selected"] == max(within, key=lambda i: record["trials"][i]["two_sided"])
    asked_on_test = {row["item"] for row in rows_of("tight", "knowledge")}
    assert asked_on_test
    assert not asked_on_test & {item.id for item in facts}


def test_what_keeps_within_no_limit_fails_and_says_how_near_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(command("out", "cost<=0.05", methods="caa,sysprompt")) == 1
    rows = found("out")
    assert [row["status"] for row in rows.values() if row["method"] == "sysprompt"] == ["failed", "failed"]
    failed = [row for row in rows.values() if row["status"] == "failed"]
    assert all("keeps cost<=0.05 on dev: the nearest" in row["error"] for row in failed)
    assert all(row["shift"] is None for row in failed)
    assert "none within the limit" in Path("out/report.md").read_text()


def test_a_resumed_run_selects_the_same_without_trying_again(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = command("out", "cost<=0.5", "--data", str(few_questions(Path("few"))))
    cli(arguments)
    whole = found("out")
    for path in cell_files(Path("out"))[1:]:
        path.unlink()
    for name in ("summary.json", "run.json"):
        run = json.loads(Path("out", name).read_text())
        if name == "run.json":
            Path("out", name).write_text(json.dumps({**run, "complete": False}))

    def never(*arguments: Any) -> None:
        raise AssertionError("tried again")

    monkeypatch.setattr("comparisons.running.choosing.select", never)
    assert cli(arguments) == 0
    again = found("out")
    assert again.keys() == whole.keys()
    for cell, row in again.items():
        assert row["shift"] == (None if whole[cell]["shift"] is None else pytest.approx(whole[cell]["shift"], abs=1e-6))


def test_a_stack_takes_its_elements_doses_as_chosen_alone() -> None:
    few = ("--data", str(few_questions(Path("few"))), "--train-items", "24")
    arguments = command("out", "cost<=0.5", *few, "--set", "sft.learning_rate=1e-3", "--set", "sft.epochs=1")
    cli([text if text != "caa" else "sft,sft+caa" for text in arguments])
    alone = next(record for record in choices("out") if record["method"] == "sft")
    stack = next(row for row in found("out").values() if row["method"] == "sft+caa")
    assert stack["settings"]["sft.strength"] == alone["chosen"]["strength"]


def test_generate_of_a_run_uses_the_layer_and_epoch_that_it_chose(capsys: pytest.CaptureFixture[str]) -> None:
    """Free answers as those of the run itself, on one of its own prompts."""
    given = f"--behavior refusal --methods caa,sft --directions pos {CHOOSING} --out out"
    assert cli(["run", *given.split(), "--data", str(few_questions(Path("few")))]) == 0
    chosen = {name for record in choices("out") for name in record["chosen"]}
    assert chosen >= {"layer", "epoch"}
    rows = rows_of("out", "open_ended")
    prompt = rows[-1]["prompt"]
    own = {(r["method"], r["direction"], r["strength"]): r["answer"] for r in rows if r["prompt"] == prompt}
    capsys.readouterr()
    assert cli(["generate", "out", prompt, "--tokens", "12", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {(line["method"], line["direction"], line["strength"] or 0.0): line["answer"] for line in lines}
    assert found == own and len(found) == 3


def test_kl_and_coherence_are_limited_as_a_cost_is_and_tested_again_on_test() -> None:
    assert cli(command("out", "kl<=0.2,cost<=0.5,coherence>=9", "--judge", "rules", "--tokens", "30")) == 0
    (record,) = choices("out")
    assert record["limits"] == {"kl": 0.2, "cost": 0.5, "coherence": 9}
    within = [t for t in record["trials"] if t["kl_bound"] <= 0.2 and t["cost_bound"] <= 0.5]
    within = [t for t in within if t["coherence_bound"] >= 9]
    assert 0 < len(within) < len(record["trials"]) and record["chosen"] in [trial["settings"] for trial in within]
    divergent = [trial["kl_bound"] for trial in record["trials"]]
    assert divergent == sorted(divergent)
    assert all(t["kl_bound"] >= max(t["kl_pos"], t["kl_neg"]) for t in record["trials"])
    cells = [row for row in found("out").values() if row["method"] == "caa"]
    assert all(row["measured"]["kl"]["kl_limit"] == 0.2 and row["kl"] > 0 for row in cells)
    rated, labels = coherence_on_dev({row["prompt"] for row in rows_of("out", "open_ended")})
    for trial, both in zip(record["trials"], rated, strict=True):
        assert (trial["coherence_pos"], trial["coherence_neg"]) == pytest.approx([v.mean() for v in both], abs=1e-6)
        lows = [bounds.low for v in both if (bounds := stats.bca_interval(v, clusters=labels, level=0.9, seed=0))]
        assert len(lows) == 2 and trial["coherence_bound"] == pytest.approx(min(lows), abs=1e-5)
    for row in cells:
        test, own = row["measured"]["coherence"], [r for r in rows_of("out", "open_ended") if r["cell"] == row["cell"]]
        assert (test["judge"], test["limit"]) == ("rules", 9) and test["bound"] <= row["coherence"]
        assert row["coherence"] == pytest.approx(np.mean([r["coherence"]["rules"] for r in own]))
    text = " ".join(Path("out/report.md").read_text().split())
    assert "within the limit of 0.2" in text and "whose KL has an upper bound (in brackets) of at most 0.2" in text
    assert "within the limit of 9" in text and "whose coherence has a lower bound (in brackets) of at least 9" in text


def rows_of(out: str, evaluation: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in Path(out, "results.jsonl").read_text().splitlines()]
    return [row for row in rows if row["evaluation"] == evaluation]


def coherence_on_dev(asked_on_test: set[str]) -> tuple[list[list[np.ndarray]], list[str]]:
    """[strength][direction][prompt] the coherence of answers to the prompts held out, and the prompts' clusters."""
    prompts, lm = draw(Library.open("pocket").behavior("refusal").open_ended, 20, 0), load(ModelSource())
    held = [prompt.question for prompt in prompts]
    assert asked_on_test and not asked_on_test & {*held}
    (file,) = Path("checkpoints").rglob("vectors.safetensors")
    vector, found = read_vectors(file.parent)[1], []
    for strength in map(float, STRENGTHS):
        edits = [Edit(1, vector, multiplier=sign * strength) for sign in (1.0, -1.0)]
        texts = [generate(lm, held, [Intervention(edits=(edit,))], 30)[0] for edit in edits]
        found.append([np.array([coherence(*each).score for each in zip(held, own, strict=True)]) for own in texts])
    return found, [prompt.template or prompt.id for prompt in prompts]


@pytest.mark.parametrize(
    "limit",
    [
        *("coherence<=7", "coherence>=11", "cost>=0.02", "cost<0.02", "0.02", "cost<=", "cost<=-1", "cost<=nan"),
        *("cost<=inf", "shift>=1", ""),
    ],
)
def test_a_limit_that_is_none_is_refused(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(command("out", limit)) == 2
    assert "--select takes a limit" in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--knowledge", "none"], "choose a set by --knowledge"),
        (["--strengths", "0"], "a strength above 0"),
        (["--select", "coherence>=7"], "needs free answers and a judge that rates them: add --judge rules"),
        (["--select", "coherence>=7", "--judge", "pairwise:rules"], "no judge of this run rates coherence"),
        (["--select", "coherence>=7", "--judge", "rules", "--executor", "ray"], "leave out --executor ray"),
        (["--select", "cost<=0.02"], "cost<=0.02: the 80 knowledge questions that are held out to choose by"),
        (["--select", "cost<=0.03"], "can't show a cost that small: allow at least 0.037."),
    ],
)
def test_what_cannot_be_selected_is_refused(more: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(command("out", "cost<=0.1", *more)) == 2
    assert says in capsys.readouterr().err


def test_limits_and_equally_many_candidates() -> None:
    assert parse_limits("cost<=0.02") == parse_limits(" cost <= 2e-2 ") == {"cost": 0.02}
    assert parse_limits("kl<=0.1, cost<=0.02") == {"kl": 0.1, "cost": 0.02}
    for text in ("cost<=0.02 or so", "cost<=0.02,cost<=0.03", "cost<=0.02,"):
        with pytest.raises(CompareError):
            parse_limits(text)
    plan = make_plan(Specification(ModelSource(), ("refusal",), ("caa", "sft", "sysprompt"), strengths=(0.5, 1.0)))
    assert candidates_each(plan, 32) == 9
    assert candidates_each(plan, 6) == 6
    for group in stacks_of(plan.cells):
        trials = element_trials(group, 0, 32, 9)
        assert len(trials) == (1 if group[0].label == "sysprompt" else 18)
        if group[0].label == "caa":
            # Every layer that is tried is tried at every strength.
            layers = [trial.settings["layer"] for trial in trials]
            assert layers == sorted(layers)
            assert (layers[0], layers[-1]) == (0, 31)
            assert {layers.count(layer) for layer in layers} == {2}


def test_a_trial_that_fails_is_one_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    build = Fitter.build

    def failing(self: Fitter, elements: Any) -> Any:
        if elements and elements[-1].strength == 0.5:
            raise RuntimeError("out of luck")
        return build(self, elements)

    monkeypatch.setattr(Fitter, "build", failing)
    assert cli(command("out", "cost<=0.05")) == 0
    (record,) = choices("out")
    assert [trial.get("error") for trial in record["trials"]] == [None, "RuntimeError: out of luck", None, None]
    assert record["trials"][record["selected"]]["settings"] != {"strength": 0.5}
    assert "strength=0.5 | failed" in Path("out/report.md").read_text()


def test_without_an_interval_nothing_keeps_within_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comparisons.stats.costs.bca_interval", lambda *arguments, **more: None)
    assert cli(command("out", "cost<=0.5")) == 1
    assert all(row["status"] == "failed" for row in found("out").values() if row["method"] != "baseline")


def test_knowledge_questions_are_held_out_by_their_content() -> None:
    facts = Library.open("pocket").knowledge("auto")
    assert facts is not None
    rest, dev = facts.with_dev(0)
    assert {item.id for item in rest.items}.isdisjoint(item.id for item in dev)
    assert len(rest.items) + len(dev) == len(facts.items)
    assert facts.with_dev(1)[1] != dev
    with pytest.raises(CompareError, match="too few to choose by"):
        facts.limited(15, 0).with_dev(0)


def test_a_cluster_reads_what_was_selected_and_tries_nothing_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object) -> None:
        tried.append(args)
        raise AssertionError("the weights are where the workers are")

    tried: list[object] = []
    spec = Specification(ModelSource(), ("refusal",), ("caa", "sysprompt"), layer="1", select="cost<=0.05")
    plan, folder = make_plan(spec), RunFolder(Path("out"), "digest", fresh=True)
    monkeypatch.setattr("comparisons.running.choosing.select", never)
    kept = RayExecutor(plan, Store(Path("store")), ClusterOptions())._selected(folder).cells
    folder.close()
    assert not tried
    assert [cell.key for cell in kept] == [cell.key for cell in plan.cells]


def test_the_estimate_counts_the_trials() -> None:
    spec = Specification(
        ModelSource(), ("refusal",), ("caa",), layer="1", strengths=(0.5, 1.0), select="cost<=0.1", train_items=80
    )
    assert estimate(spec).tokens == pytest.approx(tokens_run(spec), rel=0.2)
