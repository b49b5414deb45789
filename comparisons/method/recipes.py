"""What is trained, and how: questions with their wanted letters, an adapter's training, an edit's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from comparisons.intervention import Intervention
from comparisons.method.interface import Fit


@dataclass(frozen=True)
class Questions:
    """What is to be answered.

    Attributes:
        prompts: token ids.
        ends: index of each one's last prompt token.
        targets: the token that is to follow each; the loss is on it, and nowhere else.
        others: the token of the other letter.
    """

    prompts: Sequence[Sequence[int]]
    ends: Sequence[int]
    targets: Sequence[int]
    others: Sequence[int]


def questions(fit: Fit, head: Intervention | None = None) -> Questions:
    """The training pairs up to the deciding token, under a prompt, with the letters that the direction wants.

    Args:
        fit: whose pairs are read, as given.
        head: its system prompt and examples stand before each; none by default.

    Raises:
        CompareError: more than 2% of the pairs exceed the model's context.
    """
    from comparisons.engine.choices import pair_prompts

    wanted = 0 if fit.direction == "pos" else 1
    prompts = list(pair_prompts(fit.lm, fit.behavior.train, head or Intervention()).values())
    return Questions(
        prompts=[p.ids for p in prompts],
        ends=[p.prompt_end for p in prompts],
        targets=[p.targets[wanted] for p in prompts],
        others=[p.targets[1 - wanted] for p in prompts],
    )


@dataclass(frozen=True)
class Training:
    """What adapter to train, and how.

    Attributes:
        questions: the loss is on their targets, the mean negative log-probability in nats.
        learning_rate: of AdamW, constant over the training.
        epochs: passes over the prompts.
        rank: of each LoRA matrix pair.
        alpha: LoRA's numerator: the adapter is scaled by alpha / rank.
        dropout: of LoRA's input.
        batch_size: prompts a step.
        target_modules: "all-linear" or the end of module names, separated by commas.
        seed: of LoRA's initial values and of the prompts' order.
        beta: where given, preferences are trained, each target before the other letter, by DPO: the larger, the nearer
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
    target_modules: str
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
