"""Tasks of lm-evaluation-harness as knowledge questions, asked under interventions.

The harness builds the requests of a task, and its metrics of the answers; this program's engine answers them, for all
cells that share a prompt's cache at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.dataset.behaviors import KnowledgeSet
from comparisons.dataset.items import Item
from comparisons.dataset.splits import draw
from comparisons.engine.choices import MAX_LEFT_OUT
from comparisons.evaluation.interface import row_of
from comparisons.evaluation.questions import KNOWLEDGE
from comparisons.experiment.specification import HARNESS
from comparisons.util.errors import CompareError, unknown
from comparisons.util.files import json_digest

if TYPE_CHECKING:
    from comparisons.evaluation.requests import Requests, Sizes
    from comparisons.intervention import Intervention
    from comparisons.model.lm import LM

SUFFIXES = (".yaml", ".yml")
"""Of task files."""

KINDS = ("multiple_choice", "generate_until")
"""Of tasks: those whose documents have a value from 0 to 1 each."""

FEWSHOT_SEED = 1234
"""The harness's own, so that its examples are the published ones."""

METRICS = ("acc", "exact_match", "f1", "em")
"""Whose value is taken of a document's, the first that the task has; else its first one."""


@dataclass(frozen=True)
class Tasks:
    """Tasks as they were asked for.

    Attributes:
        names: of tasks or groups of them.
        folders: of task files that are not the harness's own.
        theirs: whether some are the harness's own, which takes seconds to look through.
        documents: by task, the documents to ask; None for all.
    """

    names: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    theirs: bool = True
    documents: Mapping[str, Sequence[int]] | None = None

    @classmethod
    def parse(cls, choice: str) -> Tasks:
        """Reads "lm_eval:TASK[,TASK]": names of tasks and groups, or paths of task files and folders of them."""
        names, folders, theirs = [], [], False
        for part in (part.strip() for part in choice.removeprefix(HARNESS).split(",")):
            if Path(part).suffix in SUFFIXES:
                names.append(_name_in(Path(part), part))
                folders.append(str(Path(part).parent))
            elif part and Path(part).is_dir():
                names += _names_below(Path(part), part)
                folders.append(part)
            elif part:
                names.append(part)
                theirs = True
        if not names:
            raise CompareError(f"--knowledge {choice} names no task: write {HARNESS}TASK, such as {HARNESS}arc_easy.")
        return cls(tuple(names), tuple(dict.fromkeys(folders)), theirs)

    def run(self, answers: Any, chat: bool) -> Mapping[str, Any]:
        """The harness's results for a model's answers, with its records of every document.

        Args:
            answers: a model as the harness knows it.
            chat: whether contexts are lists of messages, as JSON, or texts.

        Raises:
            CompareError: there is no such task, its documents are out of reach, or the harness can't run it.
        """
        from lm_eval.evaluator import evaluate

        try:
            for task in self._loaded["tasks"].values():
                # Each time, as building requests draws examples anew.
                task.set_fewshot_seed(seed=FEWSHOT_SEED)
            found = evaluate(
                lm=answers,
                task_dict=self._loaded,
                samples={name: list(own) for name, own in self.documents.items()} if self.documents else None,
                bootstrap_iters=0,
                apply_chat_template=chat,
                fewshot_as_multiturn=chat,
                verbosity="ERROR",
            )
        except CompareError:
            raise
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise CompareError(f"lm-evaluation-harness can't run {', '.join(self.names)}: {text}") from error
        return dict(found or {})

    @cached_property
    def _loaded(self) -> Any:
        """The tasks with their documents."""
        from lm_eval.tasks import TaskManager

        known = TaskManager(include_path=list(self.folders) or None, include_defaults=self.theirs)
        for name in self.names:
            if name not in known.all_tasks:
                raise unknown("task of lm-evaluation-harness", name, known.all_tasks)
        return known.load(list(self.names))


def _name_in(path: Path, given: str) -> str:
    """The task's name in its file."""
    found = _name(path, given)
    if found is None:
        raise CompareError(f"--knowledge {HARNESS}{given}: the file has no line 'task: NAME'.")
    return found


def _names_below(folder: Path, given: str) -> list[str]:
    """The tasks of a folder's files, in the order of the files' names; a file without a task is what others include."""
    files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    found = [name for path in files if (name := _name(path, given)) is not None]
    if not found:
        raise CompareError(f"--knowledge {HARNESS}{given}: the folder has no .yaml file with a line 'task: NAME'.")
    return found


def _name(path: Path, given: str) -> str | None:
    try:
        found = re.search(r"^task:[ \t]*[\"']?([^\s\"'#]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        raise CompareError(f"--knowledge {HARNESS}{given}: there is no such task file.") from None
    return found[1] if found else None


@dataclass(frozen=True)
class HarnessSet(KnowledgeSet):
    """Documents of the harness's tasks: each is right by the value of its task's metric, from 0 to 1.

    Attributes:
        tasks: what to ask.
        metrics: task -> its metric and filter.
        source: content hash of tasks, documents and the harness's version.
    """

    tasks: Tasks = Tasks()
    metrics: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    source: str = ""

    @cached_property
    def digest(self) -> str:
        """Content hash of what is asked."""
        return json_digest([self.source, [item.id for item in self.items]])


def read_tasks(choice: str, limit: int | None, seed: int) -> HarnessSet:
    """The documents of tasks as a knowledge set.

    Args:
        choice: as `Tasks.parse` takes it.
        limit: how many documents to ask, shared between the tasks by their size, one of each at least; None for all.
        seed: of which they are.

    Raises:
        CompareError: the harness is not installed, or a task is none that can be asked.
    """
    harness = _version(choice)
    tasks = Tasks.parse(choice)
    from comparisons.evaluation.requests import Answering, HarnessRequests

    found = tasks.run(Answering(HarnessRequests()), chat=True)
    for task in found["samples"]:
        kind = found["configs"][task].get("output_type")
        if kind not in KINDS:
            raise CompareError(f"the task {task} is of the kind {kind}, which has no value a document: name another.")
    metrics = {task: _metric(task, records) for task, records in found["samples"].items()}
    items = {task: _items(task, records, metrics[task][1]) for task, records in found["samples"].items()}
    total = sum(map(len, items.values()))
    hashes = {task: sorted(r["doc_hash"] + r["prompt_hash"] for r in rs) for task, rs in found["samples"].items()}
    if limit is not None and limit < total:
        items = {task: draw(own, max(1, round(limit * len(own) / total)), seed) for task, own in items.items()}
        documents = {task: [_document(item) for item in own] for task, own in items.items()}
        tasks = replace(tasks, documents=documents)
    return HarnessSet(
        "lm_eval: " + ", ".join(f"{t} ({metric}, {found['n-shot'][t]}-shot)" for t, (metric, _) in metrics.items()),
        tuple(item for own in items.values() for item in own),
        tasks,
        metrics,
        json_digest([harness, choice, metrics, hashes]),
    )


def _version(choice: str) -> str:
    """The harness's version; raises CompareError where it isn't installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("lm_eval")
    except PackageNotFoundError:
        raise CompareError(
            f"--knowledge {choice} needs lm-evaluation-harness, which isn't installed: "
            "pip install 'llm-comparisons[lm-eval]'."
        ) from None


def _metric(task: str, records: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The metric whose value stands for a document, and the filter it is of."""
    first = records[0]
    named = next((name for name in METRICS if name in first["metrics"]), first["metrics"][0])
    if not isinstance(first[named], (int, float)):
        raise CompareError(f"the task {task} has no value a document: name another.")
    return named, str(first["filter"])


def _items(task: str, records: Sequence[Mapping[str, Any]], kept: str) -> Sequence[Item]:
    """A document as an item, for what counts and draws them; it is asked by the harness's requests."""
    several = {record["doc_id"]: record for record in records if record["filter"] == kept}
    return tuple(
        Item(f"{task}/{number}", str(record["arguments"][0][0]), "", "", (), str(number), category=task)
        for number, record in sorted(several.items())
    )


def _document(item: Item) -> int:
    return int(item.id.rpartition("/")[2])


def harness_rows(
    lm: LM, known: HarnessSet, interventions: Sequence[Intervention], cells: Sequence[Mapping[str, Any]]
) -> list[list[dict[str, Any]]]:
    """The result rows of cells that share a prompt's cache: one a document, `p_match` is its value.

    In a chat format the model is asked as the harness does with a chat template, else with the task's bare text.

    Args:
        lm: the model.
        known: what to ask.
        interventions: of the cells.
        cells: the fields that are the same in every row of one.

    Raises:
        CompareError: more than 2% of the documents exceed the model's context, or something can't be asked.
    """
    from comparisons.evaluation.requests import Answering, HarnessRequests

    chat = lm.prompt_format != "base"
    requests = _requests(lm, known, interventions)
    if len(requests.left_out) > MAX_LEFT_OUT * len(known.items):
        raise CompareError(f"{len(requests.left_out)} questions of {known.name} exceed the model's context.")
    found = []
    for own, fields in zip(requests.answers(), cells, strict=True):
        samples = known.tasks.run(Answering(HarnessRequests(), own), chat)["samples"]
        kept = [(task, one) for task, records in samples.items() for one in _kept(known, task, records)]
        sound = [(t, one) for t, one in kept if not {args[0] for args in one["arguments"]} & requests.left_out]
        found.append([_row(known, fields, task, one) for task, one in sound])
    return found


def _requests(lm: LM, known: HarnessSet, interventions: Sequence[Intervention]) -> Requests:
    """What the harness asks this model."""
    from comparisons.evaluation.requests import Answering, HarnessRequests, Requests

    asked, chat = HarnessRequests(), lm.prompt_format != "base"
    known.tasks.run(Answering(asked), chat)
    return Requests(lm, asked, chat, interventions)


def harness_sizes(lm: LM, known: HarnessSet) -> Sizes:
    """What the tasks take of a model, for an estimate; only its tokenizer is used."""
    return _requests(lm, known, ()).sizes()


def _kept(known: HarnessSet, task: str, records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A record a document, of the filter whose metric counts."""
    own = [record for record in records if record["filter"] == known.metrics[task][1]]
    return sorted(own, key=lambda record: record["doc_id"])


def _row(known: HarnessSet, fields: Mapping[str, Any], task: str, record: Mapping[str, Any]) -> dict[str, Any]:
    value = float(record[known.metrics[task][0]])
    if not 0 <= value <= 1:
        raise CompareError(f"{task}: document {record['doc_id']} has the value {value:g}, which is not from 0 to 1.")
    return row_of(fields, KNOWLEDGE, f"{task}/{record['doc_id']}", "given", None, p_match=round(value, 7))
