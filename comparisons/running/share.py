"""What is shared of a run: its best intervention, where it applies, and a card of what was measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from comparisons.method.vector_files import Origin, Vectors, read_tensors, save_vectors
from comparisons.method.vectors import READ
from comparisons.report.markdown import escaped, fenced, rendered
from comparisons.report.snippet import snippet
from comparisons.report.table import main_table
from comparisons.results.findings import estimate
from comparisons.results.folder import BEST
from comparisons.results.record import Record, read_record
from comparisons.results.summary import SummaryRow
from comparisons.util import __version__
from comparisons.util.errors import CompareError
from comparisons.util.files import write_json, write_text
from comparisons.util.hub import EDITS, INTERVENTION, SHARED, VECTORS
from comparisons.util.table import interval, number

CARD, ADAPTER = "README.md", "adapter_config.json"


def make_bundle(run: Path, name: str, out: Path) -> Path:
    """Writes what is shared of a run into a folder: adapter, vectors, intervention.json, and the card README.md.

    Args:
        run: a finished run with a best intervention.
        name: the repository's, ORG/NAME, for the card's program.
        out: the folder, made anew.

    Raises:
        CompareError: it is no finished run, or its best intervention has neither vector nor adapter.
    """
    record = read_record(run)
    if record.intervention is None:
        raise CompareError(f"the run in {run} has no best intervention to share: every cell failed or broke the model.")
    best = {**record.intervention, "model": base_model(record)}
    if not (best.get("edits") or best.get("adapter")):
        cell = best.get("cell")
        raise CompareError(f"the best cell of {run}, {cell}, is a prompt: there is no vector and no adapter to share.")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if best.get("adapter"):
        for file in sorted((run / BEST / best["adapter"]).iterdir()):
            if any(file.match(pattern) for pattern in SHARED) and file.name != CARD:
                shutil.copy(file, out / file.name)
        config = json.loads((out / ADAPTER).read_text(encoding="utf-8"))
        write_json(out / ADAPTER, {**config, "base_model_name_or_path": best["model"]})
        best["adapter"] = "."
    if best.get("edits"):
        shutil.copy(run / BEST / EDITS, out / EDITS)
        _write_vectors(out, best, record)
    write_json(out / INTERVENTION, best)
    write_text(out / CARD, card(record, best, name))
    return out


def base_model(record: Record) -> str:
    """The model's name for other people: a hub id as it is, of a local folder its last part."""
    name = str(record.part("model").get("name") or "")
    return name if not Path(name).expanduser().exists() else Path(name).name


def _write_vectors(out: Path, best: Mapping[str, Any], record: Record) -> None:
    """vectors.safetensors, a tensor a layer, where the edits are vectors on all prompts at different layers."""
    tensors, _ = read_tensors(out / EDITS)
    edits = best["edits"]
    plain = all(e["operation"] == "add" and tensors[e["tensor"]].dim() == 1 and "when" not in e for e in edits)
    if not plain or len({edit["layer"] for edit in edits}) < len(edits):
        return
    model = record.part("model")
    origin = Origin(
        kind=str(best.get("cell")),
        model=best["model"],
        digest=model.get("digest"),
        blocks=model.get("blocks"),
        prompt_format=model.get("prompt_format"),
        behavior=_row(record).behavior,
        read=next(
            (text for name, text in reversed([*_row(record).settings.items()]) if name.endswith(f".{READ}")), None
        ),
    )
    save_vectors(out / VECTORS, Vectors({e["layer"]: tensors[e["tensor"]] for e in edits}, origin))


def _row(record: Record) -> SummaryRow:
    assert record.intervention is not None
    cell = record.intervention.get("cell")
    row = next((row for row in record.summary.rows if row.cell == cell), None)
    if row is None:
        raise CompareError(f"the best intervention's cell {cell} is not in the summary: run its command again.")
    return row


def card(record: Record, best: Mapping[str, Any], name: str) -> str:
    """The model card: what it does and costs, measured how, and how to use it.

    Args:
        record: the run.
        best: intervention.json as it is shared.
        name: the repository's.
    """
    row = _row(record)
    baseline = next(one for one in record.summary.of(row.behavior) if one.is_baseline)
    aim = "more" if row.direction == "pos" else "less"
    cost = "Knowledge was not measured."
    if row.cost is not None:
        value = number(row.cost, signed=True) + (f" {interval(row.cost_ci)}" if row.cost_ci else "")
        what = "right answers" if row.measure == "answers" else "p(correct)"
        cost = f"It costs {value} of {what} on {escaped(row.knowledge_set or 'knowledge')}."
    by_texts = ", measured by the answers' texts" if row.measure == "answers" else ""
    program = snippet(best, repository=name)
    use = (
        ["In plain transformers:", fenced(program, "python")]
        if program is not None
        else ["A short program can't show its edits; `intervention.json` says what they are."]
    )
    parts = [
        "---\n" + "\n".join(f"{key}: {json.dumps(value)}" for key, value in _head(best).items()) + "\n---",
        f"# {escaped(name)}",
        f"`{row.method}` for {aim} {escaped(row.behavior)} on {escaped(str(best['model']))}: p_match of the matching "
        f"answer moves by {estimate(row)} from {baseline.p_match or 0:.3f}{by_texts}. {cost}",
        "## Measured",
        rendered(main_table([baseline, row])),
        "## Use",
        *use,
        *_further(best, name),
        "## Provenance",
        "\n".join(f"- {key}: {escaped(value)}" for key, value in _provenance(record, row, best["model"]).items()),
    ]
    return "\n\n".join(parts) + "\n"


def _head(best: Mapping[str, Any]) -> dict[str, Any]:
    """What the hub reads of a card."""
    kinds = [
        *(["peft"] if best.get("adapter") else []),
        *(["steering-vector"] if best.get("edits") else []),
    ]
    library = {"library_name": "peft"} if best.get("adapter") else {}
    return {"base_model": best["model"], **library, "tags": [*kinds, "activation-steering", "comparisons"]}


def _provenance(record: Record, row: SummaryRow, model: str) -> dict[str, str]:
    return {
        "base model": f"{model} ({record.part('model').get('digest')})",
        "behavior": f"{row.behavior} ({_short(record.part('identity').get('behaviors', {}).get(row.behavior))})",
        "settings": ", ".join(f"{key}={value}" for key, value in row.settings.items()) or "defaults",
        "strength": f"{row.strength:g}",
        "questions": f"{row.n_items}, not among the training pairs",
        "command": str(record.facts.get("command") or ""),
        "program": f"comparisons {__version__}, commit {record.facts.get('git_commit')}",
        "measured": str(record.facts.get("started") or "")[:10],
    }


def _further(best: Mapping[str, Any], name: str) -> list[str]:
    if not best.get("edits"):
        return []
    if any("when" in edit for edit in best["edits"]):
        return ["A file of vectors can't say on which prompts its edits act: `intervention.json` does."]
    return ["Its vectors for `compare`:", fenced(f"compare vectors import hub:{name} --out vectors.safetensors", "sh")]


def _short(digests: Any) -> str:
    return str(digests[0])[:12] if isinstance(digests, list) and digests else "unknown data"
