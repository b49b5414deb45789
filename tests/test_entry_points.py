"""Methods that installed packages bring."""

from __future__ import annotations

from pathlib import Path

import pytest

from comparisons.method.registry import Registry
from tests.test_registry import GOOD, described, error_of, install, put, python


def test_an_installed_distribution_brings_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = install(
        tmp_path,
        "loudness",
        {
            "loud": "loudness_plugin:Shout",
            "loud-module": "loudness_plugin",
            "not-one": "loudness_plugin:dataclass",
            "abstract": "comparisons.method:Method",
            "gone": "loudness_plugin:Nothing",
            "broken": "loudness_broken",
        },
        {"loudness_plugin.py": GOOD, "loudness_broken.py": "1 / 0"},
    )
    monkeypatch.syspath_prepend(site)

    registry = Registry()

    assert registry.get("loud").__name__ == "Shout"
    assert registry.get("loud-module") is registry.get("loud")
    assert described(registry, "loud").source == "entry point loud = loudness_plugin:Shout of loudness"
    for name in ("not-one", "abstract"):
        assert error_of(registry, name).endswith("is not a concrete subclass of comparisons.method.Method.")
    assert "entry point gone = loudness_plugin:Nothing of loudness: AttributeError" in error_of(registry, "gone")
    assert error_of(registry, "broken").endswith("of loudness: ZeroDivisionError: division by zero")
    assert described(registry, "broken").error is not None


def test_an_entry_point_that_takes_a_name_of_ours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install(tmp_path, "thief", {"sysprompt": "thief:Shout"}, {"thief.py": GOOD}))

    assert error_of(Registry(), "sysprompt") == (
        "method 'sysprompt' is defined by methods/sysprompt.py and entry point sysprompt = thief:Shout "
        "of thief: rename or remove one."
    )


def test_an_entry_point_works_in_a_fresh_interpreter(tmp_path: Path) -> None:
    site = install(tmp_path / "site", "fresh", {"loud": "fresh:Shout"}, {"fresh.py": GOOD})
    code = """
        from comparisons.method.registry import Registry
        from comparisons.method.settings import parse_settings
        print(parse_settings(Registry().get("loud"), {"times": "3"}, "loud").intervene(None).system)
    """

    assert python(code, path=site, cwd=tmp_path).strip() == "Shout! Shout! Shout!"


def test_a_foreign_package_called_methods_is_named(tmp_path: Path) -> None:
    put(tmp_path / "methods", {"__init__.py": "", "sysprompt.py": GOOD})
    code = """
        from comparisons.method.registry import Registry
        print({info.name: info.error for info in Registry().describe()}["sysprompt"])
    """

    found = python(code, path=tmp_path, cwd=tmp_path)

    assert f"{tmp_path / 'methods' / 'sysprompt.py'} hides it: take that 'methods' off Python's path." in found
