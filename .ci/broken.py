"""Writes the text of an issue about newest versions that broke the tests: `python .ci/broken.py tests.log`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"
MOST = 50
"""Lines of failures that an issue shows."""


def locked(text: str) -> dict[str, set[str]]:
    """Every version of each package in requirements.lock; which it is may depend on the Python."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE):
        found.setdefault(name.lower(), set()).add(version)
    return found


def differing(lock: dict[str, set[str]], installed: str) -> list[str]:
    """A line a package whose version is none of the lock's."""
    pairs = re.findall(r"^([\w.-]+)==([^+\s]+)", installed, re.MULTILINE)
    names = [(name.lower().replace("_", "-"), version) for name, version in pairs]
    return [
        f"{name} {version}, locked {' or '.join(sorted(lock[name]))}"
        for name, version in names
        if name in lock and version not in lock[name]
    ]


def main(log: str) -> None:
    """Prints the issue's text."""
    listed = subprocess.run(
        [PYTHON, "-m", "pip", "list", "--format", "freeze"], capture_output=True, text=True, check=False
    )
    versions = differing(locked((ROOT / "requirements.lock").read_text()), listed.stdout)
    failures = re.findall(r"^(?:FAILED|ERROR) .*", log, re.MULTILINE) or log.splitlines()[-MOST:]
    template = (ROOT / ".github/ISSUE_TEMPLATE/newest.md").read_text().split("---\n", 2)[2].strip()
    shown = {
        "versions": "\n".join(f"- {line}" for line in versions) or "Nothing.",
        "failures": "```\n" + "\n".join(failures[:MOST]) + "\n```",
    }
    print(template.format(**shown))


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text(errors="replace"))
