"""What is installed: a wheel that does the main job away from the checkout, and the README's own code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from comparisons import __version__
from comparisons.method import check_method
from comparisons.method.registry import Registry
from tests.documented import PAGES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
PARTS = (
    *("comparisons", "methods", "data", "checkpoints/pocket", "tests", "docs", "reports/example"),
    *("reports/example-pocket", ".ci"),
    *("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"),
    *("CONTRIBUTING.md", "Makefile", "constraints.txt", "requirements.lock", "mkdocs.yml"),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist, built from a copy of the sources, and a wheel, built from the sdist."""
    source = tmp_path_factory.mktemp("source")
    for part in PARTS:
        place = source / part
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, place)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", str(source)], cwd=source, check=True, capture_output=True
    )
    return source / "dist"


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's contents."""
    target = tmp_path_factory.mktemp("target")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = str(next(built.glob("*.whl")))
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), wheel], check=True, capture_output=True)
    return target


def test_a_wheel_does_the_main_job_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(installed)}
    where = [sys.executable, "-c", "import comparisons; print(comparisons.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(installed))
    command = ["run", "--behavior", "refusal", "--methods", "caa,sysprompt", "--train-items", "40", "--layer", "1"]
    command += ["--test-items", "10", "--knowledge-items", "10", "--json"]
    ended = subprocess.run(
        [sys.executable, "-m", "comparisons", *command], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    assert {row["status"] for row in answer["rows"]} == {"done"}
    assert (tmp_path / answer["run"] / "report.md").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "reports"]


def test_a_wheel_lists_its_behaviors_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200"}
    ended = subprocess.run(
        [sys.executable, str(installed / "bin/compare"), "behaviors"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    behaviors = sorted(path.name for path in (ROOT / "data/generate").iterdir())
    assert len(behaviors) == 7
    assert [name for name in behaviors if name not in ended.stdout] == []
    assert not list(tmp_path.iterdir())


def test_the_wheel_carries_everything_beside_the_code(installed: Path) -> None:
    packages = {"comparisons": "comparisons", "methods": "methods"}
    embedded = {"data": "comparisons/embedded/data", "checkpoints/pocket": "comparisons/embedded/pocket"}
    for source, place in (packages | embedded).items():
        files = {path.relative_to(ROOT / source) for path in (ROOT / source).rglob("*") if path.is_file()}
        # How the embedded model was made is beside it in the repository, and not installed.
        there = {path for path in files if not {"__pycache__", "recipe"} & set(path.parts)}
        assert [str(path) for path in sorted(there) if not (installed / place / path).is_file()] == []


def test_the_wheel_carries_no_recipe_and_no_tests(installed: Path) -> None:
    assert not [path for path in installed.rglob("*") if {"recipe", "tests", "validation"} & set(path.parts)]


def test_the_sdist_carries_tests_and_pages(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = {
        "tests/tiny.py",
        "docs/method.md",
        "docs/figures/results-shift.png",
        "CHANGELOG.md",
        "CITATION.cff",
        "Makefile",
        "requirements.lock",
        ".ci/install.py",
        "checkpoints/pocket/recipe/train.py",
        "tests/validation/simulations.py",
    }
    assert wanted <= names


def test_the_wheel_carries_its_types_templates_and_licence(installed: Path) -> None:
    assert (installed / "comparisons/py.typed").is_file()
    assert (installed / "comparisons/method/templates/method.txt").is_file()
    assert next(installed.glob("*.dist-info/licenses/LICENSE")).is_file()


def test_the_readmes_plugin_passes_the_conformance_suite(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(from dataclasses.*?)```", text, re.DOTALL)
    assert code is not None
    (tmp_path / "loud.py").write_text(code[1])
    check_method(Registry(tmp_path).get("loud"))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere_in_the_repository(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def test_one_version_stands_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in citation
    assert f"\nversion = {__version__}\n" in setup


def test_every_page_of_the_docs_stands_in_the_sites_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = set(re.findall(r": (\S+\.(?:md|ipynb))$", navigation, re.MULTILINE))
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert pages <= listed, f"mkdocs.yml lacks {sorted(pages - listed)}"
