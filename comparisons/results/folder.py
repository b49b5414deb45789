"""A run's folder: one process at a time writes it, what is damaged in it is found, and what is whole is kept."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.results.cellfiles import JOURNAL, NEXT_JOURNAL, NEXT_RESULTS, RESULTS, CellFiles, Rows
from comparisons.results.journal import Entry, read_journal
from comparisons.results.keys import on_model
from comparisons.util.artifacts import MANIFEST, folder_fault
from comparisons.util.errors import CompareError, StorageError, refusal
from comparisons.util.files import read_sealed, remove_leftovers, write_sealed

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN, CHOICES, SUMMARY, BEST = "run.json", "choices.json", "summary.json", "best"
LOCK, _CHOICE = ".lock", "choice "
NOT_REPEATED = "not_repeated"
"""In a cell's info: condition of `--robustness` -> why the cell has no rows under it."""

log = logging.getLogger(__name__)


class RunFolder:
    """Opens or resumes a run.

    Args:
        path: the folder; made if absent.
        digest: hash of the specification; a folder of another one is refused.
        fresh: begin anew, discarding what is there.
        wait: whether to wait for another process that writes the same run; it is refused otherwise.

    Raises:
        CompareError: another process writes the folder, or it holds another run.
        StorageError: it can't be written.
    """

    def __init__(self, path: Path, digest: str, fresh: bool = False, wait: bool = False) -> None:
        self.path, self.digest = path, digest
        self._cells = CellFiles(path, digest)
        check_run_folder(path, digest, fresh)
        with self._writing():
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path, wait)
        try:
            # While this one waited the other may have begun another run here.
            check_run_folder(path, digest, fresh)
            with self._writing():
                if fresh:
                    # run.json last: until then the folder belongs to the run that is being discarded.
                    for name in (NEXT_JOURNAL, NEXT_RESULTS, SUMMARY, RESULTS, JOURNAL, CHOICES, RUN):
                        (path / name).unlink(missing_ok=True)
                remove_leftovers(path)
                self._recover()
                self._restore_choices()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets other processes have the folder."""
        self._cells.close()
        self._lock.release()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"the run in {self.path} can't be written: {refusal(error)}") from error

    def _recover(self) -> None:
        """Names what is damaged, drops it, and leaves what is whole."""
        for fault in run_faults(self.path):
            log.warning("%s", fault)
        found = self._cells.read()
        if found.foreign and _known_digest(self.path) != self.digest:
            raise CompareError(
                f"{self.path} holds cells of another run, whose {RUN} is lost: name another folder by --out, or "
                "discard it by --fresh."
            )
        if found.damaged or found.unfinished:
            # Until the cells have run again there is no finished run here.
            (self.path / SUMMARY).unlink(missing_ok=True)
        self._cells.recover(found)

    @property
    def entries(self) -> Mapping[str, Entry]:
        """The committed cells' lines in the journal, by cell."""
        return self._cells.entries

    def done(self, cell: str) -> bool:
        """Whether the cell ended well; a failed one is tried again."""
        return cell in self.entries and "error" not in self.entries[cell].info

    def commit(self, cell: str, rows: Rows, info: Mapping[str, Any]) -> None:
        """Appends a cell's rows and what the summary needs beside them.

        Raises:
            StorageError: the disk refuses, or somebody took the run's files away.
        """
        with self._writing():
            self._cells.commit(cell, rows, info)

    def rewrite(self, changed: Mapping[str, tuple[Rows, Mapping[str, Any]]]) -> None:
        """Puts other rows and info in the place of some committed cells'; a kill leaves all of it or nothing.

        Args:
            changed: cell -> its rows and info.
        """
        with self._writing():
            self._cells.rewrite(changed)

    def rows(self, cell: str) -> list[dict[str, Any]]:
        """The result rows of a committed cell."""
        return self._cells.rows(cell)

    def choice(self, key: str, behavior: str, model: str = "") -> Mapping[str, Any] | None:
        """What was chosen on dev before, None where it wasn't; the model is told where a run has several."""
        wanted = (key, behavior, model)
        return next((r for r in self._choices() if (r["key"], r["behavior"], r.get("model", "")) == wanted), None)

    def choices(self, behavior: str, model: str = "") -> tuple[Mapping[str, Any], ...]:
        """Everything that was chosen on dev for a behavior."""
        return tuple(r for r in self._choices() if (r["behavior"], r.get("model", "")) == (behavior, model))

    def add_choice(self, key: str, record: Mapping[str, Any]) -> None:
        """Keeps what was chosen on dev: in the journal, of which choices.json is a copy for readers."""
        name = on_model(f"{_CHOICE}{record['behavior']} {key}", record.get("model", ""))
        self.commit(name, [], {"key": key, **record})
        self.write(CHOICES, {"choices": self._choices()})

    def _choices(self) -> list[Mapping[str, Any]]:
        return [entry.info for cell, entry in self.entries.items() if cell.startswith(_CHOICE)]

    def _restore_choices(self) -> None:
        """Brings choices.json and the journal's choices together where one of them was damaged or is behind."""
        try:
            written = (self.read(CHOICES) or {"choices": []})["choices"]
        except CompareError:
            (self.path / CHOICES).unlink()
            written = []
        lost = [record for record in written if record not in self._choices()]
        for record in lost:
            self.add_choice(record["key"], {name: value for name, value in record.items() if name != "key"})
        if not lost and self._choices() != written:
            self.write(CHOICES, {"choices": self._choices()})

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Writes a JSON file of the run, with a checksum of its content."""
        with self._writing():
            write_sealed(self.path / name, value)

    def read(self, name: str) -> Any:
        """A JSON file of the run, None where it isn't there."""
        return read_sealed(self.path / name, "run") if (self.path / name).exists() else None


def check_run_folder(path: Path, digest: str, fresh: bool = False) -> None:
    """Writes nothing.

    Raises:
        CompareError: a run can't go to this folder.
        StorageError: nobody may write there.
    """
    if path.exists() and not path.is_dir():
        raise CompareError(f"the output folder {path} is a file: name another by --out.")
    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise CompareError(f"the output folder {path} can't be written, {existing} is a file: name another by --out.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StorageError(f"the output folder {path} can't be written: name another by --out.")
    if fresh:
        return
    # Where run.json is damaged, the cells' own checks still tell what belongs to this command.
    if _known_digest(path) not in (None, digest):
        raise CompareError(
            f"{path} holds a run of another specification: name another folder by --out, or discard it by --fresh."
        )


def run_faults(path: Path) -> list[str]:
    """What is damaged in a run's folder, one line each; changes nothing."""
    found = []
    for name in (RUN, CHOICES, SUMMARY):
        try:
            if (path / name).exists():
                read_sealed(path / name, "run")
        except CompareError as error:
            found.append(str(error))
    fault = folder_fault(path / BEST) if (path / BEST / MANIFEST).exists() else None
    found += [f"{fault}: the run's command makes it again."] if fault else []
    files = path / RESULTS, path / JOURNAL
    if (path / NEXT_JOURNAL).exists():
        # A rewriting that was cut off near its end, which opening the folder brings to it.
        files = path / (NEXT_RESULTS if (path / NEXT_RESULTS).exists() else RESULTS), path / NEXT_JOURNAL
    journal = read_journal(*files, _known_digest(path))
    found += [f"{path}: {name} is damaged: the run's command runs it again." for name in journal.damaged]
    if journal.unfinished and (path / SUMMARY).exists():
        found.append(f"{path}: the last rows are cut off: the run's command runs their cell again.")
    return found


def _known_digest(path: Path) -> str | None:
    """The digest in run.json; None where there is none, or where it is damaged."""
    try:
        found = read_sealed(path / RUN, "run")
    except CompareError:
        return None
    digest = found.get("digest") if isinstance(found, dict) else None
    return digest if isinstance(digest, str) else ""


def _locked(path: Path, wait: bool) -> Any:
    from filelock import FileLock, Timeout

    # The system frees the lock of a process that died, so there are no stale ones.
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise CompareError(f"another process is writing the run in {path}: wait for it or use --out.") from None
        log.warning("another process is writing the run in %s: waiting for it.", path)
        lock.acquire()
    return lock
