"""What can be fetched: where, at which revision, under which licence, by which checksums; and what is made of it."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import quote

from comparisons.dataset.reading import read_text
from comparisons.dataset.splits import split_file
from comparisons.util.errors import CompareError, unknown
from comparisons.util.files import load_json

RAW_ENDPOINT = "COMPARE_RAW_ENDPOINT"
"""Environment: stands in for https://raw.githubusercontent.com, as HF_ENDPOINT does for the hub."""


@dataclass(frozen=True)
class Source:
    """A published set.

    Attributes:
        form: what is made of its files: "paper" (its layout, as they are), "evaluations" (cut into pairs and test
            questions), "four choices" (MMLU's own), or "two choices" (TruthfulQA's mc1 as A/B).
        licence: its identifier by SPDX, and whose it is.
        host: "raw" for files of a GitHub repository, "hub" for a data set of the Hugging Face hub.
        repository: ORG/NAME there.
        revision: the pinned commit.
        selects: what `only` chooses, in the plural: "behaviors", "subjects".
        choose: whether something must be chosen, because the whole is large.
        note: what else is to be said, beside the data too.
    """

    name: str
    form: Literal["paper", "evaluations", "four choices", "two choices"]
    title: str
    licence: str
    home: str
    host: Literal["raw", "hub"]
    repository: str
    revision: str
    selects: str
    choose: bool = False
    note: str = ""

    @property
    def pins(self) -> Mapping[str, str]:
        """By path, "sha256:…", or "git:…" for the id that git gives the content; those of the pinned revision."""
        return _pins()[self.name]

    def url(self, path: str, revision: str) -> str:
        """Where a file is; raises CompareError where the environment names a host that is no address."""
        place = f"{quote(revision, safe='')}/{quote(path)}"
        if self.host == "raw":
            endpoint = _endpoint(RAW_ENDPOINT, "https://raw.githubusercontent.com")
            return f"{endpoint}/{self.repository}/{place}"
        return f"{_endpoint('HF_ENDPOINT', 'https://huggingface.co')}/datasets/{self.repository}/resolve/{place}"

    def cached(self, path: str, revision: str) -> Path | None:
        """A file of the hub that its own library has kept on this machine; None where there is none."""
        if self.host != "hub":
            return None
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(self.repository, path, revision=revision, repo_type="dataset")
        return Path(cached) if isinstance(cached, str) else None

    def files(self, only: Sequence[str]) -> tuple[str, ...]:
        """The paths of the files that are wanted.

        Args:
            only: behaviors by name or pattern, as `persona/*`; all files where empty.

        Raises:
            CompareError: nothing is chosen where the set is large, or a choice names nothing.
        """
        if self.host == "hub" or not (only or self.choose):
            return tuple(self.pins)
        names = {path: self._called(path) for path in self.pins}
        folders = sorted({f"{PurePosixPath(name).parent}/*" for name in names.values()}) if self.choose else []
        if not only:
            raise CompareError(
                f"{self.name} has {len(names)} {self.selects}: choose by --only, as "
                f"--only {next(iter(names.values()))}, or {', '.join(folders)}, or '*'."
            )
        chosen = {path for path, name in names.items() for each in only if fnmatch.fnmatchcase(name, each)}
        for each in only:
            if not any(fnmatch.fnmatchcase(name, each) for name in names.values()):
                error = unknown(f"choice of {self.name}", each, set(names.values()))
                raise CompareError(f"{error} Patterns: {', '.join(folders)}.") if folders else error
        return tuple(path for path in self.pins if path in chosen)

    def _called(self, path: str) -> str:
        """What a file is chosen by: its behavior, after its folder where the set has some."""
        parts = PurePosixPath(path).with_suffix("").parts
        return parts[-2] if parts[0] == "Datasets" else "/".join(parts)


def _endpoint(variable: str, default: str) -> str:
    """The host that the environment names, without a slash at its end; the default where it names none."""
    given = os.environ.get(variable) or default
    if not given.startswith(("http://", "https://")):
        raise CompareError(f"{variable}={given}: must begin with http:// or https://.")
    return given.rstrip("/")


def _beside(name: str) -> Any:
    return json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


SOURCES: Mapping[str, Source] = {each["name"]: Source(**each) for each in _beside("sources.json")}


@cache
def _pins() -> dict[str, dict[str, str]]:
    pins: dict[str, dict[str, str]] = _beside("pins.json")
    return pins


Files = Mapping[str, Path]
"""Downloaded files by their paths in the repository."""
PER_SUBJECT = 10
"""Questions of each of MMLU's subjects, as in the paper."""
MMLU4, TRUTHFULQA = "test/mmlu4/mmlu4.json", "test/truthfulqa/truthful_qa.json"
_KINDS = {"lm_generated_evals": "lm-", "human_generated_evals": "human-"}


class Unexpected(CompareError):
    """A downloaded file is not what its name promises."""

    def __init__(self, path: str, error: CompareError, place: Path) -> None:
        # Where it was read from is no place of the user's.
        super().__init__(str(error).replace(str(place), path))
        self.path = path


def laid_out(form: str, files: Files, only: Sequence[str], per_subject: int) -> dict[str, bytes]:
    """The content of each file in the paper's layout.

    Args:
        only: MMLU's subjects; all where empty.
        per_subject: how many questions of each to draw.

    Raises:
        Unexpected: a file is not what its name promises.
        CompareError: a subject is unknown.
    """
    if form == "four choices":
        return {MMLU4: _json(_mmlu(files, only, per_subject))}
    if form == "two choices":
        return {TRUTHFULQA: _json(_truthfulqa(files))}
    if form == "paper":
        return {path.removeprefix("Datasets/"): _as_it_is(path, place) for path, place in files.items()}
    return dict(part for path, place in files.items() for part in _evaluation(path, place))


def _as_it_is(path: str, place: Path) -> bytes:
    """A file's bytes, which are JSON: what a server says in place of a file mostly isn't."""
    try:
        load_json(read_text(place), str(place))
    except CompareError as error:
        raise Unexpected(path, error, place) from error
    return place.read_bytes()


def _evaluation(path: str, place: Path) -> Iterator[tuple[str, bytes]]:
    """One of Anthropic's evaluations, cut into pairs and test questions."""
    parts = PurePosixPath(path)
    # Those written by people and by a model share their names, with each other and with the paper's behaviors.
    behavior = _KINDS.get(parts.parent.name, "") + parts.stem
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder) / f"{behavior}{parts.suffix}", Path(folder) / "out"
        shutil.copyfile(place, raw)
        try:
            split_file(raw, out)
        except CompareError as error:
            raise Unexpected(path, error, raw) from error
        for file in sorted(out.rglob("*.json")):
            yield file.relative_to(out).as_posix(), file.read_bytes()


def _mmlu(files: Files, only: Sequence[str], per_subject: int) -> list[dict[str, Any]]:
    by_subject: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(files, ("question", "subject", "choices", "answer")):
        by_subject.setdefault(row["subject"], []).append(row)
    for subject in only:
        if subject not in by_subject:
            raise unknown("subject of mmlu", subject, by_subject)
    chosen = sorted(only or by_subject)
    drawn = [row for subject in chosen for row in sorted(by_subject[subject], key=_rank)[:per_subject]]
    return [{key: row[key] for key in ("question", "choices", "answer", "subject")} for row in drawn]


def _truthfulqa(files: Files) -> list[dict[str, Any]]:
    """As the paper formats it: the right answer and one wrong one, under either letter."""
    questions = []
    for row in _rows(files, ("question", "mc1_targets")):
        targets = row["mc1_targets"]
        right = [text for text, label in zip(targets["choices"], targets["labels"], strict=True) if label == 1]
        wrong = [text for text, label in zip(targets["choices"], targets["labels"], strict=True) if label != 1]
        if len(right) != 1 or not wrong:
            ((path, place),) = files.items()
            text = f"{path}: the question {row['question']!r} has no one right answer and a wrong one."
            raise Unexpected(path, CompareError(text), place)
        drawn = int(_rank(row), 16)
        texts = [right[0], wrong[drawn // 2 % len(wrong)]]
        first = drawn % 2
        letters = "AB"[first], "AB"[1 - first]
        shown = texts[::-1] if first else texts
        prompt = f"Please help me answer the following question.\n{row['question']}\n\nChoices:"
        questions.append(
            {
                "prompt": f"{prompt}\n(A) {shown[0]}\n(B) {shown[1]}",
                "correct": f"({letters[0]})",
                "incorrect": f"({letters[1]})",
            }
        )
    return questions


def _rank(row: Mapping[str, Any]) -> str:
    """A hash of the content, by which is drawn: the same questions in any order give the same draw."""
    return hashlib.sha256(json.dumps([row[key] for key in sorted(row)], ensure_ascii=False).encode()).hexdigest()


def _rows(files: Files, columns: Sequence[str]) -> list[dict[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    ((path, place),) = files.items()
    read: Callable[..., Any] = parquet.read_table
    try:
        rows: list[dict[str, Any]] = read(place, columns=list(columns)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        text = f"{path}: is no table as expected: {' '.join(str(error).split())}."
        raise Unexpected(path, CompareError(text), place) from error
    if not rows or set(rows[0]) != set(columns):
        raise Unexpected(path, CompareError(f"{path}: has no columns {', '.join(columns)}, or no rows."), place)
    return rows


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
