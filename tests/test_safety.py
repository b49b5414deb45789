"""Files from strangers do no harm, and keys stay where they are."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from comparisons.cli import execute
from comparisons.method.vector_files import Origin, Vectors, save_vectors
from comparisons.report import render
from comparisons.report.export import csv_text
from comparisons.results.record import read_record
from comparisons.util.artifacts import seal
from comparisons.util.terminal import printable
from tests.faulty import serving
from tests.forks import Command, Ended, Forks
from tests.made_runs import SMALL, make_run
from tests.places import complaint, make_place
from tests.test_runner import HEAD

pytestmark = pytest.mark.slow

MODELING = "from pathlib import Path\nPath({mark!r}).write_text('harm')\nclass Config: pass\nclass Model: pass\n"
MISBEHAVING = {
    "exits": "def fit(self, fit): raise SystemExit(0)",
    "ends": "def fit(self, fit): raise type('Ending', (BaseException,), {})('the end')",
    "exitslater": "def intervene(self, use): raise SystemExit('bye')",
    "prints": "def fit(self, fit): print('chatter')",
    "tokenizer": "def fit(self, fit): fit.lm.tokenizer.chat_template = 'gone'",
}


def test_a_models_own_code_runs_only_where_it_is_trusted(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "cache"))
    folder, mark = Path(shutil.copytree(model, tmp_path / "strange")), tmp_path / "harmed"
    config = json.loads((folder / "config.json").read_text())
    maps = {"AutoConfig": "modeling_strange.Config", "AutoModelForCausalLM": "modeling_strange.Model"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "strange", "auto_map": maps}))
    (folder / "modeling_strange.py").write_text(MODELING.format(mark=str(mark)))
    command = ["run", "--behavior", "greeting", "--methods", "caa", "--data", str(make_place(tmp_path))]
    assert execute([*command, "--model", str(folder), "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "--trust-remote-code" in line and "strange" in line
    assert not mark.exists()


def test_an_adapter_outside_the_runs_folder_is_refused(whole_run: tuple[Path, Ended], tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole_run[0] / "out", tmp_path / "run"))
    file = run / "best" / "intervention.json"
    found = {key: value for key, value in json.loads(file.read_text()).items() if key != "sha256"}
    for place in ("../..", "/etc", str(tmp_path)):
        file.write_text(json.dumps({**found, "adapter": place}))
        seal(run / "best")
        assert "must be the folder adapter beside it" in complaint(lambda: read_record(run))
    shutil.rmtree(run / "best" / "adapter", ignore_errors=True)
    (run / "best" / "adapter").symlink_to(tmp_path)
    file.write_text(json.dumps({**found, "adapter": "adapter"}))
    seal(run / "best")
    assert "no link" in complaint(lambda: read_record(run))


def test_a_terminal_and_a_spreadsheet_get_text_and_no_orders() -> None:
    assert printable("a\x1b[2J\x07\x9bb\u202ec\r") == "a\\x1b[2J\\x07\\x9bb\\u202ec\\x0d"
    assert printable("naïve 日本\u00a0語\n\t–") == "naïve 日本\u00a0語\n\t–"
    cells = ["=1+1", "+caa", "-cmd|x", "@sum", "\tx", "plain", "-0.5", -0.5, None]
    (row,) = csv.reader(io.StringIO(csv_text([], [cells]).lstrip("\n")))
    assert row == ["'=1+1", "'+caa", "'-cmd|x", "'@sum", "'\tx", "plain", "-0.5", "-0.5", ""]


def test_keys_occur_in_no_output(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    keys = {"HF_TOKEN": "hf_planted_4711", "OPENAI_API_KEY": "sk-planted-4711"}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    place, work = make_place(tmp_path), tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / ".env").write_text("OTHER=1\n")
    subject = ["--behavior", "greeting", "--model", model, "--data", str(place)]
    codes = [
        execute(["run", "--methods", "caa,sysprompt", "--layer", "1", "--out", "one", *subject]),
        execute(["generate", "--methods", "caa", "--layer", "1", "--prompt", "a", "--tokens", "2", *subject]),
        execute(["report", "one", "--format", "md,html,latex,csv"]),
        execute(["sweep", "--methods", "caa", "--layers", "1", "--split", "test", "--out", "two", *subject]),
        execute(["doctor"]),
        execute(["run", "--methods", "nothing", *subject]),
    ]
    # The system prompt is not there: that cell fails.
    assert codes[:4] == [1, 0, 1, 0] and codes[5] == 2
    said = "".join(capfd.readouterr())
    written = [path.read_bytes() for path in work.rglob("*") if path.is_file()]
    assert len(written) > 10
    for key in keys.values():
        assert key not in said
        assert not any(key.encode() in data for data in written)


def test_a_method_that_misbehaves_fails_by_name_and_spoils_no_other(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, folder = make_place(tmp_path), tmp_path / "plugins"
    folder.mkdir()
    for name, body in MISBEHAVING.items():
        rest = "" if "def intervene" in body else "\n    def intervene(self, use): return Intervention()"
        code = f'{HEAD}\n@dataclass(frozen=True)\nclass P(Method):\n    """A plugin."""\n    {body}{rest}\n'
        (folder / f"{name}.py").write_text(code)
    (folder / "gone.py").write_text("raise type('Ending', (BaseException,), {})('at import')\n")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    command = ["run", "--behavior", "greeting", "--model", model, "--data", str(place), "--plugins", str(folder)]
    asked = ["--directions", "pos", "--layer", "1", "--json"]
    assert execute([*command, *asked, "--methods", ",".join([*MISBEHAVING, "caa"])]) == 1
    captured = capsys.readouterr()
    rows = {row["method"]: row for row in json.loads(captured.out)["rows"]}
    assert "chatter" in captured.err
    errors = {name: rows[name]["error"] or "" for name in MISBEHAVING}
    assert "the fit of exits raised SystemExit" in errors["exits"]
    assert "the fit of ends raised Ending: the end" in errors["ends"]
    assert "exitslater.intervene raised SystemExit: bye" in errors["exitslater"]
    assert "the fit of tokenizer changed the model or its tokenizer" in errors["tokenizer"]
    assert rows["prints"]["status"] == "done" == rows["caa"]["status"]
    assert execute([*command, *asked, "--methods", "gone"]) == 2
    assert "method 'gone' can't be loaded" in capsys.readouterr().err


def test_names_in_files_can_not_leave_their_folder(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b"
    rows = [replace(row, behavior="../../out", method=f"../../{row.method}") for row in SMALL]
    render(make_run(place / "run", rows), ("md", "html", "latex", "csv"))
    origin = Origin(behavior="../../out", model="../../out")
    save_vectors(place / "odd.safetensors", Vectors({0: torch.ones(4), 1: torch.ones(4)}, origin))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert execute(["vectors", "similarity", "odd.safetensors", "--out", "looks"]) == 0
        assert execute(["vectors", "import", "odd.safetensors", "--out", "in.safetensors"]) == 0
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(place)]
    assert outside == []


def test_a_key_in_a_dot_env_file_reaches_the_server_and_no_file(forks: Forks, tmp_path: Path) -> None:
    key = "sk-dotenv-90ab"
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={key}\n")
    grid = "run --behavior refusal --methods sysprompt --train-items 16 --test-items 3 --knowledge none --out out"
    # A key in the environment would come before the file's.
    program = "import os, sys\nos.environ.pop('OPENAI_API_KEY', None)\n"
    program += "from comparisons.cli import main\nmain(sys.argv[1:])"
    with serving() as server:
        arguments = [*grid.split(), "--judge", "openai:m", "--judge-url", server.url]
        (done,) = forks.run(Command(arguments, str(tmp_path), program=program))
    assert done.code == 0 and server.paid, done.said
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != ".env"]
    assert not any(key.encode() in text for text in (*texts, done.said.encode()))
    # The server says the key in its replies, so it did get it, and it was cut out of them.
    assert any(b"Bearer [key]" in text for text in texts)
