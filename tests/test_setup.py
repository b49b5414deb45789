"""Setting up: setup.cfg names what is imported, the lock holds what it asks for, and uv is told what pip was told."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import os
import re
import sys
import zipfile
from importlib.metadata import distributions, packages_distributions
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from comparisons.model.named import NAMED

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
REAL = ROOT / ".ci" / "real.txt"
UNDECLARABLE = {"steering_vectors"}
"""Timed by `compare bench` where somebody has it: it asks for an older transformers, so that no extra can name it."""


def script(name: str) -> ModuleType:
    """A program of .ci/ as a module."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins() -> dict[str, list[Requirement]]:
    """The lock's lines, by package."""
    found: dict[str, list[Requirement]] = {}
    for line in LOCK.read_text().splitlines():
        if line and not line.startswith((" ", "#")):
            pin = Requirement(line)
            found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def asked(but: tuple[str, ...] = ()) -> list[Requirement]:
    """What setup.cfg asks for, extras included, without some of them."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = [text for name, text in config["options.extras_require"].items() if name not in but]
    lists = [config["options"]["install_requires"], *extras]
    return [Requirement(line) for text in lists for line in text.splitlines() if line.strip()]


def imported() -> dict[str, Path]:
    """The top-level modules that the program's files import, inside functions too, each with one such file."""
    modules: dict[str, Path] = {}
    for file in [file for package in ("comparisons", "methods") for file in sorted((ROOT / package).rglob("*.py"))]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0]: file for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules[str(node.module).partition(".")[0]] = file
    return modules


def test_every_import_is_declared() -> None:
    declared = {canonicalize_name(wanted.name) for wanted in asked(but=("dev", "docs"))}
    known, own = packages_distributions(), {"comparisons", "methods", *sys.stdlib_module_names, *UNDECLARABLE}
    undeclared = {
        name: str(file.relative_to(ROOT))
        for name, file in imported().items()
        if name not in own and declared.isdisjoint(map(canonicalize_name, known.get(name, [name])))
    }
    assert undeclared == {}


def test_every_requirement_is_pinned_within_its_range_on_every_python() -> None:
    locked = pins()
    for wanted in asked():
        for python in ("3.11", "3.12", "3.13"):
            environment = {"python_version": python, "python_full_version": f"{python}.5", "sys_platform": "linux"}
            here = [
                pin
                for pin in locked[canonicalize_name(wanted.name)]
                if pin.marker is None or pin.marker.evaluate(environment)
            ]
            assert len(here) == 1, (wanted, python)
            (version,) = (each.version for each in here[0].specifier)
            assert wanted.specifier.contains(version, prereleases=True), (wanted, version)


@pytest.mark.skipif(
    os.environ.get("VERSIONS") != "locked", reason="only make knows whether the lock was what it installed"
)
def test_what_is_installed_is_what_is_locked() -> None:
    locked = {name: {each.version for pin in found for each in pin.specifier} for name, found in pins().items()}
    differing = {
        found.name: found.version
        for found in distributions()
        if (name := canonicalize_name(found.name)) in locked
        and found.version.partition("+")[0] not in {version.partition("+")[0] for version in locked[name]}
    }
    assert differing == {}


def test_pips_settings_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://a.example/simple\nextra-index-url =\n  https://b.example\n  https://c.example\n"
        "[install]\nindex-url = https://d.example/simple\n"
    )
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    found = script("install").settings()
    assert found["index-url"] == "https://d.example/simple"
    assert found["extra-index-url"].split() == ["https://b.example", "https://c.example"]
    assert found["find-links"] == "/wheels"


def test_uv_finds_a_wheel_that_pip_was_told_of(tmp_path: Path) -> None:
    info = "made_up-1.0.dist-info"
    wheels, target = tmp_path / "wheels", tmp_path / "target"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "made_up-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("made_up.py", "found = True\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: none\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    install = script("install")
    told = {"find-links": str(wheels), "no-index": "true"}
    assert install.by_uv(told, ["--target", str(target), "made-up"])
    assert (target / "made_up.py").read_text() == "found = True\n"
    assert not install.by_uv(told, ["--target", str(target), "not-made"])


def test_an_issue_about_newest_versions_names_what_broke(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = script("broken")
    lock = broken.locked("torch==2.13.0\nnumpy==2.2.6 ; python_full_version < '3.11'\nnumpy==2.4.6\nclick==8.5.1\n")
    assert broken.differing(lock, "torch==2.13.0+cpu\nnumpy==2.4.6\nclick==9.0\nother==1\n") == [
        "click 9.0, locked 8.5.1"
    ]
    monkeypatch.setattr(broken, "PYTHON", sys.executable)
    broken.main("....F\nFAILED tests/test_a.py::test_b - AssertionError\n1 failed\n")
    printed = capsys.readouterr().out
    assert "FAILED tests/test_a.py::test_b - AssertionError" in printed and "{" not in printed


def test_the_real_model_that_is_installed_is_the_one_that_is_named() -> None:
    lines = [line.split() for line in REAL.read_text().splitlines() if not line.startswith("#")]
    assert sorted(package for package, _ in lines) == sorted(known.package for known in NAMED.values())
    assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", hashed) for _, hashed in lines)
