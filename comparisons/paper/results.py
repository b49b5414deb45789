"""The result files of the paper's repository, made into a run that `compare report` renders."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from comparisons.dataset.behaviors import Behavior, KnowledgeSet
from comparisons.dataset.fields import Record, describe
from comparisons.dataset.items import Item
from comparisons.dataset.lettering import BEHAVIOR, Fields, Origin, read_item
from comparisons.dataset.records import read_records
from comparisons.evaluation.questions import sigmoid
from comparisons.evaluation.summaries import summarize
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Cell, Element, Specification
from comparisons.method.registry import Registry
from comparisons.model.source import ModelSource
from comparisons.paper.replicate import published
from comparisons.report import render
from comparisons.results.folder import RUN, RunFolder
from comparisons.results.identity import BASELINE
from comparisons.results.summary import SummaryRow
from comparisons.util import __version__
from comparisons.util.directions import Direction
from comparisons.util.errors import CompareError
from comparisons.util.files import file_digest, json_digest

KEYS = (
    "layer",
    "multiplier",
    "behavior",
    "type",
    "system_prompt",
    "override_vector",
    "override_vector_model",
    "use_base_model",
    "model_size",
    "override_model_weights_path",
)
"""What a file's name tells, in this order; a value may hold underscores."""

_NAME = re.compile(r"(?:^|_)(" + "|".join(KEYS) + r")=")
_KINDS = {"ab": BEHAVIOR, "mmlu": Fields("question", "correct", "incorrect")}
_KINDS["truthful_qa"] = _KINDS["mmlu"]
KNOWLEDGE_NAMES = {"mmlu": "mmlu", "truthful_qa": "truthfulqa"}

UNKNOWN: dict[str, Any] = {
    **dict.fromkeys(("fit_seconds", "eval_seconds", "peak_memory_bytes", "trainable_parameters")),
    "settings": {},
}
"""What is kept beside a cell's rows, and no file tells."""

LEAST_PROBABILITY = 1e-12
"""Files hold rounded probabilities; a 0 stands for something too small to write."""


@dataclass(frozen=True)
class ResultFile:
    """One file: the answers' probabilities at one layer and multiplier.

    Attributes:
        path: the file.
        facts: what its name tells.
        layer, multiplier: of the vector.
    """

    path: Path
    facts: Mapping[str, str]
    layer: int
    multiplier: float

    @classmethod
    def parse(cls, path: Path) -> ResultFile:
        """Reads a name such as results_layer=13_multiplier=1.0_behavior=refusal_type=ab_….json.

        Raises:
            CompareError: something in it is missing or no number.
        """
        marks = list(_NAME.finditer(path.stem))
        ends = [mark.start() for mark in marks[1:]] + [len(path.stem)]
        facts = {mark[1]: path.stem[mark.end() : end] for mark, end in zip(marks, ends, strict=True)}
        for key in ("layer", "multiplier", "behavior", "type"):
            if key not in facts:
                raise CompareError(f"{path}: the file's name must tell '{key}=', as the paper's result files do.")
        try:
            layer, multiplier = int(facts["layer"]), float(facts["multiplier"])
        except ValueError:
            multiplier = math.nan
        if not math.isfinite(multiplier):
            raise CompareError(f"{path}: layer and multiplier in the file's name must be numbers.")
        return cls(path, facts, layer, multiplier)

    @property
    def kind(self) -> str:
        """ "ab", "mmlu", "truthful_qa", or another."""
        return self.facts["type"]

    @property
    def model(self) -> str:
        """The model's name, as far as the file's name tells it."""
        base = self.facts.get("use_base_model") == "True"
        return f"llama-2-{self.facts.get('model_size', 'unknown')}{'' if base else '-chat'}"

    def context(self) -> tuple[str, Direction] | None:
        """Method and direction below the vector; None for none.

        Raises:
            CompareError: there are two, or the direction can't be told.
        """
        below = [(method, self.facts[key]) for key, method in published().result_keys.items() if key in self.facts]
        if len(below) > 1:
            raise CompareError(f"{self.path}: a system prompt on finetuned weights can't be imported.")
        if not below:
            return None
        method, text = below[0]
        for direction in ("pos", "neg"):
            if direction in re.split(r"[^a-z]+", text.lower()):
                return method, direction
        raise CompareError(f"{self.path}: the file's name must tell the direction of '{text}' by 'pos' or 'neg'.")


def import_results(folder: Path, out: Path, fresh: bool = False) -> Sequence[SummaryRow]:
    """Makes a run of a folder of result files, those in its subfolders included, and renders its report.

    Files of lettered choices ("ab") become choices, of MMLU or else of TruthfulQA knowledge; others are named in
    the report and left out.

    Args:
        folder: where results_layer=…json files are.
        out: the run's folder.
        fresh: discard what it holds.

    Raises:
        CompareError: no file is there, one is broken, or files don't belong together.
    """
    files, left_out = _files(folder)
    # At multiplier 0 the files of all layers hold the same.
    tables = list({(table.cell.key, table.evaluation): table for table in map(_Table.read, files)}.values())
    plan = _plan(tables, files[0].model, [f"results of type {kind} are left out" for kind in left_out])
    # All rows are made, and so checked, before the folder is.
    cells = [(cell, [(t.layer, t.rows()) for t in tables if t.cell.key == cell.key]) for cell in plan.cells]
    paths = [file.path for file in files]
    digest = json_digest([__version__, *map(file_digest, paths), *(path.name for path in paths)])
    run = RunFolder(out, digest, fresh)
    try:
        for cell, parts in cells:
            if not run.done(cell.key):
                layer = parts[0][0] if parts else None
                run.commit(cell.id, [row for _, rows in parts for row in rows], {**UNKNOWN, "layer": layer})
        rows, contrasts = summarize(plan, run)
        run.write_summary({"rows": [asdict(row) for row in rows], "contrasts": contrasts})
        run.write(RUN, _record(plan, digest, [str(path.relative_to(folder)) for path in paths]))
        render(out)
    finally:
        run.close()
    return rows


def _files(folder: Path) -> tuple[list[ResultFile], list[str]]:
    """The files that are imported, and the types of the others."""
    files = [ResultFile.parse(path) for path in sorted(folder.rglob("results_*.json"))]
    if not files:
        raise CompareError(f"{folder}: holds no results_layer=…json file.")
    models = sorted({file.model for file in files})
    if len(models) > 1:
        raise CompareError(f"{folder}: holds results of {' and '.join(models)}: import one model at a time.")
    knowledge = next((kind for kind in KNOWLEDGE_NAMES if any(file.kind == kind for file in files)), None)
    used = [file for file in files if file.kind in ("ab", knowledge)]
    if not used:
        raise CompareError(f"{folder}: holds results of type {files[0].kind} alone: import those of type ab too.")
    return used, sorted({file.kind for file in files if file not in used})


def _record(plan: Plan, digest: str, names: Sequence[str]) -> dict[str, Any]:
    """run.json."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {
        "digest": digest,
        "command": "",
        "imported": list(names),
        "specification": plan.spec.as_json(),
        "versions": {"comparisons": __version__},
        "model": {"name": plan.spec.model.name, "embedded": False},
        "notes": list(plan.notes),
        "started": now,
        "ended": now,
        "complete": True,
    }


@dataclass(frozen=True)
class _Table:
    """A file's rows and the cell that they belong to."""

    file: ResultFile
    records: Sequence[Record]
    items: tuple[Item, ...]
    cell: Cell

    @classmethod
    def read(cls, file: ResultFile) -> _Table:
        records = read_records(file.path)
        items = []
        for number, record in enumerate(records, 1):
            item = read_item(record, Origin(f"{file.path}: item {number}"), answers=_KINDS[file.kind])
            # A question is one item in every file that asks it.
            items.append(replace(item, id=f"{file.kind}/{json_digest([item.question, item.matching])[:12]}"))
        return cls(file, records, tuple(items), _cell(file))

    @property
    def evaluation(self) -> str:
        return "choices" if self.file.kind == "ab" else "knowledge"

    @property
    def layer(self) -> int | None:
        """Of the vector; None where the file is of what stands below it alone."""
        return self.file.layer if self.file.multiplier else None

    def rows(self) -> list[dict[str, Any]]:
        """Result rows, as `compare run` writes them."""
        rows = []
        for number, (record, item) in enumerate(zip(self.records, self.items, strict=True), 1):
            where = f"{self.file.path}: item {number}"
            logps = {
                letter: math.log(max(_probability(record, key, where), LEAST_PROBABILITY))
                for letter, key in (("A", "a_prob"), ("B", "b_prob"))
            }
            if {item.matching, item.contrast} != {"A", "B"} or not item.own_letters:
                raise CompareError(f"{where}: its letters must be (A) and (B).")
            matching, contrast = logps[item.matching], logps[item.contrast]
            rows.append(
                {
                    "model": self.file.model,
                    "behavior": self.cell.behavior,
                    "cell": self.cell.key,
                    "method": self.cell.label,
                    "direction": self.cell.direction,
                    "strength": self.cell.strength,
                    "layer": self.layer,
                    "evaluation": self.evaluation,
                    "item": item.id,
                    "order": "given",
                    "matching": item.matching,
                    "contrast": item.contrast,
                    "logp_matching": matching,
                    "logp_contrast": contrast,
                    "p_match": round(sigmoid(matching - contrast), 7),
                }
            )
        return rows


def _probability(record: Record, key: str, where: str) -> float:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise CompareError(f"{where}: field '{key}' must be a probability, not {describe(value)}.")
    return float(value)


def _cell(file: ResultFile) -> Cell:
    """The cell that a file's numbers are of; at multiplier 0 what stands below the vector alone."""
    known, context, behavior = published(), file.context(), file.facts["behavior"]
    registry = Registry()
    elements: list[Element] = []
    if context is not None:
        elements.append(Element(context[0], registry.get(context[0])(), context[1], 1.0, fixed=True))
    if file.multiplier == 0:
        if context is None:
            return Cell(behavior, BASELINE)
        return Cell(behavior, context[0], (replace(elements[0], fixed=False),), context[1], 1.0)
    direction: Direction = "pos" if file.multiplier > 0 else "neg"
    elements.append(Element(known.vector, registry.get(known.vector)(), direction, abs(file.multiplier)))
    label = "+".join(f"{e.name}:{e.direction}" if e.fixed else e.name for e in elements)
    varied = ((known.layer_setting, str(file.layer)),)
    return Cell(behavior, label, tuple(elements), direction, abs(file.multiplier), varied)


def _plan(tables: Sequence[_Table], model: str, notes: Sequence[str]) -> Plan:
    behaviors: dict[str, dict[str, Item]] = {}
    knowledge: dict[str, Item] = {}
    for table in tables:
        questions = behaviors.setdefault(table.cell.behavior, {})
        target = questions if table.evaluation == "choices" else knowledge
        target.update({item.id: item for item in table.items})
    cells = _cells(tables, list(behaviors))
    kind = next((table.file.kind for table in tables if table.evaluation == "knowledge"), None)
    spec = Specification(
        model=ModelSource(model),
        behaviors=tuple(behaviors),
        stacks=tuple(dict.fromkeys(cell.label for cell in cells if cell.elements)),
        strengths=tuple(sorted({cell.strength for cell in cells if cell.elements})) or (1.0,),
        orders="given",
        knowledge=KNOWLEDGE_NAMES[kind] if kind else "none",
    )
    return Plan(
        spec=spec,
        behaviors={
            name: Behavior(name, (), (), tuple(items.values()), (), None, None, None, source="")
            for name, items in behaviors.items()
        },
        knowledge=KnowledgeSet(KNOWLEDGE_NAMES[kind], tuple(knowledge.values())) if kind else None,
        cells=cells,
        notes=(
            "Imported from the paper's result files: each question was asked once, in the order given; nothing is "
            "known of time, memory or fits.",
            *notes,
        ),
    )


def _cells(tables: Sequence[_Table], behaviors: Sequence[str]) -> tuple[Cell, ...]:
    """Behavior after behavior, each baseline first, then what stands below vectors, then these by layer."""
    cells: dict[str, Cell] = {}
    for name in behaviors:
        baseline = Cell(name, BASELINE)
        choices = [table for table in tables if table.cell.behavior == name and table.evaluation == "choices"]
        if not any(table.cell.key == baseline.key for table in choices):
            raise CompareError(
                f"the results of {name} have no file of multiplier 0, against which the others are measured."
            )
        ordered = sorted(choices, key=lambda table: (table.layer is not None, table.cell.label, table.file.layer))
        cells |= {cell.key: cell for cell in (baseline, *(table.cell for table in ordered))}
    return tuple(cells.values())
