"""What a run asks, in words, as questions.json keeps it for the report."""

from __future__ import annotations

from collections.abc import Sequence

from comparisons.dataset.behaviors import KnowledgeSet
from comparisons.dataset.items import Item
from comparisons.experiment.plan import Plan
from comparisons.results.folder import Questions, QuestionText


def questions_of(plan: Plan) -> Questions:
    """A plan's questions on each behavior that is asked, and on knowledge; a harness's tasks are not among them."""
    found = {name: _texts(items) for name, items in plan.side.items()}
    found |= {name: found.get(name, {}) | _texts(plan.asked(name)) for name in plan.behaviors}
    return found | ({"": _texts(plan.knowledge.items)} if isinstance(plan.knowledge, KnowledgeSet) else {})


def _texts(items: Sequence[Item]) -> dict[str, QuestionText]:
    return {item.id: _text(item) for item in items}


def _text(item: Item) -> QuestionText:
    matching, *contrasts = item.texts or (item.matching, item.contrast)
    return {
        "question": item.stem.strip(),
        "matching": matching,
        "contrast": " / ".join(contrasts),
        "topic": item.category or item.template,
        "label": item.label,
    }
