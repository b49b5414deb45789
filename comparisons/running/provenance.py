"""What run.json tells of a run: what can change its numbers, by content, and where and with what it was made."""

from __future__ import annotations

import inspect
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from comparisons.dataset.packaged import POCKET
from comparisons.evaluation.interface import Evaluation
from comparisons.evaluation.lettered import LetterCheck, letter_check
from comparisons.evaluation.registry import evaluations_of
from comparisons.experiment.fitting import PACKAGES, source_digest
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import HARNESS
from comparisons.model.checks import notes
from comparisons.model.lm import LM
from comparisons.model.loading import location_digest
from comparisons.model.source import ModelSource
from comparisons.util import __version__
from comparisons.util.artifacts import Store
from comparisons.util.files import file_digest, json_digest
from comparisons.util.plugins import package_version


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model once it is loaded, as JSON values.

    Attributes:
        model: its name, size, type and digest.
        machine: on what it runs.
        evaluations: by name, what evaluations say of how they ask; None for nothing.
        letters: how it answers lettered choices; None where nothing shows it.
        notes: what must be known of how it was loaded and how it reads a prompt, a line each.
    """

    model: dict[str, Any]
    machine: dict[str, Any]
    evaluations: dict[str, Any]
    letters: LetterCheck | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, plan: Plan, lm: LM, store: Store) -> ModelInfo:
        """Describes a model of the plan's kind, which is asked in letters unless the store knows what it says."""
        model = {
            "name": lm.name,
            "embedded": plan.spec.model.is_embedded,
            "parameters": lm.parameters,
            "blocks": len(lm.blocks),
            "width": lm.width,
            "dtype": str(lm.model.dtype).removeprefix("torch."),
            "prompt_format": lm.prompt_format,
            "digest": lm.digest,
        }
        facts = {name: each.facts(plan, lm) for name, each in evaluations_of(plan.spec).items()}
        said = notes(lm.name, lm.source.quantize if lm.source else None, lm.blocks, lm.config)
        return cls(model, _machine(lm), facts, letter_check(lm, plan, store), (*said, *lm.prompts.notes))


def identify(plan: Plan) -> dict[str, Any]:
    """Everything that can change the numbers of a run, by content; equal identities can share a folder."""
    models = {source.name: _model(source) for source in plan.spec.sources}
    # As before the embedded model's data had a name, so that runs from then go on.
    unnamed = {"data": None} if plan.spec.data == POCKET else {}
    return {
        "specification": {**plan.spec.as_json(), **unnamed},
        "model": models if plan.spec.more_models else models[plan.spec.model.name],
        **identify_data(plan),
    }


def identify_data(plan: Plan) -> dict[str, Any]:
    """The part of the identity that no model is in: data, methods, version."""
    methods = {e.name: type(e.method) for cell in plan.cells for e in cell.elements}
    open_dev = {name: [asdict(prompt) for prompt in prompts] for name, prompts in plan.open_dev.items()}
    return {
        "behaviors": {
            name: [behavior.digest, behavior.dev_digest, behavior.test_digest]
            for name, behavior in plan.behaviors.items()
        },
        "knowledge_dev": json_digest([asdict(item) for item in plan.knowledge_dev]) if plan.knowledge_dev else None,
        **({"open_dev": json_digest(open_dev)} if open_dev else {}),
        **({"neutral": json_digest([asdict(item) for item in plan.neutral])} if plan.neutral else {}),
        "evaluations": {name: _asked(each, plan) for name, each in evaluations_of(plan.spec).items()},
        "methods": {name: source_digest(cls) for name, cls in sorted(methods.items())},
        "version": __version__,
    }


def _asked(evaluation: Evaluation, plan: Plan) -> dict[str, Any]:
    """What can change the rows of an evaluation beside the specification: its code and its data."""
    return {"code": file_digest(Path(inspect.getfile(type(evaluation)))), "data": evaluation.identity(plan)}


def _model(source: ModelSource) -> str:
    return location_digest(source.location())


def run_facts(plan: Plan, identity: Mapping[str, Any], models: Mapping[str, ModelInfo], started: str) -> dict[str, Any]:
    """What run.json says beside the digest and the command.

    Args:
        plan: the run.
        identity: of it.
        models: by name, the models that have been loaded so far, at least one.
        started: when the run began.
    """
    first = next(iter(models.values()))
    several = {"models": [one.model for one in models.values()]} if plan.spec.more_models else {}
    return {
        "specification": plan.spec.as_json(),
        "identity": {key: value for key, value in identity.items() if key != "specification"},
        "versions": {
            "comparisons": __version__,
            "python": platform.python_version(),
            **{package: package_version(package) for package in (*PACKAGES, *_harness(plan))},
        },
        "git_commit": _git_commit(),
        "machine": first.machine,
        "model": first.model,
        **several,
        "notes": [*plan.notes, *(note for one in models.values() for note in one.notes)],
        "knowledge_questions": len(plan.knowledge.items) if plan.knowledge else 0,
        "measured": [one.letters.sentence(plan) for one in models.values() if one.letters],
        "letters": {name: asdict(one.letters) for name, one in models.items() if one.letters},
        "evaluations": first.evaluations,
        "started": started,
    }


def _harness(plan: Plan) -> tuple[str, ...]:
    """The package whose tasks are asked, where the knowledge questions are its own."""
    return ("lm_eval",) if plan.spec.knowledge.startswith(HARNESS) else ()


def now() -> str:
    """The time as run.json tells it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _machine(lm: LM) -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_name() if lm.device.type == "cuda" else None
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": gpu or lm.device.type,
    }


def _git_commit() -> str | None:
    """The commit of the program's own checkout, with a + where it has changes; None outside one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() or None
