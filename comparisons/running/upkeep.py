"""Looks through artifacts and runs for what is damaged or left over, and clears it away."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comparisons.judges.interface import Setup
from comparisons.model.copies import is_outdated
from comparisons.results.folder import LOCK, RUN, run_faults
from comparisons.util.artifacts import MAKING, MANIFEST, artifact_fault, lock_of
from comparisons.util.errors import CompareError, StorageError, refusal
from comparisons.util.files import leftovers, read_json, read_sealed

LEFT_OVER = "half written by a process that is gone"

State = Literal["whole", "damaged", "left over", "in use"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        path: the artifact, the run, the kept verdict, or what was left over.
        state: "damaged" is never used by a run; "left over" is what an interrupted fit or a killed write left; "in
            use" is being written now.
        text: what is the matter; empty where all is well.
        removable: whether it can be removed without a loss: it is made again where it is needed.
    """

    path: Path
    state: State
    text: str = ""
    removable: bool = False


def look_through(checkpoints: Path, reports: Path) -> list[Finding]:
    """Verifies every artifact, kept verdict and run; changes nothing.

    Args:
        checkpoints: the folder of artifacts.
        reports: the folder of runs.
    """
    return [*_artifacts(checkpoints), *_verdicts(checkpoints / Setup.cache.name), *_runs(reports)]


def clean(findings: list[Finding]) -> list[Path]:
    """Removes what is damaged or left over and is made again where it is needed; returns what was removed.

    Damaged runs stay: their own commands keep what is whole in them.

    Raises:
        StorageError: something can't be removed.
    """
    from filelock import FileLock, Timeout

    removed = []
    for finding in findings:
        if not finding.removable:
            continue
        folder = finding.path.with_name(finding.path.name.removeprefix(".").removesuffix(MAKING))
        try:
            if finding.path.is_dir():
                with FileLock(lock_of(folder), timeout=0):
                    shutil.rmtree(finding.path)
            else:
                finding.path.unlink()
        except Timeout:
            continue
        except OSError as error:
            raise StorageError(f"{finding.path} can't be removed: {refusal(error)}") from error
        removed.append(finding.path)
    return removed


def _artifacts(root: Path) -> list[Finding]:
    findings = []
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if path.name.endswith(MAKING):
            findings.append(_making(path))
        elif _is_artifact(path):
            findings.append(_artifact(path))
    return findings


def _artifact(path: Path) -> Finding:
    fault = artifact_fault(path)
    if fault:
        return Finding(path, "damaged", fault, True)
    if is_outdated(path):
        return Finding(path, "left over", "a copy of a GGUF file by other versions of the packages", True)
    return Finding(path, "whole")


def _is_artifact(path: Path) -> bool:
    """Whether this program made the folder: it has locked it, or written its manifest."""
    if lock_of(path).exists():
        return path.is_dir()
    try:
        return {"key", "parts"} <= set(read_json(path / MANIFEST, "artifact"))
    except (CompareError, TypeError):
        return False


def _making(path: Path) -> Finding:
    """A folder in which an artifact is being made, or was when its process died."""
    if _is_locked(lock_of(path.with_name(path.name.removeprefix(".").removesuffix(MAKING)))):
        return Finding(path, "in use", "being fitted now")
    return Finding(path, "left over", "an interrupted fit, which its run's command goes on with", True)


def _is_locked(lock: Path) -> bool:
    from filelock import FileLock, Timeout

    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # on a disk that takes no writes nobody writes
        return False


def _verdicts(folder: Path) -> list[Finding]:
    """Replies of judges, each a sealed file."""
    findings = []
    for path in sorted(folder.glob("*.json")):
        try:
            read_sealed(path, "a kept verdict")
            findings.append(Finding(path, "whole"))
        except CompareError as error:
            findings.append(Finding(path, "damaged", str(error), True))
    return findings + [Finding(path, "left over", LEFT_OVER, True) for path in leftovers(folder)]


def _runs(root: Path) -> list[Finding]:
    findings = []
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if (path / LOCK).exists() and _is_locked(path / LOCK):
            findings.append(Finding(path, "in use", "being written now"))
        elif (path / RUN).exists():
            faults = run_faults(path)
            findings += [Finding(path, "damaged", fault) for fault in faults] or [Finding(path, "whole")]
            left = [*leftovers(path), *leftovers(path / "figures")]
            findings += [Finding(each, "left over", LEFT_OVER, True) for each in left]
    return findings
