"""The plugin kit: new methods work as they are written, and checking one says what holds and what fails."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from comparisons.cli import execute
from comparisons.method import check_method, examine_method
from comparisons.method.checks import CHECKS
from comparisons.method.registry import Registry, class_name, new_method
from tests.places import complaint

ROOT = Path(__file__).resolve().parent.parent

CLUMSY = """
from dataclasses import dataclass
from pathlib import Path

from comparisons.method import Fit, Intervention, Method, Use


@dataclass(frozen=True)
class Clumsy(Method):
    amount: float = 1.0

    def fit(self, fit: Fit) -> None:
        Path("log.txt").write_text("x")
        fit.lm.model.train()

    def intervene(self, use: Use) -> Intervention:
        return Intervention(system="Be kind.")
"""


def load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"generated_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_new_method_works_as_it_is_and_its_test_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["new-method", "quiet-push"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "my_methods/quiet_push.py",
        "my_methods/tests/test_quiet_push.py",
        "",
        "Next:",
        "  compare check-method quiet_push --plugins my_methods",
        "  compare run --behavior refusal --methods quiet_push --plugins my_methods",
        "  python -m pytest my_methods",
    ]
    assert execute(["methods", "--plugins", "my_methods"]) == 0
    assert "Add the mean difference between" in capsys.readouterr().out
    test = load(Path("my_methods/tests/test_quiet_push.py").resolve())
    test.test_it_is_a_sound_method()
    test.test_it_moves_a_behavior_of_pocket_both_ways(tmp_path, monkeypatch)
    assert execute(["new-method", "shared", "--package"]) == 0
    for folder in (Path("my_methods"), Path("compare-shared")):
        for command in (["check"], ["format", "--check"]):
            ruff = [sys.executable, "-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), "."]
            made = subprocess.run(ruff, cwd=folder, capture_output=True, text=True)
            assert made.returncode == 0, made.stdout


@pytest.mark.parametrize("name", ["class", "None", "1st", "a b", "../up", "_own", "", "baseline", "é", "a.b"])
def test_a_name_that_no_method_can_have_is_refused(name: str, tmp_path: Path) -> None:
    assert "can't be called" in complaint(lambda: new_method(name, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused_and_nothing_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known = Registry().names()[0]
    assert "already" in complaint(lambda: new_method(known.upper(), tmp_path))
    made, test = new_method("mine", tmp_path)
    assert "already" in complaint(lambda: new_method("mine", tmp_path))
    made.unlink()
    test.write_text("kept")
    assert f"{test} is there already" in complaint(lambda: new_method("mine", tmp_path))
    assert test.read_text() == "kept" and not made.exists()
    assert "can't be written" in complaint(lambda: new_method("other", Path("/dev/null/x")))
    assert execute(["new-method", "other", "--package", "--out", "."]) == 2


def test_a_class_never_hides_what_its_file_imports() -> None:
    assert class_name("norm_scaled") == "NormScaled"
    assert [class_name(name) for name in ("edit", "use", "none", "class_var")] == [
        "EditMethod",
        "UseMethod",
        "NoneMethod",
        "ClassVarMethod",
    ]


def test_a_package_is_installed_and_its_method_stands_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(["new-method", "loud_push", "--package"]) == 0
    assert "pip install -e compare-loud-push" in capsys.readouterr().out
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
    install = [*pip, "--no-index", "--no-build-isolation", "--target", "target", "./compare-loud-push"]
    made = subprocess.run(install, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    monkeypatch.syspath_prepend(str(tmp_path / "target"))
    assert execute(["methods"]) == 0
    assert "loud_push" in capsys.readouterr().out
    few = ["--train-items", "32", "--test-items", "8", "--knowledge-items", "8"]
    command = ["run", "--behavior", "refusal", "--methods", "loud_push", *few]
    assert execute([*command, "--knowledge", "none", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["method"] for row in rows] == ["baseline", "loud_push", "loud_push"]
    load(tmp_path / "compare-loud-push/tests/test_loud_push.py").test_its_entry_point_brings_it()


def test_checking_says_what_holds_what_fails_and_what_was_not_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clumsy.py").write_text(CLUMSY)
    assert execute(["check-method", "clumsy", "--plugins", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert [line[:11].strip() for line in out.splitlines()[:4]] == ["holds", "fails", "", "holds"]
    assert out.splitlines()[2].strip() == "- it must have a docstring, whose first line `compare methods` shows"
    assert out.count("not tried") == 10 and out.endswith("clumsy: 1 of 14 checks fails.\n")

    (tmp_path / "clumsy.py").write_text(CLUMSY.replace("    amount", '    """Push."""\n\n    amount'))
    checks = examine_method(Registry(tmp_path).get("clumsy"))
    assert [check.what for check in checks] == list(CHECKS)
    assert str(checks[0]) == f"holds      {CHECKS[0]}"


def test_a_method_that_ends_the_program_fails_its_check_only(tmp_path: Path) -> None:
    text = CLUMSY.replace("    amount", '    """Push."""\n\n    amount')
    (tmp_path / "ending.py").write_text(text.replace("fit.lm.model.train()", "raise SystemExit(3)"))
    failures = [line for check in examine_method(Registry(tmp_path).get("ending")) for line in check.failures]
    assert failures[0] == "fit (pos) failed: it raised SystemExit: 3."


def test_an_edited_plugin_and_its_neighbour_are_read_again(tmp_path: Path) -> None:
    made, _ = new_method("first_one", tmp_path)
    second = made.with_name("second_one.py")
    second.write_text(
        "from dataclasses import dataclass\nfrom .first_one import FirstOne\n\n\n"
        "@dataclass(frozen=True)\nclass SecondOne(FirstOne):\n    pass\n"
    )
    before = {name: Registry(tmp_path).get(name) for name in ("first_one", "second_one")}
    assert Registry(tmp_path).get("first_one") is before["first_one"]
    made.write_text(made.read_text().replace("use_only(1)", "use_only(12)"))
    after = {name: Registry(tmp_path).get(name) for name in ("first_one", "second_one")}
    assert [cls().settings() for cls in before.values()] == [{"layer": 1}] * 2
    assert [cls().settings() for cls in after.values()] == [{"layer": 12}] * 2


def test_the_report_and_the_error_tell_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clumsy2.py").write_text(CLUMSY.replace("    amount", '    """Push."""\n\n    amount'))
    cls = Registry(tmp_path).get("clumsy2")
    checks = {check.what: check for check in examine_method(cls)}
    failures = [line for check in checks.values() for line in check.failures]
    assert failures == [
        "fit wrote elsewhere/log.txt, outside of fit.out",
        "the model's training mode changed: leave it as it was",
    ]
    with pytest.raises(Exception, match="not a sound method") as error:
        check_method(cls)
    assert str(error.value).split("\n- ")[1:] == failures
    assert {check.status for check in checks.values()} == {"holds", "fails", "not tried"}
    assert execute(["check-method", "clumsy2", "--plugins", str(tmp_path), "--json"]) == 1
    assert [found["status"] for found in json.loads(capsys.readouterr().out)] == [c.status for c in checks.values()]
    assert execute(["check-method", "clmsy2", "--plugins", str(tmp_path)]) == 2
    assert "Did you mean clumsy2" in capsys.readouterr().err
