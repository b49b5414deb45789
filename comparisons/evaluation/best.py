"""The best cell's intervention, kept with the run so that it can be used without this program."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from comparisons.experiment.fitting import Built
from comparisons.intervention import Condition
from comparisons.model.classes import auto_class, is_text_part
from comparisons.model.lm import LM
from comparisons.model.tokenizers import template_file
from comparisons.results.findings import is_broken
from comparisons.results.folder import BEST
from comparisons.results.summary import SummaryRow
from comparisons.util.artifacts import seal
from comparisons.util.files import write_json


def best_row(rows: Sequence[SummaryRow]) -> SummaryRow | None:
    """The cell, no control, that moved furthest in the direction asked for and still answers with a letter."""
    moved = [row for row in rows if row.shift is not None and not is_broken(row) and not row.control]
    return max(moved, key=lambda row: _intended(row), default=None)


def _intended(row: SummaryRow) -> float:
    shift = row.shift or 0.0
    return shift if row.direction == "pos" else -shift


def write_best(run: Path, cell: str, built: Built, lm: LM, location: str) -> None:
    """Writes best/: intervention.json, edits.safetensors, the adapter's folder, and checksums of them."""
    from safetensors.torch import save_file

    folder = run / f".{BEST}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    found = built.intervention.simplified()
    edits = [
        {
            "layer": edit.layer,
            "multiplier": edit.multiplier,
            "operation": edit.operation,
            "positions": edit.positions,
            "tensor": f"edit{i}",
            **({} if edit.when is None else {"when": _condition(edit.when, i)}),
        }
        for i, edit in enumerate(found.edits)
    ]
    if edits:
        tensors = {f"edit{i}": edit.vector for i, edit in enumerate(found.edits)}
        tensors |= {f"when{i}": edit.when.vector for i, edit in enumerate(found.edits) if edit.when is not None}
        tensors = {name: vector.float().contiguous().cpu() for name, vector in tensors.items()}
        save_file(tensors, folder / "edits.safetensors")
    if found.adapter is not None:
        shutil.copytree(found.adapter, folder / "adapter")
    write_json(
        folder / "intervention.json",
        {
            "cell": cell,
            "model": location,
            "class": auto_class(lm.name, lm.model.config, own_code=True)[0].__name__,
            **({"text_part": True} if is_text_part(lm.model.config) else {}),
            **({} if (copy := getattr(lm.config, "altup_active_idx", None)) is None else {"stream": copy}),
            "blocks": lm.blocks_path,
            "prompt_format": lm.prompt_format,
            **({"reading": asdict(lm.prompts.reading)} if lm.prompts.reading.mended else {}),
            **({"template_file": file} if (file := template_file(lm.tokenizer)) else {}),
            "system": found.system,
            "examples": [[turn.question, turn.answer] for turn in found.examples],
            "adapter": "adapter" if found.adapter is not None else None,
            "adapter_scale": found.adapter_scale,
            "edits": edits,
        },
    )
    seal(folder)
    shutil.rmtree(run / BEST, ignore_errors=True)
    folder.rename(run / BEST)


def _condition(when: Condition, place: int) -> dict[str, object]:
    return {"layer": when.layer, "threshold": when.threshold, "side": when.side, "tensor": f"when{place}"}


def place_best(run: Path, files: Mapping[str, bytes]) -> None:
    """Puts best/ in place that `write_best` wrote elsewhere.

    Args:
        run: the run's folder.
        files: by their paths in it.
    """
    folder = run / f".{BEST}"
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        path = folder / Path(name).relative_to(BEST)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    shutil.rmtree(run / BEST, ignore_errors=True)
    folder.rename(run / BEST)
