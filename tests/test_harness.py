"""Tasks of lm-evaluation-harness under interventions: the harness's own numbers on the same model, and a whole run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from comparisons.cli import execute
from comparisons.dataset.behaviors import Library
from comparisons.evaluation.harness import HarnessSet, harness_rows, harness_sizes, read_tasks
from comparisons.evaluation.requests import Answering, HarnessRequests, Requests, writing
from comparisons.experiment.specification import Specification
from comparisons.intervention import Edit, Intervention
from comparisons.model.lm import LM
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.results.folder import read_summary
from comparisons.running.estimate import estimate
from comparisons.util.errors import CompareError
from tests.tiny import tiny_lm

pytestmark = pytest.mark.slow

CHOICE = """task: pocket_facts
dataset_path: json
dataset_kwargs:
  data_files:
    test: facts.jsonl
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}\\nChoices:\\n (A) {{choices[0]}}\\n (B) {{choices[1]}}"
doc_to_choice: ["(A) it is", "(B)"]
doc_to_target: answer
metric_list:
  - metric: acc
  - metric: acc_norm
"""
WRITE = """task: pocket_write
dataset_path: json
dataset_kwargs:
  data_files:
    test: facts.jsonl
test_split: test
fewshot_split: test
num_fewshot: 1
output_type: generate_until
doc_to_text: "{{question}}\\nChoices:\\n (A) {{choices[0]}}\\n (B) {{choices[1]}}"
doc_to_target: "{{['(A)', '(B)'][answer]}}"
generation_kwargs:
  until: [" is"]
  max_gen_toks: 6
metric_list:
  - metric: exact_match
"""
WHOLE = CHOICE.replace("pocket_facts", "pocket_whole").replace("multiple_choice", "loglikelihood_rolling")
BRIEF = WRITE.replace("pocket_write", "pocket_brief").replace("max_gen_toks: 6", "max_new_tokens: 1")
WARM = WRITE.replace("pocket_write", "pocket_warm").replace("max_gen_toks: 6", "temperature: 0.7")
SMALL = ["--train-items", "40", "--layer", "1", "--test-items", "12", "--knowledge-items", "12"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with two tasks and their documents."""
    folder = tmp_path_factory.mktemp("harness")
    knowledge = Library.open("pocket").knowledge("auto")
    assert knowledge is not None
    records = [
        {
            "question": item.stem,
            "choices": [choice.text for choice in item.choices],
            "answer": [choice.letter for choice in item.choices].index(item.matching),
        }
        for item in knowledge.items[:16]
    ]
    (folder / "facts.jsonl").write_text("\n".join(map(json.dumps, records)))
    tasks = {"facts": CHOICE, "write": WRITE, "whole": WHOLE, "brief": BRIEF, "warm": WARM}
    for name, text in tasks.items():
        (folder / f"{name}.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module", params=["chat", "base"])
def lm(request: pytest.FixtureRequest) -> LM:
    return load(ModelSource()) if request.param == "chat" else tiny_lm(chat=False)


@contextmanager
def added(lm: LM, layer: int, vector: Any) -> Iterator[None]:
    """The vector at every position of a block's output, by a plain hook."""

    def add(module: Any, inputs: Any, output: Any) -> Any:
        return (output[0] + vector, *output[1:]) if isinstance(output, tuple) else output + vector

    handle = lm.blocks[layer].register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def theirs(lm: LM, known: HarnessSet, system: str | None = None) -> dict[str, tuple[float, list[Any]]]:
    """Value and answers of each document, by the harness's own class for models of transformers."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    chat = lm.prompt_format == "chat"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)  # which asks pip and git
        found = simple_evaluate(
            model=HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=3),
            tasks=list(known.tasks.names),
            task_manager=TaskManager(include_path=".", include_defaults=False),
            bootstrap_iters=0,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
            system_instruction=system,
        )
    assert found is not None
    return {
        f"{task}/{one['doc_id']}": (one[known.metrics[task][0]], one["filtered_resps"])
        for task, records in found["samples"].items()
        for one in records
    }


def check(lm: LM, known: HarnessSet, intervention: Intervention, expected: dict[str, tuple[float, list[Any]]]) -> None:
    (rows,) = harness_rows(lm, known, [intervention], [{}])
    assert {row["item"]: row["p_match"] for row in rows} == {item: value for item, (value, _) in expected.items()}
    asked = HarnessRequests()
    records = known.tasks.run(Answering(asked), lm.prompt_format == "chat")["samples"]
    (answers,) = Requests(lm, asked, lm.prompt_format == "chat", [intervention]).answers()
    for task, own in records.items():
        for one in own:
            for arguments, said in zip(one["arguments"], expected[f"{task}/{one['doc_id']}"][1], strict=True):
                if isinstance(said, str):
                    assert answers.texts[writing(*arguments)] == said
                else:
                    assert answers.likelihoods[arguments] == pytest.approx(said[0], abs=1e-4)


def test_a_cell_has_the_harness_own_numbers(place: Path, lm: LM) -> None:
    import torch

    known = read_tasks("lm_eval:facts.yaml,write.yaml", None, 0)
    assert known.name == "lm_eval: pocket_facts (acc, 0-shot), pocket_write (exact_match, 1-shot)"
    assert len(known.items) == 32 and {item.category for item in known.items} == {"pocket_facts", "pocket_write"}
    plain = theirs(lm, known)
    check(lm, known, Intervention(), plain)
    vector = torch.randn(lm.width, generator=torch.Generator().manual_seed(0))
    with added(lm, 1, vector):
        steered = theirs(lm, known)
    assert steered != plain
    check(lm, known, Intervention(edits=(Edit(1, vector, positions="all"),)), steered)
    if lm.prompt_format == "chat":
        system = "You are an assistant that refuses."
        check(lm, known, Intervention(system=system), theirs(lm, known, system))


def test_tasks_that_ask_the_same_keep_their_own_limits(place: Path) -> None:
    """The second asks the first one's questions, and calls its limit otherwise."""
    lm = load(ModelSource())
    known = read_tasks("lm_eval:write.yaml,brief.yaml", None, 0)
    expected = theirs(lm, known)
    said = {task: {tuple(r) for i, (_, r) in expected.items() if i.startswith(task)} for task in known.metrics}
    assert said["pocket_write"] != said["pocket_brief"]
    check(lm, known, Intervention(), expected)


def test_what_a_cells_own_prompt_makes_too_long_is_left_out(place: Path) -> None:
    lm = load(ModelSource())
    known = read_tasks("lm_eval:facts.yaml", None, 0)
    asked = HarnessRequests()
    known.tasks.run(Answering(asked), chat=True)
    assert not Requests(lm, asked, True, [Intervention()]).left_out
    system = Intervention(system="You refuse. " * (lm.context or 0))
    assert Requests(lm, asked, True, [system]).left_out == set(asked.likelihoods)
    with pytest.raises(CompareError, match=r"16 questions of .* exceed the model's context"):
        harness_rows(lm, known, [system], [{}])


def test_a_run_pays_in_the_task(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--behavior", "refusal", "--methods", "caa,sysprompt", *SMALL, "--out", "out"]
    assert execute([*command, "--knowledge", "lm_eval:facts.yaml,write.yaml"]) == 0
    said = capsys.readouterr()
    assert "it/s" not in said.err and "fatal" not in said.err
    rows = [json.loads(line) for line in Path("out/results.jsonl").read_text().splitlines()]
    mine = [row for row in rows if row["evaluation"] == "knowledge"]
    by_cell: dict[str, dict[str, float]] = {}
    for row in mine:
        by_cell.setdefault(row["cell"], {})[row["item"]] = row["p_match"]
    assert {tuple(found) for found in by_cell.values()} == {tuple(by_cell["refusal/baseline"])}
    assert len(by_cell["refusal/baseline"]) == 12
    assert all(row["logp_matching"] is None and row["matching"] is None and row["order"] == "given" for row in mine)
    for row in read_summary(Path("out")).rows:
        values = by_cell[row.cell].values()
        assert row.knowledge == pytest.approx(sum(values) / 12)
        assert row.knowledge_set == "lm_eval: pocket_facts (acc, 0-shot), pocket_write (exact_match, 1-shot)"
        assert set(row.knowledge_by_category or ()) == {"pocket_facts", "pocket_write"}
        if not row.is_baseline:
            assert row.cost == pytest.approx(sum(by_cell["refusal/baseline"].values()) / 12 - (row.knowledge or 0))
    assert execute([*command, "--knowledge", "lm_eval:facts.yaml,write.yaml"]) == 0
    (place / "facts.jsonl").write_text((place / "facts.jsonl").read_text().replace('"answer": 0', '"answer": 1', 1))
    assert execute([*command, "--knowledge", "lm_eval:facts.yaml,write.yaml"]) == 2
    assert "holds a run of another specification" in capsys.readouterr().err


def test_fewer_documents_are_some_of_each_task(place: Path) -> None:
    few = read_tasks("lm_eval:facts.yaml,write.yaml", 6, 0)
    counts = {task: len(found) for task, found in (few.tasks.documents or {}).items()}
    assert counts == {"pocket_facts": 3, "pocket_write": 3}
    assert few.digest != read_tasks("lm_eval:facts.yaml,write.yaml", 6, 1).digest
    assert few.digest == read_tasks("lm_eval:facts.yaml,write.yaml", 6, 0).digest


def test_a_folders_tasks_are_all_its_files_name(place: Path, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    data = f"data_files:\n    test: {place / 'facts.jsonl'}"
    common = CHOICE.replace("task: pocket_facts\n", "").replace("data_files:\n    test: facts.jsonl", data)
    (tmp_path / "tasks/_common.yaml").write_text(common)
    for name in ("b", "a"):
        (tmp_path / f"tasks/{name}.yaml").write_text(f"task: folder_{name}\ninclude: _common.yaml\n")
    known = read_tasks(f"lm_eval:{tmp_path / 'tasks'}", 4, 0)
    assert known.name == "lm_eval: folder_a (acc, 0-shot), folder_b (acc, 0-shot)"
    assert {item.category for item in known.items} == {"folder_a", "folder_b"}


def test_what_tasks_ask_is_in_the_estimate(place: Path) -> None:
    pocket = load(ModelSource())
    known = read_tasks("lm_eval:facts.yaml,write.yaml", None, 0)
    sizes = harness_sizes(pocket, known)
    ends = [len(pocket.tokenize(f"x {end}")) - len(pocket.tokenize("x")) for end in ("(A) it is", "(B)")]
    assert [tokens for _, tokens in sizes.likelihoods] == [sum(ends)] * 16
    assert [most for _, most in sizes.texts] == [6] * 16
    shown = pocket.tokenizer.decode(sizes.texts[0][0])
    assert shown.count("[INST]") == 2 and shown.count("Choices:") == 2

    def tokens(knowledge: str) -> int:
        return estimate(Specification(behaviors=("refusal",), stacks=("sysprompt",), knowledge=knowledge)).tokens

    # Two system prompts and the plain one, and the examples that answers are written after.
    least = 3 * (sum(most + len(prompt) // 2 for prompt, most in sizes.texts) + 16 * sum(ends))
    most = 3 * sum(len(prompt) + count + 200 for prompt, count in (*sizes.likelihoods, *sizes.texts))
    assert least < tokens("lm_eval:facts.yaml,write.yaml") - tokens("none") < most


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ("lm_eval:empty", "the folder has no .yaml file with a line 'task: NAME'"),
        ("lm_eval:facts.yaml,arc_easyy", "unknown task of lm-evaluation-harness 'arc_easyy'. Did you mean arc_easy or"),
        ("lm_eval:warm.yaml", "samples its answers"),
        ("lm_eval:", "names no task"),
        ("lm_eval:absent.yaml", "there is no such task file"),
        ("lm_eval:whole.yaml", "name another"),
    ],
)
def test_what_cant_be_asked_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, choice: str, line: str
) -> None:
    def some(root: Path) -> list[Path]:
        """Of the harness's 14,000 files, which take many seconds to read, those of some folders."""
        return sorted(path for names in ("*.yaml", "arc/*.yaml", "*/arc*/*.yaml") for path in root.glob(names))

    monkeypatch.setattr("lm_eval.tasks._index.TaskIndex._iter_yaml_files", some)
    (place / "empty").mkdir(exist_ok=True)
    assert execute(["run", "--behavior", "refusal", "--methods", "caa", "--knowledge", choice, "--out", "odd"]) == 2
    said = capsys.readouterr().err
    assert line in said and said.count("\n") == 1 and len(said) < 1000
    assert not Path("odd").exists()


def test_nothing_can_be_held_out_of_a_task(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "--behavior", "refusal", "--methods", "caa", "--select", "cost<=0.02", "--out", "odd"]
    assert execute([*command, "--knowledge", "lm_eval:facts.yaml"]) == 2
    assert "--select holds questions out" in capsys.readouterr().err


def test_without_the_harness_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(CompareError, match=r"pip install 'llm-comparisons\[lm-eval\]'"):
        read_tasks("lm_eval:arc_easy", None, 0)
