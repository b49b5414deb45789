"""Knowledge sets and evaluations from the hub, by a server on loopback."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from comparisons.cli import execute
from comparisons.dataset import sources
from comparisons.dataset.behaviors import Library
from comparisons.dataset.fetch import Fetched
from comparisons.dataset.sources import SOURCES
from tests.file_server import Files
from tests.places import complaint, knowledge
from tests.test_evaluations import persona
from tests.test_fetch import get, table
from tests.test_fetch import host as host  # a fixture


def hub_file(name: str) -> str:
    source = SOURCES[name]
    return f"/datasets/{source.repository}/resolve/v2/{next(iter(source.pins))}"


def test_mmlu_and_truthfulqa_from_the_hub_are_knowledge_sets(host: Files, tmp_path: Path) -> None:
    rows = [
        {"question": f"{i}?", "subject": f"s{i % 3}", "choices": ["a", "b", "c", "d"], "answer": i % 4}
        for i in range(60)
    ]
    host.content[hub_file("mmlu")] = table(rows)
    arguments = ["data", "fetch", "mmlu", "--revision", "v2", "--out", str(tmp_path)]
    assert execute([*arguments, "--per-subject", "5"]) == 0
    host.content[hub_file("truthfulqa")] = table(
        [
            {"question": f"Is it {i}?", "mc1_targets": {"choices": [f"Yes, {i}", "No", "Never"], "labels": [1, 0, 0]}}
            for i in range(40)
        ]
    )
    assert execute(["data", "fetch", "truthfulqa", "--revision", "v2", "--out", str(tmp_path)]) == 0
    (tmp_path / "generate/mine").mkdir(parents=True)
    (tmp_path / "generate/mine/generate_dataset.json").write_text("[]")
    four, two = knowledge(tmp_path, "mmlu4"), knowledge(tmp_path, "truthfulqa")
    assert [sum(item.category == f"s{i}" for item in four.items) for i in range(3)] == [5, 5, 5]
    by_stem = {row["question"]: row for row in rows}
    assert all("ABCD".index(item.matching) == by_stem[item.stem]["answer"] for item in four.items)
    assert len(two.items) == 40 and {item.matching for item in two.items} == {"A", "B"}
    assert all(
        {c.letter: c.text for c in item.choices}[item.matching].startswith("Yes")
        and {c.letter: c.text for c in item.choices}[item.contrast] in ("No", "Never")
        for item in two.items
    )
    drawn = (tmp_path / "test/mmlu4/mmlu4.json").read_bytes()
    (tmp_path / "test/mmlu4/mmlu4.json").unlink()
    assert execute([*arguments, "--per-subject", "5"]) == 0
    assert (tmp_path / "test/mmlu4/mmlu4.json").read_bytes() == drawn
    assert execute([*arguments, "--only", "s1"]) == 0
    assert {item.category for item in knowledge(tmp_path, "mmlu4").items} == {"s1"}


def test_what_the_hubs_library_has_kept_is_not_downloaded(
    host: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SOURCES["truthfulqa"]
    (path,) = source.pins
    row = {"question": "Is it?", "mc1_targets": {"choices": ["Yes", "No"], "labels": [1, 0]}}
    snapshot = tmp_path / "cache" / f"datasets--{source.repository.replace('/', '--')}" / "snapshots" / source.revision
    (snapshot / path).parent.mkdir(parents=True)
    (snapshot / path).write_bytes(table([row]))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    # Of other bytes than the pinned nothing is taken.
    assert "there is no such file" in complaint(lambda: get(tmp_path / "a", name="truthfulqa"))
    monkeypatch.setitem(sources._pins(), "truthfulqa", {path: f"sha256:{hashlib.sha256(table([row])).hexdigest()}"})
    asked = len(host.asked)
    assert get(tmp_path / "b", name="truthfulqa") == Fetched((), 1, ("test/truthfulqa/truthful_qa.json",), ())
    assert len(host.asked) == asked


def test_chosen_evaluations_become_behaviors_under_names_of_their_own(
    host: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = SOURCES["anthropic-evals"]
    lines = "".join(json.dumps(persona(index)) + "\n" for index in range(60)).encode()
    paths = ["persona/openness.jsonl", "advanced-ai-risk/lm_generated_evals/myopic-reward.jsonl"]
    host.content |= {f"/{source.repository}/v2/{path}": lines for path in paths}
    arguments = ["data", "fetch", "anthropic-evals", "--revision", "v2", "--out", str(tmp_path)]
    assert execute([*arguments, "--only", "persona/open[n]ess", "--only", "*/lm_generated_evals/myopic-reward"]) == 0
    library = Library.open(tmp_path)
    assert library.names == ("lm-myopic-reward", "openness")
    behavior = library.behavior("openness")
    assert (len(behavior.train), len(behavior.test)) == (10, 50)
    assert "no checksum was known of" in capsys.readouterr().err
