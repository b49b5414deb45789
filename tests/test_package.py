"""What is installed: a wheel that does the main job away from the checkout, and the README's own code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from comparisons.method import check_method
from comparisons.registry import Registry

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("comparisons", "methods", "data", "checkpoints/pocket", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's contents, built from a copy of the sources."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    for part in PARTS:
        place = source / part
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, place)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(source / "dist"), str(source)]
    subprocess.run(wheel, check=True, capture_output=True)
    built = next((source / "dist").glob("*.whl"))
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(built)], check=True, capture_output=True)
    return target


def test_a_wheel_does_the_main_job_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(installed)}
    where = [sys.executable, "-c", "import comparisons; print(comparisons.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(installed))
    command = ["run", "--behavior", "refusal", "--methods", "caa,sysprompt", "--test-items", "20", "--json"]
    ended = subprocess.run(
        [sys.executable, "-m", "comparisons", *command], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    assert {row["status"] for row in answer["rows"]} == {"done"}
    assert (tmp_path / answer["run"] / "report.md").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "reports"]


def test_the_wheel_carries_its_types_templates_and_licence(installed: Path) -> None:
    assert (installed / "comparisons/py.typed").is_file()
    assert (installed / "comparisons/kit/templates/method.txt").is_file()
    assert next(installed.glob("*.dist-info/licenses/LICENSE")).is_file()


def test_the_readmes_plugin_passes_the_conformance_suite(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(from dataclasses.*?)```", text, re.DOTALL)
    assert code is not None
    (tmp_path / "loud.py").write_text(code[1])
    check_method(Registry(tmp_path).get("loud"))


def test_the_readmes_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (ROOT / link).exists(), link
