from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from comparisons.intervention import OPERATIONS
from comparisons.method import Method
from comparisons.method.registry import PluginInfo, Registry
from comparisons.method.settings import Setting
from comparisons.util.errors import CompareError
from comparisons.util.plugins import first_line

ROOT = Path(__file__).resolve().parent.parent

GOOD = '''
"""A plugin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from comparisons.method import Intervention, Method, Use


@dataclass(frozen=True)
class Shout(Method):
    """Ask for loud answers.

    More is said here.
    """

    times: int | Literal["auto"] = 2

    def intervene(self, use: Use) -> Intervention:
        return Intervention(system="Shout! " * self.times)
'''


def put(folder: Path, files: Mapping[str, str]) -> Path:
    """Writes plugin files into a folder of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


def install(folder: Path, name: str, entries: Mapping[str, str], files: Mapping[str, str]) -> Path:
    """Makes a folder look like site-packages with a distribution in it that has entry points."""
    put(folder, files)
    lines = [f"{key} = {value}" for key, value in entries.items()]
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    put(
        folder / f"{name}-1.0.dist-info",
        {"METADATA": metadata, "entry_points.txt": "\n".join(["[comparisons.methods]", *lines, ""])},
    )
    return folder


def error_of(registry: Registry, name: str) -> str:
    with pytest.raises(CompareError) as error:
        registry.get(name)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def described(registry: Registry, name: str) -> PluginInfo:
    return next(info for info in registry.describe() if info.name == name)


def python(code: str, *, path: Path | None = None, cwd: Path | None = None) -> str:
    """Runs code in an interpreter of its own; returns what it prints."""
    folders = [str(folder) for folder in (path, ROOT) if folder]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def own_names() -> list[str]:
    return [file.stem for file in (ROOT / "methods").glob("*.py") if not file.name.startswith("_")]


def test_our_own_methods_are_known_by_their_files() -> None:
    registry = Registry()

    assert set(own_names()) <= set(registry.names())
    assert list(registry.names()) == sorted(registry.names())
    for name in own_names():
        cls = registry.get(name)
        assert issubclass(cls, Method)
        assert cls.__module__ == f"methods.{name}"


def test_our_own_methods_are_described() -> None:
    info = described(Registry(), "sysprompt")

    assert info == PluginInfo(
        name="sysprompt",
        source="methods/sysprompt.py",
        error=None,
        role="method",
        dosed=False,
        summary="Ask for the behavior, or against it, in the system prompt.",
        settings=(),
    )
    assert [i.name for i in Registry().describe() if i.error] == []


def test_listing_is_quick_and_loads_nothing_heavy() -> None:
    code = """
        import json, sys, time
        start = time.perf_counter()
        from comparisons.method.registry import Registry
        rows = Registry().describe()
        heavy = ("torch", "transformers", "peft", "trl", "datasets", "matplotlib", "numpy", "scipy")
        seconds = time.perf_counter() - start
        loaded = [name for name in heavy if name in sys.modules]
        print(json.dumps({"loaded": loaded, "seconds": seconds, "names": [row.name for row in rows]}))
    """

    found = json.loads(python(code))

    assert found["loaded"] == []
    assert set(own_names()) <= set(found["names"])
    assert found["seconds"] < 2.0


def test_names_import_no_method() -> None:
    code = """
        import sys
        from comparisons.method.registry import Registry
        Registry().names()
        print([name for name in sys.modules if name.partition(".")[0] == "methods"])
    """

    assert python(code).strip() == "[]"


def test_a_file_in_a_folder_is_a_method(tmp_path: Path) -> None:
    folder = put(
        tmp_path,
        {
            "shout.py": GOOD,
            "_private.py": "raise RuntimeError",
            ".#shout.py": "?",
            "notes.txt": "",
            "my-own_2.py": GOOD,
        },
    )

    registry = Registry(folder)

    assert {"shout", "my-own_2"} == set(registry.names()) - set(Registry().names())
    assert registry.get("shout").__name__ == "Shout"
    assert registry.get("shout") is registry.get("shout") is Registry(folder).get("shout")
    assert described(registry, "shout") == PluginInfo(
        "shout",
        str(folder / "shout.py"),
        None,
        "method",
        True,
        "Ask for loud answers.",
        (Setting("times", "auto | int", "2"),),
    )
    assert described(registry, "my-own_2").error is None


def test_a_plugin_imports_its_private_neighbour(tmp_path: Path) -> None:
    user = GOOD.replace("class Shout(Method)", "class Louder(Base)").replace(
        "from comparisons.method", "from ._base import Base\nfrom comparisons.method"
    )
    folder = put(tmp_path, {"louder.py": user, "_base.py": GOOD.replace("class Shout", "class Base")})

    assert Registry(folder).get("louder").__name__ == "Louder"


def test_folders_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    one = put(tmp_path / "one", {"shout.py": GOOD})
    other = put(tmp_path / "other", {"shout.py": GOOD.replace("loud", "quiet")})

    assert described(Registry(one), "shout").summary == "Ask for loud answers."
    assert described(Registry(other), "shout").summary == "Ask for quiet answers."


@pytest.mark.parametrize("place", ["missing", "file.py"])
def test_a_folder_must_be_there(tmp_path: Path, place: str) -> None:
    (tmp_path / "file.py").write_text(GOOD)

    with pytest.raises(CompareError) as error:
        Registry(tmp_path / place)

    assert str(error.value) == f"--plugins {tmp_path / place}: there is no such folder."


def test_an_unknown_name_gets_the_nearest_and_all_known() -> None:
    message = error_of(Registry(), "sysprmpt")

    assert message.startswith("unknown method 'sysprmpt'. Did you mean sysprompt? Known: ")
    assert all(name in message for name in own_names())


ABSTRACT = GOOD.replace("def intervene", "def other")
BROKEN = {
    "syntax": ("def (", "SyntaxError: invalid syntax (syntax.py, line 1)"),
    "missing": (
        "import no_such_package_anywhere",
        "ModuleNotFoundError: No module named 'no_such_package_anywhere'",
    ),
    "raises": ("raise ValueError('one\\ntwo')", "ValueError: one two"),
    "exits": ("import sys\nsys.exit('bye')", "SystemExit: bye"),
    "empty": ("", "it defines no concrete subclass of comparisons.method.Method."),
    "imported": (
        "from comparisons.method import Method\nfrom methods.sysprompt import SystemPrompt",
        "it defines no concrete subclass of comparisons.method.Method.",
    ),
    "abstract": (
        ABSTRACT,
        "it defines no concrete subclass of comparisons.method.Method. Shout lacks: intervene.",
    ),
    "two": (
        GOOD + GOOD.replace("class Shout", "class Whisper").replace("from __future__ import annotations", ""),
        "a file defines one method, this one defines 2: Shout and Whisper.",
    ),
    "undecorated": (
        GOOD.replace("@dataclass(frozen=True)", ""),
        "Shout is no dataclass: write @dataclass(frozen=True) above it.",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_fails_only_where_it_is_asked_for(tmp_path: Path, name: str) -> None:
    text, cause = BROKEN[name]
    registry = Registry(put(tmp_path, {f"{name}.py": text, "shout.py": GOOD}))
    message = f"method '{name}' can't be loaded from {tmp_path / name}.py: {cause}"

    assert name in registry.names()
    assert registry.get("shout").__name__ == "Shout"
    assert error_of(registry, name) == message
    assert described(registry, name) == PluginInfo(name, str(tmp_path / f"{name}.py"), message)
    assert described(registry, "shout").error is None


def test_settings_that_can_not_be_read_are_an_error_in_the_listing(tmp_path: Path) -> None:
    odd = GOOD.replace('int | Literal["auto"] = 2', "tuple[int, int] = (1, 2)")
    registry = Registry(put(tmp_path, {"odd.py": odd, "lost.py": GOOD.replace("int |", "Nowhere |")}))

    assert "setting 'times' of Shout has type tuple" in str(described(registry, "odd").error)
    assert "name 'Nowhere' is not defined" in str(described(registry, "lost").error)


def test_a_name_must_fit_into_a_stack(tmp_path: Path) -> None:
    registry = Registry(put(tmp_path, {"my method.py": GOOD, "2nd.py": GOOD, "baseline.py": GOOD}))

    for name in ("my method", "2nd", "baseline"):
        assert "can't be called so: use a letter, then letters, digits, - and _" in error_of(registry, name)


def test_an_alias_is_not_a_second_method(tmp_path: Path) -> None:
    registry = Registry(put(tmp_path, {"shout.py": GOOD + "\n\nCry = Shout\n"}))

    assert registry.get("shout").__name__ == "Shout"


def test_a_name_taken_twice_names_both_sources(tmp_path: Path) -> None:
    registry = Registry(put(tmp_path, {"sysprompt.py": GOOD, "shout.py": GOOD}))
    sources = f"methods/sysprompt.py and {tmp_path / 'sysprompt.py'}"

    message = error_of(registry, "sysprompt")

    assert message == f"method 'sysprompt' is defined by {sources}: rename or remove one."
    assert described(registry, "sysprompt") == PluginInfo("sysprompt", sources, message)
    assert registry.get("shout").__name__ == "Shout"


def test_the_first_line_of_a_docstring_is_the_summary(tmp_path: Path) -> None:
    bare = re.sub(r'    """Ask.*?"""\n', "", GOOD, flags=re.DOTALL)
    registry = Registry(put(tmp_path, {"shout.py": GOOD, "bare.py": bare}))

    assert first_line(registry.get("shout")) == "Ask for loud answers."
    assert first_line(registry.get("bare")) is None
    assert described(registry, "bare").summary == ""


def words_of(text: str) -> set[str]:
    """What a string of one word is made of: a name, a stack "a+b", a list of them or a setting "a.layer"."""
    return set() if re.search(r"\s", text) else set(re.split(r"[+:,.=/\[\]]", text))


def test_no_method_is_named_in_the_framework() -> None:
    # A method may be called as the operation that it is; where edits are handled the word alone means that.
    files = ("engine/hooks.py", "intervention.py", "evaluations/random_ranks.py")
    allowed = {(file, word) for file in files for word in OPERATIONS}
    names = set(own_names())
    found = []
    for file in sorted((ROOT / "comparisons").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and names & words_of(node.value):
                if (file.relative_to(ROOT / "comparisons").as_posix(), node.value) in allowed:
                    continue
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}: {node.value!r}")

    assert found == []


def test_a_name_may_be_written_with_hyphens() -> None:
    assert Registry().get("learned-vector") is Registry().get("learned_vector")
    with pytest.raises(CompareError, match="unknown method 'no-such'"):
        Registry().get("no-such")
