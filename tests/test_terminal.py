"""What stands on stderr is the program's own, whatever libraries have to say; it is in the log of the run's folder."""

from __future__ import annotations

import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import pytest

from comparisons.cli import execute
from comparisons.util.terminal import LIBRARY_LOG, keep_library_log, libraries_logged, say
from tests.forks import Command, Ended, Forks

pytestmark = pytest.mark.slow

SMALL = "--behavior refusal --train-items 16 --test-items 6 --knowledge none --directions pos"
SFT = "--set sft.epochs=1 --set sft.learning_rate=1e-3"
COMMANDS = {
    "sweep": "sweep --behavior refusal --layers 0-1 --strengths 1 --methods caa --train-items 16",
    "generate": "generate --prompt Hello --behavior refusal --methods caa --layer 1 --tokens 4",
    "4 bits": f"run {SMALL} --methods sft --quantize 4bit {SFT}",
    "8 bits": f"run {SMALL} --methods caa --quantize 8bit --layer 1",
}

KNOWN = {"pocket reads padded prompts as others: each batch has prompts of one length."}
"""Lines of ours that these commands may print: in 8 bits padding shows, on some CPUs."""

OFFLOADED = """
from comparisons.model import loading
from comparisons.cli import main
names = ["model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head", *(f"model.layers.{i}" for i in range(6))]
places = {name: "disk" if name == "model.layers.1" else "cpu" for name in names}
from comparisons.model.offload import is_offloaded
read = loading._read

def checked(*given):
    loaded = read(*given)
    assert is_offloaded(loaded.model)
    return loaded

loading._read = checked
loading._placement = lambda source, device: {"device_map": places, "offload_folder": "away"}
main(%r)
"""
"""Stands for a GPU that is too small, beside which a CPU keeps what `--offload` puts on disk."""

NOISY = '''
"""Adds noise to every channel that there is."""
import logging, os, subprocess, sys, warnings
from dataclasses import dataclass
from comparisons.method import Intervention, Method, Use

@dataclass(frozen=True)
class Noisy(Method):
    """Says much, does nothing."""

    def intervene(self, use: Use) -> Intervention:
        print("printed by the method")
        print("to sys.stderr", file=sys.stderr)
        os.write(2, b"past Python\\n")
        warnings.warn("a warning")
        logging.warning("of the root logger")
        logging.getLogger("transformers").warning("of a library's logger")
        subprocess.run("echo of a child >&2", shell=True)
        print("the key is", os.environ["HF_TOKEN"], file=sys.stderr)
        return Intervention()
'''


def test_no_library_speaks_in_a_fresh_process(fresh_run: tuple[Path, Ended]) -> None:
    assert (fresh_run[1].code, fresh_run[1].errors) == (0, "")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_library_speaks(name: str, near: Forks, tmp_path: Path) -> None:
    (found,) = near.run(Command(COMMANDS[name].split(), str(tmp_path)))
    assert (found.code, set(found.errors.splitlines()) - KNOWN) == (0, set())


def test_no_library_speaks_where_blocks_are_offloaded(near: Forks, tmp_path: Path) -> None:
    arguments = f"run {SMALL} --methods caa,sft --layer 1 {SFT}".split()
    (found,) = near.run(Command((), str(tmp_path), program=OFFLOADED % arguments))
    assert (found.code, found.errors) == (0, "")


def test_what_libraries_say_is_in_the_runs_log_without_secrets(near: Forks, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "noisy.py").write_text(NOISY)
    arguments = f"run {SMALL} --methods noisy --plugins plugins --out out".split()
    (found,) = near.run(Command(arguments, str(tmp_path), variables={"HF_TOKEN": "hf_verysecret"}))
    assert found.code == 0
    assert set(found.errors.splitlines()) == {"printed by the method"}
    log = (tmp_path / "out" / LIBRARY_LOG).read_text()
    for said in ("to sys.stderr", "past Python", "a warning", "root logger", "library's logger", "of a child"):
        assert said in log
    assert "verysecret" not in log and "the key is <HF_TOKEN>" in log


def test_a_crash_of_our_own_shows_its_traceback(tmp_path: Path) -> None:
    program = (
        "import comparisons.cli.methods as m, click\n"
        "@click.command()\ndef broken(): raise ZeroDivisionError('ours')\n"
        "m.command = broken\nfrom comparisons.cli import main\nmain(['methods'])\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert found.returncode == 1 and "ZeroDivisionError: ours" in found.stderr


def test_a_device_that_torch_cant_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    from comparisons.model import loading
    from comparisons.util.errors import CompareError

    def unavailable() -> bool:
        warnings.warn("CUDA initialization: the driver is too old", stacklevel=1)
        return False

    monkeypatch.setattr("torch.cuda.is_available", unavailable)
    with pytest.raises(CompareError, match="PyTorch says: CUDA initialization: the driver is too old"):
        loading.device_for("cuda")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_under_the_log_is_nobodys_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full() -> AbstractContextManager[IO[bytes]]:
        return open("/dev/full", "a+b", buffering=0)

    monkeypatch.setattr("comparisons.util.terminal._log_file", full)
    with libraries_logged():
        print("lost", file=sys.stderr, flush=True)
        keep_library_log(tmp_path)
        say("not lost")
    assert capsys.readouterr().err == "not lost\n"
    assert list(tmp_path.iterdir()) == []


def test_a_deprecated_call_of_ours_is_seen_and_a_librarys_own_is_not(no_deprecation_of_ours: list[str]) -> None:
    import warnings
    from types import ModuleType

    def module(name: str, text: str, **more: object) -> ModuleType:
        made = ModuleType(name)
        made.__dict__.update(more, __name__=name)
        exec(text, made.__dict__)
        return made

    library = module("library.inner", "import warnings\ndef old(): warnings.warn('old is gone', FutureWarning)")
    other = module("other", "def call(): old()", old=library.old)
    ours = module("comparisons.some", "def direct(): old()\ndef indirect(): call()", old=library.old, call=other.call)
    seen = no_deprecation_of_ours
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours.indirect()
        assert seen == []
        ours.direct()
    assert [seen.pop()] == ["comparisons.some: old is gone"]


def test_lines_of_ours_in_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["run", "--behavior", "nothing", "--methods", "caa"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("compare: ")
