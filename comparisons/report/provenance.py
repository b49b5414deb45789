"""Where a run's numbers come from: model, data, program, machine, time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comparisons.results.record import Record
from comparisons.util.table import count

Lines = list[tuple[str, str]]

GIVEN = (
    "directions",
    "strengths",
    "layer",
    "layers",
    "split",
    "orders",
    "knowledge",
    "train_items",
    "test_items",
    "quantize",
)
"""What is told of the specification, in this order."""


def provenance(record: Record) -> Lines:
    """Names and texts, in order; what run.json doesn't say is left out."""
    spec, identity = record.part("specification"), record.part("identity")
    lines = [
        *(("model", _model(model)) for model in record.facts.get("models") or [record.part("model")]),
        ("data", str(spec.get("data") or "embedded") if spec else ""),
        ("hash of the specification", str(record.facts.get("digest") or "")),
        ("hashes of the behaviors", _pairs(identity.get("behaviors"))),
        ("hash of the knowledge questions", str(identity.get("knowledge") or "")),
        ("settings given", _settings(spec)),
        ("seed", "" if spec.get("seed") is None else str(spec["seed"])),
        ("versions", _pairs(record.part("versions"))),
        ("commit", str(record.facts.get("git_commit") or "")),
        ("machine", _pairs(record.part("machine"))),
        ("started", str(record.facts.get("started") or "")),
        ("ended", str(record.facts.get("ended") or "")),
    ]
    return [(name, text) for name, text in lines if text]


def _model(model: Mapping[str, Any]) -> str:
    parts = [str(model["name"])] if model.get("name") else []
    for key, word in (("parameters", "parameters"), ("blocks", "blocks")):
        if isinstance(model.get(key), int):
            parts.append(f"{count(model[key])} {word}")
    for key in ("width", "dtype", "prompt_format", "digest"):
        if model.get(key) is not None:
            parts.append(f"{key.replace('_', ' ')} {model[key]}")
    return ", ".join(parts)


def _settings(spec: Mapping[str, Any]) -> str:
    found = [f"{name} {_value(spec[name])}" for name in GIVEN if spec.get(name) not in (None, [])]
    given = spec.get("settings")
    for method, fields in given.items() if isinstance(given, Mapping) else ():
        if isinstance(fields, Mapping):
            found += [f"{method}.{name} {_value(value)}" for name, value in fields.items()]
    return ", ".join(found)


def _pairs(found: Any) -> str:
    if not isinstance(found, Mapping):
        return ""
    return ", ".join(f"{name} {_value(value)}" for name, value in found.items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " and ".join(_value(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
