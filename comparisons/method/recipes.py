"""What is trained, and how: questions with their wanted answers, an adapter's training, an edit's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comparisons.intervention import Intervention
from comparisons.method.interface import Fit
from comparisons.util.errors import CompareError

Target = Literal["auto", "letter", "answer"]
"""What is trained on: the token that decides between the letters, the answers' texts, or what the run measures."""


TARGET = "target"
"""Name of a method's setting that is a `Target`."""


@dataclass(frozen=True)
class Questions:
    """What is to be answered.

    Attributes:
        prompts: token ids.
        ends: index of each one's last prompt token.
        targets: the tokens that are to follow each, at least one; the loss is on them, and nowhere else.
        others: those of the other answer.
    """

    prompts: Sequence[Sequence[int]]
    ends: Sequence[int]
    targets: Sequence[Sequence[int]]
    others: Sequence[Sequence[int]]

    def inputs(self, index: int) -> list[int]:
        """What the model reads of a question: the prompt, and its target but for the last token."""
        return [*self.prompts[index], *self.targets[index][:-1]]


def questions(fit: Fit, head: Intervention | None = None, target: Target = "auto") -> Questions:
    """The training pairs under a prompt, with the answers that the direction wants.

    Args:
        fit: whose pairs are read, as given.
        head: its system prompt and examples stand before each; none by default.
        target: the token that decides between the letters, or the choices' texts as answers to the question's stem.

    Raises:
        CompareError: more than 2% of the pairs exceed the model's context, or have no texts.
    """
    from comparisons.engine.choices import pair_prompts

    wanted = 0 if fit.direction == "pos" else 1
    if target == "answer" or (target == "auto" and fit.measure == "answers"):
        return _answers(fit, head or Intervention(), wanted)
    prompts = list(pair_prompts(fit.lm, fit.behavior.train, head or Intervention()).values())
    return Questions(
        prompts=[p.ids for p in prompts],
        ends=[p.prompt_end for p in prompts],
        targets=[p.targets[wanted : wanted + 1] for p in prompts],
        others=[(p.targets[1 - wanted],) for p in prompts],
    )


def _answers(fit: Fit, head: Intervention, wanted: int) -> Questions:
    from comparisons.engine.choices import MAX_LEFT_OUT
    from comparisons.engine.completions import completion_tails

    lm, items = fit.lm, fit.behavior.train
    entries = [
        completion_tails(lm, i, lm.prompt(item.stem, head.system, head.examples), item.texts)
        for i, item in enumerate(items)
        if len(item.texts) == 2
    ]
    fitting = [entry for entry in entries if entry.excess(lm) <= 0]
    missing = len(items) - len(fitting)
    if missing > MAX_LEFT_OUT * len(items) or not fitting:
        raise CompareError(f"{missing} of {len(items)} contrast pairs have no two texts that fit {lm.name}.")
    return Questions(
        prompts=[(*entry.prefix, entry.tails[0][0]) for entry in fitting],
        ends=[len(entry.prefix) for entry in fitting],
        targets=[entry.tails[wanted][1:] for entry in fitting],
        others=[entry.tails[1 - wanted][1:] for entry in fitting],
    )


@dataclass(frozen=True)
class Training:
    """What adapter to train, and how.

    Attributes:
        questions: the loss is on their targets, the mean negative log-probability in nats a token, each question alike.
        learning_rate: of AdamW, constant over the training.
        epochs: passes over the prompts.
        rank: of each LoRA matrix pair.
        alpha: LoRA's numerator: the adapter is scaled by alpha / rank.
        dropout: of LoRA's input.
        batch_size: prompts a step.
        target_modules: "all-linear", or ends of module names.
        seed: of LoRA's initial values and of the prompts' order.
        beta: where given, preferences are trained, each target before the other answer, by DPO: the larger, the nearer
            the model stays to what it was.
        matrices: names of modules whose whole weights are trained in place of LoRA's factors; none for LoRA.
    """

    questions: Questions
    learning_rate: float
    epochs: int
    rank: int
    alpha: int
    dropout: float
    batch_size: int
    target_modules: Literal["all-linear"] | Sequence[str]
    seed: int
    beta: float | None = None
    matrices: Sequence[str] = ()


def epoch_folder(root: Path, epoch: int) -> Path:
    """Where the adapter stands after an epoch, counted from 1."""
    return root / f"epoch-{epoch}"


@dataclass(frozen=True)
class Descent:
    """How to train the vector of an edit.

    Attributes:
        learning_rate: of Adam, constant.
        epochs: passes over the questions.
        batch_size: questions a step.
        seed: of their order.
    """

    learning_rate: float
    epochs: int
    batch_size: int
    seed: int
