"""What a run was asked, in a line: which data, and which knowledge questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from comparisons.dataset.packaged import POCKET, described
from comparisons.experiment.plan import Plan
from comparisons.results.record import Record


def data_of(record: Record) -> list[str]:
    """The data of a run, of a joint one each; nothing where run.json doesn't tell, as of imported results."""
    if joined := record.facts.get("joined"):
        return list(dict.fromkeys(data for part in joined for data in part.get("data") or [str(POCKET)]))
    spec = record.part("specification")
    # A run that names none is from before the embedded model's had a name.
    return [str(spec.get("data") or POCKET)] if spec and "imported" not in record.facts else []


def asked_of(record: Record) -> str | None:
    """The line of a run that has ended; None where its data aren't known."""
    data, rows = data_of(record), record.summary.rows
    if not data:
        return None
    counts = {name: max(row.n_items or 0 for row in rows if row.behavior == name) for name in record.summary.behaviors}
    knowledge = next((row.knowledge_set for row in rows if row.knowledge_set), None)
    return _line(data, counts, record.on_dev, knowledge, record.facts.get("knowledge_questions"))


def asked_by(plan: Plan) -> str:
    """The line of a run that begins."""
    counts = {name: len(plan.asked(name)) for name in plan.behaviors}
    known = (plan.knowledge.name, len(plan.knowledge.items)) if plan.knowledge else (None, None)
    return _line([str(plan.spec.data)], counts, plan.spec.split == "dev", *known)


def _line(
    data: Iterable[str], counts: Mapping[str, int], on_dev: bool, knowledge: str | None, facts: int | None
) -> str:
    fewest, most = min(counts.values()), max(counts.values())
    number = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
    questions = f"{number} {'dev' if on_dev else 'test'} questions{' each' if len(counts) > 1 else ''}"
    known = (
        f"knowledge: {knowledge}{f', {facts:,} questions' if facts else ''}" if knowledge else "no knowledge questions"
    )
    return f"Behaviors: {' and '.join(map(described, data))}, {questions}; {known}."
