"""Free answers side by side: the same prompts under the baseline and every cell, behind one prefill a prefix."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.dataset.checks import warn_of_letters
from comparisons.experiment.plan import Plan
from comparisons.experiment.specification import Specification
from comparisons.judges.free_answers import THOUGHT_TOKENS, TOKENS
from comparisons.running.executor import check_layers, settled
from comparisons.running.planning import make_plan
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    from comparisons.engine.free_answers import FreeAnswer


@dataclass(frozen=True)
class Answers:
    """What one cell answers.

    Attributes:
        method: the stack, or "baseline".
        direction: None for the baseline.
        strength: None for the baseline.
        texts: one a prompt.
        thoughts: what was thought before each, where the model was to think, else empty; of one that came to no end,
            with an empty answer.
    """

    method: str
    direction: str | None
    strength: float | None
    texts: Sequence[str]
    thoughts: Sequence[FreeAnswer] = ()


def answering(
    spec: Specification, tokens: int = TOKENS, thought_tokens: int = THOUGHT_TOKENS, run: Path | None = None
) -> Callable[[Sequence[str]], list[Answers]]:
    """Fits every cell of a specification of one behavior, once; what it returns answers prompts, greedily.

    Args:
        spec: what is asked for.
        tokens, thought_tokens: of an answer and of a thought before it, at most.
        run: the folder of a run of it, whose choices on dev are taken.

    Raises:
        CompareError: the specification, the data or the model is wrong, or a method can't be fitted.
    """
    from comparisons.engine.free_answers import free_answers
    from comparisons.evaluation.lettered import letter_check
    from comparisons.experiment.fitting import fitter_of
    from comparisons.intervention import Intervention
    from comparisons.model.loading import load
    from comparisons.results.folder import RunFolder
    from comparisons.running.progress import Silent
    from comparisons.running.runner import CellRunner
    from comparisons.util.artifacts import CHECKPOINTS, Store

    plan = make_plan(spec)
    _check(plan, tokens, thought_tokens)
    (behavior,) = plan.behaviors
    lm = load(spec.model)
    check_layers(plan, lm)
    store = Store(CHECKPOINTS)
    plan = settled(plan, [letter_check(lm, plan, store)])
    if plan.measure == "letters":
        warn_of_letters(behavior, plan.behaviors[behavior].train)
    cells = [cell for cell in plan.cells if cell.elements]
    with tempfile.TemporaryDirectory() as scratch:  # for what is chosen on dev; the fits go to the store
        folder = RunFolder(Path(scratch) / "run", "answers", True)
        try:
            for record in _choices(run):
                folder.add_choice(record["key"], record)
            builder = CellRunner(plan, fitter_of(plan, behavior, lm, store), folder, Silent())
            cells = builder.selected(cells)
            built = [builder.build(cell).built.intervention for cell in cells]
        finally:
            folder.close()

    def answer(prompts: Sequence[str]) -> list[Answers]:
        given = free_answers(lm, prompts, [Intervention(), *built], tokens, thought_tokens)
        places = [("baseline", None, None), *((c.label, c.direction, c.strength) for c in cells)]
        thinks = lm.prompts.thinking is not None
        return [
            Answers(*place, [answer.text for answer in each], each if thinks else ())
            for place, each in zip(places, given, strict=True)
        ]

    return answer


def _choices(run: Path | None) -> list[dict[str, Any]]:
    """What a run chose on dev; nothing where nothing was open."""
    from comparisons.results.cells import CHOICES
    from comparisons.util.files import read_sealed

    return (
        list(read_sealed(run / CHOICES, "choices")["choices"]) if run is not None and (run / CHOICES).exists() else []
    )


def _check(plan: Plan, tokens: int, thought_tokens: int) -> None:
    if plan.spec.more_models:
        raise CompareError("answers are shown of one model at a time: name one by --model.")
    if len(plan.behaviors) != 1:
        raise CompareError("answers are shown for one behavior at a time: name one by --behavior.")
    if tokens < 1:
        raise CompareError(f"--tokens must be at least 1, not {tokens}.")
    if thought_tokens < 1:
        raise CompareError(f"--thought-tokens must be at least 1, not {thought_tokens}.")
