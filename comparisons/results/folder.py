"""A run's folder: one process at a time writes it, what is damaged in it is found, and what is whole is kept."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from comparisons.results.answers import Judges
from comparisons.results.cells import (
    CELLS,
    CHOICES,
    CHOSEN,
    RESULTS,
    CellStore,
    cell_path,
    damage,
    known_digest,
    read_cells,
    results_fault,
)
from comparisons.results.schema import STRICT, Contrast, Pooled
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.artifacts import MANIFEST, folder_fault
from comparisons.util.errors import CompareError, StorageError
from comparisons.util.files import read_sealed, remove_leftovers, write_sealed
from comparisons.util.table import Section

QUESTIONS = "questions.json"


@with_config(STRICT)
class QuestionText(TypedDict):
    """A question as its file has it.

    Attributes:
        question: without its choices.
        matching, contrast: the texts of its choices; their letters where it has no texts.
        topic: its template, or the subject of a knowledge question.
        label: what the data says of it.
    """

    question: str
    matching: str
    contrast: str
    topic: str | None
    label: str | None


Questions = dict[str, dict[str, QuestionText]]
"""By behavior, and for the knowledge questions by "", those that were asked, by their items' ids."""

_QUESTIONS = TypeAdapter(Questions)


def read_questions(run: Path) -> Questions:
    """A run's questions; none of a run that was written before they were kept.

    Raises:
        CompareError: the file is broken.
    """
    path = run / QUESTIONS
    if not path.exists():
        return {}
    value: Any = read_sealed(path, "run")
    try:
        return _QUESTIONS.validate_python(value.get("questions") if isinstance(value, dict) else None)
    except ValidationError as error:
        raise CompareError(f"{path} holds no questions as this program writes them: run its command again.") from error


RUN, SUMMARY, BEST, LOCK = "run.json", "summary.json", "best", ".lock"
NOT_REPEATED = "not_repeated"
"""In a cell's info: condition of `--robustness` -> why the cell has no rows under it."""

log = logging.getLogger(__name__)


class RunFolder(CellStore):
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
        super().__init__(path, digest)
        check_run_folder(path, digest, fresh)
        with self.writing():
            try:
                path.mkdir(parents=True, exist_ok=True)
            except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
                fault = f"no folder can be made at {path} ({error.strerror})"
                raise CompareError(f"the run can't be written: {fault}; name another.") from error
            self._lock = _locked(path, wait)
        try:
            # While this one waited the other may have begun another run here.
            check_run_folder(path, digest, fresh)
            with self.writing():
                if fresh:
                    self._discard()
                for folder in (path, path / CELLS, path / CHOSEN):
                    folder.mkdir(exist_ok=True)
                    remove_leftovers(folder)
                self._recover()
                self._restore_choices()
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Lets other processes have the folder; a run that was interrupted has the rows of its whole cells."""
        try:
            if self.entries and not (self.path / RESULTS).exists():
                self.derive()
        except StorageError as error:  # which the run has met itself, or which its command mends
            log.debug("%s", error)
        finally:
            self._lock.release()

    def _discard(self) -> None:
        # run.json last: until then the folder belongs to the run that is being discarded.
        for name in (SUMMARY, RESULTS, CHOICES, QUESTIONS):
            (self.path / name).unlink(missing_ok=True)
        for name in (CELLS, CHOSEN):
            if (self.path / name).exists():
                shutil.rmtree(self.path / name)
        (self.path / RUN).unlink(missing_ok=True)

    def _recover(self) -> None:
        """Names what is damaged, removes it, and keeps what is whole."""
        for fault in run_faults(self.path):
            log.warning("%s", fault)
        state = self.load()
        if state.foreign and known_digest(self.path) != self.run:
            raise CompareError(
                f"{self.path} holds cells of another run, whose {RUN} is lost: name another folder by --out, or "
                "discard it by --fresh."
            )
        if state.damaged:
            # Until the cells have run again there is no finished run here.
            (self.path / SUMMARY).unlink(missing_ok=True)
        for path in state.damaged:
            path.unlink()
        for cell in [cell for cell, entry in self.entries.items() if entry.info.get("waiting")]:
            # Its answers, written elsewhere, never came before the judges.
            cell_path(self.path, self.entries.pop(cell).cell).unlink()

    def _restore_choices(self) -> None:
        """Takes from choices.json what was damaged among the choices."""
        try:
            written = (self.read(CHOICES) or {"choices": []})["choices"]
        except CompareError:
            (self.path / CHOICES).unlink()
            written = []
        for record in written:
            if record not in self.choices(record["behavior"], record.get("model", "")):
                self.add_choice(record["key"], {name: value for name, value in record.items() if name != "key"})

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Writes a JSON file of the run, with a checksum of its content."""
        with self.writing():
            write_sealed(self.path / name, value)

    def write_summary(self, value: Mapping[str, Any]) -> None:
        """Writes summary.json, and before it what is made of the cells."""
        self.derive()
        self.write(SUMMARY, value)

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
    if known_digest(path) not in (None, digest):
        raise CompareError(
            f"{path} holds a run of another specification: name another folder by --out, or discard it by --fresh."
        )


def run_faults(path: Path) -> list[str]:
    """What is damaged in a run's folder, one line each; changes nothing."""
    faults = []
    for name in (RUN, CHOICES, QUESTIONS, SUMMARY):
        try:
            if (path / name).exists():
                read_sealed(path / name, "run")
        except CompareError as error:
            faults.append(str(error))
    fault = folder_fault(path / BEST) if (path / BEST / MANIFEST).exists() else None
    faults += [f"{fault}: the run's command makes it again."] if fault else []
    state = read_cells(path, known_digest(path))
    faults += [damage(path, name) for name in state.damaged.values()]
    if not state.damaged and (path / SUMMARY).exists():
        fault = results_fault(path, state)
        faults += [fault] if fault else []
    return faults


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


def read_summary(run: Path) -> Summary:
    """Reads a run's summary.json.

    Raises:
        CompareError: the folder is missing, is no run or an unfinished one, or its summary is broken.
    """
    if not run.is_dir():
        raise CompareError(f"there is no run in {run}: name a folder that `compare run` has written.")
    path = run / SUMMARY
    if not path.exists() and not (run / "run.json").exists():
        raise CompareError(f"{run} is not a run, it has no run.json: name a folder that `compare run` has written.")
    if not path.exists():
        raise CompareError(f"the run in {run} has not ended, it has no {SUMMARY}: its command again resumes it.")
    summary = read_sealed(path, "summary")
    rows = summary.get("rows") if isinstance(summary, dict) else None
    if not isinstance(rows, list) or not rows:
        raise CompareError(f'{path} has no list "rows": the command of the run again writes it anew.')
    return Summary(
        tuple(_row(row, f"{path}, row {number}") for number, row in enumerate(rows, 1)),
        _held(_JUDGES, summary.get("judges", {}), "judges", path, "compare score writes it anew"),
        _held(_SECTIONS, summary.get("sections", {}), "sections", path, "run again its command"),
        _held(_CONTRASTS, summary.get("contrasts", []), "contrasts", path, "run again its command"),
        _held(_POOLED, summary.get("pooled", []), "pooled", path, "run again its command"),
    )


_ROW, _JUDGES, _SECTIONS = TypeAdapter(SummaryRow), TypeAdapter(Judges), TypeAdapter(dict[str, Section])
_CONTRASTS, _POOLED = TypeAdapter(Sequence[Contrast]), TypeAdapter(Sequence[Pooled])


def _held(adapter: TypeAdapter[Any], value: Any, name: str, path: Path, mend: str) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise CompareError(f'{path}: "{name}" is not as this program writes it: {mend}.') from error


def _row(value: Any, where: str) -> SummaryRow:
    """Holds one row to its fields' types; what is missing and not required has its default."""
    if not isinstance(value, dict):
        raise CompareError(f"{where}: not an object.")
    known = {f.name for f in fields(SummaryRow)}
    odd = next((name for name in value if name not in known), None)
    if odd is not None:
        raise CompareError(f"{where}: unknown field '{odd}', written by another version of this program.")
    row = {"direction": None, **value}
    try:
        # As JSON: strictly, a dataclass is made of nothing else.
        _ROW.validate_json(json.dumps(row))
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        what = f"can't be {value[name]!r}" if name in value else "is missing"
        raise CompareError(f"{where}: the field '{name}' {what}.") from error
    return SummaryRow(**{**row, "warnings": tuple(row.get("warnings", ()))})
