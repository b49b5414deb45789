"""Questions in both orders, and one result row for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from comparisons.dataset.behaviors import ORDERS, Item, Order, Presentation
from comparisons.engine.choices import MAX_LEFT_OUT, ChoiceLogps
from comparisons.util.errors import CompareError

CHOICES, KNOWLEDGE = "choices", "knowledge"
"""Names of evaluations in result rows: on the behavior's own questions, and on those that only knowledge answers."""


@dataclass(frozen=True)
class Question:
    """An item in one order.

    Attributes:
        item: the item.
        order: "given", "swapped" with the texts of its two choices exchanged, or "rotated1", … of more; "answers" or
            "facts" where texts answer it.
        shown: the question and its letters in this order, or its texts.
    """

    item: Item
    order: str
    shown: Presentation


def questions(items: Sequence[Item], orders: Sequence[Order] = ORDERS) -> list[Question]:
    """Every item in every order, in the items' order; what can't be parsed only as given, and not by texts."""
    return [Question(item, order, item.present(order)) for item in items for order in item.orders(orders)]


@dataclass(frozen=True)
class ItemChoices:
    """What interventions make of items, averaged over each item's orders.

    Attributes:
        items: ids of those that fit the model's context in every order and under every intervention.
        p_match: [interventions, items] float64.
        lost: 1 − P(all letters), [interventions, items] float64; 0 where texts answer.
        content: the logit of p_match, [interventions, items] float64.
    """

    items: tuple[str, ...]
    p_match: np.ndarray
    lost: np.ndarray
    content: np.ndarray


def item_choices(asked: Sequence[Question], found: ChoiceLogps) -> ItemChoices:
    """Averages questions over each item's orders, so that an item that is asked in one order weighs as much as others.

    Raises:
        CompareError: no item fits the model's context.
    """
    too_long = {asked[i].item.id for i in np.flatnonzero(found.too_long.any(axis=0)).tolist()}
    columns: dict[str, list[int]] = {}
    for i, question in enumerate(asked):
        if question.item.id not in too_long:
            columns.setdefault(question.item.id, []).append(i)
    if not columns:
        raise CompareError("no question fits the model's context.")
    logits = found.logits
    if any(question.order == "facts" for question in asked):
        p_match = (logits > 0).astype(np.float64)
    else:
        p_match = np.exp(-np.logaddexp(0.0, -logits))
    lost = 1 - np.exp(found.logps.astype(np.float64)).sum(axis=-1) if found.sizes is None else np.zeros(logits.shape)
    values = p_match, lost, logits
    means = (np.stack([each[:, c].mean(axis=1) for c in columns.values()], axis=1) for each in values)
    return ItemChoices(tuple(columns), *means)


def result_rows(
    asked: Sequence[Question], found: ChoiceLogps, index: int, evaluation: str, cell: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The result rows of one cell and evaluation.

    Args:
        asked: the questions.
        found: their log-probabilities under several interventions.
        index: which of these is the cell's.
        evaluation: "choices", "knowledge", "side:" and a behavior's name, or "robust:" and a condition's.
        cell: the fields that are the same in every row.

    Raises:
        CompareError: a log-probability is not finite, or more than 2% of the questions are too long.
    """
    left_out = _left_out(asked, found.too_long[index], evaluation)
    rows = []
    logits = found.logits[index].tolist()
    for place, (question, (matching, contrast)) in enumerate(zip(asked, found.logps[index].tolist(), strict=True)):
        if question.item.id in left_out:
            continue
        if not (math.isfinite(matching) and math.isfinite(contrast)):
            where = f"{evaluation} item {question.item.id}{_place(cell)}"
            raise CompareError(f"the model's logits are not finite on {where}.")
        row = {
            **cell,
            "evaluation": evaluation,
            "item": question.item.id,
            "order": question.order,
            "template": question.item.template,
            "matching": question.shown.matching,
            "contrast": question.shown.contrast,
            "logp_matching": round(matching, 7),
            "logp_contrast": round(contrast, 7),
            "p_match": round(sigmoid(logits[place]), 7),
        }
        if found.tokens is not None:
            row |= _of_texts(question, logits[place], found.tokens[index, place].tolist())
        rows.append(row)
    return rows


def _of_texts(question: Question, logit: float, tokens: Sequence[int]) -> dict[str, Any]:
    """What a row says otherwise where texts answered: there are no letters and no orders, but lengths."""
    matching, contrast = tokens
    row: dict[str, Any] = {"order": "given", "matching": None, "contrast": None}
    row |= {"tokens_matching": matching, "tokens_contrast": contrast}
    # A fact is known or not: of all choices' texts the likeliest a byte is the answer.
    return row | {"p_match": float(logit > 0)} if question.order == "facts" else row


def _left_out(asked: Sequence[Question], too_long: np.ndarray, evaluation: str) -> dict[str, None]:
    """The items to leave out; raises CompareError where they are too many.

    One that is too long in one order is left out in both: half of it would bring the letters back in.
    """
    found = dict.fromkeys(question.item.id for question, long in zip(asked, too_long, strict=True) if long)
    if too_long.sum() > MAX_LEFT_OUT * len(asked):
        raise CompareError(
            f"{int(too_long.sum())} of {len(asked)} {evaluation} questions exceed the model's context, "
            f"the first is {next(iter(found))}."
        )
    return found


def _place(cell: Mapping[str, Any]) -> str:
    """Where a cell acts and how strongly, for the message about one that broke the model."""
    if not cell.get("direction"):
        return ""
    layer = "" if cell.get("layer") is None else f"at layer {cell['layer']} and "
    return f", {layer or 'at '}strength {cell['strength']:g}: use a lower strength"


def sigmoid(logit: float) -> float:
    """P(matching) / (P(matching) + P(contrast)) from the difference of their log-probabilities."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    return math.exp(logit) / (1.0 + math.exp(logit))
