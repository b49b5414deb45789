"""A file that was cut off or changed is found by its checksum, named, and made again or refused; never used."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from comparisons.cli import execute
from comparisons.judges.interface import AnswerToJudge, Setup
from comparisons.judges.server import Server
from comparisons.model.loading import CHECKSUMS, check_intact
from comparisons.model.source import ModelSource
from comparisons.results.cells import CHOICES, RESULTS
from comparisons.results.folder import BEST, RUN, SUMMARY, run_faults
from comparisons.results.record import read_record
from comparisons.util.artifacts import MANIFEST, artifact_fault
from comparisons.util.errors import CompareError
from comparisons.util.files import embedded, read_sealed, write_sealed
from tests.faulty import serving
from tests.forks import Command, Ended, Forks
from tests.whole_runs import ARGUMENTS, check_equal, faults

pytestmark = pytest.mark.slow

TIMES = 50
OF_A_RUN = (RUN, CHOICES, SUMMARY, RESULTS, "cells/*", "choices/*")


def damages(path: Path, seed: int = 0) -> Iterator[None]:
    """Cuts the file at so many places, then changes so many bytes, each alone; puts it back in the end."""
    whole, generator = path.read_bytes(), random.Random(seed)
    # A file that lacks its last line break says what it said.
    for size in generator.sample(range(len(whole) - 1), min(TIMES, len(whole) - 1)):
        path.write_bytes(whole[:size])
        yield
    for place in generator.sample(range(len(whole)), min(TIMES, len(whole))):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ generator.randrange(1, 256)]) + whole[place + 1 :])
        yield
    path.write_bytes(whole)


@pytest.fixture
def copied(whole_run: tuple[Path, Ended], tmp_path: Path) -> Path:
    """A working directory with a finished run, to be damaged."""
    return Path(shutil.copytree(whole_run[0], tmp_path / "copied"))


def says_the_same(path: Path, before: str) -> bool:
    """Whether a damage went into a file's blanks."""
    try:
        return bool(json.loads(path.read_text()) == json.loads(before))
    except ValueError:
        return False


@pytest.mark.parametrize("name", OF_A_RUN)
def test_every_damage_to_a_run_is_found(name: str, copied: Path) -> None:
    path = next((copied / "out").glob(name))
    for _ in damages(path):
        found = run_faults(copied / "out")
        assert found and all(str(copied / "out") in line for line in found)
    assert run_faults(copied / "out") == []


def test_every_damage_to_the_best_intervention_is_found_and_refused(copied: Path) -> None:
    for path in (path for path in (copied / "out" / BEST).rglob("*") if path.is_file()):
        for _ in damages(path):
            assert len(run_faults(copied / "out")) == 1
            with pytest.raises(CompareError, match=BEST):
                read_record(copied / "out")
    assert run_faults(copied / "out") == []


def test_a_report_refuses_what_is_damaged(copied: Path) -> None:
    for name in (RUN, CHOICES, SUMMARY):
        for _ in damages(copied / "out" / name):
            with pytest.raises(CompareError, match=name):
                read_record(copied / "out")


def test_every_damage_to_an_artifact_is_found(copied: Path) -> None:
    artifacts = [path for path in (copied / "checkpoints").iterdir() if path.is_dir()]
    kinds = {path.suffix for artifact in artifacts for path in artifact.rglob("*") if path.is_file()}
    assert kinds == {".safetensors", ".json"}
    for artifact in artifacts:
        for path in (path for path in artifact.rglob("*") if path.is_file()):
            before = path.read_text() if path.suffix == ".json" else ""
            for _ in damages(path):
                if not (before and says_the_same(path, before)):
                    assert str(artifact) in (artifact_fault(artifact) or "")
        (artifact / "extra").write_text("")
        assert artifact_fault(artifact) == f"{artifact}: extra does not belong there"


@pytest.mark.timeout(300)
def test_what_is_damaged_is_named_and_made_again(forks: Forks, whole_run: tuple[Path, Ended], copied: Path) -> None:
    generator = random.Random(3)
    artifacts = [next((copied / "checkpoints").glob(f"{name}-*")) for name in ("sft", "caa")]
    inside = [next(artifact.rglob("*.safetensors")) for artifact in artifacts]
    best = copied / "out" / BEST / "intervention.json"
    for paths in (*([next((copied / "out").glob(name))] for name in OF_A_RUN), [best], inside):
        for path in paths:
            whole = path.read_bytes()
            place = generator.randrange(len(whole) // 4, len(whole) // 2)
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        fresh = ["--fresh"] if paths is inside else []
        (ended,) = forks.run(Command([*ARGUMENTS, *fresh], str(copied), every=1e9))
        assert ended.code == 0, ended.said
        told = [line for line in ended.said.splitlines() if "damaged" in line or "can't be read" in line]
        names = [artifact.name for artifact in artifacts] if paths is inside else [paths[0].name]
        assert len(told) == len(names), ended.said
        for name in names:
            assert any(name in line for line in told)
        check_equal(copied, whole_run[0])


@pytest.mark.timeout(300)
def test_a_run_whose_own_file_is_lost_is_not_taken_for_another_one(forks: Forks, copied: Path) -> None:
    (copied / "out" / RUN).write_text("{")
    other = ["1e-4" if part == "1e-3" else part.replace("1e-3", "1e-4") for part in ARGUMENTS]
    before = (copied / "out" / RESULTS).read_bytes()
    (ended,) = forks.run(Command(other, str(copied)))
    assert ended.code == 2
    assert "holds cells of another run" in ended.complaints[0]
    assert (copied / "out" / RESULTS).read_bytes() == before


def test_every_damage_to_the_embedded_model_is_refused(tmp_path: Path) -> None:
    model = Path(shutil.copytree(embedded("pocket"), tmp_path / "pocket"))
    listed = read_sealed(model / CHECKSUMS, "model")["files"]
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(listed)
    for name in (*listed, CHECKSUMS):
        before = (model / name).read_text() if name == CHECKSUMS else ""
        for _ in damages(model / name):
            if name == CHECKSUMS and says_the_same(model / name, before):
                continue
            with pytest.raises(CompareError, match=r"damaged|can't be read"):
                check_intact(model)
    check_intact(model)
    (model / "model.safetensors").unlink()
    with pytest.raises(CompareError, match=r"model\.safetensors is not what was written"):
        check_intact(model)


def test_a_damaged_embedded_model_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(embedded("pocket"), tmp_path / "pocket"))
    data = bytearray((model / "model.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (model / "model.safetensors").write_bytes(bytes(data))
    monkeypatch.chdir(tmp_path)
    run = ["run", "--behavior", "refusal", "--methods", "sysprompt", "--model", str(model)]
    assert execute(run) == 2
    assert "model.safetensors is not what was written" in capsys.readouterr().err
    assert ModelSource(str(model)).location() == str(model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pocket"]


def test_every_damage_to_a_kept_verdict_is_asked_for_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = [AnswerToJudge("refusal", "rubric", "question", "answer")]
    with serving() as server:
        setup = Setup(cache=tmp_path, url=server.url)
        assert [verdict.score for verdict in Server("judge", setup).score(asked)] == [8.0]
        (kept,) = tmp_path.glob("*.json")
        before = kept.read_text()
        judge, paid = Server("judge", setup), 1
        for _ in damages(kept):
            paid += not says_the_same(kept, before)
            caplog.clear()
            assert [verdict.score for verdict in judge.score(asked)] == [8.0]
            assert server.paid.total() == paid
            assert not caplog.records or kept.name in caplog.text


def test_doctor_verifies_and_cleans(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copied)
    doctor = ["doctor", "--artifacts", "--reports", "."]
    said: Callable[[], list[str]] = lambda: capsys.readouterr().out.splitlines()  # noqa: E731
    assert execute(doctor) == 0
    # Every artifact, and the run.
    whole = 1 + sum(path.is_dir() for path in Path("checkpoints").iterdir())
    assert said() == [f"{whole} whole, 0 damaged, 0 left over"]
    artifact = next(Path("checkpoints").glob("sft-*"))
    (artifact / "epoch-1" / "adapter_model.safetensors").write_bytes(b"")
    (Path("checkpoints") / f".{artifact.name}.making" / "out").mkdir(parents=True)
    (Path("out") / ".summary.json.999999999.tmp").write_text("{")
    Path("checkpoints/judgements").mkdir()
    write_sealed(Path("checkpoints/judgements/a.json"), {"content": "8"})
    Path("checkpoints/judgements/b.json").write_text("{")
    Path("checkpoints/mine").mkdir()
    (Path("checkpoints/mine") / MANIFEST).write_text("{}")
    assert execute(doctor) == 1
    lines = said()
    assert f"damaged: {artifact}: epoch-1/adapter_model.safetensors is damaged" in lines
    assert any(line.startswith("damaged: a kept verdict: checkpoints/judgements/b.json") for line in lines)
    assert lines[-1] == f"{whole} whole, 2 damaged, 2 left over"
    assert execute([*doctor, "--clean"]) == 0
    assert all(line.endswith("(removed)") for line in said()[:-1])
    assert execute(doctor) == 0
    assert said() == [f"{whole} whole, 0 damaged, 0 left over"]
    assert (Path("checkpoints/mine") / MANIFEST).exists()
    cell = next(Path("out/cells").glob("*.jsonl"))
    with cell.open("ab") as file:
        file.truncate(1000)
    assert execute([*doctor, "--clean"]) == 1
    assert "the run's command runs its cell again" in said()[0] and cell.exists()
    assert execute(["doctor", "--clean"]) == 2
    assert faults(Path()) != []
