"""`compare data fetch` against a real server on loopback: what comes, what goes wrong on the way, and what is kept."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comparisons.cli import execute
from comparisons.dataset import sources
from comparisons.dataset.behaviors import Library
from comparisons.dataset.fetch import Fetched, Patience, Wanted, fetch
from comparisons.dataset.sources import RAW_ENDPOINT, SOURCES
from comparisons.util.errors import StorageError
from tests.file_server import Files, file_server
from tests.places import complaint, knowledge, paper, record
from tests.test_evaluations import persona

ROOT = Path(__file__).resolve().parents[1]
CAA = SOURCES["caa"]
REFUSAL = tuple(path for path in CAA.pins if "/refusal/" in path)
BIG = next(path for path in REFUSAL if "/generate/" in path)
HASTY = Patience(timeout=5, pause=0.0)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """Stands in for GitHub's raw files and for the hub."""
    with file_server() as server:
        monkeypatch.setenv(RAW_ENDPOINT, server.url)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


def at(path: str, revision: str) -> str:
    return f"/{CAA.repository}/{revision}/{path}"


def made(path: str) -> bytes:
    """Items in place of the paper's, large enough to be cut in the middle."""
    if path.endswith("open_ended.json"):
        return json.dumps([{"question": "Hello?"}]).encode()
    return json.dumps([record(index, category="x" * 5000) for index in range(40)]).encode()


@pytest.fixture
def served(host: Files, monkeypatch: pytest.MonkeyPatch) -> Files:
    """The pinned revision, with pins of the made content."""
    pins = {path: f"sha256:{hashlib.sha256(made(path)).hexdigest()}" for path in REFUSAL}
    pins[REFUSAL[-1]] = _git_pin(made(REFUSAL[-1]))
    monkeypatch.setitem(sources._pins(), "caa", pins)
    host.content |= {at(path, CAA.revision): made(path) for path in REFUSAL}
    return host


def _git_pin(data: bytes) -> str:
    asked = subprocess.run(["git", "hash-object", "--stdin"], input=data, capture_output=True, check=True)
    return f"git:{asked.stdout.decode().strip()}"


def get(out: Path, *only: str, name: str = "caa", **more: Any) -> Fetched:
    return fetch(Wanted(name, out, only, patience=HASTY, **more), lambda text: None)


def halves(folder: Path) -> list[Path]:
    return [*folder.rglob("*.part"), *folder.rglob("*.tmp")]


def test_the_papers_real_files_pass_their_pins_and_are_data_at_once(host: Files, tmp_path: Path) -> None:
    place = paper()
    host.content |= {at(p, CAA.revision): (place / p.removeprefix("Datasets/")).read_bytes() for p in CAA.pins}
    found = get(tmp_path)
    assert (len(found.downloaded), len(found.written), found.unpinned) == (23, 23, ())
    assert Library.open(tmp_path).names == Library.open(place).names
    assert Library.open(tmp_path).behavior("refusal").digest == Library.open(place).behavior("refusal").digest
    assert knowledge(tmp_path, "mmlu") == knowledge(place, "mmlu")


def test_a_second_call_checks_and_asks_nobody(served: Files, tmp_path: Path) -> None:
    first = get(tmp_path)
    assert sorted(first.downloaded) == sorted(REFUSAL) and not halves(tmp_path)
    asked, before = len(served.asked), {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    served.content.clear()
    assert get(tmp_path) == Fetched((), 3, (), ())
    assert len(served.asked) == asked
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before
    assert len(Library.open(tmp_path).behavior("refusal").train) == 40


def test_the_licence_is_told_before_anything_is_written_and_lies_beside(served: Files, tmp_path: Path) -> None:
    out, told = tmp_path / "data", list[str]()

    def tell(text: str) -> None:
        told.append(text)
        assert len(told) > 1 or not out.exists()

    fetch(Wanted("caa", out, patience=HASTY), tell)
    assert "licence: MIT (nrimsky/CAA" in told[0] and CAA.revision in told[0]
    assert "MIT (nrimsky/CAA" in (out / "LICENCE-caa.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "faults",
    [[429], [500, 503], [("drop", 100_000), ("drop", 1), 502], [("drop", 70_000), "whole"], [("drop", 0)]],
    ids=str,
)
def test_what_passes_is_tried_again_and_goes_on_where_it_was(served: Files, tmp_path: Path, faults: list[Any]) -> None:
    address = at(BIG, CAA.revision)
    served.faults[address] = list(faults)
    get(tmp_path)
    assert (tmp_path / BIG.removeprefix("Datasets/")).read_bytes() == made(BIG)
    spans = [span for path, span in served.asked if path == address]
    assert len(spans) == len(faults) + 1 - faults.count("whole")
    if faults[0] == ("drop", 100_000):
        assert spans == [None, "bytes=100000-", "bytes=100001-", "bytes=100001-"]


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([404], "there is no such file or revision"),
        ([403], "the server refuses (403)"),
        ([500] * 9, "the server answers 500, 5 times; the same command goes on where it was"),
        ([("drop", 7)] + [("drop", 0)] * 9, "the connection ended early, 5 times"),
    ],
    ids=["404", "403", "500", "drop"],
)
def test_what_stays_wrong_ends_with_a_line_and_no_half_file(
    served: Files, tmp_path: Path, faults: list[Any], message: str
) -> None:
    served.faults[at(BIG, CAA.revision)] = faults
    assert message in complaint(lambda: get(tmp_path))
    assert not list(tmp_path.glob("generate/**/*.json"))
    served.faults.clear()
    get(tmp_path)
    assert (tmp_path / BIG.removeprefix("Datasets/")).read_bytes() == made(BIG)


def test_other_bytes_than_the_pinned_are_refused_and_forgotten(served: Files, tmp_path: Path) -> None:
    for path in (BIG, REFUSAL[-1]):
        right = served.content[at(path, CAA.revision)]
        served.content[at(path, CAA.revision)] = right[:-1] + b" "
        assert "its content is not the pinned one" in complaint(lambda: get(tmp_path))
        assert not halves(tmp_path)
        served.content[at(path, CAA.revision)] = right
    get(tmp_path)


def test_a_leftover_of_something_else_is_brought_anew(served: Files, tmp_path: Path) -> None:
    part = tmp_path / f".fetched/caa/{CAA.revision}/{BIG}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"y" * 1000)
    get(tmp_path)
    part.write_bytes(made(BIG))
    part.with_suffix("").unlink()
    asked = len(served.asked)
    get(tmp_path)
    assert len(served.asked) == asked


def test_no_network_is_a_line_with_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with file_server() as gone:
        address = gone.url
    monkeypatch.setenv(RAW_ENDPOINT, address)
    message = complaint(lambda: get(tmp_path, "refusal"))
    assert "can't be reached" in message and "the same command goes on" in message


def test_a_damaged_download_is_brought_again_and_another_ones_file_is_left(served: Files, tmp_path: Path) -> None:
    get(tmp_path)
    (tmp_path / f".fetched/caa/{CAA.revision}/{BIG}").write_bytes(b"[]")
    assert get(tmp_path).downloaded == (BIG,)
    mine = tmp_path / BIG.removeprefix("Datasets/")
    mine.write_bytes(b"[]")
    assert "is there already and not from caa: name another folder by --out" in complaint(lambda: get(tmp_path))
    assert mine.read_bytes() == b"[]"


def test_without_a_pin_the_first_download_is_trusted_and_holds(served: Files, tmp_path: Path) -> None:
    served.content |= {at(path, "v2"): made(path) for path in REFUSAL}
    assert get(tmp_path, revision="v2").unpinned == REFUSAL
    (tmp_path / f".fetched/caa/v2/{BIG}").unlink()
    served.content[at(BIG, "v2")] = made(BIG) + b"\n"
    assert "its content is not the pinned one" in complaint(lambda: get(tmp_path, revision="v2"))
    served.content[at(BIG, "v2")] = made(BIG)
    assert get(tmp_path, revision="v2") == Fetched((BIG,), 2, (), ())


PAGE = b"<!doctype html><html>Please log in</html>"


@pytest.mark.parametrize(
    ("name", "path"),
    [("caa", BIG), ("anthropic-evals", "persona/openness.jsonl"), ("mmlu", ""), ("truthfulqa", "")],
)
def test_what_is_no_data_is_not_trusted_on_first_use(host: Files, tmp_path: Path, name: str, path: str) -> None:
    source = SOURCES[name]
    path = path or next(iter(source.pins))
    asked = {"caa": ["refusal"], "anthropic-evals": ["persona/openness"]}.get(name, [])
    found = source.files(asked)
    host.content |= {source.url(each, "v2").removeprefix(host.url): PAGE for each in found}
    message = complaint(lambda: get(tmp_path, *asked, name=name, revision="v2"))
    assert "what came is not what was asked for, and was not kept" in message and "/tmp" not in message
    rows: dict[str, bytes] = {
        "anthropic-evals": "".join(json.dumps(persona(index)) + "\n" for index in range(60)).encode(),
        "mmlu": table([{"question": "1?", "subject": "s", "choices": ["a", "b"], "answer": 1}]),
        "truthfulqa": table([{"question": "1?", "mc1_targets": {"choices": ["a", "b"], "labels": [1, 0]}}]),
    }
    host.content |= {source.url(each, "v2").removeprefix(host.url): rows.get(name) or made(each) for each in found}
    assert get(tmp_path, *asked, name=name, revision="v2").written


def test_an_endpoint_without_a_scheme_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RAW_ENDPOINT, "localhost:1234")
    message = complaint(lambda: fetch(Wanted("caa", tmp_path), lambda text: None))
    assert message == f"{RAW_ENDPOINT}=localhost:1234: must begin with http:// or https://."


def run(out: Path, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "comparisons", "data", "fetch", "caa", "--only", "refusal", "--revision", "v2"]
    known = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([*command, "--out", str(out)], env=known, stderr=subprocess.PIPE, text=True, **more)


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, 80_000))


def test_killed_or_out_of_room_the_same_command_goes_on(host: Files, tmp_path: Path) -> None:
    host.content |= {at(path, "v2"): made(path) for path in REFUSAL}
    host.faults[at(BIG, "v2")] = [("stall", 120_000)]
    with run(tmp_path / "a") as killed:
        assert host.stalled.wait(60)
        part = tmp_path / f"a/.fetched/caa/v2/{BIG}.part"
        for _ in range(200):
            if part.exists() and part.stat().st_size >= 65_536:
                break
            time.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
    kept = part.stat().st_size
    assert 0 < kept < len(made(BIG)) and not (tmp_path / "a/generate").exists()
    with run(tmp_path / "b", preexec_fn=limit) as full:
        line = (full.communicate()[1] or "").strip().splitlines()[-1]
    assert full.returncode == 1 and "can't be written" in line and "the same command goes on" in line
    assert not (tmp_path / "b/generate").exists()
    for folder in ("a", "b"):
        assert len(get(tmp_path / folder, "refusal", revision="v2").written) == 3
        assert not halves(tmp_path / folder)
    assert (at(BIG, "v2"), f"bytes={kept}-") in host.asked


def table(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    found = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), found)
    return found.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("cab", "unknown data set 'cab'. Did you mean caa?"),
        ("anthropic-evals", "anthropic-evals has 171 behaviors: choose by --only"),
        ("anthropic-evals --only persona/openes", "Did you mean persona/openness"),
        ("anthropic-evals --only persona", "Patterns: advanced-ai-risk/human_generated_evals/*, "),
        ("caa --only refusals", "Did you mean refusal"),
        ("caa --per-subject 3", "--per-subject: caa has no subjects"),
        ("truthfulqa --only x", "--only: truthfulqa is one set"),
    ],
)
def test_mistakes_get_a_line_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    assert execute(["data", "fetch", *arguments.split(), "--out", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1 and len(err) < 1000
    assert not (tmp_path / "out").exists()


def test_a_folder_that_can_not_be_written_is_named(served: Files, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="can't be written to"):
        get(tmp_path / "file/data")
