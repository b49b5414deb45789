"""Trains the vectors of one edit by gradient, and leaves the model as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comparisons.engine.adapters import preserved
from comparisons.engine.hooks import edits_applied
from comparisons.engine.layout import Layout
from comparisons.method import Edit
from comparisons.model.lm import LM

if TYPE_CHECKING:
    import torch


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


@dataclass(frozen=True)
class Descent:
    """How to train.

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


def descend(
    lm: LM, questions: Questions, start: torch.Tensor, edit: Callable[[torch.Tensor], Edit], how: Descent
) -> torch.Tensor:
    """Trains the vector of an edit on the mean negative log-probability of the targets, `sft`'s loss.

    Args:
        lm: the model; only the vector is trained.
        questions: what to answer.
        start: the vector to begin with.
        edit: the edit that a vector stands for.
        how: the training.

    Returns:
        The trained vector, float32 on the CPU.
    """
    import torch

    generator = torch.Generator().manual_seed(how.seed)
    vector = start.to(lm.device, torch.float32).clone().requires_grad_(True)
    optimizer = torch.optim.Adam([vector], lr=how.learning_rate)
    with preserved(lm.model), torch.enable_grad():
        lm.model.eval()
        for parameter in lm.model.parameters():
            parameter.requires_grad_(False)
        for _ in range(how.epochs):
            order = torch.randperm(len(questions.prompts), generator=generator).tolist()
            for begin in range(0, len(order), how.batch_size):
                optimizer.zero_grad()
                batch_loss(lm, questions, order[begin : begin + how.batch_size], edit(vector)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    return vector.detach().cpu()


def batch_loss(lm: LM, questions: Questions, chosen: Sequence[int], edit: Edit) -> torch.Tensor:
    """Mean negative log-probability of the targets of some questions under an edit, in nats."""
    import torch

    from methods._training import collate, target_loss

    rows = [{"input_ids": list(questions.prompts[i]), "target": questions.targets[i]} for i in chosen]
    batch = {name: tensor.to(lm.device) for name, tensor in collate(rows).items()}
    real = batch["attention_mask"].bool()
    position = torch.arange(real.shape[1], device=lm.device).expand(len(rows), -1)
    ends = torch.tensor([questions.ends[i] for i in chosen], device=lm.device)[:, None]
    layout = Layout(
        owner=torch.where(real, 0, -1),
        position=position,
        relative=position - ends,
        last=position == real.sum(dim=1, keepdim=True) - 1,
    )
    with edits_applied(lm, layout, [[edit]]):
        return target_loss(lm, lm.model, batch)
