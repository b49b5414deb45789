"""The loss of trained methods, and the training of one edit's vectors by it, which leaves the model as it was."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from comparisons.engine.adapters import preserved
from comparisons.engine.head import at_columns
from comparisons.engine.hooks import Layout, edits_applied
from comparisons.engine.prefix import keep_logits
from comparisons.intervention import Edit
from comparisons.method.recipes import Descent, Questions
from comparisons.model.lm import LM

NONE = -100
"""In the place of a target where a row has fewer than others."""


def descend(
    lm: LM, questions: Questions, start: torch.Tensor, edit: Callable[[torch.Tensor], Edit], how: Descent
) -> torch.Tensor:
    """See `training.train_edit`."""
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
    """Mean negative log-probability of the targets of some questions under an edit, in nats a token."""
    rows = [{"input_ids": questions.inputs(i), "target": questions.targets[i]} for i in chosen]
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


def collate(rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Pads a batch on the right, where any token serves: nothing that counts attends to it."""
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    longest, most = int(lengths.max()), max(len(row["target"]) for row in rows)
    return {
        "input_ids": torch.tensor([row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in rows]),
        "attention_mask": (torch.arange(longest) < lengths[:, None]).long(),
        "targets": torch.tensor([[NONE] * (most - len(row["target"])) + list(row["target"]) for row in rows]),
    }


def target_loss(lm: LM, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean negative log-probability of the targets, in nats a token, each row's alike.

    A row's last input predicts its last target, the one before it the last but one. The head runs where targets are
    predicted alone: over a whole prompt it costs more than a small model's blocks.
    """
    mask, targets = batch["attention_mask"], batch["targets"]
    size = targets.shape[1]
    ends = mask.sum(dim=-1, keepdim=True) - size + torch.arange(size, device=mask.device)
    columns, place = torch.unique(ends.clamp(min=0), return_inverse=True)
    output = model(input_ids=batch["input_ids"], attention_mask=mask, use_cache=False, **keep_logits(lm, columns))
    logits = at_columns(output.logits, columns)[torch.arange(len(mask), device=mask.device)[:, None], place]
    targets = targets.to(logits.device)
    if size == 1:
        return torch.nn.functional.cross_entropy(logits[:, 0].float(), targets[:, 0])
    losses = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=NONE, reduction="none"
    )
    return (losses.view_as(targets).sum(dim=1) / (targets != NONE).sum(dim=1)).mean()


def score_by_own_logits(lm: LM, model: Any) -> None:
    """Has the model that trl's DPOTrainer has patched score labels by its own logits.

    trl multiplies what the backbone gives by the output layer, with the scales and bounds that it knows by name: for
    some families (Llama 4, RecurrentGemma) that fails, or is not what the model makes of it.
    """
    from trl.trainer.utils import FusedCausalLMOutput

    patched = model.forward

    @functools.wraps(type(model).forward)
    def scored(*args: Any, fused_lm_head: bool = False, labels: Any = None, **inputs: Any) -> Any:
        if not fused_lm_head:
            return patched(*args, labels=labels, **inputs)
        labels = labels[:, 1:]
        columns = (labels != NONE).any(dim=0).nonzero()[:, 0]
        logits = at_columns(patched(*args, **inputs, **keep_logits(lm, columns)).logits, columns)
        wanted = labels[:, columns].to(logits.device)
        logps = logits.float().log_softmax(-1).gather(-1, wanted.clamp(min=0)[..., None])[..., 0]
        whole = logps.new_zeros(labels.shape).index_copy(
            1, columns.to(logps.device), logps.masked_fill(wanted == NONE, 0)
        )
        # What the trainer only logs.
        unseen = torch.zeros_like(whole)
        return FusedCausalLMOutput(log_probs=whole, entropy=unseen, mean_logits=unseen, is_top1=unseen.bool())

    model.forward = scored
