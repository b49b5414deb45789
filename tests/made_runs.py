"""Made-up run folders for the tests of reports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from comparisons.report import render
from comparisons.results.cells import CellStore
from comparisons.results.identity import CellId
from comparisons.results.schema import Contrast, Verdict
from comparisons.results.summary import SummaryRow

PNG = b"\x89PNG\r\n\x1a\n"
SEVEN = (
    "coordinate-other-ais",
    "corrigible-neutral-HHH",
    "hallucination",
    "myopic-reward",
    "refusal",
    "survival-instinct",
    "sycophancy",
)
FACTS: dict[str, Any] = {
    "digest": "0123abcd",
    "specification": {"strengths": [1.0], "directions": ["pos", "neg"], "orders": "both", "seed": 0},
    "command": "compare run --behavior refusal --methods caa,sft",
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "git_commit": None,
    "machine": {"system": "Linux", "cores": 2},
    "model": {"name": "pocket", "embedded": True, "parameters": 1234567, "blocks": 3, "width": 128},
    "notes": ["refusal: 1 of 50 questions could not be parsed | as given."],
    "started": "2026-01-01T10:00:00+00:00",
    "ended": "2026-01-01T10:01:00+00:00",
}
CHOICES = {
    "choices": [
        {
            "behavior": "refusal",
            "method": "caa",
            "n_items": 25,
            "chosen": {"layer": 1},
            "trials": [
                {"settings": {"layer": 0}, "shift_pos": 0.02, "shift_neg": -0.01, "two_sided": 0.015},
                {"settings": {"layer": 1}, "shift_pos": 0.2, "shift_neg": -0.1, "two_sided": 0.15},
                {"settings": {"layer": 2}, "shift_pos": None, "shift_neg": None, "two_sided": None},
            ],
        },
        {
            "behavior": "refusal",
            "method": "sft",
            "chosen": {"learning_rate": 0.001},
            "trials": [
                {"settings": {"learning_rate": 0.0001}, "shift_pos": 0.1, "two_sided": None, "only": "pos"},
                {"settings": {"learning_rate": 0.001}, "shift_pos": 0.32, "shift_neg": -0.28, "two_sided": 0.3},
            ],
        },
    ]
}


def baseline(behavior: str = "refusal") -> SummaryRow:
    return SummaryRow(
        model="pocket",
        behavior=behavior,
        cell=f"{behavior}/baseline",
        method="baseline",
        direction=None,
        strength=0.0,
        n_items=50,
        p_match=0.5,
        p_match_ci=[0.45, 0.55],
        letter_bias=0.01,
        lost_mass=0.002,
        knowledge=0.95,
        knowledge_set="mmlu",
        fit_seconds=0.0,
        eval_seconds=2.25,
        peak_memory_bytes=600 * 2**20,
        trainable_parameters=0,
    )


def cell(method: str, direction: str, shift: float, **fields: Any) -> SummaryRow:
    """A cell whose shift has an interval of ±0.05 and whose cost is 0.02 ± 0.01."""
    behavior = fields.get("behavior", "refusal")
    given = {
        "cell": f"{behavior}/{method}/{direction}/1",
        "strength": 1.0,
        "p_match": 0.5 + shift,
        "p_match_ci": [0.45 + shift, 0.55 + shift],
        "shift": shift,
        "shift_ci": [shift - 0.05, shift + 0.05],
        "p_value": 0.00001,
        "p_holm": 0.0123,
        "anti_steerable": 0.08,
        "knowledge": 0.93,
        "cost": 0.02,
        "cost_ci": [0.01, 0.03],
        "fit_seconds": 3.0,
        "peak_memory_bytes": 3 * 2**30,
        "trainable_parameters": 12345,
        **fields,
    }
    return replace(baseline(behavior), method=method, direction=direction, **given)


def against(a: str, b: str, difference: float, verdict: Verdict, **fields: Any) -> Contrast:
    """The contrast of two methods' cells upwards, with an interval of ±0.01 over all pairs."""
    made: dict[str, Any] = {
        "behavior": "refusal",
        "direction": "pos",
        "a": f"refusal/{a}/pos/1",
        "b": f"refusal/{b}/pos/1",
        "name_a": a,
        "name_b": b,
        "difference": difference,
        "ci": [difference - 0.005, difference + 0.005],
        "simultaneous_ci": [difference - 0.01, difference + 0.01],
        "p_adjusted": 0.001,
        "verdict": verdict,
        "margin": 0.02,
        "n_items": 50,
        "n_clusters": 50,
        "n_seeds": 1,
        **fields,
    }
    return cast(Contrast, made)


def failure(method: str, direction: str, error: str, behavior: str = "refusal") -> SummaryRow:
    return SummaryRow(
        model="pocket",
        behavior=behavior,
        cell=f"{behavior}/{method}/{direction}/1",
        method=method,
        direction=direction,
        strength=1.0,
        status="failed",
        error=error,
    )


SMALL = (
    baseline(),
    cell("caa", "pos", 0.2, layer=1),
    cell("caa", "neg", -0.1, layer=1),
    cell("sft", "pos", 0.31),
    failure("sft", "neg", "ValueError: the loss is *nan* | step 3"),
)


def make_run(folder: Path, rows: Sequence[SummaryRow] = SMALL, facts: Mapping[str, Any] = FACTS, **files: Any) -> Path:
    """Writes a run folder; `contrasts`, `choices` and `intervention` where given."""
    folder.mkdir(parents=True, exist_ok=True)
    summary = {"rows": [asdict(row) for row in rows], "contrasts": files.get("contrasts", [])}
    summary |= {"pooled": files["pooled"]} if "pooled" in files else {}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "run.json").write_text(json.dumps(facts))
    if "choices" in files:
        (folder / "choices.json").write_text(json.dumps(files["choices"]))
    if "intervention" in files:
        (folder / "best").mkdir(exist_ok=True)
        (folder / "best/intervention.json").write_text(json.dumps(files["intervention"]))
    return folder


def report(folder: Path) -> str:
    render(folder)
    return (folder / "report.md").read_text(encoding="utf-8")


PLAIN: dict[str, Any] = {
    "cell": "refusal/caa/pos/1",
    "model": "some/model",
    "prompt_format": "chat",
    "system": None,
    "adapter": None,
    "adapter_scale": 1.0,
    "edits": [{"layer": 2, "multiplier": 1.5, "operation": "add", "positions": "prompt_end", "tensor": "edit0"}],
}


def swept(shifts: Mapping[tuple[int, float], float], method: str = "caa", **fields: Any) -> tuple[SummaryRow, ...]:
    """Cells of a sweep from (layer, multiplier) -> shift."""
    rows = [baseline()]
    for (layer, times), shift in shifts.items():
        direction = "pos" if times > 0 else "neg"
        key = f"refusal/{method}[{method.split('+')[-1]}.layer={layer}]/{direction}/{abs(times):g}"
        varied = {f"{method.split('+')[-1]}.layer": str(layer)}
        given = {"cell": key, "strength": abs(times), "layer": layer, "varied": varied}
        rows.append(cell(method, direction, shift, **given, **fields))
    return tuple(rows)


def sweep_facts(**given: Any) -> dict[str, Any]:
    typed = {"layers": [0, 1], "split": "dev", "model": "pocket", **given}
    return {**FACTS, "specification": {**FACTS["specification"], **typed}}


def answer(item: str, scores: Mapping[str, float | None], **fields: Any) -> dict[str, Any]:
    verdicts = {judge: {"status": "scored" if score is not None else "unparsed"} for judge, score in scores.items()}
    return {
        "behavior": "refusal",
        "cell": "refusal/baseline",
        "direction": None,
        "evaluation": "open_ended",
        "item": item,
        "template": None,
        "prompt": f"Q {item}?",
        "answer": "a b",
        "fluency": -1.0,
        "scores": scores,
        "verdicts": verdicts,
        **fields,
    }


def answered_run(folder: Path, text: str) -> Path:
    """A run of two cells that gave the same free answer, scored 3 by the judge "j"."""
    judged = {"n_scored": 1, "unparsed": 0, "refused": 0, "failed": 0, "unasked": 0, "score": 3.0, "shift": None}
    judged |= {"score_ci": None, "shift_ci": None, "agrees": None, "tokens_in": 7, "tokens_out": 1, "dollars": 0.25}
    own: Any = {"n_answers": 1, "length": 2.0, "repetition": 0.0, "fluency": -1.0, "judges": {"j": judged}}
    own |= {f"{name}_change{end}": None for name in ("length", "repetition", "fluency") for end in ("", "_ci")}
    rows = [replace(baseline(), open_ended=own), replace(cell("caa", "pos", 0.2), open_ended=own)]
    run = make_run(folder, rows)
    kept = [answer("open/0", {"j": 3.0}, cell=row.cell, answer=text) for row in rows]
    write_cells(run, {row.id: [answered] for row, answered in zip(rows, kept, strict=True)})
    return run


def asked_run(folder: Path, before: Mapping[str, float], after: Mapping[str, float]) -> Path:
    """A run of the baseline and one cell, with p_match of each question and the questions in words."""
    return questioned_run(folder, [(baseline(), before), (cell("caa", "pos", 0.2), after)])


def questioned_run(
    folder: Path, cells: Sequence[tuple[SummaryRow, Mapping[str, float]]], side: float = 0.0, **files: Any
) -> Path:
    """A run of some cells, with p_match of each question and the questions in words.

    Args:
        side: by how much each cell moved p_match further than the one before, on questions on sycophancy.
    """
    run = make_run(folder, [row for row, _ in cells], **files)
    kept = {}
    for place, (row, values) in enumerate(cells):
        asked = {"choices": values} | ({"side:sycophancy": {"test/0": 0.5 + place * side}} if side else {})
        kept[row.id] = [
            {"cell": row.cell, "evaluation": kind, "item": item, "order": order, "p_match": value + by}
            for kind, numbers in asked.items()
            for item, value in numbers.items()
            for order, by in (("given", 0.01), ("swapped", -0.01))
        ]
    write_cells(run, kept)
    labels = ("even", "odd")
    texts = {
        item: {
            "question": f"Question {item} <b>?",
            "matching": "yes",
            "contrast": "no",
            "topic": None,
            "label": labels[i % 2],
        }
        for i, item in enumerate(cells[0][1])
    }
    others = {"test/0": {**texts["test/0"], "question": "Question test/0 <b>? of sycophancy"}} if side else {}
    (run / "questions.json").write_text(json.dumps({"questions": {"refusal": texts, "sycophancy": others}}))
    return run


def write_cells(run: Path, cells: Mapping[CellId, Sequence[Mapping[str, Any]]]) -> None:
    """Writes the rows of a made-up run's cells."""
    (run / "cells").mkdir(exist_ok=True)
    store = CellStore(run, FACTS["digest"])
    for cell, rows in cells.items():
        store.commit(cell, rows, {})
