"""The loss of trained methods, and the training of one edit's vectors by it, which leaves the model as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from comparisons.engine.adapters import preserved
from comparisons.engine.head import at_columns
from comparisons.engine.hooks import Layout, edits_applied
from comparisons.engine.plan import shared_head
from comparisons.engine.prefix import keep_logits, no_prefix, packed_mask, read
from comparisons.engine.trial import packing
from comparisons.intervention import Edit
from comparisons.method.recipes import Descent, Questions
from comparisons.model.lm import LM

NONE = -100
"""In the place of a target where a row has fewer than others."""

OTHER_HEADS = ("classifier", "summary")
"""Begin the names of what a configuration says of heads that write no text."""


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
        for epoch in range(how.epochs):
            order = torch.randperm(len(questions.prompts), generator=generator).tolist()
            for begin in range(0, len(order), how.batch_size):
                optimizer.zero_grad()
                batch_loss(lm, questions, order[begin : begin + how.batch_size], edit(vector)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                lm.meter.trained((epoch + min(1.0, (begin + how.batch_size) / len(order))) / how.epochs)
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
    """Pads a batch on the right, where any token serves: nothing that counts attends to it.

    Of preferences the other answers' rows come last; single tokens follow the same prompt, which then stands once.
    """
    preferences = "other" in rows[0]
    single = preferences and all(len(row["target"]) == len(row["other"]) == 1 for row in rows)
    texts = [(row["input_ids"], row["target"]) for row in rows]
    if preferences and not single:
        texts += [(row["other_input_ids"], row["other"]) for row in rows]
    lengths = torch.tensor([len(ids) for ids, _ in texts])
    longest, most = int(lengths.max()), max(len(target) for _, target in texts)
    batch = {
        "input_ids": torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in texts]),
        "attention_mask": (torch.arange(longest) < lengths[:, None]).long(),
        "targets": torch.tensor([[NONE] * (most - len(target)) + list(target) for _, target in texts]),
    }
    if single:
        batch["others"] = torch.tensor([row["other"] for row in rows])
    if "reference" in rows[0]:
        batch["reference"] = torch.tensor([row["reference"] for row in rows])
    return batch


def target_loss(lm: LM, model: Any, batch: dict[str, torch.Tensor], head: int = 0) -> torch.Tensor:
    """Mean negative log-probability of the targets, in nats a token, each row's alike.

    Args:
        lm: the model.
        model: what is called in its place.
        batch: of `collate`.
        head: so many tokens with which all rows begin are read once; see `shared_beginning`.
    """
    logps = _target_logps(lm, model, batch, head)
    return -(logps / (batch["targets"] != NONE).sum(dim=1).to(logps.device)).mean()


def preference_loss(lm: LM, model: Any, batch: dict[str, torch.Tensor], beta: float, head: int = 0) -> torch.Tensor:
    """DPO's loss (Rafailov et al. 2023, equation 7), with the plain model's margins in `batch["reference"]`."""
    margins = _margins(lm, model, batch, head)
    return -torch.nn.functional.logsigmoid(beta * (margins - batch["reference"].to(margins.device))).mean()


def plain_margins(lm: LM, rows: Sequence[dict[str, Any]], batch_size: int) -> list[float]:
    """The log-probability of each row's target less that of its other answer, in nats, of the model as it is."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    margins = dict[int, float]()
    for begin in range(0, len(order), batch_size):
        part = order[begin : begin + batch_size]
        batch = {name: tensor.to(lm.device) for name, tensor in collate([rows[i] for i in part]).items()}
        with torch.no_grad():
            margins |= zip(part, _margins(lm, lm.model, batch).tolist(), strict=True)
    return [margins[i] for i in range(len(rows))]


def _margins(lm: LM, model: Any, batch: dict[str, torch.Tensor], head: int = 0) -> torch.Tensor:
    """Like `plain_margins`, a tensor of the rows of a batch."""
    if "others" not in batch:
        wanted, other = _target_logps(lm, model, batch, head).chunk(2)
        return wanted - other
    # What both probabilities are divided by cancels.
    logits = _target_logits(lm, model, batch, head)[:, 0]
    wanted, other = (logits.gather(-1, batch[name].to(logits.device))[:, 0] for name in ("targets", "others"))
    return wanted - other


def _target_logps(lm: LM, model: Any, batch: dict[str, torch.Tensor], head: int) -> torch.Tensor:
    """The log-probability of each row's targets together, in nats."""
    logits = _target_logits(lm, model, batch, head)
    targets = batch["targets"].to(logits.device)
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=NONE, reduction="none"
    )
    return -losses.view_as(targets).sum(dim=1)


def _target_logits(lm: LM, model: Any, batch: dict[str, torch.Tensor], head: int) -> torch.Tensor:
    """The logits, in float32, where the targets are predicted, [rows, targets, vocabulary].

    A row's last input predicts its last target, the one before it the last but one. The head runs where targets are
    predicted alone: over a whole prompt it costs more than a small model's blocks.
    """
    ids, mask, size = batch["input_ids"], batch["attention_mask"], batch["targets"].shape[1]
    ends = mask.sum(dim=-1, keepdim=True) - size + torch.arange(size, device=mask.device)
    columns, place = torch.unique(ends.clamp(min=head) - head, return_inverse=True)
    # Pads come last, where causality hides them: no mask makes attention faster.
    whole = {"input_ids": ids, "attention_mask": torch.ones_like(mask), "use_cache": False}
    inputs = _behind_head(lm, ids, head) if head else whole
    logits = at_columns(model(**inputs, **keep_logits(lm, columns)).logits, columns)
    return logits[torch.arange(len(mask), device=logits.device)[:, None], place.to(logits.device)].float()


def _behind_head(lm: LM, ids: torch.Tensor, head: int) -> dict[str, Any]:
    """Reads the tokens with which all rows begin, once, and gives the arguments with which the rest is read."""
    prefix = read(lm, no_prefix(lm, 1), [tuple(ids[0, :head].tolist())], None).rows([0] * len(ids))
    position = torch.arange(head, ids.shape[1], device=ids.device).expand(len(ids), -1)
    mask = packed_mask(lm, prefix, position, position[0][:, None] >= position[0])
    cache = {lm.cache_argument: prefix.cache(kept=True), "use_cache": True}
    return {"input_ids": ids[:, head:], "attention_mask": mask, "position_ids": position, **cache}


def shared_beginning(lm: LM, questions: Questions) -> int:
    """How many tokens with which all prompts begin a training reads once for each batch: a chat format's.

    0 where they are few, where the model can't go on behind a prefix (`packing`), and where it drops inputs at random,
    others in each row.
    """
    alike = min(len(shared_head([*map(tuple, questions.prompts)])), min(map(len, questions.prompts)) - 1)
    rates = [rate for name, rate in vars(lm.config).items() if "drop" in name and not name.startswith(OTHER_HEADS)]
    drops = any(isinstance(rate, float) and rate > 0 for rate in rates)
    return 0 if not alike or drops or lm.quantized or packing(lm) == "rows" else alike
